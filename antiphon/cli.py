"""The command line: `antiphon train | generate | chat | evaluate | score | ...`.

Thin: what is real lives in the modules. Results go to standard output; messages and progress go to standard error.
Modules are imported where they are used, so that help and mistakes are answered at once.
"""

import functools
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from itertools import chain, islice, tee
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import typer

from antiphon import options
from antiphon.errors import UserError
from antiphon.guard import guarded
from antiphon.output import draw, evaluation, one_line, result_lines, table, to_json, watched, whole_file

if TYPE_CHECKING:
    from antiphon.config import Config
    from antiphon.corpus import Pair
    from antiphon.mbr import Order
    from antiphon.seq2seq import Result, Seq2Seq

P = ParamSpec("P")

CHUNK = 1024  # pairs scored at a time

app = typer.Typer(
    name="antiphon",
    help="Sequence-to-sequence models built on recurrent networks: train, decode, measure.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
recipes = typer.Typer(
    help="Make results on real corpora again, one command each.\n\n\b\nExamples:\n  antiphon recipe list\n"
    "  antiphon recipe run multi30k-en-de",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(recipes, name="recipe")


def main() -> None:
    """The program `antiphon`."""
    # OpenMP's threads spin while they wait. On a machine that is busy with anything else they take the cores from each
    # other, and a training is several times slower. It must be set before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")
    app()


def command(function: Callable[P, None], group: typer.Typer = app) -> Callable[P, None]:
    """Make a function a command of the program."""
    name = function.__name__.strip("_")
    return group.command(name, no_args_is_help=name not in ("demo", "list", "table"))(guarded(function))


@app.callback()
def _antiphon(version: options.Version = False) -> None:
    pass


# Commands


@command
def train(
    out: options.NewModel,
    train: options.Train = None,
    valid: options.Valid = None,
    source: options.SourceField = None,
    target: options.TargetField = None,
    preset: options.Preset = "",
    start: options.StartModel = None,
    files: options.Files = None,
    sets: options.Sets = None,
    quiet: options.Quiet = False,
    reference: options.Reference = False,
) -> None:
    """Train a model on pairs of text. The same command goes on with a training that was stopped.

    \b
    Examples:
      antiphon train --train pairs.tsv --out model
      antiphon train --train train.en,train.de --valid dev.en,dev.de --out model
      antiphon train --train qa.csv --source question --target answer --out model
      antiphon train --train pairs.tsv --preset base --set train.epochs=5 --out model
      antiphon train --train more.tsv --from model --out tuned
      torchrun --nproc-per-node 2 -m antiphon.cli train --train big.tsv --out model
    """
    config = _config(train, valid, source, target, preset, files, sets, start)
    if not config.data.train:
        raise UserError("no training data: name a corpus, such as --train pairs.tsv or --train text.en,text.de")
    from antiphon import train as training
    from antiphon.config import preset_for
    from antiphon.prepare import count
    from antiphon.progress import Reporter
    from antiphon.run import claimed

    if "WORLD_SIZE" in os.environ and any(spec.startswith("-") for spec in config.data.train + config.data.valid):
        raise UserError("standard input cannot be shared among processes; write it to a file first")
    reporter = Reporter(quiet)
    reporter.console.quiet = not _first()
    with reporter, claimed(out) if _first() else nullcontext():
        if not config.preset and not config.train.start:
            pairs = count(out / "run" / "data", config.data)
            chosen = preset_for(pairs)
            reporter.say(f"preset {chosen}, chosen for {pairs:,} training pairs; --preset takes another")
            config = _config(train, valid, source, target, chosen, files, sets)
        training.train(config, out, _typed(), reporter)
        reporter.say(
            f"next: antiphon generate {shlex.quote(str(out))} < texts.txt\n"
            f"      antiphon evaluate {shlex.quote(str(out))} --data test.tsv"
        )


@command
def generate(
    model: options.Model,
    file: options.Texts = "-",
    field: options.TextField = None,
    out: options.OutputFile = None,
    as_json: options.AsJson = False,
    prefixes: options.Prefixes = None,
    alignments: options.Alignments = None,
    attention: options.Attention = None,
    beam: options.Beam = None,
    nbest: options.Nbest = None,
    length_penalty: options.LengthPenalty = None,
    alpha: options.Alpha = None,
    coverage_penalty: options.Coverage = None,
    min_length: options.MinLength = None,
    max_length: options.MaxLength = None,
    block_ngrams: options.BlockNgrams = None,
    no_unk: options.NoUnk = False,
    groups: options.Groups = None,
    diversity: options.Diversity = None,
    wanted: options.Wanted = None,
    unwanted: options.Unwanted = None,
    ban: options.Ban = None,
    sample: options.Sample = False,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    seed: options.Seed = None,
    mbr: options.Mbr = None,
    utility: options.Utility = None,
    batch: options.Batch = 64,
    threads: options.Threads = 0,
    device: options.Device = "auto",
    engine: options.Engine = "auto",
    shortlist: options.Listed = False,
    more: options.More = None,
    shares: options.Shares = "",
) -> None:
    """Write an output for each line of text, in order; an empty line for an empty one.

    With --nbest there are so many lines a text: its number from 1, the score, the output. With --json a line is an
    object with text, score, pieces, alignment and candidates. With --batch 1 each text is answered before the next is
    read.

    \b
    Examples:
      echo "A dog runs." | antiphon generate model
      antiphon generate model texts.txt --beam 10 -o outputs.txt
      antiphon generate model texts.txt --nbest 3 --json
      antiphon generate model texts.txt --sample --top-p 0.9 --seed 7
      antiphon generate model texts.txt --mbr 32
      antiphon generate model texts.txt --wanted terms.tsv --ban "in order to"
      echo "A dog runs." | antiphon generate model --attention dog.png
    """
    search = _given(
        beam=beam, nbest=nbest, length_penalty=length_penalty, alpha=alpha, coverage_penalty=coverage_penalty,
        min_length=min_length, max_length=max_length, block_ngrams=block_ngrams, no_unk=no_unk or None,
        groups=groups, diversity=diversity,
    )  # fmt: skip
    order = _order(mbr, utility, nbest)
    if mbr:
        sample, search = True, search | {"nbest": mbr}
    drawing = _drawing(sample, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed)
    from antiphon import corpus

    whole_lines = file == "-" and field is None
    texts = corpus.read_lines("-") if whole_lines else corpus.read_sources(file, field or "")
    forced = corpus.read_lines(prefixes) if prefixes else None
    held = _phrases(wanted) if wanted else None
    kept_out: Iterator[list[str]] | None = _phrases(unwanted, ban or ()) if unwanted else None
    if ban and not unwanted:
        texts, copies = tee(texts)
        kept_out = (list(ban) for _ in copies)
    opened = _load(model, device, threads, engine, shortlist, more, shares)
    live = file == "-" and sys.stdin.isatty()
    if live:
        typer.echo("type a text and press Enter; Ctrl-D ends", err=True)
    results = opened.stream(
        texts, prefixes=forced, wanted=held, unwanted=kept_out, sample=sample, order=order, batch=batch,
        window=int(live or batch == 1), **search, **drawing,
    )  # fmt: skip
    with ExitStack() as stack:
        output = stack.enter_context(whole_file(out)) if out else sys.stdout
        links = stack.enter_context(whole_file(alignments)) if alignments else None
        shown = not live and not (out is None and sys.stdout.isatty())
        for number, result in enumerate(watched(results, shown), start=1):
            print(*result_lines(number, result, nbest or 1, as_json), sep="\n", file=output, flush=True)
            if links:
                print(" ".join(f"{s}-{t}" for t, s in result.alignment), file=links)
            if attention and number == 1:
                draw(attention, result)


@command
def chat(
    model: options.Model,
    as_json: options.AsJson = False,
    beam: options.Beam = None,
    length_penalty: options.LengthPenalty = None,
    alpha: options.Alpha = None,
    min_length: options.MinLength = None,
    max_length: options.MaxLength = None,
    block_ngrams: options.BlockNgrams = None,
    no_unk: options.NoUnk = False,
    sample: options.Sample = False,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    seed: options.Seed = None,
    threads: options.Threads = 0,
    device: options.Device = "auto",
    engine: options.Engine = "auto",
) -> None:
    """Talk with a model that was trained on conversations. /reset forgets what was said; /quit or Ctrl-D ends.

    A line that is piped in is a turn too, and each gets one line as its answer.

    \b
    Examples:
      antiphon chat model
      antiphon chat model --sample --top-k 20 --temperature 0.8
      printf 'hello\\na table for two\\n' | antiphon chat model --json
    """
    search = _given(
        beam=beam, length_penalty=length_penalty, alpha=alpha, min_length=min_length, max_length=max_length,
        block_ngrams=block_ngrams, no_unk=no_unk or None,
    )  # fmt: skip
    drawing = _drawing(sample, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed)
    from antiphon import corpus
    from antiphon.dialogue import Chat

    talk = Chat(_load(model, device, threads, engine), {"sample": sample, **search, **drawing})
    live = sys.stdin.isatty()
    if live:
        typer.echo("say something and press Enter; /reset forgets, /quit or Ctrl-D ends", err=True)
    for line in corpus.read_lines("-"):
        said = line.strip()
        if said == "/quit":
            break
        if said == "/reset":
            talk.reset()
            continue
        if not said and live:
            continue
        result = talk.say(said)
        print(to_json(result.as_dict()) if as_json else one_line(result.text), flush=True)


@command
def evaluate(
    model: options.MeasuredModel = None,
    data: options.TestPairs = "",
    source: options.SourceField = None,
    target: options.TargetField = None,
    hypotheses: options.Hypotheses = None,
    references: options.References = None,
    against: options.Against = None,
    metric: options.Metric = None,
    lowercase: options.Lowercase = False,
    tokenize: options.Tokenize = "",
    language: options.Language = "",
    by_length: options.ByLength = False,
    outputs: options.Outputs = None,
    as_json: options.AsJson = False,
    beam: options.Beam = None,
    length_penalty: options.LengthPenalty = None,
    alpha: options.Alpha = None,
    coverage_penalty: options.Coverage = None,
    min_length: options.MinLength = None,
    max_length: options.MaxLength = None,
    block_ngrams: options.BlockNgrams = None,
    no_unk: options.NoUnk = False,
    batch: options.Batch = 64,
    threads: options.Threads = 0,
    device: options.Device = "auto",
    engine: options.Engine = "auto",
    shortlist: options.Listed = False,
    more: options.More = None,
    shares: options.Shares = "",
) -> None:
    """Measure a model on test pairs, or outputs that are there already. Every score comes with its signature.

    \b
    Examples:
      antiphon evaluate model --data test.tsv
      antiphon evaluate model --data test.en,test.de --metric bleu --metric ter --beam 10
      antiphon evaluate model --data test.tsv --outputs outputs.txt --by-length --json
      antiphon evaluate --hypotheses outputs.txt --references test.de
      antiphon evaluate --hypotheses new.txt --against old.txt --references test.de
    """
    if (model is None) == (hypotheses is None):
        raise UserError("name either a model folder, or with --hypotheses a file of outputs")
    if not data and (model or not references):
        raise UserError("no test pairs: name them with --data, such as --data test.tsv or --data test.en,test.de")
    if by_length and not data:
        raise UserError("--by-length needs the sources: name the test pairs with --data")
    search = _given(
        beam=beam, length_penalty=length_penalty, alpha=alpha, coverage_penalty=coverage_penalty,
        min_length=min_length, max_length=max_length, block_ngrams=block_ngrams, no_unk=no_unk or None,
    )  # fmt: skip
    from antiphon import corpus, metrics, significance

    pairs = list(corpus.read(data, source or "", target or "")) if data else []
    wanted = _references(references) if references else [pair.references for pair in pairs]
    other = _sentences(against, len(wanted)) if against else []
    names = list(metric or ("bleu", "chrf"))
    how: dict[str, Any] = {"lowercase": lowercase, "tokenize": tokenize, "language": language}
    metrics.measure(names, [""], [[""]], **how)  # a misspelt name is told before the work
    if model:
        opened = _load(model, device, threads, engine, shortlist, more, shares)
        if not metric and opened.config.train.metric not in ("loss", *names):
            names.append(opened.config.train.metric)
        began = time.monotonic()
        results = opened.stream([pair.source for pair in pairs], batch=batch, **search)
        texts = [result.text for result in watched(results, True, len(pairs))]
        typer.echo(f"{len(texts):,} outputs in {time.monotonic() - began:.1f} s", err=True)
    else:
        texts = _sentences(hypotheses, len(wanted))
    if outputs:
        with whole_file(outputs) as file:
            file.writelines(f"{one_line(text)}\n" for text in texts)
    scores = metrics.measure(names, texts, wanted, **how)
    bins = significance.by_length([pair.source for pair in pairs], texts, wanted, names[0], **how) if by_length else []
    comparisons = [significance.paired_bootstrap(texts, other, wanted, name, **how) for name in names if against]
    if as_json:
        print(to_json(evaluation(len(texts), scores, bins, comparisons)))
    else:
        print(*table(scores, bins, comparisons), sep="\n")


@command
def score(
    model: options.Model,
    pairs: options.Pairs = "-",
    source: options.SourceField = None,
    target: options.TargetField = None,
    as_json: options.AsJson = False,
    more: options.More = None,
    shares: options.Shares = "",
    threads: options.Threads = 0,
    device: options.Device = "auto",
    engine: options.Engine = "auto",
) -> None:
    """Write the log-probability of each pair's target given its source: in all, and a piece, in nats.

    With --json a line is an object that has the pieces and the log-probability of each too.

    \b
    Examples:
      antiphon score model pairs.tsv
      antiphon score model test.en,test.de --json
      paste sources.txt outputs.txt | antiphon score model -
    """
    from antiphon import corpus

    read = corpus.read(pairs, source or "", target or "")
    opened = _load(model, device, threads, engine, more=more, shares=shares)
    total, pieces = 0.0, 0
    for result in watched(_scored(opened, read), pairs != "-" and not sys.stdout.isatty()):
        count = max(1, len(result.token_log_probs))
        total, pieces = total + result.log_prob, pieces + count
        print(to_json(result.as_dict()) if as_json else f"{result.log_prob:.4f}\t{result.log_prob / count:.4f}")
    typer.echo(f"in all {total:.1f} nats for {pieces:,} pieces: {total / max(1, pieces):.4f} a piece", err=True)


@command
def rerank(
    model: options.Model,
    nbest_list: options.NbestList,
    sources: options.ListSources,
    weight: options.Weight = 0.5,
    reverse: options.Reverse = False,
    nbest: options.Nbest = None,
    length_penalty: options.LengthPenalty = None,
    alpha: options.Alpha = None,
    more: options.More = None,
    shares: options.Shares = "",
    threads: options.Threads = 0,
    device: options.Device = "auto",
    engine: options.Engine = "auto",
) -> None:
    """Choose again among a system's outputs, by their own score and a model's log p (Sutskever 2014, section 3.7).

    \b
    Examples:
      antiphon generate model texts.txt --beam 20 --nbest 20 -o list.tsv
      antiphon rerank other list.tsv --sources texts.txt
      antiphon rerank back list.tsv --sources texts.txt --reverse --weight 0.3 --nbest 3
    """
    if not 0 <= weight <= 1:
        raise UserError(f"--weight {weight}: a share from 0 to 1")
    from antiphon import corpus
    from antiphon import rerank as reranking

    texts = list(corpus.read_lines(sources))
    entries = reranking.entries(corpus.read_lines(nbest_list), str(nbest_list))
    opened = _load(model, device, threads, engine, more=more, shares=shares)
    penalties = _given(length_penalty=length_penalty, alpha=alpha)
    scorer = reranking.of_model(opened, reverse, **penalties)
    for number, ranked in enumerate(reranking.rerank(texts, entries, [scorer], [1 - weight, weight]), start=1):
        for one in ranked[: nbest or 1]:
            print(f"{number}\t{one.score:.4f}\t{one.entry.text}" if nbest else one.entry.text)


@command
def check(
    train: options.Train = None,
    valid: options.Valid = None,
    test: options.Test = None,
    source: options.SourceField = None,
    target: options.TargetField = None,
    preset: options.Preset = "",
    files: options.Files = None,
    sets: options.Sets = None,
    as_json: options.AsJson = False,
) -> None:
    """Look at the data before a training: sizes, lengths, what is damaged, repeated, or in both training and test.

    It also estimates the model's size and memory. The exit status is 2 if a training would refuse the data.

    \b
    Examples:
      antiphon check --train pairs.tsv
      antiphon check --train train.tsv --valid valid.tsv --test test.en,test.de
      antiphon check --train pairs.tsv --preset base --set text.size=32000 --json
    """
    from antiphon import inspection
    from antiphon.config import preset_for
    from antiphon.progress import Reporter

    config = _config(train, valid, source, target, preset, files, sets)
    data = config.data
    if not (data.train or data.valid or test):
        raise UserError("nothing to look at: name a corpus, such as --train pairs.tsv")
    if not (config.preset or config.train.start or any(spec.startswith("-") for spec in data.train)):
        config = _config(train, valid, source, target, preset_for(_count(config)), files, sets)
    with Reporter() as reporter:
        report = inspection.inspect(
            data.train, data.valid, test or (), data.source, data.target, config,
            lambda done: reporter.show("reading", done, None) if reporter.moving else None,
        )  # fmt: skip
    print(to_json(report.as_dict())) if as_json else print(*report.lines(), sep="\n")
    if not report.ok:
        raise typer.Exit(2)


@command
def export(
    model: options.Model,
    precision: options.Precision = None,
    data: options.DevelopmentPairs = None,
    shortlist: options.Shortlist = None,
    source: options.SourceField = None,
    target: options.TargetField = None,
    as_json: options.AsJson = False,
) -> None:
    """Write a model's ONNX graphs into its folder, which then runs without PyTorch.

    With --data it then says how near the answers are to PyTorch's: how many outputs are the same, the largest
    difference of log p for a piece, and BLEU.

    \b
    Examples:
      antiphon export model
      antiphon export model --data dev.tsv
      antiphon export model --shortlist train.tsv --data dev.tsv
      echo "A dog runs." | antiphon generate model --engine onnx-int8
    """
    from antiphon import corpus
    from antiphon import export as exporting

    def read(spec: str) -> Iterator[tuple[str, str]]:
        return ((pair.source, pair.target) for pair in corpus.read(spec, source or "", target or ""))

    pairs = list(read(data)) if data else []
    training = chain.from_iterable(map(read, shortlist)) if shortlist else None
    written = exporting.export(model, precision or ("float32", "int8"), training)
    for name, size in written.files.items():
        typer.echo(f"{written.folder / name}: {size / 1e6:.1f} MB", err=True)
    if not pairs:
        return
    sources, references = zip(*pairs, strict=True)
    found = exporting.parity(model, sources, references)
    if as_json:
        print(to_json(found))
        return
    for name, row in found.items():
        print(
            f"{name:18} {row['equal']:7.1%} of {len(pairs):,} outputs as PyTorch's, "
            f"log p apart by {row['difference']:.1e} at most, BLEU {row['bleu']:.2f}"
        )
    for warning in exporting.warnings(found):
        typer.echo(f"warning: {warning}", err=True)


@command
def tune(
    out: options.NewStudy,
    vary: options.Vary,
    train: options.Train = None,
    valid: options.Valid = None,
    source: options.SourceField = None,
    target: options.TargetField = None,
    preset: options.Preset = "",
    start: options.StartModel = None,
    files: options.Files = None,
    sets: options.Sets = None,
    trials: options.Trials = 20,
    minutes: options.TrialMinutes = None,
    quiet: options.Quiet = False,
) -> None:
    """Look for the options that are best on the development pairs, by trainings. The same command goes on.

    Options are proposed by Optuna; a training that at a validation is worse than half of those before it is ended. The
    best are written to OUT/best.toml, for `antiphon train --config`.

    \b
    Examples:
      antiphon tune --train pairs.tsv --vary train.learning_rate=1e-4..1e-2 --vary model.cell=lstm,gru --out study
      antiphon tune --train pairs.tsv --vary model.dropout_output=0.0..0.5 --trials 30 --minutes 5 --out study
      antiphon train --config study/best.toml --out model
    """
    from antiphon import tune as tuning
    from antiphon.config import preset_for
    from antiphon.progress import Reporter

    config = _config(train, valid, source, target, preset, files, sets, start)
    if not config.data.train:
        raise UserError("no training data: name a corpus, such as --train pairs.tsv")
    if any(spec.startswith("-") for spec in config.data.train + config.data.valid):
        raise UserError("standard input can be read once, and every trial reads; write it to a file first")
    if not config.preset and not config.train.start:
        preset = preset_for(_count(config))
    limit = [] if minutes is None else [f"train.minutes={minutes}"]

    def load(more: Sequence[str], limited: bool) -> "Config":
        every = [*(sets or ()), *(limit if limited else ()), *more]
        return _config(train, valid, source, target, preset, files, every, start)

    with Reporter(quiet) as reporter:
        for line in tuning.tune(load, vary, trials, out, _typed(), reporter):
            print(line, flush=True)


@command
def average(models: options.Models, out: options.NewModel) -> None:
    """Make one model of several: the mean of their weights, as of the same training with other seeds' last steps.

    Their options and vocabularies must be equal. Models that began from different first weights have nothing in
    common; use an ensemble of them instead.

    \b
    Examples:
      antiphon average tuned1 tuned2 tuned3 --out mean
    """
    from antiphon.average import average as mean

    mean(models, out)
    typer.echo(f"{out}: the mean of {len(models)} models", err=True)


@command
def demo(
    out: options.DemoModel = Path("demo-model"),
    sets: options.Sets = None,
    quiet: options.Quiet = False,
) -> None:
    """Train a model that translates dates between ten languages, in two to three minutes, and show what it can do.

    \b
    Examples:
      antiphon demo
      antiphon demo --out dates --set train.epochs=3
    """
    from antiphon import demo as demonstration
    from antiphon.progress import Reporter
    from antiphon.run import claimed

    with Reporter(quiet) as reporter, claimed(out):
        for line in demonstration.run(out, sets or (), _typed(), reporter):
            print(line, flush=True)


@functools.partial(command, group=recipes)
def list_() -> None:
    """List the recipes below the folder recipes/.

    \b
    Example:
      antiphon recipe list
    """
    from antiphon import recipe

    for name, folder in recipe.find(Path("recipes")).items():
        typer.echo(f"{name}: {recipe.load(folder).title} ({folder})")


@functools.partial(command, group=recipes)
def run(
    name: options.Recipe,
    out: options.RecipeFolder = None,
    only: options.OnlyModels = None,
    sets: options.Sets = None,
    quiet: options.Quiet = False,
) -> None:
    """Fetch a recipe's corpus, train, score, and write results.json. The same command goes on where it was stopped.

    The corpus is taken from the folder that ANTIPHON_DATA names, else from its official address. With --set or --only
    the results are those of an experiment or of a part, and are written to the output folder alone.

    \b
    Examples:
      antiphon recipe run multi30k-en-de
      antiphon recipe run multi30k-en-de --set train.seed=2 --out runs/second
    """
    from antiphon import experiment, recipe
    from antiphon.progress import Reporter

    folder = recipe.find(Path("recipes")).get(name, Path(name))
    with Reporter(quiet) as reporter:
        reporter.console.quiet = not _first()
        asked = _typed(leave=("--out", "-o"))
        results = experiment.run(folder, out or Path("runs") / folder.name, sets or (), asked, reporter, only or ())
    for row in results.get("rows", ()):
        for score in row["scores"]:
            spread = f" ± {score['deviation']:.2f}" if score["deviation"] is not None else ""
            print(f"{row['set']}\t{row['model']}\t{score['name']}\t{score['value']:.2f}{spread}\t{score['signature']}")


@functools.partial(command, group=recipes)
def table_(out: options.ResultsPage = Path("docs/results.md")) -> None:
    """Write the page of all recipes' results beside published ones.

    \b
    Example:
      antiphon recipe table
    """
    from antiphon import comparison

    text = comparison.page(Path("recipes"))
    with whole_file(out) as file:
        file.write(text)
    typer.echo(f"{out} is written", err=True)


# What the commands share


def _config(
    train: Sequence[str] | None,
    valid: Sequence[str] | None,
    source: str | None,
    target: str | None,
    preset: str,
    files: Iterable[Path] | None,
    sets: Iterable[str] | None,
    start: Path | None = None,
) -> "Config":
    from antiphon import config

    def started(model: str) -> "Config":
        from antiphon import start

        return start.options(model)

    data = _given(train=train or None, valid=valid or None, source=source, target=target)
    begun = _given(start=None if start is None else str(start))
    return config.load(preset, files or (), sets or (), {"data": data, "train": begun}, started)


def _typed(leave: Sequence[str] = ()) -> str:
    """The command line of this process, without options of one value that are to be left out."""
    words = list(sys.argv[1:])
    for option in leave:
        while option in words:
            at = words.index(option)
            del words[at : at + 2]
    processes = os.environ.get("WORLD_SIZE", "1")
    program = ["antiphon"] if processes == "1" else ["torchrun", "--nproc-per-node", processes, "-m", "antiphon.cli"]
    return shlex.join([*program, *words])


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _drawing(sample: bool, **options: Any) -> dict[str, Any]:
    """The options of sampling that were given, which go with --sample alone."""
    given = _given(**options)
    if given and not sample:
        raise UserError(f"--{next(iter(given)).replace('_', '-')} is for sampling: give --sample too")
    return given


def _order(mbr: int | None, utility: str | None, nbest: int | None) -> "Order | None":
    """How --mbr chooses among outputs."""
    if mbr is None:
        if utility:
            raise UserError("--utility is for --mbr: give the number of outputs to draw, such as --mbr 32")
        return None
    if mbr < 2 or nbest:
        raise UserError(f"--mbr {mbr} draws that many outputs and takes one: 2 or more, and no --nbest")
    from antiphon.mbr import least_risk

    return least_risk(utility or "chrf")


def _phrases(path: Path, every: Sequence[str] = ()) -> Iterator[list[str]]:
    """The phrases of each text: a line of the file, and those that hold for every text."""
    from antiphon.corpus import read_lines

    for line in read_lines(path):
        yield [*(phrase for phrase in line.split("\t") if phrase.strip()), *every]


def _first() -> bool:
    """Whether this process talks for all that train together."""
    return os.environ.get("RANK", "0") == "0"


def _load(
    model: Path,
    device: str,
    threads: int,
    engine: str,
    shortlist: bool = False,
    more: Sequence[Path] | None = None,
    shares: str = "",
) -> "Seq2Seq":
    """A model, or an ensemble of it and others."""
    from antiphon.seq2seq import Seq2Seq

    if not more:
        if shares:
            raise UserError("--shares is for ensembles: name further models with --with")
        return Seq2Seq.load(model, device, threads, engine, shortlist)
    if shortlist:
        raise UserError("--shortlist is of one model: leave it out with --with")
    try:
        weights = [float(part) for part in shares.split(",")] if shares else []
    except ValueError as e:
        raise UserError(f"--shares {shares}: write a number for each model, such as 2,1") from e
    return Seq2Seq.ensemble([model, *more], weights, device, threads, engine)


def _count(config: "Config") -> int:
    """Training pairs; what is wrong with them is not asked yet."""
    from antiphon.corpus import records

    count = 0
    for spec in config.data.train:
        with suppress(UserError):
            count += sum(1 for _ in records(spec, config.data.source, config.data.target))
    return count


def _references(paths: Sequence[Path]) -> list[list[str]]:
    """For each sentence a line of each file."""
    from antiphon.corpus import read_lines

    first = list(read_lines(paths[0]))
    return [list(group) for group in zip(first, *(_sentences(path, len(first)) for path in paths[1:]), strict=True)]


def _sentences(path: Path | None, count: int) -> list[str]:
    """The lines of a file, which must be as many as there are sentences."""
    from antiphon.corpus import read_lines

    lines = list(read_lines(path or "-"))
    if len(lines) != count:
        raise UserError(f"{path}: {len(lines):,} lines for {count:,} references; give a line for each, in their order")
    return lines


def _scored(model: "Seq2Seq", pairs: Iterator["Pair"]) -> Iterator["Result"]:
    while some := list(islice(pairs, CHUNK)):
        yield from model.score([pair.source for pair in some], [pair.target for pair in some])


if __name__ == "__main__":
    main()
