"""Corpora whose official files need preparation, and their own metrics.

A module has `prepare`, which writes pairs as JSON lines into a folder, and `MEASURES`, metrics by the names that a
recipe's `metrics` may use. It can also count the faults of an output, to rerank outputs.
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
    """What belongs to a recipe's `corpus`."""

    prepare: Callable[..., None]  # files by name, the folder to write into, the recipe's arguments
    measures: Mapping[str, Measure]
    faults: Faults | None = None  # counts those that a row's `faults` weighs
    pack: Callable[[Path, str, Path], None] | None = None  # joins an archive's folder of many small files
    version: int = 1  # raise it when `prepare` writes other pairs, so that those on disk are prepared again


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
