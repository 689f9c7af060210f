"""A model that is a random table, and searches of it in plain Python: one token of one sentence at a time.

Shapes: B sentences, K hypotheses of each, V pieces in the vocabulary, S pieces of a source.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from antiphon.config.search import SearchOptions
from antiphon.data.tokenizer import BOS, EOS, PAD, UNK
from antiphon.decoding.engine import Step

Output = tuple[float, list[int], bool]  # score, ids, finished


@dataclass
class Rows:
    """The toy's state. Everything is indexed by sentence, so that a wrong `keep` or parent shows."""

    log_p: NDArray[np.float32]  # [B, V, V, V]  by the two tokens before
    alpha: NDArray[np.float32]  # [B, V, V, S]
    lengths: NDArray[np.int64]  # [B]
    last: NDArray[np.int64]  # [B, K]  the token read before


class Toy:
    """p(y_t | y_{t-1}, y_{t-2}, source), a table drawn at random for each source, and attention likewise."""

    workers = 1

    def __init__(self, vocabulary: int = 6, sharpness: float = 1.5, attention: bool = True) -> None:
        self.vocabulary, self.sharpness, self.attention = vocabulary, sharpness, attention
        self.steps = 0
        self.batches: list[int] = []

    def tables(self, source: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        V = self.vocabulary
        random = np.random.default_rng(source_seed(source))
        logits = self.sharpness * random.normal(size=(V, V, V))
        logits[..., [PAD, BOS]] = -np.inf
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        alpha = random.dirichlet(np.full(len(source), 0.5), size=(V, V))
        return log_p.astype(np.float32), alpha.astype(np.float32)

    def start(self, sources: Sequence[Sequence[int]], allowed: NDArray[np.int64] | None = None) -> Rows:
        assert allowed is None
        lengths = np.array([len(s) for s in sources])
        tables = [self.tables(s) for s in sources]
        pad = [np.pad(a, ((0, 0), (0, 0), (0, lengths.max() - a.shape[2]))) for _, a in tables]
        return Rows(np.stack([p for p, _ in tables]), np.stack(pad), lengths, np.full((len(sources), 1), BOS))

    def step(
        self,
        state: Rows,
        tokens: NDArray[np.int64],
        parents: NDArray[np.int64],
        k: int,
        ask: NDArray[np.int64] | None = None,
    ) -> tuple[Step, Rows]:
        self.steps += 1
        self.batches.append(len(tokens))
        assert tokens.shape == parents.shape and len(tokens) == len(state.last) and 0 <= k <= self.vocabulary
        b = np.arange(len(tokens))[:, None]
        before = state.last[b, parents]
        log_p = state.log_p[b, before, tokens]  # [B, K, V]
        ids = np.argsort(-log_p, axis=-1, kind="stable")[..., :k]
        if not k:
            ids = np.broadcast_to(np.arange(self.vocabulary), log_p.shape)
        asked = np.zeros(tokens.shape, np.float32)
        if ask is not None:
            asked = np.take_along_axis(log_p, ask[..., None], -1)[..., 0]
        alpha = state.alpha[b, before, tokens] if self.attention else None
        after = Rows(state.log_p, state.alpha, state.lengths, tokens.copy())
        return Step(np.take_along_axis(log_p, ids, -1), ids, asked, alpha), after

    def vectors(self, sources: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        return np.array([[source_seed(source)] for source in sources], np.float32)

    def keep(self, state: Rows, sentences: NDArray[np.int64]) -> Rows:
        lengths = state.lengths[sentences]
        return Rows(
            state.log_p[sentences], state.alpha[sentences, :, :, : lengths.max()], lengths, state.last[sentences]
        )


def source_seed(source: Sequence[int]) -> int:
    seed = 0
    for i in source:
        seed = (31 * seed + i + 1) % 2**31
    return seed


class Reference:
    """The same model, one token of one sentence at a time."""

    def __init__(self, toy: Toy, source: Sequence[int]) -> None:
        self.log_p, self.alpha = toy.tables(source)
        self.pieces = [i for i in range(toy.vocabulary) if i not in (PAD, BOS, EOS)]
        self.limit = 2 * len(source) + 20

    def next(self, ids: Sequence[int]) -> NDArray[np.float64]:
        before, last = ([BOS, BOS, *ids])[-2:]
        row: NDArray[np.float64] = self.log_p[before, last].astype(np.float64)
        return row

    def steps(self, ids: Sequence[int], finished: bool) -> tuple[list[float], NDArray[np.float32]]:
        tokens = [*ids, EOS] if finished else list(ids)
        each = [float(self.next(tokens[:t])[token]) for t, token in enumerate(tokens)]
        fed = [BOS, BOS, *tokens]
        rows = [self.alpha[fed[t], fed[t + 1]] for t in range(len(tokens))]
        return each, np.array(rows).reshape(len(tokens), -1)

    def score(self, ids: Sequence[int], finished: bool, o: SearchOptions) -> float:
        each, alpha = self.steps(ids, finished)
        value = sum(each) / length_penalty(max(len(each), 1), o)
        if o.coverage_penalty:
            value += o.coverage_penalty * sum(math.log(min(max(float(c), 1.2e-38), 1.0)) for c in alpha.sum(0))
        return value

    def allowed(self, ids: Sequence[int], o: SearchOptions, prefix: Sequence[int] = ()) -> list[int]:
        """What may follow, EOS included."""
        if len(ids) < len(prefix):
            return [prefix[len(ids)]]
        n = o.block_ngrams
        seen = {tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)} if n else set()
        pieces = [p for p in self.pieces if not (o.no_unk and p == UNK)]
        pieces = [p for p in pieces if not n or tuple([*ids, p][-n:]) not in seen]
        return pieces + ([EOS] if len(ids) >= o.min_length else [])


def length_penalty(length: int, o: SearchOptions) -> float:
    return float({"none": 1, "average": length**o.alpha, "gnmt": ((5 + length) / 6) ** o.alpha}[o.length_penalty])


def brute_force(ref: Reference, o: SearchOptions, prefix: Sequence[int] = ()) -> list[Output]:
    """Every output there is, best first, those that can neither end nor go on after the others."""
    found: list[Output] = []
    waiting: list[list[int]] = [[]]
    while waiting:
        ids = waiting.pop()
        allowed = ref.allowed(ids, o, prefix)
        if EOS in allowed:
            found.append((ref.score(ids, True, o), ids, True))
        if not allowed or (len(ids) == o.max_length and EOS not in allowed):
            found.append((ref.score(ids, False, o), ids, False))
        if len(ids) < o.max_length:
            waiting += [[*ids, p] for p in allowed if p != EOS]
    return sorted(found, key=lambda f: (not f[2], -f[0]))


def python_beam(ref: Reference, o: SearchOptions, prefix: Sequence[int] = ()) -> tuple[list[Output], int]:
    """Beam search as its docstring says it, with lists. Gives the outputs and the number of steps."""
    live: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: list[Output] = []
    cut: list[Output] = []
    limit = max(o.max_length or ref.limit, len(prefix))
    for t in range(limit + 1):
        pool: list[tuple[float, list[int], int]] = []
        stuck = []
        for log_p, ids in live:
            allowed = ref.allowed(ids, o, prefix)
            pool += [(log_p + ref.next(ids)[token], ids, token) for token in allowed]
            stuck += [] if allowed else [ids]
        pool.sort(key=lambda c: -c[0])
        now = [ids for _, ids, token in pool[: o.beam] if token == EOS]
        ended += [(ref.score(ids, True, o), ids, True) for ids in now]
        ended.sort(key=lambda e: -e[0])
        left = [ids for _, ids in live if ids not in now] if t == limit else stuck
        cut += [(ref.score(ids, False, o), ids, False) for ids in left]
        live = [(log_p, [*ids, token]) for log_p, ids, token in pool if token != EOS][: o.beam]
        if not live or t == limit:
            break
        if len(ended) >= o.nbest:
            to_beat = ended[o.nbest - 1][0]
            if to_beat >= max(log_p for log_p, _ in live) / length_penalty(limit + 1, o):
                break
            if len(ended) >= o.beam and to_beat >= max(ref.score(ids, False, o) for _, ids in live):
                break
    return (ended + sorted(cut, key=lambda e: -e[0]))[: o.nbest], t + 1
