"""The command line: `antiphon train | generate | evaluate | score | check | export | demo | recipe`.

Thin: what is real lives in the modules. Results go to standard output; messages and progress go to standard error.
Modules are imported where they are used, so that help and mistakes are answered at once.
"""

import functools
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec, TextIO

import typer

from antiphon import __version__
from antiphon.errors import UserError

if TYPE_CHECKING:
    from antiphon.config import Config
    from antiphon.corpus import Pair
    from antiphon.metrics import Score
    from antiphon.seq2seq import Candidate, Result, Seq2Seq
    from antiphon.significance import Comparison, LengthBin

P = ParamSpec("P")

WARNED = 5  # sources cut at the limit that are told one by one
CHUNK = 1024  # pairs scored at a time
INT8_LOSS = 0.3  # BLEU, above which int8 is warned about

app = typer.Typer(
    name="antiphon",
    help="Sequence-to-sequence models built on recurrent networks: train, decode, measure.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The program `antiphon`."""
    # OpenMP's threads spin while they wait. On a machine that is busy with anything else they take the cores from each
    # other, and a training is several times slower. It must be set before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")
    app()


recipes = typer.Typer(help="Make results on real corpora again, one command each.", no_args_is_help=True)
app.add_typer(recipes, name="recipe")


def command(function: Callable[P, None], group: typer.Typer = app) -> Callable[P, None]:
    """Make a function a command whose errors are told in words, with exit status 2 and without a traceback."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
            sys.stdout.flush()
        except UserError as e:
            _fail(str(e))
        except BrokenPipeError:  # such as `| head`, which has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from None
        except (MemoryError, RuntimeError) as e:
            if isinstance(e, RuntimeError) and "memory" not in str(e):
                raise
            _fail("out of memory; lower the batch, or for a training text.size or the model's sizes")
        except OSError as e:
            from antiphon.store import FULL

            advice = "; make room and run the same command again" if e.errno in FULL else ""
            _fail(f"{f'{e.filename}: ' if e.filename else ''}{e.strerror or e}{advice}")
        except KeyboardInterrupt:
            more = "; the same command goes on" if function.__name__ in ("train", "demo", "run") else ""
            typer.echo(f"antiphon: stopped{more}", err=True)
            raise typer.Exit(130) from None

    name = function.__name__.strip("_")
    return group.command(name, no_args_is_help=name not in ("demo", "list"))(guarded)


def _fail(message: str) -> NoReturn:
    typer.echo(f"antiphon: {message}", err=True)
    raise typer.Exit(2) from None


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"antiphon {__version__}")
        raise typer.Exit


def _reference(wanted: bool) -> None:
    if wanted:
        from antiphon import config

        for name, meaning in config.presets().items():
            typer.echo(f"# preset {name}: {meaning}")
        typer.echo(f"\n{config.reference()}")
        raise typer.Exit


@app.callback()
def _antiphon(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


# Options that several commands have

Model = Annotated[Path, typer.Argument(help="Model folder, as `antiphon train` writes it.", show_default=False)]
Train = Annotated[
    list[str] | None,
    typer.Option(
        "--train",
        help="Training pairs: pairs.tsv, two aligned files text.en,text.de, a .csv or .jsonl, each also .gz or .zst, "
        "- for standard input, or hf:owner/name:split. May be repeated.",
    ),
]
Valid = Annotated[
    list[str] | None,
    typer.Option("--valid", help="Development pairs. Without any, some of the training pairs are held out."),
]
SourceField = Annotated[
    str | None, typer.Option("--source", help="Column name or number, or field, of the source; else the first.")
]
TargetField = Annotated[
    str | None, typer.Option("--target", help="Column name or number, or field, of the target; else the second.")
]
Preset = Annotated[
    str, typer.Option("--preset", help="Where the options start from; else chosen by the number of training pairs.")
]
Files = Annotated[
    list[Path] | None, typer.Option("--config", help="TOML file of options, over the preset. May be repeated.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="One option, over all others. May be repeated."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only messages.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]

SEARCH, SAMPLING, MACHINE = "How outputs are looked for", "Sampling", "Machine"
Beam = Annotated[
    int | None,
    typer.Option(help="Hypotheses kept; 1: greedy. Else as the model's configuration says.", rich_help_panel=SEARCH),
]
LengthPenalty = Annotated[
    str | None,
    typer.Option(help="What log-probabilities are divided by: none, average or gnmt.", rich_help_panel=SEARCH),
]
Alpha = Annotated[float | None, typer.Option(help="Strength of the length penalty.", rich_help_panel=SEARCH)]
Coverage = Annotated[
    float | None, typer.Option("--coverage-penalty", help="GNMT's beta; 0: none.", rich_help_panel=SEARCH)
]
MinLength = Annotated[int | None, typer.Option(help="Fewest pieces of an output.", rich_help_panel=SEARCH)]
MaxLength = Annotated[
    int | None,
    typer.Option(help="Most pieces of an output; 0: twice the source's and 20.", rich_help_panel=SEARCH),
]
BlockNgrams = Annotated[
    int | None, typer.Option(help="Never write an n-gram of this size twice.", rich_help_panel=SEARCH)
]
NoUnk = Annotated[bool, typer.Option("--no-unk", help="Never write an unknown word.", rich_help_panel=SEARCH)]
Batch = Annotated[int, typer.Option(help="Texts decoded at a time.", rich_help_panel=MACHINE)]
Threads = Annotated[int, typer.Option(min=0, help="Processor threads; 0: all cores.", rich_help_panel=MACHINE)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.", rich_help_panel=MACHINE)]
Engine = Annotated[
    str,
    typer.Option(
        help="torch, or onnx or onnx-int8 after `antiphon export`; auto: onnx where the model was exported.",
        rich_help_panel=MACHINE,
    ),
]


# Commands


@command
def train(
    out: Annotated[Path, typer.Option("--out", "-o", help="Model folder to make.", show_default=False)],
    train: Train = None,
    valid: Valid = None,
    source: SourceField = None,
    target: TargetField = None,
    preset: Preset = "",
    files: Files = None,
    sets: Sets = None,
    quiet: Quiet = False,
    options: Annotated[
        bool,
        typer.Option(
            "--options", callback=_reference, is_eager=True, help="Print all presets and options, and what they mean."
        ),
    ] = False,
) -> None:
    """Train a model on pairs of text. The same command goes on with a training that was stopped.

    \b
    Examples:
      antiphon train --train pairs.tsv --out model
      antiphon train --train train.en,train.de --valid dev.en,dev.de --out model
      antiphon train --train qa.csv --source question --target answer --out model
      antiphon train --train pairs.tsv --preset base --set train.epochs=5 --out model
      torchrun --nproc-per-node 2 -m antiphon.cli train --train big.tsv --out model
    """
    config = _config(train, valid, source, target, preset, files, sets)
    if not config.data.train:
        raise UserError("no training data: name a corpus, such as --train pairs.tsv or --train text.en,text.de")
    from antiphon import train as training
    from antiphon.config import preset_for
    from antiphon.prepare import count
    from antiphon.progress import Reporter
    from antiphon.run import check_out

    reporter = Reporter(quiet)
    reporter.console.quiet = not _first()
    with reporter, _nothing_left(out):
        if not config.preset:
            check_out(out)
            pairs = count(out / "run" / "data", config.data)
            chosen = preset_for(pairs)
            reporter.say(f"preset {chosen}, chosen for {pairs:,} training pairs; --preset takes another")
            config = _config(train, valid, source, target, chosen, files, sets)
        training.train(config, out, shlex.join(["antiphon", *sys.argv[1:]]), reporter)
        reporter.say(
            f"next: antiphon generate {shlex.quote(str(out))} < texts.txt\n"
            f"      antiphon evaluate {shlex.quote(str(out))} --data test.tsv"
        )


@command
def generate(
    model: Model,
    file: Annotated[str, typer.Argument(help="Texts, one a line; - for standard input.")] = "-",
    field: Annotated[
        str | None, typer.Option("--source", help="Column or field of the texts, where FILE has several.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write instead of standard output.")] = None,
    as_json: AsJson = False,
    prefixes: Annotated[Path | None, typer.Option(help="File of what each output must begin with.")] = None,
    alignments: Annotated[
        Path | None, typer.Option(help="File for the alignments of pieces, source-target: 0-0 1-2.")
    ] = None,
    attention: Annotated[
        Path | None, typer.Option(help="Picture, .png or .svg, of what the first output attends to.")
    ] = None,
    beam: Beam = None,
    nbest: Annotated[
        int | None, typer.Option(help="Outputs a text, each as line<TAB>score<TAB>text.", rich_help_panel=SEARCH)
    ] = None,
    length_penalty: LengthPenalty = None,
    alpha: Alpha = None,
    coverage_penalty: Coverage = None,
    min_length: MinLength = None,
    max_length: MaxLength = None,
    block_ngrams: BlockNgrams = None,
    no_unk: NoUnk = False,
    sample: Annotated[bool, typer.Option("--sample", help="Draw outputs at random.", rich_help_panel=SAMPLING)] = False,
    temperature: Annotated[
        float | None, typer.Option(help="Log-probabilities are divided by it.", rich_help_panel=SAMPLING)
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="From the k best pieces only.", rich_help_panel=SAMPLING)] = None,
    top_p: Annotated[
        float | None, typer.Option(help="From the fewest pieces that reach this.", rich_help_panel=SAMPLING)
    ] = None,
    min_p: Annotated[
        float | None, typer.Option(help="From pieces this times as likely as the best.", rich_help_panel=SAMPLING)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the drawing.", rich_help_panel=SAMPLING)] = None,
    batch: Batch = 64,
    threads: Threads = 0,
    device: Device = "auto",
    engine: Engine = "auto",
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
      echo "A dog runs." | antiphon generate model --attention dog.png
    """
    search = _given(
        beam=beam, nbest=nbest, length_penalty=length_penalty, alpha=alpha, coverage_penalty=coverage_penalty,
        min_length=min_length, max_length=max_length, block_ngrams=block_ngrams, no_unk=no_unk or None,
    )  # fmt: skip
    drawing = _given(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed)
    if drawing and not sample:
        raise UserError(f"--{next(iter(drawing)).replace('_', '-')} is for sampling: give --sample too")
    from antiphon import corpus

    whole_lines = file == "-" and field is None
    texts = corpus.read_lines("-") if whole_lines else corpus.read_sources(file, field or "")
    forced = corpus.read_lines(prefixes) if prefixes else None
    opened = _load(model, device, threads, engine)
    live = file == "-" and sys.stdin.isatty()
    if live:
        typer.echo("type a text and press Enter; Ctrl-D ends", err=True)
    results = opened.stream(
        texts, prefixes=forced, sample=sample, batch=batch, window=int(live or batch == 1), **search, **drawing
    )
    with ExitStack() as stack:
        output = stack.enter_context(_writing(out)) if out else sys.stdout
        links = stack.enter_context(_writing(alignments)) if alignments else None
        shown = file != "-" and not (out is None and sys.stdout.isatty())
        for number, result in enumerate(_watched(results, shown), start=1):
            print(*_lines(number, result, nbest or 1, as_json), sep="\n", file=output, flush=True)
            if links:
                print(" ".join(f"{s}-{t}" for t, s in result.alignment), file=links)
            if attention and number == 1:
                _draw(attention, result)


@command
def evaluate(
    model: Annotated[Path | None, typer.Argument(help="Model folder whose outputs are measured.")] = None,
    data: Annotated[str, typer.Option(help="Test pairs, named as --train names them in `antiphon train`.")] = "",
    source: SourceField = None,
    target: TargetField = None,
    hypotheses: Annotated[
        Path | None, typer.Option(help="Outputs to measure, one a line, instead of a model's.")
    ] = None,
    references: Annotated[
        list[Path] | None, typer.Option(help="References, one a line, instead of the targets. May be repeated.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Other outputs to compare with, one a line, by paired bootstrap.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="bleu, chrf, chrf++, ter, rouge1, rouge2, rougeL, exact_match, wer, per or cer; may be repeated. "
            "Else bleu, chrf and what the model was chosen by."
        ),
    ] = None,
    lowercase: Annotated[bool, typer.Option("--lowercase", help="Ignore case.")] = False,
    tokenize: Annotated[
        str, typer.Option(help="BLEU's tokeniser: 13a, intl, zh, ja-mecab, char or none; else by language.")
    ] = "",
    language: Annotated[str, typer.Option(help="Language code of the references; else by their script.")] = "",
    by_length: Annotated[bool, typer.Option("--by-length", help="The first metric by source length too.")] = False,
    outputs: Annotated[Path | None, typer.Option(help="File to keep the outputs in.")] = None,
    as_json: AsJson = False,
    beam: Beam = None,
    length_penalty: LengthPenalty = None,
    alpha: Alpha = None,
    coverage_penalty: Coverage = None,
    min_length: MinLength = None,
    max_length: MaxLength = None,
    block_ngrams: BlockNgrams = None,
    no_unk: NoUnk = False,
    batch: Batch = 64,
    threads: Threads = 0,
    device: Device = "auto",
    engine: Engine = "auto",
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
    wanted = _references(references) if references else [[pair.target] for pair in pairs]
    other = _sentences(against, len(wanted)) if against else []
    names = list(metric or ("bleu", "chrf"))
    how: dict[str, Any] = {"lowercase": lowercase, "tokenize": tokenize, "language": language}
    metrics.measure(names, [""], [[""]], **how)  # a misspelt name is told before the work
    if model:
        opened = _load(model, device, threads, engine)
        if not metric and opened.config.train.metric not in ("loss", *names):
            names.append(opened.config.train.metric)
        began = time.monotonic()
        results = opened.stream([pair.source for pair in pairs], batch=batch, **search)
        texts = [result.text for result in _watched(results, True, len(pairs))]
        typer.echo(f"{len(texts):,} outputs in {time.monotonic() - began:.1f} s", err=True)
    else:
        texts = _sentences(hypotheses, len(wanted))
    if outputs:
        with _writing(outputs) as file:
            file.writelines(f"{_one_line(text)}\n" for text in texts)
    scores = metrics.measure(names, texts, wanted, **how)
    bins = significance.by_length([pair.source for pair in pairs], texts, wanted, names[0], **how) if by_length else []
    comparisons = [significance.paired_bootstrap(texts, other, wanted, name, **how) for name in names if against]
    if as_json:
        print(_json(_evaluation(len(texts), scores, bins, comparisons)))
    else:
        print(*_table(scores, bins, comparisons), sep="\n")


@command
def score(
    model: Model,
    pairs: Annotated[str, typer.Argument(help="Pairs to score; - for standard input.")] = "-",
    source: SourceField = None,
    target: TargetField = None,
    as_json: AsJson = False,
    threads: Threads = 0,
    device: Device = "auto",
    engine: Engine = "auto",
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
    opened = _load(model, device, threads, engine)
    total, pieces = 0.0, 0
    for result in _watched(_scored(opened, read), pairs != "-" and not sys.stdout.isatty()):
        count = max(1, len(result.token_log_probs))
        total, pieces = total + result.log_prob, pieces + count
        print(_json(result.as_dict()) if as_json else f"{result.log_prob:.4f}\t{result.log_prob / count:.4f}")
    typer.echo(f"in all {total:.1f} nats for {pieces:,} pieces: {total / max(1, pieces):.4f} a piece", err=True)


@command
def check(
    train: Train = None,
    valid: Valid = None,
    test: Annotated[list[str] | None, typer.Option("--test", help="Test pairs.")] = None,
    source: SourceField = None,
    target: TargetField = None,
    preset: Preset = "",
    files: Files = None,
    sets: Sets = None,
    as_json: AsJson = False,
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
    if not config.preset and not any(spec.startswith("-") for spec in data.train):
        config = _config(train, valid, source, target, preset_for(_count(config)), files, sets)
    with Reporter() as reporter:
        report = inspection.inspect(
            data.train, data.valid, test or (), data.source, data.target, config,
            lambda done: reporter.show("reading", done, None) if reporter.moving else None,
        )  # fmt: skip
    print(_json(report.as_dict())) if as_json else print(*report.lines(), sep="\n")
    if not report.ok:
        raise typer.Exit(2)


@command
def export(
    model: Model,
    precision: Annotated[
        list[str] | None, typer.Option(help="float32 or int8; may be repeated. Without: both.", show_default=False)
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Development pairs, to compare the answers of both with PyTorch's.", show_default=False),
    ] = None,
    source: SourceField = None,
    target: TargetField = None,
    as_json: AsJson = False,
) -> None:
    """Write a model's ONNX graphs into its folder, which then runs without PyTorch.

    \b
    Examples:
      antiphon export model
      antiphon export model --data dev.tsv
      echo "A dog runs." | antiphon generate model --engine onnx-int8
    """
    from antiphon import corpus
    from antiphon import export as exporting

    pairs = list(corpus.read(data, source or "", target or "")) if data else []
    written = exporting.export(model, precision or ("float32", "int8"))
    for name, size in written.files.items():
        typer.echo(f"{written.folder / name}: {size / 1e6:.1f} MB", err=True)
    if not pairs:
        return
    found = exporting.parity(model, [pair.source for pair in pairs], [pair.target for pair in pairs])
    if as_json:
        print(_json(found))
        return
    for name, row in found.items():
        print(f"{name:8} {row['equal']:7.1%} of {len(pairs):,} outputs as PyTorch's, BLEU {row['bleu']:.2f}")
    lost = found["torch"]["bleu"] - found.get("int8", found["torch"])["bleu"]
    if lost > INT8_LOSS:
        typer.echo(f"warning: int8 loses {lost:.2f} BLEU; use --engine onnx where that matters", err=True)


@command
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Model folder to make.")] = Path("demo-model"),
    sets: Sets = None,
    quiet: Quiet = False,
) -> None:
    """Train a model that translates dates between ten languages, in about three minutes, and show what it can do.

    \b
    Examples:
      antiphon demo
      antiphon demo --out dates --set train.epochs=3
    """
    from antiphon import demo as demonstration
    from antiphon.progress import Reporter

    with Reporter(quiet) as reporter, _nothing_left(out):
        for line in demonstration.run(out, sets or (), shlex.join(["antiphon", *sys.argv[1:]]), reporter):
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
    name: Annotated[str, typer.Argument(help="Name of a recipe below recipes/, or its folder.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where data and model go.", show_default="runs/NAME")
    ] = None,
    sets: Sets = None,
    quiet: Quiet = False,
) -> None:
    """Fetch a recipe's corpus, train, score, and write results.json.

    The corpus is taken from the folder that ANTIPHON_DATA names, else from its official address. With --set the results
    are another experiment's, and are written to the output folder alone.

    \b
    Examples:
      antiphon recipe run multi30k-en-de
      antiphon recipe run multi30k-en-de --set train.seed=2 --out runs/second
    """
    from antiphon import recipe
    from antiphon.progress import Reporter

    folder = recipe.find(Path("recipes")).get(name, Path(name))
    with Reporter(quiet) as reporter:
        called = shlex.join(["antiphon", *sys.argv[1:]])
        results = recipe.run(folder, out or Path("runs") / folder.name, sets or (), called, reporter)
    for part, found in results["sets"].items():
        for score in found["scores"]:
            print(f"{part:20} {score['name']:15} {score['value']:7.2f}   {score['signature']}")
    print(f"{results['minutes']} minutes of training")


# What the commands share


def _config(
    train: Sequence[str] | None,
    valid: Sequence[str] | None,
    source: str | None,
    target: str | None,
    preset: str,
    files: Iterable[Path] | None,
    sets: Iterable[str] | None,
) -> "Config":
    from antiphon import config

    data = _given(train=train or None, valid=valid or None, source=source, target=target)
    return config.load(preset, files or (), sets or (), {"data": data})


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


@contextmanager
def _nothing_left(out: Path) -> Iterator[None]:
    """Take away what a run that was refused has begun to prepare: half of it is of no use."""
    run = out / "run"
    try:
        yield
    except UserError:
        if _first() and not (run / "data" / "prepared.json").exists():
            shutil.rmtree(run / "data", ignore_errors=True)
        for folder in (run, out):
            with suppress(OSError):  # it is not empty, or not there
                folder.rmdir()
        raise


def _first() -> bool:
    """Whether this process talks for all that train together."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _writing(path: Path) -> Iterator[TextIO]:
    """A file that is written whole or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        unfinished.replace(path)
    except BrokenPipeError:
        raise
    except OSError as e:
        raise UserError(f"{path}: cannot be written: {e.strerror}; make room, or name a file somewhere else") from e
    finally:
        with suppress(OSError):
            unfinished.unlink()


def _load(model: Path, device: str, threads: int, engine: str) -> "Seq2Seq":
    from antiphon.seq2seq import Seq2Seq

    return Seq2Seq.load(model, device, threads, engine)


def _count(config: "Config") -> int:
    """Training pairs; what is wrong with them is not asked yet."""
    from antiphon.corpus import records

    count = 0
    for spec in config.data.train:
        with suppress(UserError):
            count += sum(1 for _ in records(spec, config.data.source, config.data.target))
    return count


def _watched(results: Iterable["Result"], shown: bool, total: int | None = None) -> Iterator["Result"]:
    """Results as they come, with a moving bar on a terminal, and warnings for sources that were cut at the limit."""
    from antiphon.progress import Reporter

    cut = 0
    with Reporter() as reporter:
        for number, result in enumerate(results, start=1):
            cut += result.truncated
            if result.truncated and cut <= WARNED:
                pieces = len(result.source_pieces)
                reporter.say(f"warning: line {number}: the source is too long; only its first {pieces} pieces are read")
            if shown and reporter.moving:
                reporter.show("working", number, total)
            yield result
    if cut > WARNED:
        typer.echo(f"warning: {cut:,} sources in all were too long and cut; data.max_source_length is the limit",
                   err=True)  # fmt: skip


def _lines(number: int, result: "Result", nbest: int, as_json: bool) -> list[str]:
    """A result as lines of output."""
    if as_json:
        return [_json(result.as_dict())]
    if nbest > 1:
        found: list[Result | Candidate] = [result, *result.candidates]
        return [f"{number}\t{r.score:.4f}\t{_one_line(r.text)}" for r in found]
    return [_one_line(result.text)]


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _draw(path: Path, result: "Result") -> None:
    if result.attention is None:
        raise UserError(f"{path}: nothing to draw: the first text is empty, or the model has no attention")
    from antiphon import report

    end = ["</s>"] if result.finished else []
    missing = report.attention(path, [*result.source_pieces, "</s>"], [*result.pieces, *end], result.attention)
    if missing:
        typer.echo(f"warning: {path}: no font here can draw {missing}; an .svg leaves that to its viewer", err=True)


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


def _evaluation(
    sentences: int, scores: dict[str, "Score"], bins: Sequence["LengthBin"], comparisons: Sequence["Comparison"]
) -> dict[str, Any]:
    found: dict[str, Any] = {"sentences": sentences, "scores": {name: asdict(s) for name, s in scores.items()}}
    if bins:
        found["by_length"] = [b._asdict() for b in bins]
    if comparisons:
        found["comparisons"] = [asdict(c) for c in comparisons]
    return found


def _table(
    scores: dict[str, "Score"], bins: Sequence["LengthBin"], comparisons: Sequence["Comparison"]
) -> Iterator[str]:
    for found in scores.values():
        yield f"{found.name:12}{found.value:8.2f}  {found.signature}{f'  ({found.note})' if found.note else ''}"
    if bins:
        yield f"\nby source length  sentences  {next(iter(scores))}"
        yield from (
            f"{f'{b.low}-{b.high}' if b.high else f'{b.low}+':>16}  {b.sentences:9,}  {b.value:.2f}" for b in bins
        )
    for c in comparisons:
        low, high = c.interval
        yield (
            f"{c.metric}: {c.a:.2f} here, {c.b:.2f} there; difference {c.difference:+.2f} "
            f"(95 % of samples {low:+.2f} to {high:+.2f}), p = {c.p_value:.3f}  {c.signature}"
        )


if __name__ == "__main__":
    main()
