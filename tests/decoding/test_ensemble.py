"""Ensembles: the mean of probabilities, exactly, through the search and from folders."""

import numpy as np
import pytest
from numpy.typing import NDArray
from toy import Toy

from antiphon.config.search import SearchOptions
from antiphon.data.tokenizer import BOS, EOS, PAD
from antiphon.decoding.ensemble import EnsembleEngine
from antiphon.decoding.search import beam_search, score
from antiphon.errors import UserError

SOURCES = [[4, 5, EOS], [5, 5, 4, EOS], [4, EOS]]


def members() -> list[Toy]:
    return [Toy(sharpness=sharpness) for sharpness in (0.5, 1.5, 3.0)]


def log_p(engine: Toy, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log p of every piece after the first step, by id. [B, 1, V]"""
    step, _ = engine.step(engine.start(SOURCES), tokens, np.zeros_like(tokens), engine.vocabulary)
    found = np.full((*tokens.shape, engine.vocabulary), -np.inf)
    np.put_along_axis(found, step.ids, step.scores, 2)
    return found


@pytest.mark.parametrize("weights", [(), (1, 1, 2), (0, 3, 1)])
@pytest.mark.parametrize("k", [1, 3, 6])
def test_a_step_is_the_mean_of_probabilities(weights: tuple[float, ...], k: int) -> None:
    engine, tokens = EnsembleEngine(members(), weights), np.full((3, 1), BOS)
    step, _ = engine.step(engine.start(SOURCES), tokens, np.zeros_like(tokens), k, np.full((3, 1), 4))
    shares = np.array(weights or (1, 1, 1)) / sum(weights or (1, 1, 1))
    p = sum(share * np.exp(log_p(toy, tokens)) for share, toy in zip(shares, members(), strict=True))
    order = np.sort(p, axis=2)[:, :, ::-1]
    assert np.exp(step.scores) == pytest.approx(order[:, :, :k], abs=1e-6)
    assert np.take_along_axis(p, step.ids, 2) == pytest.approx(order[:, :, :k], abs=1e-6)
    assert np.exp(step.asked) == pytest.approx(p[:, :, 4], abs=1e-6)
    if k == 6:
        assert np.exp(step.scores).sum(2) == pytest.approx(1), "it is a distribution"
        assert step.scores[step.ids == PAD].max() == step.scores[step.ids == BOS].max() == -np.inf


def test_all_tokens_come_in_the_order_of_their_ids() -> None:
    engine, tokens = EnsembleEngine(members()), np.full((3, 1), BOS)
    step, _ = engine.step(engine.start(SOURCES), tokens, np.zeros_like(tokens), 0)
    p = sum(np.exp(log_p(toy, tokens)) / 3 for toy in members())
    assert np.exp(step.scores) == pytest.approx(p, abs=1e-6)
    assert (step.ids == np.arange(engine.vocabulary)).all()


def test_attention_is_the_weighted_mean() -> None:
    engine, tokens = EnsembleEngine(members(), (1, 0, 3)), np.full((3, 1), BOS)
    step, _ = engine.step(engine.start(SOURCES), tokens, np.zeros_like(tokens), 2)
    each = [toy.step(toy.start(SOURCES), tokens, np.zeros_like(tokens), 2)[0].attention for toy in members()]
    assert each[0] is not None and each[2] is not None
    assert step.attention == pytest.approx(0.25 * each[0] + 0.75 * each[2])
    blind = EnsembleEngine([Toy(), Toy(attention=False)])
    assert blind.step(blind.start(SOURCES), tokens, np.zeros_like(tokens), 2)[0].attention is None


@pytest.mark.parametrize("weights", [(1, 0, 0), (2, 2, 2)])
def test_equal_or_single_members_search_as_one(weights: tuple[float, ...]) -> None:
    one = Toy(sharpness=0.5)
    others = members()[1:] if 0 in weights else [one, one]
    options = SearchOptions(beam=3, nbest=2)
    ours = beam_search(EnsembleEngine([one, *others], weights), SOURCES, options)
    expected = beam_search(one, SOURCES, options)
    assert [[h.ids for h in group] for group in ours] == [[h.ids for h in group] for group in expected]
    for ours_, expected_ in zip(sum(ours, []), sum(expected, []), strict=True):  # noqa: RUF017
        assert ours_.log_prob == pytest.approx(expected_.log_prob, abs=1e-5)


def test_forced_decoding_multiplies_the_means() -> None:
    """Independently: the log p of a target is the sum of log means of probabilities, step by step."""
    targets = [[4, 5], [5], [4, 4, 5]]
    found = score(EnsembleEngine(members()), SOURCES, targets)
    alone = [score(toy, SOURCES, targets) for toy in members()]
    for b, hypothesis in enumerate(found):
        each = np.stack([one[b].token_log_probs for one in alone])  # [3, U + 1]
        assert hypothesis.token_log_probs == pytest.approx(np.log(np.exp(each).mean(0)), abs=1e-5)


@pytest.mark.parametrize(
    ("weights", "message"),
    [((1, 2), "2 weights for 3 models"), ((1, -1, 1), "must be 0 or more"), ((0, 0, 0), "not all 0")],
)
def test_bad_weights_are_told(weights: tuple[float, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        EnsembleEngine(members(), weights)


def test_unequal_vocabularies_are_told() -> None:
    with pytest.raises(UserError, match="one target vocabulary, and these have 6 and 7"):
        EnsembleEngine([Toy(6), Toy(7)])
