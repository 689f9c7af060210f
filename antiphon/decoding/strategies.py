"""How a search continues after each step: with the best continuations, diverse ones, or sampled ones.

Shapes: B sentences still searched, K hypotheses a sentence, k candidates a hypothesis.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from antiphon.config.search import SearchOptions
from antiphon.data.tokenizer import EOS
from antiphon.decoding.hypothesis import Bools, Floats, Ints


class Choice(NamedTuple):
    """How the search continues after a step."""

    parents: Ints  # [B, K]  the row each hypothesis continues
    tokens: Ints  # [B, K]  the token it adds
    log_p: Floats  # [B, K]  log p of all of it so far; -inf: an empty place
    ended: tuple[Ints, Ints, Floats]  # [N] each: sentence, row and log p (EOS included) of the hypotheses that end
    unfit: Bools | None = None  # [B, K before]  fed hypotheses that are results only if there are no others


class Strategy(Protocol):
    rows: int  # hypotheses at the first step
    width: int  # candidates wanted for each, forbidden ones not counted; 0: all pieces, in the order of their ids
    ranks: bool  # results are ranked, and the search stops when the best are settled

    def choose(self, active: Ints, log_p: Floats, scores: Floats, ids: Ints) -> Choice: ...


class Best:
    """Beam search: the best continuations of all hypotheses of a sentence."""

    rows = 1
    ranks = True

    def __init__(self, options: SearchOptions) -> None:
        self.beam = options.beam
        self.width = options.beam + (options.beam > 1)  # EOS may be one of them; greedy is done when it is the best

    def choose(self, active: Ints, log_p: Floats, scores: Floats, ids: Ints) -> Choice:
        B, K, k = ids.shape
        total = (log_p[:, :, None] + scores).reshape(B, K * k)
        order = (-total).argsort(axis=1, kind="stable")[:, : 2 * self.beam]  # at most `beam` of these are EOS
        flat = order + np.arange(0, B * K * k, K * k)[:, None]
        best, tokens, parents = total.take(flat), ids.take(flat), order // k
        eos = tokens == EOS
        if not eos.any():
            return Choice(parents[:, : self.beam], tokens[:, : self.beam], best[:, : self.beam], _none_ended())
        b, first = np.nonzero(eos[:, : self.beam] & (best[:, : self.beam] > -np.inf))
        ended = b, parents[b, first], best[b, first]
        best[eos] = -np.inf
        others = eos.argsort(axis=1, kind="stable")[:, : self.beam]
        flat = others + np.arange(0, eos.size, eos.shape[1])[:, None]
        return Choice(parents.take(flat), tokens.take(flat), best.take(flat), ended)


class Sampling:
    """Sampling: one random continuation of each hypothesis, whose row never changes."""

    ranks = False

    def __init__(self, options: SearchOptions, numbers: Sequence[int], vocabulary: int) -> None:
        self.options = options
        self.rows = options.nbest
        self.width = options.top_k or (vocabulary if options.top_p < 1 else 0)  # only a cut needs the best first
        self.generators = [np.random.default_rng((options.seed, number)) for number in numbers]

    def choose(self, active: Ints, log_p: Floats, scores: Floats, ids: Ints) -> Choice:
        p = _shape(scores, self.options)  # [B, K, k]
        u = np.stack([self.generators[b].random(self.rows) for b in active])  # [B, K]
        cdf = p.cumsum(axis=2)
        whole = cdf[:, :, -1]
        pick = (cdf > np.minimum(u * whole, np.nextafter(whole, 0))[:, :, None]).argmax(axis=2)[:, :, None]
        tokens = np.take_along_axis(ids, pick, 2)[:, :, 0]
        total = log_p + np.take_along_axis(scores, pick, 2)[:, :, 0]
        eos = tokens == EOS
        b, row = np.nonzero(eos & (total > -np.inf))
        parents = np.tile(np.arange(self.rows), (len(tokens), 1))
        return Choice(parents, tokens, np.where(eos, -np.inf, total), (b, row, total[b, row]))


def _shape(scores: Floats, options: SearchOptions) -> Floats:
    """The distribution to sample from, not normalised, 0 where a piece is excluded. [B, K, k], best first with gaps
    where there is `top_k` or `top_p`.
    """
    allowed = scores > -np.inf
    if options.top_k:
        allowed &= allowed.cumsum(axis=2) <= options.top_k
    best = scores.max(axis=2, keepdims=True)
    best[best == -np.inf] = 0.0
    p = np.where(allowed, np.exp((scores - best) / options.temperature), 0.0)
    if options.top_p < 1:
        before = p.cumsum(axis=2) - p
        p[before >= options.top_p * p.sum(axis=2, keepdims=True)] = 0.0
    if options.min_p:
        p[p < options.min_p] = 0.0  # the best has 1
    return p


def _none_ended() -> tuple[Ints, Ints, Floats]:
    none = np.empty(0, np.int64)
    return none, none, np.empty(0)


class Diverse:
    """Diverse beam search (Vijayakumar 2018, algorithm 1): groups, each searching with a share of the beam.

    At a step the groups choose one after the other, and a group ranks its candidates by

        log p of all so far - diversity * (how many hypotheses of the groups before it have just added this token)

    (the Hamming diversity), so that it goes where they did not. What a hypothesis is worth stays its log p.
    """

    ranks = True

    def __init__(self, options: SearchOptions) -> None:
        self.rows = self.groups = options.groups
        self.share = options.beam // options.groups
        self.diversity = options.diversity
        self.width = self.share + options.beam  # as many tokens as can be penalised, and those that are taken instead

    def choose(self, active: Ints, log_p: Floats, scores: Floats, ids: Ints) -> Choice:
        """Choose for one group after the other; see `Strategy`."""
        B, K, k = ids.shape
        rows, sentence = K // self.groups, np.arange(B)[:, None]
        chosen: list[tuple[Ints, Ints, Floats]] = []  # parents, tokens, log p of a group [B, share]
        ended: list[tuple[Ints, Ints, Floats]] = []
        taken = np.zeros((B, int(ids.max()) + 1))  # [B, V] hypotheses that have just added a token
        for g in range(self.groups):
            some = slice(g * rows, (g + 1) * rows)
            total = (log_p[:, some, None] + scores[:, some]).reshape(B, rows * k)
            tokens = ids[:, some].reshape(B, rows * k)
            order = (self.diversity * taken[sentence, tokens] - total).argsort(axis=1, kind="stable")
            parents = np.arange(g * rows, (g + 1) * rows).repeat(k)[order]
            total, tokens = np.take_along_axis(total, order, 1), np.take_along_axis(tokens, order, 1)
            eos = tokens == EOS
            first = eos & (total > -np.inf)
            first[:, self.share :] = False
            b, place = np.nonzero(first)
            ended.append((b, parents[b, place], total[b, place]))
            others = eos.argsort(axis=1, kind="stable")[:, : self.share]
            tokens, parents = np.take_along_axis(tokens, others, 1), np.take_along_axis(parents, others, 1)
            total = np.where(np.take_along_axis(eos, others, 1), -np.inf, np.take_along_axis(total, others, 1))
            chosen.append((parents, tokens, total))
            np.add.at(taken, (np.broadcast_to(sentence, tokens.shape), tokens), total > -np.inf)
        parents, tokens, total = (np.concatenate(part, axis=1) for part in zip(*chosen, strict=True))
        b, row, p = (np.concatenate(part) for part in zip(*ended, strict=True))
        return Choice(parents, tokens, total, (b, row, p))
