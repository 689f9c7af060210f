"""What the check of the data finds, and the arithmetic of a model's size."""

import importlib.util
import io
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from antiphon.config import loading
from antiphon.data.check import Report, inspect
from antiphon.data.findings import Finding

needs_languages = pytest.mark.skipif(importlib.util.find_spec("py3langid") is None, reason="py3langid is not installed")


@pytest.fixture(autouse=True)
def without_languages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The language library takes a second to load: only the tests that ask for it have it."""
    if "languages" not in request.fixturenames:
        monkeypatch.setitem(sys.modules, "py3langid.langid", None)


@pytest.fixture
def languages() -> None:
    """Asks for the language library."""


def write(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return str(path)


def finding(report: Report, name: str) -> Finding:
    matches = [f for f in report.findings if f.name == name]
    assert len(matches) == 1, [f.line() for f in report.findings]
    return matches[0]


def names(report: Report) -> set[str]:
    return {f.name for f in report.findings} - {"no_languages"}


def lines_of(f: Finding) -> list[int]:
    return [int(place.rpartition(":")[2]) for place in f.places]


def clean(count: int, start: int = 0) -> str:
    return "".join(f"source text number {i}\tZieltext Nummer {i}\n" for i in range(start, start + count))


def test_sound_data_have_no_findings(tmp_path: Path) -> None:
    report = inspect([write(tmp_path / "a.tsv", clean(50))], [write(tmp_path / "b.tsv", clean(20, start=100))])
    assert not names(report) and report.ok
    assert [(p.name, p.pairs) for p in report.parts] == [("train", 50), ("valid", 20)]
    source = report.parts[0].source
    assert source and source.script and source.script.name == "LATIN" and source.script.share == 1
    assert (source.words.shortest, source.words.median, source.words.longest) == (4, 4, 4)
    text = "\n".join(report.lines())
    assert "training: 50 pairs" in text and "development: 20 pairs" in text
    assert json.loads(json.dumps(report.as_dict()))["parts"][0]["pairs"] == 50


def test_lengths_against_numpy(tmp_path: Path) -> None:
    rng = random.Random(3)
    sizes = [int(rng.lognormvariate(3, 1)) + 1 for _ in range(501)]
    report = inspect([write(tmp_path / "a.tsv", "".join(f"{'x' * n}\ty\n" for n in sizes))])
    side = report.parts[0].source
    assert side
    expected = [np.percentile(sizes, p, method="inverted_cdf") for p in (50, 95, 99)]
    assert [side.characters.median, side.characters.p95, side.characters.p99] == expected
    assert side.characters.mean == pytest.approx(np.mean(sizes))
    assert (side.characters.shortest, side.characters.longest) == (min(sizes), max(sizes))


def test_unsound_lines_are_counted_and_placed(tmp_path: Path) -> None:
    rows = [b"sound\tpair"] * 9
    rows[1], rows[2], rows[4], rows[6], rows[8] = b"\xff\tb", b"alone", b"nul\0\tb", b"\xff\tb", b"also alone"
    report = inspect([write(tmp_path / "a.tsv", b"\n".join(rows))])
    assert not report.ok and report.parts[0].pairs == 4
    assert lines_of(finding(report, "utf8")) == [2, 7]
    assert "2 texts that are not UTF-8" in finding(report, "utf8").message
    assert "iconv" in finding(report, "utf8").advice
    assert lines_of(finding(report, "columns")) == [3, 9]
    assert lines_of(finding(report, "nul")) == [5]
    assert all(f.severity == "error" for f in report.findings[:3])


def test_unequal_files(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.en", "1\n2\n3\n"), write(tmp_path / "a.de", "1\n2\n")
    f = finding(inspect([f"{a},{b}"]), "unequal")
    assert f.places == [f"{a}:3"] and f"{a} has 3 lines and {b} has 2" in f.advice


def test_files_that_cannot_be_read_do_not_hide_the_others(tmp_path: Path) -> None:
    report = inspect([str(tmp_path / "none.tsv"), write(tmp_path / "a.tsv", clean(3))], [str(tmp_path)])
    assert [f.name for f in report.findings if f.severity == "error"] == ["unreadable", "unreadable"]
    assert report.parts[0].pairs == 3 and report.parts[1].source is None
    assert "\n".join(report.lines())


@pytest.mark.parametrize("content", [None, "", "alone\n"])
def test_without_readable_training_data_no_memory_is_estimated(tmp_path: Path, content: str | None) -> None:
    spec = str(tmp_path / "none.tsv") if content is None else write(tmp_path / "a.tsv", content)
    report = inspect([spec], [write(tmp_path / "b.tsv", clean(20))], config=loading.load("tiny"))
    assert report.estimate is None and not any(line.startswith("model:") for line in report.lines())
    assert inspect([write(tmp_path / "a.tsv", clean(20))], config=loading.load("tiny")).estimate


def test_one_of_a_thing_is_singular(tmp_path: Path) -> None:
    pair = write(tmp_path / "a.tsv", "a b\tc d\n")
    text = "\n".join(inspect([pair], [pair]).lines())
    assert "training: 1 pair in" in text and "development: 1 pair (100.0%) is also in the training data" in text
    assert "1 line without the columns" in "\n".join(inspect([write(tmp_path / "b.tsv", "a\n")]).lines())


def test_empty_corpus(tmp_path: Path) -> None:
    assert finding(inspect([write(tmp_path / "a.tsv", "")]), "no_pairs").severity == "error"


def test_empty_sides(tmp_path: Path) -> None:
    report = inspect([write(tmp_path / "a.tsv", clean(10) + "\tx\nx\t \n\n")])
    assert lines_of(finding(report, "empty_source")) == [11, 13]
    assert lines_of(finding(report, "empty_target")) == [12]
    assert report.parts[0].pairs == 13 and report.ok


def test_duplicates_and_ambiguous_sources(tmp_path: Path) -> None:
    a = write(tmp_path / "a.tsv", "a\tb\n" + clean(20) + "a\tb\n")
    b = write(tmp_path / "b.tsv", "new\tneu\na\tb\nnew\tfrisch\nnew\tfrisch\n")
    report = inspect([a, b])
    duplicate = finding(report, "duplicate")
    assert duplicate.places == [f"{a}:22", f"{b}:2", f"{b}:4"] and "3 pairs (11.5%)" in duplicate.message
    assert duplicate.severity == "warning"
    ambiguous = finding(report, "ambiguous")
    assert "1 source has several targets" in ambiguous.message and ambiguous.places == [f"{b}:1", f"{b}:3", f"{b}:4"]


def test_overlap_with_the_training_data(tmp_path: Path) -> None:
    train = write(tmp_path / "train.tsv", clean(50))
    test = write(tmp_path / "test.tsv", clean(20, start=100) + clean(2) + "source text number 9\tanders gesagt\n")
    report = inspect([train], test=[test])
    assert finding(report, "overlap_pairs").places == [f"{test}:21", f"{test}:22"]
    assert finding(report, "overlap_pairs").severity == "warning"
    assert "2 pairs (8.7%)" in finding(report, "overlap_pairs").message
    assert finding(report, "overlap_sources").places == [f"{test}:23"]


def test_lopsided_pairs_are_measured_by_the_corpus(tmp_path: Path) -> None:
    rows = [f"{'x' * 40} {i}\t{'yy' * 10} {i}" for i in range(100)]  # targets half as long: that is usual here
    rows[30], rows[60] = "x\t" + "y" * 30, "x" * 80 + "\ty"
    f = finding(inspect([write(tmp_path / "a.tsv", "\n".join(rows))]), "ratio")
    assert lines_of(f) == [31, 61] and f.severity == "warning"


def test_copies(tmp_path: Path) -> None:
    few = inspect([write(tmp_path / "a.tsv", clean(50) + "same\tsame\n")])
    assert lines_of(finding(few, "copy")) == [51] and finding(few, "copy").severity == "note"
    many = inspect([write(tmp_path / "a.tsv", clean(5) + "same\tsame\n")])
    assert finding(many, "copy").severity == "warning"


def test_line_breaks_inside_texts(tmp_path: Path) -> None:
    report = inspect([write(tmp_path / "a.csv", 's,t\n"one\ntwo",x\na,b\n')])
    assert lines_of(finding(report, "line_break")) == [2]


def test_standard_input_and_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    data = clean(40_000).encode() + b"source text number 1\tZieltext Nummer 1\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    seen: list[int] = []
    report = inspect(["-"], progress=seen.append)
    assert seen == [16384, 32768]
    assert finding(report, "duplicate").places == ["standard input:40001"]


def test_named_columns(tmp_path: Path) -> None:
    spec = write(tmp_path / "a.csv", "en,de\n" + "a cat,eine Katze\n" * 10)
    assert inspect([spec], source="en", target="de").ok
    assert "did you mean 'de'" in finding(inspect([spec], source="en", target="dee"), "unreadable").message


def test_data_that_contradict_the_configuration(tmp_path: Path) -> None:
    rows = "".join(f"only one sentence, the {i}th\t这里没有空格只有汉字而已{chr(0x4E00 + i)}\n" for i in range(30))
    spec = write(tmp_path / "a.tsv", rows + f"{'long ' * 300}\t短的句子这里没有空格\n")
    report = inspect([spec], config=loading.load(sets=["text.kind='word'"]))
    assert "1 source is longer than 256 pieces" in finding(report, "too_long").message
    script = report.parts[0].target and report.parts[0].target.script
    assert script and script.name == "CJK"
    assert report.ok


@pytest.mark.parametrize(
    ("rows", "valid", "refused"),
    [("a\t\n" * 30, True, True), ("a b\tc d\n" * 9, False, True), ("a b\tc d\n" * 9, True, False)],
)
def test_what_a_training_would_refuse_is_an_error(tmp_path: Path, rows: str, valid: bool, refused: bool) -> None:
    spec, other = write(tmp_path / "a.tsv", rows), write(tmp_path / "b.tsv", clean(20))
    report = inspect([spec], [other] if valid else [])
    assert report.ok is not refused
    assert ("too_few" in names(report)) is refused


ENGLISH = ["The old man is reading the newspaper in the garden", "We would like to visit the museum with our children"]
GERMAN = ["Der alte Mann liest im Garten die Zeitung", "Wir möchten mit unseren Kindern das Museum besuchen"]
FRENCH = ["Le vieil homme lit le journal dans le jardin", "Nous voudrions visiter le musée avec nos enfants"]


def bilingual(sources: list[str], targets: list[str], count: int) -> str:
    return "".join(f"{sources[i % 2]} {i}.\t{targets[i % 2]} {i}.\n" for i in range(count))


@needs_languages
def test_wrong_languages(tmp_path: Path, languages: None) -> None:
    train = write(tmp_path / "a.tsv", bilingual(ENGLISH, GERMAN, 90) + bilingual(ENGLISH, FRENCH, 10))
    swapped = write(tmp_path / "b.tsv", bilingual(GERMAN, ENGLISH, 60))
    report = inspect([train], [swapped])
    side = report.parts[0].target
    assert side and side.language and side.language.name == "de" and side.language.share == pytest.approx(0.9, abs=0.01)
    f = finding(report, "language")
    assert lines_of(f) == [91, 92, 93] and "targets look like fr" in f.message and f.severity == "warning"
    assert "from de to en, but the training data go from en to de" in finding(report, "swapped").message


def test_without_the_language_library(tmp_path: Path) -> None:
    report = inspect([write(tmp_path / "a.tsv", clean(50))])
    assert 'install the extra "check"' in finding(report, "no_languages").advice


def test_memory_is_compared_with_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = inspect([write(tmp_path / "a.tsv", clean(9))], config=loading.load(sets=["text.size=200000000"]))
    assert report.estimate and report.estimate.parameters > 10**11
    assert "this computer has" in finding(report, "memory").message


MEASURE = """
import resource, sys
sys.modules["py3langid.langid"] = None
from antiphon.data.check import inspect
report = inspect(["-"])
scale = 1 if sys.platform == "darwin" else 1024
print(report.parts[0].pairs, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
def test_memory_stays_flat(tmp_path: Path) -> None:
    """A pair costs its 24 bytes and what sorting needs, whatever the length of its text."""

    def peak(count: int) -> int:
        data = "".join(f"{i} {'long text ' * 20}\t{i} {'langer Text ' * 20}\n" for i in range(count))
        done = subprocess.run(
            [sys.executable, "-c", MEASURE], input=data, capture_output=True, text=True, encoding="utf-8", check=True
        )
        pairs, memory = map(int, done.stdout.split())
        assert pairs == count
        return memory

    assert peak(32_000) - peak(2_000) < 30_000 * 90 + (4 << 20)


@needs_languages
def test_real_corpora(data_folder: Path, languages: None) -> None:
    raw = data_folder / "multi30k" / "raw"
    report = inspect([f"{raw / 'train.en.gz'},{raw / 'train.de.gz'}"], [f"{raw / 'val.en.gz'},{raw / 'val.de.gz'}"])
    assert report.ok and [p.pairs for p in report.parts] == [29_000, 1_014]
    sides = [side for part in report.parts for side in (part.source, part.target)]
    assert [side.language.name for side in sides if side and side.language] == ["en", "de"] * 2
    assert next(report.lines()).startswith("training: 29,000 pairs in")
