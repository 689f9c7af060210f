"""Pictures: attention, training curves, score by source length, sentence vectors, bars.

Figures are drawn without pyplot, so nothing global changes and no display is needed. Pictures are PNG or SVG, by the
file's suffix.

Shapes: U target pieces, S source pieces.
"""

import io
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from antiphon.config import sections
from antiphon.errors import UserError
from antiphon.evaluation.significance import LengthBin

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Attention = NDArray[np.floating[Any]]  # [U, S]  alpha_ij, row i for target piece y_i, column j for source piece x_j

FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Hiragino Sans",
    "Heiti SC",
    "SimHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Yu Gothic",
    "MS Gothic",
    "IPAGothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "Noto Sans Thai",
    "Noto Sans Devanagari",
    "Arial Unicode MS",
)
CELL, LONGEST = 0.3, 40.0  # inches: a cell of the attention picture, the longest side of all its cells


def attention(
    path: str | Path, source_pieces: Sequence[str], target_pieces: Sequence[str], alpha: Attention, title: str = ""
) -> str:
    """Draw alpha as Bahdanau 2015, figure 3: a row for each target piece, a column for each source piece, white is 1.

    Args:
        path: `.png` or `.svg` file to write.
        source_pieces: S labels; `</s>` too where alpha has a column for it.
        target_pieces: U labels, likewise.
        alpha: [U, S] weights in 0-1.
        title: a line above the picture.

    Returns:
        The characters that no installed font can draw; they are boxes in a PNG. An SVG keeps text as text, and its
        viewer finds the fonts.

    Raises:
        UserError: alpha has another shape, the suffix is unknown, the file cannot be written.
    """
    _same_shape(source_pieces, target_pieces, alpha)
    _suffix(path)
    sources, targets = _visible(source_pieces), _visible(target_pieces)
    _save(path, lambda: _attention_figure(sources, targets, alpha, title))
    return _missing(path, [title, *sources, *targets])


def curves(path: str | Path, rows: Iterable[Mapping[str, Any]], x: str = "step", title: str = "") -> None:
    """Draw a training log: a panel for each metric, and in it each column named for it (`bleu`, `valid_bleu`).

    Args:
        path: `.png` or `.svg` file to write.
        rows: the log's rows; a row may lack columns.
        x: the column along the x-axis.
        title: a line above the picture.

    Raises:
        UserError: there is nothing to draw, the suffix is unknown, the file cannot be written.
    """
    _suffix(path)
    log = [row for row in rows if _number(row.get(x))]
    columns = list(dict.fromkeys(key for row in log for key, value in row.items() if _number(value)))
    panels = {name: [c for c in columns if _names(c, name)] for name in get_args(sections.Metric)}
    panels = {name: found for name, found in panels.items() if found}
    if not panels:
        raise UserError(f"{path}: nothing to draw: no row of the training log has '{x}' and a loss or score")
    _save(path, lambda: _curves_figure(log, panels, x, title))


def by_length(
    path: str | Path, systems: Mapping[str, Sequence[LengthBin]], metric: str = "BLEU", title: str = ""
) -> str:
    """Draw score by source length, a line for each system (Bahdanau 2015, figure 2).

    Args:
        path: `.png` or `.svg` file to write.
        systems: names and their `significance.by_length`.
        metric: label of the y-axis.
        title: a line above the picture.

    Returns:
        The characters that no installed font can draw.

    Raises:
        UserError: there is nothing to draw, the suffix is unknown, the file cannot be written.
    """
    _suffix(path)
    if not any(systems.values()):
        raise UserError(f"{path}: nothing to draw: no system has a scored sentence")
    _save(path, lambda: _by_length_figure(systems, metric, title))
    return _missing(path, [title, metric, *systems])


def vectors(path: str | Path, texts: Sequence[str], points: NDArray[np.floating[Any]], title: str = "") -> str:
    """Draw sentences in the plane of their vectors' two main directions (Sutskever 2014, figure 2).

    Args:
        path: `.png` or `.svg` file to write.
        texts: N labels.
        points: [N, D] vectors; centred and projected here (principal components).
        title: a line above the picture.

    Returns:
        The characters that no installed font can draw.

    Raises:
        UserError: fewer than three vectors, the suffix is unknown, the file cannot be written.
    """
    _suffix(path)
    if len(points) < 3 or len(points) != len(texts):
        raise UserError(f"{path}: {len(texts)} texts and {len(points)} vectors; give one for each, and three or more")
    _save(path, lambda: _vectors_figure(texts, principal(points), title))
    return _missing(path, [title, *texts])


def principal(points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Points [N, D] in the plane of their two main directions [N, 2]; signs are such that the first point is right."""
    centred = points.astype(np.float64) - points.mean(0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    plane = np.zeros((len(points), 2))
    plane[:, : min(2, len(size))] = (left * size)[:, :2]
    return np.asarray(plane * np.where(plane[0] < 0, -1, 1))


def bars(
    path: str | Path, values: Mapping[str, float], spreads: Mapping[str, float], metric: str = "BLEU", title: str = ""
) -> str:
    """Draw a bar for each system, with the deviation over seeds where there is one.

    Args:
        path: `.png` or `.svg` file to write.
        values: a score for each system.
        spreads: deviations, for some or all of them.
        metric: label of the x-axis.
        title: a line above the picture.

    Returns:
        The characters that no installed font can draw.

    Raises:
        UserError: there is nothing to draw, the suffix is unknown, the file cannot be written.
    """
    _suffix(path)
    if not values:
        raise UserError(f"{path}: nothing to draw: no system has a score")
    _save(path, lambda: _bars_figure(values, spreads, metric, title))
    return _missing(path, [title, metric, *values])


def attention_text(source_pieces: Sequence[str], target_pieces: Sequence[str], alpha: Attention) -> str:
    """Draw alpha for a terminal: source pieces stand upright over their columns, darker blocks are larger weights.

    Args:
        source_pieces: S labels, shown to 12 characters.
        target_pieces: U labels.
        alpha: [U, S] weights in 0-1.

    Returns:
        Lines of equal cells, two terminal columns each.

    Raises:
        UserError: alpha has another shape.
    """
    _same_shape(source_pieces, target_pieces, alpha)
    columns = [_characters(piece)[:12] for piece in _visible(source_pieces)]
    labels = _visible(target_pieces)
    height, margin = max(map(len, columns), default=0), max(map(_width, labels), default=0)
    lines = []
    for level in range(height):
        cells = [column[level - height + len(column)] if level >= height - len(column) else "" for column in columns]
        lines.append(" " * margin + "  " + "".join(_padded(cell, 2) for cell in cells))
    shades = " ░▒▓█"
    for label, weights in zip(labels, alpha, strict=True):
        cells = [shades[round(float(np.clip(weight, 0, 1)) * 4)] * 2 for weight in weights]
        lines.append(" " * (margin - _width(label)) + f"{label} │" + "".join(cells))
    return "\n".join(line.rstrip() for line in lines)


# Figures.


def _attention_figure(sources: Sequence[str], targets: Sequence[str], alpha: Attention, title: str) -> "Figure":
    from matplotlib.figure import Figure

    cell = min(CELL, LONGEST / max(len(sources), len(targets)))
    figure = Figure(figsize=(cell * len(sources), cell * len(targets)), dpi=150)
    axes = figure.add_axes((0, 0, 1, 1))  # the margins grow round the labels when the figure is saved
    axes.imshow(alpha, cmap="gray", vmin=0, vmax=1, aspect="equal", interpolation="nearest")
    size = min(10.0, cell * 72 * 0.6)
    axes.set_xticks(range(len(sources)), sources, rotation=90, fontsize=size)
    axes.set_yticks(range(len(targets)), targets, fontsize=size)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.set_title(title, fontsize=10)
    return figure


def _curves_figure(
    log: Sequence[Mapping[str, Any]], panels: Mapping[str, Sequence[str]], x: str, title: str
) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.6 * len(panels)), dpi=150, layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (name, columns) in zip(axes, panels.items(), strict=True):
        for column in columns:
            points = [(row[x], row[column]) for row in log if _number(row.get(column))]
            axis.plot(*zip(*points, strict=True), label=column, marker="." if len(points) < 50 else "")
        axis.set_ylabel(name)
        axis.legend(frameon=False)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel(x)
    figure.suptitle(title)
    return figure


def _by_length_figure(systems: Mapping[str, Sequence[LengthBin]], metric: str, title: str) -> "Figure":
    from matplotlib.figure import Figure

    every = sorted({(b.low, b.high) for bins in systems.values() for b in bins}, key=lambda edges: edges[0])
    place = {edges: i for i, edges in enumerate(every)}
    figure = Figure(figsize=(7, 4), dpi=150, layout="constrained")
    axes = figure.subplots()
    for name, bins in systems.items():
        axes.plot([place[b.low, b.high] for b in bins], [b.value for b in bins], marker="o", label=name)
    axes.set_xticks(range(len(every)), [f"{low}–{high}" if high is not None else f"{low}+" for low, high in every])
    axes.set_xlabel("source length")
    axes.set_ylabel(metric)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    axes.set_title(title)
    return figure


def _vectors_figure(texts: Sequence[str], points: NDArray[np.float64], title: str) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5 + 0.18 * len(texts)), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.scatter(points[:, 0], points[:, 1], s=18)
    for number, (x, y) in enumerate(points, start=1):
        axes.annotate(str(number), (x, y), xytext=(4, 4), textcoords="offset points")
    axes.set_xlabel("\n".join(f"{number}  {text}" for number, text in enumerate(texts, start=1)), loc="left")
    axes.margins(0.1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title)
    return figure


def _bars_figure(values: Mapping[str, float], spreads: Mapping[str, float], metric: str, title: str) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.8 + 0.38 * len(values)), dpi=150, layout="constrained")
    axes = figure.subplots()
    drawn = axes.barh(list(values), list(values.values()), xerr=[spreads.get(name, 0.0) for name in values], height=0.7)
    axes.bar_label(drawn, fmt="%.1f", padding=3)
    axes.invert_yaxis()
    axes.set_xlabel(metric)
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _save(path: str | Path, draw: Callable[[], "Figure"]) -> None:
    """Draw with the fonts at hand, in memory first, so that no half a picture is ever on disk."""
    path = Path(path)
    suffix = _suffix(path)
    try:
        import matplotlib
    except ImportError as e:
        raise UserError("pictures need matplotlib: pip install 'antiphon[train]'") from e
    style: dict[Any, Any] = {
        "font.family": _fonts(),
        "text.parse_math": False,  # a piece such as $ is no formula
        "svg.fonttype": "none",
        "svg.hashsalt": "antiphon",
    }
    metadata = {"Date": None} if suffix == ".svg" else {}  # same input, same file
    picture = io.BytesIO()
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph")  # `_missing` says it once
        draw().savefig(picture, format=suffix[1:], metadata=metadata, bbox_inches="tight", pad_inches=0.15)
    try:
        path.write_bytes(picture.getvalue())
    except OSError as e:
        raise UserError(f"{path}: cannot write the picture: {e.strerror}") from e


def _suffix(path: str | Path) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in (".png", ".svg"):
        raise UserError(f"{path}: pictures are PNG or SVG; let the name end in .png or .svg")
    return suffix


def _same_shape(source_pieces: Sequence[str], target_pieces: Sequence[str], alpha: Attention) -> None:
    wanted = (len(target_pieces), len(source_pieces))
    if alpha.shape != wanted or 0 in wanted:
        raise UserError(
            f"attention of shape {tuple(alpha.shape)} for {wanted[0]} target and {wanted[1]} source pieces; "
            "give one row a target piece and one column a source piece, at least one of each"
        )


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _names(column: str, metric: str) -> bool:
    return column == metric or column.endswith(tuple(f"{mark}{metric}" for mark in "_./"))


# Characters and fonts.


def _visible(pieces: Sequence[str]) -> list[str]:
    """A space piece must be seen, and a line break must not break the line."""
    return [piece.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥") for piece in pieces]


def _fonts() -> list[str]:
    """The installed ones of `FONTS`: matplotlib takes each character from the first that has it."""
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    return [name for name in FONTS if name in installed]


def _missing(path: str | Path, texts: Iterable[str]) -> str:
    if _suffix(path) == ".svg":
        return ""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    drawable = {code for name in _fonts() for code in get_font(findfont(FontProperties(family=name))).get_charmap()}
    characters = dict.fromkeys("".join(texts))
    return "".join(c for c in characters if ord(c) not in drawable and not unicodedata.category(c).startswith("C"))


def _characters(text: str) -> list[str]:
    """Characters with the combining marks that follow them."""
    found: list[str] = []
    for c in text:
        if found and not _width(c):
            found[-1] += c
        else:
            found.append(c)
    return found


def _width(text: str) -> int:
    """Terminal columns."""
    narrow = [c for c in text if not unicodedata.combining(c) and unicodedata.category(c) not in ("Cf", "Mn", "Me")]
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in narrow)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
