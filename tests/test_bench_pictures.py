"""The pictures of README and docs are made of real results, and need nothing from elsewhere."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.pictures import chart, encoder_decoder, session

RESULTS = json.loads((Path(chart.__file__).parents[1] / "results.json").read_text("utf-8"))


@pytest.mark.parametrize("words", [encoder_decoder.ENGLISH, encoder_decoder.CHINESE])
def test_the_drawing_is_xml_and_says_every_word(words: encoder_decoder.Words) -> None:
    root = ElementTree.fromstring(encoder_decoder.svg(words))
    texts = "".join(root.itertext())
    assert all(word in texts.replace("\u200b", "") for word in words if word not in (words.weights, words.brackets))
    assert (root.get("width"), root.get("height")) == (str(encoder_decoder.WIDTH), str(encoder_decoder.HEIGHT))


@pytest.mark.filterwarnings("ignore:.*[Gg]lyph")  # where there is no Chinese font
@pytest.mark.parametrize("words", [chart.ENGLISH, chart.CHINESE])
def test_the_chart_shows_systems_that_were_measured(words: dict[str, str], tmp_path: Path) -> None:
    for key, systems in chart.ROWS.items():
        cells = RESULTS["rows"][key]["cells"]
        assert all(cells[name]["values"] for name in systems)
        assert RESULTS["rows"][key]["unit"] in words and key in words
    chart.draw(RESULTS, words, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


OUTPUTS = {
    "check": "training: 40,000 pairs in dates/train.tsv\n  source looks like: much\n",
    "train": "1,205,528 weights, cpu\n    source    x\nupdate 625: exact_match 56.50 (best so far)\n",
    "generate": "Friday, October 28, 1994\n1 outputs in 0.1 s\n",
    "evaluate": "exact_match   100.00  per cent of texts  exact_match|nrefs:1\n",
}


def test_the_terminal_is_shortened_and_loads_no_fonts(tmp_path: Path) -> None:
    for name, output in OUTPUTS.items():
        (tmp_path / f"{name}.txt").write_text(output, encoding="utf-8")
    session.draw_terminal(tmp_path, tmp_path / "terminal.svg")
    svg = (tmp_path / "terminal.svg").read_text("utf-8")
    assert "@font-face" not in svg and svg.count("http") == 1  # the namespace
    texts = "".join(ElementTree.fromstring(svg).itertext()).replace("\u00a0", " ")
    assert "$ antiphon train --preset demo" in texts and "training: 40,000 pairs" in texts
    assert "per cent of texts" in texts and "nrefs" not in texts and "looks like" not in texts
    (tmp_path / "check.txt").write_text("all other words\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="no line of the output"):
        session.draw_terminal(tmp_path, tmp_path / "terminal.svg")
