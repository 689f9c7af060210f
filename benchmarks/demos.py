"""Whether the demo keeps its promise: `antiphon demo` with ten seeds, in both precisions, with both kinds of loops.

    python -m benchmarks.demos --seeds 1-10 --precisions float32 --loops compiled

Each demo is the command that a user types, in a process of its own, with one setting changed: the seed, the precision,
or a PATH without a C++ compiler, so that the loops are plain. A run that is in demos.json for this processor and this
configuration is not repeated, and one that was stopped is resumed. After every run demos.json and demos.md are written.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from antiphon import files
from antiphon.config import loading
from antiphon.training.device import processor
from benchmarks import machine

ROOT = Path(__file__).parents[1]
RESULTS, TABLE = ROOT / "benchmarks" / "demos.json", ROOT / "benchmarks" / "demos.md"
WORK = ROOT / "benchmarks" / ".work" / "demos"
PRECISIONS, LOOPS = ("float32", "bfloat16"), ("compiled", "plain")
GOALS = {"test": 99.5, "unseen_pairs": 99.0}  # per cent exactly right
SECONDS = 180.0  # longest training
HEAD = "| processor | precision | loops | seeds | unseen dates | unseen language pairs | longest training |"


def run(seed: int, precision: str, loops: str, configuration: str) -> dict[str, Any]:
    """Run the demo once; scores in per cent, seconds of the training.

    Raises:
        SystemExit: the demo failed; its last lines say why.
    """
    out = WORK / f"{configuration}-{precision}-{loops}-{seed}"
    command = [sys.executable, "-m", "antiphon.cli", "demo", "--out", str(out)]
    for setting in (f"train.seed={seed}", f"train.precision={precision}", "train.device=cpu"):
        command += ["--set", setting]
    environment = {name: value for name, value in os.environ.items() if name != "CXX"} | {"PYTHONPATH": str(ROOT)}
    if loops == "plain":
        environment["PATH"] = ""
    out.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stdout[-2000:]}")
    if f"{loops} loops" not in done.stdout and "is finished" not in done.stdout:
        raise SystemExit(f"{' '.join(command)} did not run on {loops} loops; is there a C++ compiler?")
    results = json.loads((out / "results.json").read_text("utf-8"))
    shutil.rmtree(out)
    scores = {name: score["value"] for name, score in results["scores"].items()}
    return {"seed": seed, "precision": precision, "loops": loops, **scores} | {
        name: results[name] for name in ("seconds", "updates", "versions")
    }


def wanted(
    runs: Iterable[dict[str, Any]], settings: Iterable[tuple[int, str, str]], here: dict[str, str]
) -> list[tuple[int, str, str]]:
    """The settings that no run on this processor with this configuration has."""
    done = {(r["seed"], r["precision"], r["loops"]) for r in runs if here.items() <= r.items()}
    return [setting for setting in settings if setting not in done]


def configuration() -> str:
    """A mark of the demo's options: runs with others are no evidence."""
    options = loading.load("demo").model_dump_json()
    return hashlib.sha256(options.encode()).hexdigest()[:12]


def groups(runs: Iterable[dict[str, Any]]) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """Runs by processor, precision and loops."""
    grouped: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for one in runs:
        grouped.setdefault((one["processor"], one["precision"], one["loops"]), []).append(one)
    return grouped


def worst(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The lowest scores and the longest training."""
    return {name: min(r[name] for r in runs) for name in GOALS} | {"seconds": max(r["seconds"] for r in runs)}


def rows(runs: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A row of the table for each group, with the worst of its seeds, and the mean beside it."""
    for (name, precision, loops), own in groups(runs).items():
        low = worst(own)
        scores = [f"{low[test]:.1f} (mean {statistics.fmean(r[test] for r in own):.2f})" for test in GOALS]
        cells = [name, precision, loops, f"{len(own)}", *scores, f"{low['seconds']:.0f} s"]
        yield f"| {' | '.join(cells)} |"


def table(runs: Sequence[dict[str, Any]]) -> str:
    """The document."""
    low = worst(runs)
    missed = [r for r in runs if any(r[name] < goal for name, goal in GOALS.items()) or r["seconds"] > SECONDS]
    lines = [
        "# The demo with many seeds",
        "",
        "`python -m benchmarks.demos` runs `antiphon demo`, each time with another seed, precision or kind of loops.",
        "Scores are per cent of dates that are exactly right: the worst of the seeds, and their mean.",
        "",
        HEAD,
        "|" + "---|" * HEAD.count(" |"),
        *rows(runs),
        "",
        f"The worst of all {len(runs)} runs: {low['test']:.1f} % of unseen dates, {low['unseen_pairs']:.1f} % of dates "
        f"in unseen language pairs; the longest training took {low['seconds']:.0f} seconds.",
        f"The goals are {GOALS['test']} %, {GOALS['unseen_pairs']} % and {SECONDS:.0f} seconds; {len(missed)} of the "
        "runs missed one.",
    ]
    for r in missed:
        own = f"- seed {r['seed']}, {r['precision']}, {r['loops']} loops, {r['processor']}: "
        lines.append(own + f"{r['test']:.1f} %, {r['unseen_pairs']:.1f} %, {r['seconds']:.0f} s")
    return "\n".join(lines) + "\n"


def seeds(text: str) -> list[int]:
    """`1-10` or `1,3,5`, or both mixed."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, prog="python -m benchmarks.demos", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=seeds, default=seeds("1-10"), help="such as 1-10 or 1,3,5")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=LOOPS)
    options = parser.parse_args()
    instructions = " ".join(machine.instructions()) or "plain instructions"
    here = {"processor": f"{processor()} ({instructions})", "configuration": configuration()}
    runs: list[dict[str, Any]] = []
    if RESULTS.is_file():
        runs = json.loads(RESULTS.read_text("utf-8"))["runs"]
    runs = [r for r in runs if r["configuration"] == here["configuration"]]  # others say nothing about this demo
    for setting in wanted(runs, product(options.seeds, options.precisions, options.loops), here):
        runs.append(here | run(*setting, here["configuration"]))
        print(json.dumps(runs[-1], ensure_ascii=False), file=sys.stderr, flush=True)
        files.write(RESULTS, json.dumps({"runs": runs}, ensure_ascii=False, indent=1) + "\n")
        files.write(TABLE, table(runs))


if __name__ == "__main__":
    main()
