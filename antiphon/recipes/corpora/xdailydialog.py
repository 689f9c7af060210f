"""XDailyDialog in Chinese (Liu 2023), github.com/liuzeming01/XDailyDialog, Apache-2.0 and CC BY-NC-SA 4.0."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from antiphon.config.sections import Dialogue
from antiphon.data import dialogue
from antiphon.data.scripts import units, writing_of
from antiphon.evaluation.metrics import Score
from antiphon.recipes.corpora import rows
from antiphon.recipes.corpora.measure import Measure
from antiphon.recipes.fetch import text

END = "__eou__"


def prepare(files: Mapping[str, Path], out: Path, *, turns: int = 3) -> None:
    """Write each set: every turn but the first as a target, the turns before it as the source.

    Args:
        files: `train.txt`, `valid.txt` and `test.txt`, one dialogue a line.
        out: the folder to write into.
        turns: most turns of a source, the last ones, like `dialogue.turns` in the configuration.
    """
    options = Dialogue(turns=turns)
    for name in ("train", "valid", "test"):
        pairs = []
        for line in text(files[f"{name}.txt"]).splitlines():
            said = [turn.strip() for turn in line.split(END) if turn.strip()]
            for source, target in dialogue.pairs(said, options):
                pairs.append({"source": source, "target": target})
        rows.write(out / f"{name}.jsonl", pairs)


def distinct(n: int) -> Measure:
    """Different n-grams for 100 words of the outputs (Li 2016, section 5), characters in Chinese."""

    def measure(items: Sequence[dict[str, Any]], outputs: Sequence[str]) -> Score:
        writing = writing_of(outputs)
        texts = [units(output, writing) for output in outputs]
        ngrams = [tuple(words[i : i + n]) for words in texts for i in range(len(words) - n + 1)]
        value = 100 * len(set(ngrams)) / max(1, sum(map(len, texts)))
        return Score(f"distinct{n}", value, f"distinct{n}|writing:{writing}", True, scale="n-grams per 100 words")

    return measure


MEASURES: dict[str, Measure] = {f"distinct{n}": distinct(n) for n in (1, 2)}
