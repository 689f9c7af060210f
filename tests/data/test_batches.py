"""Batches: every pair once, alike within, the same for any number of processes, in flat memory."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from antiphon.data.batches import SOURCE_SHARE, Batches, epoch_batches, pad
from antiphon.errors import UserError

Lengths = NDArray[np.int32]


def caption_lengths(n: int, seed: int = 0) -> tuple[Lengths, Lengths]:
    """Lengths spread as those of image captions: around 13 pieces, a few much longer, the sides related."""
    rng = np.random.default_rng(seed)
    target = np.clip(rng.gamma(8, 1.7, n), 2, 60)
    source = np.clip(target * rng.normal(1, 0.2, n), 1, 60)
    return source.astype(np.int32), target.astype(np.int32)


def tokens(source: Lengths, target: Lengths, size: int, epoch: int = 0, **more: int) -> Batches:
    return epoch_batches(source, target, size=size, unit="tokens", seed=1, epoch=epoch, **more)


def test_every_pair_is_in_one_batch_within_the_budget() -> None:
    source, target = caption_lengths(5000)
    batches = tokens(source, target, 1024)
    assert sorted(np.concatenate(batches[:]).tolist()) == list(range(5000))
    for rows in batches:
        assert len(rows) * (target[rows].max() + 1) <= 1024
        assert len(rows) * (source[rows].max() + 1) <= SOURCE_SHARE * 1024


def test_batches_are_full_of_real_tokens() -> None:
    source, target = caption_lengths(29000)
    batches = tokens(source, target, 4096)
    for lengths in (source, target):
        padded = sum(len(rows) * (int(lengths[rows].max()) + 1) for rows in batches)
        assert (lengths.sum() + len(lengths)) / padded > 0.9
    assert sum(len(rows) * (int(target[rows].max()) + 1) for rows in batches) / (4096 * len(batches)) > 0.9


def test_long_sources_are_bounded_though_targets_are_short() -> None:
    rng = np.random.default_rng(0)
    source, target = rng.integers(1, 400, 3000, np.int32), rng.integers(1, 10, 3000, np.int32)
    for rows in tokens(source, target, 2048):
        assert len(rows) * (source[rows].max() + 1) <= SOURCE_SHARE * 2048


def test_order_depends_on_seed_and_epoch_only() -> None:
    source, target = caption_lengths(2000)
    first, again, other = (tokens(source, target, 512, epoch) for epoch in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert {tuple(sorted(rows)) for rows in first} != {tuple(sorted(rows)) for rows in other}, (
        "the same mates each epoch"
    )
    assert [int(target[rows].max()) for rows in first] != [int(target[rows].max()) for rows in other]
    seeded = epoch_batches(source, target, size=512, unit="tokens", seed=2, epoch=3)
    assert not np.array_equal(seeded[0], first[0])


def test_lengths_come_in_random_order() -> None:
    source, target = caption_lengths(20000)
    longest = np.array([target[rows].max() for rows in tokens(source, target, 1024)])
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.2


def test_a_row_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    target = np.array([3, 500, 3, 700, 3], np.int32)
    batches = tokens(np.full(5, 3, np.int32), target, 100)
    assert sorted(len(rows) for rows in batches) == [1, 1, 3]


@pytest.mark.parametrize("unit", ["tokens", "sentences"])
@pytest.mark.parametrize("world", [2, 3])
def test_processes_together_see_what_one_with_the_larger_batch_sees(unit: str, world: int) -> None:
    source, target = caption_lengths(1003)
    size = 300 if unit == "tokens" else 30
    one = epoch_batches(source, target, size=size * world, unit=unit, seed=1, epoch=5)  # type: ignore[arg-type]
    many = [
        epoch_batches(source, target, size=size, unit=unit, seed=1, epoch=5, rank=rank, world=world)  # type: ignore[arg-type]
        for rank in range(world)
    ]
    assert {len(batches) for batches in many} == {len(one)}
    for i, rows in enumerate(one):
        parts = [batches[i] for batches in many]
        assert sorted(np.concatenate(parts).tolist()) == sorted(rows.tolist())
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_pair_is_lost_and_no_process_goes_without(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 60))
    lengths = st.lists(st.integers(1, 50), min_size=n, max_size=n)
    source, target = (np.array(data.draw(lengths), np.int32) for _ in range(2))
    world = data.draw(st.integers(1, min(4, n)))
    size, unit = data.draw(st.integers(1, 80)), data.draw(st.sampled_from(["tokens", "sentences"]))
    epoch = data.draw(st.integers(0, 3))
    ranks = [
        epoch_batches(source, target, size=size, unit=unit, seed=7, epoch=epoch, rank=r, world=world)  # type: ignore[arg-type]
        for r in range(world)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    assert all(len(rows) > 0 for batches in ranks for rows in batches)
    assert sorted(np.concatenate([rows for batches in ranks for rows in batches]).tolist()) == list(range(n))


def test_fewer_pairs_than_processes_is_an_error() -> None:
    with pytest.raises(UserError, match="2 training pairs cannot be shared among 3 processes"):
        epoch_batches(np.ones(2, np.int32), np.ones(2, np.int32), size=9, unit="tokens", seed=1, epoch=0, world=3)


def test_a_large_epoch_is_cut_quickly_and_entered_anywhere() -> None:
    source, target = caption_lengths(1_000_000)
    begin = time.process_time()
    batches = tokens(source, target, 4096)
    assert batches[len(batches) - 1].dtype == np.int64
    assert time.process_time() - begin < 5
    assert np.array_equal(batches[-1], batches[len(batches) - 1])
    with pytest.raises(IndexError):
        batches[len(batches)]


def test_pad() -> None:
    rows = [np.array([5, 6, 7], np.uint16), np.array([8], np.uint16)]
    assert pad(rows).tolist() == [[5, 6, 7], [8, 0, 0]]
    assert pad(rows, bos=2).tolist() == [[2, 5, 6, 7], [2, 8, 0, 0]]
    assert pad(rows, eos=3).tolist() == [[5, 6, 7, 3], [8, 3, 0, 0]]
    assert pad(rows, bos=2, eos=3, pad=9).tolist() == [[2, 5, 6, 7, 3], [2, 8, 3, 9, 9]]
    assert pad(rows).dtype == np.int64
    assert pad([np.array([], np.uint16)], eos=3).tolist() == [[3]]
    assert pad([]).shape == (0, 0)
