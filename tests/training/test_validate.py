"""Validation: the loss as it is defined, and outputs as a user would get them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tasks import options

from antiphon.config.sections import Config
from antiphon.data.corpus import Pair
from antiphon.data.tokenizer import EOS, Tokenizer
from antiphon.decoding.torch_engine import TorchEngine
from antiphon.errors import UserError
from antiphon.nn.model import Model, build
from antiphon.seq2seq import Seq2Seq
from antiphon.training.device import Device
from antiphon.training.validate import Validator

CPU = Device(torch.device("cpu"), False, 0, 1)
PAIRS = [Pair("a b c", "a b c"), Pair("d", "d e f g"), Pair("h a", "a h"), Pair("b " * 20, "b b")]


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Config, Tokenizer, Model]:
    config = options(tmp_path, model={"dropout_output": 0.5}, train={"samples": 2})
    tokenizer = Tokenizer.train(["a b c d e f g h"], config.text, 50)
    torch.manual_seed(1)
    return config, tokenizer, build(config.model, len(tokenizer), len(tokenizer))


def changed(config: Config, section: str, **values: Any) -> Config:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


def test_the_loss_is_the_mean_over_pieces_with_eos(parts: tuple[Config, Tokenizer, Model]) -> None:
    config, tokenizer, model = parts
    validator = Validator(PAIRS, tokenizer, tokenizer, config, CPU)
    model.train()
    validation = validator.validate(model, decode=False)
    nll = pieces = 0.0
    for pair in PAIRS:
        source, target = (tokenizer.encode_ids([text])[0] + [EOS] for text in pair)
        nll += float(model.eval().loss(torch.tensor([source]), torch.tensor([target])).nll.detach())
        pieces += len(target)
    assert validation.loss == pytest.approx(nll / pieces, rel=1e-5)
    assert validation.score is None and validation.samples == [] and validation.warnings == []


def test_the_loss_leaves_out_what_is_too_long(parts: tuple[Config, Tokenizer, Model]) -> None:
    config, tokenizer, _ = parts
    short = changed(config, "data", max_source_length=10)
    assert len(Validator(PAIRS, tokenizer, tokenizer, short, CPU).sources) == 3
    none = changed(config, "data", max_target_length=1)
    with pytest.raises(UserError, match=r"none of 4 development pairs .* data\.max_target_length = 1 pieces; raise"):
        Validator(PAIRS, tokenizer, tokenizer, none, CPU)


def test_outputs_are_those_of_a_greedy_search(parts: tuple[Config, Tokenizer, Model]) -> None:
    config, tokenizer, model = parts
    validation = Validator(PAIRS, tokenizer, tokenizer, config, CPU).validate(model, decode=True)
    expected = Seq2Seq(TorchEngine(model), config, tokenizer, tokenizer).generate([p.source for p in PAIRS], beam=1)
    assert validation.samples == [(p.source, r.text, p.target) for p, r in zip(PAIRS[:2], expected[:2], strict=True)]
    assert validation.score is not None and validation.score.name == "exact_match" and validation.score.value == 0


def test_all_references_count_and_the_loss_is_of_the_first(parts: tuple[Config, Tokenizer, Model]) -> None:
    config, tokenizer, model = parts
    plain = Validator(PAIRS, tokenizer, tokenizer, config, CPU).validate(model, decode=True)
    outputs = Seq2Seq(TorchEngine(model), config, tokenizer, tokenizer).generate([p.source for p in PAIRS], beam=1)
    right = [Pair(p.source, p.target, [r.text]) for p, r in zip(PAIRS, outputs, strict=True)]
    validation = Validator(right, tokenizer, tokenizer, config, CPU).validate(model, decode=True)
    assert plain.score is not None and plain.score.value == 0
    assert validation.score is not None and validation.score.value == 100
    assert validation.loss == plain.loss and validation.samples == plain.samples


def test_only_some_pairs_are_decoded(parts: tuple[Config, Tokenizer, Model]) -> None:
    config, tokenizer, model = parts
    some = changed(config, "train", valid_sentences=1)
    validator = Validator(PAIRS, tokenizer, tokenizer, some, CPU)
    assert len(validator.validate(model, decode=True).samples) == 1 and len(validator.sources) == 4
    every = changed(config, "train", valid_sentences=0, samples=9)
    assert len(Validator(PAIRS, tokenizer, tokenizer, every, CPU).validate(model, decode=True).samples) == 4


def test_the_loss_may_be_the_metric(parts: tuple[Config, Tokenizer, Model]) -> None:
    config, tokenizer, model = parts
    validator = Validator(PAIRS, tokenizer, tokenizer, changed(config, "train", metric="loss"), CPU)
    for decode in (False, True):
        validation = validator.validate(model, decode)
        assert validation.score is not None and (validation.score.name, validation.score.value) == (
            "loss",
            validation.loss,
        )
        assert not validation.score.higher_is_better and len(validation.samples) == 2 * decode


@pytest.mark.parametrize(("piece", "fault"), [("</s>", "are empty"), ("a", "repeat themselves")])
def test_it_warns_of_empty_and_of_repeating_outputs(
    parts: tuple[Config, Tokenizer, Model], piece: str, fault: str
) -> None:
    config, tokenizer, model = parts
    ids = [EOS] if piece == "</s>" else tokenizer.encode_ids([piece])[0]
    with torch.no_grad():
        model.output.bias[np.asarray(ids)] += 100  # whatever the source
    validation = Validator(PAIRS, tokenizer, tokenizer, config, CPU).validate(model, decode=True)
    assert [w for w in validation.warnings if fault in w], validation.warnings
