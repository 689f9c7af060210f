"""Corpora that need more than reading: from their official files to pairs, and the measures that go with them.

A module has `prepare`, which writes pairs as JSON lines into a folder, and `MEASURES`, by the names that a recipe's
`metrics` may have.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from antiphon.corpora import parts
from antiphon.metrics import Score

Measure = Callable[[Sequence[dict[str, Any]], Sequence[str]], Score]  # a set's objects and the outputs, in their order


class Corpus(NamedTuple):
    """What a recipe's `corpus` names."""

    prepare: Callable[..., None]  # the fetched files by name, the folder to write into, the recipe's own arguments
    measures: dict[str, Measure]


CORPORA: dict[str, Corpus] = {
    "parts": Corpus(parts.prepare, {}),
}
