"""A run's log: one JSON object a line, and the same values for TensorBoard."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Log:
    """Values by update, in `log.jsonl` and, if asked for and installed, in `tensorboard/`; open inside `with`.

    A resumed run cuts the log back to its checkpoint, so that no update is in it twice.
    """

    def __init__(self, folder: Path, length: int, update: int, tensorboard: bool, writes: bool) -> None:
        """Nothing is opened yet.

        Args:
            folder: where the files go; made if missing.
            length: bytes of an earlier log that stay.
            update: the update that they end with.
            tensorboard: write TensorBoard's files too.
            writes: whether this process writes at all.
        """
        self.folder, self.length, self.update = folder, length, update
        self.tensorboard, self.writes = tensorboard, writes
        self._file: Any = None
        self._board: Any = None

    def write(self, update: int, values: Mapping[str, float]) -> None:
        """Log some values of an update; what is not a number, such as a loss that overflowed, is null in JSON."""
        if self._file is None:
            return
        known = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"step": update, **known}) + "\n")
        for name, value in values.items() if self._board else ():
            self._board.add_scalar(name.replace("_", "/", 1), value, update)

    def flush(self) -> int:
        """Put everything on the disk; returns the log's length in bytes."""
        if self._file is None:
            return 0
        self._file.flush()
        os.fsync(self._file.fileno())
        if self._board is not None:
            self._board.flush()
        return int(self._file.tell())

    def __enter__(self) -> "Log":
        """Open the files, behind what an earlier part of the run has written."""
        if self.writes:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = (self.folder / "log.jsonl").open("a", encoding="utf-8", newline="\n")
            self._file.truncate(min(self.length, self._file.tell()))
            self._file.seek(0, os.SEEK_END)
            if self.tensorboard:
                self._board = _board(self.folder / "tensorboard", self.update)
        return self

    def __exit__(self, *error: object) -> None:
        """Write what is left and close the files."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()


def _board(folder: Path, update: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=update + 1)  # what a killed run wrote after its checkpoint
