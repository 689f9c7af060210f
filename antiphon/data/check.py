"""What a user should know about the data and the model before a training begins.

The corpora are read once. Of each pair only two 64-bit hashes, a ratio and a line number are kept (24 bytes), so that
millions of pairs fit in little memory; texts are kept only of a small random sample.
"""

import importlib
import random
import unicodedata
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from antiphon.config import sections
from antiphon.config.memory import Estimate, estimate, machine_memory, readable
from antiphon.data.corpus import Record, records
from antiphon.errors import UserError

Severity = Literal["error", "warning", "note"]

EXAMPLES = 3  # places named in a finding
SAMPLE = 2000  # pairs whose script and language are looked at
EXTREME_RATIO = 5.0  # times the median ratio of lengths, or a fifth of it
SURE = 0.9  # probability from which a guess of the language counts
SHORTEST_GUESS = 20  # bytes; the language of less is not guessed
FEWEST_GUESSES = 20  # lines; fewer say nothing about a corpus
FEWEST_PAIRS = 10  # of which development pairs can be held out
NAMES = {"train": "training", "valid": "development", "test": "test"}


@dataclass(frozen=True)
class Finding:
    """Something to know: how bad it is, what, where (the first places), and what to do."""

    severity: Severity
    name: str
    message: str
    places: list[str] = field(default_factory=list)
    advice: str = ""

    def line(self) -> str:
        where = f" ({', '.join(self.places)})" if self.places else ""
        return f"{self.severity}: {self.message}{where}{'; ' if self.advice else ''}{self.advice}"


@dataclass(frozen=True)
class Lengths:
    """Distribution of lengths: nearest-rank percentiles."""

    shortest: int
    mean: float
    median: int
    p95: int
    p99: int
    longest: int

    def __str__(self) -> str:
        return f"median {self.median:,}, 95 % {self.p95:,}, 99 % {self.p99:,}, longest {self.longest:,}"


@dataclass(frozen=True)
class Share:
    """The most frequent script or language of a side, and its share of what could be told."""

    name: str
    share: float

    def __str__(self) -> str:
        return f"{self.name} {self.share:.1%}"


@dataclass(frozen=True)
class Side:
    """One side of a set of pairs; lengths are those of texts that are not empty."""

    characters: Lengths
    words: Lengths
    script: Share | None
    language: Share | None


@dataclass(frozen=True)
class Part:
    """The training, development or test pairs."""

    name: str
    specs: list[str]
    pairs: int
    source: Side | None
    target: Side | None


@dataclass(frozen=True)
class Report:
    """What `inspect` found, errors first."""

    parts: list[Part]
    findings: list[Finding]
    estimate: Estimate | None

    @property
    def ok(self) -> bool:
        """No finding is an error: training can begin."""
        return all(f.severity != "error" for f in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values for JSON."""
        return {"ok": self.ok} | asdict(self)

    def lines(self) -> Iterator[str]:
        """The report as text."""
        for part in self.parts:
            yield f"{NAMES[part.name]}: {part.pairs:,} pairs in {' '.join(part.specs)}"
            for name, side in (("source", part.source), ("target", part.target)):
                if side:
                    yield f"  {name} characters: {side.characters}"
                    yield f"  {name} words:      {side.words}"
                    told = [f"script {side.script}"] if side.script else []
                    told += [f"language {side.language}"] if side.language else []
                    yield f"  {name} looks like: {', '.join(told) or 'nothing known'}"
        if self.estimate:
            e = self.estimate
            yield (
                f"model: {e.parameters:,} parameters with vocabularies of at most {e.source_vocabulary:,} and "
                f"{e.target_vocabulary:,} pieces; weights {readable(e.weights_bytes)}, training about "
                f"{readable(e.training_bytes)} beside PyTorch itself"
            )
        yield from (f.line() for f in self.findings)
        if not self.findings:
            yield "nothing to complain of"


def inspect(
    train: Sequence[str],
    valid: Sequence[str] = (),
    test: Sequence[str] = (),
    source: str = "",
    target: str = "",
    config: sections.Config | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Read all corpora once and report on them; what cannot be read becomes a finding, not an exception.

    Args:
        train: specs of the training corpora, as `corpus.read` takes them.
        valid: those of the development set.
        test: those of the test set.
        source: column or field of the source.
        target: column or field of the target.
        config: configuration to judge the data by and to estimate; None: only the data are looked at.
        progress: called now and then with the number of pairs read so far.
    """
    scans: list[_Scan] = []
    findings: list[Finding] = []
    for name, specs in (("train", train), ("valid", valid), ("test", test)):
        if specs:
            scan = _Scan(name, list(specs), sum(s.pairs for s in scans), progress)
            findings += scan.read(source, target)
            scans.append(scan)
    identifier = _identifier()
    parts = [Part(s.name, s.specs, s.pairs, s.side(0, identifier), s.side(1, identifier)) for s in scans]
    for scan, part in zip(scans, parts, strict=True):
        findings += [*_of_pairs(scan), *_of_languages(scan, part, identifier)]
        if scan.name != "train" and scans[0].name == "train":
            findings += [*_overlap(scans[0], scan), *_swapped(parts[0], part)]
        if config:
            findings += _of_config(scan, part, config)
    findings += _too_few(scans, held_out=not valid)
    if identifier is None:
        advice = 'pip install "antiphon[check]"'
        findings.append(Finding("note", "no_languages", "languages were not looked at", advice=advice))
    size = None
    if config:
        size = estimate(config, config.text.source_size or config.text.size, config.text.size)
        findings += _of_memory(size)
    findings.sort(key=lambda f: ("error", "warning", "note").index(f.severity))
    return Report(parts, findings, size)


class _Places:
    """How often something was met, and where first."""

    def __init__(self) -> None:
        self.count, self.places, self.problem = 0, list[str](), ""

    def add(self, record: Record) -> None:
        self.count += 1
        if len(self.places) < EXAMPLES:
            self.places.append(record.place)
            self.problem = self.problem or record.problem


class _Scan:
    """What is kept of a set of pairs while it is read."""

    def __init__(self, name: str, specs: list[str], before: int, progress: Callable[[int], None] | None) -> None:
        self.name, self.specs, self.before, self.progress = name, specs, before, progress
        self.pairs = 0
        self.met: dict[str, _Places] = {}
        self.characters: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
        self.words: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
        # Of each pair with text on both sides, a row:
        self.sources, self.whole = array("Q"), array("Q")  # hashes of the source and of the pair
        self.ratios, self.numbers = array("f"), array("I")  # target characters a source character; line number
        self.files: list[tuple[int, str]] = []  # first row and name of each file
        self.sample: list[Record] = []
        self.random = random.Random(1)

    def read(self, source: str, target: str) -> Iterator[Finding]:
        """Read every corpus to its end; yield what could not be read."""
        unreadable = False
        for spec in self.specs:
            try:
                for record in records(spec, source, target):
                    self._add(record)
            except UserError as e:
                unreadable = True
                yield Finding("error", "unreadable", str(e))
        for kind, what in UNSOUND.items():
            if kind in self.met:
                met = self.met[kind]
                yield Finding("error", kind, f"{NAMES[self.name]}: {met.count:,} {what}", met.places, met.problem)
        if not (self.pairs or self.met or unreadable):
            yield Finding("error", "no_pairs", f"{NAMES[self.name]}: no pairs in {' '.join(self.specs)}")

    def _meet(self, name: str, record: Record) -> None:
        self.met.setdefault(name, _Places()).add(record)

    def _add(self, record: Record) -> None:
        if record.kind:
            return self._meet(record.kind, record)
        self.pairs += 1
        if self.progress and self.pairs % (1 << 14) == 0:
            self.progress(self.before + self.pairs)
        source, target = record.source, record.target
        words = len(source.split()), len(target.split())
        if not (words[0] and words[1]):
            return self._meet("empty_target" if words[0] else "empty_source", record)
        for i, text in enumerate((source, target)):
            self.characters[i][len(text)] += 1
            self.words[i][words[i]] += 1
        if source == target:
            self._meet("copy", record)
        if "\n" in source or "\n" in target:
            self._meet("line_break", record)
        row = len(self.sources)
        if not self.files or self.files[-1][1] != record.file:
            self.files.append((row, record.file))
        self.sources.append(_hash(source))
        self.whole.append(_hash(f"{source}\0{target}"))
        self.ratios.append(len(target) / len(source))
        self.numbers.append(record.line)
        if row < SAMPLE:
            self.sample.append(record)
        elif (slot := int(self.random.random() * (row + 1))) < SAMPLE:  # Vitter 1985, algorithm R
            self.sample[slot] = record
        return None

    def places(self, rows: Any) -> list[str]:
        """Places of the first of some rows."""
        starts = [start for start, _ in self.files]
        places = []
        for row in map(int, rows[:EXAMPLES]):
            file = self.files[bisect_right(starts, row) - 1][1]
            places.append(Record("", "", file, self.numbers[row]).place)
        return places

    def side(self, i: int, identifier: Any) -> Side | None:
        """Lengths, script and language of the sources (0) or the targets (1)."""
        if not self.sources:
            return None
        scripts = Counter(_script(c) for record in self.sample for c in record[:2][i][:200] if c.isalpha())
        languages = Counter(language for _, language in self.guesses(i, identifier))
        enough = languages.total() >= FEWEST_GUESSES
        return Side(
            _lengths(self.characters[i]),
            _lengths(self.words[i]),
            _most(scripts),
            _most(languages) if enough else None,
        )

    def guesses(self, i: int, identifier: Any) -> Iterator[tuple[Record, str]]:
        """Records of the sample whose language can be told with some certainty."""
        if identifier is None:
            return
        for record in self.sample:
            text = record[:2][i][:1000]
            if len(text.encode()) >= SHORTEST_GUESS:
                language, probability = identifier.classify(text)
                if probability >= SURE:
                    yield record, language


UNSOUND = {
    "utf8": "texts that are not UTF-8",
    "nul": "texts with a NUL character",
    "columns": "lines without the columns or fields wanted",
    "format": "lines that cannot be parsed",
    "unequal": "pair of aligned files of unequal lengths",
    "corrupt": "damaged files",
}


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def _lengths(counts: Counter[int]) -> Lengths:
    lengths = np.array(sorted(counts), np.int64)
    until = np.cumsum([counts[int(n)] for n in lengths])
    total = int(until[-1])

    def percentile(p: int) -> int:
        return int(lengths[np.searchsorted(until, -(-total * p // 100))])

    mean = sum(n * count for n, count in counts.items()) / total
    return Lengths(int(lengths[0]), mean, percentile(50), percentile(95), percentile(99), int(lengths[-1]))


def _most(counts: Counter[str]) -> Share | None:
    if not counts:
        return None
    name, count = counts.most_common(1)[0]
    return Share(name, count / counts.total())


@lru_cache(1 << 16)
def _script(character: str) -> str:
    """The script of a letter, near enough: the first word of its Unicode name, such as LATIN or CJK."""
    words = unicodedata.name(character, "UNKNOWN").split()
    return words[1] if words[0] in ("FULLWIDTH", "HALFWIDTH") and len(words) > 1 else words[0]


def _identifier() -> Any:
    """py3langid's classifier with probabilities, or None where it is not installed."""
    try:
        library = importlib.import_module("py3langid.langid")
        return library.LanguageIdentifier.from_model_file(library.MODEL_FILE, norm_probs=True)
    except (ImportError, AttributeError):  # versions before 0.4 keep their model as a pickle: not opened
        return None


# Findings


def _of_pairs(scan: _Scan) -> Iterator[Finding]:
    """Empty, repeated, ambiguous, copied and lopsided pairs."""
    name, total = NAMES[scan.name], max(scan.pairs, 1)
    training = scan.name == "train"
    for side in ("source", "target"):
        if met := scan.met.get(f"empty_{side}"):
            advice = "training leaves them out" if training else "remove them: they count in every score"
            yield Finding("warning", f"empty_{side}", f"{name}: {met.count:,} empty {side}s", met.places, advice)
    if met := scan.met.get("copy"):
        severity: Severity = "warning" if met.count * 20 > total else "note"
        message = f"{name}: {met.count:,} targets equal their source"
        yield Finding(severity, "copy", message, met.places, "a model learns to copy them; remove what is untranslated")
    if met := scan.met.get("line_break"):
        message = f"{name}: {met.count:,} texts with a line break inside"
        yield Finding("note", "line_break", message, met.places, "outputs are written one a line; join such texts")
    if scan.sources:
        yield from _repeated(scan, name)
        yield from _lopsided(scan, name)


def _repeated(scan: _Scan, name: str) -> Iterator[Finding]:
    whole, sources = np.asarray(scan.whole), np.asarray(scan.sources)
    order = np.argsort(whole, kind="stable")
    ordered = whole[order]
    again = np.concatenate([[False], ordered[1:] == ordered[:-1]])
    rows = np.sort(order[again])
    if len(rows):
        severity: Severity = "warning" if len(rows) * 10 > len(whole) else "note"
        message = f"{name}: {len(rows):,} pairs ({len(rows) / len(whole):.1%}) repeat an earlier one"
        yield Finding(severity, "duplicate", message, scan.places(rows), "each counts anew; remove them if unintended")
    del ordered  # with millions of pairs each array counts
    distinct = sources[order[~again]]
    distinct.sort()
    several = np.unique(distinct[1:][distinct[1:] == distinct[:-1]])
    if len(several):
        rows = np.flatnonzero(sources == several[0])
        message = f"{name}: {len(several):,} sources have several targets"
        advice = "good where all are right (paraphrases, references); otherwise keep the best one"
        yield Finding("note", "ambiguous", message, scan.places(rows), advice)


def _lopsided(scan: _Scan, name: str) -> Iterator[Finding]:
    ratios = np.asarray(scan.ratios)
    median = float(np.median(ratios))
    rows = np.flatnonzero((ratios > median * EXTREME_RATIO) | (ratios < median / EXTREME_RATIO))
    if len(rows):
        # Where many are, the task is such (summaries, answers) and not the pairs are wrong.
        severity: Severity = "note" if len(rows) * 20 > len(ratios) else "warning"
        message = (
            f"{name}: {len(rows):,} pairs with lengths over {EXTREME_RATIO:g} times off the usual {median:.2f} "
            "target characters a source character"
        )
        yield Finding(severity, "ratio", message, scan.places(rows), "look whether the sides belong together")


def _overlap(train: _Scan, other: _Scan) -> Iterator[Finding]:
    """Pairs and sources of a development or test set that the training data have too."""
    if not (train.sources and other.sources):
        return
    name = NAMES[other.name]
    pairs = _among(np.asarray(other.whole), np.asarray(train.whole))
    sources = _among(np.asarray(other.sources), np.asarray(train.sources)) & ~pairs
    advice = "scores on them measure memory; remove them from the training data"
    for found, what in ((pairs, "pairs"), (sources, "sources, with other targets,")):
        rows: NDArray[np.int64] = np.flatnonzero(found)
        if len(rows):
            severity: Severity = "warning" if what == "pairs" or len(rows) * 100 > len(found) else "note"
            message = f"{name}: {len(rows):,} {what} ({len(rows) / len(found):.1%}) stand in the training data"
            yield Finding(severity, f"overlap_{what.split(',')[0]}", message, other.places(rows), advice)


def _among(few: NDArray[np.uint64], many: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of a few hashes are among many; `numpy.isin` would take several times the memory."""
    ordered = np.sort(many)
    places = np.searchsorted(ordered, few).clip(max=len(ordered) - 1)
    found: NDArray[np.bool_] = ordered[places] == few
    return found


def _of_languages(scan: _Scan, part: Part, identifier: Any) -> Iterator[Finding]:
    for i, side in enumerate((part.source, part.target)):
        if side is None or side.language is None or side.language.share < 0.5:
            continue
        guesses = list(scan.guesses(i, identifier))
        others = [(record, language) for record, language in guesses if language != side.language.name]
        share = len(others) / len(guesses)
        if share >= 0.01:
            named = ", ".join(name for name, _ in Counter(language for _, language in others).most_common(3))
            message = (
                f"{NAMES[scan.name]}: {share:.1%} of the {('sources', 'targets')[i]} look like {named} rather than "
                f"{side.language.name} (a guess, from {len(guesses):,} texts)"
            )
            severity: Severity = "warning" if share >= 0.05 else "note"
            places = [record.place for record, _ in others[:EXAMPLES]]
            yield Finding(severity, "language", message, places, "look at them; remove what is in the wrong language")


def _swapped(train: Part, other: Part) -> Iterator[Finding]:
    sides = (train.source, train.target, other.source, other.target)
    a, b, c, d = (side.language.name if side and side.language else "" for side in sides)
    if a and b and a != b and (a, b) == (d, c):
        message = f"{NAMES[other.name]}: from {c} to {d}, but the training data go from {a} to {b}"
        yield Finding("warning", "swapped", message, advice="swap its columns or files")


def _of_config(scan: _Scan, part: Part, config: sections.Config) -> Iterator[Finding]:
    """Where data and configuration do not fit each other."""
    name, text, data = NAMES[scan.name], config.text, config.data
    limits = (("source", data.max_source_length), ("target", data.max_target_length))
    for i, ((side_name, limit), side) in enumerate(zip(limits, (part.source, part.target), strict=True)):
        if side is None:
            continue
        # A piece is never longer than a word, so that words are the fewest pieces there can be.
        counts = scan.characters[i] if text.kind == "char" else scan.words[i]
        longer = sum(count for length, count in counts.items() if length > limit)
        if longer and scan.name == "train":
            message = f"{name}: at least {longer:,} {side_name}s are longer than {limit} pieces and are left out"
            advice = f"raise data.max_{side_name}_length, or cut the texts"
            severity: Severity = "warning" if longer * 100 > scan.pairs else "note"
            yield Finding(severity, "too_long", message, advice=advice)


def _too_few(scans: Sequence[_Scan], held_out: bool) -> Iterator[Finding]:
    """Sets of which too little is left for a training, which would refuse them."""
    for scan in scans:
        least = FEWEST_PAIRS if held_out and scan.name == "train" else 1
        if scan.pairs and len(scan.sources) < least:
            message = f"{NAMES[scan.name]}: {len(scan.sources)} pairs have text on both sides"
            advice = "give more pairs, or a development set" if scan.sources else "give pairs with text on both sides"
            yield Finding("error", "too_few", message, advice=advice)


def _of_memory(size: Estimate) -> Iterator[Finding]:
    memory = machine_memory()
    if memory and size.training_bytes > memory:
        message = f"training needs about {readable(size.training_bytes)}; this machine has {readable(memory)}"
        advice = "lower text.size, train.batch or the model's sizes"
        yield Finding("warning", "memory", message, advice=advice)
