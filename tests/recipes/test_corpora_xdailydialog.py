"""Everyday conversations: turns, and how varied outputs are."""

import json
from pathlib import Path

import pytest

from antiphon.recipes.corpora import xdailydialog


def test_turns_become_pairs(tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text("早。__eou__ 早上好。 __eou__ 吃了吗？__eou__\n", encoding="utf-8")
    out = tmp_path / "out"
    out.mkdir()
    xdailydialog.prepare({path.name: path for path in tmp_path.glob("*.txt")}, out, turns=1)
    rows = [json.loads(line) for line in (out / "train.jsonl").read_text("utf-8").splitlines()]
    assert rows == [
        {"source": "<user> 早。", "target": "早上好。"},
        {"source": "<user> 早上好。", "target": "吃了吗？"},
    ]


def test_distinct_counts_ngrams_over_all_words() -> None:
    outputs = ["a b a", "a b"]
    assert xdailydialog.distinct(1)([], outputs).value == pytest.approx(100 * 2 / 5)
    assert xdailydialog.distinct(2)([], outputs).value == pytest.approx(100 * 2 / 5)
    assert xdailydialog.distinct(1)([], ["好好", "好吗"]).value == pytest.approx(100 * 2 / 4)
    assert xdailydialog.distinct(2)([], [""]).value == 0
