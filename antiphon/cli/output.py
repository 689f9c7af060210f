"""What commands write: results as lines, tables and pictures, and warnings."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from antiphon.errors import UserError

if TYPE_CHECKING:
    from antiphon.evaluation.metrics import Score
    from antiphon.evaluation.significance import Comparison, LengthBin
    from antiphon.result import Result

WARNED = 5  # truncated sources that are reported one by one


def watched(results: Iterable["Result"], shown: bool, total: int | None = None) -> Iterator["Result"]:
    """Pass results on as they come, with warnings for truncated sources.

    Args:
        results: in the order of the input.
        shown: show a moving bar on a terminal, and elsewhere a line every half minute.
        total: number of results, where it is known.
    """
    from antiphon.progress import Reporter

    truncated = 0
    with Reporter() as reporter:
        for number, result in enumerate(results, start=1):
            truncated += result.truncated
            if result.truncated and truncated <= WARNED:
                pieces = len(result.source_pieces)
                reporter.say(f"warning: line {number}: the source is too long; only its first {pieces} pieces are read")
            if shown:
                reporter.show("working", number, total)
            yield result
    if truncated > WARNED:
        typer.echo(f"warning: {truncated:,} sources were longer than data.max_source_length and truncated", err=True)


def result_lines(number: int, result: "Result", nbest: int, as_json: bool) -> list[str]:
    """Write a result as lines.

    Args:
        number: of the text, from 1.
        result: what the model made of it.
        nbest: outputs for each text; with several each has a line with number and score.
        as_json: one line with everything.
    """
    if as_json:
        return [to_json(result.as_dict())]
    if nbest > 1:
        return [f"{number}\t{output.score:.4f}\t{one_line(output.text)}" for output in result.outputs]
    return [one_line(result.text)]


def one_line(text: str) -> str:
    """Put a text on one line, since files of outputs have one line for each text."""
    return " ".join(text.splitlines())


def to_json(value: Any) -> str:
    """Write a value as one line of JSON that people can read in any script."""
    return json.dumps(value, ensure_ascii=False)


def draw(path: Path, result: "Result") -> None:
    """Draw the attention of the best output.

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
    """The results of `evaluate` as plain values, as JSON has them."""
    values: dict[str, Any] = {"sentences": sentences, "scores": {name: asdict(s) for name, s in scores.items()}}
    if bins:
        values["by_length"] = [b._asdict() for b in bins]
    if comparisons:
        values["comparisons"] = [asdict(c) for c in comparisons]
    return values


def table(
    scores: dict[str, "Score"], bins: Sequence["LengthBin"], comparisons: Sequence["Comparison"]
) -> Iterator[str]:
    """The results of `evaluate` as lines for people."""
    for score in scores.values():
        scale, note = (f"{score.scale}  " if score.scale else ""), (f"  ({score.note})" if score.note else "")
        yield f"{score.name:12}{score.value:8.2f}  {scale}{score.signature}{note}"
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
