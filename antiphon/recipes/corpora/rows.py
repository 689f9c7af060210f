"""Writing prepared pairs as JSON lines."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from antiphon import files


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one pair a line: its source, its target, and other fields that the corpus's metrics need."""
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    files.write(path, "".join(lines))
