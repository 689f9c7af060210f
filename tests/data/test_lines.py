"""Bytes to lines: where a line ends, what is unpacked, and what is refused because it is not text."""

import gzip
from pathlib import Path

import pytest
from files import ODD_BREAKS, PACKERS, random_lines, write

from antiphon.data.lines import Line, lines_of
from antiphon.errors import UserError


def message(path: str) -> str:
    with pytest.raises(UserError) as error:
        list(lines_of(path))
    return str(error.value)


@pytest.mark.parametrize("packing", PACKERS)
def test_only_newlines_end_lines(tmp_path: Path, packing: str) -> None:
    data = f"\ufeff{ODD_BREAKS}\r\n\n\ufeffx\r\r\nlast".encode()
    lines = list(lines_of(write(tmp_path / f"a.txt{packing}", PACKERS[packing](data))))
    assert lines == [Line(ODD_BREAKS, 1), Line("", 2), Line("\ufeffx\r", 3), Line("last", 4)]


@pytest.mark.parametrize("packing", PACKERS)
def test_an_empty_file_has_no_lines(tmp_path: Path, packing: str) -> None:
    assert list(lines_of(write(tmp_path / f"a.txt{packing}", PACKERS[packing](b"") if packing else b""))) == []


def test_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path / "train.tsv", "a\tb\n")
    problem = message(str(tmp_path / "trian.tsv"))
    assert "no such file; did you mean" in problem and "train.tsv" in problem
    assert "no folder" in message(str(tmp_path / "nowhere" / "train.tsv"))
    assert "a folder" in message(str(tmp_path))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"PK\x03\x04\x14\x00", "a spreadsheet"),
        (b"%PDF-1.7", "a PDF document"),
        (b"BZh91AY", "a bzip2 file"),
        ("a\tb\n".encode("utf-16"), "UTF-16 text"),
        ("a\tb\n".encode("utf-16-le"), "looks like UTF-16"),
        (b"\x7fELF\x02\x01\x01" + bytes(9), "a binary file"),
        (b"\xfc\xfd\xfe" * 50 + bytes(10), "a binary file"),
        (b"x" * 257 + b"ustar", "a tar archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ],
)
@pytest.mark.parametrize("packing", PACKERS)
def test_binary_files_are_named(tmp_path: Path, data: bytes, what: str, packing: str) -> None:
    problem = message(write(tmp_path / f"a.tsv{packing}", PACKERS[packing](data)))
    assert what in problem and "a.tsv" in problem


def test_invalid_utf8_is_placed(tmp_path: Path) -> None:
    good, bad = lines_of(write(tmp_path / "a.txt", b"a b\ncaf\xe9 b\n"))
    assert good == Line("a b", 1)
    assert (bad.text, bad.number, bad.kind) == ("caf\ufffd b", 2, "utf8")
    assert bad.problem.startswith("not UTF-8: byte 0xe9 at byte 4 of the line, offset 7 of the text")
    assert "iconv" in bad.problem


@pytest.mark.parametrize("packing", [".gz", ".zst"])
def test_a_cut_off_archive_ends_in_a_corrupt_line(tmp_path: Path, packing: str) -> None:
    data = random_lines(20_000)
    whole = PACKERS[packing](data)
    *good, last = lines_of(write(tmp_path / f"a.txt{packing}", whole[: len(whole) * 2 // 3]))
    assert len(good) > 1000 and not any(line.kind for line in good)
    assert [line.text for line in good] == data.decode().splitlines()[: len(good)]
    assert (last.kind, last.number) == ("corrupt", len(good) + 1)
    assert "breaks off or is damaged here" in last.problem
    assert "cannot be unpacked" in message(write(tmp_path / f"b.txt{packing}", whole[:30]))


def test_plain_text_called_gz_is_refused(tmp_path: Path) -> None:
    assert "not compressed" in message(write(tmp_path / "a.tsv.gz", "<html>\n"))


def test_packed_text_without_the_ending_is_read(tmp_path: Path) -> None:
    assert list(lines_of(write(tmp_path / "a.txt", gzip.compress(b"a\n")))) == [Line("a", 1)]


def test_endless_line(tmp_path: Path) -> None:
    spec = write(tmp_path / "a.tsv", b"a\tb\n" + b"x" * (1 << 24) + b"\n")
    assert "a.tsv:2: a line of over 16 MiB" in message(spec)
