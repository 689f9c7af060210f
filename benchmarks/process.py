"""One measured unit in a process of its own: its result, and the most memory that it and its children held."""

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.memory import sample

ROOT = Path(__file__).parents[1]
EVERY = 0.1  # seconds between two looks at the memory
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Failed(Exception):
    """A unit that gave no result, and why."""


@dataclass(frozen=True)
class Unit:
    """What a process gave."""

    result: dict[str, Any]
    peak: int  # bytes resident, of the process and its children; 0 where the system does not tell
    seconds: float  # of the whole process


def run(python: Path, module: str, job: Mapping[str, Any], log: Path, timeout: float, openmp: bool) -> Unit:
    """Run a job and read its result.

    Args:
        python: the interpreter of the system's environment.
        module: a module that takes the path of a job's file, such as `benchmarks.peers.eole`.
        job: what it is to do; plain values.
        log: where its output goes.
        timeout: seconds after which it is stopped.
        openmp: whether threads are limited through the environment.

    Raises:
        Failed: it ended with an error or ran out of time.
    """
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        paths = Path(folder) / "job.json", Path(folder) / "result.json"
        paths[0].write_text(json.dumps({**job, "result": str(paths[1])}), encoding="utf-8")
        command = [str(python), "-m", module, str(paths[0])]
        peak, seconds = watched(command, environment(job["threads"], openmp), log, timeout)
        if not paths[1].is_file():
            raise Failed("ended without a result")
        return Unit(json.loads(paths[1].read_text("utf-8")), peak, seconds)


def environment(threads: int, openmp: bool) -> dict[str, str]:
    """The environment of a unit."""
    limits = dict.fromkeys(THREADS, str(threads)) if openmp else {}
    inherited = {name: value for name, value in os.environ.items() if name not in THREADS}
    return inherited | limits | {"PYTHONPATH": str(ROOT), "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}


def watched(command: Sequence[str], env: Mapping[str, str], log: Path, timeout: float) -> tuple[int, float]:
    """Run a command; return its peak memory in bytes and its seconds.

    Raises:
        Failed: it ended with an error, could not start, or ran out of time.
    """
    began, peak = time.perf_counter(), 0
    with log.open("w", encoding="utf-8") as file:
        try:
            process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=file, stderr=file, stdin=subprocess.DEVNULL)
        except OSError as e:
            raise Failed(f"cannot be started: {e.strerror}") from e
        try:
            while process.poll() is None:
                peak = max(peak, sample(process.pid)[0])
                if time.perf_counter() - began > timeout:
                    raise Failed(f"stopped after {timeout:.0f} s")
                time.sleep(EVERY)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode:
        raise Failed(last_line(log) or f"ended with status {process.returncode}")
    return peak, time.perf_counter() - began


def first_line(command: Sequence[str], text: str, env: Mapping[str, str], log: Path, timeout: float) -> float:
    """Seconds from the start of a command, given a text on standard input, to the first line of its output.

    Raises:
        Failed: it wrote no line in time, or ended with an error.
    """
    began = time.perf_counter()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command, env=env, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, encoding="utf-8"
        )
        assert process.stdin and process.stdout
        alarm = threading.Timer(timeout, process.kill)
        alarm.start()
        with suppress(BrokenPipeError):  # it has ended, and its log says why
            process.stdin.write(text + "\n")
            process.stdin.close()
        line = process.stdout.readline()
        seconds = time.perf_counter() - began
        process.stdout.read()
        process.stdout.close()
        process.wait()
        alarm.cancel()
    if process.returncode or not line:
        raise Failed(last_line(log) or "wrote nothing")
    return seconds


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    lines = [line.strip() for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
