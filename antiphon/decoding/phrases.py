"""Required and forbidden phrases.

A phrase is given by its segmentations, the ways in which it can be split into pieces. A phrase that the model writes in
another segmentation is neither recognised as required nor forbidden.

Shapes: B sentences still searched, K hypotheses a sentence, k candidates a hypothesis, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from antiphon.config.search import SearchOptions
from antiphon.data.tokenizer import EOS
from antiphon.decoding.hypothesis import Floats, Ints
from antiphon.decoding.strategies import Choice

Segmentations = Sequence[Sequence[int]]  # the ways to write one phrase
Phrases = Sequence[Segmentations]  # the phrases of one sentence


def completions(unwanted: Sequence[Phrases], written: Ints) -> Ints:
    """The last pieces of forbidden phrases whose other pieces a hypothesis has just written, -1 for none.

    Args:
        unwanted: phrases of each sentence.
        written: what each hypothesis has written [B, K, t].

    Returns:
        [B, K, most].
    """
    B, K, t = written.shape
    rows: list[list[int]] = []
    for b in range(B):
        ways = [tuple(ids) for phrase in unwanted[b] for ids in phrase if 0 < len(ids) <= t + 1]
        for row in written[b]:
            ends = [ids[-1] for ids in ways if tuple(row[t - len(ids) + 1 :].tolist()) == ids[:-1]]
            rows.append(sorted(set(ends)))
    most = max(map(len, rows), default=0)
    table = np.full((B * K, most), -1, np.int64)
    for n, ends in enumerate(rows):
        table[n, : len(ends)] = ends
    return table.reshape(B, K, most)


class Progress(NamedTuple):
    """How much of the required phrases of its sentence a hypothesis has written."""

    met: frozenset[int] = frozenset()  # phrases that are complete
    begun: tuple[tuple[int, int, int], ...] = ()  # phrase, segmentation and pieces so far of those that its end begins

    def after(self, token: int, phrases: Phrases) -> "Progress":
        """The progress with one more piece."""
        starts = [(p, c, 0) for p, ways in enumerate(phrases) for c in range(len(ways))]
        met, begun = set(self.met), []
        for p, c, done in (*self.begun, *starts):
            ids = phrases[p][c]
            if p in self.met or ids[done] != token:
                continue
            if done + 1 == len(ids):
                met.add(p)
            else:
                begun.append((p, c, done + 1))
        return Progress(frozenset(met), tuple(one for one in begun if one[0] not in met))

    def next(self, phrases: Phrases) -> Iterator[int]:
        """The pieces that begin an unmet phrase or continue one."""
        for p, c, done in self.begun:
            yield phrases[p][c][done]
        for p, ways in enumerate(phrases):
            if p not in self.met:
                yield from (ids[0] for ids in ways)

    def pieces(self, phrases: Phrases) -> int:
        """Pieces of phrases so far: of the longest begun one, and the shortest segmentation of each met one."""
        return sum(min(map(len, phrases[p])) for p in self.met) + max((done for _, _, done in self.begun), default=0)


class Wanted:
    """Beam search with required phrases: dynamic beam allocation (Post & Vilar 2018).

    Candidates are the best continuations, each hypothesis's own best one, and every piece that begins or continues a
    phrase. They are sorted into banks by how many pieces of phrases they hold, and the beam is divided evenly among
    the banks, what a bank cannot fill going to the others. EOS is a candidate only where all phrases are met, and is
    ranked in its bank, so that hypotheses without the phrases, which are mostly more probable, do not shut it out. A
    hypothesis that reaches the maximum length without them is a result only where there is no other.
    """

    rows = 1
    ranks = True

    def __init__(self, options: SearchOptions, wanted: Sequence[Phrases]) -> None:
        self.beam = options.beam
        self.width = 0  # any piece may be one of a phrase
        self.wanted = wanted
        self.progress: list[list[Progress]] = [[Progress()] for _ in wanted]  # of each sentence's hypotheses

    def choose(self, active: Ints, log_p: Floats, scores: Floats, ids: Ints) -> Choice:
        """Choose for each sentence; see `Strategy`."""
        B = len(active)
        parents, tokens = np.zeros((B, self.beam), np.int64), np.zeros((B, self.beam), np.int64)
        after = np.full((B, self.beam), -np.inf)
        ended: list[tuple[int, int, float]] = []
        unfit = np.zeros(log_p.shape, np.bool_)
        for b, sentence in enumerate(active):
            phrases, progress = self.wanted[sentence], self.progress[sentence]
            total = np.full((ids.shape[1], int(ids.max()) + 1), -np.inf)  # [K, V]
            np.put_along_axis(total, ids[b], log_p[b, :, None] + scores[b], 1)
            for row, at in enumerate(progress):
                if len(at.met) < len(phrases):
                    total[row, EOS], unfit[b, row] = -np.inf, True
            candidates = self._candidates(total, progress, phrases)
            held = self._allocated(candidates, total, progress, phrases)
            ended += [(b, row, float(total[row, EOS])) for row, token in held if token == EOS]
            steps = [(row, token) for row, token in candidates if token != EOS]
            chosen = self._allocated(steps, total, progress, phrases)
            for place, (row, token) in enumerate(chosen):
                parents[b, place], tokens[b, place], after[b, place] = row, token, total[row, token]
            new = [progress[row].after(token, phrases) for row, token in chosen]
            self.progress[sentence] = new + [Progress()] * (self.beam - len(new))
        places, rows, p = zip(*ended, strict=True) if ended else ((), (), ())
        gone = np.array(places, np.int64), np.array(rows, np.int64), np.array(p, np.float64)
        return Choice(parents, tokens, after, gone, unfit)

    def _candidates(self, total: Floats, progress: Sequence[Progress], phrases: Phrases) -> list[tuple[int, int]]:
        """Rows and pieces that are candidates, best first; those that are forbidden are left out."""
        K, V = total.shape
        candidates = {divmod(int(place), V) for place in np.argsort(-total, axis=None, kind="stable")[: 2 * self.beam]}
        candidates |= {(row, int(total[row].argmax())) for row in range(K)}
        for row, at in enumerate(progress[:K]):
            candidates |= {(row, token) for token in at.next(phrases) if token < V}
        return sorted((one for one in candidates if total[one] > -np.inf), key=lambda one: (-total[one], one))

    def _allocated(
        self,
        candidates: Sequence[tuple[int, int]],
        total: Floats,
        progress: Sequence[Progress],
        phrases: Phrases,
    ) -> list[tuple[int, int]]:
        """The candidates that stay in the banks, best first."""
        most = sum(max(map(len, ways)) for ways in phrases)
        banks: list[list[tuple[int, int]]] = [[] for _ in range(most + 1)]
        for row, token in candidates:
            banks[progress[row].after(token, phrases).pieces(phrases)].append((row, token))
        share, more = divmod(self.beam, len(banks))
        sizes = [share + (place >= len(banks) - more) for place in range(len(banks))]  # the fullest banks come first
        kept = [one for bank, size in zip(banks, sizes, strict=True) for one in bank[:size]]
        left = [one for bank, size in zip(reversed(banks), reversed(sizes), strict=True) for one in bank[size:]]
        kept += left[: self.beam - len(kept)]
        return sorted(kept, key=lambda one: (-total[one], one))
