"""Reading pairs: every format, packed and plain, and every way in which a file can be wrong."""

import gzip
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from files import ODD_BREAKS, PACKERS, random_lines, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon.data.corpus import Pair, read, read_lines, read_sources, records
from antiphon.errors import UserError

PAIRS = [Pair("a dog", "ein Hund"), Pair("two cats", "zwei Katzen"), Pair("über\u2028line", "\x0bweiß\x85")]


def message(spec: str, source: str = "", target: str = "") -> str:
    with pytest.raises(UserError) as error:
        list(read(spec, source, target))
    return str(error.value)


def tsv(pairs: list[Pair]) -> bytes:
    return "".join(f"{p.source}\t{p.target}\n" for p in pairs).encode()


def jsonl(pairs: list[Pair]) -> bytes:
    return "".join(json.dumps({"source": p.source, "target": p.target}) + "\n" for p in pairs).encode()


def comma(pairs: list[Pair]) -> bytes:
    return "".join(f'"{a}","{b}"\n' for a, b in [Pair("source", "target"), *pairs]).encode()


WRITERS = {"tsv": tsv, "jsonl": jsonl, "ndjson": jsonl, "json": jsonl, "csv": comma, "txt": tsv}


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_packed_and_plain(tmp_path: Path, kind: str, packing: str) -> None:
    spec = write(tmp_path / f"pairs.{kind}{packing}", PACKERS[packing](WRITERS[kind](PAIRS)))
    assert list(read(spec)) == PAIRS


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl"])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, kind: str, packing: str) -> None:
    data = io.BytesIO(PACKERS[packing](WRITERS[kind](PAIRS)))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data, encoding="ascii"))
    assert list(read("-" if kind == "tsv" else f"-:{kind}")) == PAIRS


def test_standard_input_is_named_in_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\tb\nalone\n")))
    assert message("-").startswith("standard input:2: 1 column where 2 are needed")
    assert "did you mean 'jsonl'" in message("-:jsonll")


@pytest.mark.parametrize("packing", PACKERS)
def test_aligned_files(tmp_path: Path, packing: str) -> None:
    a = write(tmp_path / f"a.en{packing}", PACKERS[packing]("\ufeffone\r\ntwo\n\nlast".encode()))
    b = write(tmp_path / f"a.de{packing}", PACKERS[packing](f"eins\n{ODD_BREAKS}\nleer\nEnde\n".encode()))
    assert list(read(f"{a},{b}")) == [("one", "eins"), ("two", ODD_BREAKS), ("", "leer"), ("last", "Ende")]


def test_only_newlines_end_lines(tmp_path: Path) -> None:
    spec = write(tmp_path / "a.tsv", f"{ODD_BREAKS}\t{ODD_BREAKS}\r\nx\ty")
    assert list(read(spec)) == [(ODD_BREAKS, ODD_BREAKS), ("x", "y")]
    assert list(read_lines(write(tmp_path / "a.txt", f"{ODD_BREAKS}\r\n\nx"))) == [ODD_BREAKS, "", "x"]


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\t\n\r\ufeff"), max_size=20)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.builds(Pair, text, text), min_size=1, max_size=5))
def test_any_text_survives_any_format(tmp_path: Path, pairs: list[Pair]) -> None:
    for kind, packing in [("tsv", ".gz"), ("jsonl", ".zst"), ("csv", "")]:
        if kind == "csv":
            rows = [Pair("source", "target"), *pairs]
            data = "".join(",".join('"' + side.replace('"', '""') + '"' for side in p) + "\n" for p in rows).encode()
        else:
            data = WRITERS[kind](pairs)
        assert list(read(write(tmp_path / f"p.{kind}{packing}", PACKERS[packing](data)))) == pairs


def test_columns_by_number_and_by_name(tmp_path: Path) -> None:
    spec = write(tmp_path / "a.tsv", "en\tid\tde\ncat\t7\tKatze\n")
    assert list(read(spec, "en", "de")) == [("cat", "Katze")]
    assert list(read(spec, "3", "1")) == [("de", "en"), ("Katze", "cat")]
    assert list(read(spec, "de", "1")) == [("Katze", "cat")]
    assert "a.tsv:1: no target column 'dee' in the header; did you mean 'de'?" in message(spec, "en", "dee")
    assert "counted from 1" in message(spec, "0", "1")
    assert "same column" in message(spec, "2")
    assert "a.tsv:1: no column 4 for the target" in message(spec, "en", "4")
    assert "a.tsv:1: 3 columns where 5 are needed" in message(spec, "1", "5")


def test_csv_quoting_and_names(tmp_path: Path) -> None:
    spec = write(tmp_path / "a.csv", 'de,note,en\n"ein ""Hund"", hier",,"two\nlines"\n\nb,c,d\n')
    assert list(read(spec, "en", "de")) == [("two\nlines", 'ein "Hund", hier'), ("", ""), ("d", "b")]
    assert [r.line for r in records(spec)] == [2, 4, 5]
    assert "a.csv:1: no source column 'nite' in the header; did you mean 'note'?" in message(spec, "nite")
    assert "a.csv:1: no column 9" in message(spec, "1", "9")
    assert "separated by ';'" in message(write(tmp_path / "b.csv", "a;b\nc;d\n"))


def test_csv_errors_name_the_line(tmp_path: Path) -> None:
    assert "a.csv:3: 1 column where 2" in message(write(tmp_path / "a.csv", "s,t\na,b\nc\n"))
    assert "a.csv:3: not valid CSV" in message(write(tmp_path / "a.csv", 's,t\na,b\n"c,d\ne,f\n'))
    assert "a.csv:2: not UTF-8" in message(write(tmp_path / "a.csv", b"s,t\n\xe9,b\n"))


def test_json_fields(tmp_path: Path) -> None:
    rows = [{"translation": {"en": "cat", "de": ["Katze", "Kater"]}, "a.b": "dotted"}, {}]
    spec = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    pairs = list(records(spec, "translation.en", "translation.de"))
    assert pairs[0][:2] == ("cat", "Katze") and pairs[0].others == ("Kater",)
    assert next(read(spec, "translation.en", "translation.de")).references == ["Katze", "Kater"]
    assert "no field 'translation.en'" in pairs[1].problem
    assert next(read(spec, "a.b", "translation.en")) == ("dotted", "cat")
    assert next(read(spec, "a.b", "translation.en")).references == ["cat"]
    bad = write(
        tmp_path / "b.jsonl", '{"source": "x", "target": ["y", 2]}\n{"source": "x", "target": ["y", "\\u0000"]}'
    )
    assert [r.kind for r in records(bad)] == ["columns", "nul"]
    assert "a.jsonl:1: no field 'translation.dee'; did you mean 'translation.de'?" in message(
        spec, "translation.en", "translation.dee"
    )
    assert "same field" in message(spec, "target")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not JSON"),
        ('[{"source": "a"}]', "a list where an object is needed; write a JSON array as lines"),
        ("[", "not JSON: Expecting value: line 1 column 2 (char 1); "),
        ('"text"', "a string where an object is needed"),
        ('{"source": 3, "target": "b"}', "field 'source' is a number, not a string"),
        ('{"source": "a", "target": null}', "field 'target' is a null, not a string"),
        ('{"source": "a", "target": []}', "field 'target' is a list, not a string"),
        ('{"source": "a"}', "no field 'target'; known: source"),
        ('{"source": "\\ud800", "target": "b"}', "field 'source' has half a surrogate pair"),
        ('{"source": "\\u0000", "target": "b"}', "a NUL character"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_json_errors_name_the_line(tmp_path: Path, line: str, problem: str) -> None:
    spec = write(tmp_path / "a.jsonl", '{"source": "a", "target": "b"}\n' + line)
    assert f"a.jsonl:2: {problem}" in message(spec)


def test_unequal_files_are_named_with_their_counts(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.en", "1\n2\n3\n4\n"), write(tmp_path / "a.de", "1\n2\n")
    for first, second in [(a, b), (b, a)]:
        problem = message(f"{first},{second}")
        assert "a.en:3: " in problem
        assert f"{a} has 4 lines" in problem or f"and {a} has 4" in problem
        assert f"{b} has 2" in problem
    assert [r.kind for r in records(f"{a},{b}")] == ["", "", "unequal"]


def test_aligned_specs_that_make_no_sense(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.tsv", "a\tb\n"), write(tmp_path / "b.tsv", "a\tb\n")
    assert "given one by one" in message(f"{a},{b}")
    assert "two aligned files are written a.en,a.de" in message("a.en,b.en,c.en")
    assert "two different files" in message("a.en,a.en")
    with pytest.raises(UserError, match="one file of source text"):
        list(read_sources("a.en,a.de"))


def test_a_comma_in_a_file_name(tmp_path: Path) -> None:
    assert list(read(write(tmp_path / "a,b.tsv", "x\ty\n"))) == [("x", "y")]


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl", "a.txt", "a.tsv.gz"])
def test_empty_corpus(tmp_path: Path, name: str) -> None:
    assert "no text in it" in message(write(tmp_path / name, b""))
    assert list(read_lines(write(tmp_path / name, b""))) == list(read_sources(write(tmp_path / name, b""))) == []


def test_header_alone_is_an_empty_corpus(tmp_path: Path) -> None:
    assert "no text in it" in message(write(tmp_path / "a.csv", "s,t\n"))
    assert "no text in it" in message(write(tmp_path / "a.tsv", "s\tt\n"), "s", "t")
    assert "no text in it" in message(write(tmp_path / "a.tsv", ""), "s", "t")
    assert list(read_sources(str(tmp_path / "a.csv"), "s")) == list(read_sources(str(tmp_path / "a.tsv"), "s")) == []


def test_nul_is_placed(tmp_path: Path) -> None:
    assert "a.tsv:2: a NUL character" in message(write(tmp_path / "a.tsv", b"a\tb\nc\0d\te\n"))
    with pytest.raises(UserError, match=r"a\.txt:1: a NUL"):
        list(read_lines(write(tmp_path / "a.txt", b"some text\0\n")))


def test_bad_records_do_not_stop_the_reading(tmp_path: Path) -> None:
    spec = write(tmp_path / "a.tsv", b"a long line of text\tb\nx\0y\tb\n\xff\tb\nalone\n\nc\td\n\te\n")
    rows = list(records(spec))
    assert [r.kind for r in rows] == ["", "nul", "utf8", "columns", "", "", ""]
    assert [r.place.rpartition(":")[2] for r in rows] == list("1234567")
    assert [r[:6] for r in rows[-3:]] == [
        ("", "", spec, 5, "", ""),
        ("c", "d", spec, 6, "", ""),
        ("", "e", spec, 7, "", ""),
    ]


def test_bad_lines_of_either_aligned_file_are_placed_in_it(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.en", b"x\n\xff\nz\n"), write(tmp_path / "a.de", b"\xfe\ny\nz\n")
    assert [(Path(r.file).name, r.line, r.kind) for r in records(f"{a},{b}")] == [
        ("a.de", 1, "utf8"),
        ("a.en", 2, "utf8"),
        ("a.en", 3, ""),
    ]


@pytest.mark.parametrize("packing", [".gz", ".zst"])
@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl"])
def test_cut_off_archives_are_noticed(tmp_path: Path, packing: str, kind: str) -> None:
    lines = random_lines(20_000)
    data = lines if kind == "tsv" else lines.replace(b"\t", b",") if kind == "csv" else b'{"source":"a","target":"b"}\n'
    whole = PACKERS[packing](data * (50_000 if kind == "jsonl" else 1))
    path = tmp_path / f"a.{kind}{packing}"
    problem = message(write(path, whole[: len(whole) * 2 // 3]))
    assert path.name in problem and ("breaks off or is damaged here" in problem or "cannot be unpacked" in problem)
    problem = message(write(path, whole[:30]))
    assert "cannot be unpacked" in problem
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 40] = bytes(40)
    if packing == ".gz":  # a Zstandard frame written without a checksum may not show it
        assert path.name in message(write(path, bytes(damaged)))


def test_a_cut_off_archive_of_two_stops_there(tmp_path: Path) -> None:
    data = random_lines(20_000)
    a, b = write(tmp_path / "a.en", data), write(tmp_path / "a.de.gz", gzip.compress(data)[:-100_000])
    *good, last = records(f"{a},{b}")
    assert last.kind == "corrupt" and Path(last.file).name == "a.de.gz" and last.line == len(good) + 1
    assert len(good) > 1000


def test_one_side_alone(tmp_path: Path) -> None:
    assert list(read_sources(write(tmp_path / "a.txt", "one\ttwo\nthree\n"))) == ["one\ttwo", "three"]
    assert list(read_sources(write(tmp_path / "a.tsv", "one\ttwo\nthree\n"))) == ["one", "three"]
    assert list(read_sources(write(tmp_path / "a.txt", "one\ttwo\n"), "2")) == ["two"]
    assert list(read_sources(write(tmp_path / "a.jsonl", '{"source": "x"}'))) == ["x"]
    assert list(read_sources(write(tmp_path / "a.csv", "t,s\n1,2\n"), "s")) == ["2"]


def test_reading_is_lazy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = 0

    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            nonlocal fetched
            fetched += len(buffer)
            buffer[:] = (b"a\tb\n" * len(buffer))[: len(buffer)]
            return len(buffer)

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Endless())))
    assert next(read("-")) == ("a", "b")
    assert fetched <= 1 << 20


def test_hugging_face_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "write it as hf:owner/name:split" in message("hf:nothing")
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert 'install the extra "hf"' in message("hf:owner/name:train")


@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="datasets is not installed")
def test_hugging_face_folder(tmp_path: Path) -> None:
    """In a process of its own: the library reads its offline setting once and warns as it likes."""
    rows = [{"translation": {"en": f"cat {i}", "de": f"Katze {i}"}} for i in range(3)]
    (tmp_path / "set").mkdir()
    write(tmp_path / "set" / "train.jsonl", "".join(json.dumps(r) + "\n" for r in rows))
    program = (
        "import sys\nfrom antiphon.data.corpus import records\n"
        "for spec in sys.argv[1:]:\n"
        "    for r in records(spec, 'translation.en', 'translation.de'): print(r.source, r.target, r.line, sep='|')\n"
        "print(next(iter(records(sys.argv[1], 'translation.em', 'translation.de'))).problem)\n"
        "records_of_none = records(sys.argv[1].replace(':train', ':none'))\n"
        "try: next(records_of_none)\n"
        "except Exception as e: print(type(e).__name__, e)\n"
    )
    specs = [f"hf:{tmp_path / 'set'}:train", f"hf:{tmp_path / 'set'}:train[:2]"]
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, *specs], capture_output=True, text=True, encoding="utf-8", env=env, check=True
    )
    lines = done.stdout.splitlines()
    expected = [f"cat {i}|Katze {i}|{i + 1}" for i in range(3)]
    assert lines[:5] == expected + expected[:2]
    assert "did you mean 'translation.en'?" in lines[5]
    assert lines[6].startswith("UserError") and "cannot be loaded" in lines[6]


def test_real_corpora(data_folder: Path) -> None:
    def count(spec: str, source: str = "", target: str = "") -> int:
        return sum(1 for _ in read(spec, source, target))

    raw = data_folder / "multi30k" / "raw"
    assert count(f"{raw / 'train.en.gz'},{raw / 'train.de.gz'}") == 29_000
    assert count(str(data_folder / "anki_cmn_eng" / "train.tsv.gz")) == 19_053
    with pytest.raises(UserError, match=r"has 29000 lines and .* has 1014"):
        count(f"{raw / 'train.en.gz'},{raw / 'val.de.gz'}")
