"""SIGMORPHON 2020, task 1: words to phones in 15 languages (Gorman 2020); github.com/sigmorphon/2020, CC BY-SA."""

import unicodedata
from collections.abc import Mapping
from pathlib import Path

from antiphon.recipes import fetch
from antiphon.recipes.corpora import rows


def prepare(files: Mapping[str, Path], out: Path) -> None:
    """Write each `<language>_<set>.tsv` as JSON lines, letters and phones separated by spaces.

    Words are decomposed (NFD): a Hangul syllable becomes its letters, a letter with a diacritic two symbols.
    Pronunciations are not changed, because the task compares them as they are.

    Args:
        files: the task's files by their names, with a word, a tab and its phones on each line.
        out: the folder to write into.
    """
    for name, path in files.items():
        pairs = (line.split("\t") for line in fetch.lines(path))
        rows.write(
            out / f"{Path(name).stem}.jsonl",
            ({"source": " ".join(unicodedata.normalize("NFD", word)), "target": phones} for word, phones in pairs),
        )
