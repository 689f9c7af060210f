"""Anki's sentence pairs, English and Chinese (Tatoeba); manythings.org/anki, CC BY 2.0.

There is no official split. In this one no sentence is in two sets: pairs that share an English or a Chinese sentence
form a group. The key of a group is the smallest of its English sentences, in lower case, letters and digits only. The
SHA-1 of the key, as a number, modulo 20, is 0 for test, 1 for development, else training.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from antiphon.recipes import fetch
from antiphon.recipes.corpora import rows

SETS = {0: "test", 1: "dev"}

Pair = tuple[str, str]  # English, Chinese


def prepare(files: Mapping[str, Path], out: Path) -> None:
    """Write train.jsonl, dev.jsonl and test.jsonl, whose fields are `en` and `zh`.

    Args:
        files: cmn.txt, tab-separated: English, Chinese, and possibly another column.
        out: the folder to write into.
    """
    lines = (line.split("\t") for line in fetch.lines(files["cmn.txt"]))
    pairs = [(line[0], line[1]) for line in lines]
    groups = _groups(pairs)
    keys: dict[str, str] = {}
    for pair in pairs:
        group, key = groups[pair], _key(pair[0])
        keys[group] = min(key, keys.get(group, key))
    sets: dict[str, list[Pair]] = {"train": [], "dev": [], "test": []}
    for pair in pairs:
        sets[_set(keys[groups[pair]])].append(pair)
    for name, chosen in sets.items():
        rows.write(out / f"{name}.jsonl", ({"en": english, "zh": chinese} for english, chinese in chosen))


def _groups(pairs: Iterable[Pair]) -> dict[Pair, str]:
    """The group of each pair, by union-find over the sentences that pairs share."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = name = parent[parent[name]]
        return name

    for english, chinese in pairs:
        parent[root("en " + english)] = root("zh " + chinese)
    return {pair: root("en " + pair[0]) for pair in pairs}


def _key(english: str) -> str:
    return re.sub(r"[\W_]+", "", english.lower())


def _set(key: str) -> str:
    return SETS.get(int(hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest(), 16) % 20, "train")
