"""SciTLDR: abstracts to summaries, and the first sentence as a baseline."""

import json
from pathlib import Path

import pytest
from prepared import prepared

from antiphon.recipes.corpora import scitldr

PAPER = {
    "source": ["We study  cats.", "They sleep a lot."],
    "target": ["Cats sleep.", "A study of cats."],
    "source_labels": [0, 1],
}


def test_pairs_have_the_first_sentence_and_all_summaries(tmp_path: Path) -> None:
    found = prepared("scitldr", {"dev.jsonl": json.dumps(PAPER) + "\n"}, tmp_path, words=5)
    pair = {"source": "We study cats. They sleep", "target": ["Cats sleep.", "A study of cats."]}
    assert found["dev.pairs.jsonl"] == [pair | {"lead": "We study cats."}]
    assert found["dev.sentences.jsonl"] == [{"source": pair["source"], "target": "They sleep a lot."}]


def test_the_baseline_measures_the_first_sentence_whatever_the_output() -> None:
    items = [{"target": ["Dogs bark.", "A study of cats."], "lead": "We study cats."}]
    lead = scitldr.MEASURES["rouge1_lead1"]
    assert lead(items, ["something else"]) == lead(items, ["A study of cats."])
    assert lead(items, ["x"]).value == pytest.approx(100 * 2 * 2 / 7)  # study, cats: of 3 words and of 4
    assert scitldr.MEASURES["rouge1_any"](items, ["A study of cats."]).value == pytest.approx(100)
