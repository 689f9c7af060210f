"""The demo's task: is it a function, is it CLDR's, and is what is held out really unseen."""

import unicodedata
from collections import Counter
from datetime import date, timedelta
from itertools import permutations
from pathlib import Path
from typing import get_args

import pytest
from babel import Locale

from antiphon.data.corpus import Pair
from antiphon.demo import dates

DAY = date(2029, 3, 5)


@pytest.fixture(scope="module")
def splits() -> dict[dates.Split, list[Pair]]:
    return {split: dates.pairs(split) for split in get_args(dates.Split)}


def target_of(pair: Pair) -> str:
    """The language that a source's tag asks for."""
    return pair.source[2:4]


def body(pair: Pair) -> str:
    """The source without its tag and the space after it."""
    return pair.source[6:]


def read_day(text: str, language: str) -> date:
    """Read a full or long date by the numbers in it and CLDR's month names, not by Babel's formatting code."""
    text = "".join(str(unicodedata.digit(c)) if c.isdigit() else c for c in unicodedata.normalize("NFKC", text))
    words = "".join(c if c.isdigit() else " " for c in text).split()
    numbers = [int(word) for word in words]
    if language in ("zh", "ja", "ko"):
        return date(*numbers)
    months = Locale.parse(dates.LANGUAGES[language]).months["format"]["wide"]
    (month,) = (number for number, name in months.items() if name in text)
    day, year = numbers
    return date(year, month, day)


@pytest.mark.parametrize(
    ("language", "full", "long", "medium"),
    [
        ("ar", "الاثنين، ٥ مارس ٢٠٢٩", "٥ مارس ٢٠٢٩", "٠٥\u200f/٠٣\u200f/٢٠٢٩"),
        ("de", "Montag, 5. März 2029", "5. März 2029", "05.03.2029"),
        ("en", "Monday, March 5, 2029", "March 5, 2029", "Mar 5, 2029"),
        ("es", "lunes, 5 de marzo de 2029", "5 de marzo de 2029", "5 mar 2029"),
        ("fr", "lundi 5 mars 2029", "5 mars 2029", "5 mars 2029"),
        ("it", "lunedì 5 marzo 2029", "5 marzo 2029", "5 mar 2029"),
        ("ja", "2029年3月5日月曜日", "2029年3月5日", "2029/03/05"),
        ("ko", "2029년 3월 5일 월요일", "2029년 3월 5일", "2029. 3. 5."),
        ("ru", "понедельник, 5 марта 2029 г.", "5 марта 2029 г.", "5 мар. 2029 г."),
        ("zh", "2029年3月5日星期一", "2029年3月5日", "2029年3月5日"),
    ],
)
def test_days_are_written_as_in_cldr(language: str, full: str, long: str, medium: str) -> None:
    written = [dates.write_day(DAY, style, language).replace("\u202f", " ") for style in get_args(dates.Style)]
    assert written == [full, long, medium]


def test_splits_have_the_promised_sizes_each_pair_of_another_day(splits: dict[dates.Split, list[Pair]]) -> None:
    assert {split: len(pairs) for split, pairs in splits.items()} == dates.COUNTS
    assert dates.COUNTS["test"] == 1000
    for pairs in splits.values():
        assert len({read_day(pair.target, target_of(pair)) for pair in pairs}) == len(pairs)


def test_targets_say_the_day_and_the_weekday_that_the_source_says(splits: dict[dates.Split, list[Pair]]) -> None:
    for pair in splits["test"] + splits["unseen_pairs"]:
        day = read_day(pair.target, target_of(pair))
        assert f"{day.year}" in "".join(str(unicodedata.digit(c, "")) for c in pair.source)
        weekday = Locale.parse(dates.LANGUAGES[target_of(pair)]).days["format"]["wide"][day.weekday()]
        source_weekdays = {
            Locale.parse(locale).days["format"]["wide"][day.weekday()] for locale in dates.LANGUAGES.values()
        }
        assert (weekday in pair.target) == any(name in body(pair) for name in source_weekdays)


def test_a_source_has_one_translation_over_all_days_languages_and_styles() -> None:
    said: dict[str, tuple[date, bool]] = {}
    years = (1900, 1912, 2001, 2012)  # every order of day and month, years whose digits could pass for either
    for day in (date(year, 1, 1) + timedelta(n) for year in years for n in range(365)):
        for language in dates.LANGUAGES:
            for style in get_args(dates.Style):
                meaning = (day, style == "full")
                assert said.setdefault(dates.write_day(day, style, language), meaning) == meaning


def test_held_out_days_are_in_no_other_split(splits: dict[dates.Split, list[Pair]]) -> None:
    days = {split: {read_day(p.target, target_of(p)) for p in pairs} for split, pairs in splits.items()}
    assert not days["train"] & days["valid"]
    assert not (days["train"] | days["valid"]) & (days["test"] | days["unseen_pairs"])
    other_seed = {read_day(p.target, target_of(p)) for p in dates.pairs("train", 5000, seed=2)}
    assert not other_seed & (days["valid"] | days["test"] | days["unseen_pairs"])


def test_held_out_language_pairs_are_never_seen_in_any_wording(splits: dict[dates.Split, list[Pair]]) -> None:
    for pair in splits["unseen_pairs"]:
        day = read_day(pair.target, target_of(pair))
        assert written_in(body(pair), day) & sources_held_out_from(target_of(pair))
        assert not written_in(body(pair), day) - sources_held_out_from(target_of(pair)) - {target_of(pair)}
    for pair in splits["train"][:2000] + splits["valid"][:500] + splits["test"][:500]:
        day = read_day(pair.target, target_of(pair))
        assert written_in(body(pair), day) - sources_held_out_from(target_of(pair)) - {target_of(pair)}


def sources_held_out_from(target: str) -> set[str]:
    return {source for source, other in dates.UNSEEN_PAIRS if other == target}


def written_in(text: str, day: date) -> set[str]:
    """The languages that may write this day so."""
    return {
        language
        for language in dates.LANGUAGES
        if any(dates.write_day(day, style, language) == text for style in get_args(dates.Style))
    }


def test_every_language_is_trained_in_both_directions(splits: dict[dates.Split, list[Pair]]) -> None:
    assert {f"<2{code}>" for code in dates.LANGUAGES} == set(dates.symbols())
    targets = Counter(target_of(pair) for pair in splits["train"])
    assert targets.keys() == dates.LANGUAGES.keys()
    assert min(targets.values()) > 3000
    for language in dates.LANGUAGES:
        seen = [p for p in permutations(dates.LANGUAGES, 2) if p[0] == language and p not in dates.UNSEEN_PAIRS]
        assert len(seen) >= 8
    assert {target_of(pair) for pair in splits["unseen_pairs"]} == {target for _, target in dates.UNSEEN_PAIRS}


def test_the_same_seed_gives_the_same_pairs(splits: dict[dates.Split, list[Pair]]) -> None:
    assert dates.pairs("valid") == splits["valid"]
    assert dates.pairs("train", 100) == splits["train"][:100]
    assert dates.pairs("valid", 100, seed=2) != splits["valid"][:100]


def test_more_pairs_than_days_are_refused() -> None:
    with pytest.raises(ValueError, match="'valid' has only 3"):
        dates.pairs("valid", 10_000)


def test_write_makes_one_tsv_a_split(tmp_path: Path, splits: dict[dates.Split, list[Pair]]) -> None:
    dates.write(tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == set(splits)
    for split, pairs in splits.items():
        lines = (tmp_path / f"{split}.tsv").read_bytes().decode("utf-8").removesuffix("\n").split("\n")
        assert [tuple(line.split("\t")) for line in lines] == pairs
