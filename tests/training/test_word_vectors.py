"""Pretrained vectors: every format, what is matched, what is refused, and the weights that a run begins with."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from tasks import Told, options

from antiphon.config import loading
from antiphon.config.sections import Text
from antiphon.data.tokenizer import UNK, Tokenizer
from antiphon.errors import UserError
from antiphon.training import word_vectors
from antiphon.training.run import open_run

ROWS = {"b": [1.5, -2.0, 0.25], "owl": [9.0, 9.0, 9.0], "a": [0.5, 1e-3, -7.0], ". .": [4.0, 4.0, 4.0]}


def write(path: Path, header: bool, end: str = "") -> str:
    text = f"{len(ROWS)} 3\n" if header else ""
    text += "".join(f"{word} {' '.join(map(str, row))}{end}\n" for word, row in ROWS.items())
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return Tokenizer.train(["a b c"] * 3, Text(kind="word", size=20), 20)


@pytest.mark.parametrize(
    ("name", "header", "end"), [("w.vec", True, ""), ("w.txt", False, ""), ("w.txt.gz", True, " ")]
)
def test_the_files_of_all_programs_are_read(
    tmp_path: Path, words: Tokenizer, name: str, header: bool, end: str
) -> None:
    vectors = word_vectors.read(write(tmp_path / name, header, end), words, 3)
    assert {words.pieces([i])[0]: row.tolist() for i, row in vectors.items()} == {
        "▁a": pytest.approx(ROWS["a"]), "▁b": ROWS["b"]
    }  # fmt: skip


def test_words_are_matched_as_the_tokenizer_reads_texts(tmp_path: Path) -> None:
    text = Text(kind="bpe", size=400, lowercase=True, byte_fallback=False)
    tokenizer = Tokenizer.train(["the cat sat", "caté 狗 cats"] * 4, text, 60)
    path = tmp_path / "w.txt"
    path.write_text("Cat 1\nCAT 2\nsat 3\ncate\u0301 4\n狗 5\nzq 6\n", "utf-8")
    vectors = word_vectors.read(str(path), tokenizer, 1)
    named = {tokenizer.pieces([i])[0]: float(row[0]) for i, row in vectors.items()}
    assert named == {"▁cat": 1, "▁sat": 3, "▁caté": 4, "狗": 5} and UNK not in vectors


def test_a_run_begins_with_the_vectors(tmp_path: Path) -> None:
    path = tmp_path / "w.vec"
    rows = np.random.default_rng(1).normal(size=(3, 16)).round(4)
    path.write_text("".join(f"{w} {' '.join(map(str, row))}\n" for w, row in zip("agz", rows, strict=True)), "utf-8")
    plain = open_run(options(tmp_path), tmp_path / "plain", "", Told())
    told = Told()
    made = open_run(options(tmp_path, train={"target_vectors": str(path)}), tmp_path / "made", "", told)
    ids = [made.data.target.encode(word).ids[0] for word in "ag"]
    expected = plain.model.target_embedding.weight.detach().numpy().copy()
    expected[ids] = rows[:2]
    np.testing.assert_allclose(made.model.target_embedding.weight.detach().numpy(), expected, rtol=1e-6)
    assert (made.model.source_embedding.weight == plain.model.source_embedding.weight).all()
    assert f"vectors of 2 of {len(made.data.target)} target pieces" in told.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 300\n", r"have 300 numbers, and the embeddings 3: set model\.embedding = 300"),
        ("a 1 2\nb 1 2\n", r"have 2 numbers, and the embeddings 3"),
        ("a 1 2 3\nb 1 2\n", r"w\.txt:2: 2 numbers, and 3 before"),
        ("a 1 2 3\nb 1 2 x\n", r"w\.txt:2: could not convert.*'x'"),
        ("b 1 nan 3\n", r"w\.txt:1: .*not finite"),
        ("", "empty"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, words: Tokenizer, text: str, message: str) -> None:
    path = tmp_path / "w.txt"
    path.write_text(text, "utf-8")
    with pytest.raises(UserError, match=message):
        word_vectors.read(str(path), words, 3)


def test_one_embedding_takes_one_file() -> None:
    with pytest.raises(UserError, match=r"train\.source_vectors and none in train\.target_vectors"):
        loading.load(sets=["model.tie=all", "train.source_vectors=a.vec", "train.target_vectors=b.vec"])
