"""Batches of pairs of similar length under a budget, in an order that depends on (seed, epoch, rank, world) alone.

Shapes: N pairs, B rows of a batch, T the longest of them.
"""

from collections.abc import Sequence
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from antiphon.data.tokenizer import PAD
from antiphon.errors import UserError

Lengths = NDArray[np.int32]
Rows = NDArray[np.int64]

SOURCE_SHARE = 2  # source pieces for each target piece of the budget: limits memory where sources are long
GROUPS = 1.5  # above 1: targets, which cost more, get less padding than sources


class Batches(Sequence[Rows]):
    """An epoch's batches for one process: row numbers, computed from three arrays on access."""

    def __init__(self, rows: Rows, bounds: Rows, order: Rows, rank: int, world: int) -> None:
        self._rows = rows  # [N] row numbers by length
        self._bounds = bounds  # [batches + 1] where each global batch begins in them, and the end
        self._order = order  # [batches] the order of the global batches
        self._rank, self._world = rank, world

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Rows: ...
    @overload
    def __getitem__(self, index: slice) -> list[Rows]: ...
    def __getitem__(self, index: int | slice) -> Rows | list[Rows]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        batch = self._order[index]
        return self._rows[self._bounds[batch] + self._rank : self._bounds[batch + 1] : self._world]


def epoch_batches(
    source_lengths: Lengths,
    target_lengths: Lengths,
    *,
    size: int,
    unit: Literal["tokens", "sentences"],
    seed: int,
    epoch: int,
    rank: int = 0,
    world: int = 1,
) -> Batches:
    """Divide an epoch's pairs into batches of similar length.

    Rows are sorted by length and split into global batches of `world * size`, which are shuffled. Each process gets
    every `world`-th row of each global batch, so that `world` processes together see what one process with
    `world * size` sees. All have the same number of batches, and none is empty: a last one with fewer rows than
    processes is added to the one before. Every pair is in one batch.

    Args:
        source_lengths, target_lengths: lengths in pieces, without BOS and EOS, [N] each.
        size: a process's share of a batch.
        unit: what `size` counts. `tokens`: target pieces with EOS and padding, and up to twice as many source pieces;
            a longer row is a batch by itself, and a process has at least one row. `sentences`: rows.
        seed, epoch: determine the order.
        rank, world: this process and the number of processes.

    Returns:
        A sequence of row numbers, [B] each; any batch is accessible at the same cost.

    Raises:
        UserError: there are fewer pairs than processes.
    """
    if len(target_lengths) < world:
        raise UserError(f"{len(target_lengths)} training pairs cannot be shared among {world} processes; start fewer")
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch])))
    n, budget = len(target_lengths), size * world
    if unit == "sentences":
        rows = _by_length(source_lengths, target_lengths, n / budget, rng)
        bounds = np.append(np.arange(0, n, budget), n)
    else:
        tokens = int(target_lengths.sum(dtype=np.int64)) + n
        rows = _by_length(source_lengths, target_lengths, tokens / budget, rng)
        bounds = _bounds(source_lengths[rows], target_lengths[rows], budget, world)
    if len(bounds) > 2 and bounds[-1] - bounds[-2] < world:  # fewer rows than processes: add them to the batch before
        bounds = np.delete(bounds, -2)
    return Batches(rows, bounds, rng.permutation(len(bounds) - 1), rank, world)


def _by_length(
    source_lengths: Lengths, target_lengths: Lengths, batches: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Row numbers in an order in which neighbours have similar lengths on both sides.

    Rows are grouped by target length, and sorted by source length in each group, up and down alternately. With about
    sqrt(`batches`) groups a batch is as narrow in one length as in the other. Rows of equal length are shuffled, so
    that batches differ from epoch to epoch.
    """
    n, groups = len(target_lengths), max(1, round(GROUPS * batches**0.5))
    key = rng.random(n)  # [N]
    key += target_lengths
    group = np.empty(n, np.int32)
    group[np.argsort(key, kind="stable")] = np.arange(n) * groups // n
    rng.random(out=key)
    key += source_lengths
    span = float(key.max()) + 1
    np.subtract(span, key, out=key, where=group % 2 == 1)
    key += group * span
    return np.argsort(key, kind="stable")


def _bounds(source_lengths: Lengths, target_lengths: Lengths, budget: int, least: int) -> NDArray[np.int64]:
    """Where the largest batches that fit the budget begin, of `least` rows or more, and the end."""
    n, bounds = len(target_lengths), [0]
    while (begin := bounds[-1]) < n:
        end = begin + max(least, budget // (int(target_lengths[begin]) + 1))  # no more can fit
        counts = np.arange(1, min(end, n) - begin + 1)
        target_tokens = counts * (np.maximum.accumulate(target_lengths[begin:end]) + 1)
        source_tokens = counts * (np.maximum.accumulate(source_lengths[begin:end]) + 1)
        fits = (target_tokens <= budget) & (source_tokens <= SOURCE_SHARE * budget)
        bounds.append(min(begin + max(least, int(fits.sum())), n))
    return np.array(bounds, np.int64)


def pad(rows: Sequence[NDArray[np.integer]], *, bos: int | None = None, eos: int | None = None, pad: int = PAD) -> Rows:
    """Put rows of different lengths into one array.

    Args:
        rows: B arrays of ids.
        bos, eos: ids before and after each row; None: none.
        pad: id that fills the rest.

    Returns:
        [B, T], T the longest row with its BOS and EOS.
    """
    first = 0 if bos is None else 1
    ends = np.array([len(row) for row in rows], np.int64) + first  # [B]
    out = np.full((len(rows), int(ends.max(initial=0)) + (eos is not None)), pad, np.int64)  # [B, T]
    if bos is not None:
        out[:, 0] = bos
    columns = np.arange(out.shape[1])
    if len(rows):
        out[(columns >= first) & (columns < ends[:, None])] = np.concatenate(rows)
    if eos is not None:
        out[np.arange(len(rows)), ends] = eos
    return out
