"""The record of a search: every step's choices, from which the outputs are read at its end.

Shapes: B sentences still searched, K hypotheses a sentence, S source positions, U pieces of an output. A length in a
score counts EOS.
"""

from bisect import insort
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from antiphon.config.search import SearchOptions
from antiphon.decoding.hypothesis import Bools, Floats, Hypothesis, Ints, covered, length_penalty, rank


class _Ending(NamedTuple):
    """A complete hypothesis: the row `row` of those that the engine was fed at step `step`."""

    sentence: int
    step: int  # also its number of pieces
    row: int
    log_p: float
    score: float
    finished: bool


class _Events(NamedTuple):
    """One step of the search, as tracing hypotheses back needs it."""

    place: Ints  # [all sentences]  where a sentence stood in the batch
    parents: Ints  # [B, K]  of each hypothesis after the step, its row before
    tokens: Ints  # [B, K]  the token it added
    log_p: Floats  # [B, K]  its log p with that token
    attention: NDArray[np.float32] | None  # [B, K before, S]


class Ledger:
    """The record of a search: every step's choices, and where hypotheses ended.

    Hypotheses are never copied while they grow; the results are traced back through their parents at the end.
    """

    def __init__(self, sources: Sequence[Sequence[int]], options: SearchOptions) -> None:
        self.options = options
        self.source_lengths = [len(source) for source in sources]
        self.events: list[_Events] = []
        self.finished: list[list[_Ending]] = [[] for _ in sources]  # best first
        self.unfinished: list[list[_Ending]] = [[] for _ in sources]  # best first
        self.count = np.zeros(len(sources), np.int64)  # finished hypotheses, each once
        self.distinct: list[list[float]] = [[] for _ in sources]  # their scores
        self.to_beat = np.full(len(sources), -np.inf)  # score of the nbest-th finished hypothesis
        self.place = np.arange(len(sources))

    def end(self, t: int, active: Ints, ended: tuple[Ints, Ints, Floats], coverage: Floats) -> None:
        """Record the hypotheses that add EOS at step t: their places, rows and log p, EOS included."""
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
                self.to_beat[b] = sorted(self.distinct[b], reverse=True)[self.options.nbest - 1]

    def _seen(self, ending: _Ending) -> bool:
        """Whether another group has ended with the same: of one length and log p, but for rounding."""
        others = self.finished[ending.sentence]
        return sum(one.step == ending.step and abs(one.log_p - ending.log_p) < 1e-4 for one in others) > 1

    def cut(self, t: int, active: Ints, cut: Bools, log_p: Floats, coverage: Floats) -> None:
        """Record the hypotheses (a mask [B, K] of those fed at step t) that end without EOS."""
        places, rows = np.nonzero(cut)
        scores = rank(log_p[places, rows], max(t, 1), self.options, self._covered(coverage, places, rows))
        for b, row, p, s in zip(active[places], rows, log_p[places, rows], scores, strict=True):
            ending = _Ending(int(b), t, int(row), float(p), float(s), False)
            insort(self.unfinished[b], ending, key=lambda ending: -ending.score)

    def follow(
        self, active: Ints, parents: Ints, tokens: Ints, log_p: Floats, attention: NDArray[np.float32] | None
    ) -> None:
        """Record a step's choices [B, K]."""
        if not self.events or len(active) != len(self.events[-1].tokens):
            self.place = np.full(len(self.source_lengths), -1)
            self.place[active] = np.arange(len(active))
        self.events.append(_Events(self.place, parents, tokens, log_p, attention))

    def settled(self, t: int, active: Ints, log_p: Floats, limits: Ints, coverage: Floats) -> Bools:
        """Which sentences are done after step t by the rule that `beam_search` states. [B]"""
        to_beat = self.to_beat[active]
        if to_beat.max() == -np.inf:
            return np.zeros(len(active), np.bool_)
        most = log_p.max(axis=1) / length_penalty(limits + 1, self.options)
        covers = covered(coverage) if self.options.coverage_penalty else None
        as_it_stands = rank(log_p, t + 1, self.options, covers).max(axis=1)
        enough = self.count[active] >= self.options.beam
        done: Bools = (to_beat >= most) | (enough & (to_beat >= as_it_stands))
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
        """Follow N hypotheses from their ends back to their beginnings, all at once, a step at a time."""
        if not endings:
            return []
        N, T = len(endings), len(self.events)
        sentence = np.array([ending.sentence for ending in endings])  # [N]
        last_step = np.array([ending.step for ending in endings])  # [N]
        row = np.array([ending.row for ending in endings])  # [N] where each stands at the step that is looked at
        ids = np.zeros((N, T), np.int64)
        log_p = np.zeros((N, T))  # of all pieces so far
        log_p[np.arange(N), last_step] = [ending.log_p for ending in endings]
        attends = self.events[0].attention is not None
        alpha = np.zeros((N, T, max(self.source_lengths)), np.float32) if attends else None
        for t in range(T - 1, -1, -1):
            event = self.events[t]
            longer = np.flatnonzero(last_step > t)  # hypotheses that have a piece at step t
            place = event.place[sentence[longer]]
            ids[longer, t] = event.tokens[place, row[longer]]
            log_p[longer, t] = event.log_p[place, row[longer]]
            row[longer] = event.parents[place, row[longer]]
            if alpha is not None and event.attention is not None:
                fed = np.flatnonzero(last_step >= t)  # hypotheses that read a piece at step t
                alpha_t = event.attention[event.place[sentence[fed]], row[fed]]
                alpha[fed, t, : alpha_t.shape[1]] = alpha_t
        return [
            self._hypothesis(ending, ids[n], log_p[n], None if alpha is None else alpha[n])
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
