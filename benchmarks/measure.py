"""Measuring each row: the jobs of its units, and the value and details read from their results."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from antiphon import files
from antiphon.evaluation import metrics
from benchmarks import process, shapes
from benchmarks.material import Material
from benchmarks.process import Failed, Unit
from benchmarks.rows import BATCH, PIECES
from benchmarks.spread import percentile
from benchmarks.systems import System


class Measured(NamedTuple):
    """One measurement."""

    value: float  # in the row's unit
    peak: int  # bytes resident
    details: dict[str, Any]


@dataclass(frozen=True)
class Effort:
    """How long and how often each system is measured."""

    sentences: int = 1000  # in bulk
    single: int = 200  # one at a time
    seconds: float = 12.0  # of steady training
    updates: int = 3  # at least
    budget: float = 360.0  # seconds of training before the score
    rounds: int = 3
    threads: int = 2
    warm: bool = True  # before steady training; else two updates


QUICK = Effort(sentences=64, single=20, seconds=2.0, updates=2, budget=10.0, rounds=1, warm=False)
WARMUP = {"small": (5, 25), "large": (1, 3)}  # updates of the peers, and of Antiphon, whose kernels may compile first
MAKESHIFT = 10.0  # seconds of training of a model that only speeds are taken of
TIMEOUT = 240.0


class Bench:
    """Measures systems in processes of their own, in one work folder."""

    def __init__(self, work: Path, material: Material, effort: Effort) -> None:
        self.work, self.material, self.effort = work, material, effort
        self.measures: dict[str, Callable[[System], Measured]] = {
            "train-small": lambda system: self.training(system, shapes.SMALL),
            "train-large": lambda system: self.training(system, shapes.LARGE),
            "bleu": self.score,
            "beam": lambda system: self.bulk(system, beam=5),
            "greedy": lambda system: self.bulk(system, beam=1),
            "single": self.single,
            "start": self.start,
        }
        for name in ("logs", "models"):
            (work / name).mkdir(exist_ok=True)
        for name, part in (("test.en", "text"), ("test.src", "ids")):
            for count in (1, effort.single, effort.sentences):
                lines = material.lines(name)[:count]
                (work / f"{part}.{count}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def measure(self, row: str, system: System) -> Measured:
        """Measure one cell once.

        Raises:
            Failed: the system gave no result, and why.
        """
        return self.measures[row](system)

    def limit(self) -> dict[str, dict[str, float]]:
        """FLOP/s of matrix products by type and size."""
        job = {"threads": self.effort.threads, "seconds": 0.5}
        log = self.work / "logs" / "limit.log"
        return process.run(Path(sys.executable), "benchmarks.limit", job, log, TIMEOUT, openmp=False).result

    def training(self, system: System, shape: shapes.Shape) -> Measured:
        """Target pieces a second of steady training."""
        out = self.work / "training"
        shutil.rmtree(out, ignore_errors=True)
        unit = self._run(system, self._training(system, shape, out))
        shutil.rmtree(out, ignore_errors=True)
        return Measured(unit.result["pieces"] / unit.result["seconds"], unit.peak, _kept(unit))

    def score(self, system: System) -> Measured:
        """BLEU after training from scratch, with the speed of translating at the outputs' own lengths."""
        trained = self.trained(system, self.effort.budget)
        references = self.material.lines("test.de")[: self.effort.sentences]
        details: dict[str, Any] = _kept(trained)
        for name, beam in (("greedy", 1), ("beam 5", 5)):
            result = self._speak(system, self.effort.sentences, beam, length=0).result
            outputs = result["outputs"] if system.own else [self.material.text(line) for line in result["outputs"]]
            score = metrics.measure(["bleu"], outputs, references)["bleu"]
            details[name] = score.value
            details["signature"] = score.signature
            details[f"{name}, sentences/s"] = result["sentences"] / result["seconds"]
        return Measured(details["beam 5"], trained.peak, details)

    def bulk(self, system: System, beam: int) -> Measured:
        """Output pieces a second."""
        unit = self._speak(system, self.effort.sentences, beam, PIECES)
        r = unit.result
        details = {"sentences/s": r["sentences"] / r["seconds"], "pieces": r["pieces"], "seconds": r["seconds"]}
        return Measured(r["pieces"] / r["seconds"], unit.peak, details)

    def single(self, system: System) -> Measured:
        """Milliseconds for one sentence, the median."""
        unit = self._speak(system, self.effort.single, 1, PIECES, single=True)
        times = unit.result["milliseconds"]
        return Measured(percentile(times, 0.5), unit.peak, {"p95": percentile(times, 0.95), "sentences": len(times)})

    def start(self, system: System) -> Measured:
        """Seconds from the start of a process to its first output."""
        self._ensure(system)
        if not system.own:
            unit = self._speak(system, 1, 1, PIECES, warm=0)
            return Measured(unit.seconds, unit.peak, {})
        command = [str(system.python), "-m", "antiphon.cli", "generate", str(self._model(system))]
        command += ["--engine", str(system.options["engine"])]
        env = process.environment(self.effort.threads, openmp=False)
        text = self.material.lines("test.en")[0]
        seconds = process.first_line(command, text, env, self._log(system), TIMEOUT)
        return Measured(seconds, 0, {})

    def trained(self, system: System, seconds: float) -> Unit:
        """Train a system's model anew for so long, in the shape `small` or with its preset."""
        out = self._model(system)
        shutil.rmtree(out, ignore_errors=True)
        job = self._training(system, shapes.SMALL, out)
        if system.own and system.options["preset"]:
            job["epochs"] = self._epochs(system, seconds)
        return self._run(system, job | {"budget": seconds}, TIMEOUT + 1.5 * seconds)

    def _epochs(self, system: System, seconds: float) -> float:
        """Epochs that fill the time, so that a learning rate's schedule ends with it; from a short trial."""
        out = self.work / "trial"
        shutil.rmtree(out, ignore_errors=True)
        trial = self._run(system, self._training(system, shapes.SMALL, out)).result
        shutil.rmtree(out, ignore_errors=True)
        return float(max(0.05, 0.95 * seconds * trial["pieces"] / trial["seconds"] / trial["pass_pieces"]))

    def _training(self, system: System, shape: shapes.Shape, out: Path) -> dict[str, Any]:
        effort, material = self.effort, self.material
        return {
            "task": "train",
            "preset": "",
            **system.options,
            "shape": shape.as_dict(),
            "out": str(out),
            "data": str(material.folder),
            "train": material.pair("train"),
            "valid": material.pair("valid"),
            "pairs": len(material.source_lengths),
            "threads": effort.threads,
            "warmup": WARMUP[shape.name][system.own] if effort.warm else 2,
            "least": effort.updates,
            "seconds": effort.seconds,
        }

    def _speak(
        self, system: System, count: int, beam: int, length: int, single: bool = False, warm: int = BATCH
    ) -> Unit:
        """Translate the first sentences of the test set."""
        self._ensure(system)
        return self._run(system, self._speaking(system, count, beam, length, single, warm))

    def _speaking(
        self, system: System, count: int, beam: int, length: int, single: bool = False, warm: int = 0
    ) -> dict[str, Any]:
        return {
            "task": "translate",
            "engine": "auto",
            **system.options,
            "model": str(self._model(system)),
            "text": str(self.work / f"text.{count}"),
            "source": str(self.work / f"ids.{count}"),
            "vocabulary": str(self.material.folder / "vocabulary.txt"),
            "beam": beam,
            "batch": 1 if single else BATCH,
            "length": length,
            "single": single,
            "warmup": warm,
            "threads": self.effort.threads,
        }

    def _ensure(self, system: System) -> None:
        """Where no row has trained a system's model, make one quickly: forced lengths make its quality immaterial."""
        if any(self._model(system).glob("*")):
            return
        if system.key == "ct2":
            self._run(system, self._speaking(system, 1, 1, PIECES))  # makes its random weights
        else:
            self.trained(system, min(MAKESHIFT, self.effort.budget))

    def _model(self, system: System) -> Path:
        return self.work / "models" / system.model

    def _run(self, system: System, job: dict[str, Any], timeout: float = TIMEOUT) -> Unit:
        if not system.python.is_file():
            raise Failed("not installed")
        return process.run(system.python, system.module, job, self._log(system), timeout, system.openmp)

    def _log(self, system: System) -> Path:
        return self.work / "logs" / f"{system.key or 'antiphon'}.log"


def _kept(unit: Unit) -> dict[str, Any]:
    return {name: value for name, value in unit.result.items() if name != "pass_pieces"}


def write(path: Path, results: dict[str, Any]) -> None:
    """Write results whole or not at all."""
    files.write(path, json.dumps(results, indent=1, ensure_ascii=False) + "\n")
