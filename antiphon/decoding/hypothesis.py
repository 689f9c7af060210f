"""Hypotheses and their scores.

Shapes: B sentences still searched, K hypotheses a sentence, S source positions, U pieces of an output. A length in a
score counts EOS.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from antiphon.config.search import SearchOptions

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass
class Hypothesis:
    """One output of a search, of U pieces; where finished, EOS adds one row to `token_log_probs` and `attention`."""

    ids: list[int]  # [U] without BOS and EOS
    score: float  # what it is ranked by: log p over the length penalty, with the coverage penalty
    log_prob: float  # log p of all pieces, and of EOS where finished
    token_log_probs: Floats  # [U (+ 1)]  the model's own, whatever sampling did to them
    finished: bool  # False: cut off, because it reached the maximum length or nothing was allowed to follow
    attention: NDArray[np.float32] | None  # [U (+ 1), S]  one row a piece; None without attention


def length_penalty(length: int | Ints, options: SearchOptions) -> Floats:
    """What log p is divided by: 1, length ** alpha, or ((5 + length) / 6) ** alpha (Wu 2016, eq. 14)."""
    base = np.asarray(length, np.float64)
    if options.length_penalty == "gnmt":
        base = (5.0 + base) / 6.0
    return np.power(base, 0.0 if options.length_penalty == "none" else options.alpha)


def covered(coverage: NDArray[np.floating]) -> Floats:
    """sum_i log(min(sum_t alpha_ti, 1)) of Wu 2016, eq. 14: 0 where all is covered. [..., S] -> [...]"""
    tiny = float(np.finfo(np.float32).tiny)  # a position never looked at costs much, but not everything
    logs: Floats = np.log(np.clip(coverage.astype(np.float64), tiny, 1.0))
    return np.asarray(logs.sum(axis=-1))


def rank(log_p: Floats, length: int | Ints, options: SearchOptions, covered: Floats | None) -> Floats:
    """The score of hypotheses: log p over the length penalty, plus the coverage penalty."""
    score: Floats = log_p / length_penalty(length, options)
    return score if covered is None else score + options.coverage_penalty * covered
