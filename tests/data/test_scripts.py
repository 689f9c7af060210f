"""Writing systems, detected by code or by script, and what counts as a word in them."""

import pytest

from antiphon.data.scripts import ONE_CHARACTER_OR_WORD, Writing, units, writing_of


@pytest.mark.parametrize(
    ("texts", "language", "writing"),
    [
        (["A dog runs."], "", "spaced"),
        (["她喜欢看书。"], "", "zh"),
        (["她说の很可爱，我们今天一起去公园里散步看花吧"], "", "zh"),
        (["今日は学校に行きます。"], "", "ja"),
        (["สวัสดีครับ"], "", "unspaced"),
        (["안녕하세요 여러분"], "", "spaced"),
        (["He said 你好 to all of his friends."], "", "spaced"),
        (["2024", ""], "", "spaced"),
        ([], "", "spaced"),
        (["2024"], "zh-Hans", "zh"),
        (["2024"], "ja_JP", "ja"),
        (["2024"], "TH", "unspaced"),
        (["他"], "de", "spaced"),
    ],
)
def test_the_language_goes_before_the_script(texts: list[str], language: str, writing: Writing) -> None:
    assert writing_of(texts, language) == writing


def test_words_are_characters_where_no_spaces_are() -> None:
    assert list(units(" two  words ", "spaced")) == ["two", "words"]
    assert list(units(" 你 好\n吗", "zh")) == ["你", "好", "吗"]


def test_characters_and_words_of_mixed_text() -> None:
    assert ONE_CHARACTER_OR_WORD.findall("我有 2 台 laptop_x!") == ["我", "有", "2", "台", "laptop_x"]
