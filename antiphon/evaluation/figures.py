"""The figures of `plots`, as matplotlib's objects.

Figures are drawn without pyplot, so nothing global changes and no display is needed.

Shapes: U target pieces, S source pieces, N texts.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from antiphon.evaluation.significance import LengthBin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Attention = NDArray[np.floating[Any]]  # [U, S]  alpha_ti, row t for target piece y_t, column i for source piece x_i

PAGE = (8.4, 5.6)  # inches that the cells of an attention picture may take on a page of A4, upright or not, or a slide
CELL, LONGEST = (0.32, 0.56), 40.0  # inches: smallest and largest cell that PAGE decides; the longest side of all cells
LETTERS = (5.0, 15.0)  # points: smallest labels of cells, of which then only every second, third, ... is shown; largest
NUMBERS = 0.4  # inches: cells of this size have their number written into them
LEAST = 0.05  # the smallest number that is written
BAR = (1.1, 4.0)  # inches: shortest and longest scale of colours
END = "</s>"  # the end mark, drawn faintly
LEFT_TO_RIGHT = "\u200e"  # keeps the number of an Arabic or Hebrew text at the left
FAINT = "#9a9a9a"
BLUE = "#0072b2"
# Okabe and Ito's colours, which colour-blind readers can tell apart, dark ones first; and marks for print in grey.
COLOURS = (BLUE, "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKS = ("o", "s", "^", "D", "v", "P", "X")
STYLE: dict[Any, Any] = {
    "font.size": 10.0,
    "axes.titlesize": 12.0,
    "axes.titlepad": 10.0,
    "figure.titlesize": 12.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#606060",
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "text.parse_math": False,  # a piece such as $ is no formula
    "svg.fonttype": "none",
    "svg.hashsalt": "antiphon",
}


class Words(NamedTuple):
    """What an attention picture says beside its pieces."""

    source: str
    target: str
    share: str
    caption: str
    space: str
    end: str


ENGLISH = Words(
    source="source: what the model reads",
    target="output: what it writes",
    share="share of the attention",
    caption="Each row shows where the model looks in the source while it writes one piece of the output. "
    "The darker a cell, the larger its share; the shares of a row add up to 1.",
    space="␣ is a space.",
    end="</s> is the end of the text.",
)


def attention(
    sources: Sequence[str], targets: Sequence[str], alpha: Attention, title: str, words: Words = ENGLISH
) -> "Figure":
    """A matrix of alpha: a row for each target piece, a column for each source piece, the darker the larger."""
    from matplotlib.figure import Figure

    rows, columns = alpha.shape
    cell = min(max(min(PAGE[0] / columns, PAGE[1] / rows), CELL[0]), CELL[1], LONGEST / max(alpha.shape))
    height, width = cell * rows, cell * columns
    figure = Figure(figsize=(width, height), dpi=150)
    axes = figure.add_axes((0, 0, 1, 1))  # the margins grow round the labels when the figure is saved
    image = axes.imshow(alpha, cmap="Blues", vmin=0, vmax=1, aspect="equal", interpolation="nearest")
    size = min(LETTERS[1], max(LETTERS[0], cell * 72 * 0.5))
    every = math.ceil(LETTERS[0] / (cell * 72 * 0.5))
    _label_sources(axes, sources, every, size)
    axes.set_yticks(range(0, rows, every), targets[::every], fontsize=size)
    axes.tick_params(length=0, pad=4)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        if label.get_text() == END:
            label.set_color(FAINT)
    axes.set_xlabel(words.source, fontsize=size * 0.85, labelpad=8)
    axes.set_ylabel(words.target, fontsize=size * 0.85, labelpad=8)
    axes.spines[:].set_visible(True)
    if cell >= CELL[0]:  # lines between the cells lead the eye to the labels
        axes.set_xticks(np.arange(0.5, columns - 1), minor=True)
        axes.set_yticks(np.arange(0.5, rows - 1), minor=True)
        axes.grid(which="minor", linewidth=0.6)
        axes.tick_params(which="minor", length=0)
    if cell >= NUMBERS:
        _number(axes, alpha, cell * 72 * 0.3)
    axes.set_title(_wrapped(title, (width + 1.5) * 0.8), loc="left", fontsize=16, pad=14)
    _caption(axes, words, [*sources, *targets], width)
    _scale(figure, image, width, height, words.share)
    return figure


def _label_sources(axes: "Axes", sources: Sequence[str], every: int, size: float) -> None:
    """Source pieces along the top: slanted, but for short ones where most are short."""
    axes.set_xticks(range(0, len(sources), every), sources[::every], fontsize=size)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
    short = [cell_len(piece) <= 2 for piece in sources[::every]]
    for label, upright in zip(axes.get_xticklabels(), short, strict=True):
        if not upright or sum(short) < len(short) / 2:
            label.set(rotation=50, ha="left", rotation_mode="anchor")
    axes.xaxis.set_label_position("top")


def _number(axes: "Axes", alpha: Attention, size: float) -> None:
    """Write the shares that can be seen into their cells, dark on light or light on dark."""
    for t, i in np.argwhere(alpha >= LEAST):
        colour = "white" if alpha[t, i] > 0.5 else "black"
        axes.text(i, t, f"{alpha[t, i]:.2f}", ha="center", va="center", color=colour, fontsize=size)


def _caption(axes: "Axes", words: Words, labels: Sequence[str], width: float) -> None:
    """What rows, columns and signs mean, below the cells."""
    signs = [words.space] * any("␣" in label for label in labels) + [words.end] * (END in labels)
    text = "\n".join(_wrapped(line, max(width, 3.5) * 1.1) for line in " ".join([words.caption, *signs]).splitlines())
    axes.annotate(
        text, (0, 0), xytext=(0, -12), xycoords="axes fraction", textcoords="offset points", va="top", fontsize=11
    )


def _scale(figure: "Figure", image: Any, width: float, height: float, label: str) -> None:
    """The scale of colours, right of axes of a size in inches, level with their top."""
    length = min(max(height, BAR[0]), BAR[1])
    axes = figure.add_axes((1 + 0.2 / width, 1 - length / height, 0.14 / width, length / height))
    bar = figure.colorbar(image, cax=axes, ticks=[0, 0.25, 0.5, 0.75, 1] if length > 2 else [0, 0.5, 1])
    bar.set_label(label, fontsize=11, labelpad=8)
    bar.outline.set_edgecolor("#606060")
    axes.tick_params(labelsize=11, length=3)


def _wrapped(title: str, inches: float) -> str:
    """A title in lines that are about as long as its picture is wide."""
    return textwrap.fill(title, max(36, round(inches * 10)))


def curves(panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], x: str, title: str) -> "Figure":
    """A panel for each label of a y-axis, and in it a line of points for each name."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.7 + 2.5 * len(panels)), dpi=150, layout="constrained")
    every = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (label, lines) in zip(every, panels.items(), strict=True):
        for i, (name, points) in enumerate(lines.items()):
            axes.plot(*zip(*points, strict=True), label=name, **_line(i, few=len(points) < 50))
        axes.set_ylabel(label)
        axes.legend()
        axes.grid()
    every[-1].set_xlabel(x)
    figure.suptitle(_wrapped(title, 6))
    return figure


def by_length(systems: Mapping[str, Sequence[LengthBin]], label: str, unit: str, title: str) -> "Figure":
    """A line for each system over bins of source length."""
    from matplotlib.figure import Figure

    every = sorted({(b.low, b.high) for bins in systems.values() for b in bins}, key=lambda edges: edges[0])
    place = {edges: i for i, edges in enumerate(every)}
    figure = Figure(figsize=(7, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    for i, (name, bins) in enumerate(systems.items()):
        axes.plot([place[b.low, b.high] for b in bins], [b.value for b in bins], label=name, **_line(i, few=True))
    axes.set_xticks(range(len(every)), [f"{low}–{high}" if high is not None else f"{low}+" for low, high in every])
    axes.set_xlabel(f"length of the source, {unit}")
    axes.set_ylabel(label)
    axes.grid()
    if len(systems) > 1:
        axes.legend()
    axes.set_title(_wrapped(title, 6))
    return figure


def _line(number: int, few: bool) -> dict[str, Any]:
    """Colour, mark and dashes of a line; marks only where a line has few points."""
    dashes = ("-", "--", "-.", ":")[number % 4]
    mark = MARKS[number % len(MARKS)] if few else ""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": dashes, "marker": mark, "markersize": 5}


def vectors(texts: Sequence[str], points: NDArray[np.float64], shares: Sequence[float], title: str) -> "Figure":
    """Numbered points in the plane [N, 2], and below it the texts that the numbers stand for."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), dpi=150)
    axes = figure.add_axes((0.1, 0.1, 0.85, 0.8))
    axes.scatter(points[:, 0], points[:, 1], s=28, color=BLUE, edgecolor="white", linewidth=0.5)
    for number, (x, y) in enumerate(points, start=1):
        axes.annotate(str(number), (x, y), xytext=(5, 4), textcoords="offset points")
    axes.set_xlabel(f"first principal component ({shares[0]:.0%} of the variance)")
    axes.set_ylabel(f"second principal component ({shares[1]:.0%})")
    axes.margins(0.1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    key = "\n".join(f"{LEFT_TO_RIGHT}{n}  {_shortened(text)}" for n, text in enumerate(texts, start=1))
    axes.annotate(key, (0, 0), xytext=(0, -28), xycoords="axes fraction", textcoords="offset points", va="top")
    axes.set_title(_wrapped(title, 6))
    return figure


def _shortened(text: str, longest: int = 90) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def bars(values: Mapping[str, float], spreads: Mapping[str, float], label: str, title: str) -> "Figure":
    """A bar for each system, and its deviation over seeds where there is one."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 0.2 + 0.36 * len(values)), dpi=150)
    axes = figure.add_axes((0, 0, 1, 1))  # long names of systems make the picture wider, not the bars shorter
    deviations = [spreads.get(name) or math.nan for name in values]  # of one seed there is none to draw
    seeds = not all(map(math.isnan, deviations))
    whiskers: dict[str, Any] = {"xerr": deviations, "ecolor": "#404040", "capsize": 3} if seeds else {}
    drawn = axes.barh(list(values), list(values.values()), height=0.66, color=BLUE, **whiskers)
    axes.bar_label(drawn, fmt="%.1f", padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.1, y=0.02)
    axes.set_xlabel(label + (", mean and standard deviation over seeds" if seeds else ""))
    axes.set_ylabel("model")
    axes.tick_params(axis="y", length=0)
    axes.set_title(_wrapped(title, 6))
    return figure
