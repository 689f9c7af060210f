"""The demo's task: translate dates between ten languages, generated from CLDR's formats in the package Babel.

    <2de> Monday, March 5, 2029    Montag, 5. März 2029
    <2ru> 2029/03/05               5 марта 2029 г.

A source is a tag that asks for a language and a day in another language, in CLDR's full, long or medium style. Its
translation names the weekday if the source does (full style), and spells the month out in any case (long style). So a
source has one right translation; the short style is left out because it may drop the century or hide which number is
the month. Days of the development and test sets are never trained on, nor are some language pairs, in any style.
"""

from collections.abc import Iterator
from datetime import date
from functools import cache
from hashlib import sha256
from itertools import islice, permutations
from pathlib import Path
from random import Random
from typing import Literal, get_args

from babel import Locale
from babel.dates import format_date

from antiphon.data.corpus import Pair

Split = Literal["train", "valid", "test", "unseen_pairs"]
Style = Literal["full", "long", "medium"]

LANGUAGES = {
    "ar": "ar_EG",
    "de": "de_DE",
    "en": "en_US",
    "es": "es_ES",
    "fr": "fr_FR",
    "it": "it_IT",
    "ja": "ja_JP",
    "ko": "ko_KR",
    "ru": "ru_RU",
    "zh": "zh_CN",
}
UNSEEN_PAIRS = [
    ("ar", "fr"),
    ("de", "es"),
    ("es", "zh"),
    ("fr", "ja"),
    ("ja", "ru"),
    ("ko", "de"),
    ("ru", "ko"),
    ("zh", "ar"),
]
COUNTS: dict[Split, int] = {"train": 40_000, "valid": 1_000, "test": 1_000, "unseen_pairs": 500}

FIRST, LAST = date(1900, 1, 1), date(2099, 12, 31)
ARABIC_DIGITS = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")


def symbols() -> list[str]:
    """The tags that ask for a target language, which a vocabulary must keep whole."""
    return [f"<2{language}>" for language in LANGUAGES]


def write_day(day: date, style: Style, language: str) -> str:
    """Write a day as CLDR does in a language, a key of `LANGUAGES`, with that language's own digits."""
    locale = _locale(language)
    text = format_date(day, style, locale)
    # Babel names the locale's digits but writes Western ones in dates.
    return text.translate(ARABIC_DIGITS) if locale.default_numbering_system == "arab" else text


def pairs(split: Split, count: int = 0, seed: int = 1) -> list[Pair]:
    """Generate pairs, each of another day, so that no two are alike.

    Args:
        split: `train` and `valid`; `test`: unseen days in seen language pairs; `unseen_pairs`: unseen days in language
            pairs that the other splits never show.
        count: how many pairs; 0: as many as the demo uses.
        seed: chooses days, languages and styles; which days and language pairs belong to a split never depends on it.

    Raises:
        ValueError: the split has fewer days than `count`.
    """
    count = count or COUNTS[split]
    chosen = list(islice(_generate(split, seed), count))
    if len(chosen) < count:
        raise ValueError(f"the split '{split}' has only {len(chosen)} pairs of different days, not {count}")
    return chosen


def write(folder: Path, seed: int = 1) -> None:
    """Write train.tsv, valid.tsv, test.tsv and unseen_pairs.tsv into an existing folder."""
    for split in COUNTS:
        text = "".join(f"{source}\t{target}\n" for source, target in pairs(split, seed=seed))
        (folder / f"{split}.tsv").write_text(text, encoding="utf-8", newline="\n")


def _generate(split: Split, seed: int) -> Iterator[Pair]:
    random = Random(f"{split} {seed}")
    days = _days(split)
    random.shuffle(days)
    seen = [pair for pair in permutations(LANGUAGES, 2) if pair not in UNSEEN_PAIRS]
    for day in days:
        source, target = random.choice(UNSEEN_PAIRS if split == "unseen_pairs" else seen)
        style = random.choice(get_args(Style))
        text = write_day(day, style, source)
        if split == "unseen_pairs" and _is_seen(text, day, target):
            continue
        yield Pair(f"<2{target}> {text}", write_day(day, "full" if style == "full" else "long", target))


def _days(split: Split) -> list[date]:
    """A split's days in order: a hash of the day keeps one in twenty for development and one for testing."""
    days_of = "test" if split == "unseen_pairs" else split
    days = map(date.fromordinal, range(FIRST.toordinal(), LAST.toordinal() + 1))
    return [
        day
        for day in days
        if {0: "valid", 1: "test"}.get(sha256(day.isoformat().encode()).digest()[0] % 20, "train") == days_of
    ]


def _is_seen(text: str, day: date, target: str) -> bool:
    """Whether training has this wording for this target after all: another language shares it, as 2029年3月5日."""
    sources = [other for other in LANGUAGES if other != target and (other, target) not in UNSEEN_PAIRS]
    return any(write_day(day, style, other) == text for other in sources for style in get_args(Style))


@cache
def _locale(language: str) -> Locale:
    return Locale.parse(LANGUAGES[language])
