"""What a model made of a text. What only some ask for, pieces and alignment, is made when they do.

Shapes: S source pieces, EOS counted; U output pieces.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from antiphon.data.tokenizer import Pieces

PLAIN = ("text", "score", "log_prob", "token_log_probs", "finished")


@dataclass
class Candidate:
    """One more output for a text."""

    text: str
    score: float
    log_prob: float
    token_log_probs: list[float]
    finished: bool
    pieces: list[str]


@dataclass(eq=False)  # arrays do not compare to one truth
class Result:
    """What the model made of a text."""

    text: str
    score: float  # what outputs are ranked by: log p over the length penalty, with the coverage penalty
    log_prob: float  # log p of all pieces, and of EOS where finished; in nats
    token_log_probs: list[float]  # [U (+ 1)] the same, each
    finished: bool  # False: cut off at the maximum length
    attention: NDArray[np.float32] | None  # [U (+ 1), S] the last row and column are EOS's; None without attention
    cut_output: Callable[[], list[str]] = field(repr=False)  # makes `pieces`
    cut_source: Callable[[], Pieces] = field(repr=False)  # makes what is known of the source's pieces
    truncated: bool = False  # the source was longer than `data.max_source_length` and its end was not read
    candidates: list[Candidate] = field(default_factory=list)  # the next best, or the other samples, with nbest > 1

    @cached_property
    def pieces(self) -> list[str]:
        """[U] spaces are shown as "▁"."""
        return self.cut_output()

    @cached_property
    def _source(self) -> Pieces:
        return self.cut_source()

    @property
    def source_pieces(self) -> list[str]:
        """[S - 1]"""
        return self._source.pieces

    @property
    def source_offsets(self) -> list[tuple[int, int]]:
        """[S - 1] the characters of the source that each piece stands for."""
        return self._source.offsets

    @cached_property
    def alignment(self) -> list[tuple[int, int]]:
        """For each output piece its most attended source piece, EOS excluded."""
        if self.attention is None or self.attention.shape[1] < 2:
            return []
        pieces = len(self.attention) - self.finished  # [U]
        return list(enumerate(self.attention[:pieces, :-1].argmax(axis=1).tolist()))

    def as_dict(self, attention: bool = False) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON has them.

        Args:
            attention: keep the attention, which is large.
        """
        values = {name: getattr(self, name) for name in (*PLAIN, "pieces", "source_pieces")}
        values["source_offsets"] = [list(span) for span in self.source_offsets]
        values["alignment"] = [list(pair) for pair in self.alignment]
        values["truncated"] = self.truncated
        values["candidates"] = [asdict(candidate) for candidate in self.candidates]
        if attention:
            values["attention"] = None if self.attention is None else self.attention.tolist()
        return values
