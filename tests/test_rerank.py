"""Choosing again: the arithmetic, the lists that can be read, and a model's own scores."""

from collections.abc import Sequence
from typing import Any

import pytest

from antiphon import rerank
from antiphon.errors import UserError
from antiphon.rerank import Entry

SOURCES = ["a", "b"]
ENTRIES = [Entry(1, "x", -1.0), Entry(0, "p", -1.0), Entry(0, "qq", -2.0), Entry(1, "yyy", -1.5)]


def length(sources: Sequence[str], texts: Sequence[str]) -> list[float]:
    return [float(len(text)) for text in texts]


def test_the_sum_of_weighted_scores_decides() -> None:
    p, qq, x, yyy = ENTRIES[1], ENTRIES[2], ENTRIES[0], ENTRIES[3]
    ranked = rerank.rerank(SOURCES, ENTRIES, [length], [1.0, 0.1])
    assert [[one.entry for one in group] for group in ranked] == [[p, qq], [x, yyy]]
    assert [one.score for group in ranked for one in group] == pytest.approx([-0.9, -1.8, -0.9, -1.2])
    assert [group[0].entry for group in rerank.rerank(SOURCES, ENTRIES, [length], [0.5, 0.5])] == [p, yyy]
    twice = rerank.rerank(SOURCES, ENTRIES, [length, length], [0.5, 0.25, 0.25])
    assert twice == rerank.rerank(SOURCES, ENTRIES, [length], [0.5, 0.5])


def test_without_scorers_the_lists_own_order_is_kept() -> None:
    ranked = rerank.rerank(SOURCES, [*ENTRIES, Entry(0, "again", -1.0)], [], [1.0])
    assert [one.entry.text for one in ranked[0]] == ["p", "again", "qq"]


class Model:
    """A model whose log p is minus the difference of lengths."""

    def score(self, sources: Sequence[str], targets: Sequence[str], **options: Any) -> list[Any]:
        assert options["length_penalty"] == "none"
        found = [-abs(len(a) - len(b)) - 10.0 * (a == "a") for a, b in zip(sources, targets, strict=True)]
        return [type("Result", (), {"score": value}) for value in found]


def test_a_model_scores_both_ways() -> None:
    model: Any = Model()
    assert rerank.of_model(model)(["a", "b"], ["p", "yyy"]) == [-10.0, -2.0]
    assert rerank.of_model(model, reverse=True)(["a", "b"], ["p", "yyy"]) == [0.0, -2.0]


def test_lists_of_antiphon_and_of_moses() -> None:
    assert rerank.entries(["1\t-0.5\tone two", "2\t-1\t"]) == [Entry(0, "one two", -0.5), Entry(1, "", -1.0)]
    moses = ["0 ||| one two ||| LM0= -3 TM= -1 ||| -4.5", "1 ||| x ||| -2", "2 ||| y ||| F= 1 ||| -3 ||| 0-0 1-2"]
    assert rerank.entries(moses) == [Entry(0, "one two", -4.5), Entry(1, "x", -2.0), Entry(2, "y", -3.0)]
    with pytest.raises(UserError, match=r"list:2: no line of an n-best list"):
        rerank.entries(["1\t-1\tx", "one two"])


@pytest.mark.parametrize(
    ("entries", "weights", "message"),
    [
        ([Entry(0, "x", 0.0)], [1.0, 1.0], "no candidate for source 2"),
        ([*ENTRIES, Entry(2, "x", 0.0)], [1.0, 1.0], "candidates for source 3, but there are 2"),
        ([*ENTRIES, Entry(-1, "x", 0.0)], [1.0, 1.0], "candidates for source 0"),
        (ENTRIES, [1.0], "1 weights for 1 scorers"),
    ],
)
def test_bad_lists_are_told(entries: list[Entry], weights: list[float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        rerank.rerank(SOURCES, entries, [length], weights)


def test_a_scorer_must_score_all() -> None:
    with pytest.raises(UserError, match="a scorer gave 1 scores for 4 candidates"):
        rerank.rerank(SOURCES, ENTRIES, [lambda sources, texts: [0.0]], [1.0, 1.0])
