"""What can be typed after a command: every argument and option, each declared once, in the order of the help."""

from pathlib import Path
from typing import Annotated

import typer

from antiphon.version import __version__

SEARCH, SAMPLING, MACHINE = "How outputs are looked for", "Sampling", "Machine"


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
    str | None, typer.Option("--source", help="Column name or number, or field, of the source; else the first.")
]
TargetField = Annotated[
    str | None, typer.Option("--target", help="Column name or number, or field, of the target; else the second.")
]
Preset = Annotated[
    str, typer.Option("--preset", help="Where the options start from; else chosen by the number of training pairs.")
]
StartModel = Annotated[
    Path | None,
    typer.Option(
        "--from", help="Model folder whose options, vocabulary and weights training starts from.", show_default=False
    ),
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

# generate

Texts = Annotated[str, typer.Argument(help="Texts, one a line; - for standard input.")]
TextField = Annotated[
    str | None, typer.Option("--source", help="Column or field of the texts, where FILE has several.")
]
OutputFile = Annotated[Path | None, typer.Option("--out", "-o", help="File to write instead of standard output.")]
Prefixes = Annotated[Path | None, typer.Option(help="File of what each output must begin with.")]
Alignments = Annotated[Path | None, typer.Option(help="File for the alignments of pieces, source-target: 0-0 1-2.")]
Attention = Annotated[Path | None, typer.Option(help="Picture, .png or .svg, of what the first output attends to.")]

NbestList = Annotated[
    Path, typer.Argument(help="List of any system: lines of `generate --nbest`, or Moses's.", show_default=False)
]
ListSources = Annotated[Path, typer.Option("--sources", help="The texts that the list is of, one a line.")]
Weight = Annotated[
    float, typer.Option("--weight", help="Share of the model's log p; the rest is the list's own score.")
]
Reverse = Annotated[bool, typer.Option("--reverse", help="The model goes from target to source.")]
More = Annotated[
    list[Path] | None,
    typer.Option(
        "--with", help="A further model, with the first as an ensemble. May be repeated.", rich_help_panel=SEARCH
    ),
]
Shares = Annotated[
    str, typer.Option("--shares", help="How much each model of the ensemble counts: 2,1,1.", rich_help_panel=SEARCH)
]

# How outputs are looked for

Beam = Annotated[
    int | None,
    typer.Option(help="Hypotheses kept; 1: greedy. Else as the model's configuration says.", rich_help_panel=SEARCH),
]
Nbest = Annotated[
    int | None, typer.Option(help="Outputs a text, each as line<TAB>score<TAB>text.", rich_help_panel=SEARCH)
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
Groups = Annotated[
    int | None,
    typer.Option(help="Groups of diverse beams, among which --beam is divided; for --nbest.", rich_help_panel=SEARCH),
]
Diversity = Annotated[
    float | None,
    typer.Option(help="What a piece costs a group that the groups before it just took.", rich_help_panel=SEARCH),
]
Wanted = Annotated[
    Path | None,
    typer.Option(help="File of phrases, tab-separated, that each output must hold.", rich_help_panel=SEARCH),
]
Unwanted = Annotated[
    Path | None,
    typer.Option(help="File of phrases, tab-separated, that each output must not hold.", rich_help_panel=SEARCH),
]
Ban = Annotated[
    list[str] | None,
    typer.Option(metavar="PHRASE", help="Phrase that no output may hold. May be repeated.", rich_help_panel=SEARCH),
]
Mbr = Annotated[
    int | None,
    typer.Option(help="Draw so many outputs and take the one most like the others.", rich_help_panel=SAMPLING),
]
Utility = Annotated[
    str | None, typer.Option(help="How --mbr compares outputs: chrf or bleu.", rich_help_panel=SAMPLING)
]
NoUnk = Annotated[bool, typer.Option("--no-unk", help="Never write an unknown word.", rich_help_panel=SEARCH)]

Sample = Annotated[bool, typer.Option("--sample", help="Draw outputs at random.", rich_help_panel=SAMPLING)]
Temperature = Annotated[
    float | None, typer.Option(help="Log-probabilities are divided by it.", rich_help_panel=SAMPLING)
]
TopK = Annotated[int | None, typer.Option(help="From the k best pieces only.", rich_help_panel=SAMPLING)]
TopP = Annotated[float | None, typer.Option(help="From the fewest pieces that reach this.", rich_help_panel=SAMPLING)]
MinP = Annotated[
    float | None, typer.Option(help="From pieces this times as likely as the best.", rich_help_panel=SAMPLING)
]
Seed = Annotated[int | None, typer.Option(help="Of the drawing.", rich_help_panel=SAMPLING)]

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

Listed = Annotated[
    bool,
    typer.Option(
        "--shortlist",
        help="Write only pieces on the shortlist of `antiphon export --shortlist`: faster. In ONNX Runtime only.",
        rich_help_panel=MACHINE,
    ),
]

# evaluate

MeasuredModel = Annotated[Path | None, typer.Argument(help="Model folder whose outputs are measured.")]
TestPairs = Annotated[
    str,
    typer.Option(help="Test pairs, named as --train names them in `antiphon train`. All references of a target count."),
]
Hypotheses = Annotated[Path | None, typer.Option(help="Outputs to measure, one a line, instead of a model's.")]
References = Annotated[
    list[Path] | None, typer.Option(help="References, one a line, instead of the targets. May be repeated.")
]
Against = Annotated[Path | None, typer.Option(help="Other outputs to compare with, one a line, by paired bootstrap.")]
Metric = Annotated[
    list[str] | None,
    typer.Option(
        help="bleu, chrf, chrf++, ter, rouge1, rouge2, rougeL, exact_match, word_error, wer, per or cer; may be "
        "repeated. Else bleu, chrf and what the model was chosen by."
    ),
]
Lowercase = Annotated[bool, typer.Option("--lowercase", help="Ignore case.")]
Tokenize = Annotated[
    str, typer.Option(help="BLEU's tokeniser: 13a, intl, zh, ja-mecab, char or none; else by language.")
]
Language = Annotated[str, typer.Option(help="Language code of the references; else by their script.")]
ByLength = Annotated[bool, typer.Option("--by-length", help="The first metric by source length too.")]
Outputs = Annotated[Path | None, typer.Option(help="File to keep the outputs in.")]

# score, tune, average, export, demo, recipe

Pairs = Annotated[str, typer.Argument(help="Pairs to score; - for standard input.")]
Vary = Annotated[
    list[str],
    typer.Option(
        "--vary",
        metavar="SECTION.KEY=VALUES",
        help="Option to look for: a range 1e-4..1e-2, in logarithms where it spans a factor of ten, or values "
        "lstm,gru. May be repeated.",
        show_default=False,
    ),
]
Trials = Annotated[int, typer.Option(min=1, help="Trainings in all, those of earlier calls counted.")]
TrialMinutes = Annotated[
    float | None,
    typer.Option("--minutes", min=0, help="Longest trial in minutes; else as train.minutes says.", show_default=False),
]
NewStudy = Annotated[Path, typer.Option("--out", "-o", help="Folder for the trials.", show_default=False)]
Models = Annotated[list[Path], typer.Argument(help="Model folders.", show_default=False)]
Precision = Annotated[
    list[str] | None, typer.Option(help="float32 or int8; may be repeated. Without: both.", show_default=False)
]
DevelopmentPairs = Annotated[
    str | None,
    typer.Option(help="Development pairs, to compare the answers of both with PyTorch's.", show_default=False),
]
Shortlist = Annotated[
    list[str] | None,
    typer.Option(
        help="Training pairs, from whose alignments a shortlist of target pieces is learnt. May be repeated.",
        show_default=False,
    ),
]
NewModel = Annotated[Path, typer.Option("--out", "-o", help="Model folder to make.", show_default=False)]
DemoModel = Annotated[Path, typer.Option("--out", "-o", help="Model folder to make.")]
Recipe = Annotated[str, typer.Argument(help="Name of a recipe below recipes/, or its folder.", show_default=False)]
RecipeFolder = Annotated[
    Path | None, typer.Option("--out", "-o", help="Where data and models go.", show_default="runs/NAME")
]
ResultsPage = Annotated[Path, typer.Option("--out", "-o", help="The page to write.")]
OnlyModels = Annotated[
    list[str] | None, typer.Option("--only", help="Only this model of a recipe that has several. May be repeated.")
]
