"""Everything that is needed to resume a run, in one file that is written whole or not at all.

A checkpoint is a safetensors file: tensors by name, and one JSON document in its header. Should the disk have lost part
of one, the newest readable one is used.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from antiphon.errors import UserError
from antiphon.files import told, whole_path

KEEP = 2  # the newest, and one to fall back on
NAME = re.compile(r"update-(\d+)\.safetensors")
LEFT = ".update-*"  # what a killed run may have left


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
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(LEFT):
            old.unlink(missing_ok=True)
    with whole_path(path) as unfinished:
        try:
            save_file({k: v.contiguous() for k, v in tensors.items()}, unfinished, {"state": json.dumps(state)})
        except SafetensorError as e:
            number = re.search(r"os error (\d+)", str(e))  # the system's errors come in words
            raise OSError(int(number[1]) if number else 0, str(e)) from e
    for old in _newest_first(folder)[KEEP:]:
        old.unlink(missing_ok=True)
    return path


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the newest readable checkpoint of a folder; None where there is none.

    Raises:
        UserError: there are checkpoints, but none can be read.
    """
    problems = []
    for path in _newest_first(folder):
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


def _newest_first(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if NAME.fullmatch(p.name)), reverse=True)
