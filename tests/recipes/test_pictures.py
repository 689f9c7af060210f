"""A recipe's pictures: what they take from models and rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from antiphon.errors import UserError
from antiphon.evaluation import plots
from antiphon.recipes import pictures
from antiphon.recipes.recipe import Picture


def row(model: str, name: str, value: float, deviation: float | None = None) -> dict[str, Any]:
    return {"model": model, "set": name, "scores": [{"name": "bleu", "value": value, "deviation": deviation}]}


def test_bars_are_named_by_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(plots, "bars", lambda *arguments: drawn.append(arguments))
    picture = Picture(kind="bars", file="b.png", title="t")
    pictures.bars(picture, tmp_path, [row("a", "beam 1", 1.0, 0.5), row("b", "beam 1", 2.0)])
    pictures.bars(picture, tmp_path, [row("a", "beam 1", 1.0), row("a", "beam 2", 2.0)])
    assert drawn[0][1:3] == ({"a": 1.0, "b": 2.0}, {"a": 0.5, "b": 0.0})
    assert list(drawn[1][1]) == ["a, beam 1", "a, beam 2"]


def test_by_length_scores_each_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(plots, "by_length", lambda *arguments: drawn.append(arguments))
    picture = Picture(kind="by_length", file="l.png", metric="exact_match", bins=[2])
    sources, references = ["a", "a b c"], [["x"], ["y"]]
    pictures.by_length(
        picture, tmp_path, {"good": (sources, references, ["x", "y"]), "bad": (sources, references, ["x", "z"])}
    )
    systems = drawn[0][1]
    assert [b.value for b in systems["good"]] == [100.0, 100.0]
    assert [b.value for b in systems["bad"]] == [100.0, 0.0]


class Reader:
    """A model as far as pictures ask."""

    def __init__(self, attention: Any) -> None:
        self.attention, self.finished = attention, True
        self.text, self.pieces, self.source_pieces = "x", ["x"], ["a", "b"]

    def generate(self, texts: list[str]) -> list["Reader"]:
        return [self for _ in texts]

    def vectors(self, texts: list[str]) -> Any:
        return np.eye(len(texts))


def test_one_alignment_matrix_a_text(tmp_path: Path) -> None:
    model: Any = Reader(np.full((2, 3), 1 / 3))
    pictures.of_model(Picture(kind="attention", file="a.svg", texts=["a b", "a b"]), tmp_path, model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-1.svg", "a-2.svg"]
    drawn = (tmp_path / "a-1.svg").read_text("utf-8")
    assert "&lt;/s&gt;" in drawn and ">a b → x<" in drawn
    with pytest.raises(UserError, match="no attention to draw"):
        pictures.of_model(Picture(kind="attention", file="a.svg", texts=["a"]), tmp_path, Reader(None))  # type: ignore[arg-type]


def test_vectors_are_drawn_with_their_texts(tmp_path: Path) -> None:
    model: Any = Reader(None)
    pictures.of_model(Picture(kind="vectors", file="v.svg", texts=["p", "q", "r"]), tmp_path, model)
    assert (tmp_path / "v.svg").is_file()
