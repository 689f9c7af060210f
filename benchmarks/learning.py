"""How fast models learn: the development loss after so many updates, Antiphon beside its peers at equal settings.

    make learning                                       all cells that are missing
    make learning ARGS=--trial                          a few updates of each, to say how long all will take
    make learning ARGS="--systems Antiphon --again Antiphon --seeds 3"
    make learning ARGS="--rows additive --systems 'Antiphon,Joey NMT'"

ANTIPHON_DATA names the folder of corpora (multi30k/raw/*.gz), ANTIPHON_PEERS the folder of the peers where it is not
benchmarks/.peers. Every cell is a training of its own in a process of one thread. learning.json and learning.md are
written after every cell, and the table in docs/training.md and docs/training.zh-CN.md at the end; a cell that is in
learning.json with the same settings is not trained again. A peer that is not installed, or fails, leaves its cell with
the reason.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from antiphon import files
from antiphon.errors import UserError
from benchmarks import learning_table, machine, material, process, shapes, systems
from benchmarks.bench import without_paths
from benchmarks.measure import write
from benchmarks.peers.antiphon import sets
from benchmarks.process import Failed
from benchmarks.systems import EOLE, JOEY, ONMT, System

HERE = Path(__file__).parent
RESULTS = HERE / "learning.json"
SHAPE = shapes.Shape(
    "learning", embedding=128, encoder_hidden=128, directions=2, decoder_hidden=256, layers=1, attention=256,
    vocabulary=4000, batch=64,
)  # fmt: skip
UPDATES, EVERY = 1000, 250
TRIAL = 40  # updates, with a validation in their middle and at their end
TIMEOUT = 5400.0
OURS = System(systems.OWN, model="antiphon")
SYSTEMS = {system.name: system for system in (OURS, ONMT, EOLE, JOEY)}
ATTENDING = [
    ("dot", "tanh", (ONMT, EOLE)),
    ("general", "tanh", (ONMT, EOLE, JOEY)),
    ("additive", "linear", (ONMT, EOLE)),
    ("additive", "tanh", (JOEY,)),
]
ROWS = [  # decoder, score, readout, the peers that have them
    *(("input_feeding", *row) for row in ATTENDING),
    *(("over_outputs", *row) for row in ATTENDING),
    ("initial", "general", "linear", (ONMT, EOLE)),
]


@dataclass(frozen=True)
class Cell:
    """One training."""

    system: System
    shape: shapes.Shape
    seed: int

    @property
    def row(self) -> str:
        """Decoder and score."""
        decoder, score = self.shape.decoder, self.shape.score
        return decoder if decoder == "initial" else f"{decoder} {score}"

    @property
    def key(self) -> str:
        """Its name in the results."""
        return f"{self.system.name}, {self.row}, {self.shape.readout} readout, seed {self.seed}"

    def settings(self, updates: int = UPDATES, every: int = EVERY) -> dict[str, Any]:
        """All that its losses follow from, but for the system's code."""
        return {"shape": self.shape.as_dict(), "seed": self.seed, "updates": updates, "every": every}


def cells(seeds: int = 1) -> list[Cell]:
    """All of them, the peers' with one seed.

    Ours come with each readout that a peer has: after an additive score OpenNMT-py's and Eole's is linear, Joey NMT's
    and all others are Luong's. Without attention the output layer reads the decoder's state itself.
    """
    found = []
    for decoder, score, readout, peers in ROWS:
        shape = replace(SHAPE, decoder=decoder, score=score, readout=readout)
        found += [Cell(OURS, shape, seed) for seed in range(1, seeds + 1)]
        found += [Cell(peer, shape, 1) for peer in peers]
    return found


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--systems", default="", help=f"with commas between: {', '.join(SYSTEMS)}")
    parser.add_argument("--rows", default="", help="words that a row's name contains, with commas between")
    parser.add_argument("--again", action="append", default=[], help="train this system's cells anew; may be repeated")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each of our cells (default 1)")
    parser.add_argument("--trial", action="store_true", help=f"{TRIAL} updates a cell; says how long all would take")
    parser.add_argument("--table", action="store_true", help="only write the tables of the results that are there")
    parser.add_argument("--work", type=Path, default=HERE / ".work" / "learning", help="folder of data and logs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the results")
    return parser.parse_args(words)


def chosen(options: argparse.Namespace) -> list[Cell]:
    """The cells that were asked for.

    Raises:
        UserError: no system or row is called so.
    """
    names, rows = _words(options.systems), _words(options.rows)
    for name in [*names, *options.again]:
        if name not in SYSTEMS:
            raise UserError(f"no system is called '{name}'; there are {', '.join(SYSTEMS)}")
    every = cells(options.seeds)
    for row in rows:
        if not any(row in cell.row for cell in every):
            raise UserError(f"--rows {row}: no row's name contains it; there are {', '.join(_rows(every))}")
    return [
        cell
        for cell in every
        if (not names or cell.system.name in names) and (not rows or any(row in cell.row for row in rows))
    ]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _rows(every: list[Cell]) -> list[str]:
    return list(dict.fromkeys(cell.row for cell in every))


class Trainer:
    """Trains cells in processes of their own, in one work folder."""

    def __init__(self, work: Path) -> None:
        self.work = work
        (work / "logs").mkdir(parents=True, exist_ok=True)
        self.material = material.make(work, sets(SHAPE.as_dict()))
        self.pieces = sum(len(line.split()) + 1 for line in self.material.lines("valid.tgt"))

    def learn(self, cell: Cell, updates: int = UPDATES, every: int = EVERY) -> dict[str, Any]:
        """The result of a cell's training.

        Raises:
            Failed: there is none, and why.
        """
        if not cell.system.python.is_file():
            raise Failed("not installed")
        out = self.work / "training"
        shutil.rmtree(out, ignore_errors=True)
        job = cell.settings(updates, every) | {
            "task": "learn", "out": str(out), "data": str(self.material.folder), "train": self.material.pair("train"),
            "valid": self.material.pair("valid"), "pairs": len(self.material.source_lengths), "threads": 1,
        }  # fmt: skip
        log = self.work / "logs" / f"{cell.key}.log"
        unit = process.run(cell.system.python, cell.system.module, job, log, TIMEOUT, cell.system.openmp)
        shutil.rmtree(out, ignore_errors=True)
        if unit.result["pieces"] != self.pieces:
            raise Failed(f"its loss is of {unit.result['pieces']} pieces, ours of {self.pieces}")
        return unit.result | {"seconds": unit.seconds}


def run(options: argparse.Namespace) -> None:
    """Train the cells that are missing, and write the results after each."""
    wanted, results = chosen(options), read(options.out)
    if not options.table:
        trainer = Trainer(options.work.absolute())
        if options.trial:
            _trial(trainer, list(missing(wanted, results, options.again)))
            return
        results |= {"machine": machine.describe(1), "versions": machine.versions(), "pieces": trainer.pieces}
        results["cells"] = results.pop("cells")  # last
        left = list(missing(wanted, results, options.again))
        for number, cell in enumerate(left, 1):
            results["cells"][cell.key] = fill(trainer, cell)
            _say(f"{number} of {len(left)}: {cell.key}: {_told(results['cells'][cell.key])}")
            save(results, options.out)
    save(results, options.out)
    if options.out.absolute() == RESULTS:
        for path in learning_table.PAGES:
            files.write(path, learning_table.into_page(path.read_text("utf-8"), results, path))


def read(path: Path) -> dict[str, Any]:
    """The results so far."""
    return json.loads(path.read_text("utf-8")) if path.is_file() else {"cells": {}}


def save(results: dict[str, Any], path: Path) -> None:
    """Write the results in the order of the rows, without those of other settings than the present ones."""
    kept = results["cells"]
    seeds = max((cell["seed"] for cell in kept.values()), default=1)
    every = [cell for cell in cells(seeds) if kept.get(cell.key, {}).get("settings") == cell.settings()]
    results["cells"] = {cell.key: kept[cell.key] for cell in every}
    write(path, results)
    files.write(path.with_suffix(".md"), learning_table.render(results))


def missing(wanted: list[Cell], results: Mapping[str, Any], again: list[str]) -> Iterator[Cell]:
    """The cells that have no losses with their present settings, and those of systems to train again."""
    for cell in wanted:
        kept = results["cells"].get(cell.key, {})
        if cell.system.name in again or not kept.get("losses") or kept["settings"] != cell.settings():
            yield cell


def fill(trainer: Trainer, cell: Cell) -> dict[str, Any]:
    """A cell of the results."""
    described: dict[str, Any] = {
        "system": cell.system.name, "own": cell.system.own, "row": cell.row, "readout": cell.shape.readout,
        "seed": cell.seed, "settings": cell.settings(), "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": machine.commit(),
    }  # fmt: skip
    try:
        return described | trainer.learn(cell)
    except (Failed, OSError) as e:
        return described | {"reason": without_paths(str(e), trainer.work)}


def _trial(trainer: Trainer, left: list[Cell]) -> None:
    """Some updates of each cell, and what all updates of all will take."""
    total = 0.0
    for cell in left:
        try:
            result = trainer.learn(cell, TRIAL, TRIAL // 2)
        except (Failed, OSError) as e:
            _say(f"{cell.key}: none: {e}")
            continue
        more = (UPDATES - TRIAL) * result["update_seconds"]
        more += (UPDATES // EVERY - 2) * result["validation_seconds"]
        total += result["seconds"] + more
        seconds = f"{result['update_seconds']:.3f} s an update, {result['validation_seconds']:.1f} s a validation"
        _say(f"{cell.key}: {seconds}, {(result['seconds'] + more) / 60:.1f} minutes; {_told(result)}")
    _say(f"{len(left)} cells will take {total / 60:.0f} minutes")


def _told(cell: Mapping[str, Any]) -> str:
    if "losses" not in cell:
        return f"none: {cell['reason']}"
    losses = ", ".join(f"{loss:.3f} after {update}" for update, loss in cell["losses"].items())
    return f"{losses}; {cell['weights']:,} weights; {cell['seconds']:.0f} s"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    try:
        run(arguments())
    except UserError as e:
        _say(f"error: {e}")
        sys.exit(2)


if __name__ == "__main__":
    main()
