"""The machine and the versions that results were measured with."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from antiphon.config.memory import machine_memory
from antiphon.training.device import processor
from benchmarks import systems

ROOT = Path(__file__).parents[1]
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "neon", "sve")
PACKAGES = {"eole": "eole", "onmt": "OpenNMT-py", "joey": "joeynmt", "ct2": "ctranslate2"}
OURS = ("torch", "onnxruntime", "numpy", "tokenizers", "sacrebleu")


def describe(threads: int) -> dict[str, object]:
    """The machine by processor, cores, memory and the instruction sets that matter here."""
    return {
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "threads": threads,
        "memory_gib": round(machine_memory() / 2**30, 1),
        "instructions": instructions(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def instructions() -> list[str]:
    """Of the instruction sets that matter here, those that the processor has; empty where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return []
    flags = {word for line in text.splitlines() if line.startswith(("flags", "Features")) for word in line.split()}
    return [name for name in INSTRUCTIONS if name in flags]


def versions() -> dict[str, str]:
    """Versions of our own packages, and of the peers that are installed."""
    versions = {name: version(name) for name in OURS}
    for key, package in PACKAGES.items():
        python = systems.System(package, key).python
        if python.is_file():
            program = f"from importlib.metadata import version; print(version('{package}'))"
            done = subprocess.run([python, "-c", program], capture_output=True, encoding="utf-8")
            versions[package] = done.stdout.strip() or "unknown"
    return versions


def commit() -> str:
    """The commit that is checked out, marked where files other than results differ from it; empty outside git."""
    results = ("results.", "learning.json", "learning.md", "docs/training.")

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8")
        return done.stdout.strip()

    try:
        lines = git("status", "--porcelain", "-uno").splitlines()
        changed = [line for line in lines if not any(name in line for name in results)]
        return git("rev-parse", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
