"""The model folder: what goes in comes out, whole or not at all, and whatever is wrong is said in words."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from antiphon import model_folder
from antiphon.config import loading
from antiphon.config.sections import Config
from antiphon.data.tokenizer import Tokenizer
from antiphon.errors import UserError
from antiphon.evaluation.metrics import Score
from antiphon.model_folder import Card

LINES = ["the red bird sings", "a green river runs", "the river sings today"] * 3
JOINT = loading.load(over={"text": {"size": 300}})
SEPARATE = loading.load(over={"text": {"size": 300, "joint": False}})
WEIGHTS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b.c": np.full(3, 0.1, np.float32)}
CARD = Card(
    command="antiphon train --train pairs.tsv --out model",
    data="pairs.tsv",
    pairs=1234567,
    parameters=9,
    updates=20,
    epochs=1.5,
    minutes=0.75,
    seed=1,
    scores=[Score("bleu", 39.128, "nrefs:1|case:mixed", True)],
    samples=[("<b>a|b</b>\nc", "*it's* `so`", "[x](y)")],
)


def learnt(lines: list[str] = LINES) -> Tokenizer:
    return Tokenizer.train(lines, JOINT.text, 300)


TOKENIZER, OTHER = learnt(), learnt(["ein roter Vogel singt", "der Fluss"])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model_folder.save(tmp_path / "model", JOINT, TOKENIZER, TOKENIZER, WEIGHTS, CARD)
    return tmp_path / "model"


def names(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir())


def same(weights: dict[str, NDArray[np.float32]], expected: dict[str, NDArray[np.float32]]) -> bool:
    return weights.keys() == expected.keys() and all(np.array_equal(weights[n], expected[n]) for n in expected)


def test_what_goes_in_comes_out(saved: Path) -> None:
    assert names(saved) == ["README.md", "config.json", "model.safetensors", "tokenizer.json"]
    opened = model_folder.load(str(saved))
    assert opened.config == JOINT and opened.path == saved
    assert opened.source is opened.target and opened.source.to_json() == TOKENIZER.to_json()
    weights = opened.weights()
    assert same(weights, WEIGHTS) and all(w.dtype == np.float32 for w in weights.values())


def test_two_vocabularies_are_two_files(tmp_path: Path) -> None:
    model_folder.save(tmp_path, SEPARATE, TOKENIZER, OTHER, WEIGHTS)
    assert names(tmp_path) == ["config.json", "model.safetensors", "tokenizer.source.json", "tokenizer.target.json"]
    opened = model_folder.load(tmp_path)
    assert opened.source.to_json() == TOKENIZER.to_json() and opened.target.to_json() == OTHER.to_json()


def test_a_newer_model_takes_the_place_of_an_older_one(saved: Path) -> None:
    newer = {"a": -np.ones((3, 2)).T}  # float64 and not contiguous
    model_folder.save(saved, JOINT, TOKENIZER, TOKENIZER, newer)
    assert same(model_folder.load(saved).weights(), {"a": -np.ones((2, 3), np.float32)})
    assert "antiphon train" in (saved / "README.md").read_text("utf-8")  # the card stays
    model_folder.save(saved, SEPARATE, TOKENIZER, OTHER, newer)
    assert "tokenizer.json" not in names(saved)
    assert model_folder.load(saved).config == SEPARATE


@pytest.mark.parametrize("failing", range(5))
def test_a_full_disk_leaves_the_model_before(saved: Path, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    before = {p.name: p.read_bytes() for p in saved.iterdir()}
    sync, calls = os.fsync, iter(range(9))

    def fsync(handle: int) -> None:
        if next(calls) == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UserError, match="model: cannot be written: the disk is full; make room"):
        model_folder.save(saved, SEPARATE, TOKENIZER, OTHER, {"a": WEIGHTS["a"] + 1}, CARD)
    assert {p.name: p.read_bytes() for p in saved.iterdir()} == before


def test_a_save_that_dies_between_two_files_leaves_no_model_of_two(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def dying(path: Path, target: Path) -> Path:
        if target.name == "model.safetensors":
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", dying)
    with pytest.raises(KeyboardInterrupt):
        model_folder.save(saved, SEPARATE, TOKENIZER, OTHER, WEIGHTS)
    with pytest.raises(UserError, match=r"not a model folder: it has no config\.json"):
        model_folder.load(saved)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", "utf-8")
    with pytest.raises(UserError, match="file: cannot be written"):
        model_folder.save(tmp_path / "file", JOINT, TOKENIZER, TOKENIZER, WEIGHTS)


def test_the_card_says_what_the_model_is_and_no_text_breaks_it(saved: Path) -> None:
    card = (saved / "README.md").read_text("utf-8")
    for expected in ["1,234,567", "bidirectional LSTM, 1 x 256", "39.13", r"nrefs:1\|case:mixed", CARD.command]:
        assert expected in card
    assert r"| &lt;b&gt;a\|b&lt;/b&gt; c | \*it's\* \`so\` | \[x\](y) |" in card
    assert 'Seq2Seq.load("model")' in card
    code = card.split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")


def test_a_command_with_backticks_stays_in_its_block(tmp_path: Path) -> None:
    command = "antiphon train --set text.symbols='[\"```\"]'"
    card = Card(command=command, data="d", pairs=1, parameters=1, updates=1, epochs=1, minutes=1, seed=1)
    model_folder.save(tmp_path, JOINT, TOKENIZER, TOKENIZER, WEIGHTS, card)
    assert f"````sh\n{command}\n````\n" in (tmp_path / "README.md").read_text("utf-8")


def changed(path: Path, **values: object) -> None:
    document = json.loads((path / "config.json").read_text("utf-8"))
    (path / "config.json").write_text(json.dumps(document | values), "utf-8")


def drop(name: str) -> Callable[[Path], None]:
    return lambda path: (path / name).unlink()


def write(name: str, content: bytes) -> Callable[[Path], None]:
    def do(path: Path) -> None:
        (path / name).write_bytes(content)

    return do


def option(section: str, **values: object) -> Callable[[Path], None]:
    document = JOINT.model_dump(mode="json")
    return lambda path: changed(path, config=document | {section: document[section] | values})


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no config": (drop("config.json"), r"model: not a model folder: it has no config\.json"),
    "no tokenizer": (drop("tokenizer.json"), r"tokenizer\.json: missing; copy"),
    "broken json": (write("config.json", b'{"format": '), r"config\.json: damaged, not JSON"),
    "not utf-8": (write("config.json", b'"\xff"'), r"config\.json: damaged, not JSON"),
    "a list": (write("config.json", b"[]"), r"config\.json: not written by Antiphon"),
    "transformers": (write("config.json", b'{"model_type": "bart"}'), "model of Hugging Face transformers, which"),
    "newer": (
        lambda p: changed(p, version=2, antiphon="9.1"),
        r"version 2 .* written by Antiphon 9\.1; .* install a newer",
    ),
    "unknown option": (option("model", cel="lstm"), r"config\.json: unknown option model\.cel; did you mean 'cell'"),
    "bad value": (option("model", embedding="wide"), r"config\.json: model\.embedding = 'wide'"),
    "no configuration": (lambda p: changed(p, config=None), r"config\.json: not a configuration"),
    "broken tokenizer": (write("tokenizer.json", b"{}"), r"tokenizer\.json: not a tokenizer"),
    "binary tokenizer": (write("tokenizer.json", b"\xff\xfe"), r"tokenizer\.json: damaged: not UTF-8 at byte 0"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_folder_is_refused_in_words(saved: Path, how: str) -> None:
    break_it, message = BROKEN[how]
    break_it(saved)
    with pytest.raises(UserError, match=message):
        model_folder.load(saved)


def test_an_unknown_option_of_a_newer_antiphon_says_so(saved: Path) -> None:
    option("model", flux=1)(saved)
    changed(saved, antiphon="9.1")
    with pytest.raises(UserError, match=r"unknown option model\.flux.*it was written by Antiphon 9\.1, and this is"):
        model_folder.load(saved)


@pytest.mark.parametrize("content", [None, b"", b"not safetensors", b"\x08\0\0\0\0\0\0\0{}      "[:12]])
def test_missing_or_damaged_weights_are_named(saved: Path, content: bytes | None) -> None:
    (saved / "model.safetensors").unlink() if content is None else write("model.safetensors", content)(saved)
    with pytest.raises(UserError, match=r"model\.safetensors: (missing|damaged)"):
        model_folder.load(saved).weights()


def test_weights_cut_short_are_damaged(saved: Path) -> None:
    whole = (saved / "model.safetensors").read_bytes()
    write("model.safetensors", whole[:-4])(saved)
    with pytest.raises(UserError, match=r"model\.safetensors: damaged"):
        model_folder.load(saved).weights()


@pytest.mark.parametrize(
    "files, message",
    [
        (["model.bin", "config.json"], "CTranslate2"),
        (["pytorch_model.bin", "config.json"], "transformers"),
        (["checkpoint_best.pt"], "PyTorch"),
        (["params.best", "config"], "Sockeye"),
        (["model.npz"], "Marian"),
        (["notes.txt"], r"it has no config\.json; give a folder from `antiphon train`"),
    ],
)
def test_folders_of_other_toolkits_are_recognised(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / name).write_text("{}", "utf-8")
    with pytest.raises(UserError, match=message):
        model_folder.load(tmp_path)


def test_what_is_not_a_folder_is_said_with_the_near_one(saved: Path) -> None:
    cases = {
        saved.with_name("modle"): "modle: no such model folder; did you mean 'model'?",
        saved / "no" / "where": "no such model folder, and no folder",
        saved / "model.safetensors": rf"a file, not a model folder; give its folder, .*{saved.name}",
    }
    for path, message in cases.items():
        with pytest.raises(UserError, match=message):
            model_folder.load(path)
    pickle = saved.with_name("best.pt")
    pickle.write_bytes(b"x")
    with pytest.raises(UserError, match="a pickle, which could run any program and is never opened"):
        model_folder.load(pickle)


def test_a_training_without_a_model_yet_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match="a training has begun here but has not saved a model yet"):
        model_folder.load(tmp_path)


def test_a_configuration_comes_back_in_every_kind_of_value(tmp_path: Path) -> None:
    every: Config = loading.load(
        over={
            "data": {"train": ["a.tsv", "b.tsv"]},
            "text": {"symbols": ["<2de>"]},
            "train": {"epochs": 3, "ema": 0.1, "tensorboard": False},
        }
    )
    model_folder.save(tmp_path, every, TOKENIZER, TOKENIZER, WEIGHTS)
    assert model_folder.load(tmp_path).config == every


def test_neither_module_imports_torch() -> None:
    code = "import sys, antiphon.model_folder, antiphon.seq2seq; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
