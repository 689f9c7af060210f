"""What commands write: results as lines, tables and pictures; warnings; files that are whole or not there at all."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

from antiphon.errors import UserError

if TYPE_CHECKING:
    from antiphon.evaluation.metrics import Score
    from antiphon.evaluation.significance import Comparison, LengthBin
    from antiphon.result import Result

WARNED = 5  # sources cut at the limit that are told one by one


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """Open a file that is written whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
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


def watched(results: Iterable["Result"], shown: bool, total: int | None = None) -> Iterator["Result"]:
    """Pass results on as they come, with warnings for sources that were cut at the limit.

    Args:
        results: in the order of the input.
        shown: show a moving bar on a terminal, and elsewhere a line every half minute.
        total: number of results, where it is known.
    """
    from antiphon.progress import Reporter

    cut = 0
    with Reporter() as reporter:
        for number, result in enumerate(results, start=1):
            cut += result.truncated
            if result.truncated and cut <= WARNED:
                pieces = len(result.source_pieces)
                reporter.say(f"warning: line {number}: the source is too long; only its first {pieces} pieces are read")
            if shown:
                reporter.show("working", number, total)
            yield result
    if cut > WARNED:
        limit = "data.max_source_length is the limit"
        typer.echo(f"warning: {cut:,} sources in all were too long and cut; {limit}", err=True)


def result_lines(number: int, result: "Result", nbest: int, as_json: bool) -> list[str]:
    """Write a result as lines.

    Args:
        number: of the text, from 1.
        result: what the model made of it.
        nbest: outputs a text; of several each has a line with number and score.
        as_json: one line with all there is to know.
    """
    if as_json:
        return [to_json(result.as_dict())]
    if nbest > 1:
        return [f"{number}\t{output.score:.4f}\t{one_line(output.text)}" for output in result.outputs]
    return [one_line(result.text)]


def one_line(text: str) -> str:
    """Put a text on one line, since files of texts have a line a text."""
    return " ".join(text.splitlines())


def to_json(value: Any) -> str:
    """Write a value as one line of JSON that people can read in any script."""
    return json.dumps(value, ensure_ascii=False)


def draw(path: Path, result: "Result") -> None:
    """Draw what an output attends to.

    Raises:
        UserError: there is no attention, or the picture cannot be written.
    """
    if result.attention is None:
        raise UserError(f"{path}: nothing to draw: the first text is empty, or the model has no attention")
    from antiphon.evaluation import plots

    title = f"Attention: {result.text}"
    warning = plots.attention(path, result.source_pieces, result.pieces, result.attention, title)
    if warning:
        typer.echo(f"warning: {warning}", err=True)


def evaluation(
    sentences: int, scores: dict[str, "Score"], bins: Sequence["LengthBin"], comparisons: Sequence["Comparison"]
) -> dict[str, Any]:
    """Put what `evaluate` found into plain values, as JSON has them."""
    found: dict[str, Any] = {"sentences": sentences, "scores": {name: asdict(s) for name, s in scores.items()}}
    if bins:
        found["by_length"] = [b._asdict() for b in bins]
    if comparisons:
        found["comparisons"] = [asdict(c) for c in comparisons]
    return found


def table(
    scores: dict[str, "Score"], bins: Sequence["LengthBin"], comparisons: Sequence["Comparison"]
) -> Iterator[str]:
    """Write what `evaluate` found as lines for people."""
    for found in scores.values():
        scale, note = (f"{found.scale}  " if found.scale else ""), (f"  ({found.note})" if found.note else "")
        yield f"{found.name:12}{found.value:8.2f}  {scale}{found.signature}{note}"
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
