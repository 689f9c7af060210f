"""What is measured: the rows of the table, with their units and the figures to reach."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import systems
from benchmarks.systems import CT2, EOLE, JOEY, ONMT, System

PIECES = 15  # of every output where speeds are compared, so that all write equally much
BATCH = 64
MINUTES = 6.0


@dataclass(frozen=True)
class Goal:
    """A figure to reach: so many times a peer's (`over`; empty: the best peer's), or a value of its own."""

    times: float = 0.0
    over: str = ""
    value: float = 0.0


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    key: str
    title: str
    unit: str
    conditions: str
    systems: Sequence[System]
    goals: Sequence[Goal] = ()
    higher: bool = True  # is better
    most: int = 1000  # rounds of what takes long


def all_rows(long_peers: bool = False, minutes: float = MINUTES) -> list[Row]:
    """The rows in the order in which they are measured.

    Args:
        long_peers: train Joey NMT and Eole for the score's minutes, too.
        minutes: of training before the score.
    """
    engines = systems.engines()
    forced = f"every output of {PIECES} pieces, which cannot be forced in Joey NMT; loading excluded"
    scored = [*systems.models(), ONMT, *((EOLE, JOEY) if long_peers else ())]
    return [
        Row(
            "train-small", "training, shape small", "target tokens/s",
            "LSTM, embeddings 256, encoder 2 x 256, decoder 512, additive attention with input feeding, a linear "
            "readout (Joey NMT: tanh); dropout of embeddings and before the output layer (Joey NMT: the readout); "
            "128 sentences a batch; steady state",
            [*systems.precisions(), ONMT, EOLE, JOEY], [Goal(times=4)],
        ),
        Row(
            "train-large", "training, shape large", "target tokens/s",
            "LSTM, 4 x 1000, embeddings 1000, no attention; dropout between layers too; 128 sentences a batch; "
            "steady state",
            [*systems.precisions(), ONMT, EOLE], [Goal(times=3)], most=2,
        ),
        Row(
            "bleu", f"BLEU of test 2016 after {minutes:.2g} minutes", "BLEU, beam 5",
            "training from scratch; tokenisation not counted for any system; cased, detokenised",
            scored, [Goal(value=33)], most=1,
        ),
        Row(
            "beam", "translating test 2016, beam 5", "output tokens/s", f"batches of {BATCH}; {forced}",
            [*engines, ONMT, EOLE, CT2], [Goal(times=1, over=CT2.name), Goal(times=6, over=EOLE.name)],
        ),
        Row(
            "greedy", "translating test 2016, greedy", "output tokens/s", f"batches of {BATCH}; {forced}",
            [*engines, ONMT, EOLE, CT2], [Goal(times=1, over=CT2.name), Goal(times=7, over=EOLE.name)],
        ),
        Row(
            "single", "one sentence at a time, greedy", "ms, p50", forced,
            [*engines, ONMT, EOLE, CT2], [Goal(value=3)], higher=False,
        ),
        Row(
            "start", "start-up to the first output", "s",
            "from the start of the process; Antiphon by its command, the peers by their Python interface",
            [*(s for s in engines if "shortlist" not in s.options), ONMT, EOLE, CT2], [Goal(value=1)], higher=False,
        ),
    ]  # fmt: skip
