"""Shared by the workers: the clock of a training, and the times of translating. Standard library only, since it runs
under every peer's own Python."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

Job = dict[str, Any]
Translate = Callable[[list[str]], Sequence[Any]]  # texts or lines of pieces in, the system's outputs out


class Over(Exception):
    """A training has run as long as it was asked to."""


class Watch:
    """Reads the clock whenever an update begins, and says when a training is over.

    A job with a `budget` (seconds) trains for so long from its first update; one without measures the steady state:
    after `warmup` updates at least `least` updates and `seconds`.
    """

    def __init__(self, job: Job) -> None:
        self.budget = float(job.get("budget", 0))
        self.warmup, self.least, self.seconds = int(job["warmup"]), int(job["least"]), float(job["seconds"])
        self.times: list[float] = []
        self.pieces: list[int] = []

    def begin(self, pieces: int) -> None:
        """An update of so many target pieces, the ends of sentences counted, begins, and the one before it is done.

        Raises:
            Over: no further update is wanted.
        """
        now = time.perf_counter()
        self.times.append(now)
        self.pieces.append(pieces)
        if self.budget:
            over = now - self.times[0] >= self.budget
        else:
            measured = len(self.times) - 1 - self.warmup
            over = measured >= self.least and now - self.times[self.warmup] >= self.seconds
        if over:
            raise Over

    def until_over(self, batches: Iterable[Any], count: Callable[[Any], int]) -> Iterator[Any]:
        """The batches, until no more are wanted."""
        for batch in batches:
            try:
                self.begin(count(batch))
            except Over:
                return
            yield batch

    def result(self) -> dict[str, Any]:
        """Target pieces and seconds of the measured updates; of all of them where there was a budget."""
        first = 0 if self.budget else self.warmup
        return {
            "updates": len(self.times) - 1 - first,
            "pieces": sum(self.pieces[first:-1]),
            "seconds": self.times[-1] - self.times[first],
            "warmup_seconds": self.times[first] - self.times[0],
        }


class Curve:
    """The development loss after some updates, and the time that updates and validations take."""

    def __init__(self) -> None:
        self.losses: dict[int, float] = {}
        self.pieces = 0
        self.updating: list[float] = []  # seconds an update, between two validations
        self.validating: list[float] = []  # seconds a validation
        self._began = self._ended = time.perf_counter()

    def begin(self) -> None:
        """A validation begins."""
        self._began = time.perf_counter()

    def add(self, update: int, nll: float, pieces: int) -> None:
        """A validation after this update has ended.

        Args:
            update: its number, from 1.
            nll: of all development targets, in nats.
            pieces: of them, the ends of sentences counted.
        """
        if self.losses:
            self.updating.append((self._began - self._ended) / (update - max(self.losses)))
        self._ended = time.perf_counter()
        self.validating.append(self._ended - self._began)
        self.losses[update], self.pieces = nll / pieces, pieces

    def result(self) -> dict[str, Any]:
        """The losses by update; the means of the times, without the first updates."""
        return {
            "losses": {str(update): loss for update, loss in self.losses.items()},
            "pieces": self.pieces,
            "update_seconds": sum(self.updating) / max(1, len(self.updating)),
            "validation_seconds": sum(self.validating) / max(1, len(self.validating)),
        }


def words(line: str) -> int:
    """Pieces of a line in which they are separated by spaces."""
    return len(line.split())


def translate(
    job: Job, lines: list[str], run: Translate, count: Callable[[Any], int] = words, text: Callable[[Any], str] = str
) -> dict[str, Any]:
    """Translate lines in bulk or one at a time and time it; the model is loaded, and warmed up here.

    Args:
        job: its `single` says whether the lines come one at a time.
        lines: the sources.
        run: the system.
        count: pieces of an output, its end not counted; not timed.
        text: an output's text; not timed.
    """
    if job["warmup"]:
        run(lines[-int(job["warmup"]) :])
    if not job["single"]:
        began = time.perf_counter()
        outputs = list(run(lines))
        times: dict[str, Any] = {"seconds": time.perf_counter() - began}
    else:
        outputs, times = [], {"milliseconds": []}
        for line in lines:
            began = time.perf_counter()
            outputs += run([line])
            times["milliseconds"].append(1000 * (time.perf_counter() - began))
    written = {"pieces": sum(map(count, outputs)), "outputs": list(map(text, outputs))}
    return times | written | {"sentences": len(lines)}


def read(path: str) -> list[str]:
    return Path(path).read_text("utf-8").splitlines()


def main(**tasks: Callable[[Job], dict[str, Any]]) -> None:
    """Run the job in the file that the command line names, and write its result where the job wants it.

    Args:
        tasks: by the job's `task`. `train`: job -> what `Watch.result` gives, and the number of `weights`. `translate`:
            job -> what `translate` gives. `learn`: job -> what `Curve.result` gives, and the number of `weights`.
    """
    job: Job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    result = tasks[job["task"]](job)
    Path(job["result"]).write_text(json.dumps(result), encoding="utf-8")
