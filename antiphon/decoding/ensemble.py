"""Several models as one engine: their probabilities, averaged at each step (Sutskever 2014, section 3.6).

The mean is of probabilities, not of log p: a piece that one model thinks impossible can still be written if the others
are sure of it.

Shapes: B sentences, K hypotheses a sentence, k best next tokens, S source positions, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from antiphon.data.tokenizer import PAD
from antiphon.decoding.engine import Engine, State, Step
from antiphon.errors import UserError


class EnsembleEngine:
    """Engines with one target vocabulary, seen as one (see `Engine`)."""

    def __init__(self, members: Sequence[Engine], weights: Sequence[float] = ()) -> None:
        """
        Args:
            members: the models' engines, which read the same ids.
            weights: how much each counts, in proportion; none given: all the same.

        Raises:
            UserError: no engine, unequal vocabularies, or weights that are not one for each, negative, or all zero.
        """
        if not members:
            raise UserError("an ensemble needs at least one model")
        sizes = sorted({member.vocabulary for member in members})
        if len(sizes) > 1:
            raise UserError(f"an ensemble needs one target vocabulary, and these have {' and '.join(map(str, sizes))}")
        given = np.array(weights or [1.0] * len(members), np.float64)
        if len(given) != len(members):
            raise UserError(f"{len(given)} weights for {len(members)} models: give one for each")
        if not np.isfinite(given).all() or (given < 0).any() or not given.sum():
            raise UserError(f"weights {list(weights)}: must be 0 or more, and not all 0")
        self.members = tuple(members)
        self.weights = given / given.sum()
        self.workers = min(member.workers for member in members)

    @property
    def vocabulary(self) -> int:
        """Number of target pieces, specials included."""
        return self.members[0].vocabulary

    def start(self, sources: Sequence[Sequence[int]], allowed: NDArray[np.int64] | None = None) -> State:
        """Encode the sources with each model; see `Engine.start`."""
        return tuple(member.start(sources, allowed) for member in self.members)

    def step(
        self,
        state: State,
        tokens: NDArray[np.int64],
        parents: NDArray[np.int64],
        k: int,
        ask: NDArray[np.int64] | None = None,
    ) -> tuple[Step, State]:
        """Feed one token to every hypothesis in each model; see `Engine.step`. Attention is the weighted mean."""
        p = np.zeros((*tokens.shape, self.vocabulary))  # [B, K, V]
        looking: list[NDArray[np.floating]] = []
        after = []
        for member, weight, before in zip(self.members, self.weights, state, strict=True):
            step, new = member.step(before, tokens, parents, 0)
            after.append(new)
            if not weight:
                continue
            p += weight * np.exp(step.scores, dtype=np.float64)
            if step.attention is not None:
                looking.append(weight * step.attention)
        with np.errstate(divide="ignore"):
            log_p = np.log(p)
        best = _best(log_p, min(k, self.vocabulary)) if k else np.broadcast_to(np.arange(self.vocabulary), log_p.shape)
        asked = np.take_along_axis(log_p, (np.zeros_like(tokens) + PAD if ask is None else ask)[:, :, None], 2)
        whole = looking and len(looking) == np.count_nonzero(self.weights)  # of models that all attend
        attention = np.asarray(np.sum(looking, axis=0), np.float32) if whole else None
        scores = np.take_along_axis(log_p, best, 2).astype(np.float32)
        return Step(scores, best, asked[:, :, 0].astype(np.float32), attention), tuple(after)

    def keep(self, state: State, sentences: NDArray[np.int64]) -> State:
        """Drop finished sentences; see `Engine.keep`."""
        return tuple(member.keep(part, sentences) for member, part in zip(self.members, state, strict=True))

    def vectors(self, sources: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """The members' vectors side by side; see `Engine.vectors`."""
        return np.concatenate([member.vectors(sources) for member in self.members], axis=1)


def _best(log_p: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """The ids of the k best, best first. [B, K, V] -> [B, K, k]"""
    V = log_p.shape[2]
    some = np.argpartition(log_p, V - k, axis=2)[:, :, V - k :] if k < V else np.broadcast_to(np.arange(V), log_p.shape)
    order = np.argsort(-np.take_along_axis(log_p, some, 2), axis=2, kind="stable")
    return np.take_along_axis(some, order, 2)
