"""The folder of a training: claimed before anything is written to it, so that nobody's files are lost."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from antiphon.data.prepare import STATE
from antiphon.errors import UserError
from antiphon.files import told, write

FORMAT = {"format": "antiphon run", "version": 1}
MARK = "run.json"  # in `run/`: shows that the folder is a training's


def data_folder(out: Path) -> Path:
    """Where a training keeps its prepared data."""
    return out / "run" / "data"


def checkpoint_folder(out: Path) -> Path:
    """Where a training keeps its checkpoints."""
    return out / "run" / "checkpoints"


@contextmanager
def claimed(out: Path) -> Iterator[None]:
    """Mark an output folder as a training's while its data are prepared.

    Where they are refused, what was made is deleted again.

    Raises:
        UserError: the folder holds something else, or cannot be written.
    """
    mark = out / "run" / MARK
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; name a folder for the model")
    new = not mark.is_file()
    if new and out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out} is not empty and holds no training to resume; name another folder for the model")
    try:
        if new:
            with told(mark.parent):
                mark.parent.mkdir(parents=True, exist_ok=True)
            write(mark, json.dumps(FORMAT) + "\n")
        yield
    except UserError:
        if new and not (data_folder(out) / STATE).exists():
            shutil.rmtree(out / "run", ignore_errors=True)
            with suppress(OSError):  # it holds something else
                out.rmdir()
        raise
