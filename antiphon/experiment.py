"""Running a recipe: fetch, prepare, train each model once a seed, score each row, write `results.json`.

Everything below the output folder goes on where it stopped: files that are fetched, pairs that are prepared and
trainings that are finished are not made again.
"""

import json
import math
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from antiphon import __version__, config, metrics, pictures, rerank, start
from antiphon.corpora import CORPORA
from antiphon.corpus import read, read_lines, read_sources
from antiphon.errors import UserError, near
from antiphon.fetch import fetch
from antiphon.machine import processor
from antiphon.metrics import Score
from antiphon.progress import Reporter
from antiphon.recipe import Picture, Recipe, Row, Variant, Written, load
from antiphon.result import Candidate, Result
from antiphon.seq2seq import Seq2Seq
from antiphon.train import Outcome, train

RESULTS = "results.json"
PREPARED = "prepared"
PERPLEXITIES = ("perplexity", "character_perplexity", "word_perplexity")  # of pieces, characters, words; see there


class Trained(NamedTuple):
    """One model of a recipe: a variant trained with a seed."""

    variant: Variant
    seed: int
    options: config.Config
    outcome: Outcome
    load: float | None  # processes that wanted a processor at the training's end, this one included


class Scored(NamedTuple):
    """One set as one model, or an ensemble of seeds, writes it."""

    sources: list[str]
    references: list[list[str]]
    outputs: list[str]
    scores: list[Score]


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
        What `results.json` holds. Under `torchrun` the first process fetches and scores; the others have nothing.

    Raises:
        UserError: a file cannot be had, a name leads nowhere, a training fails.
    """
    reporter = reporter or Reporter()
    recipe = load(folder)
    known = [variant.name for variant in recipe.models]
    for name in only:
        if name not in known:
            raise UserError(f"{folder}: no model is called '{name}'{near(name, known)}")
    wanted = {*only, *(part.model for variant in recipe.models if variant.name in only for part in variant.written)}
    wanted |= {variant.start for variant in recipe.models if variant.name in only}
    chosen = [variant for variant in recipe.models if not only or variant.name in wanted]
    first = os.environ.get("RANK", "0") == "0"
    files = _data(recipe, out, reporter) if first else _placed(out / "data")
    commit = _begun_at(out, folder) if first else ""
    one_seed = any(text.startswith("train.seed=") for text in sets)
    trained: list[Trained] = []
    for variant in chosen:
        for part in variant.written if first else ():
            files[part.file] = _write_side(part, out, files, trained, reporter)
        for seed in (variant.seeds or recipe.seeds)[: 1 if one_seed else None]:
            begun = [f"train.start={out / 'models' / variant.start / f'seed{seed}'}"] if variant.start else []
            options = configured(recipe, variant, seed, files, [*begun, *sets])
            reporter.say(f"{variant.name}, seed {options.train.seed}")
            outcome = train(options, out / "models" / variant.name / f"seed{seed}", command, reporter)
            trained.append(Trained(variant, seed, options, outcome, _load()))
    if not first:
        return {}
    scored = [found for row in recipe.scores for found in _row(recipe, row, trained, files, out, reporter)]
    rows = [found for found, _ in scored]
    results = _about(recipe, folder, command, commit) | {
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


def configured(
    recipe: Recipe, variant: Variant, seed: int, files: Mapping[str, Path], sets: Sequence[str] = ()
) -> config.Config:
    """The configuration of one model: preset, recipe, variant, seed, `sets`, each over the one before."""
    over: dict[str, dict[str, Any]] = {}
    for layer in (recipe.config, variant.config, {"train": {"seed": seed}}):
        for section, values in layer.items():
            over[section] = over.get(section, {}) | values
    data = over.get("data", {})
    for key in ("train", "valid"):
        if key in data:
            data[key] = [_at(spec, variant.name, files) for spec in data[key]]
    return config.load(variant.preset or recipe.preset, sets=sets, over=over, started=start.options)


# Data


def _data(recipe: Recipe, out: Path, reporter: Reporter) -> dict[str, Path]:
    """Fetch the corpus's files and turn them into pairs; returns where each is, by its name."""
    fetched = {}
    if recipe.corpus and recipe.corpus not in CORPORA:
        raise UserError(f"no corpus is called '{recipe.corpus}'{near(recipe.corpus, CORPORA)}")
    pack = CORPORA[recipe.corpus].pack if recipe.corpus else None
    for name, file in recipe.files.items():
        reporter.show("fetching", 0, None, name)
        fetched[name] = fetch(name, file, out / "data", pack)
    prepared = out / "data" / PREPARED
    if recipe.corpus and not prepared.is_dir():
        reporter.show("preparing", 0, None, recipe.corpus)
        unfinished = Path(tempfile.mkdtemp(dir=out / "data"))
        try:
            CORPORA[recipe.corpus].prepare(fetched, unfinished, **recipe.prepare)
            if not prepared.is_dir():  # another process may have been as far
                unfinished.rename(prepared)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    reporter.close()
    return _placed(out / "data")


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
    """Let a trained model write one side of pairs; texts for which it writes nothing are left out."""
    path = out / "data" / part.file
    if path.is_file():
        return path
    texts = list(read_sources(_at(part.texts, part.model, files)))
    model = opened([next(one for one in trained if one.variant.name == part.model).outcome.model])
    other = "target" if part.side == "source" else "source"
    lines: list[str] = []
    for text, result in zip(texts, model.stream(texts, sample=part.sample, **part.search), strict=True):
        reporter.show("writing", len(lines), len(texts), f"{part.file}, by {part.model}")
        if result.text.strip() and "\0" not in result.text:  # sampled bytes may be any
            lines.append(json.dumps({part.side: result.text, other: text}, ensure_ascii=False) + "\n")
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(lines), encoding="utf-8", newline="\n")
    partial.replace(path)
    return path


def examples(spec: str, source: str = "", target: str = "") -> list[dict[str, Any]]:
    """The pairs of a set as objects: a JSON-lines file's own, or source and target."""
    if spec.endswith(".jsonl"):
        return [json.loads(line) for line in read_lines(spec)]
    return [pair._asdict() for pair in read(spec, source, target)]


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
        groups = [seeds[: row.ensemble]] if row.ensemble > 1 else [[one] for one in seeds]
        runs = []
        for group in groups:
            reporter.show("scoring", 0, None, f"{row.name}, {name}")
            judges = [one for one in trained if one.variant.name == row.rescored_by]
            runs.append(score(recipe, row, group, files, judges))
            _write_outputs(out, row, group, runs[-1].outputs)
        goals: dict[str, Any] = {"published": {}, "reach": {}} if recipe.average else {}  # they are the mean's
        found.append((_summary(row.model_copy(update=goals), name, groups, runs), runs[0]))
    return found


def score(
    recipe: Recipe, row: Row, group: Sequence[Trained], files: Mapping[str, Path], judges: Sequence[Trained] = ()
) -> Scored:
    """Generate from one set, let the judges choose again if there are any, and measure."""
    model = opened([one.outcome.model for one in group])
    data = model.config.data
    given = examples(_at(row.pairs, group[0].variant.name, files), data.source, data.target)
    texts = [_pair(item, data.source, data.target)[0] for item in given]
    results = model.generate(texts, sample=row.sample, **row.search)
    if judges:
        ranked = [[text] for text in _chosen_again(row, texts, results, judges)]
    else:
        ranked = [_ranked(recipe, row, item, result) for item, result in zip(given, results, strict=True)]
    outputs = [text for some in ranked for text in some]
    items = [item for item, some in zip(given, ranked, strict=True) for _ in some]  # one for each output
    pairs = [_pair(item, data.source, data.target) for item in items]
    sources, references = [source for source, _ in pairs], [wanted for _, wanted in pairs]
    scores = [
        _measured(name, recipe, row, model, items, sources, references, outputs)
        for name in row.metrics or recipe.metrics
    ]
    if row.tokenised:
        tokens = list(read_lines(files[row.tokenised]))
        found = metrics.tokenised_bleu(metrics.moses(outputs, row.language), tokens)
        scores.append(Score("tokenised bleu", found.value, found.signature, True, found.note))
    return Scored(sources, references, outputs, scores)


def _ranked(recipe: Recipe, row: Row, item: Mapping[str, Any], result: Result) -> list[str]:
    """The best outputs of a source, where their scores are lessened by what is wrong with them."""
    candidates: list[Result | Candidate] = [result, *result.candidates]
    found: dict[str, Result | Candidate] = {}
    for one in candidates:
        found.setdefault(one.text, one)
    ranked = list(found.values())
    faults = CORPORA[recipe.corpus].faults if recipe.corpus else None
    if row.faults and faults:
        ranked.sort(key=lambda one: (not one.finished, row.faults * faults(item, one.text) - one.score))
    return [one.text for one in ranked[: row.top]]


def _chosen_again(row: Row, sources: Sequence[str], results: Sequence[Result], judges: Sequence[Trained]) -> list[str]:
    """The best of each n-best list by its own log p and the judges' (Sutskever 2014, section 3.7)."""
    entries = []
    for number, result in enumerate(results):
        entries.append(rerank.Entry(number, result.text, result.log_prob))
        entries += [rerank.Entry(number, other.text, other.log_prob) for other in result.candidates]
    scorer = rerank.of_model(opened([one.outcome.model for one in judges]))
    ranked = rerank.rerank(sources, entries, [scorer], [1 - row.weight, row.weight])
    return [group[0].entry.text for group in ranked]


def opened(folders: Sequence[Path]) -> Seq2Seq:
    """A model, or an ensemble of several."""
    return Seq2Seq.load(folders[0]) if len(folders) == 1 else Seq2Seq.ensemble(folders)


def _pair(item: Mapping[str, Any], source: str, target: str) -> tuple[str, list[str]]:
    """An example's source and references."""
    wanted = item[target or "target"]
    return str(item[source or "source"]), [wanted] if isinstance(wanted, str) else list(wanted)


def _measured(
    name: str,
    recipe: Recipe,
    row: Row,
    model: Seq2Seq,
    items: list[dict[str, Any]],
    sources: list[str],
    references: list[list[str]],
    outputs: list[str],
) -> Score:
    measures = CORPORA[recipe.corpus].measures if recipe.corpus else {}
    if name in measures:
        return measures[name](items, outputs)
    if name in PERPLEXITIES:
        return perplexity(model, sources, [group[0] for group in references], name)
    return metrics.measure([name], outputs, references, language=row.language)[name]


def perplexity(model: Seq2Seq, sources: Sequence[str], targets: Sequence[str], name: str = "perplexity") -> Score:
    """exp of the negative log p of all targets over the number of their units; see `PERPLEXITIES`."""
    results = model.score(sources, targets)
    if name == "perplexity":
        counts, unit = (
            [len(result.token_log_probs) for result in results],
            f"{model.config.text.kind} piece|eos:counted",
        )
    elif name == "character_perplexity":
        counts, unit = [len("".join(text.split())) + 1 for text in targets], "character, spaces not|eos:counted"
    else:
        counts, unit = [len(text.split()) for text in targets], "word between spaces|eos:not counted"
    ends = name == "word_perplexity"
    nll = -sum(result.log_prob - (result.token_log_probs[-1] if ends else 0.0) for result in results)
    return Score(name, math.exp(nll / sum(counts)), f"{name}|unit:{unit}", False)


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
        "search": groups[0][0].options.search.model_dump() | row.search,
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
        "load": None if one.load is None else round(one.load, 1),
        "epochs": round(one.outcome.epochs, 2),
        "updates": one.outcome.updates,
        "development": {"metric": one.outcome.metric, "best": one.outcome.best},
    }


def _load() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _about(recipe: Recipe, folder: Path, command: str, commit: str) -> dict[str, Any]:
    import torch

    return {
        "recipe": folder.name,
        "title": recipe.title,
        "command": command,
        "commit": commit,
        "version": __version__,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "processes": int(os.environ.get("WORLD_SIZE", "1")),
            "threads": torch.get_num_threads(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "tried": recipe.tried,
    }


def _begun_at(out: Path, folder: Path) -> str:
    """The commit at which this run was begun, also where it goes on at a later one."""
    note = out / "commit.txt"
    if not note.is_file():
        note.write_text(_commit(folder) + "\n", encoding="utf-8", newline="\n")
    return note.read_text("utf-8").strip()


def _commit(folder: Path) -> str:
    """The commit that is checked out, marked where files other than results differ from it; empty outside git."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, encoding="utf-8")
        return done.stdout.strip()

    try:
        changed = [line for line in git("status", "--porcelain", "-uno").splitlines() if not line.endswith(RESULTS)]
        return git("rev-parse", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
