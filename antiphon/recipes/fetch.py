"""Fetching the files of a corpus: from the folder that ANTIPHON_DATA names, else from their official address."""

import gzip
import hashlib
import os
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from antiphon.errors import UserError
from antiphon.recipes.recipe import File

Pack = Callable[[Path, str, Path], None]  # an archive, a path in it, and the file to write

DATA = "ANTIPHON_DATA"  # names a folder of corpora that are here already


def fetch(name: str, file: File, folder: Path, pack: Pack | None = None) -> Path:
    """Put a corpus's file into a folder.

    Args:
        name: what it is called there.
        file: where it comes from, and the checksum of its text.
        folder: made if missing.
        pack: makes the file where the address is an archive and `file.member` a folder of many small files in it; else
            the member itself is the file.

    Raises:
        UserError: it cannot be had, or its text is not what the recipe was made with.
    """
    path = folder / name
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        here = Path(os.environ.get(DATA, "")) / file.local
        if os.environ.get(DATA) and here.is_file():
            shutil.copyfile(here, partial)
        elif not file.url:
            raise UserError(
                f"{name}: no official address has this file; put it at {file.local} below a folder, and name that "
                f"folder in {DATA}"
            )
        else:
            _download(file.url, partial)
            if file.member:
                _take_out(partial, file.member, pack or _unpack)
            if file.column:
                _keep(partial, file.column)
        partial.replace(path)
    try:
        found = _digest(path)
    except (OSError, EOFError, zlib.error) as e:
        path.unlink()
        raise UserError(f"{name}: cannot be unpacked ({e}); run the command again to fetch it again") from e
    if found != file.sha256:
        path.unlink()
        raise UserError(
            f"{name}: its text has the checksum {found}, not {file.sha256}; is it another version of the corpus?"
        )
    return path


def _keep(path: Path, column: int) -> None:
    """Keep one column of a file's tab-separated lines."""
    parts = [line.split("\t") for line in text(path).split("\n")]
    lines = [part[column - 1] if len(part) >= column else "" for part in parts]
    path.write_text("\n".join(lines), encoding="utf-8", newline="\n")


def text(path: Path) -> str:
    """A file's text, unpacked where it is packed, whatever its name says."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as content:
        return content.read().decode("utf-8")


def lines(path: Path) -> list[str]:
    """A file's lines; other characters that may break a line are text here."""
    return text(path).removesuffix("\n").split("\n")


def _digest(path: Path) -> str:
    """The checksum of a file's text, unpacked."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _download(url: str, path: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except (urllib.error.URLError, OSError, ValueError) as e:
        path.unlink(missing_ok=True)
        raise UserError(f"{url}: cannot be downloaded: {e}; or set {DATA} to a folder that holds the corpus") from e


def _take_out(archive: Path, member: str, take: Pack) -> None:
    """Replace an archive by what is taken from it; nothing is unpacked to where the archive says."""
    taken = archive.with_name(archive.name + ".member")
    try:
        take(archive, member, taken)
    except (KeyError, tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, zlib.error) as e:
        archive.unlink()
        taken.unlink(missing_ok=True)
        raise UserError(f"{archive.name}: no file {member} in it: {e}; has the archive changed?") from e
    taken.replace(archive)


def _unpack(archive: Path, member: str, out: Path) -> None:
    """Write one file of a .zip or .tar archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed, packed.open(member) as inside, out.open("wb") as file:
            shutil.copyfileobj(inside, file)
        return
    with tarfile.open(archive) as tar:
        content = tar.extractfile(member)
        if content is None:
            raise KeyError(member)
        with content, out.open("wb") as file:
            shutil.copyfileobj(content, file)
