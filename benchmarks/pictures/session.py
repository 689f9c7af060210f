"""A session in a terminal with the demo's dates, and the attention of the model that it trains.

The commands are run for real in a folder, which keeps their outputs; what is there already is not run again.
"""

import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from antiphon import files
from antiphon.demo import dates
from antiphon.evaluation import plots
from antiphon.evaluation.figures import Words
from antiphon.seq2seq import Seq2Seq

WIDTH = 96  # columns
SOURCE = "1994年10月28日星期五"  # its date stands in another order than in English


CHINESE = Words(
    source="源文本：模型读到的内容",
    target="输出：模型写出的内容",
    share="注意力占比",
    caption="每一行表示模型写出一个输出词元时在看源文本的哪些位置。\n颜色越深，占比越大；每行占比之和为 1。",
    space="␣ 表示空格，",
    end="</s> 表示文本结束。",
)


class Command(NamedTuple):
    """A command, and what is shown of its output: the first group of the lines that match an expression."""

    name: str
    line: str
    shown: str
    stdin: str = ""


COMMANDS = (
    Command(
        "check",
        "antiphon check --train dates/train.tsv --test dates/test.tsv",
        r"((?:training|test): [\d,]+ pairs.*|  (?:source|target) characters:.*|nothing to complain of)",
    ),
    Command(
        "train",
        "antiphon train --preset demo --config tags.toml --train dates/train.tsv --valid dates/valid.tsv --out model",
        r"([\d,]+ training pairs.*|[\d,]+ weights.*|update .*, exact_match [\d.]+|.* is reached [^;]*; best [^;]*)",
    ),
    Command("generate", f"echo '<2en> {SOURCE}' | antiphon generate model", r"(.*\d{4})$", stdin=f"<2en> {SOURCE}\n"),
    Command(
        "evaluate",
        "antiphon evaluate model --data dates/test.tsv --metric exact_match --metric cer",
        r"((?:exact_match|cer) .*?)  \w+\|",
    ),
)


def prepare(folder: Path) -> None:
    """Write the data and run the commands, unless that was done before."""
    if not (folder / "dates").is_dir():
        with files.whole_folder(folder / "dates") as unfinished:
            dates.write(unfinished)
    files.write(folder / "tags.toml", f"[text]\nsymbols = {dates.symbols()}\n".replace("'", '"'))
    for command in COMMANDS:
        path = folder / f"{command.name}.txt"
        if not path.is_file():
            files.write(path, _run(command, folder))


def draw_terminal(folder: Path, path: Path) -> None:
    """Write the session as an SVG of a terminal, whose fonts are the viewer's own."""
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor")
    for command in COMMANDS:
        console.print(Text("$ ", "bold green") + Text(command.line, "bold"), soft_wrap=False, overflow="fold")
        for line in _shown(command, (folder / f"{command.name}.txt").read_text("utf-8")):
            console.print(Text(line), overflow="ellipsis", no_wrap=True)
        console.print()
    svg = console.export_svg(title="antiphon (outputs shortened)", unique_id="antiphon")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;]+;", "font-family: 'DejaVu Sans Mono', Menlo, Consolas, monospace;", svg)
    files.write(path, svg.replace("<!-- Generated with Rich https://www.textualize.io -->", ""))


def draw_attention(folder: Path, path: Path, words: Words) -> None:
    """Draw what the model attends to while it writes an English date from a Chinese one."""
    (result,) = Seq2Seq.load(folder / "model").generate([f"<2en> {SOURCE}"])
    assert result.attention is not None
    title = f"{SOURCE} → {result.text}"
    warning = plots.attention(path, result.source_pieces, result.pieces, result.attention, title, words)
    if warning:
        raise SystemExit(warning)


def _run(command: Command, folder: Path) -> str:
    arguments = [sys.executable, "-m", "antiphon.cli", *command.line.partition("antiphon ")[2].split()]
    done = subprocess.run(
        arguments, cwd=folder, input=command.stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )
    if done.returncode:
        raise SystemExit(f"{command.line}: {done.stdout}")
    return done.stdout


def _shown(command: Command, output: str) -> list[str]:
    lines = [match[1] for line in output.splitlines() if (match := re.match(command.shown, line))]
    if not lines:
        raise SystemExit(f"no line of the output of `antiphon {command.name}` matches {command.shown}")
    return lines
