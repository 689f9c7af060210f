"""Running a recipe: fetch, prepare, train each model once a seed, score each row, write `results.json`.

The same command continues a run that was stopped: files that are fetched, pairs that are prepared and models that are
trained are kept below the output folder.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from antiphon.errors import UserError, near
from antiphon.files import write
from antiphon.progress import Reporter
from antiphon.recipes import models, pairs, pictures, scoring, summary
from antiphon.recipes.models import Trained
from antiphon.recipes.recipe import RESULTS, Picture, Recipe, Variant, load
from antiphon.recipes.scoring import ScoredRow
from antiphon.seq2seq import Seq2Seq


def run(
    folder: Path,
    out: Path,
    sets: Sequence[str] = (),
    command: str = "",
    reporter: Reporter | None = None,
    only: Sequence[str] = (),
) -> dict[str, Any]:
    """Run a recipe.

    Args:
        folder: the recipe's.
        out: where data, models and outputs go; the same command continues a stopped run.
        sets: `section.key=value` over the recipe's configuration. Results are then written to `out` only.
        command: the command that does this, for the results.
        reporter: where progress goes.
        only: names of models; the others are left out, and results are written to `out` only.

    Returns:
        What `results.json` holds.

    Raises:
        UserError: a file cannot be fetched, a name is unknown, a training fails, or several processes run it.
    """
    reporter = reporter or Reporter()
    recipe = load(folder)
    variants = select(recipe, only, folder)
    one_seed = any(text.startswith("train.seed=") for text in sets)
    _check(recipe, variants, folder, one_seed)
    data = out / "data"
    files = pairs.collect(recipe, data, reporter)
    trained: list[Trained] = []
    for variant in variants:
        for part in variant.written:
            files[part.file] = models.write_pairs(part, data, files, trained, reporter)
        for seed in (variant.seeds or recipe.seeds)[: 1 if one_seed else None]:
            config = models.configure(recipe, variant, seed, files, out / "models", sets)
            reporter.say(f"{variant.name}, seed {config.train.seed}")
            model = models.path(out / "models", variant.name, seed)
            trained.append(models.train(variant, config, model, folder, command, reporter))
    scored = [
        entry
        for row in recipe.scores
        for entry in scoring.score_row(recipe, row, trained, files, out / "outputs", reporter)
    ]
    results = summary.results(recipe, folder, command, trained, scored)
    results["samples"] = [_samples(recipe, variant, trained) for variant in variants] if recipe.samples else []
    reporter.close()
    for target in (out,) if sets or only else (out, folder):
        write(target / RESULTS, json.dumps(results, indent=1, ensure_ascii=False) + "\n")
        for picture in recipe.pictures:
            _draw(picture, target, trained, scored, results)
    return results


def select(recipe: Recipe, only: Sequence[str], folder: Path) -> list[Variant]:
    """The models asked for, and those that they need: to start from, and to write pairs for them.

    Args:
        recipe, folder: whose models, and where it is.
        only: names; none: all models.

    Raises:
        UserError: a name is unknown.
    """
    known = {variant.name: variant for variant in recipe.models}
    for name in only:
        if name not in known:
            raise UserError(f"{folder}: no model is called '{name}'{near(name, known)}")
    needed: set[str] = set()
    waiting = list(only or known)
    while waiting:
        name = waiting.pop()
        needed.add(name)
        others = [known[name].start, *(part.model for part in known[name].written)]
        waiting += [other for other in others if other and other not in needed]
    return [variant for variant in recipe.models if variant.name in needed]


def _check(recipe: Recipe, variants: Sequence[Variant], folder: Path, one_seed: bool) -> None:
    """Refuse what cannot work before hours of training."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("a recipe runs in one process; several processes are for antiphon train")
    scoring.check(recipe, folder)
    if one_seed and any(part.ensemble > 1 for variant in variants for part in variant.written):
        raise UserError(f"{folder}: several seeds together write pairs for another model here: leave train.seed out")


def _samples(recipe: Recipe, variant: Variant, trained: Sequence[Trained]) -> dict[str, Any]:
    """The outputs of a model's first seed for the recipe's own texts."""
    first = next(model for model in trained if model.variant.name == variant.name)
    outputs = [result.text for result in models.open_model([first]).generate(recipe.samples)]
    return {"model": variant.name, "outputs": [list(pair) for pair in zip(recipe.samples, outputs, strict=True)]}


def _draw(
    picture: Picture,
    folder: Path,
    trained: Sequence[Trained],
    scored: Sequence[ScoredRow],
    results: dict[str, Any],
) -> None:
    """Draw one of the recipe's pictures: of a model's first seed, or of the scores."""
    if picture.kind in ("attention", "vectors"):
        name = picture.models[0] if picture.models else trained[0].variant.name
        first = next((model for model in trained if model.variant.name == name), None)
        if first is not None:
            pictures.of_model(picture, folder, Seq2Seq.load(first.outcome.model, engine="torch"))
    elif picture.kind == "by_length":
        entries = [entry for entry in scored if entry.row.name == picture.row]
        chosen = [entry for entry in entries if not picture.models or entry.model in picture.models]
        pictures.by_length(picture, folder, {entry.model: entry.runs[0][:3] for entry in chosen})
    else:
        rows = results["rows"][: len(scored)]  # without the means over models
        pictures.bars(picture, folder, [row for row in rows if not picture.models or row["model"] in picture.models])
