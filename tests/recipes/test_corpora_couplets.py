"""Couplets: both tasks, the measures of form, and poems line by line."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from antiphon.recipes import tones
from antiphon.recipes.corpora import couplets

LEVEL, OBLIQUE = "abcdefgh", "stuvwxyz"


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters as characters: a to h are level, the rest oblique; a, b, c rhyme, and d, e, f."""
    groups = {c: frozenset({f"上平聲{'abc' if c in 'abc' else 'def'}"}) for c in LEVEL}
    groups |= {c: frozenset({"去聲"}) for c in OBLIQUE}
    monkeypatch.setattr(tones, "_table", lambda: groups)


def test_both_tasks_come_from_the_same_pairs(tmp_path: Path) -> None:
    rows = "sasas\tasasa\nsbsbs\tbsbsb\ntdtdt\tdtdtd\ntetetet\tetetete\n"
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.tsv").write_text(rows, encoding="utf-8")
    out = tmp_path / "out"
    out.mkdir()
    couplets.prepare({f"{name}.tsv": tmp_path / f"{name}.tsv" for name in ("train", "dev", "test")}, out)
    assert (out / "test.tsv").read_text("utf-8") == (out / "valid.tsv").read_text("utf-8") == rows
    # The second couplet rhymes with the first, the third with another, and the fourth is longer.
    assert (out / "next.test.tsv").read_text("utf-8") == "sasas，asasa\tsbsbs\n"
    assert (out / "train.tsv").read_text("utf-8") == rows + "sasas，asasa\tsbsbs\n"


def test_measures_of_form() -> None:
    items: list[dict[str, Any]] = [{"source": "sasas"}] * 4
    outputs = ["bsbsb", "bsbbb", "bsbs", "xsxsx"]  # good, a wrong place, short, good
    assert couplets.length(items, outputs).value == 75
    assert couplets.tones(items, outputs).value == 50


def test_faults_by_hand() -> None:
    item = {"source": "sasas"}
    assert couplets.faults(item, "btcud") == 0
    assert couplets.faults(item, "btcdd") == 0.5 + 1  # one of two places, d twice
    assert couplets.faults(item, "atcud") == 1  # a is the source's
    assert couplets.faults(item, "btcu") == 1 + 1  # too short, which has no contrast


class Model:
    """Answers from a table, the most probable first."""

    def __init__(self, answers: dict[str, list[str]]) -> None:
        self.answers, self.asked = answers, list[str]()

    def generate(self, texts: Sequence[str], **options: int) -> list[SimpleNamespace]:
        self.asked += texts
        return [SimpleNamespace(outputs=[SimpleNamespace(text=text) for text in self.answers[texts[0]]])]


def test_a_poem_takes_the_most_probable_line_of_good_form() -> None:
    model = Model(
        {
            "stxuv": ["ab", "gwhwz", "bacda"],  # the last has the tones opposed; its a is there twice
            "stxuv，gwhwz": ["yfyfy", "fyehx"],
            "stxuv，bacda": ["yfyfy", "fyehx"],
        }
    )
    lines = couplets.poem(model, "stxuv", 3)  # type: ignore[arg-type]
    assert model.asked[0] == "stxuv" and model.asked[1] == "，".join(lines[:2])
    assert lines[1] == "bacda" and lines[2] == "fyehx"
