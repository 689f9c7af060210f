"""Fonts for pictures: the installed ones that draw a text, and the package that has one where none does."""

import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from typing import NamedTuple

LATIN = "DejaVu Sans"  # comes with matplotlib
CHINESE = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Heiti SC",
    "SimHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
)
JAPANESE = ("Noto Sans CJK JP", "Noto Sans JP", "Hiragino Sans", "Yu Gothic", "MS Gothic", "IPAGothic")
UNUSABLE = ("Color Emoji", "Last Resort", "LastResort", "Adobe Blank")  # bitmaps, or boxes for every character

# Beginnings of the Unicode names of what Debian's and Ubuntu's fonts-noto-cjk draws.
CJK = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH")


class Fonts(NamedTuple):
    """Families of fonts in the order in which they are tried, and the characters that none of them has."""

    families: list[str]
    missing: str


def choose(texts: Iterable[str]) -> Fonts:
    """Choose installed fonts until every character of some texts can be drawn, or no font is left.

    Japanese fonts come before Chinese ones where the texts have kana, since the two draw many characters differently.
    """
    left = {c: None for text in texts for c in text if not unicodedata.category(c).startswith("C")}
    kana = any("\u3040" <= c <= "\u30ff" for c in left)
    families = [LATIN]
    for family, path in _ordered(installed(), kana):
        drawn = [c for c in left if ord(c) in characters(path)]
        if drawn and family != LATIN:
            families.append(family)
        for c in drawn:
            del left[c]
        if not left:
            break
    return Fonts(families, "".join(left))


def packages(texts: str) -> list[str]:
    """The packages of Debian and Ubuntu that have fonts for some characters."""
    return sorted({_package(c) for c in texts})


def _package(c: str) -> str:
    if unicodedata.name(c, "").startswith(CJK):
        return "fonts-noto-cjk"
    return "fonts-symbola" if unicodedata.category(c) == "So" else "fonts-noto-core"  # emoji; Arabic, Thai, Tamil, ...


def _ordered(installed: dict[str, str], kana: bool) -> list[tuple[str, str]]:
    preferred = (LATIN, *JAPANESE, *CHINESE) if kana else (LATIN, *CHINESE, *JAPANESE)
    rank = {family: i for i, family in enumerate(preferred)}

    def order(entry: tuple[str, str]) -> tuple[int, bool, str]:
        return rank.get(entry[0], len(rank)), not entry[0].startswith("Noto Sans"), entry[0]

    return sorted(installed.items(), key=order)


@cache
def installed() -> dict[str, str]:
    """The upright fonts of normal weight by family, those too that are newer than matplotlib's own list."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    for path in {*findSystemFonts()} - {font.fname for font in fontManager.ttflist}:
        with suppress(RuntimeError, OSError):  # a font that FreeType cannot read
            fontManager.addfont(path)
    return {
        font.name: font.fname
        for font in fontManager.ttflist
        if font.style == "normal" and font.weight == 400 and not any(word in font.name for word in UNUSABLE)
    }


@cache
def characters(path: str) -> frozenset[int]:
    """The code points that a font has."""
    from matplotlib.font_manager import get_font

    try:
        return frozenset(get_font(path).get_charmap())
    except (RuntimeError, OSError):
        return frozenset()
