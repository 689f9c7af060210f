"""Every rule that refuses a configuration, broken alone."""

import re
from typing import Any

import pytest

from antiphon.config import loading, sections
from antiphon.config.rules import RULES, check
from antiphon.config.shapes import shapes
from antiphon.errors import UserError

SMALL = {"embedding": 6, "encoder_hidden": 4, "decoder_hidden": 8, "attention_size": 6}
COVERAGE = {"decoder": "bahdanau", "coverage": True}

# rule -> options that break it and no other
BROKEN: dict[str, dict[str, dict[str, Any]]] = {
    "backward bridge": {"model": {"bridge": "backward", "bidirectional": False}},
    "last state of another size": {"model": {"bridge": "last", "decoder_hidden": 6}},
    "source never seen": {"model": {"bridge": "zero", "decoder": "initial"}},
    "score of another size": {"model": {"score": "scaled_dot", "decoder_hidden": 6}},
    "heads that do not divide": {"model": {"score": "multi_head", "heads": 4}},
    "heads of another score": {"model": {"score": "additive", "heads": 2}},
    "attention between layers": {"model": {"decoder": "between", "decoder_layers": 1}},
    "coverage without steps": {"model": {"decoder": "over_outputs", "coverage": True}},
    "coverage with heads": {"model": COVERAGE | {"score": "multi_head"}},
    "loss of coverage": {"model": {"decoder": "bahdanau"}, "train": {"coverage_loss": 1.0}},
    "copying without attention": {"model": {"decoder": "context", "copy_source": True}},
    "copying between vocabularies": {"model": {"copy_source": True}, "text": {"joint": False}},
    "two passes with copying": {"model": {"copy_source": True}, "train": {"r_drop": 1.0}},
    "normalised gates": {"model": {"cell": "sru", "layer_norm": "gates"}},
    "size of a sum": {"model": {"readout": "residual", "readout_size": 5}},
    "context of another size": {"model": {"readout": "residual", "decoder_hidden": 6}},
    "one embedding for two vocabularies": {"model": {"tie": "all"}, "text": {"joint": False}},
    "readout of another size": {"model": {"tie": "decoder", "readout_size": 5}},
    "decoder of another size": {"model": {"tie": "decoder", "readout": "residual"}},
    "one embedding from two files": {
        "model": {"tie": "all"}, "train": {"source_vectors": "a.vec", "target_vectors": "b.vec"},
    },
    "dropout of merges": {"text": {"kind": "unigram", "dropout": 0.1}},
    "weight decay": {"train": {"weight_decay": 0.1, "optimiser": "adam"}},
    "shortest above longest": {"search": {"min_length": 9, "max_length": 8}},
}  # fmt: skip


def broken(name: str) -> dict[str, dict[str, Any]]:
    return BROKEN[name] | {"model": SMALL | BROKEN[name].get("model", {})}


def test_every_rule_is_tested_here() -> None:
    assert list(BROKEN) == list(RULES)


@pytest.mark.parametrize("name", RULES)
def test_each_rule_refuses_alone_and_names_the_options(name: str) -> None:
    config = sections.Config.model_validate(broken(name))
    assert [rule for rule in RULES if RULES[rule].broken(config, shapes(config.model))] == [name]
    with pytest.raises(UserError) as error:
        loading.load(over=broken(name))
    named = set(re.findall(r"(?:model|text|train|search)\.\w+", str(error.value)))
    assert len(named) >= 2 and "{" not in str(error.value)
    for option in named:
        section, key = option.split(".")
        assert key in sections.SECTIONS[section].model_fields


@pytest.mark.parametrize("name", RULES)
def test_what_a_message_says_to_set_is_a_way_out(name: str) -> None:
    """Each `option = value` in a message breaks the rule no more once it is set."""
    values = broken(name)
    config = sections.Config.model_validate(values)
    message = RULES[name].message.format(m=config.model, n=shapes(config.model))
    ways = re.findall(r"(?:set|or|needs) ((?:model|text|train)\.\w+ = (?:'\w+'|\w+))", message)
    for way in ways:
        section, key, value = loading.setting(way.replace(" ", ""), "message")
        mended = values | {section: values.get(section, {}) | {key: value}}
        changed = sections.Config.model_validate(mended)
        assert not RULES[name].broken(changed, shapes(changed.model)), way


def test_the_defaults_and_every_preset_break_no_rule() -> None:
    check(loading.load())
    for name in loading.presets():
        check(loading.load(name))
