"""Faults of outputs that show a model gone wrong, whatever its scores: empty, repeating and unknown words."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from antiphon.data.scripts import units, writing_of
from antiphon.evaluation.metrics import References


class Quality(NamedTuple):
    """Shares of outputs, 0-1, with a fault that shows a model gone wrong."""

    empty: float
    repeating: float
    unknown: float


def quality(outputs: Sequence[str], unknown: str = "<unk>") -> Quality:
    """Shares of outputs that are empty, repeat the same 1 to 4 words four times running, or hold unknown words.

    Args:
        outputs: one text a sentence; where the script has no spaces, characters are the words.
        unknown: how an unknown word is written; U+2047 (double question mark) counts as well.
    """
    if not outputs:
        return Quality(0.0, 0.0, 0.0)
    writing = writing_of(outputs)
    return Quality(
        float(np.mean([not text.strip() for text in outputs])),
        float(np.mean([_repeats(units(text, writing)) for text in outputs])),
        float(np.mean([unknown in text or "\u2047" in text for text in outputs])),
    )


def warnings(
    outputs: Sequence[str], unknown: str = "<unk>", references: References = (), limit: float = 0.05
) -> list[str]:
    """Say in words what is wrong with outputs.

    Args:
        outputs: one text a sentence.
        unknown: how an unknown word is written.
        references: where known; what is as frequent in them is no fault.
        limit: share of the outputs, above the references' own share, up to which there is no warning.

    Returns:
        A sentence for each fault; none when all is well.
    """
    flat = [text for entry in references for text in ([entry] if isinstance(entry, str) else entry)]
    faults = ("are empty", "repeat themselves", "hold unknown words")
    shares = zip(faults, quality(outputs, unknown), quality(flat, unknown), strict=True)
    return [
        f"{share:.0%} of the outputs {fault} ({round(share * len(outputs))} of {len(outputs)})"
        for fault, share, expected in shares
        if share - expected > limit
    ]


def _repeats(words: Sequence[str], longest: int = 4, times: int = 4) -> bool:
    for n in range(1, longest + 1):
        run = 0  # words in a row that equal the one n before
        for i in range(n, len(words)):
            run = run + 1 if words[i] == words[i - n] else 0
            if run == n * (times - 1):
                return True
    return False
