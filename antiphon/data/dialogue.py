"""A conversation as one source text: its last turns, each behind the mark of who speaks.

Training, evaluation and `antiphon chat` make sources here, so that a model meets what it was trained on. Marks are
symbols of the vocabulary, which no text is cut across.
"""

from collections.abc import Sequence
from typing import NamedTuple

from antiphon.config.sections import Dialogue


class Turn(NamedTuple):
    """What one speaker said, or another kind of thing that a conversation holds, told by its mark."""

    mark: str
    text: str


def context(turns: Sequence[Turn], most: int = 0) -> str:
    """The source of a conversation: `<user> hello<model> hello, what can I do?<user> ...`.

    Before a mark there is no space, which would be a piece of its own.

    Args:
        turns: from the first to the last.
        most: how many of the last turns are kept; 0: all.
    """
    return "".join(f"{turn.mark} {' '.join(turn.text.split())}" for turn in turns[-most if most else None :])


def alternating(texts: Sequence[str], options: Dialogue) -> list[Turn]:
    """Turns of two who speak in turn, of which the last is the user's."""
    marks = options.user, options.model
    return [Turn(marks[(len(texts) - 1 - i) % 2], text) for i, text in enumerate(texts)]


def pairs(texts: Sequence[str], options: Dialogue) -> list[tuple[str, str]]:
    """Every turn but the first as the answer to what was said before it: sources and targets."""
    return [(context(alternating(texts[:i], options), options.turns), texts[i]) for i in range(1, len(texts))]
