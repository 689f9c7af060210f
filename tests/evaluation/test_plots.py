"""Pictures are written whole, the right way up, with titles, names of axes and scales, and without a warning."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from antiphon.errors import UserError
from antiphon.evaluation import figures, fonts, plots
from antiphon.evaluation.significance import LengthBin

matplotlib = pytest.importorskip("matplotlib")

SOURCE, TARGET = ["ein", "Hund", "rennt"], ["a", "dog"]
ALPHA = np.array([[1, 0, 0, 0], [0, 0.6, 0.4, 0], [0, 0, 0, 1]], np.float32)  # [U, S], end marks last


def svg(path: Path) -> str:
    return path.read_text("utf-8")


def size(path: Path) -> tuple[int, int]:
    """Width and height in pixels."""
    from matplotlib.image import imread

    height, width = np.asarray(imread(path)).shape[:2]
    return width, height


def test_attention_names_everything(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    assert plots.attention(path, SOURCE, TARGET, ALPHA, title="a title") == ""
    drawn = svg(path)
    said = ("a title", figures.ENGLISH.source, figures.ENGLISH.target, figures.ENGLISH.share)
    for text in (*said, "0.0", "1.0", *SOURCE, *TARGET, "&lt;/s&gt;"):
        assert f">{text}<" in drawn, text
    caption = re.sub(r"\s*</text>\s*<text[^>]*>\s*|\s+", " ", re.sub(r"<!--.*?-->|</?tspan[^>]*>", "", drawn))
    assert "add up to 1" in caption and "&lt;/s&gt; is the end" in caption and "is a space" not in caption
    plots.attention(tmp_path / "a.png", SOURCE, TARGET, ALPHA)
    assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_attention_has_a_row_for_each_target_piece_and_darker_is_more() -> None:
    sources, targets = [*SOURCE, "</s>"], [*TARGET, "</s>"]
    axes = figures.attention(sources, targets, ALPHA, "").axes[0]
    image = axes.images[0]
    assert np.array_equal(image.get_array(), ALPHA)  # type: ignore[arg-type]
    assert image.get_clim() == (0, 1)
    assert [label.get_text() for label in axes.get_xticklabels()] == sources
    assert [label.get_text() for label in axes.get_yticklabels()] == targets
    assert axes.yaxis_inverted()  # the first target piece is on top
    assert [label.get_color() for label in axes.get_yticklabels()][-1] == figures.FAINT
    brightness = image.get_cmap()(np.linspace(0, 1, 20))[:, :3] @ [0.299, 0.587, 0.114]
    assert (np.diff(brightness) < 0).all()  # in print too


def test_shares_stand_in_the_cells_where_there_is_room() -> None:
    def numbers(alpha: NDArray[np.floating[Any]]) -> list[str]:
        rows, columns = alpha.shape
        return [text.get_text() for text in figures.attention(["x"] * columns, ["y"] * rows, alpha, "").axes[0].texts]

    few = numbers(ALPHA)
    assert few[:4] == ["1.00", "0.60", "0.40", "1.00"] and not any(text.startswith("0.0") for text in few)
    assert not any(text[0].isdigit() for text in numbers(np.eye(30)))


def test_words_can_be_of_another_language(tmp_path: Path) -> None:
    words = figures.ENGLISH._replace(source="源文本", share="注意力占比")
    plots.attention(tmp_path / "a.svg", SOURCE, TARGET, ALPHA, words=words)
    assert ">源文本<" in svg(tmp_path / "a.svg") and ">注意力占比<" in svg(tmp_path / "a.svg")


def test_short_pieces_stand_upright_and_words_are_slanted() -> None:
    def turned(sources: list[str]) -> list[float]:
        axes = figures.attention(sources, ["y"], np.ones((1, len(sources))), "").axes[0]
        return [float(label.get_rotation()) for label in axes.get_xticklabels()]

    assert turned(["我", "们", "</s>"]) == [0, 0, 50]
    assert turned(["▁the", "▁a", "▁child"]) == [50, 50, 50]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 200), (150, 300)])
def test_attention_of_any_size_fits(tmp_path: Path, rows: int, columns: int) -> None:
    alpha = np.full((rows, columns), 1 / columns)
    plots.attention(tmp_path / "a.png", ["x"] * columns, ["y"] * rows, alpha)
    width, height = size(tmp_path / "a.png")
    assert 200 < width < figures.LONGEST * 150 + 400 and 200 < height < figures.LONGEST * 150 + 400
    axes = figures.attention(["x"] * columns, ["y"] * rows, alpha, "").axes[0]
    assert all(float(label.get_fontsize()) >= figures.LETTERS[0] for label in axes.get_xticklabels())


def test_a_warning_names_characters_and_the_package_of_a_font(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latin = {fonts.LATIN: f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"}
    monkeypatch.setattr(fonts, "installed", lambda: latin)
    alpha = np.ones((2, 2)) / 2
    warning = plots.attention(tmp_path / "a.png", ["我", "▁x"], ["我", "ё"], alpha, title="$é")
    assert "a.png: no installed font can draw 我;" in warning and "apt install fonts-noto-cjk)" in warning
    assert plots.attention(tmp_path / "a.svg", ["我", "▁x"], ["我", "ё"], alpha) == ""
    assert "我" in svg(tmp_path / "a.svg")


def test_signs_of_formulas_and_spaces_are_plain_pieces(tmp_path: Path) -> None:
    pieces = ["$", "\\frac{", "$x_$", " ", "\n", "شجرة"]
    plots.attention(tmp_path / "a.svg", pieces, pieces, np.eye(6))
    drawn = svg(tmp_path / "a.svg")
    assert ">$x_$<" in drawn and ">\\frac{<" in drawn and ">␣<" in drawn and ">↵<" in drawn


def test_same_input_gives_the_same_file(tmp_path: Path) -> None:
    for suffix in ("png", "svg"):
        one, two = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
        plots.attention(one, SOURCE, TARGET, ALPHA)
        plots.attention(two, SOURCE, TARGET, ALPHA)
        assert one.read_bytes() == two.read_bytes()


def test_curves_have_a_panel_for_each_metric(tmp_path: Path) -> None:
    rows = [{"step": i, "train_loss": 3.0 - i, "minutes": 1, "sample": "x"} for i in range(3)]
    rows += [{"step": 3, "valid_loss": 1.0, "valid_bleu": 20.0, "bleu": float("nan")}, {"other": 1}]
    plots.curves(tmp_path / "c.svg", rows, title="50 $")
    drawn = svg(tmp_path / "c.svg")
    for text in ("50 $", "step", "loss (nats a target piece)", "BLEU (0-100)", "train_loss", "valid_bleu"):
        assert f">{text}<" in drawn, text
    assert "minutes" not in drawn


def test_curves_draw_their_points() -> None:
    panels = {"loss": {"train": [(0, 3), (1, 2)], "valid": [(1, 1)]}, "BLEU": {"valid": [(3, 20)]}}
    loss, bleu = figures.curves(panels, "step", "").axes
    assert [list(np.asarray(line.get_ydata())) for line in loss.lines] == [[3, 2], [1]]
    assert [list(np.asarray(line.get_xdata())) for line in bleu.lines] == [[3]]
    assert (loss.get_ylabel(), bleu.get_ylabel(), bleu.get_xlabel()) == ("loss", "BLEU", "step")


def test_by_length_puts_each_bin_in_its_place(tmp_path: Path) -> None:
    systems = {
        "rnn": [LengthBin(0, 10, 5, 30.0), LengthBin(11, 20, 5, 20.0), LengthBin(21, None, 3, 10.0)],
        "attention": [LengthBin(0, 10, 5, 31.0), LengthBin(21, None, 3, 29.0)],
    }
    assert plots.by_length(tmp_path / "l.svg", systems, unit="characters") == ""
    assert "length of the source, characters" in svg(tmp_path / "l.svg")
    axes = figures.by_length(systems, "BLEU", "words", "").axes[0]
    assert [list(np.asarray(line.get_xdata())) for line in axes.lines] == [[0, 1, 2], [0, 2]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0–10", "11–20", "21+"]


def test_vectors_are_numbered_and_listed(tmp_path: Path) -> None:
    texts = ["one saw two", "two saw one", "one was seen by two"]
    assert plots.vectors(tmp_path / "v.svg", texts, np.diag([3.0, 2.0, 1.0]), "a plane") == ""
    drawn = svg(tmp_path / "v.svg")
    assert all(text in drawn for text in [*texts, "a plane", "first principal component", "of the variance"])


def test_bars_have_values_and_a_scale(tmp_path: Path) -> None:
    plots.bars(tmp_path / "b.svg", {"deep": 21.25, "flat": 20.0}, {"deep": 0.5}, "bleu")
    drawn = svg(tmp_path / "b.svg")
    for text in ("deep", "flat", "21.2", "20.0", "BLEU (0-100), mean and standard deviation over seeds", "model"):
        assert f">{text}<" in drawn, text
    plots.bars(tmp_path / "b.svg", {"a": 1.0}, {}, "a measure of our own", "named")
    assert ">a measure of our own<" in svg(tmp_path / "b.svg") and ">named<" in svg(tmp_path / "b.svg")


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.pdf"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"\.png or \.svg"):
        plots.attention(tmp_path / name, SOURCE, TARGET, ALPHA)
    assert not list(tmp_path.iterdir())


def test_bad_input_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"shape \(4, 3\) for 2 target and 3 source"):
        plots.attention(tmp_path / "a.png", SOURCE, TARGET, ALPHA.T)
    with pytest.raises(UserError, match="at least one"):
        plots.attention(tmp_path / "a.png", [], TARGET, np.zeros((2, 0)))
    with pytest.raises(UserError, match="cannot be written"):
        plots.attention(tmp_path / "no" / "a.png", SOURCE, TARGET, ALPHA)
    with pytest.raises(UserError, match="nothing to draw"):
        plots.curves(tmp_path / "c.png", [{"step": 1, "minutes": 2}])
    with pytest.raises(UserError, match="nothing to draw"):
        plots.by_length(tmp_path / "c.png", {"a": []})
    with pytest.raises(UserError, match="3 texts and 2 vectors"):
        plots.vectors(tmp_path / "v.png", ["a", "b", "c"], np.eye(2))
    with pytest.raises(UserError, match="nothing to draw"):
        plots.bars(tmp_path / "b.png", {}, {})


def test_principal_components_are_those_of_the_covariance() -> None:
    generator = np.random.default_rng(0)
    points = generator.normal(size=(12, 5)) * [5, 3, 1, 0.5, 0.1]
    plane, shares = plots.principal(points)
    centred: NDArray[np.float64] = points - points.mean(0)
    values, directions = np.linalg.eigh(centred.T @ centred)
    expected = centred @ directions[:, ::-1][:, :2]
    assert np.abs(plane) == pytest.approx(np.abs(expected))
    assert shares == pytest.approx(values[::-1][:2] / values.sum())
    assert (plane[0] >= 0).all()
