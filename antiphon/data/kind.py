"""What kind of task a corpus is, from one cheap reading: spellings, commands, summaries or sentences.

`antiphon train` chooses characters or subwords, a metric and a number of passes by it (see `training.plan`).
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from antiphon.data.scripts import unspaced_share

Kind = Literal["spellings", "commands", "summaries", "sentences"]

SAMPLE = 20_000  # pairs from the beginning of the corpus that are measured; the rest is only counted
RARE = 5  # a word that occurs less often in the sample is rare

MEANING: dict[Kind, str] = {
    "spellings": "single words or sequences of single symbols, such as pronunciations, transliterations, inflections",
    "commands": "sentences of a small closed vocabulary without rare words",
    "summaries": "long sources and much shorter targets",
    "sentences": "sentences or phrases, as in translation",
}

# What divides the kinds.
MOST = 0.9  # of the texts are so
SYMBOLS = 500  # distinct symbols at most, such as phones or letters
SYMBOL_LENGTH = 2.5  # characters of a symbol, on average ("AE", "t͡ʃ")
TAGS = 3  # words of a source at most whose target is one word: a word and what is asked of it
CLOSED = 500  # distinct words of a closed vocabulary at most
RARE_SHARE = 0.001  # of the running words of a closed vocabulary may be rare
LONG_SOURCE = 40  # words of a text that is worth a summary
SHORTENED = 3.5  # times as long as its summary
CHARACTERS_A_WORD = 1.6  # in scripts without spaces


@dataclass(frozen=True)
class Texts:
    """One side of a corpus, measured on the sample; lengths are medians, `long_` ones 95 %, without empty texts."""

    characters: int
    long_characters: int
    mean_characters: float
    words: int
    long_words: int
    mean_words: float
    one_word: float  # share of the texts
    distinct_words: int
    rare_words: float  # share of the running words
    word_length: float  # characters of a running word, on average
    used_characters: int  # distinct characters that are not rare
    unspaced: float  # share of the letters that belong to a script without spaces
    hangul: float  # share of the letters that are Hangul syllables


@dataclass(frozen=True)
class Facts:
    """What a choice of options needs to know about a corpus."""

    pairs: int  # all of them, the empty ones too
    source: Texts
    target: Texts


def facts(pairs: Iterable[Sequence[str]], sample: int = SAMPLE) -> Facts:
    """Measure the first pairs with text on both sides, and count all.

    Args:
        pairs: source and target each.
        sample: how many are measured.
    """
    total, kept = 0, list[Sequence[str]]()
    for pair in pairs:
        total += 1
        if len(kept) < sample and pair[0].strip() and pair[1].strip():
            kept.append(pair)
    return Facts(total, _texts([pair[0] for pair in kept]), _texts([pair[1] for pair in kept]))


def kind(facts: Facts) -> Kind:
    """Name the kind of task that a corpus looks like."""
    source, target = facts.source, facts.target
    if _spelt(source, target):
        return "spellings"
    if _closed(source) and _closed(target):
        return "commands"
    long, short = _length(source), _length(target)
    return "summaries" if long >= LONG_SOURCE and long >= SHORTENED * short else "sentences"


def _texts(texts: list[str]) -> Texts:
    characters = sorted(map(len, texts)) or [0]
    split = [text.split() for text in texts]
    words = sorted(map(len, split)) or [0]
    counts = Counter(word for some in split for word in some)
    used = Counter(character for text in texts for character in unicodedata.normalize("NFC", text))
    running = max(1, counts.total())
    letters = max(1, sum(count for character, count in used.items() if character.isalpha()))
    return Texts(
        characters=_percentile(characters, 50),
        long_characters=_percentile(characters, 95),
        mean_characters=sum(characters) / len(characters),
        words=_percentile(words, 50),
        long_words=_percentile(words, 95),
        mean_words=sum(words) / len(words),
        one_word=words.count(1) / len(words),
        distinct_words=len(counts),
        rare_words=sum(count for count in counts.values() if count < RARE) / running,
        word_length=sum(len(word) * count for word, count in counts.items()) / running,
        used_characters=sum(count >= RARE for count in used.values()),
        unspaced=unspaced_share(used),
        hangul=sum(count for character, count in used.items() if "\uac00" <= character <= "\ud7a3") / letters,
    )


def _percentile(ordered: list[int], p: int) -> int:
    """The nearest-rank percentile of ordered numbers."""
    return ordered[max(0, -(-len(ordered) * p // 100) - 1)]


def _spelt(source: Texts, target: Texts) -> bool:
    if source.unspaced > 0.5 and target.unspaced > 0.5:
        return False  # a sentence without spaces looks like one word
    if target.one_word >= MOST:
        return source.long_words <= TAGS or _symbols(source)
    return _symbols(target) and (source.one_word >= MOST or _symbols(source))


def _symbols(texts: Texts) -> bool:
    return texts.distinct_words <= SYMBOLS and 0 < texts.word_length <= SYMBOL_LENGTH


def _closed(texts: Texts) -> bool:
    return 0 < texts.distinct_words <= CLOSED and texts.rare_words <= RARE_SHARE and texts.unspaced < 0.5


def _length(texts: Texts) -> float:
    """About so many words has a text."""
    return texts.characters / CHARACTERS_A_WORD if texts.unspaced > 0.5 else float(texts.words)
