"""Where results come from: the commit, the machine and its load."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from antiphon.files import write
from antiphon.training.device import processor


def commit(folder: Path) -> str:
    """The commit that is checked out, marked where code or recipes differ from it; empty outside git."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, encoding="utf-8")
        return done.stdout.strip()

    try:
        status = git("status", "--porcelain").splitlines()
        changed = any(line.endswith((".py", ".toml", ".cpp")) for line in status)
        return git("rev-parse", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def commit_at_start(model: Path, folder: Path) -> str:
    """The commit at which a training began, also where it is resumed at a later one.

    Args:
        model: the model's folder; the commit is noted beside it before it exists.
        folder: the recipe's, in the repository.

    Raises:
        UserError: the note cannot be written.
    """
    note = model.with_name(f"{model.name}.commit.txt")
    if not model.is_dir():
        note.parent.mkdir(parents=True, exist_ok=True)
        write(note, commit(folder) + "\n")
    return note.read_text("utf-8").strip() if note.is_file() else ""


def load() -> float | None:
    """Processes that wanted a processor in the last minute, on average; None on Windows."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def machine() -> dict[str, Any]:
    """The processor and the versions that results depend on."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
