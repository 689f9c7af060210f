"""A conversation with a trained model."""

from dataclasses import dataclass, field
from typing import Any

from antiphon.data.dialogue import alternating, context
from antiphon.errors import UserError
from antiphon.result import Result
from antiphon.seq2seq import Seq2Seq


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
