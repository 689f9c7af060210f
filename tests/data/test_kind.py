"""The kind of task that a corpus looks like, on small made-up corpora and on real ones."""

import gzip
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from antiphon.data.kind import facts, kind

Pairs = list[tuple[str, str]]
choose = random.Random(1)


def word(letters: str, low: int = 4, high: int = 9) -> str:
    return "".join(choose.choices(letters, k=choose.randint(low, high)))


def sentence(words: list[str], low: int, high: int) -> str:
    return " ".join(choose.choices(words, k=choose.randint(low, high)))


LEXICON = [word("abcdefghijklmnop") for _ in range(3000)]
ACTIONS = ["walk", "run", "jump", "look", "turn", "left", "right", "twice", "and", "after"]
HAN = [chr(0x4E00 + i) for i in range(900)]
SPELT = [word("abcdefghij") for _ in range(600)]

MADE_UP: dict[str, tuple[str, Callable[[], Pairs]]] = {
    "words and their sounds": ("spellings", lambda: [(w, " ".join(w.upper())) for w in SPELT]),
    "letters and sounds, both apart": ("spellings", lambda: [(" ".join(w), " ".join(w.upper())) for w in SPELT]),
    "transliteration": ("spellings", lambda: [(w, w[::-1]) for w in SPELT]),
    "inflection": ("spellings", lambda: [(f"{w} V;PST", f"{w}ed") for w in SPELT]),
    "katakana of English names": ("spellings", lambda: [(w, "".join(map(kana, w))) for w in SPELT]),
    "commands": ("commands", lambda: [(sentence(ACTIONS, 2, 9), f"I {sentence(ACTIONS, 2, 20)}") for _ in range(900)]),
    "summaries": ("summaries", lambda: [(sentence(LEXICON, 60, 200), sentence(LEXICON, 4, 12)) for _ in range(50)]),
    "sentences": ("sentences", lambda: [(sentence(LEXICON, 4, 12), sentence(LEXICON, 4, 12)) for _ in range(500)]),
    "few sentences": ("sentences", lambda: [(sentence(LEXICON, 2, 4), sentence(LEXICON, 2, 4)) for _ in range(9)]),
    "lines of Chinese verse": ("sentences", lambda: [("".join(choose.choices(HAN, k=5)),) * 2 for _ in range(900)]),
    "Chinese to English": (
        "sentences",
        lambda: [("".join(choose.choices(HAN, k=12)), sentence(LEXICON, 4, 9)) for _ in range(500)],
    ),
    "sentences and their labels": ("sentences", lambda: [(sentence(LEXICON, 6, 20), "good") for _ in range(500)]),
    "no text at all": ("sentences", lambda: [("", "x"), (" ", "")]),
    "nothing": ("sentences", lambda: []),
}  # fmt: skip


def kana(letter: str) -> str:
    return chr(0x30A2 + 2 * (ord(letter) - ord("a")))


@pytest.mark.parametrize("name", MADE_UP)
def test_made_up_corpora_are_what_they_are(name: str) -> None:
    expected, make = MADE_UP[name]
    assert kind(facts(make())) == expected


def test_all_pairs_are_counted_and_the_first_are_measured() -> None:
    pairs = [("", "empty"), ("a bc def", "x"), ("a b", "yy"), *[("long " * 50, "z")] * 7]
    measured = facts(iter(pairs), sample=2)
    assert measured.pairs == 10
    assert measured.source.words == 2 and measured.source.long_words == 3 and measured.source.distinct_words == 4
    assert measured.source.mean_words == 2.5 and measured.target.mean_characters == 1.5
    assert measured.target.one_word == 1.0 and measured.source.one_word == 0.0


def test_scripts_are_seen() -> None:
    measured = facts([("한국어", "日本語です"), ("말", "a 日")] * 5)
    assert measured.source.hangul == 1.0 and measured.source.unspaced == 0.0
    assert measured.target.unspaced == pytest.approx(6 / 7) and measured.target.used_characters == 7


def lines(path: str) -> list[str]:
    folder = os.environ.get("ANTIPHON_DATA")
    if not folder:
        pytest.skip("ANTIPHON_DATA names no folder of corpora")
    return gzip.decompress((Path(folder) / path).read_bytes()).decode("utf-8").splitlines()


def columns(path: str) -> Pairs:
    return [(row.split("\t")[0], row.split("\t")[1]) for row in lines(path) if "\t" in row]


REAL: dict[str, tuple[str, Callable[[], Pairs]]] = {
    "French words and sounds": ("spellings", lambda: columns("sigmorphon2020_g2p/fre_train.tsv.gz")),
    "Japanese words and sounds": ("spellings", lambda: columns("sigmorphon2020_g2p/jpn_train.tsv.gz")),
    "Korean words and sounds": ("spellings", lambda: columns("sigmorphon2020_g2p/kor_train.tsv.gz")),
    "CMUdict": ("spellings", lambda: columns("cmudict/train.tsv.gz")),
    "SCAN": (
        "commands",
        lambda: [tuple(row[4:].split(" OUT: ")) for row in lines("scan/tasks_train_addprim_jump.txt.gz")],  # type: ignore[misc]
    ),
    "Tang couplets": ("sentences", lambda: columns("tang_couplets/train.tsv.gz")),
    "Anki": ("sentences", lambda: columns("anki_cmn_eng/train.tsv.gz")),
    "Multi30k": (
        "sentences",
        lambda: list(zip(lines("multi30k/raw/train.en.gz"), lines("multi30k/raw/train.de.gz"), strict=True)),
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_real_corpora_are_what_they_are(name: str) -> None:
    expected, read = REAL[name]
    assert kind(facts(read()[:3000])) == expected
