"""The shortlist: candidates by how often they were aligned, and a file that is checked."""

from pathlib import Path

import numpy as np
import pytest

from antiphon.data.tokenizer import EOS, UNK
from antiphon.decoding.shortlist import Shortlist
from antiphon.errors import UserError

ALIGNED = [([7, 8, 7], [4, 5, 4]), ([9, 8], [4, 4]), ([9], [4]), ([], [])]


def test_candidates_are_the_most_often_aligned() -> None:
    made = Shortlist.learn(iter(ALIGNED), 6, most=2)
    assert made.candidates[4].tolist() == [7, 9]  # twice each; 8 once
    assert made.candidates[5].tolist() == [8, EOS]
    assert (made.candidates[:4] == EOS).all()
    assert sorted(made.frequent.tolist()) == [7, 8, 9]


def test_a_list_is_the_union_over_the_batch() -> None:
    made = Shortlist(np.array([[EOS]] * 4 + [[7], [8]], np.int32), np.array([11], np.int32))
    assert made.allowed([[4, EOS]]).tolist() == [UNK, EOS, 7, 11]
    assert made.allowed([[4, EOS], [5, EOS]], [12, 7]).tolist() == [UNK, EOS, 7, 8, 11, 12]


def test_a_file_gives_back_what_was_written_and_is_checked(tmp_path: Path) -> None:
    made, path = Shortlist.learn(ALIGNED, 6), tmp_path / "shortlist.safetensors"
    path.write_bytes(made.contents())
    found = Shortlist.load(path, 6, 10)
    np.testing.assert_array_equal(found.candidates, made.candidates)
    np.testing.assert_array_equal(found.frequent, made.frequent)
    for sources, targets in ((7, 10), (6, 9)):
        with pytest.raises(UserError, match="of another model"):
            Shortlist.load(path, sources, targets)
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="damaged"):
        Shortlist.load(path, 6, 10)
    with pytest.raises(UserError, match="has no shortlist"):
        Shortlist.load(tmp_path / "none", 6, 10)
