"""A recipe's pictures, like those of the papers: of its models' outputs, or of a model itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from antiphon.data.scripts import writing_of
from antiphon.errors import UserError
from antiphon.evaluation import plots
from antiphon.evaluation.significance import by_length as score_by_length
from antiphon.recipes.recipe import Picture
from antiphon.seq2seq import Seq2Seq

Written = tuple[list[str], list[list[str]], list[str]]  # sources, references, outputs


def by_length(picture: Picture, folder: Path, runs: Mapping[str, Written]) -> None:
    """Score by the length of the source, a line for each model (Bahdanau 2015, figure 2)."""
    systems = {
        name: score_by_length(sources, outputs, references, picture.metric, picture.bins)
        for name, (sources, references, outputs) in runs.items()
    }
    spaced = all(writing_of(sources) == "spaced" for sources, _, _ in runs.values())
    unit = "words" if spaced else "characters"
    title = picture.title or f"{picture.metric} by the length of the source"
    plots.by_length(folder / picture.file, systems, picture.metric, title, unit)


def bars(picture: Picture, folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A metric of every row and model that has it."""
    sets = {row["set"] for row in rows}
    values: dict[str, float] = {}
    spreads: dict[str, float] = {}
    for row in rows:
        label = row["model"] if len(sets) == 1 else f"{row['model']}, {row['set']}"
        for score in row["scores"]:
            if score["name"] == picture.metric:
                values[label] = score["value"]
                spreads[label] = score["deviation"] or 0.0
    title = picture.title or f"{picture.metric} of each model"
    plots.bars(folder / picture.file, values, spreads, picture.metric, title)


def of_model(picture: Picture, folder: Path, model: Seq2Seq) -> None:
    """Alignment matrices (Bahdanau 2015, figure 3), or sentence vectors in the plane (Sutskever 2014, figure 2).

    Raises:
        UserError: the model has no attention, and the picture is of attention.
    """
    path = folder / picture.file
    if picture.kind == "vectors":
        title = picture.title or "Sentence vectors"
        plots.vectors(path, picture.texts, model.vectors(picture.texts), title)
        return
    for number, (text, result) in enumerate(zip(picture.texts, model.generate(picture.texts), strict=True), start=1):
        if result.attention is None:
            raise UserError(f"{path}: this model has no attention to draw")
        name = path.name if len(picture.texts) == 1 else f"{path.stem}-{number}{path.suffix}"
        title = picture.title or f"{text} → {result.text}"
        plots.attention(path.with_name(name), result.source_pieces, result.pieces, result.attention, title)
