"""Commands that make models: train, check, tune, average, export, demo.

Modules are imported where they are used, so that help and errors come at once.
"""

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from antiphon.cli import flags
from antiphon.cli.output import to_json
from antiphon.cli.program import command, first, given, typed
from antiphon.errors import ReportedElsewhere, UserError
from antiphon.words import counted

if TYPE_CHECKING:
    from antiphon.config.sections import Config
    from antiphon.data.kind import Kind
    from antiphon.progress import Reporter
    from antiphon.training.plan import Plan

    Measure = Callable[[Config, int, int], float]


@dataclass(frozen=True)
class Options:
    """What a command was given of data and options."""

    train: list[str] | None
    valid: list[str] | None
    source: str | None
    target: str | None
    preset: str
    files: list[Path] | None
    sets: list[str] | None
    start: Path | None = None
    minutes: float | None = None

    def load(self, plan: "Plan | None" = None, more: Sequence[str] = ()) -> "Config":
        """The configuration, over the options that were chosen for the data, and with more of them over all others."""
        from antiphon.config import loading

        preset, under = (plan.preset, plan.values) if plan else ("", None)
        sets = [*(self.sets or ()), *more]
        return loading.load(self.preset or preset, self.files or (), sets, self._flags, _started, under)

    @property
    def chosen(self) -> dict[str, dict[str, Any]]:
        """The options that were given, by section and key."""
        from antiphon.config import loading

        return loading.given(self.files or (), self.sets or (), self._flags)

    @property
    def _flags(self) -> dict[str, dict[str, Any]]:
        start = None if self.start is None else str(self.start)
        return {
            "data": given(train=self.train or None, valid=self.valid or None, source=self.source, target=self.target),
            "train": given(start=start, minutes=self.minutes),
        }


def _started(model: str) -> "Config":
    from antiphon.training import warm_start

    return warm_start.options(model)


def _options(values: dict[str, Any]) -> Options:
    return Options(**values)


@command
@flags.data(_options)
def train(
    options: Options,
    out: flags.NewModel,
    quiet: flags.Quiet = False,
    reference: flags.Reference = False,
) -> None:
    """Train a model on pairs of text. The same command resumes a training that was stopped.

    Without a preset, it looks at the data and chooses characters or subwords, the size of the model, the number of
    passes and the metric, and says why. Options that you give stay as they are.

    \b
    Examples:
      antiphon train --train pairs.tsv --out model
      antiphon train --train pairs.tsv --minutes 10 --out model
      antiphon train --train train.en,train.de --valid dev.en,dev.de --out model
      antiphon train --train qa.csv --source question --target answer --out model
      antiphon train --train pairs.tsv --preset base --set train.epochs=5 --out model
      antiphon train --train more.tsv --from model --out tuned
      torchrun --nproc-per-node 2 -m antiphon.cli train --train big.tsv --out model
    """
    from antiphon.progress import Reporter

    reporter = Reporter(quiet)
    reporter.console.quiet = not first()
    with _alike():
        config = options.load()
        _check_train(config)
        if "WORLD_SIZE" in os.environ and _reads_stdin(config):
            raise UserError("standard input cannot be shared among processes; write it to a file first")
    from antiphon.training import loop as training
    from antiphon.training.speed import pairs_a_second

    def setup(config: "Config") -> "Config":
        return options.load(_kept_plan(config, options, out / "run", reporter, pairs_a_second))

    with reporter:
        training.train(config, out, typed(), reporter, setup=setup)
        reporter.say(
            f"next: antiphon generate {shlex.quote(str(out))} < texts.txt\n"
            f"      antiphon evaluate {shlex.quote(str(out))} --data test.tsv"
        )


@command
@flags.data(_options, leave=("start", "minutes"))
def check(
    options: Options,
    test: flags.Test = None,
    as_json: flags.AsJson = False,
) -> None:
    """Check the data before a training: sizes, lengths, what is damaged, repeated, or in both training and test.

    It also says what kind of data they are, what a training would choose for them, and the model's size and memory. The
    exit status is 2 if a training would refuse the data.

    \b
    Examples:
      antiphon check --train pairs.tsv
      antiphon check --train train.tsv --valid valid.tsv --test test.en,test.de
      antiphon check --train pairs.tsv --preset base --set text.size=32000 --json
    """
    from antiphon.data import check
    from antiphon.progress import Reporter

    config, kind, plan = options.load(), None, None
    data = config.data
    if not (data.train or data.valid or test):
        raise UserError("nothing to check: name a corpus, such as --train pairs.tsv")
    with Reporter() as reporter:
        if data.train and not any(spec.startswith("-") for spec in data.train):
            kind, plan = _planned(config, options)
            config = options.load(plan)
        report = check.inspect(
            data.train, data.valid, test or (), data.source, data.target, config,
            lambda done: reporter.show("reading", done, None) if reporter.moving else None, kind,
        )  # fmt: skip
    if as_json:
        print(to_json(report.as_dict() | {"plan": asdict(plan) if plan else None}))
    else:
        print(*report.lines(), *_said(plan, "a training would choose"), sep="\n")
    if not report.ok:
        raise typer.Exit(2)


@command
@flags.data(_options, leave=("minutes",))
def tune(
    options: Options,
    out: flags.NewStudy,
    vary: flags.Vary,
    trials: flags.Trials = 20,
    minutes: flags.TrialMinutes = None,
    quiet: flags.Quiet = False,
) -> None:
    """Hyperparameter search: train with different options and keep those that score best on the development pairs.

    Optuna proposes the options; a training that scores worse at a validation than half of those before is ended early.
    The best options are written to OUT/best.toml, for `antiphon train --config`. The same command resumes a search.

    \b
    Examples:
      antiphon tune --train pairs.tsv --vary train.learning_rate=1e-4..1e-2 --vary model.cell=lstm,gru --out study
      antiphon tune --train pairs.tsv --vary model.dropout_output=0.0..0.5 --trials 30 --minutes 5 --out study
      antiphon train --config study/best.toml --out model
    """
    from antiphon.progress import Reporter
    from antiphon.training import tune as tuning

    config = options.load()
    _check_train(config)
    if _reads_stdin(config):
        raise UserError("standard input can be read once, and every trial reads; write it to a file first")
    limit = [] if minutes is None else [f"train.minutes={minutes}"]
    with Reporter(quiet) as reporter:
        _, plan = _planned(config, options)
        for line in _said(plan, "chosen for the data"):
            reporter.say(line)

        def load_trial(more: Sequence[str], limited: bool) -> "Config":
            return options.load(plan, [*(limit if limited else ()), *more])

        for line in tuning.tune(load_trial, vary, trials, out, typed(), reporter):
            print(line, flush=True)


@command
def average(models: flags.Models, out: flags.NewModel) -> None:
    """Average the weights of several models, such as those of one model that was fine-tuned with several seeds.

    Their options and vocabularies must be equal. Models that began with different initial weights cannot be averaged;
    use an ensemble of them instead.

    \b
    Examples:
      antiphon average tuned1 tuned2 tuned3 --out mean
    """
    from antiphon.average import average as mean

    mean(models, out)
    typer.echo(f"{out}: the mean of {counted(len(models), 'model')}", err=True)


@command
def export(
    model: flags.Model,
    precision: flags.Precision = None,
    data: flags.DevelopmentPairs = None,
    shortlist: flags.Shortlist = None,
    source: flags.SourceField = None,
    target: flags.TargetField = None,
    as_json: flags.AsJson = False,
) -> None:
    """Write a model's ONNX graphs into its folder, so that it runs without PyTorch.

    With --data, also compare the outputs with PyTorch's: the share of equal outputs, the largest difference of log p
    for one piece (a subword token), and BLEU.

    \b
    Examples:
      antiphon export model
      antiphon export model --data dev.tsv
      antiphon export model --shortlist train.tsv --data dev.tsv
      echo "A dog runs." | antiphon generate model --engine onnx-int8
    """
    from antiphon.data import corpus
    from antiphon.export import parity
    from antiphon.export.export import export as write_graphs

    def read(spec: str) -> Iterator[tuple[str, str]]:
        return ((pair.source, pair.target) for pair in corpus.read(spec, source or "", target or ""))

    pairs = list(read(data)) if data else []
    training = chain.from_iterable(map(read, shortlist)) if shortlist else None
    written = write_graphs(model, precision or ("float32", "int8"), training)
    for name, size in written.files.items():
        typer.echo(f"{written.folder / name}: {size / 1e6:.1f} MB", err=True)
    if not pairs:
        return
    sources, references = zip(*pairs, strict=True)
    report = parity.parity(model, sources, references)
    if as_json:
        print(to_json(report))
        return
    for name, row in report.items():
        print(
            f"{name:18} {row['equal']:7.1%} of {len(pairs):,} outputs equal to PyTorch's, "
            f"largest difference of log p {row['difference']:.1e}, BLEU {row['bleu']:.2f}"
        )
    for warning in parity.warnings(report):
        typer.echo(f"warning: {warning}", err=True)


@command
def demo(
    out: flags.DemoModel = Path("demo-model"),
    sets: flags.Sets = None,
    quiet: flags.Quiet = False,
) -> None:
    """Train a model that translates dates between ten languages, in two to five minutes, and show what it can do.

    \b
    Examples:
      antiphon demo
      antiphon demo --out dates --set train.epochs=3
    """
    from antiphon.demo import demo as demonstration
    from antiphon.progress import Reporter

    with Reporter(quiet) as reporter:
        for line in demonstration.run(out, sets or (), typed(), reporter):
            print(line, flush=True)


def _planned(
    config: "Config", options: Options, folder: Path | None = None, measure: "Measure | None" = None
) -> "tuple[Kind | None, Plan]":
    """The kind of the data, and what is chosen for them.

    Args:
        config: without what is chosen.
        options: what the command was given.
        folder: where a training keeps its prepared data; None: what cannot be read is left out.
        measure: measures the speed of a configuration with sources and targets of some length.

    Returns:
        Nothing is chosen where a preset or a model to start from is named, but that the time decides about the end.
    """
    from antiphon.data import kind as kinds
    from antiphon.data.prepare import training_pairs
    from antiphon.training import plan as planning

    chosen = options.chosen
    if config.train.start:
        return None, planning.Plan("", planning.named(chosen), [])
    facts = kinds.facts(training_pairs(config.data, folder))
    kind = "sentences" if config.dialogue.turns else kinds.kind(facts)
    if config.preset:
        return kind, planning.Plan("", planning.named(chosen), [])

    def speed(preset: str, values: planning.Values, source: int, target: int) -> float:
        assert measure is not None
        return measure(options.load(planning.Plan(preset, values, [])), source, target)

    return kind, planning.plan(facts, kind, chosen, speed if measure else None)


def _kept_plan(config: "Config", options: Options, run: Path, reporter: "Reporter", measure: "Measure") -> "Plan":
    """What is chosen for a training: when it is resumed, the same as before, and nothing is measured again."""
    from antiphon.training import plan as planning

    kept = planning.read(run)
    if kept:
        return kept
    _, plan = _planned(config, options, run / "data", measure)
    for line in _said(plan, "chosen for the data"):
        reporter.say(line)
    planning.write(run, plan)
    return plan


def _said(plan: "Plan | None", title: str) -> Iterator[str]:
    """What was chosen and why, in lines."""
    if plan and plan.reasons:
        yield f"{title}; options that you give stay as they are:"
        yield from (f"  {reason}" for reason in plan.reasons)


def _check_train(config: "Config") -> None:
    if not config.data.train:
        raise UserError("no training data: name a corpus, such as --train pairs.tsv or --train text.en,text.de")


def _reads_stdin(config: "Config") -> bool:
    return any(spec.startswith("-") for spec in config.data.train + config.data.valid)


@contextmanager
def _alike() -> Iterator[None]:
    """Let the first process alone report an error that all processes of a training meet alike."""
    try:
        yield
    except UserError as e:
        if first():
            raise
        raise ReportedElsewhere(str(e)) from e
