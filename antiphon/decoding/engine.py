"""What a search needs of a model: encode some sources, then one step for all hypotheses at a time.

Shapes: B sentences, K hypotheses a sentence, k best next pieces, S source positions, W allowed pieces, D size of a
vector.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

State = Any  # the engine's own: the encoder's memory and the decoder's state; a search only hands it back


class Step(NamedTuple):
    """What the model says after reading one more piece of every hypothesis."""

    scores: NDArray[np.float32]  # [B, K, k]  log p of the k best next pieces, best first (see `Engine.step` for k = 0)
    ids: NDArray[np.int64]  # [B, K, k]  those pieces, all different within a row but where log p = -inf
    asked: NDArray[np.float32]  # [B, K]  log p of the pieces in `ask`; without meaning where nothing was asked
    attention: NDArray[np.float32] | None  # [B, K, S]  alpha_t of this step, 0 on padding; None without attention


class Engine(Protocol):
    """A model as a search sees it. The vocabulary-sized work happens behind it; only small arrays come out.

    PAD and BOS are never an output: their log p is -inf, the other pieces' sum to one. Where k asks for more pieces
    than can follow, the row ends in entries with log p = -inf.
    """

    @property
    def vocabulary(self) -> int:
        """Number of target pieces, specials included."""
        ...

    @property
    def workers(self) -> int:
        """Batches that are best searched at the same time, each in a thread of its own."""
        ...

    def start(self, sources: Sequence[Sequence[int]], allowed: NDArray[np.int64] | None = None) -> State:
        """Encode the sources.

        Args:
            sources: B lists of ids, each with EOS at its end.
            allowed: [W] the only pieces that outputs of these sources may have, ascending (see `Shortlist`); p is over
                them alone. None: all.

        Returns:
            The state before the first step: B sentences of one row (K = 1) each.

        Raises:
            UserError: this engine knows no allowed pieces.
        """
        ...

    def step(
        self,
        state: State,
        tokens: NDArray[np.int64],
        parents: NDArray[np.int64],
        k: int,
        ask: NDArray[np.int64] | None = None,
    ) -> tuple[Step, State]:
        """Feed one piece to every hypothesis. Pure: the given state stays as it is and can be stepped again.

        Args:
            state: from `start`, `step` or `keep`, with K' rows a sentence.
            tokens: [B, K] the piece that each hypothesis reads; BOS at the first step. K may differ from K'.
            parents: [B, K] the row, 0 to K' - 1, of `state` that each hypothesis continues.
            k: how many best next pieces are wanted, 1 to `vocabulary`; 0: all pieces, in the order of their ids.
            ask: [B, K] pieces whose log p is wanted, among the best or not; PAD asks for nothing.

        Returns:
            The answer, its row j about hypothesis j, and the state whose rows are the K hypotheses.
        """
        ...

    def keep(self, state: State, sentences: NDArray[np.int64]) -> State:
        """Drop finished sentences.

        Args:
            state: a state of B sentences.
            sentences: [B'] positions, ascending, of those that stay.

        Returns:
            The state of these B' sentences. S may shrink to the longest source among them.
        """
        ...

    def vectors(self, sources: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Each source as one vector: the decoder's first state of all layers (Sutskever 2014, figure 2). [B, D]"""
        ...
