"""Files and folders are written whole or not at all, and errors say what could not be written and why."""

import errno
import os
from pathlib import Path

import pytest

from antiphon import files
from antiphon.errors import UserError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_or_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write(path, "öne\r\n")
    assert path.read_bytes() == "öne\r\n".encode()
    with pytest.raises(ZeroDivisionError), files.whole_text(path) as file:
        file.write("half")
        raise ZeroDivisionError
    assert path.read_bytes() == "öne\r\n".encode() and names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("code", files.FULL)
def test_a_full_disk_is_said_in_one_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def full(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"a\.txt: cannot be written: the disk is full; make room and run the same"):
        files.write(tmp_path / "a.txt", b"x")
    with pytest.raises(UserError, match="the disk is full"):
        files.write_all(tmp_path, {"b": b"1", "c": b"2"}, last="c")
    assert names(tmp_path) == []


def test_files_that_belong_together_are_all_written_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_all(tmp_path / "m", {"config": b"1", "weights": b"1", "old": b"1"}, last="config")
    replace = Path.replace

    def stopped(self: Path, target: Path) -> Path:
        if target.name == "config":
            raise OSError(errno.EIO, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(UserError, match="m: cannot be written: Input/output error"):
        files.write_all(tmp_path / "m", {"config": b"2", "weights": b"2"}, last="config", stale=("old",))
    assert names(tmp_path / "m") == ["old", "weights"]  # without the file that makes it one
    monkeypatch.undo()
    files.write_all(tmp_path / "m", {"config": b"2", "weights": b"2"}, last="config", stale=("old",))
    assert names(tmp_path / "m") == ["config", "weights"] and (tmp_path / "m/config").read_bytes() == b"2"


def test_a_folder_takes_its_place_when_it_is_filled(tmp_path: Path) -> None:
    with files.whole_folder(tmp_path / "d") as new:
        (new / "one").write_text("1")
        assert not (tmp_path / "d").exists()
    with pytest.raises(ZeroDivisionError), files.whole_folder(tmp_path / "d") as new:
        (new / "two").write_text("2")
        raise ZeroDivisionError
    with files.whole_folder(tmp_path / "e") as new:
        pass
    (tmp_path / "e").rename(tmp_path / ".e.old")  # as a process leaves it that is killed between two renames
    with pytest.raises(ZeroDivisionError), files.whole_folder(tmp_path / "e") as new:
        raise ZeroDivisionError
    assert names(tmp_path) == ["d", "e"] and names(tmp_path / "d") == ["one"]


def test_a_closed_pipe_is_no_error_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), files.whole_text(tmp_path / "a"):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no: cannot be written: No such file|no.a: cannot be written: No such file"):
        files.write(tmp_path / "no" / "a", "x")
