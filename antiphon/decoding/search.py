"""Greedy search, beam search, sampling and forced decoding, on small NumPy arrays. Knows no model, only an Engine.

Shapes: B sentences still searched, K hypotheses a sentence, k candidates a hypothesis, S source positions; t is the
step, which is also the number of pieces that a hypothesis has before it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from antiphon.config.search import SearchOptions
from antiphon.data.tokenizer import BOS, EOS, PAD, UNK
from antiphon.decoding.engine import Engine, Step
from antiphon.decoding.hypothesis import Floats, Hypothesis, Ints, covered, rank
from antiphon.decoding.ledger import Ledger
from antiphon.decoding.phrases import Phrases, Wanted, completions
from antiphon.decoding.strategies import Best, Choice, Diverse, Sampling, Strategy
from antiphon.errors import UserError

__all__ = ["Hypothesis", "SearchOptions", "beam_search", "sample", "score"]


def beam_search(
    engine: Engine,
    sources: Sequence[Sequence[int]],
    options: SearchOptions,
    prefixes: Sequence[Sequence[int]] | None = None,
    wanted: Sequence[Phrases] | None = None,
    unwanted: Sequence[Phrases] | None = None,
    allowed: Ints | None = None,
) -> list[list[Hypothesis]]:
    """Search for the most probable outputs, left to right, keeping the `beam` best (Sutskever 2014, section 3.2).

    At each step all continuations of a sentence's hypotheses are ranked by log p. Those with EOS among the first `beam`
    are finished and leave; the `beam` best others live on. Finished ones are ranked by

        score = log p / lp + beta * sum_i log(min(sum_t alpha_ti, 1))        (Wu 2016, eq. 14)

    with lp = 1 (`none`), length ** alpha (`average`) or ((5 + length) / 6) ** alpha (`gnmt`). A sentence is done when
    `nbest` have finished and either

    - no live hypothesis can still pass the nbest-th of them, even if all it has left to write were certain, up to the
      maximum length and with full coverage; or
    - `beam` have finished and no live hypothesis, scored as it stands, is above the nbest-th of them. This is the
      field's rule. It may miss a long output that would be better in the end, and spares running to the maximum
      length for every sentence, as the first rule mostly would under `average`.

    EOS is not forced at the maximum length: a hypothesis of that many pieces that does not end there by itself is cut
    off, and comes after all finished ones.

    Args:
        engine: the model.
        sources: B lists of ids, EOS at the end; searched as one batch. The results do not depend on the batch.
        options: the sampling options have no effect.
        prefixes: for each sentence the ids that its outputs must begin with. They count in length and score, no ban
            applies to them, and the maximum length is at least theirs.
        wanted: for each sentence its required phrases; see `phrases.Wanted`.
        unwanted: for each sentence its forbidden phrases.
        allowed: the only pieces that outputs may have, as a shortlist gives them; None: all.

    With `options.groups` the beam is divided among groups that avoid each other's pieces; see `strategy.Diverse`.

    Returns:
        For each sentence its `nbest` hypotheses, all different, best first; fewer where there are no more.

    Raises:
        UserError: `nbest` above `beam`, a coverage penalty without attention, a bad prefix, or NaN from the model.
    """
    if options.nbest > options.beam:
        raise UserError(f"nbest = {options.nbest} is above beam = {options.beam}: a beam gives at most so many results")
    strategy: Strategy = Diverse(options) if options.groups > 1 else Best(options)
    if wanted is not None and any(wanted):
        if options.groups > 1:
            raise UserError("wanted phrases and groups of diverse beams cannot be combined: set groups to 1")
        strategy = Wanted(options, wanted)
    return _search(engine, sources, options, prefixes, strategy, unwanted, allowed)


def sample(
    engine: Engine,
    sources: Sequence[Sequence[int]],
    options: SearchOptions,
    prefixes: Sequence[Sequence[int]] | None = None,
    indices: Sequence[int] | None = None,
    unwanted: Sequence[Phrases] | None = None,
    allowed: Ints | None = None,
) -> list[list[Hypothesis]]:
    """Sample outputs from the model, piece by piece.

    Each piece's distribution is shaped by what is forbidden, then `temperature`, `top_k` (Fan 2018), `top_p` (Holtzman
    2020) and `min_p` (Nguyen 2024), in this order, each on what the ones before have left.

    Args:
        engine: the model.
        sources: B lists of ids, EOS at the end.
        options: `nbest` is the number of samples; `beam` has no effect.
        prefixes: as in `beam_search`.
        indices: the sentences' numbers in the whole input, by default 0 to B - 1. A sentence's samples depend on the
            seed and its number, not on its batch.
        unwanted: for each sentence its forbidden phrases.
        allowed: the only pieces that samples may have; None: all.

    Returns:
        For each sentence `nbest` samples, not ranked; they may be equal.

    Raises:
        UserError: a bad prefix, a coverage penalty without attention, or NaN from the model.
    """
    numbers = range(len(sources)) if indices is None else indices
    strategy = Sampling(options, numbers, engine.vocabulary)
    return _search(engine, sources, options, prefixes, strategy, unwanted, allowed)


def score(
    engine: Engine,
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    options: SearchOptions | None = None,
) -> list[Hypothesis]:
    """Forced decoding: the log p of given targets, EOS included.

    Args:
        engine: the model.
        sources: B lists of ids, EOS at the end.
        targets: B lists of ids, without BOS and EOS.
        options: the penalties of the `score`; the rest has no effect.

    Returns:
        The targets as hypotheses, all of them finished.

    Raises:
        UserError: unequal numbers of sources and targets, an id out of range, or NaN from the model.
    """
    options = options or SearchOptions()
    wanted = _table(targets, len(sources), engine.vocabulary, "target")  # [B, U]
    if not sources:
        return []
    lengths = np.array([len(t) for t in targets])
    wanted = np.concatenate([wanted, np.full((len(targets), 1), PAD, np.int64)], axis=1)  # [B, U + 1]
    wanted[np.arange(len(targets)), lengths] = EOS
    log_p = np.zeros(wanted.shape)
    attention: NDArray[np.float32] | None = None
    active = np.arange(len(sources))
    state = engine.start(sources)
    tokens, parents = np.full((len(sources), 1), BOS, np.int64), np.zeros((len(sources), 1), np.int64)
    for t in range(wanted.shape[1]):
        ask = wanted[active, t, None]  # [B, 1]
        step, state = engine.step(state, tokens, parents, 1, ask)
        _refuse_nan(step.asked, t)
        log_p[active, t] = step.asked[:, 0]
        if step.attention is not None:
            if attention is None:
                attention = np.zeros((*wanted.shape, max(map(len, sources))), np.float32)  # [B, U + 1, S]
            attention[active, t, : step.attention.shape[2]] = step.attention[:, 0]
        more = np.flatnonzero(lengths[active] > t)
        if 0 < len(more) < len(active):
            active, state, parents, ask = active[more], engine.keep(state, more), parents[more], ask[more]
        tokens = ask
    results = []
    for b, (source, target) in enumerate(zip(sources, targets, strict=True)):
        U = len(target) + 1
        rows = None if attention is None else attention[b, :U, : len(source)].copy()
        total = float(log_p[b, :U].sum())
        covers = covered(_need_attention(rows).sum(axis=0)) if options.coverage_penalty else None
        ranked = float(rank(np.array(total), U, options, covers))
        results.append(Hypothesis(list(target), ranked, total, log_p[b, :U].copy(), True, rows))
    return results


def _search(
    engine: Engine,
    sources: Sequence[Sequence[int]],
    options: SearchOptions,
    prefixes: Sequence[Sequence[int]] | None,
    strategy: Strategy,
    unwanted: Sequence[Phrases] | None,
    allowed: Ints | None,
) -> list[list[Hypothesis]]:
    """The loop of beam search and sampling: step, forbid, choose, drop what is done."""
    if not sources:
        return []
    prefix = _table(prefixes or [[]] * len(sources), len(sources), engine.vocabulary, "prefix")  # [B, P]
    limits = _limits(sources, options, prefix)  # [B]
    ledger = Ledger(sources, options)
    live = _Live(sources, strategy.rows, options, unwanted or [])
    state = engine.start(sources, allowed)
    for t in range(int(limits.max()) + 1):
        forced = prefix[live.active, t] if t < prefix.shape[1] else None  # [B]
        repeats = live.forbidden()
        k = strategy.width and min(engine.vocabulary, strategy.width + _most_banned(t, options, repeats))
        ask = None if forced is None else np.repeat(forced[:, None], live.tokens.shape[1], axis=1)
        step, state = engine.step(state, live.tokens, live.parents, k, ask)
        scores, ids = _allowed(step, t, options, repeats, forced, not k)
        live.cover(step.attention)
        choice = strategy.choose(live.active, live.log_p, scores, ids)

        at_limit = limits[live.active] == t
        ledger.end(t, live.active, choice.ended, live.coverage)
        cut = (live.log_p > -np.inf) & ((scores.max(axis=2) == -np.inf) | at_limit[:, None])  # [B, K]
        if cut.any():
            cut[choice.ended[:2]] = False
            if choice.unfit is not None:
                better = (cut & ~choice.unfit).any(axis=1) | (ledger.count[live.active] > 0)  # [B]
                cut &= ~(choice.unfit & better[:, None])
            ledger.cut(t, live.active, cut, live.log_p, live.coverage)
        ledger.follow(live.active, choice.parents, choice.tokens, choice.log_p, step.attention)

        live.follow(choice)
        done = at_limit | (live.log_p.max(axis=1) == -np.inf)
        if strategy.ranks:
            done |= ledger.settled(t, live.active, live.log_p, limits[live.active], live.coverage)
        if done.any():
            more = np.flatnonzero(~done)
            if not len(more):
                break
            state = engine.keep(state, more)
            live.keep(more)
    return ledger.results(strategy.ranks)


class _Live:
    """The hypotheses that are still being written."""

    def __init__(
        self, sources: Sequence[Sequence[int]], rows: int, options: SearchOptions, unwanted: Sequence[Phrases]
    ) -> None:
        B = len(sources)
        self.options, self.unwanted = options, unwanted if any(unwanted) else []
        self.active = np.arange(B)  # [B] which sentences these are
        self.tokens = np.full((B, rows), BOS, np.int64)  # [B, K] what each reads next
        self.parents = np.zeros((B, rows), np.int64)  # [B, K] the row of the engine's state that it continues
        self.log_p = np.zeros((B, rows))  # [B, K] of all its pieces; -inf: an empty place
        self.written = np.empty((B, rows, 0), np.int64)  # [B, K, t] its pieces, if n-grams or phrases are blocked
        S = max(map(len, sources)) if options.coverage_penalty else 0
        padding = np.arange(S) >= np.array([len(source) for source in sources])[:, None]
        self.coverage = np.repeat(
            padding[:, None].astype(np.float64), rows, axis=1
        )  # [B, K, S] sum_t alpha_ti; padding 1

    def forbidden(self) -> Ints | None:
        """Pieces that each hypothesis must not add, -1 for none. [B, K, most]"""
        lists = [self.repeats()]
        if self.unwanted:
            lists.append(completions([self.unwanted[int(b)] for b in self.active], self.written))
        tables = [table for table in lists if table is not None]
        return np.concatenate(tables, axis=2) if tables else None

    def repeats(self) -> Ints | None:
        """The tokens that would complete an n-gram which a hypothesis already has, -1 for none. [B, K, most]"""
        n, t = self.options.block_ngrams, self.written.shape[2]
        if not 0 < n <= t:
            return None
        ngrams = sliding_window_view(self.written, n, axis=2)  # [B, K, t - n + 1, n]
        last = self.written[:, :, None, t - n + 1 :]  # [B, K, 1, n - 1]
        again = (ngrams[..., :-1] == last).all(axis=3) & (self.log_p > -np.inf)[:, :, None]
        most = int(again.sum(axis=2).max())
        return -np.sort(-np.where(again, ngrams[..., -1], -1), axis=2)[:, :, :most]

    def cover(self, attention: NDArray[np.float32] | None) -> None:
        if self.options.coverage_penalty:
            attention = _need_attention(attention)
            self.coverage = self.coverage.copy()
            self.coverage[:, :, : attention.shape[2]] += attention

    def follow(self, choice: Choice) -> None:
        rows = np.arange(len(self.active))[:, None], choice.parents
        self.parents, self.tokens, self.log_p = choice.parents, choice.tokens, choice.log_p
        if self.options.coverage_penalty:
            self.coverage = self.coverage[rows]
        if self.options.block_ngrams or self.unwanted:
            self.written = np.concatenate([self.written[rows], self.tokens[:, :, None]], axis=2)

    def keep(self, more: Ints) -> None:
        self.active, self.log_p = self.active[more], self.log_p[more]
        self.parents, self.tokens = self.parents[more], self.tokens[more]
        self.coverage, self.written = self.coverage[more], self.written[more]


def _most_banned(t: int, options: SearchOptions, repeats: Ints | None) -> int:
    """How many of a row's best pieces may be forbidden, so that more must be asked for."""
    return int(options.no_unk) + int(t < options.min_length) + (0 if repeats is None else repeats.shape[2])


def _allowed(
    step: Step, t: int, options: SearchOptions, repeats: Ints | None, forced: Ints | None, in_order: bool
) -> tuple[Floats, Ints]:
    """The candidates: log p [B, K, k], -inf for what is forbidden, and ids [B, K, k].

    A sentence that is still in its prefix has one candidate, first in its row or, where all tokens stand `in_order` of
    their ids, in its own place, and nothing is forbidden in it.
    """
    scores, ids = step.scores.astype(np.float64), step.ids
    _refuse_nan(scores, t)
    if options.no_unk:
        scores[ids == UNK] = -np.inf
    if t < options.min_length:
        scores[ids == EOS] = -np.inf
    if repeats is not None:
        scores[(ids[..., None] == repeats[:, :, None, :]).any(axis=3)] = -np.inf
    if forced is not None:
        _refuse_nan(step.asked[forced != PAD], t)
        inside = np.flatnonzero(forced != PAD)
        scores[inside] = -np.inf
        if in_order:
            scores[inside, :, forced[inside]] = step.asked[inside]
        else:
            ids = ids.copy()
            ids[inside, :, 0], scores[inside, :, 0] = forced[inside, None], step.asked[inside]
    return scores, ids


def _limits(sources: Sequence[Sequence[int]], options: SearchOptions, prefix: Ints) -> Ints:
    """The most pieces of each sentence's outputs. [B]"""
    lengths = [options.max_length or max(2 * len(source) + 20, options.min_length) for source in sources]
    return np.array([max(own, int(used)) for own, used in zip(lengths, (prefix != PAD).sum(axis=1), strict=True)])


def _table(rows: Sequence[Sequence[int]], sentences: int, vocabulary: int, name: str) -> Ints:
    """Prefixes or targets as one array, padded with PAD. [B, U]"""
    if len(rows) != sentences:
        raise UserError(f"{len(rows)} {name} sequences for {sentences} sources: give one for each")
    table = np.full((sentences, max(map(len, rows), default=0)), PAD, np.int64)
    for b, row in enumerate(rows):
        for id_ in row:
            if id_ in (PAD, BOS, EOS) or not 0 <= id_ < vocabulary:
                raise UserError(
                    f"{name} {b + 1} has id {id_}: only pieces of the target vocabulary can stand in it: "
                    f"1 and 4 to {vocabulary - 1}"
                )
        table[b, : len(row)] = row
    return table


def _need_attention(attention: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if attention is None:
        raise UserError("coverage_penalty needs a model with attention, and this one has none: set it to 0")
    return attention


def _refuse_nan(scores: NDArray[np.floating], t: int) -> None:
    if np.isnan(scores).any():
        raise UserError(
            f"the model gave NaN for piece {t + 1} of an output: its weights are not finite, as after a training that "
            "diverged; use an earlier checkpoint, or train with a lower train.learning_rate"
        )
