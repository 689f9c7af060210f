"""Medians with their spread, and ratios from the same rounds."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Rounds = Mapping[int, float]  # round -> value; a round that failed is missing


class Spread(NamedTuple):
    """A median and the values around it."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def ratio(ours: Rounds, theirs: Rounds, higher: bool = True) -> float | None:
    """How many times better we are: the median of the rounds' ratios; None without a common round.

    Args:
        ours, theirs: the values by round.
        higher: whether a higher value is the better one.
    """
    pairs = [(ours[r], theirs[r]) for r in ours if r in theirs]
    ratios = [a / b if higher else b / a for a, b in pairs if a > 0 and b > 0]
    return statistics.median(ratios) if ratios else None


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
