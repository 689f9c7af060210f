"""Texts to ids and back: values of slots are hidden before a text is tokenised, and filled in after ids are decoded.

Training, validation, generation, scoring and export encode here, so that a model always meets what it was trained on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from antiphon.data.slots import Delexicalised, Slots
from antiphon.data.tokenizer import Pieces, Tokenizer


class Source(NamedTuple):
    """A source text in ids."""

    text: Delexicalised
    ids: list[int]  # without EOS


@dataclass(frozen=True)
class Codec:
    """Both tokenizers of a model and its slots."""

    source: Tokenizer
    target: Tokenizer  # the same object where the vocabulary is joint
    slots: Slots

    def encode_sources(self, texts: Sequence[str]) -> list[Source]:
        """Tokenise source texts.

        Raises:
            UserError: a text is not valid Unicode.
        """
        hidden = [self.slots.read(text) for text in texts]
        rows = self.source.encode_ids([text.text for text in hidden])
        return [Source(text, ids) for text, ids in zip(hidden, rows, strict=True)]

    def encode_targets(self, sources: Sequence[Source], targets: Sequence[str]) -> list[list[int]]:
        """Tokenise the target of each source, or a prefix of it; the source's values are hidden in it.

        Raises:
            UserError: a text is not valid Unicode.
        """
        return self.target.encode_ids([s.text.hide(target) for s, target in zip(sources, targets, strict=True)])

    def encode_pairs(
        self, pairs: Iterable[tuple[str, str]], dropout: float = 0.0, seed: int = 0
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Tokenise pairs of source and target.

        Args:
            pairs: the texts.
            dropout, seed: BPE-dropout; see `Tokenizer.encode_ids`.

        Returns:
            The ids of the sources and those of the targets, without BOS and EOS.

        Raises:
            UserError: a text is not valid Unicode, or dropout is asked of another kind than BPE.
        """
        hidden = [self.slots.hide(source, target) for source, target in pairs]
        sources = self.source.encode_ids([source for source, _ in hidden], dropout, seed)
        return sources, self.target.encode_ids([target for _, target in hidden], dropout, seed)

    def decode(self, sources: Sequence[Source], rows: Sequence[Sequence[int]]) -> list[str]:
        """The texts of target ids, one row for each source, whose values are filled in.

        Raises:
            UserError: an id is not in the vocabulary.
        """
        return [s.text.fill(text) for s, text in zip(sources, self.target.decode_all(rows), strict=True)]

    def pieces(self, source: Source) -> Pieces:
        """The pieces of a source's ids; their spans are those in the raw text."""
        ids, pieces, spans = self.source.encode(source.text.text)
        count = len(source.ids)  # fewer where a long text was truncated
        return Pieces(ids[:count], pieces[:count], [source.text.raw_span(span) for span in spans[:count]])
