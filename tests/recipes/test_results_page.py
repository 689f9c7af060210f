"""The page of results: what stands in it, and that it is current."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from antiphon.cli.main import app
from antiphon.errors import UserError
from antiphon.recipes import results_page

ROOT = Path(__file__).parents[2]


def score(name: str, value: float, **more: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "deviation": None,
        "signature": f"{name}|v",
        "higher_is_better": name != "wer",
        "published": {},
    }
    return {"name": name, "value": value, "reach": None} | plain | more


def written(folder: Path, rows: list[dict[str, Any]], tried: str = "") -> Path:
    """A recipe's results below a folder of recipes."""
    machine = {"processor": "A processor", "cores": 2}
    model = {"name": "m", "seed": 1, "minutes": 3.25, "load": 1.0, "megabytes": 7.5, "threads": 1}
    results = {
        "recipe": "words", "title": "Words", "date": "2026-01-02", "commit": "0123456789abcdef", "machine": machine,
        "models": [model, model | {"seed": 2, "minutes": 4.75}], "rows": rows, "tried": tried,
    }  # fmt: skip
    path = folder / "characters" / "words" / "results.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(results), encoding="utf-8")
    return folder


def row(*scores: dict[str, Any], name: str = "test", ensemble: int = 1) -> dict[str, Any]:
    return {"set": name, "model": "m", "seeds": [1, 2], "ensemble": ensemble, "scores": list(scores)}


def test_a_row_says_all_that_is_to_be_compared(tmp_path: Path) -> None:
    bleu = score("bleu", 21.257, deviation=0.5, published={"a book": 20.5}, reach=21.0)
    page = results_page.page(written(tmp_path, [row(bleu, score("wer", 30.0))]))
    assert "## Characters" in page and "### [words](../recipes/characters/words/README.md)" in page
    assert "| test | m | bleu | 21.26 ± 0.50 | 20.5 (a book) | 21 ✓ | 4.0 | 1.0 | 7.5 |" in page
    assert "|  |  | wer | 30.00 |  |  |  |  |  |" in page
    assert "bleu: `bleu|v`" in page and "commit 0123456789," in page and "1 thread of 2 cores" in page
    assert "Not reached" not in page
    path = tmp_path / "characters" / "words" / "results.json"
    path.write_text(path.read_text("utf-8").replace('cdef"', 'cdef with changes"'), encoding="utf-8")
    assert "commit 0123456789 with changes," in results_page.page(tmp_path)


def test_what_is_not_reached_is_named_with_what_was_tried(tmp_path: Path) -> None:
    rows = [row(score("wer", 30.0, reach=20.0), score("bleu", 1.0, reach=2.0)), row(score("bleu", 3.0, reach=2.0))]
    page = results_page.page(written(tmp_path, rows, tried="two sizes."))
    assert "Not reached: test, m: wer. Tried: two sizes." in page


def test_an_ensemble_costs_what_its_members_cost(tmp_path: Path) -> None:
    page = results_page.page(written(tmp_path, [row(score("bleu", 1.0), ensemble=2)]))
    assert "| test | m, ensemble of 2 | bleu | 1.00 |  |  | 8.0 | 1.0 | 15.0 |" in page


def test_scores_from_0_to_1_have_four_places() -> None:
    assert results_page.figure(score("x", 0.52724, scale="0-1", deviation=0.0031)) == "0.5272 ± 0.0031"
    assert results_page.figure(score("x", 0.234, scale="errors per 100 slots")) == "0.23"


def test_a_scale_other_than_0_to_100_is_said(tmp_path: Path) -> None:
    rows = [row(score("bleu", 20.0, scale="0-100"), score("nist", 8.0, scale="bits"))]
    page = results_page.page(written(tmp_path, rows))
    assert "bleu: `bleu|v`" in page and "nist (bits): `nist|v`" in page


def test_the_chinese_page_takes_its_titles_from_the_recipes_pages(tmp_path: Path) -> None:
    folder = written(tmp_path, [row(score("wer", 30.0, reach=20.0), name="dev"), row(score("bleu", 21.0), ensemble=2)])
    page = results_page.page(folder, results_page.CHINESE)
    assert "## 字符" in page and "### [words](../recipes/characters/words/README.zh-CN.md)" in page
    assert "Words。2026-01-02，提交 0123456789，A processor，2 个核，训练用 1 个线程。" in page
    assert "| test | m，2 个模型的集成 | bleu | 21.00 |" in page and "没有达到目标：dev, m：wer。" in page
    (folder / "characters" / "words" / "README.zh-CN.md").write_text("# 单词\n", encoding="utf-8")
    assert "单词。2026-01-02" in results_page.page(folder, results_page.CHINESE)


def test_no_results_and_old_results_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no recipe here has a results\.json"):
        results_page.page(tmp_path)
    path = written(tmp_path, []) / "characters" / "words" / "results.json"
    path.write_text('{"sets": {}}', encoding="utf-8")
    with pytest.raises(UserError, match=r"not what this version of Antiphon writes .* run the recipe again"):
        results_page.page(tmp_path)


def test_the_command_writes_both_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "recipes", [row(score("bleu", 21.0))])
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["recipe", "table"]).exit_code == 0
    assert "# Results" in (tmp_path / "docs" / "results.md").read_text("utf-8")
    assert "# 结果" in (tmp_path / "docs" / "results.zh-CN.md").read_text("utf-8")


@pytest.mark.parametrize("language", results_page.LANGUAGES, ids=["English", "Chinese"])
def test_the_projects_pages_are_current(language: results_page.Language) -> None:
    page = (ROOT / "docs" / f"results{language.suffix}.md").read_text("utf-8")
    assert page == results_page.page(ROOT / "recipes", language), "run: antiphon recipe table"


def test_both_languages_have_the_same_figures() -> None:
    english, chinese = (results_page.page(ROOT / "recipes", language) for language in results_page.LANGUAGES)
    rows = [[line.split(" | ")[2:] for line in page.splitlines() if line[:2] == "| "] for page in (english, chinese)]
    assert [cells for cells in rows[0] if cells[0] != "metric"] == [cells for cells in rows[1] if cells[0] != "指标"]
