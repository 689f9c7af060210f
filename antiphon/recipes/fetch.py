"""Fetching the files of a corpus: from the folder that ANTIPHON_DATA names, else from their official address."""

import gzip
import hashlib
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path

import pooch

from antiphon.errors import UserError
from antiphon.files import FULL, told, whole_path, write
from antiphon.recipes.recipe import File

Pack = Callable[[Path, str, Path], None]  # an archive, a path in it, and the file to write

DATA = "ANTIPHON_DATA"  # names a folder with corpora
SECONDS = 60  # without an answer
BROKEN = (EOFError, gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile, zlib.error)

pooch.get_logger().setLevel("WARNING")


def fetch(name: str, file: File, folder: Path, downloads: Path, pack: Pack | None = None) -> Path:
    """Put a corpus's file into a folder. A file that is there and has the right checksum is kept.

    Args:
        name: of the file in the folder.
        file: where it comes from, and the checksum of its text.
        folder: made if missing.
        downloads: where downloads go, so that an archive is downloaded once for all its files.
        pack: makes the file where the address is an archive and `file.member` a folder of many small files in it;
            without it the member itself is the file.

    Raises:
        UserError: it cannot be downloaded, unpacked or written, or its text does not have the checksum.
    """
    path = folder / name
    if path.is_file() and not _fault(path, file):
        return path
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with whole_path(path) as unfinished:
        local = Path(os.environ.get(DATA, "")) / file.local
        if os.environ.get(DATA) and local.is_file():
            with told(local, "cannot be copied"):
                shutil.copyfile(local, unfinished)
        else:
            _download(name, file, unfinished, downloads, pack or _unpack)
        if fault := _fault(unfinished, file):
            raise UserError(f"{name}: {fault}")
    return path


def text(path: Path) -> str:
    """A file's text, unpacked if it is gzip, whatever its name says."""
    with _open(path) as content:
        return content.read().decode("utf-8")


def lines(path: Path) -> list[str]:
    """A file's lines. Only line feeds end one; other characters that may break a line are text here."""
    return text(path).removesuffix("\n").split("\n")


def _open(path: Path) -> gzip.GzipFile | BufferedReader:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")


def _fault(path: Path, file: File) -> str:
    """What is wrong with a file: its text does not have the checksum; empty if nothing is."""
    try:
        with _open(path) as content:
            checksum = hashlib.file_digest(content, "sha256").hexdigest()
    except BROKEN as e:
        return f"cannot be unpacked ({e})"
    if checksum == file.sha256:
        return ""
    return f"its text has the checksum {checksum}, not {file.sha256}; is it another version of the corpus?"


def _download(name: str, file: File, path: Path, downloads: Path, unpack: Pack) -> None:
    """Write a file from its address, or from the archive there."""
    if not file.url:
        raise UserError(
            f"{name}: no official address has this file; put it at {file.local} below a folder, and name that folder "
            f"in {DATA}"
        )
    try:
        # No hash: a recipe has that of the unpacked text, which `_fault` compares.
        download = Path(
            pooch.retrieve(file.url, None, path=downloads, downloader=pooch.HTTPDownloader(timeout=SECONDS))
        )
    except (OSError, ValueError) as e:
        if isinstance(e, OSError) and e.errno in FULL:
            raise  # the disk's fault, not the address's
        raise UserError(
            f"{file.url}: cannot be downloaded: {e}; or set {DATA} to a folder that holds the corpus"
        ) from e
    try:
        _extract(file, download, path, unpack)
    except (KeyError, UnicodeDecodeError, *BROKEN) as e:
        raise UserError(f"{file.url}: no file {file.member or 'of text'} in it: {e}; has it changed?") from e
    except OSError as e:
        if e.errno is not None:
            raise
        raise UserError(f"{file.url}: damaged: {e}; has the file changed?") from e


def _extract(file: File, download: Path, path: Path, unpack: Pack) -> None:
    """Write a corpus's file from what was downloaded: an archive, a table, or the file itself."""
    if file.member:
        unpack(download, file.member, path)
    elif file.column:
        columns = [line.split("\t") for line in text(download).split("\n")]
        write(path, "\n".join(c[file.column - 1] if len(c) >= file.column else "" for c in columns))
    else:
        shutil.copyfile(download, path)


def _unpack(archive: Path, member: str, path: Path) -> None:
    """Write one file of a .zip or .tar archive; nothing is unpacked to where the archive says."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed, packed.open(member) as content, path.open("wb") as file:
            shutil.copyfileobj(content, file)
        return
    with tarfile.open(archive) as packed_tar:
        extracted = packed_tar.extractfile(member)
        if extracted is None:
            raise KeyError(member)
        with extracted, path.open("wb") as file:
            shutil.copyfileobj(extracted, file)
