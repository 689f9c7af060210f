"""A conversation as one source text: its last turns, each behind the mark of who speaks.

Training, evaluation and `antiphon chat` make sources here, so that a model meets what it was trained on. Marks are
symbols of the vocabulary, which no text is cut across.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from antiphon.config import Dialogue
from antiphon.errors import UserError
from antiphon.result import Result
from antiphon.seq2seq import Seq2Seq


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


@dataclass
class Chat:
    """A conversation with a model.

    Raises:
        UserError: the model was not trained on conversations.
    """

    model: Seq2Seq
    options: dict[str, Any] = field(default_factory=dict)  # of `Seq2Seq.generate`
    texts: list[str] = field(default_factory=list)  # what both have said so far

    def __post_init__(self) -> None:
        if not self.model.config.dialogue.turns:
            raise UserError(
                "this model was not trained on conversations (dialogue.turns is 0); for single texts use generate"
            )

    def say(self, text: str) -> Result:
        """Say something and get the model's answer; both join the conversation.

        Of a conversation that is longer than the model reads, the oldest turns are left out, never half a turn; only
        a last turn that is too long by itself is cut at its end.
        """
        self.texts.append(text)
        result = self.model.generate([self.source()], **self.options)[0]
        self.texts.append(result.text)
        return result

    def source(self) -> str:
        """What the model reads next."""
        config = self.model.config
        turns = alternating(self.texts, config.dialogue)[-config.dialogue.turns :]
        while len(turns) > 1 and len(self.model.source.encode_ids([context(turns)])[0]) > config.data.max_source_length:
            turns = turns[1:]
        return context(turns)

    def reset(self) -> None:
        """Forget what was said."""
        self.texts.clear()
