"""Recipes: what makes a published result again, read from a `recipe.toml`.

A recipe is a folder whose `recipe.toml` names the corpus's files with their addresses and checksums, a configuration,
variants of it, and the sets to score with published results beside them. `experiment.run` runs it and writes
`results.json` next to it.
"""

import tomllib
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from antiphon.errors import UserError, near

RECIPE, RESULTS = "recipe.toml", "results.json"


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class File(Part):
    """One file of a corpus."""

    url: str  # empty: no address has this very file
    sha256: str  # of the text, unpacked, so that it holds however the file was compressed
    local: str  # its place below the folder that ANTIPHON_DATA names
    member: str = ""  # its path inside, where the address is a .zip or .tar archive
    column: int = Field(0, ge=0)  # of tab-separated lines only this column is the text, from 1; 0: whole lines


class Written(Part):
    """Pairs of which a model that is trained already writes one side, such as back-translation (Sennrich 2016)."""

    file: str  # what `data.train` calls them, ending in .jsonl
    texts: str  # the other side, a text a line, as `data.train` names a corpus
    model: str  # its first seed writes, or
    ensemble: int = Field(1, ge=1)  # so many seeds of it together
    side: Literal["source", "target"]  # what it writes
    sample: bool = False  # draw at random instead of looking for the most probable (Edunov 2018)
    search: dict[str, Any] = Field(default_factory=dict)  # options of `Seq2Seq.generate` over the model's own


class Variant(Part):
    """One model of a recipe that has several."""

    name: str
    about: str = ""
    preset: str = ""
    seeds: list[int] = Field(default_factory=list)  # other than the recipe's
    start: str = ""  # a model above it, whose same seed it starts from; see `train.start`
    written: list[Written] = Field(default_factory=list)  # made by models above it before it is trained
    config: dict[str, dict[str, Any]] = Field(default_factory=dict)  # laid over the recipe's


class Row(Part):
    """A set of pairs to score, and how outputs are looked for."""

    name: str
    pairs: str  # as `data.train` names a corpus; `{model}` stands for the model's name
    models: list[str] = Field(default_factory=list)  # only these; none named: all
    ensemble: int = Field(1, ge=1)  # the first so many seeds of a model together
    search: dict[str, Any] = Field(default_factory=dict)  # options of `Seq2Seq.generate` over the model's own
    sample: bool = False  # draw at random
    rescored_by: str = ""  # all seeds of this model together choose again among the outputs of a search with `nbest`
    weight: float = Field(0.5, ge=0, le=1)  # of their log p in that choice; the rest is the list's own
    faults: float = Field(0.0, ge=0)  # nats that each fault, as the corpus counts them, takes off an output's score
    top: int = Field(1, ge=1)  # so many outputs of each source are measured, as if each were a source's own
    metrics: list[str] = Field(default_factory=list)  # other than the recipe's
    tokenised: str = ""  # references, tokenised and lowercased as published scores are
    language: str = ""  # of the target, for tokenisers that need it
    lowercase: bool = False  # ignore case, as where the model writes none
    published: dict[str, dict[str, float]] = Field(default_factory=dict)  # metric -> system -> value
    reach: dict[str, float] = Field(default_factory=dict)  # metric -> the value to reach


class Picture(Part):
    """A picture of what the models do; the kinds are those of `antiphon.pictures`."""

    kind: Literal["by_length", "bars", "attention", "vectors"]
    file: str  # written beside results.json
    title: str = ""
    row: str = ""  # by_length: the row whose outputs are measured
    metric: str = "bleu"  # by_length and bars
    bins: list[int] = Field(default_factory=lambda: [5, 10, 15, 20, 30, 40, 60])  # by_length: longest source of each
    models: list[str] = Field(default_factory=list)  # only these; none named: all
    texts: list[str] = Field(default_factory=list)  # attention and vectors: sources of our own


class Recipe(Part):
    """What a recipe.toml says."""

    title: str
    about: str  # where the corpus is from, and its licence
    metrics: list[str]
    corpus: str = ""  # of `antiphon.corpora`: what turns the files into pairs
    prepare: dict[str, Any] = Field(default_factory=dict)  # its arguments
    preset: str = ""
    seeds: list[int] = Field(default_factory=lambda: [1], min_length=1)
    average: bool = False  # over all models too
    samples: list[str] = Field(default_factory=list)  # sources of our own, whose outputs go into the results
    tried: str = ""  # what was tried where a value is not reached
    files: dict[str, File] = Field(default_factory=dict)
    files_of: str = ""  # a recipe whose files are taken too, by its name
    config: dict[str, dict[str, Any]] = Field(default_factory=dict)
    models: list[Variant] = Field(default_factory=list)
    scores: list[Row]
    pictures: list[Picture] = Field(default_factory=list)


def find(root: Path) -> dict[str, Path]:
    """Recipes below a folder by name."""
    return {path.parent.name: path.parent for path in sorted(root.rglob(RECIPE))}


def load(folder: Path) -> Recipe:
    """Read a recipe.

    Raises:
        UserError: there is none in the folder, or it is not as it should be.
    """
    path = folder / RECIPE
    if not path.is_file():
        known = find(Path("recipes"))
        hint = near(folder.name, known) if known else "; run this in a clone of the project, where recipes/ is"
        raise UserError(f"{folder}: no {RECIPE} there{hint}")
    recipe = _read(path)
    _check(recipe, path)
    files = recipe.files
    if recipe.files_of:
        others = find(folder.resolve().parents[1])
        if recipe.files_of not in others:
            raise UserError(f"{path}: no recipe is called '{recipe.files_of}'{near(recipe.files_of, others)}")
        files = _read(others[recipe.files_of] / RECIPE).files | files
    return recipe.model_copy(update={"models": recipe.models or [Variant(name=folder.name)], "files": files})


def _read(path: Path) -> Recipe:
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: not valid TOML: {e}") from e
    except ValidationError as e:
        first = e.errors()[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from e


def _check(recipe: Recipe, path: Path) -> None:
    """Refuse names that lead nowhere."""
    known = [variant.name for variant in recipe.models]
    named = [[*row.models, *filter(None, [row.rescored_by])] for row in recipe.scores] + [
        part.models for part in recipe.pictures
    ]
    for name in chain.from_iterable(named):
        if name not in known:
            raise UserError(f"{path}: no model is called '{name}'{near(name, known)}")
    for number, variant in enumerate(recipe.models):
        for part in variant.written:
            if part.model not in known[:number]:
                raise UserError(
                    f"{path}: '{part.model}' is to write {part.file} for '{variant.name}': no model of this name "
                    f"stands above it{near(part.model, known[:number])}"
                )
            seeds = recipe.models[known.index(part.model)].seeds or recipe.seeds
            if part.ensemble > len(seeds):
                raise UserError(
                    f"{path}: an ensemble of {part.ensemble} is to write {part.file}, and '{part.model}' has "
                    f"{len(seeds)} seeds: name more"
                )
        if variant.start and variant.start not in known[:number]:
            raise UserError(
                f"{path}: '{variant.name}' is to start from '{variant.start}': no model of this name stands above it"
                f"{near(variant.start, known[:number])}"
            )
    for row in recipe.scores:
        for variant in recipe.models:
            seeds = variant.seeds or recipe.seeds
            if row.ensemble > len(seeds) and (not row.models or variant.name in row.models):
                raise UserError(
                    f"{path}: the row '{row.name}' wants an ensemble of {row.ensemble} seeds, and '{variant.name}' has "
                    f"{len(seeds)}: name more in seeds, or other models in the row"
                )
    rows = [row.name for row in recipe.scores]
    for picture in recipe.pictures:
        if picture.row and picture.row not in rows:
            raise UserError(f"{path}: no row is called '{picture.row}'{near(picture.row, rows)}")
