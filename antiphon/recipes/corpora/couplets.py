"""Couplets of Tang regulated verse, a line to its parallel line; from github.com/chinese-poetry/chinese-poetry, MIT.

The pairs have a second task: both lines of a couplet, with a comma, to the first line of the poem's next couplet.
Together the two tasks continue a first line to a whole poem.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from antiphon.evaluation.metrics import Score
from antiphon.files import write
from antiphon.recipes import fetch
from antiphon.recipes.tones import contrast, rhymes, tone

if TYPE_CHECKING:
    from antiphon.seq2seq import Seq2Seq

COMMA = "，"
Couplet = tuple[str, str]


def prepare(files: Mapping[str, Path], out: Path) -> None:
    """Write train.tsv with both tasks, valid.tsv and test.tsv with couplets, and next.test.tsv with the other task.

    Args:
        files: train.tsv, dev.tsv and test.tsv, poem after poem, without marks between them.
        out: the folder to write into.
    """
    train, valid, test = (_couplets(files[f"{name}.tsv"]) for name in ("train", "dev", "test"))
    _write(out / "train.tsv", [*train, *_continued(train)])
    _write(out / "valid.tsv", valid)
    _write(out / "test.tsv", test)
    _write(out / "next.test.tsv", _continued(test))


def poem(model: "Seq2Seq", first: str, lines: int = 8, beam: int = 20) -> list[str]:
    """Continue a first line: its parallel line, the next line, its parallel line and so on.

    Each line is the output of the beam with the fewest faults, among equals the most probable: it should be as long as
    the first line, repeat no character of the poem, and, where it ends a couplet, end in a level tone and rhyme.
    """
    written = [first]
    while len(written) < lines:
        ends = len(written) % 2 == 1
        source = written[-1] if ends else COMMA.join(written[-2:])
        result = model.generate([source], beam=beam, nbest=beam)[0]
        outputs = [output.text for output in result.outputs]
        written.append(min(outputs, key=lambda text: _poem_faults(written, text, ends)))
    return written


def length(items: Sequence[Mapping[str, Any]], outputs: Sequence[str]) -> Score:
    """Per cent of outputs that are as long as their source."""
    same = [len(item["source"]) == len(output) for item, output in zip(items, outputs, strict=True)]
    return Score("length", 100 * sum(same) / len(same), "length|equal|per cent", True, scale="per cent of outputs")


def tones(items: Sequence[Mapping[str, Any]], outputs: Sequence[str]) -> Score:
    """Per cent of outputs that are as long as their source, with opposed tones at all even places."""
    right = [contrast(item["source"], output) == 1 for item, output in zip(items, outputs, strict=True)]
    signature = "tones|even places opposed|pingshui|per cent"
    return Score("tones", 100 * sum(right) / len(right), signature, True, scale="per cent of outputs")


def faults(item: Mapping[str, Any], output: str) -> float:
    """Unequal length, the share of even places with equal tones, and characters repeated or taken from the source."""
    source = item["source"]
    uneven = float(len(source) != len(output))
    return uneven + (1 - contrast(source, output)) + len(output) - len(set(output) - set(source))


def _poem_faults(written: Sequence[str], text: str, ends: bool) -> float:
    """Weighted faults of a poem's next line; `ends`: it is the second line of its couplet."""
    wrong = 5.0 * (len(text) != len(written[0])) + len(text) - len(set(text) - set("".join(written)))
    if ends:
        others = [rhymes(line[-1]) for line in written[1::2]]
        wrong += 2.0 * (text[-1:] != "" and not all(rhymes(text[-1]) & group for group in others))
        wrong += tone(text[-1:]) not in ("level", "both")
        wrong += 2 * (1 - contrast(written[-1], text))
    return wrong


def _couplets(path: Path) -> list[Couplet]:
    rows = (line.split("\t") for line in fetch.text(path).splitlines())
    return [(first, second) for first, second in rows]


def _continued(couplets: Sequence[Couplet]) -> list[Couplet]:
    """Couplets with the line after them, where both are of one poem: couplets of equal length that rhyme."""
    return [
        (COMMA.join(before), after[0])
        for before, after in pairwise(couplets)
        if len(before[1]) == len(after[1]) and rhymes(before[1][-1]) & rhymes(after[1][-1])
    ]


def _write(path: Path, rows: Iterable[Couplet]) -> None:
    write(path, "".join(f"{source}\t{target}\n" for source, target in rows))


MEASURES = {"length": length, "tones": tones}
