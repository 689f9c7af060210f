"""Our results beside published ones: one page of Markdown from the `results.json` of all recipes.

Rows that are not reached stand in it like the others, with what was tried.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from antiphon.errors import UserError
from antiphon.recipes.recipe import RECIPE, RESULTS, load

HEAD = """# Results

Every recipe's result beside what was published for the same data and measure. `antiphon recipe table` writes this page
from the recipes' `results.json`, which hold all values, seeds and settings; a test keeps it current. A figure with
± is the mean over seeds and their standard deviation. Minutes are of one training, on the machine named, which
was often busy with other work: `load` is the number of processes that wanted a processor at its end. Minutes and size
of an ensemble are those of all its members; models that only choose among another's outputs are not counted."""


def page(recipes: Path) -> str:
    """The whole page.

    Args:
        recipes: the folder of recipes, `<application>/<name>/results.json`.

    Raises:
        UserError: there is none, or a file cannot be read.
    """
    found = sorted(recipes.glob(f"*/*/{RESULTS}"))
    if not found:
        raise UserError(f"{recipes}: no recipe here has a {RESULTS}; run one: antiphon recipe list")
    parts, application = [HEAD], ""
    for path in found:
        if path.parent.parent.name != application:
            application = path.parent.parent.name
            parts.append(f"## {application.capitalize()}")
        try:
            results = json.loads(path.read_text("utf-8"))
            if (path.parent / RECIPE).is_file():  # it may have been written after the run
                results["tried"] = load(path.parent).tried
            parts.append(_section(results, f"../recipes/{application}/{path.parent.name}"))
        except (ValueError, KeyError, TypeError) as e:
            raise UserError(f"{path}: not what this version of Antiphon writes ({e!r}); run the recipe again") from e
    return "\n\n".join(parts) + "\n"


def _section(results: Mapping[str, Any], link: str) -> str:
    machine = results["machine"]
    lines = [
        f"### [{results['recipe']}]({link}/README.md)",
        f"{results['title']}. {results['date']}, commit {_short(results['commit'])}, {machine['processor']}, "
        f"{_threads(results)} of {_count(machine['cores'], 'core')}.",
        _table(
            ["set", "model", "metric", "ours", "published", "to reach", "minutes", "load", "MB"],
            [cells for row in results["rows"] for cells in _cells(row, results["models"])],
        ),
        _signatures(results["rows"]),
    ]
    missed = [f"{row['set']}, {row['model']}: {score['name']}" for row, score in _missed(results["rows"])]
    if missed:
        tried = f" Tried: {results['tried']}" if results.get("tried") else ""
        lines.append(f"Not reached: {'; '.join(missed)}.{tried}")
    return "\n\n".join(lines)


def _short(commit: str) -> str:
    """A commit's first digits, and whether there were changes."""
    return commit[:10] + (" with changes" if " " in commit else "")


def _threads(results: Mapping[str, Any]) -> str:
    """The threads of a training, or of several."""
    used = sorted({model["threads"] for model in results["models"]})
    return _count(used[0], "thread") if len(used) == 1 else f"{used[0]} to {used[-1]} threads"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _cells(row: Mapping[str, Any], models: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """A table row for each of a row's scores; what is the same in all stands in the first."""
    own = [model for model in models if model["name"] == row["model"] and model["seed"] in row["seeds"]] or list(models)
    known = {key: [model[key] for model in own if model[key] is not None] for key in ("minutes", "load", "megabytes")}
    together = len(own) if row["ensemble"] > 1 else 1
    times = {"minutes": together, "load": 1, "megabytes": together}  # an ensemble costs what all its members cost
    costs = [f"{times[key] * mean(values):.1f}" if values else "" for key, values in known.items()]
    name = row["model"] + (f", ensemble of {row['ensemble']}" if row["ensemble"] > 1 else "")
    cells = []
    for n, score in enumerate(row["scores"]):
        published = "; ".join(f"{value:g} ({system})" for system, value in score["published"].items())
        reach = "" if score["reach"] is None else f"{score['reach']:g}{' ✓' if reached(score) else ''}"
        first = [row["set"], name] if n == 0 else ["", ""]
        cells.append([*first, score["name"], figure(score), published, reach, *(costs if n == 0 else ["", "", ""])])
    return cells


def figure(score: Mapping[str, Any]) -> str:
    """A score with its deviation; to four places where those that it is compared with are below 1, else to two."""
    goals = [*score["published"].values(), *([] if score["reach"] is None else [score["reach"]])]
    places = 4 if goals and max(goals) < 1 else 2
    spread = "" if score["deviation"] is None else f" ± {score['deviation']:.{places}f}"
    return f"{score['value']:.{places}f}{spread}"


def reached(score: Mapping[str, Any]) -> bool:
    """Whether a score is as good as the value to reach."""
    value, goal = score["value"], score["reach"]
    return bool(value >= goal if score["higher_is_better"] else value <= goal)


def _missed(rows: Iterable[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Scores below what was to reach, but for those that another row of the same set reaches."""
    rows = list(rows)
    scores = [(row, score) for row in rows for score in row["scores"] if score["reach"] is not None]
    done = {(row["set"], score["name"]) for row, score in scores if reached(score)}
    return [(row, score) for row, score in scores if (row["set"], score["name"]) not in done]


def _signatures(rows: Iterable[Mapping[str, Any]]) -> str:
    """Each metric's signatures, once."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for score in row["scores"]:
            same = found.setdefault(score["name"], [])
            if score["signature"] not in same:
                same.append(score["signature"])
    return "  \n".join(f"{name}: {', '.join(f'`{text}`' for text in texts)}" for name, texts in found.items())


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
