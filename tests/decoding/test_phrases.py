"""Phrases that outputs must hold, or must not: against all the outputs there are."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from toy import Reference, Toy, brute_force

from antiphon.config.search import SearchOptions
from antiphon.data.tokenizer import BOS, EOS, PAD
from antiphon.decoding.phrases import Phrases, Progress, Segmentations, completions
from antiphon.decoding.search import beam_search, sample
from antiphon.errors import UserError

SOURCES = [[4, 5, EOS], [5, 5, 4, EOS], [4, EOS], [5, 4, 4, EOS]]
PIECES = [1, 4, 5]


def holds(ids: Sequence[int], cuts: Segmentations) -> bool:
    return any(list(cut) == list(ids[i : i + len(cut)]) for cut in cuts for i in range(len(ids) - len(cut) + 1))


def test_the_last_piece_of_a_phrase_completes_it() -> None:
    written = np.array([[[4, 5], [5, 4]]])
    table = completions([[[[4, 5, 1]], [[5, 4]], [[4]]]], written)
    assert [set(row) - {-1} for row in table[0].tolist()] == [{1, 4}, {4}]
    assert completions([[]], written).shape == (1, 2, 0)
    assert completions([[[[4]]]], np.empty((1, 1, 0), np.int64)).tolist() == [[[4]]]


def test_progress_follows_overlapping_phrases() -> None:
    phrases: Phrases = [[[4, 4, 5]], [[4, 5], [1]]]
    at = Progress()
    for token, pieces in ((4, 1), (4, 2), (4, 2)):
        at = at.after(token, phrases)
        assert at.met == frozenset() and at.pieces(phrases) == pieces
    assert set(at.next(phrases)) == {5, 4, 1}
    at = at.after(5, phrases)
    assert at.met == {0, 1} and at.pieces(phrases) == 4 and not at.begun
    assert Progress().after(1, phrases).met == {1}


@pytest.mark.parametrize(
    "phrases", [[[[4, 5]]], [[[1]]], [[[4, 4, 4]]], [[[5, 1]], [[4, 5]]], [[[1, 1], [5, 5]]]], ids=str
)
@pytest.mark.parametrize("penalty", ["none", "average"])
def test_a_wide_beam_finds_the_best_output_that_holds_them(phrases: Phrases, penalty: str) -> None:
    options = SearchOptions(beam=400, nbest=3, max_length=4, length_penalty=penalty)  # type: ignore[arg-type]
    found = beam_search(Toy(), SOURCES, options, wanted=[phrases] * len(SOURCES))
    for source, ours in zip(SOURCES, found, strict=True):
        every = brute_force(Reference(Toy(), source), options)
        right = [out for out in every if out[2] and all(holds(out[1], cuts) for cuts in phrases)]
        assert [hypothesis.ids for hypothesis in ours] == [ids for _, ids, _ in right[:3]]
        assert [hypothesis.score for hypothesis in ours] == pytest.approx([score for score, _, _ in right[:3]])


@pytest.mark.parametrize("beam", [1, 2, 5])
def test_narrow_beams_meet_them_too_and_batches_change_nothing(beam: int) -> None:
    wanted: list[Phrases] = [[[[4, 5]], [[1]]], [], [[[5, 5, 1]]], [[[1]]]]
    options = SearchOptions(beam=beam, max_length=12)
    together = beam_search(Toy(), SOURCES, options, wanted=wanted)
    for source, phrases, ours in zip(SOURCES, wanted, together, strict=True):
        assert all(holds(ours[0].ids, cuts) for cuts in phrases)
        (alone,) = beam_search(Toy(), [source], options, wanted=[phrases])
        assert alone[0].ids == ours[0].ids
    assert together[1][0].ids == beam_search(Toy(), [SOURCES[1]], options)[0][0].ids, "nothing wanted, nothing changed"


@pytest.mark.parametrize("beam", [2, 4, 8])
def test_an_output_that_holds_them_ends_where_the_model_ends(beam: int) -> None:
    """Hypotheses without the phrase are more probable, and must not shut its end out."""
    V, piece = 6, 1

    class Ends(Toy):
        def tables(self, source: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            p = np.full((V, V, V), 1e-4)
            p[..., 4:] = 0.45  # the model would write 4 and 5 for ever
            p[:, piece, :] = 1e-4
            p[:, piece, EOS] = 1.0  # but ends behind the piece
            p[..., [PAD, BOS]] = 0
            with np.errstate(divide="ignore"):
                log_p = np.log(p / p.sum(-1, keepdims=True)).astype(np.float32)
            return log_p, np.full((V, V, len(source)), 1 / len(source), np.float32)

    for penalty in ("none", "average"):
        options = SearchOptions(beam=beam, max_length=12, length_penalty=penalty)
        (found,) = beam_search(Ends(V), SOURCES[:1], options, wanted=[[[[piece]]]])
        assert found[0].finished and found[0].ids[-1] == piece and found[0].ids.count(piece) == 1
        if penalty == "none":
            assert found[0].ids == [piece]


@settings(max_examples=30, deadline=None)
@given(
    phrases=st.lists(
        st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=3), min_size=1, max_size=2), max_size=3
    ),
    beam=st.sampled_from([1, 4]),
)
def test_unwanted_phrases_never_occur(phrases: Phrases, beam: int) -> None:
    options, unwanted = SearchOptions(beam=beam, max_length=7, nbest=1), [phrases] * len(SOURCES)
    for results in (
        beam_search(Toy(), SOURCES, options, unwanted=unwanted),
        sample(Toy(), SOURCES, options, unwanted=unwanted),
    ):
        for group in results:
            assert not any(holds(group[0].ids, cuts) for cuts in phrases)


def test_a_wide_beam_finds_the_best_output_without_them() -> None:
    options = SearchOptions(beam=400, max_length=4, length_penalty="none")
    phrases: Phrases = [[[4, 5]], [[1]]]
    found = beam_search(Toy(), SOURCES, options, unwanted=[phrases] * len(SOURCES))
    for source, ours in zip(SOURCES, found, strict=True):
        every = brute_force(Reference(Toy(), source), options)
        right = next(out for out in every if out[2] and not any(holds(out[1], cuts) for cuts in phrases))
        assert ours[0].ids == right[1]


def test_groups_and_wanted_phrases_are_refused_together() -> None:
    with pytest.raises(UserError, match="cannot be combined"):
        beam_search(Toy(), SOURCES[:1], SearchOptions(beam=4, groups=2), wanted=[[[[4]]]])
