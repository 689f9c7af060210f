"""Writing pairs as JSON lines, the form in which `prepare` leaves them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from antiphon import files


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write objects, one a line; each has a source and a target, and whatever measures need besides."""
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    files.write(path, "".join(lines))
