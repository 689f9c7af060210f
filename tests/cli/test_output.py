"""What commands write: lines, tables and warnings as literals, and files that are whole or not there."""

import json
from pathlib import Path

import numpy as np
import pytest

from antiphon.cli.output import draw, evaluation, result_lines, table, watched
from antiphon.data.tokenizer import Pieces
from antiphon.errors import UserError
from antiphon.evaluation.metrics import Score
from antiphon.evaluation.significance import Comparison, LengthBin
from antiphon.result import Output, Result

SCORES = {
    "bleu": Score("bleu", 31.254, "BLEU|nrefs:1", True, "detokenise", "0-100"),
    "cer": Score("cer", 7.0, "cer|x", False),
}
BINS = [LengthBin(0, 5, 1200, 40.0), LengthBin(6, None, 3, 20.5)]
COMPARISON = Comparison("bleu", 31.25, 30.0, -1.25, (30, 32), (29, 31), (-2.0, -0.5), 0.004, 999, "BLEU|bs:999")


def result(text: str, *, truncated: bool = False, attention: bool = True) -> Result:
    pieces = text.split()
    alpha = np.full((len(pieces) + 1, 3), 1 / 3, np.float32) if attention else None
    best = Output(text, -0.5, -1.0, [-1.0], True, alpha, lambda: pieces)
    other = Output("other\u2028text", -2.0, -4.0, [-4.0], True, None, lambda: ["other", "text"])
    source = Pieces([4, 5], ["c", "d"], [(0, 1), (2, 3)])
    return Result([best, other], lambda: source, truncated)


def test_results_as_lines() -> None:
    assert result_lines(7, result("a\nb"), 1, False) == ["a b"]
    assert result_lines(7, result("a b"), 2, False) == ["7\t-0.5000\ta b", "7\t-2.0000\tother text"]
    [line] = result_lines(7, result("é\nb"), 2, True)
    assert "é" in line and json.loads(line)["text"] == "é\nb" and len(json.loads(line)["candidates"]) == 1


def test_sources_that_were_cut_are_told_until_it_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    results = [result("a", truncated=number != 2) for number in range(1, 9)]
    assert list(watched(iter(results), shown=True, total=8)) == results
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[2].split(":")[0] for line in lines[:-1]] == [f" line {n}" for n in (1, 3, 4, 5, 6)]
    assert "only its first 2 pieces are read" in lines[0]
    assert lines[-1].startswith("warning: 7 sources were longer than data.max_source_length and truncated")
    assert list(watched(results[1:2], shown=False)) == results[1:2]
    assert not capsys.readouterr().err


def test_what_evaluate_finds_as_a_table_and_as_values() -> None:
    lines = "\n".join(table(SCORES, BINS, [COMPARISON])).splitlines()
    assert lines == [
        "bleu           31.25  0-100  BLEU|nrefs:1  (detokenise)",
        "cer             7.00  cer|x",
        "",
        "by source length  sentences  bleu",
        "             0-5      1,200  40.00",
        "              6+          3  20.50",
        "bleu: 31.25 here, 30.00 there; difference -1.25 (95 % of samples -2.00 to -0.50), p = 0.004  BLEU|bs:999",
    ]
    assert list(table(SCORES, [], [])) == lines[:2]
    found = evaluation(1203, SCORES, BINS, [COMPARISON])
    assert json.loads(json.dumps(found)) == {
        "sentences": 1203,
        "scores": {
            "bleu": {"name": "bleu", "value": 31.254, "signature": "BLEU|nrefs:1", "higher_is_better": True,
                     "note": "detokenise", "scale": "0-100"},
            "cer": {"name": "cer", "value": 7.0, "signature": "cer|x", "higher_is_better": False, "note": "",
                    "scale": ""},
        },
        "by_length": [
            {"low": 0, "high": 5, "sentences": 1200, "value": 40.0},
            {"low": 6, "high": None, "sentences": 3, "value": 20.5},
        ],
        "comparisons": [
            {"metric": "bleu", "a": 31.25, "b": 30.0, "difference": -1.25, "interval_a": [30, 32],
             "interval_b": [29, 31], "interval": [-2.0, -0.5], "p_value": 0.004, "samples": 999,
             "signature": "BLEU|bs:999"},
        ],
    }  # fmt: skip
    assert evaluation(3, SCORES, [], []).keys() == {"sentences", "scores"}


def test_attention_is_drawn_where_there_is_any(tmp_path: Path) -> None:
    draw(tmp_path / "a.svg", result("a b"))
    assert "<svg" in (tmp_path / "a.svg").read_text("utf-8")
    with pytest.raises(UserError, match=r"b\.svg: nothing to draw"):
        draw(tmp_path / "b.svg", result("a b", attention=False))
