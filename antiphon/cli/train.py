"""Commands that make models: train, check, tune, average, export, demo.

Modules are imported where they are used, so that help and errors come at once.
"""

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from antiphon.cli import flags
from antiphon.cli.output import to_json
from antiphon.cli.program import command, first, given, typed
from antiphon.errors import ReportedElsewhere, UserError
from antiphon.words import counted

if TYPE_CHECKING:
    from antiphon.config.sections import Config
    from antiphon.progress import Reporter


@command
def train(
    out: flags.NewModel,
    train: flags.Train = None,
    valid: flags.Valid = None,
    source: flags.SourceField = None,
    target: flags.TargetField = None,
    preset: flags.Preset = "",
    start: flags.StartModel = None,
    files: flags.Files = None,
    sets: flags.Sets = None,
    quiet: flags.Quiet = False,
    reference: flags.Reference = False,
) -> None:
    """Train a model on pairs of text. The same command resumes a training that was stopped.

    \b
    Examples:
      antiphon train --train pairs.tsv --out model
      antiphon train --train train.en,train.de --valid dev.en,dev.de --out model
      antiphon train --train qa.csv --source question --target answer --out model
      antiphon train --train pairs.tsv --preset base --set train.epochs=5 --out model
      antiphon train --train more.tsv --from model --out tuned
      torchrun --nproc-per-node 2 -m antiphon.cli train --train big.tsv --out model
    """
    from antiphon.progress import Reporter

    reporter = Reporter(quiet)
    reporter.console.quiet = not first()
    load = _loader(train, valid, source, target, files, sets, start)
    with _alike():
        config = load(preset)
        _check_train(config)
        if "WORLD_SIZE" in os.environ and _reads_stdin(config):
            raise UserError("standard input cannot be shared among processes; write it to a file first")
    from antiphon.training import loop as training

    with reporter:
        with_preset = partial(_with_preset, load=load, reporter=reporter, folder=out / "run" / "data")
        training.train(config, out, typed(), reporter, setup=with_preset)
        reporter.say(
            f"next: antiphon generate {shlex.quote(str(out))} < texts.txt\n"
            f"      antiphon evaluate {shlex.quote(str(out))} --data test.tsv"
        )


@command
def check(
    train: flags.Train = None,
    valid: flags.Valid = None,
    test: flags.Test = None,
    source: flags.SourceField = None,
    target: flags.TargetField = None,
    preset: flags.Preset = "",
    files: flags.Files = None,
    sets: flags.Sets = None,
    as_json: flags.AsJson = False,
) -> None:
    """Check the data before a training: sizes, lengths, what is damaged, repeated, or in both training and test.

    It also estimates the model's size and memory. The exit status is 2 if a training would refuse the data.

    \b
    Examples:
      antiphon check --train pairs.tsv
      antiphon check --train train.tsv --valid valid.tsv --test test.en,test.de
      antiphon check --train pairs.tsv --preset base --set text.size=32000 --json
    """
    from antiphon.data import check
    from antiphon.progress import Reporter

    load = _loader(train, valid, source, target, files, sets)
    config = load(preset)
    data = config.data
    if not (data.train or data.valid or test):
        raise UserError("nothing to check: name a corpus, such as --train pairs.tsv")
    with Reporter() as reporter:
        if data.train and not any(spec.startswith("-") for spec in data.train):
            config = _with_preset(config, load, reporter.without_messages())
        report = check.inspect(
            data.train, data.valid, test or (), data.source, data.target, config,
            lambda done: reporter.show("reading", done, None) if reporter.moving else None,
        )  # fmt: skip
    print(to_json(report.as_dict())) if as_json else print(*report.lines(), sep="\n")
    if not report.ok:
        raise typer.Exit(2)


@command
def tune(
    out: flags.NewStudy,
    vary: flags.Vary,
    train: flags.Train = None,
    valid: flags.Valid = None,
    source: flags.SourceField = None,
    target: flags.TargetField = None,
    preset: flags.Preset = "",
    start: flags.StartModel = None,
    files: flags.Files = None,
    sets: flags.Sets = None,
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

    load = _loader(train, valid, source, target, files, sets, start)
    config = load(preset)
    _check_train(config)
    if _reads_stdin(config):
        raise UserError("standard input can be read once, and every trial reads; write it to a file first")
    limit = [] if minutes is None else [f"train.minutes={minutes}"]
    with Reporter(quiet) as reporter:
        if not config.train.start:
            preset = _with_preset(config, load, reporter).preset

        def load_trial(more: Sequence[str], limited: bool) -> "Config":
            return load(preset, [*(limit if limited else ()), *more])

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


class _Load(Protocol):
    """Builds the configuration that a command's flags ask for."""

    def __call__(self, preset: str, more: Sequence[str] = ()) -> "Config":
        """The configuration with this preset, and with more `section.key=value` over all others."""


def _loader(
    train: Sequence[str] | None,
    valid: Sequence[str] | None,
    source: str | None,
    target: str | None,
    files: Iterable[Path] | None,
    sets: Sequence[str] | None,
    start: Path | None = None,
) -> _Load:
    from antiphon.config import loading

    def started(model: str) -> "Config":
        from antiphon.training import warm_start

        return warm_start.options(model)

    over = {
        "data": given(train=train or None, valid=valid or None, source=source, target=target),
        "train": given(start=None if start is None else str(start)),
    }

    def load(preset: str, more: Sequence[str] = ()) -> "Config":
        return loading.load(preset, files or (), [*(sets or ()), *more], over, started)

    return load


def _with_preset(config: "Config", load: _Load, reporter: "Reporter", folder: Path | None = None) -> "Config":
    """The configuration with the preset that suits its number of training pairs, where none is named.

    Args:
        config: without that preset.
        load: builds it with a preset.
        reporter: where the choice is reported.
        folder: where a training keeps its prepared data; None: the corpora are read.
    """
    if config.preset or config.train.start:
        return config
    from antiphon.config.loading import preset_for
    from antiphon.data.prepare import count

    pairs = count(config.data, folder)
    preset = preset_for(pairs)
    reporter.say(f"preset {preset}, chosen for {counted(pairs, 'training pair')}; --preset names another")
    return load(preset)


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
