"""A conversation as one source text: its last turns, each after the mark of its speaker.

Training, evaluation and `antiphon chat` make their sources here, so that a model always reads what it was trained on.
Marks are symbols of the vocabulary, which no piece extends beyond.
"""

from collections.abc import Sequence
from typing import NamedTuple

from antiphon.config.sections import Dialogue


class Turn(NamedTuple):
    """What one speaker said, or something else in a conversation; its mark says which."""

    mark: str
    text: str


def context(turns: Sequence[Turn], most: int = 0) -> str:
    """The source of a conversation: `<user> hello<model> hello, what can I do?<user> ...`.

    There is no space before a mark, because it would be a separate piece.

    Args:
        turns: from the first to the last.
        most: number of last turns that are kept; 0: all.
    """
    return "".join(f"{turn.mark} {' '.join(turn.text.split())}" for turn in turns[-most if most else None :])


def alternating(texts: Sequence[str], options: Dialogue) -> list[Turn]:
    """Turns of two speakers who alternate; the last turn is the user's."""
    marks = options.user, options.model
    return [Turn(marks[(len(texts) - 1 - i) % 2], text) for i, text in enumerate(texts)]


def pairs(texts: Sequence[str], options: Dialogue) -> list[tuple[str, str]]:
    """Pairs of source and target: every turn but the first answers those before it."""
    return [(context(alternating(texts[:i], options), options.turns), texts[i]) for i in range(1, len(texts))]
