"""Deal or No Deal (Lewis 2017, arXiv 1706.05125), CC BY-NC: two people divide books, hats and balls.

A target is a whole dialogue as one of the two sees it, given the counts and the value of each thing to that person.
"""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from antiphon.recipes.corpora import rows
from antiphon.recipes.fetch import text

RARE = "<rare>"  # replaces words seen fewer than `least` times in training, as in the paper


def prepare(files: Mapping[str, Path], out: Path, *, least: int = 20) -> None:
    """Write each set: six numbers and the first speaker as the source, the dialogue as the target.

    Args:
        files: `train.txt`, `valid.txt` and `test.txt`.
        out: the folder to write into.
        least: occurrences in training below which a word is replaced by `<rare>`.
    """
    sets = {name: text(files[f"{name}.txt"]).splitlines() for name in ("train", "valid", "test")}
    counts = Counter(word for line in sets["train"] for word in between(line, "dialogue"))
    for name, lines in sets.items():
        pairs = []
        for line in lines:
            first, *words = (word if counts[word] >= least else RARE for word in between(line, "dialogue"))
            pairs.append({"source": " ".join([*between(line, "input"), first]), "target": " ".join(words)})
        rows.write(out / f"{name}.jsonl", pairs)


def between(line: str, tag: str) -> list[str]:
    """The words between `<tag>` and `</tag>`."""
    match = re.search(f"<{tag}>(.*?)</{tag}>", line)
    return match[1].split() if match else []
