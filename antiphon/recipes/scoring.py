"""Scoring the rows of a recipe: the outputs of a model or an ensemble for a set of pairs, as published figures are."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from antiphon import rerank
from antiphon.data.corpus import read, read_lines
from antiphon.errors import UserError, near
from antiphon.evaluation import metrics
from antiphon.evaluation.metrics import Score
from antiphon.files import write
from antiphon.progress import Reporter
from antiphon.recipes.corpora.index import CORPORA
from antiphon.recipes.corpora.measure import Measure
from antiphon.recipes.models import Trained, open_model
from antiphon.recipes.pairs import resolve
from antiphon.recipes.recipe import Recipe, Row
from antiphon.result import Output, Result
from antiphon.seq2seq import Seq2Seq

PERPLEXITIES = ("perplexity", "character_perplexity", "word_perplexity")  # a piece, a character, a word


class Scored(NamedTuple):
    """The outputs of one model, or of an ensemble of its seeds, for one set, and their scores."""

    sources: list[str]
    references: list[list[str]]
    outputs: list[str]
    scores: list[Score]


class ScoredRow(NamedTuple):
    """A row of a recipe for one model, with a run for each seed, or one for an ensemble."""

    row: Row
    groups: list[list[Trained]]  # the seeds of each run
    runs: list[Scored]

    @property
    def model(self) -> str:
        return self.groups[0][0].variant.name


def examples(spec: str, source: str = "", target: str = "") -> list[dict[str, Any]]:
    """The pairs of a set as objects: a JSON-lines file's own, or source and target."""
    if spec.endswith(".jsonl"):
        return [json.loads(line) for line in read_lines(spec)]
    return [pair._asdict() for pair in read(spec, source, target)]


def check(recipe: Recipe, folder: Path) -> None:
    """Refuse an unknown corpus and unknown metrics before hours of training.

    Raises:
        UserError: a name is unknown.
    """
    if recipe.corpus and recipe.corpus not in CORPORA:
        raise UserError(f"{folder}: no corpus is called '{recipe.corpus}'{near(recipe.corpus, CORPORA)}")
    known = [*metrics.METRICS, *PERPLEXITIES, *_measures(recipe)]
    for name in chain(recipe.metrics, *(row.metrics for row in recipe.scores)):
        if name not in known:
            raise UserError(f"{folder}: no metric is called '{name}'{near(name, known)}")


def score_row(
    recipe: Recipe, row: Row, trained: Sequence[Trained], files: Mapping[str, Path], out: Path, reporter: Reporter
) -> list[ScoredRow]:
    """Score a row of a recipe with each of its models, and write their outputs.

    Args:
        recipe, row: the set of pairs, the search and the metrics.
        trained: the models.
        files: paths by the names that the recipe uses.
        out: the folder of outputs.
        reporter: where progress goes.

    Returns:
        An entry for each model; none for a model that the row leaves out, or that needs others that were not trained.

    Raises:
        UserError: pairs cannot be read, or outputs cannot be written.
    """
    rescorers = [model for model in trained if model.variant.name == row.rescored_by]
    if row.rescored_by and not rescorers:
        return []
    scored = []
    for name in dict.fromkeys(model.variant.name for model in trained):
        seeds = [model for model in trained if model.variant.name == name]
        if (row.models and name not in row.models) or len(seeds) < row.ensemble:
            continue
        reporter.show("scoring", recipe.scores.index(row), len(recipe.scores), f"{row.name}, {name}")
        groups = [seeds[: row.ensemble]] if row.ensemble > 1 else [[seed] for seed in seeds]
        runs = []
        for group in groups:
            runs.append(score(recipe, row, group, files, rescorers))
            _write_outputs(out, row, group, runs[-1].outputs)
        scored.append(ScoredRow(row, groups, runs))
    return scored


def score(
    recipe: Recipe, row: Row, models: Sequence[Trained], files: Mapping[str, Path], rescorers: Sequence[Trained] = ()
) -> Scored:
    """Generate outputs for one set of pairs, rescore them where the row says so, and compute the metrics.

    Args:
        recipe, row: the set of pairs, the search and the metrics.
        models: a model, or the members of an ensemble.
        files: paths by the names that the recipe uses.
        rescorers: models that together choose among the outputs of each source.
    """
    model = open_model(models)
    fields = model.config.data.source, model.config.data.target
    pairs = examples(resolve(row.pairs, models[0].variant.name, files), *fields)
    texts = [_pair(pair, *fields)[0] for pair in pairs]
    results = model.generate(texts, sample=row.sample, **row.search)
    if rescorers:
        ranked = [[text] for text in _rescored(row, texts, results, open_model(rescorers))]
    else:
        ranked = [_ranked(recipe, row, pair, result) for pair, result in zip(pairs, results, strict=True)]
    outputs = [text for several in ranked for text in several]
    items = [pair for pair, several in zip(pairs, ranked, strict=True) for _ in several]  # one for each output
    sources = [_pair(item, *fields)[0] for item in items]
    references = [_pair(item, *fields)[1] for item in items]
    scores = [
        _score(name, _measures(recipe), row, model, items, Scored(sources, references, outputs, []))
        for name in row.metrics or recipe.metrics
    ]
    if row.tokenised:
        scores.append(_tokenised_bleu(outputs, files[row.tokenised], row.language))
    return Scored(sources, references, outputs, scores)


def perplexity(model: Seq2Seq, sources: Sequence[str], targets: Sequence[str], name: str = "perplexity") -> Score:
    """exp of the negative log p of all targets over the number of their units.

    Args:
        model: gives the log p.
        sources, targets: pairs.
        name: one of `PERPLEXITIES`. Pieces and characters include the end of a target, words do not.
    """
    results = model.score(sources, targets)
    if name == "perplexity":
        counts = [len(result.token_log_probs) for result in results]
        unit = f"{model.config.text.kind} piece|eos:counted"
    elif name == "character_perplexity":
        counts, unit = [len("".join(text.split())) + 1 for text in targets], "character, spaces not|eos:counted"
    else:
        counts, unit = [len(text.split()) for text in targets], "word between spaces|eos:not counted"
    ends = name == "word_perplexity"
    nll = -sum(result.log_prob - (result.token_log_probs[-1] if ends else 0.0) for result in results)
    return Score(name, math.exp(nll / sum(counts)), f"{name}|unit:{unit}", False, scale="from 1")


def _measures(recipe: Recipe) -> Mapping[str, Measure]:
    """The metrics that the recipe's corpus defines."""
    return CORPORA[recipe.corpus].measures if recipe.corpus else {}


def _ranked(recipe: Recipe, row: Row, item: Mapping[str, Any], result: Result) -> list[str]:
    """The best outputs of a source, each once, after a penalty for each fault that the corpus counts."""
    outputs: dict[str, Output] = {}
    for output in result.outputs:
        outputs.setdefault(output.text, output)
    ranked = list(outputs.values())
    faults = CORPORA[recipe.corpus].faults if recipe.corpus else None
    if row.faults and faults:
        ranked.sort(key=lambda output: (not output.finished, row.faults * faults(item, output.text) - output.score))
    return [output.text for output in ranked[: row.top]]


def _rescored(row: Row, sources: Sequence[str], results: Sequence[Result], rescorer: Seq2Seq) -> list[str]:
    """The best of each n-best list by its own log p and the rescorer's (Sutskever 2014, section 3.2)."""
    entries = [
        rerank.Entry(number, output.text, output.log_prob)
        for number, result in enumerate(results)
        for output in result.outputs
    ]
    ranked = rerank.rerank(sources, entries, [rerank.of_model(rescorer)], [1 - row.weight, row.weight])
    return [group[0].entry.text for group in ranked]


def _pair(item: Mapping[str, Any], source: str, target: str) -> tuple[str, list[str]]:
    """An example's source and references; `source` and `target` are the fields' names, empty for these very words."""
    references = item[target or "target"]
    return str(item[source or "source"]), [references] if isinstance(references, str) else list(references)


def _score(
    name: str, measures: Mapping[str, Measure], row: Row, model: Seq2Seq, items: list[dict[str, Any]], texts: Scored
) -> Score:
    """One metric: the corpus's own, a perplexity, or one of `evaluation.metrics`."""
    if name in measures:
        return measures[name](items, texts.outputs)
    if name in PERPLEXITIES:
        return perplexity(model, texts.sources, [group[0] for group in texts.references], name)
    scores = metrics.measure([name], texts.outputs, texts.references, language=row.language, lowercase=row.lowercase)
    return scores[name]


def _tokenised_bleu(outputs: Sequence[str], references: Path, language: str) -> Score:
    score = metrics.tokenised_bleu(metrics.moses(outputs, language), list(read_lines(references)))
    return replace(score, name="tokenised bleu")


def _write_outputs(out: Path, row: Row, group: Sequence[Trained], outputs: Sequence[str]) -> None:
    """Keep the outputs, one a line, to look at and to compare."""
    out.mkdir(parents=True, exist_ok=True)
    seeds = "+".join(str(model.seed) for model in group)
    name = "".join(c if c.isalnum() else "-" for c in f"{row.name}.{group[0].variant.name}.seed{seeds}")
    write(out / f"{name}.txt", "".join(" ".join(text.split()) + "\n" for text in outputs))
