"""Pictures: attention, training curves, score by source length, sentence vectors, bars.

Pictures are PNG or SVG, by the file's suffix. Each function returns a warning about characters that no installed font
can draw, or nothing; in a PNG they are boxes. An SVG keeps text as text, and its viewer finds the fonts.

Shapes: U target pieces, S source pieces, N texts, D numbers of a vector.
"""

import io
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from antiphon import files
from antiphon.errors import UserError, extra
from antiphon.evaluation import figures, fonts, metrics
from antiphon.evaluation.figures import END, ENGLISH, Attention, Words
from antiphon.evaluation.significance import LengthBin

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def attention(
    path: str | Path,
    source_pieces: Sequence[str],
    target_pieces: Sequence[str],
    alpha: Attention,
    title: str = "Attention",
    words: Words = ENGLISH,
) -> str:
    """Draw alpha as Bahdanau 2015, figure 3: a row for each target piece, a column for each source piece.

    What can fit on a page of A4 or a slide is made to fit, with numbers in its cells where there is room; longer texts
    give a larger picture.

    Args:
        path: `.png` or `.svg` file to write.
        source_pieces: S labels, in the order of the columns.
        target_pieces: U labels, in the order of the rows.
        alpha: [U, S] weights in 0-1. One more row or column than there are pieces is the end mark's.
        title: above the picture; long ones are wrapped.
        words: what it says beside the pieces, as in another language.

    Returns:
        A warning about characters that cannot be drawn, or "".

    Raises:
        UserError: alpha has another shape, the suffix is unknown, the file cannot be written.
    """
    sources, targets = _with_end(source_pieces, alpha, 1), _with_end(target_pieces, alpha, 0)
    if alpha.shape != (len(targets), len(sources)) or 0 in alpha.shape:
        raise UserError(
            f"attention of shape {tuple(alpha.shape)} for {len(target_pieces)} target and {len(source_pieces)} source "
            "pieces; give one row for each target piece and one column for each source piece, at least one of each"
        )
    sources, targets = _visible(sources), _visible(targets)
    texts = [title, *words, *sources, *targets]
    return _save(path, texts, lambda: figures.attention(sources, targets, alpha, title, words))


def curves(path: str | Path, rows: Iterable[Mapping[str, Any]], x: str = "step", title: str = "Training") -> str:
    """Draw a training log: a panel for each metric, and in it each column named for it (`bleu`, `valid_bleu`).

    Args:
        path: `.png` or `.svg` file to write.
        rows: the log's rows; a row may lack columns.
        x: the column along the x-axis.
        title: above the picture.

    Returns:
        A warning about characters that cannot be drawn, or "".

    Raises:
        UserError: there is nothing to draw, the suffix is unknown, the file cannot be written.
    """
    log = [row for row in rows if _number(row.get(x))]
    columns = list(dict.fromkeys(key for row in log for key, value in row.items() if _number(value)))
    points = {c: [(row[x], row[c]) for row in log if _number(row.get(c))] for c in columns}
    panels = {axis_label(name): {c: points[c] for c in columns if _is_of(c, name)} for name in metrics.METRICS}
    panels = {label: own for label, own in panels.items() if own}
    if not panels:
        raise UserError(f"{path}: nothing to draw: no row of the training log has '{x}' and a loss or score")
    return _save(path, [title, x, *columns], lambda: figures.curves(panels, x, title))


def by_length(
    path: str | Path,
    systems: Mapping[str, Sequence[LengthBin]],
    metric: str = "bleu",
    title: str = "Score by the length of the source",
    unit: str = "words",
) -> str:
    """Draw score by source length, a line for each system (Bahdanau 2015, figure 2).

    Args:
        path: `.png` or `.svg` file to write.
        systems: names and their `significance.by_length`.
        metric: name of the score.
        title: above the picture.
        unit: what lengths count.

    Returns:
        A warning about characters that cannot be drawn, or "".

    Raises:
        UserError: there is nothing to draw, the suffix is unknown, the file cannot be written.
    """
    if not any(systems.values()):
        raise UserError(f"{path}: nothing to draw: no system has a scored sentence")
    label = axis_label(metric)
    return _save(path, [title, label, unit, *systems], lambda: figures.by_length(systems, label, unit, title))


def vectors(
    path: str | Path, texts: Sequence[str], points: NDArray[np.floating[Any]], title: str = "Sentence vectors"
) -> str:
    """Draw sentences in the plane of their vectors' two main directions (Sutskever 2014, figure 2).

    Args:
        path: `.png` or `.svg` file to write.
        texts: N labels.
        points: [N, D] vectors; centred and projected here (principal components).
        title: above the picture.

    Returns:
        A warning about characters that cannot be drawn, or "".

    Raises:
        UserError: fewer than three vectors, the suffix is unknown, the file cannot be written.
    """
    if len(points) < 3 or len(points) != len(texts):
        raise UserError(f"{path}: {len(texts)} texts and {len(points)} vectors; give one for each, and three or more")
    plane, shares = principal(points)
    return _save(path, [title, *texts], lambda: figures.vectors(texts, plane, shares, title))


def principal(points: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float64], list[float]]:
    """Project vectors onto their two main directions (principal components).

    Args:
        points: [N, D] vectors.

    Returns:
        The points in the plane [N, 2], with signs such that the first is to the right, and the share of the variance
        along each of the two directions, 0-1.
    """
    centred = points.astype(np.float64) - points.mean(0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    plane, variance = np.zeros((len(points), 2)), np.zeros(2)
    plane[:, : min(2, len(size))] = (left * size)[:, :2]
    variance[: min(2, len(size))] = size[:2] ** 2
    total = float((size**2).sum())
    shares = variance / total if total else variance
    return np.asarray(plane * np.where(plane[0] < 0, -1, 1)), shares.tolist()


def bars(
    path: str | Path,
    values: Mapping[str, float],
    spreads: Mapping[str, float],
    metric: str = "bleu",
    title: str = "Scores",
) -> str:
    """Draw a bar for each system, with the deviation over seeds where there is one.

    Args:
        path: `.png` or `.svg` file to write.
        values: a score for each system.
        spreads: standard deviations, for some or all of them.
        metric: name of the score.
        title: above the picture.

    Returns:
        A warning about characters that cannot be drawn, or "".

    Raises:
        UserError: there is nothing to draw, the suffix is unknown, the file cannot be written.
    """
    if not values:
        raise UserError(f"{path}: nothing to draw: no system has a score")
    label = axis_label(metric)
    return _save(path, [title, label, *values], lambda: figures.bars(values, spreads, label, title))


def axis_label(metric: str) -> str:
    """A score's name and scale, such as `BLEU (0-100)`; the name alone where the scale is unknown."""
    known = metrics.METRICS.get(metric)
    return f"{known.title} ({known.scale})" if known else metric


def _save(path: str | Path, texts: Iterable[str], draw: Callable[[], "Figure"]) -> str:
    """Draw a figure with the installed fonts, write it, and say which characters none of them has."""
    path = Path(path)
    if (suffix := path.suffix.lower()) not in (".png", ".svg"):
        raise UserError(f"{path}: pictures are PNG or SVG; let the name end in .png or .svg")
    try:
        import matplotlib
    except ImportError as e:
        raise UserError(f"pictures need matplotlib: {extra('train')}") from e
    families, missing = fonts.choose(texts)
    style: dict[Any, Any] = figures.STYLE | {"font.family": families}
    metadata = {"Date": None} if suffix == ".svg" else {}  # same input, same file
    picture = io.BytesIO()
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph")  # the warning returned says it once
        draw().savefig(picture, format=suffix[1:], metadata=metadata, bbox_inches="tight", pad_inches=0.15)
    files.write(path, picture.getvalue())
    if not missing or suffix == ".svg":
        return ""
    return (
        f"{path}: no installed font can draw {missing}; install one (Debian, Ubuntu: "
        f"apt install {' '.join(fonts.packages(missing))}), or write an .svg, whose viewer chooses the fonts"
    )


def _with_end(pieces: Sequence[str], alpha: Attention, axis: int) -> list[str]:
    return [*pieces, END] if alpha.ndim == 2 and alpha.shape[axis] == len(pieces) + 1 else [*pieces]


def _visible(pieces: Sequence[str]) -> list[str]:
    """A space piece must be seen, and a line break must not break the line."""
    return [piece.replace(" ", "␣").replace("▁", "␣").replace("\n", "↵").replace("\t", "⇥") for piece in pieces]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_of(column: str, metric: str) -> bool:
    return column == metric or column.endswith(tuple(f"{mark}{metric}" for mark in "_./"))
