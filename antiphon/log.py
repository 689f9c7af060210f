"""A run's log: one JSON object a line, and the same values for TensorBoard."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Log:
    """Values by update, in `log.jsonl` and, if wanted and installed, in `tensorboard/`.

    A continued run cuts the log back to its checkpoint, so no update stands in it twice.
    """

    def __init__(self, folder: Path, length: int, update: int, tensorboard: bool, writes: bool) -> None:
        self._file: Any = None
        self._board: Any = None
        if not writes:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "log.jsonl").open("a", encoding="utf-8", newline="\n")
        self._file.truncate(length)
        if tensorboard:
            self._board = _board(folder / "tensorboard", update)

    def write(self, update: int, values: Mapping[str, float]) -> None:
        """Log some values of an update."""
        if self._file is None:
            return
        self._file.write(json.dumps({"step": update, **values}) + "\n")
        for name, value in values.items() if self._board else ():
            self._board.add_scalar(name.replace("_", "/", 1), value, update)

    def flush(self) -> int:
        """Put everything on the disk; returns the log's length in bytes."""
        if self._file is None:
            return 0
        self._file.flush()
        return int(self._file.tell())

    def close(self) -> None:
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
    return SummaryWriter(str(folder), purge_step=update or None)
