"""Arguments and flags of the commands, each declared once; those of search derive from `config.search`."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from antiphon.config.search import OPTIONS, SAMPLING_ONLY, Option
from antiphon.version import __version__

SEARCH, SAMPLING, RUNTIME = "Search (default: as the model's configuration says)", "Sampling", "Runtime"

Command = Callable[..., None]
Decorator = Callable[[Command], Command]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"antiphon {__version__}")
        raise typer.Exit


def _print_reference(wanted: bool) -> None:
    if wanted:
        from antiphon.config import loading

        for name, meaning in loading.presets().items():
            typer.echo(f"# preset {name}: {meaning}")
        typer.echo(f"\n{loading.reference()}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")]
Reference = Annotated[
    bool,
    typer.Option(
        "--options", callback=_print_reference, is_eager=True, help="Print all presets and options, and what they mean."
    ),
]

# Data and configuration

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
Test = Annotated[list[str] | None, typer.Option("--test", help="Test pairs.")]
SourceField = Annotated[
    str | None, typer.Option("--source", help="Column name or number, or field, of the source; default: the first.")
]
TargetField = Annotated[
    str | None, typer.Option("--target", help="Column name or number, or field, of the target; default: the second.")
]
Preset = Annotated[
    str,
    typer.Option(
        "--preset", help="Set of options to start from, taken as it stands; default: chosen by a look at the data."
    ),
]
StartModel = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="Warm start: model folder whose options, vocabulary and weights the training begins with.",
        show_default=False,
    ),
]
Files = Annotated[
    list[Path] | None, typer.Option("--config", help="TOML file of options, over the preset. May be repeated.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="One option, over all others. May be repeated."),
]
Minutes = Annotated[
    float | None,
    typer.Option(
        "--minutes",
        min=0,
        help="Fit the whole training into this time on this machine, by train.minutes; default: as many passes over "
        "the data as suit them.",
        show_default=False,
    ),
]
DATA: dict[str, tuple[Any, Any]] = {  # annotation and default
    "train": (Train, None),
    "valid": (Valid, None),
    "source": (SourceField, None),
    "target": (TargetField, None),
    "preset": (Preset, ""),
    "start": (StartModel, None),
    "files": (Files, None),
    "sets": (Sets, None),
    "minutes": (Minutes, None),
}
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only messages.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]

# generate and rerank

Texts = Annotated[str, typer.Argument(help="Texts, one a line; - for standard input.")]
TextField = Annotated[
    str | None, typer.Option("--source", help="Column or field of the texts, where FILE has several.")
]
OutputFile = Annotated[Path | None, typer.Option("--out", "-o", help="File to write instead of standard output.")]
Prefixes = Annotated[Path | None, typer.Option(help="File with the prefix of each output, one a line.")]
Alignments = Annotated[Path | None, typer.Option(help="File for the alignments of pieces, source-target: 0-0 1-2.")]
Attention = Annotated[Path | None, typer.Option(help="Picture, .png or .svg, of the first output's attention.")]
Wanted = Annotated[
    Path | None,
    typer.Option(
        help="File of required phrases: a line for each text, phrases separated by tabs.", rich_help_panel=SEARCH
    ),
]
Unwanted = Annotated[
    Path | None,
    typer.Option(
        help="File of forbidden phrases: a line for each text, phrases separated by tabs.", rich_help_panel=SEARCH
    ),
]
Ban = Annotated[
    list[str] | None,
    typer.Option(metavar="PHRASE", help="Phrase forbidden in every output. May be repeated.", rich_help_panel=SEARCH),
]
Sample = Annotated[
    bool, typer.Option("--sample", help="Sample outputs instead of searching.", rich_help_panel=SAMPLING)
]
Mbr = Annotated[
    int | None,
    typer.Option(
        help="Minimum Bayes risk: sample this many outputs and choose the one most like the others.",
        rich_help_panel=SAMPLING,
    ),
]
Utility = Annotated[
    str | None, typer.Option(help="Metric by which --mbr compares: chrf or bleu.", rich_help_panel=SAMPLING)
]
NbestList = Annotated[
    Path, typer.Argument(help="N-best list: lines of `generate --nbest`, or Moses's format.", show_default=False)
]
ListSources = Annotated[Path, typer.Option("--sources", help="The sources of the list, one a line.")]
Weight = Annotated[
    float, typer.Option("--weight", help="Share of the model's log p in the new score; the rest is the list's own.")
]
Reverse = Annotated[bool, typer.Option("--reverse", help="The model goes from target to source.")]

# How a model runs

Batch = Annotated[int, typer.Option(help="Texts decoded at a time.", rich_help_panel=RUNTIME)]
LOADING: dict[str, tuple[Any, Any]] = {  # annotation and default
    "threads": (
        Annotated[int, typer.Option(min=0, help="Processor threads; 0: all cores.", rich_help_panel=RUNTIME)], 0
    ),
    "device": (Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.", rich_help_panel=RUNTIME)], "auto"),
    "engine": (
        Annotated[
            str,
            typer.Option(
                help="torch, or onnx or onnx-int8 after `antiphon export`; auto: onnx where the model was exported.",
                rich_help_panel=RUNTIME,
            ),
        ],
        "auto",
    ),
    "shortlist": (
        Annotated[
            bool,
            typer.Option(
                "--shortlist",
                help="Write only pieces of the shortlist made by `antiphon export --shortlist`: faster.",
                rich_help_panel=RUNTIME,
            ),
        ],
        False,
    ),
    "more": (
        Annotated[
            list[Path] | None,
            typer.Option(
                "--with",
                help="Further model; with the first it is an ensemble. May be repeated.",
                rich_help_panel=RUNTIME,
            ),
        ],
        None,
    ),
    "shares": (
        Annotated[
            str, typer.Option("--shares", help="Weights of the ensemble's models: 2,1,1.", rich_help_panel=RUNTIME)
        ],
        "",
    ),
}  # fmt: skip

# evaluate

EvaluatedModel = Annotated[Path | None, typer.Argument(help="Model folder to evaluate.")]
TestPairs = Annotated[
    str,
    typer.Option(help="Test pairs, named as for `antiphon train --train`. All references of a target count."),
]
Hypotheses = Annotated[Path | None, typer.Option(help="Outputs to score, one a line, instead of a model's.")]
References = Annotated[
    list[Path] | None, typer.Option(help="References, one a line, instead of the targets. May be repeated.")
]
Against = Annotated[Path | None, typer.Option(help="Other outputs to compare with, one a line, by paired bootstrap.")]
Metric = Annotated[
    list[str] | None,
    typer.Option(
        help="bleu, chrf, chrf++, ter, rouge1, rouge2, rougeL, exact_match, word_error, wer, per or cer; may be "
        "repeated. Default: bleu, chrf and the metric that the model was chosen by."
    ),
]
Lowercase = Annotated[bool, typer.Option("--lowercase", help="Ignore case.")]
Tokenize = Annotated[
    str, typer.Option(help="BLEU's tokeniser: 13a, intl, zh, ja-mecab, char or none; default: by language.")
]
Language = Annotated[str, typer.Option(help="Language code of the references; default: by their script.")]
ByLength = Annotated[bool, typer.Option("--by-length", help="Show the first metric by source length too.")]
Outputs = Annotated[Path | None, typer.Option(help="File to write the outputs to.")]

# score, tune, average, export, demo, recipe

Pairs = Annotated[str, typer.Argument(help="Pairs to score; - for standard input.")]
Vary = Annotated[
    list[str],
    typer.Option(
        "--vary",
        metavar="SECTION.KEY=VALUES",
        help="Option to search over: a range 1e-4..1e-2 (logarithmic where it spans a factor of ten), or values "
        "lstm,gru. May be repeated.",
        show_default=False,
    ),
]
Trials = Annotated[int, typer.Option(min=1, help="Number of trainings, those of earlier calls included.")]
TrialMinutes = Annotated[
    float | None,
    typer.Option(
        "--minutes", min=0, help="Time limit of a trial in minutes; default: train.minutes.", show_default=False
    ),
]
NewStudy = Annotated[Path, typer.Option("--out", "-o", help="Folder for the trials.", show_default=False)]
Models = Annotated[list[Path], typer.Argument(help="Model folders.", show_default=False)]
Precision = Annotated[
    list[str] | None, typer.Option(help="float32 or int8; may be repeated. Default: both.", show_default=False)
]
DevelopmentPairs = Annotated[
    str | None,
    typer.Option(help="Development pairs on which to compare the outputs with PyTorch's.", show_default=False),
]
Shortlist = Annotated[
    list[str] | None,
    typer.Option(
        help="Training pairs from whose alignments a shortlist of target pieces is learnt. May be repeated.",
        show_default=False,
    ),
]
NewModel = Annotated[Path, typer.Option("--out", "-o", help="Model folder to write.", show_default=False)]
DemoModel = Annotated[Path, typer.Option("--out", "-o", help="Model folder to write.")]
Recipe = Annotated[str, typer.Argument(help="Name of a recipe below recipes/, or its folder.", show_default=False)]
RecipeFolder = Annotated[
    Path | None, typer.Option("--out", "-o", help="Folder for data and models.", show_default="runs/NAME")
]
ResultsPage = Annotated[Path, typer.Option("--out", "-o", help="The page to write.")]
OnlyModels = Annotated[
    list[str] | None, typer.Option("--only", help="Only this model of a recipe that has several. May be repeated.")
]

# Several flags for one parameter of a command


def spread(parameter: str, flags: Mapping[str, tuple[Any, Any]], make: Callable[[dict[str, Any]], Any]) -> Decorator:
    """Give a command several flags for one of its parameters.

    Args:
        parameter: the parameter's name.
        flags: annotation and default of each flag, which stand in the parameter's place in the help.
        make: makes the parameter's value of the flags' values.

    Returns:
        A decorator of the command's function.
    """

    def decorate(function: Command) -> Command:
        signature = inspect.signature(function)
        parameters = []
        for name, declared in signature.parameters.items():
            shown = {name: (declared.annotation, declared.default)} if name != parameter else flags
            parameters += [
                inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
                for key, (annotation, default) in shown.items()
            ]

        @functools.wraps(function)
        def command(**values: Any) -> None:
            own = {name: values.pop(name) for name in flags}
            function(**values, **{parameter: make(own)})

        command.__annotations__ = {one.name: one.annotation for one in parameters}
        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def search(*names: str) -> Decorator:
    """Give a command the flags of these search options; its parameter `search` holds those that were given."""

    def given(values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if value is not None}

    return spread("search", {name: (_search_flag(name, OPTIONS[name]), None) for name in names}, given)


def data(make: Callable[[dict[str, Any]], Any], leave: Iterable[str] = ()) -> Decorator:
    """Give a command the flags of data and options; its parameter `options` is what `make` makes of them."""
    return spread("options", {name: flag for name, flag in DATA.items() if name not in leave}, make)


def loading(make: Callable[[dict[str, Any]], Any], leave: Iterable[str] = ()) -> Decorator:
    """Give a command the flags of loading models; its parameter `load` is what `make` makes of them."""
    return spread("load", {name: flag for name, flag in LOADING.items() if name not in leave}, make)


def _search_flag(name: str, option: Option) -> Any:
    """The flag of a search option: None where it is not given."""
    panel = SAMPLING if name in SAMPLING_ONLY else SEARCH
    meaning = option.meaning.removeprefix("sampling: ")
    text = f"{meaning[0].upper()}{meaning[1:]}."
    return Annotated[option.kind | None, typer.Option(f"--{name.replace('_', '-')}", help=text, rich_help_panel=panel)]
