"""Corpora that need more than reading: from their official files to pairs, and the measures that go with them.

A module has `prepare`, which writes pairs as JSON lines into a folder, and `MEASURES`, by the names that a recipe's
`metrics` may have. It may also count the faults of an output, by which outputs are reranked.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from antiphon.recipes.corpora import (
    aeslc,
    anki,
    babi,
    cmudict,
    couplets,
    deal,
    e2e,
    parts,
    rnnlg,
    scan,
    scitldr,
    sigmorphon2020,
    small_enja,
    xdailydialog,
)
from antiphon.recipes.corpora.measure import Faults, Measure


class Corpus(NamedTuple):
    """What a recipe's `corpus` names."""

    prepare: Callable[..., None]  # the fetched files by name, the folder to write into, the recipe's own arguments
    measures: Mapping[str, Measure]
    faults: Faults | None = None  # what a row's `faults` counts
    pack: Callable[[Path, str, Path], None] | None = None  # an archive's folder of many small files to one file
    version: int = 1  # of the prepared pairs: raise it when `prepare` writes other pairs, so that old ones are replaced


CORPORA: dict[str, Corpus] = {
    "aeslc": Corpus(aeslc.prepare, aeslc.MEASURES, pack=aeslc.pack),
    "anki": Corpus(anki.prepare, {}),
    "babi": Corpus(babi.prepare, babi.MEASURES),
    "cmudict": Corpus(cmudict.prepare, {}),
    "couplets": Corpus(couplets.prepare, couplets.MEASURES, couplets.faults),
    "deal": Corpus(deal.prepare, {}),
    "e2e": Corpus(e2e.prepare, e2e.MEASURES, e2e.faults),
    "parts": Corpus(parts.prepare, {}),
    "rnnlg": Corpus(rnnlg.prepare, rnnlg.MEASURES, rnnlg.faults),
    "scan": Corpus(scan.prepare, {}),
    "scitldr": Corpus(scitldr.prepare, scitldr.MEASURES),
    "sigmorphon2020": Corpus(sigmorphon2020.prepare, {}),
    "small_enja": Corpus(small_enja.prepare, {}),
    "xdailydialog": Corpus(xdailydialog.prepare, xdailydialog.MEASURES),
}
