"""The bAbI dialogue tasks (Bordes & Weston 2017, arXiv 1605.07683), CC BY 3.0: booking a restaurant.

Tasks 1 to 5 are synthetic, task 6 is the DSTC2 corpus of people who talk to a system.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from antiphon.config.sections import Dialogue
from antiphon.data.dialogue import Turn, context
from antiphon.evaluation.metrics import Score
from antiphon.recipes.corpora import rows
from antiphon.recipes.corpora.measure import Measure
from antiphon.recipes.fetch import text

RESULT = "<result>"  # before a restaurant from the knowledge base
MARKS = Dialogue(turns=1)


def prepare(
    files: Mapping[str, Path], out: Path, *, words: int = 240, facts: Sequence[str] = (), results: int = 12
) -> None:
    """Write each set: every reply of the system as a target, the turns before it as the source.

    A source has one turn for each restaurant from the knowledge base, in the corpus's order, with its name. The names
    of tasks 1 to 5 contain all facts of a restaurant.

    Args:
        files: `train.txt`, `valid.txt` and `test.txt`.
        out: the folder to write into.
        words: longest source; the oldest turns of a longer dialogue are left out.
        facts: what a source has after a restaurant's name, such as `R_cuisine`, in this order.
        results: most restaurants in a source; the first ones are kept.
    """
    for name in ("train", "valid", "test"):
        pairs = []
        for number, dialogue in enumerate(_dialogues(text(files[f"{name}.txt"]))):
            for source, target in _replies(dialogue, words, facts, results):
                pairs.append({"source": source, "target": target, "dialogue": number})
        rows.write(out / f"{name}.jsonl", pairs)


def _dialogues(content: str) -> Iterator[list[str]]:
    """The lines of each dialogue, without their numbers."""
    for block in re.split(r"\n\s*\n", content.strip()):
        yield [line.partition(" ")[2] for line in block.splitlines()]


def _replies(lines: Sequence[str], words: int, facts: Sequence[str], results: int) -> Iterator[tuple[str, str]]:
    turns: list[Turn] = []
    restaurants: dict[str, dict[str, str]] = {}
    for line in lines:
        if "\t" in line:
            turns += _results(restaurants, facts, results)
            restaurants = {}
            said, reply = (part.strip() for part in line.split("\t", 1))
            turns.append(Turn(MARKS.user, said))
            yield _shortened(turns, words), reply
            turns.append(Turn(MARKS.model, reply))
        elif len(parts := line.split(" ")) == 3 and parts[1].startswith("R_"):
            restaurants.setdefault(parts[0], {})[parts[1]] = parts[2]
        else:  # "api_call no result"
            turns.append(Turn(RESULT, line))


def _results(restaurants: Mapping[str, Mapping[str, str]], facts: Sequence[str], results: int) -> list[Turn]:
    """A turn for each of the first restaurants."""
    turns = []
    for name, known in list(restaurants.items())[:results]:
        values = [known[fact] for fact in facts if fact in known]
        turns.append(Turn(RESULT, " ".join([name, *values])))
    return turns


def _shortened(turns: Sequence[Turn], words: int) -> str:
    """The last turns with at most this number of words and punctuation marks together, and at least one turn."""
    kept = len(turns)
    for most in range(1, len(turns) + 1):
        if len(re.findall(r"<\w+>|[^\W_\d]+|\d|[^\w\s]|_", context(turns, most))) > words:
            kept = max(1, most - 1)
            break
    return context(turns, kept)


def per_dialogue(items: Sequence[dict[str, Any]], outputs: Sequence[str]) -> Score:
    """Per cent of dialogues in which every reply is right (Bordes & Weston 2017, section 5)."""
    right: dict[int, bool] = {}
    for item, output in zip(items, outputs, strict=True):
        same = output.split() == str(item["target"]).split()
        right[item["dialogue"]] = right.get(item["dialogue"], True) and same
    value = 100 * float(np.mean(list(right.values())))
    return Score("per_dialogue", value, "per_dialogue|case:mixed", True, scale="per cent of dialogues")


MEASURES: dict[str, Measure] = {"per_dialogue": per_dialogue}
