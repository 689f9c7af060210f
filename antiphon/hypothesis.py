"""What a search is asked for and what it finds: options, hypotheses, their scores, and the record they are read from.

Shapes: B sentences still searched, K hypotheses a sentence, S source positions, U pieces of an output. A length in a
score counts EOS.
"""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

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


class _Ending(NamedTuple):
    """A hypothesis that is written: it is the row `row` of those that the engine was fed at step `step`."""

    sentence: int
    step: int  # also its number of pieces
    row: int
    log_p: float
    score: float
    finished: bool


class _Events(NamedTuple):
    """One step of the search, as it is needed to trace hypotheses back."""

    place: Ints  # [all sentences]  where a sentence stood in the batch
    parents: Ints  # [B, K]  of each hypothesis after the step, its row before
    tokens: Ints  # [B, K]  the token it added
    log_p: Floats  # [B, K]  its log p with that token
    attention: NDArray[np.float32] | None  # [B, K before, S]


class Ledger:
    """The record of a search: every step's choices, and where hypotheses ended.

    Hypotheses are never copied while they grow; the few that are wanted are traced back through their parents at last.
    """

    def __init__(self, sources: Sequence[Sequence[int]], options: Options) -> None:
        self.options = options
        self.source_lengths = [len(source) for source in sources]
        self.events: list[_Events] = []
        self.finished: list[list[_Ending]] = [[] for _ in sources]  # best first
        self.unfinished: list[list[_Ending]] = [[] for _ in sources]  # best first
        self.count = np.zeros(len(sources), np.int64)  # finished hypotheses, each once
        self.distinct: list[list[float]] = [[] for _ in sources]  # their scores
        self.wanted = np.full(len(sources), -np.inf)  # score of the nbest-th finished hypothesis
        self.place = np.arange(len(sources))

    def end(self, t: int, active: Ints, ended: tuple[Ints, Ints, Floats], coverage: Floats) -> None:
        """Note the hypotheses that add EOS at step t: their places, rows and log p, EOS included."""
        places, rows, log_p = ended
        if not len(places):
            return
        scores = rank(log_p, t + 1, self.options, self._covered(coverage, places, rows))
        for b, row, p, s in zip(active[places].tolist(), rows.tolist(), log_p.tolist(), scores.tolist(), strict=True):
            ending = _Ending(b, t, row, p, s, True)
            insort(self.finished[b], ending, key=lambda ending: -ending.score)
            if self.options.groups > 1 and self._seen(ending):
                continue
            self.count[b] += 1
            self.distinct[b].append(s)
            if self.count[b] >= self.options.nbest:
                self.wanted[b] = sorted(self.distinct[b], reverse=True)[self.options.nbest - 1]

    def _seen(self, ending: _Ending) -> bool:
        """Whether another group has ended with the same: of one length and log p, but for rounding."""
        others = self.finished[ending.sentence]
        return sum(one.step == ending.step and abs(one.log_p - ending.log_p) < 1e-4 for one in others) > 1

    def cut(self, t: int, active: Ints, cut: Bools, log_p: Floats, coverage: Floats) -> None:
        """Note the hypotheses (a mask [B, K] of those fed at step t) that can go no further and have no EOS."""
        places, rows = np.nonzero(cut)
        scores = rank(log_p[places, rows], max(t, 1), self.options, self._covered(coverage, places, rows))
        for b, row, p, s in zip(active[places], rows, log_p[places, rows], scores, strict=True):
            ending = _Ending(int(b), t, int(row), float(p), float(s), False)
            insort(self.unfinished[b], ending, key=lambda ending: -ending.score)

    def follow(
        self, active: Ints, parents: Ints, tokens: Ints, log_p: Floats, attention: NDArray[np.float32] | None
    ) -> None:
        """Note a step's choices [B, K]."""
        if not self.events or len(active) != len(self.events[-1].tokens):
            self.place = np.full(len(self.source_lengths), -1)
            self.place[active] = np.arange(len(active))
        self.events.append(_Events(self.place, parents, tokens, log_p, attention))

    def settled(self, t: int, active: Ints, log_p: Floats, limits: Ints, coverage: Floats) -> Bools:
        """Which sentences are done after step t by the rule that `beam_search` states. [B]"""
        wanted = self.wanted[active]
        if wanted.max() == -np.inf:
            return np.zeros(len(active), np.bool_)
        most = log_p.max(axis=1) / length_penalty(limits + 1, self.options)
        covers = covered(coverage) if self.options.coverage_penalty else None
        as_it_stands = rank(log_p, t + 1, self.options, covers).max(axis=1)
        done: Bools = (wanted >= most) | ((self.count[active] >= self.options.beam) & (wanted >= as_it_stands))
        return done

    def results(self, ranked: bool) -> list[list[Hypothesis]]:
        """The `nbest` hypotheses of each sentence: ranked, finished ones first, or in the order of their rows."""
        endings: list[_Ending] = []
        several = self.options.groups > 1  # two groups may have written the same
        for finished, unfinished in zip(self.finished, self.unfinished, strict=True):
            both = finished + unfinished
            ordered = both if ranked else sorted(both, key=lambda ending: ending.row)
            endings += ordered if several else ordered[: self.options.nbest]
        results: list[list[Hypothesis]] = [[] for _ in self.source_lengths]
        for ending, hypothesis in zip(endings, self._trace(endings), strict=True):
            same = results[ending.sentence]
            if not several or hypothesis.ids not in [one.ids for one in same]:
                same.append(hypothesis)
        return [same[: self.options.nbest] for same in results]

    def _trace(self, endings: list[_Ending]) -> list[Hypothesis]:
        """Follow hypotheses from where they ended to their beginning, all at once, a step at a time."""
        if not endings:
            return []
        sentence, last, row = np.array([ending[:3] for ending in endings]).T  # [N] each
        shape = len(endings), len(self.events)
        ids = np.zeros(shape, np.int64)
        log_p = np.zeros(shape)  # of all pieces so far
        log_p[np.arange(len(endings)), last] = [ending.log_p for ending in endings]
        attention = None
        if self.events[0].attention is not None:
            attention = np.zeros((*shape, max(self.source_lengths)), np.float32)  # [N, U + 1, S]
        for t, event in reversed(list(enumerate(self.events))):
            before = np.flatnonzero(last > t)  # had the piece t
            at = event.place[sentence[before]], row[before]
            ids[before, t], log_p[before, t], row[before] = event.tokens[at], event.log_p[at], event.parents[at]
            if attention is not None and event.attention is not None:
                upto = np.flatnonzero(last >= t)
                alpha = event.attention[event.place[sentence[upto]], row[upto]]
                attention[upto, t, : alpha.shape[1]] = alpha
        return [
            self._hypothesis(ending, ids[n], log_p[n], None if attention is None else attention[n])
            for n, ending in enumerate(endings)
        ]

    def _hypothesis(
        self, ending: _Ending, ids: Ints, log_p: Floats, attention: NDArray[np.float32] | None
    ) -> Hypothesis:
        steps = ending.step + ending.finished
        if attention is not None:
            attention = attention[:steps, : self.source_lengths[ending.sentence]].copy()
        each = np.diff(log_p[:steps], prepend=0.0)
        return Hypothesis(ids[: ending.step].tolist(), ending.score, ending.log_p, each, ending.finished, attention)

    def _covered(self, coverage: Floats, places: Ints, rows: Ints) -> Floats | None:
        return covered(coverage[places, rows]) if self.options.coverage_penalty else None
