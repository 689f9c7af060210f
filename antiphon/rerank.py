"""Rescoring n-best lists: by another model, by a user's function, by several with weights.

The list may be any system's. Sutskever 2014 (section 3.2) averages a list's own scores with a model's log p.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from antiphon.errors import UserError
from antiphon.seq2seq import Seq2Seq

Scorer = Callable[[Sequence[str], Sequence[str]], Sequence[float]]  # sources and candidates -> a score for each


class Entry(NamedTuple):
    """A line of an n-best list."""

    number: int  # of the source, from 0
    text: str
    score: float  # the list's own; higher is better


class Ranked(NamedTuple):
    """An entry with what it is ranked by now."""

    entry: Entry
    score: float


def of_model(model: Seq2Seq, reverse: bool = False, **options: Any) -> Scorer:
    """A model's score of a candidate given its source.

    Args:
        model: any; an ensemble too.
        reverse: score the source given the candidate, as a model of the other direction does (Li 2016).
        **options: length_penalty, alpha, coverage_penalty; the default is log p as it is.
    """

    def scorer(sources: Sequence[str], texts: Sequence[str]) -> Sequence[float]:
        given, scored = (texts, sources) if reverse else (sources, texts)
        results = model.score(given, scored, **({"length_penalty": "none", "coverage_penalty": 0.0} | options))
        return [result.score for result in results]

    return scorer


def rerank(
    sources: Sequence[str], entries: Sequence[Entry], scorers: Sequence[Scorer], weights: Sequence[float]
) -> list[list[Ranked]]:
    """Rank each source's candidates by a weighted sum of scores.

    Args:
        sources: the texts that the list is of.
        entries: the list, in any order.
        scorers: models (see `of_model`) or a user's functions.
        weights: of the list's own score, then one for each scorer.

    Returns:
        For each source its candidates, best first; equal ones in the list's order.

    Raises:
        UserError: an entry of no source, a source without entries, weights that are not one more than scorers, or a
            scorer that does not give one score for each.
    """
    if len(weights) != len(scorers) + 1:
        raise UserError(f"{len(weights)} weights for {len(scorers)} scorers: give one for the list's own score, too")
    ordered = sorted(entries, key=lambda entry: entry.number)
    _check_numbers(ordered, len(sources))
    totals = [weights[0] * entry.score for entry in ordered]
    texts, given = [entry.text for entry in ordered], [sources[entry.number] for entry in ordered]
    for scorer, weight in zip(scorers, weights[1:], strict=True):
        scores = scorer(given, texts)
        if len(scores) != len(texts):
            raise UserError(f"a scorer gave {len(scores)} scores for {len(texts)} candidates: give one for each")
        totals = [total + weight * score for total, score in zip(totals, scores, strict=True)]
    ranked = [Ranked(entry, total) for entry, total in zip(ordered, totals, strict=True)]
    groups = groupby(ranked, key=lambda one: one.entry.number)
    return [sorted(group, key=lambda one: -one.score) for _, group in groups]


def entries(lines: Iterable[str], file: str = "list") -> list[Entry]:
    """Read an n-best list: `antiphon generate --nbest` (number from 1, score, text between tabs), or Moses's
    (`number from 0 ||| text ||| features ||| score`, and what may follow, such as an alignment; or without features).

    Raises:
        UserError: a line is neither, with its place.
    """
    entries = []
    for place, line in enumerate(lines, start=1):
        moses = [part.strip() for part in re.split(r"(?:^|\s)\|\|\|(?:\s|$)", line)]
        try:
            if len(moses) >= 3:
                total = moses[3] if len(moses) > 3 else moses[2]
                entries.append(Entry(int(moses[0]), moses[1], float(total.split()[-1])))
            else:
                number, score, text = line.split("\t", 2)
                entries.append(Entry(int(number) - 1, text, float(score)))
            if not math.isfinite(entries[-1].score):
                raise ValueError("its score is no number")
        except (ValueError, IndexError) as e:
            raise UserError(
                f"{file}:{place}: no line of an n-best list: write number<TAB>score<TAB>text, numbers from 1, or "
                "number ||| text ||| score, numbers from 0"
            ) from e
    return entries


def _check_numbers(ordered: Sequence[Entry], sources: int) -> None:
    numbers = {entry.number for entry in ordered}
    if numbers and not 0 <= min(numbers) <= max(numbers) < sources:
        wrong = min(numbers) if min(numbers) < 0 else max(numbers)
        raise UserError(f"the list has candidates for source {wrong + 1}, but there are {sources} sources")
    for number in range(sources):
        if number not in numbers:
            raise UserError(f"the list has no candidate for source {number + 1}")
