"""Faults of outputs are counted and named."""

import pytest

from antiphon.evaluation import faults


def test_warnings_name_what_is_wrong() -> None:
    fine = ["a dog runs", "no no no", "the cat"]
    assert faults.warnings(fine) == []
    bad = ["", "on the on the on the on the", "a <unk> runs", "x ⁇ y", *fine]
    assert faults.quality(bad) == (1 / 7, 1 / 7, 2 / 7)
    empty, repeating, unknown = faults.warnings(bad)
    assert "empty (1 of 7)" in empty and "repeat" in repeating and "unknown words (2 of 7)" in unknown
    assert faults.warnings(["JUMP JUMP JUMP JUMP"], references=["JUMP JUMP JUMP JUMP"]) == []
    assert faults.quality(["我们很很很很好", "我们很好"]).repeating == 0.5
    assert faults.quality([]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("n", "times", "expected"), [(1, 4, True), (2, 4, True), (4, 4, True), (5, 4, False), (1, 3, False), (3, 3, False)]
)
def test_repeats_are_one_to_four_words_four_times(n: int, times: int, expected: bool) -> None:
    text = " ".join(["start", *(f"w{i}" for i in range(n))] + [f"w{i}" for i in range(n)] * (times - 1) + ["end"])
    assert (faults.quality([text]).repeating == 1) == expected
