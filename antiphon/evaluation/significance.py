"""Scores by the length of the source, and the significance of a difference between two systems.

Shapes: N sentences, D counts of a metric.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from antiphon.data.scripts import units, writing_of
from antiphon.errors import UserError
from antiphon.evaluation.metrics import References, count, same_number


class LengthBin(NamedTuple):
    """The sentences whose source has `low` to `high` words (None: and more), and their score."""

    low: int
    high: int | None
    sentences: int
    value: float


def by_length(
    sources: Sequence[str],
    outputs: Sequence[str],
    references: References,
    metric: str = "bleu",
    bins: Sequence[int] = (5, 10, 15, 20, 30, 40, 60),
    *,
    lowercase: bool = False,
    tokenize: str = "",
    language: str = "",
) -> list[LengthBin]:
    """Score by the length of the source (Bahdanau 2015, figure 2).

    Args:
        sources: one text a sentence; its length is in words, in characters where the script has no spaces.
        outputs, references, lowercase, tokenize, language: as in `metrics.measure`.
        metric: a metric's name.
        bins: longest length of each bin but the last, which has no limit; rising.

    Returns:
        The bins that have sentences, shortest first.

    Raises:
        UserError: as `metrics.measure`; `bins` do not rise.
    """
    same_number(len(sources), "sources", len(outputs), "outputs")
    if not bins or any(a >= b for a, b in pairwise(bins)):
        raise UserError(f"length bins {list(bins)}: give rising lengths, such as 10 20 30")
    counts = count(metric, outputs, references, lowercase=lowercase, tokenize=tokenize, language=language)
    writing = writing_of(sources)
    lengths = np.array([len(units(text, writing)) for text in sources])
    edges = [*bins, None]
    which = np.searchsorted(np.asarray(bins), lengths)  # bins[i - 1] < length <= bins[i]
    filled = [(i, which == i) for i in range(len(edges)) if np.any(which == i)]
    return [
        LengthBin(bins[i - 1] + 1 if i else 0, edges[i], int(inside.sum()), counts.value(counts.rows[inside].sum(0)))
        for i, inside in filled
    ]


@dataclass(frozen=True)
class Comparison:
    """Two systems' scores on the same sentences; intervals hold 95 % of the bootstrap samples."""

    metric: str
    a: float
    b: float
    difference: float  # b - a
    interval_a: tuple[float, float]
    interval_b: tuple[float, float]
    interval: tuple[float, float]
    p_value: float
    samples: int
    signature: str


def paired_bootstrap(
    outputs_a: Sequence[str],
    outputs_b: Sequence[str],
    references: References,
    metric: str = "bleu",
    samples: int = 1000,
    seed: int = 1,
    *,
    lowercase: bool = False,
    tokenize: str = "",
    language: str = "",
) -> Comparison:
    """Paired bootstrap resampling (Koehn 2004): would the better system still be better on other sentences?

    Args:
        outputs_a, outputs_b: outputs of two systems for the same sentences.
        references, lowercase, tokenize, language: as in `metrics.measure`.
        metric: a metric's name.
        samples: test sets sampled with replacement.
        seed: random seed for sampling.

    Returns:
        Both scores, their difference and intervals. The p-value is the share of samples in which the system that is
        better on all sentences is not better, (times + 1) / (samples + 1); it is one-sided, 1 when both are equal.

    Raises:
        UserError: as `metrics.measure`.
    """
    same_number(len(outputs_b), "second outputs", len(outputs_a), "first outputs")
    if samples < 1:
        raise UserError(f"{samples} bootstrap samples: use at least one; 1000 is usual")
    a, b = (
        count(metric, texts, references, lowercase=lowercase, tokenize=tokenize, language=language)
        for texts in (outputs_a, outputs_b)
    )
    rows = np.concatenate([a.rows, b.rows], 1)  # [N, 2D]
    n, d = a.rows.shape
    generator = np.random.default_rng(seed)
    sampled = np.empty((samples, 2))  # [samples, (a, b)]
    for i in range(samples):
        sums = rows[generator.integers(n, size=n)].sum(0)  # [2D]
        sampled[i] = a.value(sums[:d]), b.value(sums[d:])
    value_a, value_b = a.value(a.rows.sum(0)), b.value(b.rows.sum(0))
    difference = value_b - value_a
    differences = sampled[:, 1] - sampled[:, 0]
    not_better = int(np.sum(differences * np.sign(difference) <= 0))
    return Comparison(
        metric=metric,
        a=value_a,
        b=value_b,
        difference=difference,
        interval_a=_interval(sampled[:, 0]),
        interval_b=_interval(sampled[:, 1]),
        interval=_interval(differences),
        p_value=(not_better + 1) / (samples + 1),
        samples=samples,
        signature=f"{a.signature}|bs:{samples}|seed:{seed}",
    )


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
