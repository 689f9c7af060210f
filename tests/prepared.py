"""Files of a corpus for the tests of `prepare`, and what it has written."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from antiphon.data.corpus import read_lines
from antiphon.recipes.corpora.index import CORPORA


def prepared(name: str, files: Mapping[str, str], tmp_path: Path, **options: Any) -> dict[str, list[dict[str, Any]]]:
    """Prepare a corpus from texts by their files' names; returns the objects of each file that was written."""
    for file, text in files.items():
        (tmp_path / file).write_text(text, encoding="utf-8", newline="\n")
    return prepared_from(name, {file: tmp_path / file for file in files}, tmp_path, **options)


def prepared_from(
    name: str, files: Mapping[str, Path], tmp_path: Path, **options: Any
) -> dict[str, list[dict[str, Any]]]:
    """Prepare a corpus from files."""
    out = tmp_path / "out"
    out.mkdir()
    CORPORA[name].prepare(files, out, **options)
    return {path.name: [json.loads(line) for line in read_lines(str(path))] for path in sorted(out.iterdir())}
