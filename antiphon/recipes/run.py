"""Running a recipe: fetch, prepare, train each model once a seed, score each row, write `results.json`.

Everything below the output folder goes on where it stopped: files that are fetched, pairs that are prepared and
trainings that are finished are not made again.
"""

import hashlib
import inspect
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import torch

from antiphon.config import loading, sections
from antiphon.data import dialogue
from antiphon.data.corpus import read_sources
from antiphon.errors import UserError, near
from antiphon.progress import Reporter
from antiphon.recipes import pictures
from antiphon.recipes.corpora.index import CORPORA
from antiphon.recipes.fetch import fetch
from antiphon.recipes.recipe import RESULTS, Picture, Recipe, Row, Variant, Written, load
from antiphon.recipes.scoring import Scored, check, opened, score
from antiphon.seq2seq import Seq2Seq
from antiphon.training import warm_start
from antiphon.training.device import processor
from antiphon.training.loop import Outcome, train
from antiphon.version import __version__

PREPARED = "prepared"


class Trained(NamedTuple):
    """One model of a recipe: a variant trained with a seed."""

    variant: Variant
    seed: int
    options: sections.Config
    outcome: Outcome
    commit: str  # at which the training was begun
    load: float | None  # processes that wanted a processor at the training's end, this one included
    threads: int  # of the training


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
        out: where data, models and outputs go; the same command goes on with a stopped run.
        sets: `section.key=value` over the recipe's configuration. Results are then written to `out` only.
        command: the command that does this, for the results.
        reporter: where progress goes.
        only: names of models; the others are left out, and results are written to `out` only.

    Returns:
        What `results.json` holds.

    Raises:
        UserError: a file cannot be had, a name leads nowhere, a training fails, or several processes run it.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("a recipe runs in one process; several processes are for antiphon train")
    reporter = reporter or Reporter()
    recipe = load(folder)
    chosen = _chosen(recipe, only, folder)
    check(recipe, folder)
    one_seed = any(text.startswith("train.seed=") for text in sets)
    if one_seed and any(part.ensemble > 1 for variant in chosen for part in variant.written):
        raise UserError(f"{folder}: several seeds together write pairs for another model here: leave train.seed out")
    files = _data(recipe, out, reporter)
    trained: list[Trained] = []
    for variant in chosen:
        for part in variant.written:
            files[part.file] = _write_side(part, out, files, trained, reporter)
        for seed in (variant.seeds or recipe.seeds)[: 1 if one_seed else None]:
            begun = [f"train.start={out / 'models' / variant.start / f'seed{seed}'}"] if variant.start else []
            options = configured(recipe, variant, seed, files, [*begun, *sets])
            reporter.say(f"{variant.name}, seed {options.train.seed}")
            model = out / "models" / variant.name / f"seed{seed}"
            commit = _begun_at(model, folder)
            outcome = train(options, model, command, reporter)
            threads = options.train.threads or torch.get_num_threads()
            trained.append(Trained(variant, options.train.seed, options, outcome, commit, _load(), threads))
    scored = [found for row in recipe.scores for found in _row(recipe, row, trained, files, out, reporter)]
    rows = [found for found, _ in scored]
    results = _about(recipe, folder, command) | {
        "models": [_model(one) for one in trained],
        "rows": [*rows, *(_averages(recipe, rows) if recipe.average else ())],
        "samples": [_sample(recipe, variant, trained) for variant in chosen] if recipe.samples else [],
    }
    reporter.close()
    text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    for target in (out,) if sets or only else (out, folder):
        (target / RESULTS).write_text(text, encoding="utf-8", newline="\n")
        for picture in recipe.pictures:
            _draw(picture, target, trained, scored)
    return results


def _chosen(recipe: Recipe, only: Sequence[str], folder: Path) -> list[Variant]:
    """The models that are wanted, and those that they need: what they start from, and what writes for them."""
    known = {variant.name: variant for variant in recipe.models}
    for name in only:
        if name not in known:
            raise UserError(f"{folder}: no model is called '{name}'{near(name, known)}")
    wanted, waiting = set(), list(only or known)
    while waiting:
        name = waiting.pop()
        wanted.add(name)
        needed = [known[name].start, *(part.model for part in known[name].written)]
        waiting += [other for other in needed if other and other not in wanted]
    return [variant for variant in recipe.models if variant.name in wanted]


def configured(
    recipe: Recipe, variant: Variant, seed: int, files: Mapping[str, Path], sets: Sequence[str] = ()
) -> sections.Config:
    """The configuration of one model: preset, recipe, variant, seed, `sets`, each over the one before."""
    over: dict[str, dict[str, Any]] = {}
    for layer in (recipe.config, variant.config, {"train": {"seed": seed}}):
        for section, values in layer.items():
            over[section] = over.get(section, {}) | values
    data = over.get("data", {})
    for key in ("train", "valid"):
        if key in data:
            data[key] = [_at(spec, variant.name, files) for spec in data[key]]
    return loading.load(variant.preset or recipe.preset, sets=sets, over=over, started=warm_start.options)


# Data


def _data(recipe: Recipe, out: Path, reporter: Reporter) -> dict[str, Path]:
    """Fetch the corpus's files and turn them into pairs; returns where each is, by its name."""
    fetched = {}
    pack = CORPORA[recipe.corpus].pack if recipe.corpus else None
    for name, file in recipe.files.items():
        reporter.show("fetching", 0, None, name)
        fetched[name] = fetch(name, file, out / "data", pack)
    prepared, mark = out / "data" / PREPARED, out / "data" / f"{PREPARED}.json"
    made_of = _made_of(recipe)
    if prepared.is_dir() and not (mark.is_file() and mark.read_text("utf-8") == made_of):
        shutil.rmtree(prepared)  # of another version of the recipe, or of the program
    if recipe.corpus and not prepared.is_dir():
        reporter.show("preparing", 0, None, recipe.corpus)
        unfinished = Path(tempfile.mkdtemp(dir=out / "data"))
        try:
            CORPORA[recipe.corpus].prepare(fetched, unfinished, **recipe.prepare)
            if not prepared.is_dir():  # another process may have been as far
                unfinished.rename(prepared)
            mark.write_text(made_of, encoding="utf-8", newline="\n")
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    reporter.close()
    return _placed(out / "data")


def _made_of(recipe: Recipe) -> str:
    """What prepared pairs depend on: the recipe's words, its files, and the code of the corpus's module."""
    code = inspect.getsource(sys.modules[CORPORA[recipe.corpus].prepare.__module__]) if recipe.corpus else ""
    files = {name: file.sha256 for name, file in recipe.files.items()}
    code += inspect.getsource(dialogue)
    digest = hashlib.sha256(code.encode()).hexdigest()
    return json.dumps([recipe.corpus, recipe.prepare, files, digest], indent=1, ensure_ascii=False) + "\n"


def _placed(data: Path) -> dict[str, Path]:
    """The files below a recipe's data folder by the names that a recipe has for them."""
    return {
        path.name: path for folder in (data, data / PREPARED) for path in sorted(folder.glob("*")) if path.is_file()
    }


def _at(spec: str, model: str, files: Mapping[str, Path]) -> str:
    """A corpus's name in a recipe as a path, or as two."""
    names = spec.replace("{model}", model).split(",")
    return ",".join(str(files.get(name, name)) for name in names)


def _write_side(
    part: Written, out: Path, files: Mapping[str, Path], trained: Sequence[Trained], reporter: Reporter
) -> Path:
    """Let a trained model, or several, write one side of pairs; texts for which it writes nothing are left out."""
    path, writers = out / "data" / part.file, [one for one in trained if one.variant.name == part.model]
    writers = writers[: part.ensemble]
    mark = path.with_name(f"{path.name}.json")
    known = [(one.seed, one.outcome.updates, one.outcome.best) for one in writers]
    made_of = json.dumps([part.model_dump(), known], ensure_ascii=False) + "\n"
    if path.is_file() and mark.is_file() and mark.read_text("utf-8") == made_of:
        return path
    texts = list(read_sources(_at(part.texts, part.model, files)))
    model = opened([one.outcome.model for one in writers])
    other = "target" if part.side == "source" else "source"
    lines: list[str] = []
    for text, result in zip(texts, model.stream(texts, sample=part.sample, **part.search), strict=True):
        reporter.show("writing", len(lines), len(texts), f"{part.file}, by {part.model}")
        if result.text.strip() and "\0" not in result.text:  # sampled bytes may be any
            lines.append(json.dumps({part.side: result.text, other: text}, ensure_ascii=False) + "\n")
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(lines), encoding="utf-8", newline="\n")
    partial.replace(path)
    mark.write_text(made_of, encoding="utf-8", newline="\n")
    return path


# Scores


def _row(
    recipe: Recipe, row: Row, trained: Sequence[Trained], files: Mapping[str, Path], out: Path, reporter: Reporter
) -> list[tuple[dict[str, Any], Scored]]:
    """A row of the table for each model: the mean over its seeds, or their ensemble; with it the first run."""
    found = []
    for name in dict.fromkeys(one.variant.name for one in trained):
        if row.models and name not in row.models:
            continue
        seeds = [one for one in trained if one.variant.name == name]
        judged = not row.rescored_by or any(one.variant.name == row.rescored_by for one in trained)
        if not judged or len(seeds) < row.ensemble:
            continue  # only some of the models were asked for
        groups = [seeds[: row.ensemble]] if row.ensemble > 1 else [[one] for one in seeds]
        runs = []
        for group in groups:
            reporter.show("scoring", recipe.scores.index(row), len(recipe.scores), f"{row.name}, {name}")
            judges = [one.outcome.model for one in trained if one.variant.name == row.rescored_by]
            pairs, tokenised = _at(row.pairs, name, files), files[row.tokenised] if row.tokenised else None
            runs.append(score(recipe, row, [one.outcome.model for one in group], pairs, tokenised, judges))
            _write_outputs(out, row, group, runs[-1].outputs)
        goals: dict[str, Any] = {"published": {}, "reach": {}} if recipe.average else {}  # they are the mean's
        found.append((_summary(row.model_copy(update=goals), name, groups, runs), runs[0]))
    return found


def _summary(row: Row, name: str, groups: Sequence[Sequence[Trained]], runs: Sequence[Scored]) -> dict[str, Any]:
    scores = []
    for same in zip(*(one.scores for one in runs), strict=True):
        values = [score.value for score in same]
        entry = asdict(same[0]) | {"value": mean(values), "values": values, "deviation": _deviation(values)}
        scores.append(entry | _goals(row, same[0].name))
    return {
        "set": row.name,
        "model": name,
        "ensemble": row.ensemble,
        "seeds": [one.seed for group in groups for one in group],
        "search": vars(groups[0][0].options.search) | row.search,
        "sentences": len(runs[0].outputs),
        "scores": scores,
    }


def _goals(row: Row, metric: str) -> dict[str, Any]:
    return {"published": row.published.get(metric, {}), "reach": row.reach.get(metric)}


def _deviation(values: Sequence[float]) -> float | None:
    """The sample's standard deviation; None of a single value."""
    return stdev(values) if len(values) > 1 else None


def _averages(recipe: Recipe, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each row of the recipe the mean over all models, seed by seed."""
    means = []
    for row in recipe.scores:
        same = [found for found in rows if found["set"] == row.name]
        if not same:
            continue
        scores = []
        for entries in zip(*(found["scores"] for found in same), strict=True):
            values = [mean(each) for each in zip(*(entry["values"] for entry in entries), strict=True)]
            entry = entries[0] | {"value": mean(values), "values": values, "deviation": _deviation(values)}
            entry |= _goals(row, entry["name"]) | {"signature": f"mean of {len(same)} models|{entry['signature']}"}
            scores.append(entry)
        count = sum(found["sentences"] for found in same)
        means.append(same[0] | {"model": f"mean of {len(same)}", "sentences": count, "scores": scores})
    return means


def _write_outputs(out: Path, row: Row, group: Sequence[Trained], outputs: Sequence[str]) -> None:
    """Keep the outputs beside the models, to look at and to compare."""
    folder = out / "outputs"
    folder.mkdir(exist_ok=True)
    seeds = "+".join(str(one.seed) for one in group)
    name = "".join(c if c.isalnum() else "-" for c in f"{row.name}.{group[0].variant.name}.seed{seeds}")
    lines = "".join(" ".join(text.split()) + "\n" for text in outputs)
    (folder / f"{name}.txt").write_text(lines, encoding="utf-8", newline="\n")


def _sample(recipe: Recipe, variant: Variant, trained: Sequence[Trained]) -> dict[str, Any]:
    """What a model's first seed makes of the recipe's own texts."""
    model = opened([next(one for one in trained if one.variant.name == variant.name).outcome.model])
    outputs = [result.text for result in model.generate(recipe.samples)]
    return {"model": variant.name, "outputs": [list(pair) for pair in zip(recipe.samples, outputs, strict=True)]}


def _draw(
    picture: Picture, folder: Path, trained: Sequence[Trained], scored: Sequence[tuple[dict[str, Any], Scored]]
) -> None:
    """Draw one of the recipe's pictures of each model's first seed, or of its scores."""
    wanted = [(row, run) for row, run in scored if not picture.models or row["model"] in picture.models]
    if picture.kind in ("attention", "vectors"):
        names = picture.models or [trained[0].variant.name]
        one = next((one for one in trained if one.variant.name == names[0]), None)
        if one is not None:
            pictures.of_model(picture, folder, Seq2Seq.load(one.outcome.model, engine="torch"))
    elif picture.kind == "by_length":
        runs = {row["model"]: run[:3] for row, run in wanted if row["set"] == picture.row}
        pictures.by_length(picture, folder, runs)
    else:
        pictures.bars(picture, folder, [row for row, _ in wanted])


# What else results tell


def _model(one: Trained) -> dict[str, Any]:
    weights = one.outcome.model / "model.safetensors"
    return {
        "name": one.variant.name,
        "about": one.variant.about,
        "seed": one.seed,
        "preset": one.options.preset,
        "megabytes": round(weights.stat().st_size / 1e6, 1),
        "minutes": round(one.outcome.minutes, 1),
        "commit": one.commit,
        "threads": one.threads,
        "load": None if one.load is None else round(one.load, 1),
        "epochs": round(one.outcome.epochs, 2),
        "updates": one.outcome.updates,
        "development": {"metric": one.outcome.metric, "best": one.outcome.best},
    }


def _load() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _about(recipe: Recipe, folder: Path, command: str) -> dict[str, Any]:
    return {
        "recipe": folder.name,
        "title": recipe.title,
        "command": command,
        "commit": _commit(folder),  # of the scoring; each model has that of its training
        "version": __version__,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "tried": recipe.tried,
    }


def _begun_at(model: Path, folder: Path) -> str:
    """The commit at which a training was begun, also where it goes on at a later one."""
    note = model.with_name(f"{model.name}.commit.txt")
    if not model.is_dir():
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(_commit(folder) + "\n", encoding="utf-8", newline="\n")
    return note.read_text("utf-8").strip() if note.is_file() else ""


def _commit(folder: Path) -> str:
    """The commit that is checked out, marked where code or recipes differ from it; empty outside git."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, encoding="utf-8")
        return done.stdout.strip()

    try:
        changed = [
            line for line in git("status", "--porcelain").splitlines() if line.endswith((".py", ".toml", ".cpp"))
        ]
        return git("rev-parse", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
