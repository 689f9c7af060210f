"""Every recipe's page in English and in Chinese: the same code, figures and shape, and links that lead somewhere."""

import re
from collections import Counter
from pathlib import Path

import pytest

from antiphon.recipes import recipe

ROOT = Path(__file__).parents[2]
FOLDERS = list(recipe.find(ROOT / "recipes").values())
PAGES = [folder / name for folder in FOLDERS for name in ("README.md", "README.zh-CN.md")]
CODE = re.compile(r"```.*?```", re.DOTALL)
WHOLE = {"million": 1_000_000, "万": 10_000}  # 1.7 million is 170 万


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def figures(text: str) -> Counter[float]:
    """Every number, in whichever way a language writes large ones."""
    numbers = re.findall(r"(\d[\d,]*(?:\.\d+)?)(?: (million|万))?", text)
    return Counter(round(float(n.replace(",", "")) * WHOLE.get(unit, 1), 4) for n, unit in numbers)


def shape(text: str) -> list[str]:
    """Headings, rows of tables with their number of cells, points of lists and pictures, in order."""
    prose = CODE.sub("", text)
    return [
        f"| {line.count('|')}" if line.startswith("|") else re.split(r"[ \[]", line)[0]
        for line in prose.splitlines()
        if re.match(r"#+ |\||- |!\[", line)
    ]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_both_languages_say_the_same(folder: Path) -> None:
    english, chinese = read(folder / "README.md"), read(folder / "README.zh-CN.md")
    assert CODE.findall(english) == CODE.findall(chinese)
    assert figures(english) == figures(chinese)
    assert shape(english) == shape(chinese)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_a_page_begins_with_its_title_and_a_link_to_the_other_language(page: Path) -> None:
    title, empty, link = read(page).splitlines()[:3]
    assert title.startswith("# ")
    assert not empty
    assert link == ("[中文](README.zh-CN.md)" if page.name == "README.md" else "[English](README.md)")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_links_lead_to_files(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)", read(page)):
        if not link.startswith("https://"):
            assert (page.parent / link).exists(), link
