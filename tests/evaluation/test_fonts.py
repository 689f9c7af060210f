"""Fonts are chosen by what they draw; what none draws is named with a package that has one."""

import matplotlib
import pytest

from antiphon.evaluation import fonts

DEJAVU = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
DEJAVU_MONO = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSansMono.ttf"


def test_latin_needs_one_font() -> None:
    assert fonts.choose(["naïve – ё", "\u200b"]) == ([fonts.LATIN], "")


def test_what_no_font_draws_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "installed", lambda: {fonts.LATIN: DEJAVU, "Mono": DEJAVU_MONO})
    assert fonts.choose(["我a我", "犬"]) == ([fonts.LATIN], "我犬")


def test_kana_bring_a_japanese_font_first(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {"latin": {ord("a")}, "chinese": {ord("犬"), ord("の")}, "japanese": {ord("犬"), ord("の")}}
    files = {fonts.LATIN: "latin", fonts.CHINESE[0]: "chinese", fonts.JAPANESE[0]: "japanese"}
    monkeypatch.setattr(fonts, "installed", lambda: files)
    monkeypatch.setattr(fonts, "characters", drawn.__getitem__)
    assert fonts.choose(["a犬"]) == ([fonts.LATIN, fonts.CHINESE[0]], "")
    assert fonts.choose(["犬の"]) == ([fonts.LATIN, fonts.JAPANESE[0]], "")


@pytest.mark.parametrize(
    ("characters", "packages"),
    [
        ("我ひ", ["fonts-noto-cjk"]),
        ("한。（", ["fonts-noto-cjk"]),
        ("ش", ["fonts-noto-core"]),
        ("ไ我", ["fonts-noto-cjk", "fonts-noto-core"]),
        ("😀", ["fonts-symbola"]),
    ],
)
def test_packages_by_script(characters: str, packages: list[str]) -> None:
    assert fonts.packages(characters) == packages
