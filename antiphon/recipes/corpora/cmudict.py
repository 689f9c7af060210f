"""CMUdict: English words to ARPAbet; github.com/cmusphinx/cmudict, free for any use.

There is no official split. This one is by word, so that all pronunciations of a word are in one set: the SHA-1 of the
word, as a number, modulo 20, is 0 for test, 1 for development, else training.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from antiphon.recipes import fetch
from antiphon.recipes.corpora import rows

SETS = {0: "test", 1: "dev"}


def prepare(files: Mapping[str, Path], out: Path) -> None:
    """Write train.jsonl with a pair for each pronunciation, dev.jsonl and test.jsonl with all of a word's together.

    Stress is removed, and pronunciations that are then equal are merged. Letters and phones are separated by spaces.

    Args:
        files: cmudict.dict, with a word and its phones on each line, more pronunciations marked `(2)`, comments after
            `#`.
        out: the folder to write into.
    """
    words: dict[str, dict[str, None]] = {}
    for line in fetch.lines(files["cmudict.dict"]):
        entry, *phones = line.partition("#")[0].split()
        word = re.sub(r"\(\d+\)$", "", entry)
        words.setdefault(word, {})[" ".join(phone.rstrip("012") for phone in phones)] = None
    sets: dict[str, list[tuple[str, list[str]]]] = {"train": [], "dev": [], "test": []}
    for word, pronunciations in words.items():
        sets[_set(word)].append((" ".join(word), list(pronunciations)))
    train = ({"source": word, "target": phones} for word, several in sets.pop("train") for phones in several)
    rows.write(out / "train.jsonl", train)
    for name, entries in sets.items():
        rows.write(out / f"{name}.jsonl", ({"source": word, "target": several} for word, several in entries))


def _set(word: str) -> str:
    return SETS.get(int(hashlib.sha1(word.encode(), usedforsecurity=False).hexdigest(), 16) % 20, "train")
