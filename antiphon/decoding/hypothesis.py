"""What a search is asked for and what it finds: options, hypotheses, their scores, and the record they are read from.

Shapes: B sentences still searched, K hypotheses a sentence, S source positions, U pieces of an output. A length in a
score counts EOS.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from antiphon.errors import UserError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Options:
    """How outputs are looked for.

    Raises:
        UserError: a value is out of its range, or two contradict each other.
    """

    beam: int = 5  # hypotheses kept; 1: greedy
    nbest: int = 1  # results a sentence: the best of the beam, or so many samples
    length_penalty: Literal["none", "average", "gnmt"] = "average"
    alpha: float = 1.0  # exponent of the length penalty
    coverage_penalty: float = 0.0  # GNMT's beta
    min_length: int = 0  # fewest pieces, EOS not counted
    max_length: int = 0  # most pieces, EOS not counted; 0: 2 * source length + 20
    block_ngrams: int = 0  # never write an n-gram of this size twice; 0: allow
    no_unk: bool = False  # never write <unk>
    temperature: float = 1.0  # sampling: log p is divided by it
    top_k: int = 0  # sampling: from the k best only; 0: from all
    top_p: float = 1.0  # sampling: from the fewest tokens that reach this probability
    min_p: float = 0.0  # sampling: from tokens at least this times as likely as the best
    seed: int = 1  # sampling
    groups: int = 1  # of diverse beams, among which the beam is divided; 1: one beam
    diversity: float = 0.5  # of groups: what a piece costs for each hypothesis of the groups before that just took it

    def __post_init__(self) -> None:
        rules = [
            (self.beam >= 1, f"beam = {self.beam}: must be 1 or more"),
            (self.nbest >= 1, f"nbest = {self.nbest}: must be 1 or more"),
            (
                self.length_penalty in ("none", "average", "gnmt"),
                f"length_penalty = {self.length_penalty!r}: must be 'none', 'average' or 'gnmt'",
            ),
            (0 <= self.alpha < np.inf, f"alpha = {self.alpha}: must be 0 or more"),
            (0 <= self.coverage_penalty < np.inf, f"coverage_penalty = {self.coverage_penalty}: must be 0 or more"),
            (self.min_length >= 0, f"min_length = {self.min_length}: must be 0 or more"),
            (self.max_length >= 0, f"max_length = {self.max_length}: must be 0 or more"),
            (
                self.max_length == 0 or self.min_length <= self.max_length,
                f"min_length = {self.min_length} is above max_length = {self.max_length}",
            ),
            (self.block_ngrams >= 0, f"block_ngrams = {self.block_ngrams}: must be 0 or more"),
            (
                0 < self.temperature < np.inf,
                f"temperature = {self.temperature}: must be above 0; for greedy use beam 1",
            ),
            (self.top_k >= 0, f"top_k = {self.top_k}: must be 0 (off) or more"),
            (0 < self.top_p <= 1, f"top_p = {self.top_p}: must be above 0 and at most 1"),
            (0 <= self.min_p <= 1, f"min_p = {self.min_p}: must be from 0 to 1"),
            (self.seed >= 0, f"seed = {self.seed}: must be 0 or more"),
            (self.groups >= 1, f"groups = {self.groups}: must be 1 or more"),
            (
                self.beam % max(1, self.groups) == 0,
                f"beam = {self.beam} cannot be divided among groups = {self.groups}: choose a multiple",
            ),
            (0 <= self.diversity < np.inf, f"diversity = {self.diversity}: must be 0 or more"),
        ]
        for right, message in rules:
            if not right:
                raise UserError(message)


@dataclass
class Hypothesis:
    """One output of a search. U pieces; where finished, EOS adds one row to `token_log_probs` and `attention`."""

    ids: list[int]  # [U] without BOS and EOS
    score: float  # what it is ranked by: log p over the length penalty, with the coverage penalty
    log_prob: float  # log p of all pieces, and of EOS where finished
    token_log_probs: Floats  # [U (+ 1)]  the model's own, whatever sampling did to them
    finished: bool  # False: cut off, because it reached the maximum length or nothing was allowed to follow
    attention: NDArray[np.float32] | None  # [U (+ 1), S]  one row a piece; None without attention


def length_penalty(length: int | Ints, options: Options) -> Floats:
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


def rank(log_p: Floats, length: int | Ints, options: Options, covered: Floats | None) -> Floats:
    """The score of hypotheses: log p over the length penalty, plus the coverage penalty."""
    score: Floats = log_p / length_penalty(length, options)
    return score if covered is None else score + options.coverage_penalty * covered
