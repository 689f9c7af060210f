"""Corpora that need more than reading: from their official files to pairs, and the measures that go with them.

A module has `prepare`, which writes pairs as JSON lines into a folder, and `MEASURES`, by the names that a recipe's
`metrics` may have. It may also count the faults of an output, by which outputs are reranked.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from antiphon.corpora import babi, couplets, deal, e2e, parts, rnnlg, xdailydialog
from antiphon.corpora.measure import Faults, Measure


class Corpus(NamedTuple):
    """What a recipe's `corpus` names."""

    prepare: Callable[..., None]  # the fetched files by name, the folder to write into, the recipe's own arguments
    measures: Mapping[str, Measure]
    faults: Faults | None = None  # what a row's `faults` counts


CORPORA: dict[str, Corpus] = {
    "babi": Corpus(babi.prepare, babi.MEASURES),
    "couplets": Corpus(couplets.prepare, couplets.MEASURES, couplets.faults),
    "deal": Corpus(deal.prepare, {}),
    "e2e": Corpus(e2e.prepare, e2e.MEASURES, e2e.faults),
    "parts": Corpus(parts.prepare, {}),
    "rnnlg": Corpus(rnnlg.prepare, rnnlg.MEASURES, rnnlg.faults),
    "xdailydialog": Corpus(xdailydialog.prepare, xdailydialog.MEASURES),
}
