"""Reading a set of pairs once, in little memory, for what `antiphon check` says about it.

Of each pair only two 64-bit hashes, a ratio and a line number are kept (24 bytes), so that millions of pairs fit;
texts are kept of a small random sample only.

Shapes: N pairs with text on both sides.
"""

import importlib
import random
import unicodedata
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from antiphon.data.corpus import Record, records
from antiphon.errors import UserError

EXAMPLES = 3  # places kept of each kind of fault
SAMPLE = 2000  # pairs whose script and language are detected
SURE = 0.9  # probability from which a detected language counts
SHORTEST = 20  # bytes; the language of a shorter text is not detected
FEWEST = 20  # texts; fewer say nothing about the language of a corpus
EVERY = 1 << 14  # pairs between two calls of the progress


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
    """The most frequent script or language of a side, and its share of those that were detected."""

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


class Places:
    """How often something occurred, and where first."""

    def __init__(self) -> None:
        self.count, self.places, self.problem = 0, list[str](), ""

    def add(self, record: Record) -> None:
        """Count a record."""
        self.count += 1
        if len(self.places) < EXAMPLES:
            self.places.append(record.place)
            self.problem = self.problem or record.problem


class Scan:
    """What is kept of the training, development or test pairs.

    Args:
        name: `train`, `valid` or `test`.
        specs: the corpora; see `corpus.read`.
        before: pairs that were read before these.
        progress: called now and then with the number of pairs read so far.
    """

    def __init__(self, name: str, specs: Sequence[str], before: int, progress: Callable[[int], None] | None) -> None:
        self.name, self.specs, self.before, self.progress = name, list(specs), before, progress
        self.pairs = 0
        self.unreadable: list[str] = []  # why a corpus, or the rest of it, cannot be read
        self.faults: dict[
            str, Places
        ] = {}  # by kind of record, or `empty_source`, `empty_target`, `copy`, `line_break`
        self.characters: tuple[Counter[int], Counter[int]] = (Counter(), Counter())  # lengths of sources and of targets
        self.words: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
        self.sources, self.whole = array("Q"), array("Q")  # [N] hashes of the source and of the pair
        self.ratios, self.numbers = array("f"), array("I")  # [N] target characters a source character; line number
        self.files: list[tuple[int, str]] = []  # first row and name of each file
        self.sample: list[Record] = []
        self._random = random.Random(1)

    def read(self, source: str, target: str) -> None:
        """Read every corpus to its end, or as far as it can be read.

        Args:
            source, target: columns or fields of the two sides.
        """
        for spec in self.specs:
            try:
                for record in records(spec, source, target):
                    self._add(record)
            except UserError as e:
                self.unreadable.append(str(e))

    def places(self, rows: Iterable[int]) -> list[str]:
        """Places of the first of some rows."""
        starts = [start for start, _ in self.files]
        places = []
        for row, _ in zip(map(int, rows), range(EXAMPLES), strict=False):
            file = self.files[bisect_right(starts, row) - 1][1]
            places.append(Record("", "", file, self.numbers[row]).place)
        return places

    def side(self, i: int, identifier: Any) -> Side | None:
        """Lengths, script and language of the sources (0) or the targets (1); None without pairs."""
        if not self.sources:
            return None
        scripts = Counter(_script(c) for record in self.sample for c in record[:2][i][:200] if c.isalpha())
        languages = Counter(language for _, language in self.languages(i, identifier))
        return Side(
            _lengths(self.characters[i]),
            _lengths(self.words[i]),
            _most_frequent(scripts),
            _most_frequent(languages) if languages.total() >= FEWEST else None,
        )

    def languages(self, i: int, identifier: Any) -> Iterator[tuple[Record, str]]:
        """Records of the sample whose language is detected with some certainty, and that language."""
        if identifier is None:
            return
        for record in self.sample:
            text = record[:2][i][:1000]
            if len(text.encode()) >= SHORTEST:
                language, probability = identifier.classify(text)
                if probability >= SURE:
                    yield record, language

    def _fault(self, name: str, record: Record) -> None:
        self.faults.setdefault(name, Places()).add(record)

    def _add(self, record: Record) -> None:
        if record.kind:
            return self._fault(record.kind, record)
        self.pairs += 1
        if self.progress and self.pairs % EVERY == 0:
            self.progress(self.before + self.pairs)
        source, target = record.source, record.target
        words = len(source.split()), len(target.split())
        if not (words[0] and words[1]):
            return self._fault("empty_target" if words[0] else "empty_source", record)
        for i, text in enumerate((source, target)):
            self.characters[i][len(text)] += 1
            self.words[i][words[i]] += 1
        if source == target:
            self._fault("copy", record)
        if "\n" in source or "\n" in target:
            self._fault("line_break", record)
        return self._keep(record)

    def _keep(self, record: Record) -> None:
        row, source, target = len(self.sources), record.source, record.target
        if not self.files or self.files[-1][1] != record.file:
            self.files.append((row, record.file))
        self.sources.append(_hash(source))
        self.whole.append(_hash(f"{source}\0{target}"))
        self.ratios.append(len(target) / len(source))
        self.numbers.append(record.line)
        if row < SAMPLE:
            self.sample.append(record)
        elif (place := int(self._random.random() * (row + 1))) < SAMPLE:  # Vitter 1985, algorithm R
            self.sample[place] = record


def language_identifier() -> Any:
    """py3langid's classifier with probabilities, or None where it is not installed."""
    try:
        library = importlib.import_module("py3langid.langid")
        return library.LanguageIdentifier.from_model_file(library.MODEL_FILE, norm_probs=True)
    except (ImportError, AttributeError):  # versions before 0.4 keep their model as a pickle: not opened
        return None


def among(few: NDArray[np.uint64], many: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of a few hashes are among many; `numpy.isin` would take several times the memory."""
    ordered = np.sort(many)
    places = np.searchsorted(ordered, few).clip(max=len(ordered) - 1)
    equal: NDArray[np.bool_] = ordered[places] == few
    return equal


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


def _most_frequent(counts: Counter[str]) -> Share | None:
    if not counts:
        return None
    name, count = counts.most_common(1)[0]
    return Share(name, count / counts.total())


@lru_cache(1 << 16)
def _script(character: str) -> str:
    """The script of a letter, nearly: the first word of its Unicode name, such as LATIN or CJK."""
    words = unicodedata.name(character, "UNKNOWN").split()
    return words[1] if words[0] in ("FULLWIDTH", "HALFWIDTH") and len(words) > 1 else words[0]
