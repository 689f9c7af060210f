"""The results as one picture: a panel a row, a bar a system."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.spread import spread
from benchmarks.table import number, with_memory

OURS, THEIRS = "#1f77b4", "#b0b0b0"
COLUMNS = 2


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Write the picture; rows without a measurement are left out.

    Args:
        results: as `bench.run` keeps them.
        path: a PNG file.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in with_memory(results["rows"]).values() if any(c["values"] for c in row["cells"].values())]
    if not rows:
        return
    columns = min(COLUMNS, len(rows))
    lines = -(-len(rows) // columns)
    figure, axes = pyplot.subplots(lines, columns, figsize=(7.5 * columns, 0.6 + 3.2 * lines), squeeze=False)
    for axis, row in zip(axes.flat, rows, strict=False):
        _panel(axis, row)
    for axis in list(axes.flat)[len(rows) :]:
        axis.set_visible(False)
    machine = results["machine"]
    figure.suptitle(f"{machine['processor']}, {machine['threads']} threads, {results['date']}")
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _panel(axis: Any, row: Mapping[str, Any]) -> None:
    """Medians as bars, the least and the most as whiskers, and values of the row's own that are to be reached."""
    cells = {name: cell for name, cell in row["cells"].items() if cell["values"]}
    spreads = [spread(list(cell["values"].values())) for cell in cells.values()]
    whiskers = [[s.median - s.least for s in spreads], [s.most - s.median for s in spreads]]
    colours = [OURS if cell["own"] else THEIRS for cell in cells.values()]
    places = list(range(len(cells)))
    axis.barh(places, [s.median for s in spreads], xerr=whiskers, color=colours, ecolor="#404040", height=0.7)
    for place, s in zip(places, spreads, strict=True):
        axis.text(s.most, place, f" {number(s.median)}", va="center", fontsize=8)
    for goal in row["goals"]:
        if goal["value"]:
            axis.axvline(goal["value"], color="#d62728", linestyle="--", linewidth=1)
    axis.set_yticks(places, list(cells), fontsize=8)
    axis.invert_yaxis()
    axis.margins(x=0.15)
    better = "more" if row["higher"] else "less"
    axis.set_title(f"{row['title']} ({row['unit']}; {better} is better)", fontsize=10)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
