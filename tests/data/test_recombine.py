"""Recombined pairs: which words trade places, which do not, and what `prepare` does with the new pairs."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from antiphon.config.loading import load
from antiphon.config.sections import Config
from antiphon.data.corpus import Pair
from antiphon.data.prepare import Prepared, prepare
from antiphon.data.recombine import recombine
from antiphon.errors import UserError

ACTIONS = {"walk": "WALK", "run": "RUN", "look": "LOOK", "jump": "JUMP"}
TIMES = {"": 1, " twice": 2, " thrice": 3}


def command(verb: str, times: str) -> tuple[str, str]:
    return verb + times, " ".join([ACTIONS[verb]] * TIMES[times])


def commands(verbs: list[str]) -> dict[str, str]:
    """Every command of these verbs and what it means: one part, or two parts joined by `and` or `after`."""
    parts = [command(verb, times) for verb, times in product(verbs, TIMES)]
    both = {f"{a} and {b}": f"{x} {y}" for (a, x), (b, y) in product(parts, parts)}
    after = {f"{a} after {b}": f"{y} {x}" for (a, x), (b, y) in product(parts, parts)}
    return {**dict(parts), **both, **after}


def pairs(meanings: dict[str, str]) -> list[Pair]:
    return [Pair(source, target) for source, target in meanings.items()]


def test_a_word_known_alone_takes_the_places_of_its_peers() -> None:
    train = [*pairs(commands(["walk", "run", "look"])), *[Pair("jump", "JUMP")] * 9]
    made = recombine(train, 10_000, seed=1)
    everything = commands(list(ACTIONS))
    seen = {pair.source for pair in train}
    assert all(everything[pair.source] == pair.target for pair in made)
    assert {pair.source for pair in made} == everything.keys() - seen


def test_words_that_several_output_words_hang_on_trade_places_together() -> None:
    train = [
        Pair("walk left", "L WALK"), Pair("walk right", "R WALK"), Pair("turn left and walk right", "L R WALK"),
        Pair("walk around left", "L WALK L WALK L WALK L WALK"),
    ]  # fmt: skip
    assert set(recombine(train, 10, seed=1)) == {
        Pair("turn right and walk left", "R L WALK"),
        Pair("walk around right", "R WALK R WALK R WALK R WALK"),
    }


def test_spaces_and_signs_stay_as_they_are() -> None:
    train = [
        Pair("a red hat.", "un chapeau rouge."), Pair("a pink hat.", "un chapeau rose."),
        Pair("My red car,  (big)!", "Ma voiture rouge ;  grande !"), Pair("big", "grande"),
    ]  # fmt: skip
    assert Pair("My pink car,  (big)!", "Ma voiture rose ;  grande !") in recombine(train, 10, seed=1)


def test_a_word_with_another_output_elsewhere_stays() -> None:
    train = [
        Pair("a red hat", "un chapeau rouge"), Pair("a pink hat", "un chapeau rose"), Pair("a hat", "un chapeau"),
        Pair("red shoes", "chaussures rouges"), Pair("red hat and red shoes", "chapeau rouge et chaussures rouges"),
    ]  # fmt: skip
    sources = {pair.source for pair in recombine(train, 10, seed=1)}
    assert "pink shoes" not in sources
    assert "pink hat and pink shoes" not in sources


def test_the_seed_chooses_and_known_sources_are_left_out() -> None:
    train = [*pairs(commands(["walk", "run"])), Pair("jump", "JUMP")]
    some = recombine(train, 20, seed=1)
    assert len(set(some)) == 20
    assert recombine(iter(train), 20, seed=1) == some
    assert recombine(train, 20, seed=2) != some
    every = recombine(train, 10_000, seed=1)
    left = recombine(train, 10_000, seed=1, known={pair.source for pair in some})
    assert set(left) == set(every) - set(some)


def test_nothing_is_made_of_pairs_without_peers() -> None:
    assert recombine([], 10, seed=1) == []
    assert recombine([Pair("a b", "x y"), Pair("c d", "z w"), Pair("", ""), Pair("...", "!")], 10, seed=1) == []
    assert recombine(pairs(commands(["walk", "run"])), 10, seed=1) == [], "all is there already"


def test_a_large_corpus_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon.data.recombine.MOST", 30)
    everything = commands(["walk", "run"])
    made = recombine(pairs(everything), 10_000, seed=1)
    assert made == recombine(pairs(everything), 10_000, seed=1)
    assert 0 < len(made) <= 48, "the other 48 commands are not known to it"
    assert all(everything[pair.source] == pair.target for pair in made)


# In a training


def options(folder: Path, recombined: int, **more: dict[str, object]) -> Config:
    train = [*pairs(commands(["walk", "run"])), Pair("jump", "JUMP")]
    for name, rows in (("train.tsv", train), ("valid.tsv", [Pair("jump and run", "JUMP RUN")])):
        (folder / name).write_text("".join(f"{p.source}\t{p.target}\n" for p in rows), encoding="utf-8")
    data = {"train": [str(folder / "train.tsv")], "valid": [str(folder / "valid.tsv")], "recombine": recombined}
    return load(over={"data": data, "text": {"kind": "word", "size": 50}, **more})


def test_recombined_pairs_are_added_to_the_training_pairs_alone(tmp_path: Path) -> None:
    stages: list[str] = []
    prepared = prepare(tmp_path / "run", options(tmp_path, 20), lambda stage, done, total: stages.append(stage))
    assert (prepared.pairs, prepared.recombined, len(prepared.train)) == (79, 20, 99)
    assert prepared.valid == [Pair("jump and run", "JUMP RUN")]
    assert {"learning fragments", "recombining"} <= set(stages)
    rows = [json.loads(line) for line in (tmp_path / "run/recombined.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == 20
    assert prepared.valid[0].source not in {row["source"] for row in rows}
    assert added(prepared) == [row["source"] for row in rows]
    again = prepare(tmp_path / "run", options(tmp_path, 20))
    assert (again.recombined, len(again.train)) == (20, 99)


def test_another_seed_or_number_is_another_preparation(tmp_path: Path) -> None:
    prepare(tmp_path / "run", options(tmp_path, 20))
    with pytest.raises(UserError, match=r"data\.recombine was 20 and is 30"):
        prepare(tmp_path / "run", options(tmp_path, 30))
    with pytest.raises(UserError, match=r"train\.seed was 1 and is 2"):
        prepare(tmp_path / "run", options(tmp_path, 20, train={"seed": 2}))
    plain = prepare(tmp_path / "plain", options(tmp_path, 0))
    assert (plain.recombined, len(plain.train)) == (0, 79)
    prepare(tmp_path / "plain", options(tmp_path, 0, train={"seed": 2}))


def added(prepared: Prepared) -> list[str]:
    sources, _ = prepared.train.pairs(np.arange(prepared.pairs, len(prepared.train)))
    return [prepared.source.decode(row.tolist()) for row in sources]
