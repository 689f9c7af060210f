"""Pictures are written whole, the right way up, and read without a warning."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from antiphon.errors import UserError
from antiphon.evaluation import plots
from antiphon.evaluation.significance import LengthBin

matplotlib = pytest.importorskip("matplotlib")

SOURCE, TARGET = ["ein", "Hund", "rennt", "</s>"], ["a", "dog", "</s>"]
ALPHA = np.array([[1, 0, 0, 0], [0, 0.6, 0.4, 0], [0, 0, 0, 1]], np.float32)  # [U, S]


def brightness(path: Path) -> NDArray[np.float64]:
    from matplotlib.image import imread

    pixels: NDArray[np.float64] = np.asarray(imread(path), np.float64)
    return np.asarray(pixels[:, :, :3].mean(2))


def test_attention_is_right_way_up(tmp_path: Path) -> None:
    path = tmp_path / "attention.png"
    assert plots.attention(path, SOURCE, TARGET, ALPHA, title="a title") == ""
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    pixels = brightness(path)
    # Labels lie above and left of the cells, so these are found from the bottom right corner.
    side = plots.CELL * 150  # pixels a cell
    border = 0.15 * 150  # the padding round the picture
    for u, row in enumerate(ALPHA):
        for s, weight in enumerate(row):
            y = pixels.shape[0] - border - (len(ALPHA) - u - 0.5) * side
            x = pixels.shape[1] - border - (len(row) - s - 0.5) * side
            assert pixels[round(y), round(x)] == pytest.approx(weight, abs=0.02), (u, s)


def test_attention_figure_has_alpha_and_its_labels() -> None:
    axes = plots._attention_figure(SOURCE, TARGET, ALPHA, "").axes[0]
    assert np.array_equal(axes.images[0].get_array(), ALPHA)  # type: ignore[arg-type]
    assert axes.images[0].get_clim() == (0, 1)
    assert [label.get_text() for label in axes.get_xticklabels()] == SOURCE
    assert [label.get_text() for label in axes.get_yticklabels()] == TARGET
    assert axes.yaxis_inverted()  # the first target piece is on top


def test_characters_without_a_font_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "FONTS", ("DejaVu Sans",))
    alpha = np.ones((2, 2)) / 2
    assert plots.attention(tmp_path / "a.png", ["我", "▁x"], ["我", "ё"], alpha, title="$é") == "我"
    assert plots.attention(tmp_path / "a.svg", ["我", "▁x"], ["我", "ё"], alpha) == ""
    assert "我" in (tmp_path / "a.svg").read_text("utf-8")


def test_signs_of_formulas_and_spaces_are_plain_pieces(tmp_path: Path) -> None:
    pieces = ["$", "\\frac{", "$x_$", " ", "\n", "شجرة"]
    plots.attention(tmp_path / "a.svg", pieces, pieces, np.eye(6))
    svg = (tmp_path / "a.svg").read_text("utf-8")
    assert ">$x_$<" in svg and ">\\frac{<" in svg and ">␣<" in svg and ">↵<" in svg


def test_same_input_gives_the_same_file(tmp_path: Path) -> None:
    for suffix in ("png", "svg"):
        one, two = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
        plots.attention(one, SOURCE, TARGET, ALPHA)
        plots.attention(two, SOURCE, TARGET, ALPHA)
        assert one.read_bytes() == two.read_bytes()


def test_a_long_attention_still_fits(tmp_path: Path) -> None:
    plots.attention(tmp_path / "a.png", ["x"] * 200, ["y"] * 3, np.full((3, 200), 1 / 200))
    height, width = brightness(tmp_path / "a.png").shape
    assert width == pytest.approx(plots.LONGEST * 150, rel=0.05) and height > 100


def test_curves_group_columns_by_metric(tmp_path: Path) -> None:
    rows = [{"step": i, "train_loss": 3.0 - i, "minutes": 1, "sample": "x"} for i in range(3)]
    rows += [{"step": 3, "valid_loss": 1.0, "valid_bleu": 20.0, "bleu": float("nan")}, {"other": 1}]
    plots.curves(tmp_path / "c.png", rows, title="50 $")
    height, width = brightness(tmp_path / "c.png").shape
    assert 900 < width < 1200 and 650 < height < 950  # two panels
    log = [row for row in rows if "step" in row]
    panels = {"loss": ["train_loss", "valid_loss"], "bleu": ["valid_bleu"]}
    loss, bleu = plots._curves_figure(log, panels, "step", "").axes
    assert [list(np.asarray(line.get_ydata())) for line in loss.lines] == [[3, 2, 1], [1]]
    assert [list(np.asarray(line.get_xdata())) for line in bleu.lines] == [[3]]


def test_by_length_puts_each_bin_in_its_place(tmp_path: Path) -> None:
    systems = {
        "rnn": [LengthBin(0, 10, 5, 30.0), LengthBin(11, 20, 5, 20.0), LengthBin(21, None, 3, 10.0)],
        "attention": [LengthBin(0, 10, 5, 31.0), LengthBin(21, None, 3, 29.0)],
    }
    assert plots.by_length(tmp_path / "l.svg", systems) == ""
    assert plots.by_length(tmp_path / "l.png", systems) == ""
    axes = plots._by_length_figure(systems, "BLEU", "").axes[0]
    assert [list(np.asarray(line.get_xdata())) for line in axes.lines] == [[0, 1, 2], [0, 2]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0–10", "11–20", "21+"]


def test_attention_text() -> None:
    assert plots.attention_text(["ein", "犬"], ["a", "我们"], np.array([[1, 0], [0.25, 0.5]])).split("\n") == [
        "      e",
        "      i",
        "      n 犬",
        "   a │██",
        "我们 │░░▒▒",
    ]


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.pdf"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"\.png or \.svg"):
        plots.attention(tmp_path / name, SOURCE, TARGET, ALPHA)
    assert not list(tmp_path.iterdir())


def test_bad_input_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"shape \(4, 3\) for 3 target and 4 source"):
        plots.attention(tmp_path / "a.png", SOURCE, TARGET, ALPHA.T)
    with pytest.raises(UserError, match="at least one"):
        plots.attention_text([], TARGET, np.zeros((3, 0)))
    with pytest.raises(UserError, match="cannot write"):
        plots.attention(tmp_path / "no" / "a.png", SOURCE, TARGET, ALPHA)
    with pytest.raises(UserError, match="nothing to draw"):
        plots.curves(tmp_path / "c.png", [{"step": 1, "minutes": 2}])
    with pytest.raises(UserError, match="nothing to draw"):
        plots.by_length(tmp_path / "c.png", {"a": []})


def test_principal_components_are_those_of_the_covariance() -> None:
    generator = np.random.default_rng(0)
    points = generator.normal(size=(12, 5)) * [5, 3, 1, 0.5, 0.1]
    plane = plots.principal(points)
    centred = points - points.mean(0)
    values, directions = np.linalg.eigh(centred.T @ centred)
    expected = centred @ directions[:, ::-1][:, :2]
    assert np.abs(plane) == pytest.approx(np.abs(expected))
    assert (plane**2).sum(0) == pytest.approx(values[::-1][:2])
    assert (plane[0] >= 0).all()


def test_sentence_vectors_and_bars_are_drawn(tmp_path: Path) -> None:
    texts = ["one saw two", "two saw one", "one was seen by two"]
    assert plots.vectors(tmp_path / "v.svg", texts, np.eye(3), "a plane") == ""
    drawn = (tmp_path / "v.svg").read_text("utf-8")
    assert all(text in drawn for text in [*texts, "a plane"])
    plots.bars(tmp_path / "b.svg", {"deep": 21.25, "flat": 20.0}, {"deep": 0.5}, "bleu")
    drawn = (tmp_path / "b.svg").read_text("utf-8")
    assert all(text in drawn for text in ("deep", "flat", "21.2", "20.0", "bleu"))
    with pytest.raises(UserError, match="3 texts and 2 vectors"):
        plots.vectors(tmp_path / "v.png", texts, np.eye(2))
    with pytest.raises(UserError, match="nothing to draw"):
        plots.bars(tmp_path / "b.png", {}, {})
