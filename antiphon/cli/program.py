"""The program `antiphon`: its groups of commands, and what they share."""

import inspect
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import typer

from antiphon.cli import flags
from antiphon.cli.guard import guarded

P = ParamSpec("P")

app = typer.Typer(
    name="antiphon",
    help="Sequence-to-sequence models built on recurrent networks: train, generate, evaluate.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
recipes = typer.Typer(
    help="Reproduce results on real corpora, one command each.\n\n\b\nExamples:\n  antiphon recipe list\n"
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
    alone = name in ("demo", "list", "table")  # commands that need no argument
    return group.command(name, help=_paragraphs(function.__doc__ or ""), no_args_is_help=not alone)(guarded(function))


def _paragraphs(text: str) -> str:
    """A docstring with one line for each paragraph, so that the terminal wraps them; examples stay as they are."""
    parts = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(part if part.startswith("\b") else " ".join(part.split()) for part in parts)


@app.callback()
def _antiphon(version: flags.Version = False) -> None:
    pass


def typed(leave: Sequence[str] = ()) -> str:
    """The command line of this process, without the options in `leave`, which have one value each."""
    words = list(sys.argv[1:])
    for option in leave:
        while option in words:
            at = words.index(option)
            del words[at : at + 2]
        words = [word for word in words if not word.startswith(f"{option}=")]
    processes = os.environ.get("WORLD_SIZE", "1")
    program = ["antiphon"] if processes == "1" else ["torchrun", "--nproc-per-node", processes, "-m", "antiphon.cli"]
    return shlex.join([*program, *words])


def given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def first() -> bool:
    """Whether this process reports for all that train together."""
    return os.environ.get("RANK", "0") == "0"
