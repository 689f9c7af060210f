"""Scoring one row of a recipe: a set, as a model or an ensemble writes it, measured as the published figure was."""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from antiphon import rerank
from antiphon.data.corpus import read, read_lines
from antiphon.errors import UserError, near
from antiphon.evaluation import metrics
from antiphon.evaluation.metrics import Score
from antiphon.recipes.corpora.index import CORPORA
from antiphon.recipes.recipe import Recipe, Row
from antiphon.result import Candidate, Result
from antiphon.seq2seq import Seq2Seq

PERPLEXITIES = ("perplexity", "character_perplexity", "word_perplexity")  # of pieces, characters, words; see there


class Scored(NamedTuple):
    """One set as one model, or an ensemble of seeds, writes it."""

    sources: list[str]
    references: list[list[str]]
    outputs: list[str]
    scores: list[Score]


def examples(spec: str, source: str = "", target: str = "") -> list[dict[str, Any]]:
    """The pairs of a set as objects: a JSON-lines file's own, or source and target."""
    if spec.endswith(".jsonl"):
        return [json.loads(line) for line in read_lines(spec)]
    return [pair._asdict() for pair in read(spec, source, target)]


def check(recipe: Recipe, folder: Path) -> None:
    """Refuse a corpus and metrics that nobody knows, before hours of training.

    Raises:
        UserError: a name is not known.
    """
    if recipe.corpus and recipe.corpus not in CORPORA:
        raise UserError(f"{folder}: no corpus is called '{recipe.corpus}'{near(recipe.corpus, CORPORA)}")
    own = CORPORA[recipe.corpus].measures if recipe.corpus else {}
    known = [*metrics.HIGHER_IS_BETTER, *PERPLEXITIES, *own]
    for name in chain(recipe.metrics, *(row.metrics for row in recipe.scores)):
        if name not in known:
            raise UserError(f"{folder}: no metric is called '{name}'{near(name, known)}")


def score(
    recipe: Recipe, row: Row, models: Sequence[Path], pairs: str, tokenised: Path | None, judges: Sequence[Path] = ()
) -> Scored:
    """Generate from one set, let the judges choose again if there are any, and measure.

    Args:
        recipe: whose metrics and faults are used.
        row: how outputs are looked for.
        models: a model's folder, or those of an ensemble.
        pairs: the set.
        tokenised: references as published scores have them.
        judges: models that together rank the search's outputs again.
    """
    model = opened(models)
    data = model.config.data
    given = examples(pairs, data.source, data.target)
    texts = [_pair(item, data.source, data.target)[0] for item in given]
    results = model.generate(texts, sample=row.sample, **row.search)
    if judges:
        ranked = [[text] for text in _chosen_again(row, texts, results, judges)]
    else:
        ranked = [_ranked(recipe, row, item, result) for item, result in zip(given, results, strict=True)]
    outputs = [text for some in ranked for text in some]
    items = [item for item, some in zip(given, ranked, strict=True) for _ in some]  # one for each output
    sides = [_pair(item, data.source, data.target) for item in items]
    sources, references = [source for source, _ in sides], [wanted for _, wanted in sides]
    scores = [
        _measured(name, recipe, row, model, items, sources, references, outputs)
        for name in row.metrics or recipe.metrics
    ]
    if tokenised:
        tokens = list(read_lines(tokenised))
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


def _chosen_again(row: Row, sources: Sequence[str], results: Sequence[Result], judges: Sequence[Path]) -> list[str]:
    """The best of each n-best list by its own log p and the judges' (Sutskever 2014, section 3.2)."""
    entries = []
    for number, result in enumerate(results):
        entries.append(rerank.Entry(number, result.text, result.log_prob))
        entries += [rerank.Entry(number, other.text, other.log_prob) for other in result.candidates]
    scorer = rerank.of_model(opened(judges))
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
    return metrics.measure([name], outputs, references, language=row.language, lowercase=row.lowercase)[name]


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
