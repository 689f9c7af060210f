"""SCAN: commands to actions, with new compositions in the test set; github.com/brendenlake/SCAN, BSD.

The corpus has no development set. One is held out of each training set: of the commands that occur once, every
twentieth in the order of their SHA-1. Actions are written as in the paper (Lake 2018): I_TURN_LEFT is LTURN.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from antiphon.errors import UserError
from antiphon.recipes import fetch
from antiphon.recipes.corpora import rows

LINE = re.compile(r"IN: (.+) OUT: (.+)")
ACTIONS = {"I_TURN_LEFT": "LTURN", "I_TURN_RIGHT": "RTURN"}
HELD_OUT = 20  # every twentieth command


def prepare(files: Mapping[str, Path], out: Path) -> None:
    """Write each `tasks_<train or test>_<split>.txt` as JSON lines, and a `tasks_dev_<split>.jsonl` of held-out pairs.

    Args:
        files: the corpus's files by their names.
        out: the folder to write into.
    """
    for name, path in files.items():
        stem = Path(name).stem
        pairs = [_pair(line) for line in fetch.lines(path)]
        if stem.startswith("tasks_train"):
            held = _held_out(pair["source"] for pair in pairs)
            dev = (pair for pair in pairs if pair["source"] in held)
            rows.write(out / f"{stem.replace('train', 'dev', 1)}.jsonl", dev)
            pairs = [pair for pair in pairs if pair["source"] not in held]
        rows.write(out / f"{stem}.jsonl", pairs)


def _pair(line: str) -> dict[str, str]:
    match = LINE.fullmatch(line)
    if not match:
        raise UserError(f"not a line of SCAN, `IN: command OUT: actions`: {line!r}")
    command, actions = match.groups()
    written = (ACTIONS.get(action, action.removeprefix("I_")) for action in actions.split())
    return {"source": command, "target": " ".join(written)}


def _held_out(commands: Iterable[str]) -> set[str]:
    once = [command for command, times in Counter(commands).items() if times == 1]
    return set(
        sorted(once, key=lambda command: hashlib.sha1(command.encode(), usedforsecurity=False).digest())[::HELD_OUT]
    )
