"""Writing systems with and without spaces between words, by a language's code or by the characters of its texts."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

Writing = Literal["spaced", "zh", "ja", "unspaced"]

_KANA = "\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SOUTH_EAST = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
_UNSPACED = re.compile(f"[{_KANA}{_HAN}{_SOUTH_EAST}]")
ONE_CHARACTER_OR_WORD = re.compile(rf"[{_KANA}{_HAN}{_SOUTH_EAST}]|[^\W{_KANA}{_HAN}{_SOUTH_EAST}]+")
_LANGUAGES: dict[str, Writing] = {
    **dict.fromkeys(("zh", "zho", "chi", "cmn", "yue"), "zh"),
    **dict.fromkeys(("ja", "jpn"), "ja"),
    **dict.fromkeys(("th", "tha", "lo", "lao", "my", "mya", "km", "khm"), "unspaced"),
}


def writing_of(texts: Iterable[str], language: str = "") -> Writing:
    """Detect the writing system of texts.

    Args:
        texts: the script of these counts when no language is named.
        language: language code such as `zh`, `ja-JP`; empty: by script.
    """
    if language:
        return _LANGUAGES.get(re.split("[-_]", language.lower())[0], "spaced")
    text = "".join(texts)
    letters = sum(map(str.isalpha, text))
    unspaced = _UNSPACED.findall(text)
    if len(unspaced) <= letters / 3:
        return "spaced"
    kana = sum(len(run) for run in re.findall(f"[{_KANA}]+", text))
    han = sum(len(run) for run in re.findall(f"[{_HAN}]+", text))
    if kana > 0.05 * (kana + han):  # Chinese has a few kana at most, Japanese at least a third
        return "ja"
    return "zh" if han > len(unspaced) / 2 else "unspaced"


def unspaced_share(characters: Mapping[str, int]) -> float:
    """The share of the letters that belong to scripts without spaces.

    Args:
        characters: how often each occurs.
    """
    letters = sum(count for character, count in characters.items() if character.isalpha())
    unspaced = sum(count for character, count in characters.items() if _UNSPACED.match(character))
    return min(1.0, unspaced / max(1, letters))


def units(text: str, writing: Writing) -> Sequence[str]:
    """The words of a text, or its characters where the script has no spaces."""
    return text.split() if writing == "spaced" else "".join(text.split())
