"""Recipes: a result made again by one command, from the corpus's official files to a table of scores.

A recipe is a folder with a `recipe.toml`: the corpus's files with their addresses and checksums, a configuration, the
sets to score, and published results beside them. Running it writes `results.json` next to it.
"""

import gzip
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tomllib
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from antiphon import __version__, config, metrics
from antiphon.corpus import read, read_lines
from antiphon.errors import UserError, near
from antiphon.machine import processor
from antiphon.progress import Reporter
from antiphon.seq2seq import Seq2Seq
from antiphon.train import Outcome, train

RECIPE = "recipe.toml"
RESULTS = "results.json"
DATA = "ANTIPHON_DATA"  # names a folder of corpora that are here already


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class File(Part):
    """One file of a corpus."""

    url: str
    sha256: str  # of the text, unpacked, so that it holds however the file was compressed
    local: str  # its place below the folder that ANTIPHON_DATA names


class Set(Part):
    """One set of pairs to score."""

    name: str
    pairs: str  # as `data.train` names a corpus
    tokenised: str = ""  # references, tokenised and lowercased as published scores are
    language: str = ""  # of the target, for the tokeniser of outputs that `tokenised` needs
    published: dict[str, float] = Field(default_factory=dict)  # system -> tokenised BLEU


class Recipe(Part):
    """What a recipe.toml says."""

    title: str
    about: str  # where the corpus is from, and its licence
    metrics: list[str]
    preset: str = ""
    files: dict[str, File]
    config: dict[str, dict[str, Any]] = Field(default_factory=dict)
    scores: list[Set]


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
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: not valid TOML: {e}") from e
    except ValidationError as e:
        first = e.errors()[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from e


def run(
    folder: Path, out: Path, sets: Sequence[str] = (), command: str = "", reporter: Reporter | None = None
) -> dict[str, Any]:
    """Fetch the corpus, train, score, and write `results.json`.

    Args:
        folder: the recipe's.
        out: where the data and the model go; the same command goes on with a stopped run.
        sets: `section.key=value` over the recipe's configuration. Results are then written to `out` only.
        command: the command that does this, for the results.
        reporter: where progress goes.

    Returns:
        What `results.json` holds. Under `torchrun` the first process fetches and scores; the others have nothing.
    """
    reporter = reporter or Reporter()
    recipe = load(folder)
    data, first = out / "data", os.environ.get("RANK", "0") == "0"
    for name, file in recipe.files.items() if first else ():
        reporter.show("fetching", 0, None, name)
        fetch(name, file, data)
    reporter.close()
    options = config.load(recipe.preset, sets=sets, over=_placed(recipe.config, recipe.files, data))
    commit = _begun_at(out, folder) if first else ""
    outcome = train(options, out / "model", command, reporter)
    if not first:
        return {}
    reporter.show("scoring", 0, None)
    model = Seq2Seq.load(outcome.model)
    scores = {part.name: _score(model, part, recipe, data) for part in recipe.scores}
    reporter.close()
    results = _results(recipe, options, outcome, scores, command, commit)
    text = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
    for target in (out,) if sets else (out, folder):
        (target / RESULTS).write_text(text, encoding="utf-8", newline="\n")
    return results


def fetch(name: str, file: File, folder: Path) -> Path:
    """Put a corpus's file into a folder: from the folder that ANTIPHON_DATA names, else from its official address.

    Raises:
        UserError: it cannot be had, or its text is not what the recipe was made with.
    """
    path = folder / name
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        here = Path(os.environ.get(DATA, "")) / file.local
        if os.environ.get(DATA) and here.is_file():
            shutil.copyfile(here, partial)
        else:
            _download(file.url, partial)
        partial.replace(path)
    try:
        found = _digest(path)
    except (OSError, EOFError, zlib.error) as e:
        path.unlink()
        raise UserError(f"{name}: cannot be unpacked ({e}); run the command again to fetch it again") from e
    if found != file.sha256:
        path.unlink()
        raise UserError(
            f"{name}: its text has the checksum {found}, not {file.sha256}; is it another version of the corpus?"
        )
    return path


def _digest(path: Path) -> str:
    """The checksum of a file's text, unpacked."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as text:
        while block := text.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _download(url: str, path: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except (urllib.error.URLError, OSError) as e:
        path.unlink(missing_ok=True)
        raise UserError(f"{url}: cannot be downloaded: {e}; or set {DATA} to a folder that holds the corpus") from e


def _placed(sections: dict[str, dict[str, Any]], files: dict[str, File], data: Path) -> dict[str, dict[str, Any]]:
    """The configuration with the corpora's names turned into paths."""
    named = sections.get("data", {})
    placed = {key: [_at(spec, files, data) for spec in named[key]] for key in ("train", "valid") if key in named}
    return sections | {"data": named | placed}


def _at(spec: str, files: dict[str, File], data: Path) -> str:
    return ",".join(str(data / name) if name in files else name for name in spec.split(","))


def _score(model: Seq2Seq, part: Set, recipe: Recipe, data: Path) -> dict[str, Any]:
    """Generate from one set and measure: cased and detokenised, and as published scores are."""
    pairs = list(read(_at(part.pairs, recipe.files, data), model.config.data.source, model.config.data.target))
    outputs = [result.text for result in model.generate([pair.source for pair in pairs])]
    measured = metrics.measure(recipe.metrics, outputs, [pair.target for pair in pairs])
    found = [asdict(score) for score in measured.values()]
    if part.tokenised:
        references = list(read_lines(data / part.tokenised))
        score = metrics.tokenised_bleu(metrics.moses(outputs, part.language), references)
        found.append(asdict(score) | {"name": "tokenised bleu", "published": part.published})
    return {"sentences": len(pairs), "scores": found}


def _results(
    recipe: Recipe, options: config.Config, outcome: Outcome, scores: dict[str, Any], command: str, commit: str
) -> dict[str, Any]:
    import torch

    return {
        "title": recipe.title,
        "command": command,
        "commit": commit,
        "version": __version__,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "processes": int(os.environ.get("WORLD_SIZE", "1")),
            "threads": torch.get_num_threads(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "seed": options.train.seed,
        "minutes": round(outcome.minutes, 1),
        "epochs": round(outcome.epochs, 2),
        "updates": outcome.updates,
        "search": options.search.model_dump(),
        "sets": scores,
    }


def _begun_at(out: Path, folder: Path) -> str:
    """The commit at which this run was begun, also where it goes on at a later one."""
    note = out / "commit.txt"
    if not note.is_file():
        note.write_text(_commit(folder) + "\n", encoding="utf-8", newline="\n")
    return note.read_text("utf-8").strip()


def _commit(folder: Path) -> str:
    """The commit that is checked out, marked where files other than results differ from it; empty outside git."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, encoding="utf-8")
        return done.stdout.strip()

    try:
        changed = [line for line in git("status", "--porcelain", "-uno").splitlines() if not line.endswith(RESULTS)]
        return git("rev-parse", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
