"""Writing files and folders whole or not at all, and saying in one way why that was not possible.

What is written goes to `.NAME.unfinished` beside its place, is flushed to the disk, and is then renamed. So a file of
the right name is always complete, whenever the process or the machine stops.
"""

import errno
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from antiphon.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # disk, quota or file-size limit reached


def reason(error: OSError) -> str:
    """Why the system refused, and what to do where the disk is full."""
    if error.errno in FULL:
        return "the disk is full; make room and run the same command again"
    return error.strerror or str(error)


@contextmanager
def told(path: Path, what: str = "cannot be written") -> Iterator[None]:
    """Turn the system's errors into a `UserError` about a path.

    Args:
        path: the file or folder that is worked on.
        what: what could not be done.

    Raises:
        UserError: the system refused. A closed pipe is left as it is: nobody wants to read on.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as e:
        raise UserError(f"{path}: {what}: {reason(e)}") from e


@contextmanager
def whole_path(path: Path) -> Iterator[Path]:
    """Give a temporary path to write a file to; it takes the file's place at the end, if nothing was raised.

    Raises:
        UserError: it cannot be written.
    """
    unfinished = _unfinished(path)
    with told(path):
        try:
            yield unfinished
            _sync(unfinished)
            unfinished.replace(path)
        finally:
            with suppress(OSError):
                unfinished.unlink()


@contextmanager
def whole_text(path: Path) -> Iterator[TextIO]:
    """Open a UTF-8 text file that is written whole or not at all; line ends stay as they are.

    Raises:
        UserError: it cannot be written.
    """
    with whole_path(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="\n") as file:
        yield file


def write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; text becomes UTF-8.

    Raises:
        UserError: it cannot be written.
    """
    with whole_path(path) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)


def write_all(folder: Path, files: Mapping[str, bytes], last: str, stale: Sequence[str] = ()) -> None:
    """Write several files that belong together, all or none.

    Everything is written under temporary names first. From the first rename to the last the folder has no file `last`,
    so that nobody opens a mixture of old and new.

    Args:
        folder: made if missing.
        files: contents by name, renamed in this order.
        last: the one of `files` without which the others are not read.
        stale: files of an older version that are deleted.

    Raises:
        UserError: the folder or a file cannot be written.
    """
    unfinished = {name: _unfinished(folder / name) for name in files}
    with told(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                unfinished[name].write_bytes(content)
                _sync(unfinished[name])
            current = folder / last
            if current.exists() and current.read_bytes() != files[last]:
                current.unlink()
            for name in [*(name for name in files if name != last), last]:
                unfinished[name].replace(folder / name)
            for name in stale:
                (folder / name).unlink(missing_ok=True)
        finally:
            for path in unfinished.values():
                with suppress(OSError):
                    path.unlink()


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give an empty temporary folder to fill; it takes the place of `path` at the end, if nothing was raised.

    The old folder is renamed away before and deleted after, so that a failure leaves it as it was.

    Raises:
        UserError: it cannot be written.
    """
    unfinished, old = _unfinished(path), path.with_name(f".{path.name}.old")
    with told(path):
        shutil.rmtree(unfinished, ignore_errors=True)  # left by a process that was killed
        if old.exists() and not path.exists():
            old.replace(path)
        shutil.rmtree(old, ignore_errors=True)
        try:
            unfinished.mkdir(parents=True)
            yield unfinished
            for file in filter(Path.is_file, unfinished.rglob("*")):
                _sync(file)
            if path.exists():
                path.replace(old)
            try:
                unfinished.replace(path)
            except OSError:
                if old.exists():
                    old.replace(path)
                raise
            _sync_folder(path.parent)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}.unfinished")


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where a folder can be synced at all (not on Windows)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
