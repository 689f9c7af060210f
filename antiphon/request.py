"""What is asked of a model for one text: its source as ids, a prefix and phrases."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from antiphon.data.codec import Source
from antiphon.data.tokenizer import EOS, UNK, Tokenizer
from antiphon.errors import UserError

T = TypeVar("T")

Phrases = list[list[list[int]]]  # each phrase in all its segmentations


class Request(NamedTuple):
    """A text on its way to a result."""

    number: int  # its place in the whole input
    source: Source  # its ids are the pieces that are read; none of a blank text
    truncated: bool  # there were more
    prefix: list[int]  # what its outputs begin with
    wanted: Phrases  # what they must hold
    unwanted: Phrases  # what they must not hold

    @property
    def ids(self) -> list[int]:
        """What the encoder reads."""
        return [*self.source.ids, EOS]


class PerText(Generic[T]):
    """Something that is given for each text of a stream, such as prefixes, or for none of them."""

    def __init__(self, given: Iterable[T] | None, nothing: T, name: str) -> None:
        """
        Args:
            given: one for each text; None: nothing for any of them.
            nothing: what asks for nothing.
            name: what messages call them.
        """
        self.rest = None if given is None else iter(given)
        self.nothing, self.name = nothing, name

    def take(self, count: int, begin: int) -> list[T]:
        """What belongs to the next texts, of which `begin` came before.

        Raises:
            UserError: there are fewer than texts.
        """
        if self.rest is None:
            return [self.nothing] * count
        some = list(islice(self.rest, count))
        if len(some) < count:
            raise UserError(f"only {begin + len(some)} {self.name}: give one for each text; {self._hint()}")
        return some

    def finish(self, count: int) -> None:
        """Refuse what is left over after `count` texts.

        Raises:
            UserError: there are more than texts.
        """
        if self.rest is not None and next(self.rest, None) is not None:
            raise UserError(f"only {count} texts: give one of the {self.name} for each text; {self._hint()}")

    def _hint(self) -> str:
        return f"{self.nothing!r} asks for nothing"


def segmentations(target: Tokenizer, phrases: Sequence[str], required: bool) -> Phrases:
    """Each phrase as the vocabulary splits it behind a space, and behind an opening bracket.

    A phrase that the vocabulary cannot write is refused where it is required, and otherwise never occurs.

    Raises:
        UserError: a required phrase cannot be written.
    """
    all_ways = []
    for phrase in map(str.strip, phrases):
        if not phrase:
            continue
        spaced, (_, *inside) = target.encode_ids([phrase, f"({phrase}"])
        texts = target.decode_all([spaced, inside])
        ways = [ids for ids, text in zip((spaced, inside), texts, strict=True) if text.strip() == phrase]
        if ways or UNK not in spaced:
            all_ways.append(ways or [spaced])
        elif required:
            raise UserError(f"the model cannot write the wanted phrase '{phrase}': it has pieces for a part of it only")
    return all_ways
