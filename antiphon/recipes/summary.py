"""What `results.json` says: where it comes from, the models, and the rows with their means over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from antiphon.recipes import provenance
from antiphon.recipes.models import Trained
from antiphon.recipes.recipe import Recipe, Row
from antiphon.recipes.scoring import ScoredRow
from antiphon.version import __version__


def results(
    recipe: Recipe, folder: Path, command: str, trained: Sequence[Trained], scored: Sequence[ScoredRow]
) -> dict[str, Any]:
    """Everything that `results.json` holds but the samples.

    Args:
        recipe, folder: what was run, and where it is.
        command: that ran it.
        trained, scored: the models and their scores.
    """
    rows = [_row(recipe, entry) for entry in scored]
    return {
        "recipe": folder.name,
        "title": recipe.title,
        "command": command,
        "commit": provenance.commit(folder),  # at which it was scored; each model has the one of its training
        "version": __version__,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": provenance.machine(),
        "tried": recipe.tried,
        "models": [_model(model) for model in trained],
        "rows": [*rows, *(_means(recipe, rows) if recipe.average else ())],
    }


def _model(model: Trained) -> dict[str, Any]:
    weights = model.outcome.model / "model.safetensors"
    return {
        "name": model.variant.name,
        "about": model.variant.about,
        "seed": model.seed,
        "preset": model.config.preset,
        "megabytes": round(weights.stat().st_size / 1e6, 1),
        "minutes": round(model.outcome.minutes, 1),
        "commit": model.commit,
        "threads": model.threads,
        "load": None if model.load is None else round(model.load, 1),
        "epochs": round(model.outcome.epochs, 2),
        "updates": model.outcome.updates,
        "development": {"metric": model.outcome.metric, "best": model.outcome.best},
    }


def _row(recipe: Recipe, scored: ScoredRow) -> dict[str, Any]:
    """A row for one model: the mean over its seeds, or its ensemble."""
    row, groups, runs = scored
    # Published values are compared with the mean over all models where the recipe asks for it.
    goals = row.model_copy(update={"published": {}, "reach": {}}) if recipe.average else row
    return {
        "set": row.name,
        "model": scored.model,
        "ensemble": row.ensemble,
        "seeds": [model.seed for group in groups for model in group],
        "search": vars(groups[0][0].config.search) | row.search,
        "sentences": len(runs[0].outputs),
        "scores": [
            asdict(same[0]) | _spread([score.value for score in same]) | _goals(goals, same[0].name)
            for same in zip(*(run.scores for run in runs), strict=True)
        ],
    }


def _means(recipe: Recipe, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each row of the recipe the mean over all models, seed by seed."""
    means = []
    for row in recipe.scores:
        same = [entry for entry in rows if entry["set"] == row.name]
        if not same:
            continue
        scores = []
        for entries in zip(*(entry["scores"] for entry in same), strict=True):
            values = [mean(seed) for seed in zip(*(entry["values"] for entry in entries), strict=True)]
            signature = f"mean of {len(same)} models|{entries[0]['signature']}"
            scores.append(entries[0] | _spread(values) | _goals(row, entries[0]["name"]) | {"signature": signature})
        count = sum(entry["sentences"] for entry in same)
        means.append({**same[0], "model": f"mean of {len(same)}", "sentences": count, "scores": scores})
    return means


def _spread(values: Sequence[float]) -> dict[str, Any]:
    """The mean of all seeds and their sample standard deviation, None for a single seed."""
    return {"value": mean(values), "values": values, "deviation": stdev(values) if len(values) > 1 else None}


def _goals(row: Row, metric: str) -> dict[str, Any]:
    return {"published": row.published.get(metric, {}), "reach": row.reach.get(metric)}
