"""Batches of texts of like length, which waste little on padding."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

SCORED = 1 << 14  # source and target pieces, padding included, of a batch that is scored


def shared(work: Sequence[T], batch: int, workers: int) -> list[Sequence[T]]:
    """Batches of at most `batch`, of like size, and as many for each worker; neighbours stay together."""
    count = -(-len(work) // (batch * workers)) * workers
    size = max(1, -(-len(work) // max(1, count)))
    return [work[begin : begin + size] for begin in range(0, len(work), size)]


def budgeted(lengths: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Batches of pairs of like length, none above the budget of pieces unless it is a single pair.

    Args:
        lengths: of each pair, source and target.

    Returns:
        Positions in `lengths`, each in one batch.
    """
    batches: list[list[int]] = []
    rows: list[int] = []
    longest = 0, 0  # source, target
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        wider = max(longest[0], lengths[i][0]), max(longest[1], lengths[i][1])
        if rows and sum(wider) * (len(rows) + 1) > SCORED:
            batches.append(rows)
            rows, wider = [], lengths[i]
        rows.append(i)
        longest = wider
    return [*batches, rows] if rows else batches
