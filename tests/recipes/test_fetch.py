"""Fetching: checksums, archives, and what is here already."""

import gzip
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from antiphon.errors import UserError
from antiphon.recipes.fetch import fetch, text
from antiphon.recipes.recipe import File

WORDS = ["red", "blue", "green", "old", "new"]
PAIRS = [(f"{a} {b} {c}", f"{c} {b} {a}") for a in WORDS for b in WORDS for c in WORDS]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpora" / "words"
    folder.mkdir(parents=True)
    for side, suffix in enumerate(("a", "b")):
        text = "".join(pair[side] + "\n" for pair in PAIRS).encode()
        (folder / f"all.{suffix}.gz").write_bytes(gzip.compress(text))
    return folder


def entry(corpus: Path, name: str) -> File:
    path = corpus / name
    digest = hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()
    return File(url=path.as_uri(), sha256=digest, local=f"words/{name}")


def test_fetch_takes_the_folder_that_is_here_first(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = entry(corpus, "all.a.gz").model_copy(update={"url": "file:///nowhere"})
    monkeypatch.setenv("ANTIPHON_DATA", str(corpus.parent))
    path = fetch("all.a.gz", file, tmp_path / "data")
    assert path.read_bytes() == (corpus / "all.a.gz").read_bytes()


def test_fetch_downloads(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTIPHON_DATA", raising=False)
    path = fetch("all.a.gz", entry(corpus, "all.a.gz"), tmp_path / "data")
    assert path.read_bytes() == (corpus / "all.a.gz").read_bytes()


def test_fetch_refuses_another_text(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTIPHON_DATA", raising=False)
    file = entry(corpus, "all.a.gz").model_copy(update={"url": (corpus / "all.b.gz").as_uri()})
    with pytest.raises(UserError, match=r"all\.a\.gz: its text has the checksum"):
        fetch("all.a.gz", file, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_fetch_says_what_cannot_be_downloaded(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTIPHON_DATA", raising=False)
    file = entry(corpus, "all.a.gz").model_copy(update={"url": (corpus / "missing").as_uri()})
    with pytest.raises(UserError, match=r"missing: cannot be downloaded: .* ANTIPHON_DATA"):
        fetch("all.a.gz", file, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_file_without_an_address_is_asked_for(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTIPHON_DATA", raising=False)
    file = entry(corpus, "all.a.gz").model_copy(update={"url": ""})
    with pytest.raises(UserError, match=r"all\.a\.gz: no official address has this file; put it at .* ANTIPHON_DATA"):
        fetch("all.a.gz", file, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_one_column_of_a_file(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTIPHON_DATA", raising=False)
    lines = gzip.decompress((corpus / "all.a.gz").read_bytes()).decode().splitlines()
    table = tmp_path / "table.txt"
    table.write_text("".join(f"{line}\t{n}\n" for n, line in enumerate(lines)), encoding="utf-8", newline="\n")
    file = entry(corpus, "all.a.gz").model_copy(update={"url": table.as_uri(), "column": 1})
    assert text(fetch("all.a", file, tmp_path / "data")).splitlines() == lines


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_file_is_taken_out_of_an_archive(
    kind: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTIPHON_DATA", raising=False)
    packed = gzip.decompress((corpus / "all.a.gz").read_bytes())
    archive = tmp_path / f"words.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("../words/all.a", packed)
    else:
        with tarfile.open(archive, "w:gz") as tar:
            info = tarfile.TarInfo("../words/all.a")
            info.size = len(packed)
            tar.addfile(info, io.BytesIO(packed))
    file = entry(corpus, "all.a.gz").model_copy(update={"url": archive.as_uri(), "member": "../words/all.a"})
    path = fetch("all.a", file, tmp_path / "data")
    assert text(path).encode() == packed
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["all.a"]
    with pytest.raises(UserError, match="no file other in it"):
        fetch("other", file.model_copy(update={"member": "other"}), tmp_path / "data")
