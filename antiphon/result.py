"""A text's result: its outputs, best first, each with score, pieces and alignment.

What only some callers need, pieces and alignments, is computed when it is asked for.

Shapes: S source pieces, EOS counted; U output pieces.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from antiphon.data.tokenizer import Pieces

PLAIN = ("text", "score", "log_prob", "token_log_probs", "finished")


@dataclass(eq=False)  # arrays do not compare to one truth
class Output:
    """One output for a text."""

    text: str
    score: float  # what outputs are ranked by: log p over the length penalty, with the coverage penalty
    log_prob: float  # log p of all pieces, and of EOS where finished; in nats
    token_log_probs: list[float]  # [U (+ 1)] the same, each
    finished: bool  # False: it reached the maximum length
    attention: NDArray[np.float32] | None  # [U (+ 1), S] the last row and column are EOS's; None without attention
    split: Callable[[], list[str]] = field(repr=False)  # computes `pieces`

    @cached_property
    def pieces(self) -> list[str]:
        """[U] the subword tokens; spaces are shown as "▁"."""
        return self.split()

    @cached_property
    def alignment(self) -> list[tuple[int, int]]:
        """For each output piece the source piece with the largest attention weight, EOS excluded."""
        if self.attention is None or self.attention.shape[1] < 2:
            return []
        pieces = len(self.attention) - self.finished  # [U]
        return list(enumerate(self.attention[:pieces, :-1].argmax(axis=1).tolist()))

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON has them; without the attention, which is large."""
        values = {name: getattr(self, name) for name in (*PLAIN, "pieces")}
        return values | {"alignment": [list(pair) for pair in self.alignment]}


@dataclass(eq=False)
class Result:
    """The outputs for one text. `text`, `score` and so on are those of the first, which is the best."""

    outputs: list[Output]  # as many as `nbest` asks for, or fewer
    split_source: Callable[[], Pieces] = field(repr=False)  # computes the source's pieces
    truncated: bool = False  # the source was longer than `data.max_source_length` and its end was not read

    @property
    def text(self) -> str:
        """The best output."""
        return self.outputs[0].text

    @property
    def score(self) -> float:
        """What outputs are ranked by."""
        return self.outputs[0].score

    @property
    def log_prob(self) -> float:
        """log p of the best output, in nats."""
        return self.outputs[0].log_prob

    @property
    def token_log_probs(self) -> list[float]:
        """[U (+ 1)] log p of each piece, and of EOS where finished."""
        return self.outputs[0].token_log_probs

    @property
    def finished(self) -> bool:
        """False: the best output reached the maximum length."""
        return self.outputs[0].finished

    @property
    def attention(self) -> NDArray[np.float32] | None:
        """[U (+ 1), S] attention weights of the best output; None without attention."""
        return self.outputs[0].attention

    @property
    def pieces(self) -> list[str]:
        """[U] the best output's subword tokens."""
        return self.outputs[0].pieces

    @property
    def alignment(self) -> list[tuple[int, int]]:
        """The best output's alignment."""
        return self.outputs[0].alignment

    @property
    def candidates(self) -> list[Output]:
        """All outputs but the first."""
        return self.outputs[1:]

    @cached_property
    def _source(self) -> Pieces:
        return self.split_source()

    @property
    def source_pieces(self) -> list[str]:
        """[S - 1] the source's subword tokens, as far as they are read."""
        return self._source.pieces

    @property
    def source_offsets(self) -> list[tuple[int, int]]:
        """[S - 1] the characters of the source that each piece stands for."""
        return self._source.offsets

    def as_dict(self, attention: bool = False) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON has them.

        Args:
            attention: keep the best output's attention weights, which are many.
        """
        best = self.outputs[0].as_dict()
        alignment = best.pop("alignment")
        values = best | {
            "source_pieces": self.source_pieces,
            "source_offsets": [list(span) for span in self.source_offsets],
            "alignment": alignment,
            "truncated": self.truncated,
            "candidates": [output.as_dict() for output in self.candidates],
        }
        if attention:
            values["attention"] = None if self.attention is None else self.attention.tolist()
        return values
