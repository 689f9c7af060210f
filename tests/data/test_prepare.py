"""Preparing: held-out pairs, the same command twice, changed data, standard input, and what cannot be prepared."""

import io
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from antiphon.config.loading import load
from antiphon.config.sections import Config
from antiphon.data import store
from antiphon.data.corpus import Pair
from antiphon.data.prepare import Prepared, prepare, training_pairs
from antiphon.errors import UserError

WORDS = ["the", "red", "bird", "sings", "loudly", "near", "a", "green", "river", "today"]


def make_pairs(n: int, seed: int = 0) -> list[Pair]:
    rng = random.Random(seed)
    return [Pair(*(" ".join(rng.choices(WORDS, k=rng.randint(3, 8))) for _ in range(2))) for _ in range(n)]


def write(path: Path, pairs: list[Pair]) -> str:
    path.write_text("".join(f"{p.source}\t{p.target}\n" for p in pairs), "utf-8")
    return str(path)


def options(train: list[str], valid: list[str] | None = None, **over: dict[str, Any]) -> Config:
    merged = {"data": {"train": train, "valid": valid or []} | over.pop("data", {}), "text": {"size": 320}}
    merged["text"] |= over.pop("text", {})
    return load(over=merged | over)


def trained_on(prepared: Prepared) -> list[Pair]:
    sources, targets = prepared.train.pairs(np.arange(len(prepared.train)))
    return [
        Pair(prepared.source.decode(s.tolist()), prepared.target.decode(t.tolist()))
        for s, t in zip(sources, targets, strict=True)
    ]


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = (f for f in folder.rglob("*") if f.is_file())
    return {str(f.relative_to(folder)): (f.stat().st_mtime_ns, f.read_bytes()) for f in files}


def test_development_pairs_are_held_out_and_never_trained_on(tmp_path: Path) -> None:
    pairs = make_pairs(300)
    doubled = [*pairs, *pairs[:150], Pair("", "x")]
    prepared = prepare(tmp_path / "run", options([write(tmp_path / "p.tsv", doubled)]))
    assert (prepared.pairs, len(prepared.valid)) == (451, 45)
    assert len(set(prepared.valid)) == 45
    assert trained_on(prepared) == [pair for pair in doubled if pair not in prepared.valid and pair.source]
    assert prepared.train.left_out == {"empty": 1, "long": 0}
    random.Random(1).shuffle(doubled)
    other = prepare(tmp_path / "other", options([write(tmp_path / "q.tsv", doubled)]))
    assert other.valid == prepared.valid, "the choice depends on the order"
    few = prepare(tmp_path / "few", options([str(tmp_path / "p.tsv")], data={"held_out": 7}))
    assert few.valid == prepared.valid[:7]


def test_given_development_pairs_are_taken_as_they_are(tmp_path: Path) -> None:
    train, valid = make_pairs(50), make_pairs(5, seed=1)
    config = options([write(tmp_path / "t.tsv", train)], [write(tmp_path / "v.tsv", [*valid, Pair("", "a")])])
    prepared = prepare(tmp_path / "run", config)
    assert prepared.valid == valid
    assert trained_on(prepared) == train


def test_separate_vocabularies(tmp_path: Path) -> None:
    config = options([write(tmp_path / "t.tsv", make_pairs(50))], text={"joint": False, "source_size": 300})
    prepared = prepare(tmp_path / "run", config)
    assert prepared.source is not prepared.target
    assert len(prepared.source) <= 300
    again = prepare(tmp_path / "run", config)
    assert again.source.to_json() == prepared.source.to_json()
    assert again.target.to_json() == prepared.target.to_json()


def test_the_same_command_finds_everything_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = options([write(tmp_path / "t.tsv", make_pairs(60))])
    seen: list[tuple[str, int, int | None]] = []
    first = prepare(tmp_path / "run", config, lambda *report: seen.append(report))
    assert list(dict.fromkeys(stage for stage, _, _ in seen)) == ["reading", "learning the vocabulary", "tokenising"]
    before = snapshot(tmp_path / "run")
    os.utime(tmp_path / "t.tsv", (1, 1))  # another time, the same content
    (tmp_path / "t.tsv").rename(tmp_path / "moved.tsv")
    again = prepare(tmp_path / "run", options([str(tmp_path / "moved.tsv")]))
    assert snapshot(tmp_path / "run") == before
    assert again.valid == first.valid
    assert trained_on(again) == trained_on(first)
    moved = config.data.model_copy(update={"train": [str(tmp_path / "moved.tsv")]})
    assert list(training_pairs(moved, tmp_path / "run")) == list(training_pairs(moved)) == make_pairs(60)


def test_an_interrupted_preparation_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = options([write(tmp_path / "t.tsv", make_pairs(60))])
    whole = prepare(tmp_path / "whole", config)
    real = store.build

    def killed(*args: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "build", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "run", config)
    monkeypatch.setattr(store, "build", real)
    assert trained_on(prepare(tmp_path / "run", config)) == trained_on(whole)


def test_changed_data_and_options_are_noticed(tmp_path: Path) -> None:
    pairs = make_pairs(60)
    file = write(tmp_path / "t.tsv", pairs)
    prepare(tmp_path / "run", options([file]))

    def refused(config: Config, message: str) -> None:
        with pytest.raises(UserError, match=message):
            prepare(tmp_path / "run", config)

    refused(options([file], text={"size": 300}), r"text\.size was 320 and is 300; write the new run to another folder")
    refused(options([file], data={"max_source_length": 9}), r"data\.max_source_length was 256 and is 9")
    refused(options([file], text={"dropout": 0.1}), r"text\.dropout was 0\.0 and is 0\.1")
    refused(options([file], [file]), r"data\.held_out was 1000 and is not set; data\.valid was \[\]")
    reseeded = options([file])
    prepare(
        tmp_path / "run", reseeded.model_copy(update={"train": load(sets=["train.seed=5"]).train})
    )  # for dropout only
    write(tmp_path / "t.tsv", pairs[1:])
    refused(options([file]), r"data\.train: .*t\.tsv has changed")


def test_dropout_makes_copies(tmp_path: Path) -> None:
    config = options([write(tmp_path / "t.tsv", make_pairs(60))], text={"dropout": 0.3, "dropout_copies": 2})
    train = prepare(tmp_path / "run", config).train
    assert train.copies == 2
    assert not np.array_equal(train.lengths(0)[0], train.lengths(1)[0])


class Pipe(io.TextIOWrapper):
    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8")


def test_standard_input_is_kept_and_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = make_pairs(60)
    content = Path(write(tmp_path / "t.tsv", pairs)).read_bytes()
    config, folder = options(["-"]), tmp_path / "run"
    monkeypatch.setattr("sys.stdin", Pipe(content))
    assert list(training_pairs(config.data, folder)) == pairs
    first = prepare(folder, config)
    assert trained_on(first) == [pair for pair in pairs if pair not in first.valid]
    for again in (content, b""):
        monkeypatch.setattr("sys.stdin", Pipe(again))
        assert trained_on(prepare(folder, config)) == trained_on(first)
    monkeypatch.setattr("sys.stdin", Pipe(b"other\ttext\n"))
    with pytest.raises(UserError, match="standard input has changed"):
        prepare(folder, config)
    monkeypatch.setattr("sys.stdin", Pipe(b""))
    assert trained_on(prepare(folder, config)) == trained_on(first)
    with pytest.raises(UserError, match="given twice"):
        prepare(tmp_path / "twice", options(["-"], ["-:csv"]))
    monkeypatch.setattr("sys.stdin", Pipe(b""))
    with pytest.raises(UserError, match="no text in it"):
        prepare(tmp_path / "empty", config)


def test_corpora_that_cannot_be_prepared(tmp_path: Path) -> None:
    def refused(config: Config, message: str) -> None:
        with pytest.raises(UserError, match=message):
            prepare(tmp_path / "run", config)
        assert not (tmp_path / "run" / "prepared.json").exists()
        assert not (tmp_path / "run" / "train").exists()

    good = write(tmp_path / "good.tsv", make_pairs(60))
    refused(options([]), r"no training data: set data\.train")
    refused(options([str(tmp_path / "missing.tsv")]), "missing.tsv: no such file")
    refused(options([write(tmp_path / "half.tsv", [Pair("a", "")] * 20)]), "half.tsv: all 20 pairs have an empty side")
    refused(options([good], [write(tmp_path / "v.tsv", [Pair("a", "")])]), "all development pairs have an empty side")
    refused(options([write(tmp_path / "few.tsv", make_pairs(8))]), "8 pairs are too few .* name a development corpus")
    refused(options([good], data={"max_source_length": 1}), r"none of the 54 training pairs can be used")
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(UserError, match="file: cannot be written"):
        prepare(tmp_path / "file", options([good]))


def test_a_normalisation_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    rng = random.Random(0)
    pairs = [Pair("".join(rng.choices("春夏秋冬山水花鸟", k=6)), " ".join(rng.choices(WORDS, k=4))) for _ in range(60)]
    file = write(tmp_path / "t.tsv", [Pair("abc", "abc"), *pairs])
    for joint in (True, False):
        config = options([file], text={"normalise": "tensorflow", "joint": joint, "kind": "word"})
        with pytest.raises(
            UserError, match=r"text\.normalise = 'tensorflow' leaves nothing of 9\d% of the source lines"
        ) as e:
            prepare(tmp_path / "run", config)
        assert f"{file}:" in str(e.value)
    bare = write(tmp_path / "n.tsv", pairs)
    for kind in ("bpe", "unigram", "word", "char"):
        with pytest.raises(UserError, match=r"leaves nothing of 100% of the source lines"):
            prepare(tmp_path / "run", options([bare], text={"normalise": "tensorflow", "joint": False, "kind": kind}))


def test_damaged_preparations_are_refused(tmp_path: Path) -> None:
    config = options([write(tmp_path / "t.tsv", make_pairs(60))])
    for name, content in (
        ("prepared.json", "{"),
        ("prepared.json", json.dumps({"format": "antiphon data", "version": 0})),
        ("tokenizer.json", None),
        ("tokenizer.json", "{}"),
        ("valid.jsonl", None),
        ("train/meta.json", None),
    ):
        folder = tmp_path / f"run{random.random()}"
        prepare(folder, config)
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_text(content, "utf-8")
        with pytest.raises(UserError, match=r"delete|not a tokenizer|not a store"):
            prepare(folder, config)


def test_real_translations(tmp_path: Path, data_folder: Path) -> None:
    raw = data_folder / "multi30k" / "raw"
    names = {side: f"{raw / f'{side}.en.gz'},{raw / f'{side}.de.gz'}" for side in ("train", "val")}
    if not (raw / "train.en.gz").is_file():
        pytest.skip(f"{raw}: no such folder")
    config = load(over={"data": {"train": [names["train"]], "valid": [names["val"]]}})
    prepared = prepare(tmp_path / "run", config)
    assert (len(prepared.train), len(prepared.valid), len(prepared.source)) == (29000, 1014, 8000)
    assert prepared.train.left_out == {"empty": 0, "long": 0}


def test_further_references_are_kept_for_development_alone(tmp_path: Path) -> None:
    rows = [{"source": f"{word} day", "target": [f"good {word}", f"{word} too"]} for word in WORDS]
    spec = str(tmp_path / "a.jsonl")
    Path(spec).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for _ in range(2):  # made, and opened again
        prepared = prepare(tmp_path / "data", options([spec], [spec]))
        assert [pair.references for pair in prepared.valid] == [row["target"] for row in rows]
    assert {pair.target for pair in trained_on(prepared)} == {f"good {word}" for word in WORDS}
