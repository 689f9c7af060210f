"""Checkpoints are whole or are not there; older ones stand in for a broken one."""

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from antiphon.errors import UserError
from antiphon.training import checkpoint


def save(folder: Path, update: int) -> Path:
    return checkpoint.save(folder, update, {"w": torch.full((64,), float(update))}, {"update": update, "rate": 0.1})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def newest_state(folder: Path) -> Any:
    loaded = checkpoint.load(folder)
    assert loaded is not None
    assert torch.equal(loaded[0]["w"], torch.full((64,), float(loaded[1]["update"])))
    return loaded[1]


def test_the_newest_are_kept_and_read(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert checkpoint.load(folder) is None
    for update in (9, 10, 1000, 999_999_999):
        save(folder, update)
    assert names(folder) == ["update-000001000.safetensors", "update-999999999.safetensors"]
    assert newest_state(folder) == {"update": 999_999_999, "rate": 0.1}


def test_what_is_loaded_does_not_hang_on_the_file(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    path.write_bytes(b"\xff" * path.stat().st_size)
    loaded[0]["w"].add_(1)
    assert torch.equal(loaded[0]["w"], torch.full((64,), 2.0))


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_an_older_one_stands_in_for_a_truncated_one(tmp_path: Path, size: int) -> None:
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    newest.write_bytes(newest.read_bytes()[:size])
    assert newest_state(tmp_path)["update"] == 1


def test_none_that_can_be_read_is_an_error(tmp_path: Path) -> None:
    for update in (1, 2):
        save(tmp_path, update).write_bytes(b"not safetensors")
    with pytest.raises(UserError, match=r"no checkpoint can be read \(update-000000002.*update-000000001.*delete"):
        checkpoint.load(tmp_path)


def test_a_foreign_file_is_not_a_checkpoint(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    assert checkpoint.load(tmp_path) is None
    save_file({"w": torch.zeros(2)}, tmp_path / "update-000000007.safetensors")
    with pytest.raises(UserError, match="no checkpoint can be read"):
        checkpoint.load(tmp_path)


FAILURES = [
    (OSError(errno.ENOSPC, "No space left on device"), "the disk is full; make room"),
    (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), "the disk is full"),
    (SafetensorError("I/O error: Disk quota exceeded (os error 122)"), "the disk is full"),
    (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
]


@pytest.mark.skipif(sys.platform != "linux", reason="error numbers are Linux's")
@pytest.mark.parametrize(("failure", "message"), FAILURES)
def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, failure: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    before = names(tmp_path)

    def fail(tensors: object, path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        raise failure

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(UserError, match=rf"update-000000003.*cannot be written: .*{message}"):
        save(tmp_path, 3)
    assert names(tmp_path) == before and newest_state(tmp_path)["update"] == 2


def test_a_limit_that_the_system_really_sets(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="this system has no limits of file sizes")
    save(tmp_path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        with pytest.raises(UserError, match="cannot be written: the disk is full"):
            save(tmp_path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == ["update-000000001.safetensors"] and newest_state(tmp_path)["update"] == 1


def test_what_a_killed_run_left_is_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, 1)
    assert checkpoint.load(tmp_path) is None
    save(tmp_path, 2)
    assert names(tmp_path) == ["update-000000002.safetensors"]
