"""E2E: restaurant facts to text, several references each; github.com/tuetschek/e2e-dataset, CC BY-SA 4.0."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from antiphon import fetch

# What the official script mends in references.
MENDED = {"Ł": "£", "Â£": "£", "Ã©": "é", "ã©": "é"}


def prepare(files: Mapping[str, Path], out: Path) -> None:
    """Write train.jsonl, a pair for each reference, and valid.jsonl and test.jsonl, all references of a meaning together.

    Args:
        files: trainset.csv, devset.csv and testset_w_refs.csv, with the columns mr and ref.
        out: the folder to write into.
    """
    train = _rows(files["trainset.csv"])
    _write(out / "train.jsonl", ({"source": mr, "target": ref} for mr, ref in train))
    for name, file in (("valid", "devset.csv"), ("test", "testset_w_refs.csv")):
        references: dict[str, list[str]] = {}
        for mr, ref in _rows(files[file]):
            references.setdefault(mr, []).append(ref)
        _write(out / f"{name}.jsonl", ({"source": mr, "target": refs} for mr, refs in references.items()))


def _rows(path: Path) -> list[tuple[str, str]]:
    text = fetch.text(path)
    for wrong, right in MENDED.items():
        text = text.replace(wrong, right)
    return [(row["mr"], row["ref"]) for row in csv.DictReader(text.lstrip("\ufeff").splitlines(keepends=True))]


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
