"""What a training chooses by itself, and that it leaves the user's choice alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from antiphon.config import loading
from antiphon.config.sections import Config
from antiphon.data.kind import Facts, Kind, Texts
from antiphon.errors import UserError
from antiphon.training import plan as planning
from antiphon.training.plan import Chosen, Plan, Values, plan

SENTENCES = Texts(60, 95, 60.0, 11, 19, 11.6, 0.0, 12_000, 0.06, 4.2, 72, 0.0, 0.0)
BODY = replace(SENTENCES, words=120, long_words=300, mean_words=140.0, characters=600, long_characters=1600)
WORD = Texts(7, 12, 7.2, 1, 1, 1.0, 1.0, 3600, 1.0, 7.2, 36, 0.0, 0.0)
SOUNDS = Texts(10, 18, 10.5, 5, 9, 5.5, 0.0, 40, 0.0, 1.1, 35, 0.0, 0.0)
HAN = Texts(10, 16, 9.8, 1, 1, 1.0, 1.0, 18_000, 1.0, 9.8, 1900, 1.0, 0.0)
SIDES: dict[Kind, tuple[Texts, Texts]] = {
    "sentences": (SENTENCES, SENTENCES),
    "summaries": (BODY, SENTENCES),
    "spellings": (WORD, SOUNDS),
    "commands": (SOUNDS, SOUNDS),
}


def made(kind: Kind, pairs: int, chosen: Chosen | None = None, speed: planning.Speed | None = None) -> Plan:
    return plan(Facts(pairs, *SIDES[kind]), kind, chosen or {}, speed)


def config(made: Plan, **over: dict[str, Any]) -> Config:
    return loading.load(made.preset, over=over, under=made.values)


@pytest.mark.parametrize("pairs", [10, 500, 5_000, 20_000, 100_000, 300_000, 1_000_000, 5_000_000])
@pytest.mark.parametrize("kind", SIDES)
def test_every_corpus_gets_options_that_agree(kind: Kind, pairs: int) -> None:
    c = config(made(kind, pairs))
    assert c.train.valid_every > 0 and c.train.valid_start < c.train.epochs and c.train.warmup > 0
    assert c.preset in ("fast", "small", "base")


def test_more_pairs_get_more_pieces_and_fewer_passes() -> None:
    few, some, many = (config(made("sentences", pairs)) for pairs in (1_000, 20_000, 1_000_000))
    assert few.text.size < some.text.size < many.text.size
    assert few.train.epochs > some.train.epochs > many.train.epochs
    assert few.model.dropout_output > many.model.dropout_output
    assert (few.text.kind, few.train.metric) == ("bpe", "bleu")


def test_each_kind_gets_its_pieces_and_metric() -> None:
    spellings = config(made("spellings", 3_600))
    assert (spellings.text.kind, spellings.text.joint, spellings.train.metric) == ("char", False, "exact_match")
    assert config(plan(Facts(3_600, SOUNDS, SOUNDS), "spellings", {})).text.kind == "word"
    commands = config(made("commands", 10_000))
    assert (commands.text.kind, commands.train.metric, commands.search.beam) == ("word", "exact_match", 1)
    summaries = config(made("summaries", 2_000))
    assert summaries.model.copy_source and summaries.train.metric == "rougeL"
    assert summaries.data.max_source_length == 400
    chinese = config(plan(Facts(19_000, SENTENCES, HAN), "sentences", {}))
    assert (chinese.train.metric, chinese.text.size) == ("chrf", 4_000)
    assert config(plan(Facts(19_000, HAN, HAN), "sentences", {})).text.kind == "char"


@pytest.mark.parametrize(
    "given",
    [
        {"text": {"kind": "bpe", "size": 300}},
        {"text": {"dropout": 0.1}},
        {"text": {"joint": True}, "model": {"tie": "all"}},
        {"text": {"joint": False}},
        {"model": {"score": "general"}},
        {"model": {"decoder_layers": 1}},
        {"model": {"decoder": "initial"}},
        {"model": {"cell": "gru"}, "train": {"batch": 32, "batch_unit": "sentences"}},
    ],
)
@pytest.mark.parametrize("kind", SIDES)
def test_what_the_user_gives_stays_and_fits(kind: Kind, given: dict[str, dict[str, Any]]) -> None:
    c = config(made(kind, 3_000, given), **given)
    for section, values in given.items():
        assert values.items() <= getattr(c, section).model_dump().items()


def test_validation_follows_the_users_passes() -> None:
    own = made("sentences", 5_000, {"train": {"epochs": 4.0}})
    assert own.values["train"]["valid_start"] == 2.0
    assert own.values["train"]["valid_every"] < made("sentences", 5_000).values["train"]["valid_every"]


def test_small_corpora_are_not_validated_all_the_time() -> None:
    for pairs in (500, 1_000, 5_000, 20_000):
        t = config(made("sentences", pairs)).train
        validations = t.epochs * pairs * 16 * 1.1 / t.batch / t.valid_every
        decoded = validations / 2 * min(500, pairs / 10)  # the others report the loss alone
        assert 2 <= validations < 15 and decoded * planning.DECODING <= 0.15 * t.epochs * pairs


def speed_of(**pairs_a_second: float) -> planning.Speed:
    """A machine that trains each size, by its embedding or its preset, so fast."""

    def speed(preset: str, values: Values, source: int, target: int) -> float:
        return pairs_a_second[f"e{values['model'].get('embedding', preset)}"]

    return speed


def test_the_largest_size_that_learns_enough_is_taken() -> None:
    def size(minutes: float, **speeds: float) -> int:
        chosen = {"train": {"minutes": minutes}}
        return int(made("sentences", 29_000, chosen, speed_of(**speeds)).values["model"]["embedding"])

    assert size(10, e192=900, e256=700, e384=300) == 256
    assert size(10, e192=200, e256=100) == 192
    assert size(10, e256=3000, e384=2000) == 384
    assert size(10, e256=3000, e384=20) == 256


def test_a_large_corpus_need_not_be_read_to_its_end() -> None:
    chosen = {"train": {"minutes": 10.0}}
    speeds = speed_of(ebase=10, esmall=40, e512=200, e384=900, e256=1200)
    short = made("sentences", 5_000_000, chosen, speeds)
    assert (short.preset, short.values["model"]["embedding"]) == ("fast", 384)
    assert any("more minutes give a better model" in reason for reason in short.reasons)
    assert config(short).train.valid_start < 0.1


def test_with_minutes_to_spare_a_training_ends_early() -> None:
    long = made("sentences", 500, {"train": {"minutes": 60.0}}, speed_of(e192=1000, e256=800))
    row = planning.SENTENCES[0]
    assert long.values["train"]["epochs"] == planning.SPARE * row.passes
    assert any("before 60 min are over" in reason for reason in long.reasons)


def test_without_minutes_nothing_is_measured() -> None:
    def refuse(*_: object) -> float:
        raise AssertionError("measured")

    assert made("sentences", 500, {}, refuse) == made("sentences", 500)


def test_a_named_preset_gets_the_time_alone() -> None:
    assert planning.named({}) == {}
    assert planning.named({"train": {"minutes": 3.0}})["train"].keys() == {"epochs"}


def test_a_plan_is_kept_as_it_is(tmp_path: Path) -> None:
    first = made("spellings", 3_600)
    assert planning.read(tmp_path) is None
    planning.write(tmp_path, first)
    assert planning.read(tmp_path) == first
    (tmp_path / planning.FILE).write_text("{", "utf-8")
    with pytest.raises(UserError, match="damaged"):
        planning.read(tmp_path)


def test_speed_is_that_of_real_updates() -> None:
    from antiphon.training import speed

    small = loading.load("tiny", sets=["text.size=40", "train.batch=200", "train.threads=1"])
    assert speed.pairs_a_second(small, 6, 5) > 1
