"""Antiphon against its peers and against the machine's limit, in one run.

    make peers && make bench                       everything; 40 to 50 minutes on two quiet cores
    make bench ARGS=--quick                        each cell once, on little data: to see that everything runs
    make bench ARGS="--rows beam,greedy,single"    some rows; models that are missing are made quickly
    make bench ARGS="--rows bleu --minutes 2"

ANTIPHON_DATA names the folder of corpora (multi30k/raw/*.gz), ANTIPHON_PEERS the folder of the peers where it is not
benchmarks/.peers. Every unit runs in a process of its own, in rounds that take each system once. results.json and
results.md are written after every measurement and results.png at the end, under benchmarks/ if all rows are
measured, else in the work folder. A peer that is not installed, or fails, leaves its cell with the reason.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from antiphon import files
from antiphon.errors import UserError
from benchmarks import machine, material, picture, shapes, systems, table
from benchmarks.measure import QUICK, Bench, Effort, write
from benchmarks.peers.antiphon import sets
from benchmarks.process import Failed
from benchmarks.rows import Row, all_rows
from benchmarks.systems import System

HERE = Path(__file__).parent


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ", ".join(row.key for row in all_rows())
    parser.add_argument("--rows", default="", help=f"rows to measure, with commas between: {names}")
    parser.add_argument("--quick", action="store_true", help="one round on little data, to try everything out")
    parser.add_argument(
        "--rounds", type=int, default=0, help="rounds of each row (default 3; at most 1 of bleu, 2 of train-large)"
    )
    parser.add_argument("--minutes", type=float, default=0.0, help="minutes of training before BLEU (default 6)")
    parser.add_argument("--threads", type=int, default=2, help="processor threads (default 2)")
    parser.add_argument("--long-peers", action="store_true", help="train Eole and Joey NMT for BLEU too")
    parser.add_argument("--work", type=Path, default=HERE / ".work", help="folder of data, models and logs")
    parser.add_argument("--out", type=Path, help="folder of the results")
    return parser.parse_args(words)


def effort_of(options: argparse.Namespace) -> Effort:
    effort = QUICK if options.quick else Effort()
    if options.rounds:
        effort = replace(effort, rounds=options.rounds)
    if options.minutes:
        effort = replace(effort, budget=60 * options.minutes)
    return replace(effort, threads=options.threads)


def chosen(options: argparse.Namespace, effort: Effort) -> list[Row]:
    """The rows that were asked for.

    Raises:
        UserError: a name is unknown.
    """
    rows = all_rows(options.long_peers, effort.budget / 60)
    names = [name.strip() for name in options.rows.split(",") if name.strip()]
    unknown = [name for name in names if name not in [row.key for row in rows]]
    if unknown:
        raise UserError(f"--rows {unknown[0]}: no row is called so; there are {', '.join(row.key for row in rows)}")
    return [row for row in rows if row.key in names] if names else rows


def run(options: argparse.Namespace) -> None:
    """Measure, and write the results after every measurement."""
    effort = effort_of(options)
    rows = chosen(options, effort)
    options.work.mkdir(parents=True, exist_ok=True)
    part = options.quick or options.rows
    out = options.out or (options.work if part else HERE)
    out.mkdir(parents=True, exist_ok=True)
    text = material.make(options.work.absolute(), sets(shapes.SMALL.as_dict()))
    bench = Bench(options.work.absolute(), text, effort)
    results = begin(rows, text, effort)
    began = time.monotonic()
    for row in rows:
        for number in range(min(row.most, effort.rounds)):
            if row.key.startswith("train"):
                results["limit"].append(bench.limit())
            for system in row.systems:
                fill(bench, row, number, system, results)
                results["minutes"] = round((time.monotonic() - began) / 60, 1)
                write(out / "results.json", results)
                files.write(out / "results.md", table.render(results))
    picture.draw(results, out / "results.png")
    _say(f"{results['minutes']:.0f} minutes; the table is in {out / 'results.md'}")


def begin(rows: list[Row], text: material.Material, effort: Effort) -> dict[str, Any]:
    """Results without measurements."""
    lengths = text.source_lengths, text.target_lengths
    return {
        "command": command(sys.argv[1:]),
        "commit": machine.commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine.describe(effort.threads),
        "versions": machine.versions(),
        "effort": vars(effort),
        "operations": {s.name: shapes.training_operations(s, *lengths) for s in shapes.SHAPES.values()},
        "weights": {s.name: shapes.weights(s) for s in shapes.SHAPES.values()},
        "limit": [],
        "rows": {row.key: table.empty(row) for row in rows},
    }


def fill(bench: Bench, row: Row, number: int, system: System, results: dict[str, Any]) -> None:
    """Measure a cell once and say so; if it fails, the reason goes into its cell."""
    cell = results["rows"][row.key]["cells"][system.name]
    began = time.monotonic()
    try:
        measured = bench.measure(row.key, system)
    except (Failed, UserError, OSError, ValueError, subprocess.SubprocessError) as e:
        cell["reason"] = without_paths(str(e), bench.work)
        said = f"none: {e}"
    else:
        cell["values"][str(number)] = measured.value
        cell["peaks"][str(number)] = measured.peak
        cell["details"][str(number)] = measured.details
        said = f"{measured.value:,.4g} {row.unit}"
    _say(f"{row.key}, round {number + 1}: {system.name}: {said} ({time.monotonic() - began:.0f} s)")


def command(words: Sequence[str]) -> str:
    """The command that makes these results, without this machine's folders."""
    folders = {i for i, word in enumerate(words) if word.partition("=")[0] in ("--work", "--out")}
    following = {i + 1 for i in folders if "=" not in words[i]}
    kept = [word for i, word in enumerate(words) if i not in folders | following]
    return " ".join(["python -m benchmarks.bench", *kept])


def without_paths(text: str, work: Path) -> str:
    """A reason for people elsewhere."""
    for folder, name in ((work, "WORK"), (systems.peers_folder(), "PEERS"), (machine.ROOT, "."), (Path.home(), "~")):
        if folder != folder.parent:
            text = text.replace(str(folder), name)
    return text


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
