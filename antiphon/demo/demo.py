"""The demo: a model that translates dates between ten languages, from no data to scores and a picture.

The data are generated (see `dates`), so nothing is downloaded. Days and language pairs of the tests are never trained
on.
"""

import json
import platform
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from antiphon.config import loading, sections
from antiphon.data.corpus import Pair, read
from antiphon.demo import dates
from antiphon.evaluation import metrics, plots
from antiphon.files import whole_folder, write
from antiphon.progress import Reporter
from antiphon.result import Result
from antiphon.seq2seq import Seq2Seq
from antiphon.training.loop import Outcome, train
from antiphon.version import __version__

SPLITS = {"test": "unseen dates", "unseen_pairs": "unseen language pairs"}
CROSSING = re.compile(r"<2(de|fr|it)> \w+day, \w+ \d\d, \d{4}")  # month before day, to languages with day before month
PICTURE, RESULTS = "attention.png", "results.json"


def run(out: Path, sets: Iterable[str], command: str, reporter: Reporter) -> Iterator[str]:
    """Train the demo's model, unless it is trained, and show what it can do.

    Args:
        out: the model folder; `data/`, `attention.png` and `results.json` are put beside the model.
        sets: `section.key=value` strings over the preset `demo`.
        command: the command that does this.
        reporter: where progress goes.

    Yields:
        The lines to print: scores, examples, and what to type next.

    Raises:
        UserError: as `training.loop.train`.
    """
    data = out / "run" / "dates"
    corpora = {"train": [str(data / "train.tsv")], "valid": [str(data / "valid.tsv")]}
    options = loading.load("demo", sets=sets, over={"data": corpora, "text": {"symbols": dates.symbols()}})
    outcome = train(options, out, command, reporter, setup=partial(_with_data, data))
    model = Seq2Seq.load(out, options.train.device, options.train.threads)
    tests = {name: list(read(str(data / f"{name}.tsv"))) for name in SPLITS}
    outputs = {name: _generate(model, pairs, reporter, SPLITS[name]) for name, pairs in tests.items()}
    scores = {name: _score(tests[name], outputs[name]) for name in SPLITS}
    yield ""
    yield f"{'':24}  pairs  exactly right"
    for name, score in scores.items():
        yield f"{SPLITS[name]:24}  {len(tests[name]):5,}  {score.value:11.1f} %"
    yield f"trained in {outcome.minutes * 60:.0f} seconds, {outcome.updates:,} updates"
    yield ""
    yield from _examples(tests["test"], outputs["test"])
    _draw(out / PICTURE, tests["test"], outputs["test"])
    _write_results(out / RESULTS, command, outcome, scores, options)
    yield from _next(out, tests["test"][0])


def _with_data(data: Path, options: sections.Config) -> sections.Config:
    """Write the data, all files or none, unless they are there."""
    if not data.is_dir():
        with whole_folder(data) as unfinished:
            dates.write(unfinished)
    return options


def _generate(model: Seq2Seq, pairs: list[Pair], reporter: Reporter, stage: str) -> list[Result]:
    results = []
    for result in model.stream([pair.source for pair in pairs]):
        results.append(result)
        reporter.show(stage, len(results), len(pairs))
    reporter.close()
    return results


def _score(pairs: list[Pair], results: list[Result]) -> metrics.Score:
    texts, references = [r.text for r in results], [pair.target for pair in pairs]
    return metrics.measure(["exact_match"], texts, references)["exact_match"]


def _examples(pairs: list[Pair], results: list[Result]) -> Iterator[str]:
    """An unseen date for each target language."""
    shown = {pair.source.split()[0]: (pair, result) for pair, result in zip(pairs, results, strict=True)}
    for _, (pair, result) in sorted(shown.items()):
        wrong = "" if result.text == pair.target else f"   WRONG, it is {pair.target}"
        yield f"{pair.source}  ->  {result.text}{wrong}"


def _draw(path: Path, pairs: list[Pair], results: list[Result]) -> None:
    """Draw what an output attends to: one in which month and day change places, in letters that every font has."""
    shown = list(zip(pairs, results, strict=True))
    crossing = [(pair, r) for pair, r in shown if CROSSING.fullmatch(pair.source)]
    latin = [(pair, r) for pair, r in shown if max(pair.source + pair.target) < "\u0250"]
    pair, result = (crossing or latin or shown)[0]
    if result.attention is not None:
        title = f"{pair.source} → {result.text}"
        plots.attention(path, result.source_pieces, result.pieces, result.attention, title)


def _write_results(
    path: Path, command: str, outcome: Outcome, scores: dict[str, metrics.Score], options: sections.Config
) -> None:
    results: dict[str, Any] = {
        "command": command,
        "scores": {name: asdict(score) for name, score in scores.items()},
        "seconds": round(outcome.minutes * 60, 3),
        "updates": outcome.updates,
        "seed": options.train.seed,
        "machine": f"{platform.machine()} {platform.system()}",
        "versions": {"antiphon": __version__, "python": platform.python_version()}
        | {name: version(name) for name in ("torch", "babel", "numpy", "tokenizers")},
    }
    write(path, json.dumps(results, ensure_ascii=False, indent=1) + "\n")


def _next(out: Path, pair: Pair) -> Iterator[str]:
    folder, test = shlex.quote(str(out)), shlex.quote(str(out / "run" / "dates" / "test.tsv"))
    yield ""
    yield f"the model is in {out}, what it attends to in {out / PICTURE}, the scores in {out / RESULTS}"
    yield "next:"
    yield f"  echo {shlex.quote(pair.source)} | antiphon generate {folder}"
    yield f"  antiphon evaluate {folder} --data {test} --metric exact_match"
    yield "  antiphon train --train your-pairs.tsv --out your-model"
