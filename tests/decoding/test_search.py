"""The search against brute force and against plain Python, on a model that is a random table."""

import itertools
import math
from collections import Counter
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from toy import Reference, Rows, Toy, brute_force, python_beam

from antiphon.config.search import SearchOptions
from antiphon.data.tokenizer import EOS
from antiphon.decoding.engine import Engine, Step
from antiphon.decoding.hypothesis import Hypothesis
from antiphon.decoding.search import beam_search, sample, score
from antiphon.errors import UserError

SOURCES = [[4, 5, 6, EOS], [5, EOS], [6, 4, 4, 5, 5, EOS], [EOS], [4, 6, EOS], [5, 4, 6, 6, EOS], [6, 6, EOS]]


def name(options: SearchOptions) -> str:
    """What differs from the defaults, for the names of tests."""
    return " ".join(f"{k}={v}" for k, v in asdict(options).items() if v != getattr(SearchOptions(), k)) or "defaults"


def check(h: Hypothesis, ref: Reference, o: SearchOptions, attention: bool = True) -> None:
    """A hypothesis's parts agree with the model and with each other."""
    each, alpha = ref.steps(h.ids, h.finished)
    np.testing.assert_allclose(h.token_log_probs, each, atol=1e-5)
    assert h.log_prob == pytest.approx(sum(each), abs=1e-5)
    assert h.score == pytest.approx(ref.score(h.ids, h.finished, o), abs=1e-4)
    if attention:
        assert h.attention is not None
        np.testing.assert_allclose(h.attention, alpha, atol=1e-6)


EXACT = [
    SearchOptions(length_penalty="none"),
    SearchOptions(length_penalty="average"),
    SearchOptions(length_penalty="average", alpha=0.6),
    SearchOptions(length_penalty="average", alpha=0.0),
    SearchOptions(length_penalty="gnmt", alpha=0.8),
    SearchOptions(length_penalty="gnmt", alpha=1.0, coverage_penalty=0.3),
    SearchOptions(length_penalty="none", coverage_penalty=0.2),
    SearchOptions(min_length=3),
    SearchOptions(min_length=5),
    SearchOptions(block_ngrams=1),
    SearchOptions(block_ngrams=2, length_penalty="none"),
    SearchOptions(block_ngrams=3, min_length=4),
    SearchOptions(no_unk=True),
    SearchOptions(no_unk=True, block_ngrams=1, min_length=3),  # everything runs into the wall
    SearchOptions(min_length=2, block_ngrams=2, coverage_penalty=0.1, length_penalty="gnmt"),
]
PREFIXES: list[list[int]] = [[4], [], [5, 5, 4], [4, 4, 4, 4, 5], [1], [], [5, 4]]


@pytest.mark.parametrize("prefixed", [False, True], ids=["free", "prefixed"])
@pytest.mark.parametrize("options", EXACT, ids=name)
def test_wide_beam_is_exact(options: SearchOptions, prefixed: bool) -> None:
    toy = Toy()
    prefixes = PREFIXES if prefixed else None
    for nbest in (1, 6, 1200):
        o = replace(options, beam=1200, nbest=nbest, max_length=5)
        results = beam_search(toy, SOURCES, o, prefixes)
        assert len(results) == len(SOURCES)
        for n, (source, found) in enumerate(zip(SOURCES, results, strict=True)):
            ref = Reference(toy, source)
            expected = brute_force(ref, o, PREFIXES[n] if prefixed else ())[:nbest]
            assert [(h.ids, h.finished) for h in found] == [(ids, finished) for _, ids, finished in expected]
            for h in found[:20]:
                check(h, ref, o)


def test_the_exact_bound_stops_the_search_early_and_right() -> None:
    o = SearchOptions(beam=1200, length_penalty="none", max_length=5)
    steps = []
    for source in SOURCES:
        toy = Toy(sharpness=4)
        best = beam_search(toy, [source], o)[0][0]
        assert best.ids == brute_force(Reference(toy, source), o)[0][1]
        steps.append(toy.steps)
    assert min(steps) < max(steps) <= 6


NARROW = [
    SearchOptions(beam=1, alpha=0.0),
    SearchOptions(beam=1, min_length=4, coverage_penalty=0.2),
    SearchOptions(beam=2, length_penalty="none"),
    SearchOptions(beam=3, nbest=3),
    SearchOptions(beam=4, nbest=2, length_penalty="gnmt", alpha=0.6, coverage_penalty=0.4),
    SearchOptions(beam=5, nbest=5, max_length=3),
    SearchOptions(beam=5, nbest=5, block_ngrams=2, no_unk=True),
    SearchOptions(beam=2, nbest=2, block_ngrams=1, min_length=9),
    SearchOptions(beam=8, nbest=8, min_length=6, block_ngrams=3, max_length=9),
    SearchOptions(beam=3, nbest=2, length_penalty="average", alpha=2.0),
]


@pytest.mark.parametrize("vocabulary", [6, 9, 25])
@pytest.mark.parametrize("options", NARROW, ids=name)
def test_narrow_beam_equals_plain_python(options: SearchOptions, vocabulary: int) -> None:
    toy = Toy(vocabulary)
    for prefixes in (None, PREFIXES):
        results = beam_search(toy, SOURCES, options, prefixes)
        for n, (source, found) in enumerate(zip(SOURCES, results, strict=True)):
            ref = Reference(toy, source)
            expected, steps = python_beam(ref, options, prefixes[n] if prefixes else ())
            assert [(h.ids, h.finished) for h in found] == [(ids, finished) for _, ids, finished in expected]
            alone = Toy(vocabulary)
            beam_search(alone, [source], options, [prefixes[n]] if prefixes else None)
            assert alone.steps == steps
            for h in found:
                check(h, ref, options)


def test_greedy_equals_a_plain_loop() -> None:
    toy = Toy(30, sharpness=2.5)
    for source, (found,) in zip(SOURCES, beam_search(toy, SOURCES, SearchOptions(beam=1)), strict=True):
        ref = Reference(toy, source)
        ids: list[int] = []
        while (token := int(ref.next(ids).argmax())) != EOS and len(ids) < ref.limit:
            ids.append(token)
        assert found.ids == ids
        assert found.finished == (token == EOS)


def same(a: list[list[Hypothesis]], b: list[list[Hypothesis]]) -> None:
    for one, other in zip(a, b, strict=True):
        assert [h.ids for h in one] == [h.ids for h in other]
        assert [h.score for h in one] == [h.score for h in other]
        for h, g in zip(one, other, strict=True):
            np.testing.assert_array_equal(h.token_log_probs, g.token_log_probs)
            assert h.attention is not None and g.attention is not None
            np.testing.assert_array_equal(h.attention, g.attention)


@pytest.mark.parametrize(
    "options",
    [
        SearchOptions(beam=4, nbest=4),
        SearchOptions(beam=3, nbest=2, coverage_penalty=0.2, block_ngrams=2),
        SearchOptions(nbest=3),
    ],
    ids=name,
)
def test_results_do_not_depend_on_the_batch(options: SearchOptions) -> None:
    toy = Toy(12)
    order = [3, 6, 0, 5, 1, 4, 2]
    shuffled, prefixes = [SOURCES[n] for n in order], [PREFIXES[n] for n in order]
    together = beam_search(toy, SOURCES, options, PREFIXES)
    assert len(set(toy.batches)) > 2, "sentences must leave the batch as they finish"
    same([together[n] for n in order], beam_search(toy, shuffled, options, prefixes))
    same(together, [beam_search(toy, [s], options, [p])[0] for s, p in zip(SOURCES, PREFIXES, strict=True)])
    drawn = sample(toy, SOURCES, options, PREFIXES)
    same([drawn[n] for n in order], sample(toy, shuffled, options, prefixes, order))
    alone = [sample(toy, [s], options, [PREFIXES[n]], [n])[0] for n, s in enumerate(SOURCES)]
    same(drawn, alone)


def test_nbest_has_no_duplicates_and_is_ordered() -> None:
    for found in beam_search(Toy(8), SOURCES, SearchOptions(beam=10, nbest=10)):
        assert len({tuple(h.ids) for h in found}) == len(found) == 10
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


def test_ties_are_broken_alike_in_every_batch() -> None:
    toy = Toy(10, sharpness=0.0)  # every token as likely as any other
    o = SearchOptions(beam=4, nbest=4, max_length=4, length_penalty="none")
    together = beam_search(toy, SOURCES, o)
    same(together, [beam_search(toy, [source], o)[0] for source in SOURCES])


def test_outputs_cut_at_the_maximum_length_come_last_and_say_so() -> None:
    toy = Toy(25)
    o = SearchOptions(beam=6, nbest=6, max_length=2)
    found = list(itertools.chain(*beam_search(toy, SOURCES, o)))
    assert {h.finished for h in found} == {True, False}
    assert all(len(h.ids) == 2 and len(h.token_log_probs) == 2 for h in found if not h.finished)
    for results in beam_search(toy, SOURCES, o):
        assert [h.finished for h in results] == sorted((h.finished for h in results), reverse=True)


def truncated(log_p: NDArray[np.float64], o: SearchOptions) -> NDArray[np.float64]:
    """The distribution to sample from, by sorting upwards and cutting from below, renormalised at every step."""
    p = np.exp(log_p / o.temperature)
    p /= p.sum()
    if o.top_k:
        p[p < np.sort(p)[-o.top_k]] = 0
        p /= p.sum()
    if o.top_p < 1:
        up = np.argsort(p)
        p[up[:-1][(np.cumsum(p[up]) <= 1 - o.top_p)[:-1]]] = 0
        p /= p.sum()
    p[p < o.min_p * p.max()] = 0
    normalised: NDArray[np.float64] = p / p.sum()
    return normalised


@pytest.mark.parametrize(
    "options",
    [
        SearchOptions(),
        SearchOptions(temperature=0.5),
        SearchOptions(temperature=2.0),
        SearchOptions(top_k=2),
        SearchOptions(top_k=1),
        SearchOptions(top_p=0.7),
        SearchOptions(min_p=0.3),
        SearchOptions(temperature=1.5, top_k=4, top_p=0.8, min_p=0.1),
        SearchOptions(no_unk=True, min_length=1, block_ngrams=1, top_k=2),
    ],
    ids=name,
)
def test_samples_follow_the_truncated_distribution(options: SearchOptions) -> None:
    toy, n = Toy(7), 4000
    o = replace(options, nbest=n, max_length=2)
    expected: list[dict[tuple[tuple[int, ...], bool], float]] = []
    for source in SOURCES[:2]:
        ref, outputs = Reference(toy, source), {}
        waiting: list[tuple[float, tuple[int, ...]]] = [(1.0, ())]
        while waiting:
            reached, ids = waiting.pop()
            log_p = np.full(toy.vocabulary, -np.inf)
            allowed = ref.allowed(ids, o)
            log_p[allowed] = ref.next(ids)[allowed]
            p = truncated(log_p, o) * reached
            outputs[ids, True] = p[EOS]
            if len(ids) < 2:
                waiting += [(float(p[token]), (*ids, token)) for token in ref.pieces if p[token]]
            else:
                outputs[ids, False] = p.sum() - p[EOS]
        expected.append(outputs)
    for outputs, found in zip(expected, sample(toy, SOURCES[:2], o), strict=True):
        seen = Counter((tuple(h.ids), h.finished) for h in found)
        assert sum(seen.values()) == n
        assert all(outputs.get(output, 0) > 0 for output in seen)
        likely = {output: p * n for output, p in outputs.items() if p * n >= 5}
        chi_square = sum((seen[output] - e) ** 2 / e for output, e in likely.items())
        assert chi_square < len(likely) + 5 * math.sqrt(2 * len(likely))


def test_samples_carry_the_models_own_probabilities_and_keep_their_order() -> None:
    toy = Toy(9)
    o = SearchOptions(nbest=30, temperature=0.7, top_k=3, coverage_penalty=0.1)
    for source, found in zip(SOURCES, sample(toy, SOURCES, o, PREFIXES), strict=True):
        assert len(found) == 30
        for h in found:
            check(h, Reference(toy, source), o)
        scores = [h.score for h in found]
        assert scores != sorted(scores, reverse=True)
    for prefix, found in zip(PREFIXES, sample(toy, SOURCES, o, PREFIXES), strict=True):
        assert all(h.ids[: len(prefix)] == prefix for h in found)


def test_samples_differ_by_seed_and_sentence_only() -> None:
    toy = Toy(20, sharpness=0.5)
    twice = [SOURCES[0], SOURCES[0]]
    first, second = sample(toy, twice, SearchOptions(nbest=4))
    assert [h.ids for h in first] != [h.ids for h in second]
    assert [h.ids for h in first] != [h.ids for h in sample(toy, twice, SearchOptions(nbest=4, seed=2))[0]]
    assert [h.ids for h in first] == [h.ids for h in sample(toy, twice, SearchOptions(nbest=4))[0]]


def test_stuck_samples_are_kept_as_unfinished() -> None:
    o = SearchOptions(nbest=5, no_unk=True, block_ngrams=1, min_length=9)
    for found in sample(Toy(), SOURCES, o):
        assert all(sorted(h.ids) == [4, 5] and not h.finished for h in found)
        assert len(found) == 5


def test_scoring_equals_the_conditionals_and_the_search() -> None:
    toy = Toy(9)
    o = SearchOptions(beam=4, nbest=4, length_penalty="gnmt", coverage_penalty=0.3)
    found, compared = beam_search(toy, SOURCES, o), 0
    for n in range(4):
        again = score(toy, SOURCES, [f[n].ids for f in found], o)
        for source, h, g in zip(SOURCES, [f[n] for f in found], again, strict=True):
            check(g, Reference(toy, source), o)
            assert (g.ids, g.finished) == (h.ids, True)
            if h.finished:
                compared += 1
                assert g.score == pytest.approx(h.score, abs=1e-5)
    assert compared > 20
    assert score(toy, SOURCES[:1], [[]])[0].ids == []


def test_without_attention() -> None:
    toy = Toy(8, attention=False)
    found = beam_search(toy, SOURCES, SearchOptions(beam=3))[0][0]
    assert found.attention is None
    check(found, Reference(toy, SOURCES[0]), SearchOptions(), attention=False)
    assert score(toy, SOURCES[:1], [[4]])[0].attention is None
    for search in (beam_search, sample):
        with pytest.raises(UserError, match="coverage_penalty"):
            search(toy, SOURCES, SearchOptions(coverage_penalty=0.1))
    with pytest.raises(UserError, match="coverage_penalty"):
        score(toy, SOURCES[:1], [[4]], SearchOptions(coverage_penalty=0.1))


def test_no_sources() -> None:
    toy = Toy()
    assert beam_search(toy, [], SearchOptions()) == []
    assert sample(toy, [], SearchOptions()) == []
    assert score(toy, [], []) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"beam": 0},
        {"nbest": 0},
        {"length_penalty": "long"},
        {"alpha": -0.1},
        {"alpha": math.nan},
        {"coverage_penalty": -1.0},
        {"min_length": -1},
        {"max_length": -1},
        {"min_length": 5, "max_length": 4},
        {"block_ngrams": -1},
        {"temperature": 0.0},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"min_p": -0.1},
        {"seed": -1},
    ],
    ids=str,
)
def test_wrong_options_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        SearchOptions(**wrong)


def test_wrong_calls_are_named() -> None:
    toy = Toy()
    with pytest.raises(UserError, match="nbest = 6 is above beam = 5"):
        beam_search(toy, SOURCES, SearchOptions(beam=5, nbest=6))
    with pytest.raises(UserError, match="prefix 1 has id 3"):
        beam_search(toy, SOURCES[:1], SearchOptions(), [[EOS]])
    with pytest.raises(UserError, match="2 prefix sequences for 1 sources"):
        beam_search(toy, SOURCES[:1], SearchOptions(), [[4], [4]])
    with pytest.raises(UserError, match="target 1 has id 6"):
        score(toy, SOURCES[:1], [[6]])


class Broken(Toy):
    """Gives NaN for one sentence, one token and one step."""

    def step(self, state: Rows, tokens: Any, parents: Any, k: int, ask: Any = None) -> tuple[Step, Rows]:
        step, state = super().step(state, tokens, parents, k, ask)
        if self.steps == 2:
            step.scores[-1, 0, -1] = step.asked[-1, 0] = np.nan
        return step, state


def test_nan_is_refused() -> None:
    for call in (
        lambda: beam_search(Broken(), SOURCES, SearchOptions()),
        lambda: beam_search(Broken(), SOURCES, SearchOptions(), [[4, 4]] * len(SOURCES)),
        lambda: sample(Broken(), SOURCES, SearchOptions(nbest=3, min_length=3)),
        lambda: score(Broken(), SOURCES, [[4, 4]] * len(SOURCES)),
    ):
        with pytest.raises(UserError, match="the model gave NaN for piece 2"):
            call()


def test_an_engine_is_an_engine() -> None:
    engine: Engine = Toy()  # the types agree
    assert engine.vocabulary == 6
