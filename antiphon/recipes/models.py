"""A recipe's models: their configurations, their training, and the pairs that one writes for another."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from antiphon.config import loading, sections
from antiphon.data.corpus import read_sources
from antiphon.files import write_all
from antiphon.progress import Reporter
from antiphon.recipes import provenance
from antiphon.recipes.pairs import resolve
from antiphon.recipes.recipe import Recipe, Variant, Written
from antiphon.seq2seq import Seq2Seq
from antiphon.training import loop, warm_start


class Trained(NamedTuple):
    """One model of a recipe: a variant trained with a seed."""

    variant: Variant
    config: sections.Config
    outcome: loop.Outcome
    commit: str  # at which the training began
    load: float | None  # of the machine at the training's end, this process included
    threads: int  # of the training

    @property
    def seed(self) -> int:
        return self.config.train.seed


def configure(
    recipe: Recipe, variant: Variant, seed: int, files: Mapping[str, Path], out: Path, sets: Sequence[str] = ()
) -> sections.Config:
    """The configuration of one model: preset, recipe, variant, seed, `sets`, each over the one before.

    Args:
        recipe, variant: what is configured.
        seed: of its training.
        files: paths by the names that the recipe uses; see `pairs.collect`.
        out: the folder of models, with the one that the variant starts from.
        sets: `section.key=value`.

    Raises:
        UserError: a section, a key or a value is wrong.
    """
    over: dict[str, dict[str, Any]] = {}
    for layer in (recipe.config, variant.config, {"train": {"seed": seed}}):
        for section, values in layer.items():
            over[section] = over.get(section, {}) | values
    data = over.get("data", {})
    for key in ("train", "valid"):
        if key in data:
            data[key] = [resolve(spec, variant.name, files) for spec in data[key]]
    start = [f"train.start={path(out, variant.start, seed)}"] if variant.start else []
    return loading.load(variant.preset or recipe.preset, sets=[*start, *sets], over=over, started=warm_start.options)


def path(out: Path, name: str, seed: int) -> Path:
    """The folder of a model below the folder of all models."""
    return out / name / f"seed{seed}"


def train(
    variant: Variant, config: sections.Config, model: Path, folder: Path, command: str, reporter: Reporter
) -> Trained:
    """Train one model, or resume its training; a model that is trained already is kept.

    Args:
        variant, config: what is trained.
        model: its folder.
        folder: the recipe's, for the commit.
        command: for the model card.
        reporter: where progress goes.

    Raises:
        UserError: the training fails.
    """
    commit = provenance.commit_at_start(model, folder)
    outcome = loop.train(config, model, command, reporter)
    threads = config.train.threads or torch.get_num_threads()
    return Trained(variant, config, outcome, commit, provenance.load(), threads)


def open_model(models: Sequence[Trained]) -> Seq2Seq:
    """Load a model, or an ensemble of several."""
    folders = [model.outcome.model for model in models]
    return Seq2Seq.load(folders[0]) if len(folders) == 1 else Seq2Seq.ensemble(folders)


def write_pairs(
    part: Written, folder: Path, files: Mapping[str, Path], trained: Sequence[Trained], reporter: Reporter
) -> Path:
    """Let trained models write one side of pairs; texts for which they write nothing are left out.

    Args:
        part: what is written, and by which model.
        folder: of the recipe's files.
        files: paths by the names that the recipe uses.
        trained: the models trained so far.
        reporter: where progress goes.

    Returns:
        The file of pairs. If the same models wrote it before, it is kept.

    Raises:
        UserError: the texts cannot be read, or the pairs cannot be written.
    """
    pairs = folder / part.file
    mark = pairs.with_name(f"{pairs.name}.json")
    writers = [model for model in trained if model.variant.name == part.model][: part.ensemble]
    trainings = [(model.seed, model.outcome.updates, model.outcome.best) for model in writers]
    origin = json.dumps([part.model_dump(), trainings], ensure_ascii=False) + "\n"
    if pairs.is_file() and mark.is_file() and mark.read_text("utf-8") == origin:
        return pairs
    texts = list(read_sources(resolve(part.texts, part.model, files)))
    other = "target" if part.side == "source" else "source"
    lines: list[str] = []
    results = open_model(writers).stream(texts, sample=part.sample, **part.search)
    for text, result in zip(texts, results, strict=True):
        reporter.show("writing", len(lines), len(texts), f"{part.file}, by {part.model}")
        if result.text.strip() and "\0" not in result.text:  # sampled bytes can be anything
            lines.append(json.dumps({part.side: result.text, other: text}, ensure_ascii=False) + "\n")
    write_all(folder, {pairs.name: "".join(lines).encode(), mark.name: origin.encode()}, last=mark.name)
    return pairs
