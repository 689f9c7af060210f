"""Corpora that need more than reading: from their official files to pairs, and the measures that go with them.

A module has `prepare`, which writes pairs as JSON lines into a folder, and `MEASURES`, by the names that a recipe's
`metrics` may have.
"""

from collections.abc import Callable
from typing import NamedTuple

from antiphon.corpora import babi, deal, parts, xdailydialog
from antiphon.corpora.measure import Measure


class Corpus(NamedTuple):
    """What a recipe's `corpus` names."""

    prepare: Callable[..., None]  # the fetched files by name, the folder to write into, the recipe's own arguments
    measures: dict[str, Measure]


CORPORA: dict[str, Corpus] = {
    "babi": Corpus(babi.prepare, babi.MEASURES),
    "deal": Corpus(deal.prepare, {}),
    "parts": Corpus(parts.prepare, {}),
    "xdailydialog": Corpus(xdailydialog.prepare, xdailydialog.MEASURES),
}
