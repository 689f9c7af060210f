"""What is wrong or unusual in pairs that were read: errors, warnings and notes, each with its places and advice."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from antiphon.config.memory import Estimate, machine_memory, readable
from antiphon.config.sections import Config
from antiphon.data.kind import Kind
from antiphon.data.scan import EXAMPLES, Scan, Side, among
from antiphon.words import counted

Severity = Literal["error", "warning", "note"]

EXTREME_RATIO = 5.0  # times the median ratio of lengths, or a fifth of it
FEWEST_PAIRS = 10  # of which development pairs can be held out
NAMES = {"train": "training", "valid": "development", "test": "test"}
UNREADABLE = {  # kind of record: singular and plural
    "utf8": ("text that is not UTF-8", "texts that are not UTF-8"),
    "nul": ("text with a NUL character", "texts with a NUL character"),
    "columns": ("line without the columns or fields", "lines without the columns or fields"),
    "format": ("line that cannot be parsed", "lines that cannot be parsed"),
    "unequal": ("pair of aligned files of unequal lengths", "pairs of aligned files of unequal lengths"),
    "corrupt": ("damaged file", "damaged files"),
}


@dataclass(frozen=True)
class Finding:
    """Something to know: how bad it is, what, where (the first places), and what to do."""

    severity: Severity
    name: str
    message: str
    places: list[str] = field(default_factory=list)
    advice: str = ""

    def line(self) -> str:
        """The finding as a line of text."""
        where = f" ({', '.join(self.places)})" if self.places else ""
        return f"{self.severity}: {self.message}{where}{'; ' if self.advice else ''}{self.advice}"


def of_reading(scan: Scan) -> Iterator[Finding]:
    """What could not be read."""
    name = NAMES[scan.name]
    for problem in scan.unreadable:
        yield Finding("error", "unreadable", problem)
    for kind, nouns in UNREADABLE.items():
        if fault := scan.faults.get(kind):
            yield Finding("error", kind, f"{name}: {counted(fault.count, *nouns)}", fault.places, fault.problem)
    if not (scan.pairs or scan.faults or scan.unreadable):
        yield Finding("error", "no_pairs", f"{name}: no pairs in {' '.join(scan.specs)}")


def of_pairs(scan: Scan) -> Iterator[Finding]:
    """Empty, copied, repeated, ambiguous and lopsided pairs."""
    name, faults = NAMES[scan.name], scan.faults
    for side in ("source", "target"):
        if fault := faults.get(f"empty_{side}"):
            advice = "training leaves them out" if scan.name == "train" else "remove them: they count in every score"
            message = f"{name}: {counted(fault.count, f'empty {side}')}"
            yield Finding("warning", f"empty_{side}", message, fault.places, advice)
    if fault := faults.get("copy"):
        severity: Severity = "warning" if fault.count * 20 > max(scan.pairs, 1) else "note"
        message = f"{name}: {counted(fault.count, 'target equals its source', 'targets equal their sources')}"
        advice = "a model learns to copy them; remove what is not translated"
        yield Finding(severity, "copy", message, fault.places, advice)
    if fault := faults.get("line_break"):
        message = f"{name}: {counted(fault.count, 'text has', 'texts have')} a line break inside"
        yield Finding(
            "note", "line_break", message, fault.places, "an output is one line; write such texts as one line"
        )
    if scan.sources:
        yield from _repeated(scan, name)
        yield from _lopsided(scan, name)


def _repeated(scan: Scan, name: str) -> Iterator[Finding]:
    whole, sources = np.asarray(scan.whole), np.asarray(scan.sources)
    order = np.argsort(whole, kind="stable")
    ordered = whole[order]
    again = np.concatenate([[False], ordered[1:] == ordered[:-1]])
    rows = np.sort(order[again])
    if len(rows):
        severity: Severity = "warning" if len(rows) * 10 > len(whole) else "note"
        verb = "repeats" if len(rows) == 1 else "repeat"
        message = f"{name}: {_share(len(rows), len(whole))} {verb} an earlier one"
        yield Finding(severity, "duplicate", message, scan.places(rows), "each counts again; remove them if unintended")
    del ordered  # with millions of pairs each array counts
    distinct = sources[order[~again]]
    distinct.sort()
    several = np.unique(distinct[1:][distinct[1:] == distinct[:-1]])
    if len(several):
        rows = np.flatnonzero(sources == several[0])
        message = f"{name}: {counted(len(several), 'source has', 'sources have')} several targets"
        advice = "good if all are right (paraphrases, references); otherwise keep the best one"
        yield Finding("note", "ambiguous", message, scan.places(rows), advice)


def _lopsided(scan: Scan, name: str) -> Iterator[Finding]:
    ratios = np.asarray(scan.ratios)
    median = float(np.median(ratios))
    rows = np.flatnonzero((ratios > median * EXTREME_RATIO) | (ratios < median / EXTREME_RATIO))
    if len(rows):
        # Where they are many, it is the task that is such (summaries, answers), and the pairs are right.
        severity: Severity = "note" if len(rows) * 20 > len(ratios) else "warning"
        message = (
            f"{name}: {counted(len(rows), 'pair')} with a ratio of lengths more than {EXTREME_RATIO:g} times above or "
            f"below the median of {median:.2f} target characters per source character"
        )
        yield Finding(severity, "ratio", message, scan.places(rows), "check that source and target belong together")


def _share(count: int, total: int, noun: str = "pair") -> str:
    return f"{counted(count, noun)} ({count / total:.1%})"


def of_overlap(train: Scan, other: Scan) -> Iterator[Finding]:
    """Pairs and sources of a development or test set that are in the training data too."""
    if not (train.sources and other.sources):
        return
    name = NAMES[other.name]
    pairs = among(np.asarray(other.whole), np.asarray(train.whole))
    sources = among(np.asarray(other.sources), np.asarray(train.sources)) & ~pairs
    advice = "scores on them measure memory; remove them from the training data"
    for which, noun, more in ((pairs, "pair", ""), (sources, "source", ", with other targets")):
        rows: NDArray[np.int64] = np.flatnonzero(which)
        if len(rows):
            severity: Severity = "warning" if noun == "pair" or len(rows) * 100 > len(which) else "note"
            verb = "is" if len(rows) == 1 else "are"
            message = f"{name}: {_share(len(rows), len(which), noun)} {verb} also in the training data{more}"
            yield Finding(severity, f"overlap_{noun}s", message, other.places(rows), advice)


def of_languages(scan: Scan, sides: Sequence[Side | None], identifier: Any) -> Iterator[Finding]:
    """Texts in another language than most of their side."""
    for i, side in enumerate(sides):
        if side is None or side.language is None or side.language.share < 0.5:
            continue
        detected = list(scan.languages(i, identifier))
        others = [(record, language) for record, language in detected if language != side.language.name]
        share = len(others) / len(detected)
        if share >= 0.01:
            names = ", ".join(name for name, _ in Counter(language for _, language in others).most_common(3))
            message = (
                f"{NAMES[scan.name]}: {share:.1%} of the {('sources', 'targets')[i]} look like {names} rather than "
                f"{side.language.name} (detected in {counted(len(detected), 'text')})"
            )
            severity: Severity = "warning" if share >= 0.05 else "note"
            places = [record.place for record, _ in others[:EXAMPLES]]
            yield Finding(severity, "language", message, places, "look at them; remove what is in the wrong language")


def of_direction(train: Sequence[Side | None], other: Sequence[Side | None], name: str) -> Iterator[Finding]:
    """A development or test set whose sides are swapped."""
    a, b, c, d = (side.language.name if side and side.language else "" for side in (*train, *other))
    if a and b and a != b and (a, b) == (d, c):
        message = f"{NAMES[name]}: from {c} to {d}, but the training data go from {a} to {b}"
        yield Finding("warning", "swapped", message, advice="swap its columns or files")


def of_limits(scan: Scan, config: Config) -> Iterator[Finding]:
    """Training pairs that are longer than the configuration allows."""
    limits = config.data.max_source_length, config.data.max_target_length
    # A piece is never longer than a word, so that a text has at least as many pieces as words.
    counts = scan.characters if config.text.kind == "char" else scan.words
    for side, limit, lengths in zip(("source", "target"), limits, counts, strict=True):
        longer = sum(count for length, count in lengths.items() if length > limit)
        if longer:
            message = (
                f"{NAMES[scan.name]}: at least {counted(longer, f'{side} is', f'{side}s are')} longer than {limit} "
                "pieces and left out"
            )
            advice = f"raise data.max_{side}_length, or shorten the texts"
            severity: Severity = "warning" if longer * 100 > scan.pairs else "note"
            yield Finding(severity, "too_long", message, advice=advice)


def of_kind(kind: Kind | None, config: Config) -> Iterator[Finding]:
    """Pieces that do not suit the kind of data."""
    if kind == "spellings" and config.text.kind in ("bpe", "unigram"):
        message = f"training: the data are spellings, and text.kind = '{config.text.kind}' makes subwords of them"
        yield Finding("note", "subwords", message, advice="characters learn more: text.kind = 'char'")


def of_counts(scans: Sequence[Scan], held_out: bool) -> Iterator[Finding]:
    """Sets with too few pairs, which a training would refuse.

    Args:
        scans: the sets of pairs.
        held_out: development pairs are held out of the training data.
    """
    for scan in scans:
        least = FEWEST_PAIRS if held_out and scan.name == "train" else 1
        if scan.pairs and len(scan.sources) < least:
            verb = "has" if len(scan.sources) == 1 else "have"
            message = f"{NAMES[scan.name]}: {counted(len(scan.sources), 'pair')} {verb} text on both sides"
            advice = "give more pairs, or a development set" if scan.sources else "give pairs with text on both sides"
            yield Finding("error", "too_few", message, advice=advice)


def of_memory(size: Estimate) -> Iterator[Finding]:
    """A training that this computer has too little memory for."""
    memory = machine_memory()
    if memory and size.training_bytes > memory:
        message = f"training needs about {readable(size.training_bytes)}; this computer has {readable(memory)}"
        advice = "lower text.size, train.batch or the model's sizes"
        yield Finding("warning", "memory", message, advice=advice)
