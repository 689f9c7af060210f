"""The files that a recipe's models are trained on and scored with: fetched, and prepared by the corpus's module."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from antiphon.files import told, whole_folder, write
from antiphon.progress import Reporter
from antiphon.recipes.corpora.index import CORPORA
from antiphon.recipes.fetch import fetch
from antiphon.recipes.recipe import Recipe

PREPARED = "prepared"  # the folder of prepared pairs
ORIGIN = ".origin.json"  # in it: what they were made from


def collect(recipe: Recipe, folder: Path, reporter: Reporter) -> dict[str, Path]:
    """Fetch the corpus's files and prepare pairs from them. What is there already is kept.

    Args:
        recipe: names the files and the corpus.
        folder: where files go; made if missing.
        reporter: where progress goes.

    Returns:
        The path of each file by the name that the recipe uses.

    Raises:
        UserError: a file cannot be fetched or written.
    """
    pack = CORPORA[recipe.corpus].pack if recipe.corpus else None
    fetched = {}
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as downloads:
        for name, file in recipe.files.items():
            reporter.show("fetching", 0, None, name)
            fetched[name] = fetch(name, file, folder, Path(downloads), pack)
    if recipe.corpus:
        _prepare(recipe, fetched, folder / PREPARED, reporter)
    reporter.close()
    paths = (path for part in (folder, folder / PREPARED) for path in sorted(part.glob("*")))
    return {path.name: path for path in paths if path.is_file() and not path.name.startswith(".")}


def resolve(spec: str, model: str, files: Mapping[str, Path]) -> str:
    """Turn a corpus's name in a recipe, such as `{model}.jsonl` or `train.en,train.de`, into its path or paths."""
    names = spec.replace("{model}", model).split(",")
    return ",".join(str(files.get(name, name)) for name in names)


def _prepare(recipe: Recipe, fetched: Mapping[str, Path], folder: Path, reporter: Reporter) -> None:
    """Turn files into pairs, unless the folder holds those of the same files, arguments and version of the corpus."""
    corpus = CORPORA[recipe.corpus]
    checksums = {name: file.sha256 for name, file in recipe.files.items()}
    origin = json.dumps([recipe.corpus, corpus.version, recipe.prepare, checksums], indent=1, ensure_ascii=False) + "\n"
    mark = folder / ORIGIN
    if mark.is_file() and mark.read_text("utf-8") == origin:
        return
    reporter.show("preparing", 0, None, recipe.corpus)
    with whole_folder(folder) as unfinished:
        corpus.prepare(fetched, unfinished, **recipe.prepare)
        write(unfinished / ORIGIN, origin)
