"""The results as one picture: a panel a row, a bar a system."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from antiphon import files
from antiphon.evaluation import figures
from benchmarks.spread import spread
from benchmarks.table import number, with_memory

OURS, THEIRS, GOAL = figures.BLUE, "#b3b3b3", "#d55e00"
COLUMNS = 2


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Write the picture; rows without a measurement are left out.

    Args:
        results: as `bench.run` keeps them.
        path: a PNG file.
    """
    import matplotlib
    from matplotlib.figure import Figure

    rows = [row for row in with_memory(results["rows"]).values() if any(c["values"] for c in row["cells"].values())]
    if not rows:
        return
    columns = min(COLUMNS, len(rows))
    lines = -(-len(rows) // columns)
    machine = results["machine"]
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(7.5 * columns, 1.2 + 3.2 * lines), dpi=110, layout="constrained")
        axes = list(figure.subplots(lines, columns, squeeze=False).flat)
        for axis, row in zip(axes, rows, strict=False):
            panel(axis, row, {name: name for name, cell in row["cells"].items() if cell["values"]})
            axis.set_title(row["title"])
            axis.set_xlabel(f"{row['unit']} ({'more' if row['higher'] else 'less'} is better)")
        for axis in axes[len(rows) :]:
            axis.set_visible(False)
        figure.suptitle(
            f"{machine['processor']}, {machine['threads']} threads, {results['date']}: Antiphon in blue, peers in "
            "grey; medians, whiskers from the least to the most; dashed: a goal"
        )
        with files.whole_path(path) as unfinished:
            figure.savefig(unfinished, format="png", bbox_inches="tight", pad_inches=0.15)


def panel(axes: Any, row: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Medians as bars, the least and the most as whiskers, and values of the row's own that are to be reached.

    Args:
        axes: to draw in.
        row: of the results.
        names: the systems to show and what they are called here.
    """
    cells = [row["cells"][name] for name in names]
    spreads = [spread(list(cell["values"].values())) for cell in cells]
    whiskers = [[s.median - s.least for s in spreads], [s.most - s.median for s in spreads]]
    colours = [OURS if cell["own"] else THEIRS for cell in cells]
    places = range(len(cells))
    axes.barh(places, [s.median for s in spreads], xerr=whiskers, color=colours, ecolor="#404040", height=0.68)
    for place, s in zip(places, spreads, strict=True):
        axes.annotate(number(s.median), (s.most, place), xytext=(5, 0), textcoords="offset points", va="center")
    for goal in row["goals"]:
        if goal["value"]:
            axes.axvline(goal["value"], color=GOAL, linestyle="--", linewidth=1)
    axes.set_yticks(places, list(names.values()))
    axes.invert_yaxis()
    axes.margins(x=0.14)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=4)
    if max(s.most for s in spreads) >= 1000:
        axes.xaxis.set_major_formatter("{x:,.0f}")
