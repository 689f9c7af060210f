"""Recipes: how to reproduce a result on real data, read from a `recipe.toml`.

A recipe is a folder. Its `recipe.toml` names the corpus's files with their addresses and checksums, a configuration,
variants of it, and the sets to score with published results beside them. `recipes.run` runs it and writes
`results.json` beside it.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from antiphon.errors import UserError, near
from antiphon.words import counted

RECIPE, RESULTS = "recipe.toml", "results.json"


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class File(Part):
    """One file of a corpus."""

    url: str  # empty: the file has no official address
    sha256: str  # of the unpacked text, so that it is the same however the file is compressed
    local: str  # its path below the folder that ANTIPHON_DATA names
    member: str = ""  # its path in the archive, where the address is a .zip or .tar file
    column: int = Field(0, ge=0)  # keep only this column of tab-separated lines, from 1; 0: whole lines


class Written(Part):
    """Pairs of which a trained model writes one side, such as back-translation (Sennrich 2016)."""

    file: str  # their name in `data.train`, ending in .jsonl
    texts: str  # the other side, one text a line
    model: str  # that writes
    ensemble: int = Field(1, ge=1)  # number of its seeds that write together
    side: Literal["source", "target"]  # that it writes
    sample: bool = False  # sampling instead of beam search (Edunov 2018)
    search: dict[str, Any] = Field(default_factory=dict)  # options of `Seq2Seq.generate`, over the model's own


class Variant(Part):
    """One model of a recipe that has several."""

    name: str
    about: str = ""
    preset: str = ""
    seeds: list[int] = Field(default_factory=list)  # instead of the recipe's
    start: str = ""  # warm start from this model above it, with the same seed; see `train.start`
    written: list[Written] = Field(default_factory=list)  # by models above it, before it is trained
    config: dict[str, dict[str, Any]] = Field(default_factory=dict)  # over the recipe's


class Row(Part):
    """A set of pairs to score, and the search for outputs."""

    name: str
    pairs: str  # as in `data.train`; `{model}` stands for the model's name
    models: list[str] = Field(default_factory=list)  # only these; empty: all
    ensemble: int = Field(1, ge=1)  # number of a model's seeds that decode together, the first ones
    search: dict[str, Any] = Field(default_factory=dict)  # options of `Seq2Seq.generate`, over the model's own
    sample: bool = False  # sampling instead of beam search
    rescored_by: str = ""  # all seeds of this model together rescore the n-best list; `search` needs `nbest`
    weight: float = Field(0.5, ge=0, le=1)  # of their log p in the new score; the rest is the list's own
    faults: float = Field(0.0, ge=0)  # nats subtracted from an output's score for each fault that the corpus counts
    top: int = Field(1, ge=1)  # outputs of each source to score, each as if it had a source of its own
    metrics: list[str] = Field(default_factory=list)  # instead of the recipe's
    tokenised: str = ""  # file of references as published scores have them, tokenised and lowercased
    language: str = ""  # of the target, for tokenisers that need it
    lowercase: bool = False  # ignore case, for a model that writes lower case only
    published: dict[str, dict[str, float]] = Field(default_factory=dict)  # metric -> system -> value
    reach: dict[str, float] = Field(default_factory=dict)  # metric -> the value to reach


class Picture(Part):
    """A picture of scores or of a model; see `recipes.pictures`."""

    kind: Literal["by_length", "bars", "attention", "vectors"]
    file: str  # written beside results.json
    title: str = ""
    row: str = ""  # by_length: the row whose outputs are scored
    metric: str = "bleu"  # by_length and bars
    bins: list[int] = Field(default_factory=lambda: [5, 10, 15, 20, 30, 40, 60])  # by_length: most words of each bin
    models: list[str] = Field(default_factory=list)  # only these; empty: all
    texts: list[str] = Field(default_factory=list)  # attention and vectors: source texts that are in no corpus


class Recipe(Part):
    """The content of a recipe.toml."""

    title: str
    about: str  # the corpus's origin and licence
    metrics: list[str]
    corpus: str = ""  # of `recipes.corpora.index`: prepares pairs from the files
    prepare: dict[str, Any] = Field(default_factory=dict)  # its arguments
    preset: str = ""
    seeds: list[int] = Field(default_factory=lambda: [1], min_length=1)
    average: bool = False  # also over all models
    samples: list[str] = Field(default_factory=list)  # source texts in no corpus; their outputs go into the results
    tried: str = ""  # to reach the values that are not reached
    files: dict[str, File] = Field(default_factory=dict)
    files_of: str = ""  # name of a recipe whose files are used, too
    config: dict[str, dict[str, Any]] = Field(default_factory=dict)
    models: list[Variant] = Field(default_factory=list)
    scores: list[Row]
    pictures: list[Picture] = Field(default_factory=list)


def find(root: Path) -> dict[str, Path]:
    """The folders of the recipes below a folder, by name."""
    return {path.parent.name: path.parent for path in sorted(root.rglob(RECIPE))}


def load(folder: Path) -> Recipe:
    """Read a recipe.

    Raises:
        UserError: the folder has none, or it is not valid.
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
    """Refuse names of models and rows that are unknown, and ensembles of more seeds than there are."""
    models = [variant.name for variant in recipe.models]
    for number, variant in enumerate(recipe.models):
        _check_variant(recipe, variant, models[:number], path)
    for row in recipe.scores:
        for name in [*row.models, *filter(None, [row.rescored_by])]:
            _known(name, models, "model", path)
        for variant in recipe.models:
            seeds = variant.seeds or recipe.seeds
            if row.ensemble > len(seeds) and (not row.models or variant.name in row.models):
                raise UserError(
                    f"{path}: the row '{row.name}' needs an ensemble of {row.ensemble} seeds, and '{variant.name}' has "
                    f"{len(seeds)}: name more in seeds, or other models in the row"
                )
    for picture in recipe.pictures:
        for name in picture.models:
            _known(name, models, "model", path)
        if picture.row:
            _known(picture.row, [row.name for row in recipe.scores], "row", path)


def _check_variant(recipe: Recipe, variant: Variant, above: list[str], path: Path) -> None:
    """Refuse a model that needs one that is not trained before it."""
    for part in variant.written:
        if part.model not in above:
            raise UserError(
                f"{path}: '{part.model}' is to write {part.file} for '{variant.name}', but no model of this name is "
                f"above it{near(part.model, above)}"
            )
        seeds = recipe.models[above.index(part.model)].seeds or recipe.seeds
        if part.ensemble > len(seeds):
            raise UserError(
                f"{path}: an ensemble of {part.ensemble} is to write {part.file}, and '{part.model}' has "
                f"{counted(len(seeds), 'seed')}: name more"
            )
    if variant.start and variant.start not in above:
        raise UserError(
            f"{path}: '{variant.name}' is to start from '{variant.start}', but no model of this name is above it"
            f"{near(variant.start, above)}"
        )


def _known(name: str, names: list[str], kind: str, path: Path) -> None:
    if name not in names:
        raise UserError(f"{path}: no {kind} is called '{name}'{near(name, names)}")
