"""Diverse beams against the paper's algorithm with lists."""

import numpy as np
import pytest
from toy import Reference, Toy

from antiphon.config.search import SearchOptions
from antiphon.data.tokenizer import EOS
from antiphon.decoding.ledger import Ledger
from antiphon.decoding.search import beam_search
from antiphon.errors import UserError

SOURCES = [[4, 5, EOS], [5, 5, 4, EOS], [4, EOS], [5, 4, 4, 5, EOS]]


def diverse(ref: Reference, o: SearchOptions) -> set[tuple[int, ...]]:
    """Vijayakumar 2018, algorithm 1: all that the groups write up to the maximum length."""
    share = o.beam // o.groups
    groups: list[list[tuple[float, list[int]]]] = [[(0.0, [])] for _ in range(o.groups)]
    ended: set[tuple[int, ...]] = set()
    for t in range(o.max_length + 1):
        taken: list[int] = []
        for g, beams in enumerate(groups):
            pool = [
                (
                    log_p + ref.next(ids)[token] - o.diversity * taken.count(token),
                    log_p + ref.next(ids)[token],
                    ids,
                    token,
                )
                for log_p, ids in beams
                for token in [*ref.pieces, EOS]
            ]
            pool.sort(key=lambda c: -c[0])
            ended |= {tuple(ids) for _, _, ids, token in pool[:share] if token == EOS}
            going = [(log_p, [*ids, token]) for _, log_p, ids, token in pool if token != EOS][:share]
            groups[g] = going
            taken += [ids[-1] for _, ids in going]
        if t == o.max_length:
            break
    return ended


@pytest.mark.parametrize("groups", [2, 3])
@pytest.mark.parametrize("diversity", [0.0, 0.5, 3.0])
def test_groups_write_what_the_paper_says(groups: int, diversity: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "settled", lambda self, t, active, *_: np.zeros(len(active), np.bool_))
    options = SearchOptions(beam=6, groups=groups, diversity=diversity, nbest=6, max_length=4, length_penalty="none")
    together = beam_search(Toy(), SOURCES, options)
    for source, ours in zip(SOURCES, together, strict=True):
        ref = Reference(Toy(), source)
        expected = diverse(ref, options)
        found = [tuple(hypothesis.ids) for hypothesis in ours if hypothesis.finished]
        assert len(set(found)) == len(found), "the same output stands once"
        assert found == sorted(expected, key=lambda ids: -ref.score(ids, True, options))[:6]
        for hypothesis in ours:
            assert hypothesis.log_prob == pytest.approx(sum(ref.steps(hypothesis.ids, hypothesis.finished)[0]))
        (alone,) = beam_search(Toy(), [source], options)
        assert [h.ids for h in alone] == [h.ids for h in ours]


def test_diversity_makes_outputs_differ() -> None:
    def beginnings(diversity: float) -> int:
        options = SearchOptions(beam=3, groups=3, diversity=diversity, nbest=3, max_length=6)
        return sum(len({tuple(h.ids[:1]) for h in group}) for group in beam_search(Toy(), SOURCES, options))

    assert beginnings(10.0) > beginnings(0.0)


@pytest.mark.parametrize(
    ("options", "message"), [({"beam": 5, "groups": 2}, "cannot be divided"), ({"groups": 0}, "1 or")]
)
def test_bad_groups_are_told(options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SearchOptions(**options)  # type: ignore[arg-type]
