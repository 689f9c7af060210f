"""What a run needs to go on, in one file that is written whole or not at all.

A checkpoint is a safetensors file: tensors by name, and one JSON document in its header. It is written under a
temporary name, flushed to the disk, then renamed, so a file of the right name is always whole; should the disk still
have lost part of one, the newest readable one is taken.
"""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from antiphon.data.store import FULL
from antiphon.errors import UserError

KEEP = 2  # the newest, and one to fall back on
NAME = re.compile(r"update-(\d+)\.safetensors")


def save(folder: Path, update: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Path:
    """Write a checkpoint and delete all but the newest ones.

    Args:
        folder: where checkpoints lie; made if missing.
        update: the update it was made after, which names it.
        tensors: everything large, by name.
        state: everything else, as JSON.

    Raises:
        UserError: the disk is full or cannot be written; the checkpoints before stay as they are.
    """
    path = folder / f"update-{update:09d}.safetensors"
    partial = folder / "unfinished.partial"  # one name, so that a killed run's is written over
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in tensors.items()}, partial, {"state": json.dumps(state)})
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, SafetensorError) as e:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        number = re.search(r"os error (\d+)", str(e))  # safetensors gives it in words
        full = (int(number[1]) if number else getattr(e, "errno", None)) in FULL
        what = "the disk is full; make room and run the same command again" if full else str(e)
        raise UserError(f"{path}: the checkpoint cannot be written: {what}") from e
    for old in _found(folder)[KEEP:]:
        old.unlink(missing_ok=True)
    return path


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the newest readable checkpoint of a folder; None where there is none.

    Raises:
        UserError: there are checkpoints, but none can be read.
    """
    found = _found(folder)
    problems = []
    for path in found:
        try:
            with safe_open(path, "pt") as file:
                state = json.loads(file.metadata()["state"])
                # Copies, for what is mapped to a file keeps Windows from deleting it.
                return {name: file.get_tensor(name).clone() for name in file.keys()}, state  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as e:
            problems.append(f"{path.name}: {e}")
    if problems:
        raise UserError(
            f"{folder}: no checkpoint can be read ({'; '.join(problems)}); delete the folder to start again"
        )
    return None


def _found(folder: Path) -> list[Path]:
    """Checkpoints, newest first."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if NAME.fullmatch(p.name)), reverse=True)
