"""The PyTorch model behind the engine: pure steps, chosen rows, sentences that go, a true greedy."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from antiphon.config import loading
from antiphon.config.search import SearchOptions
from antiphon.data.tokenizer import BOS, EOS, PAD
from antiphon.decoding.search import beam_search
from antiphon.decoding.torch_engine import TorchEngine, TorchState
from antiphon.nn.model import Model, build, shifted

V = 11
SMALL = {"embedding": 6, "encoder_hidden": 4, "decoder_hidden": 8, "attention_size": 6}
KINDS: dict[str, dict[str, object]] = {
    "initial": {"decoder": "initial"},
    "context": {"decoder": "context", "cell": "gru"},
    "bahdanau": {"decoder": "bahdanau", "score": "additive", "cell": "gru"},
    "input_feeding": {"decoder": "input_feeding", "decoder_layers": 2},
    "over_outputs": {"decoder": "over_outputs", "score": "multi_head", "heads": 2},
    "coverage": {"decoder": "bahdanau", "score": "additive", "coverage": True},
}
SOURCES = [[4, 5, 6, 7, EOS], [8, 9, EOS], [5, 4, 10, EOS]]
TOKENS = np.array([[4, 7], [5, 5], [9, 6]])


def made(options: dict[str, object]) -> Model:
    torch.manual_seed(3)
    model = build(loading.load(over={"model": SMALL | options}).model, V, V)
    for weight in model.parameters():
        torch.nn.init.uniform_(weight, -0.8, 0.8)
    return model


@pytest.fixture(params=KINDS)
def engine(request: pytest.FixtureRequest) -> TorchEngine:
    return TorchEngine(made(KINDS[request.param]))


def begun(engine: TorchEngine, sources: list[list[int]] = SOURCES) -> TorchState:
    return engine.start(sources)


def bos(sentences: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.full((sentences, 1), BOS), np.zeros((sentences, 1), np.int64)


def fed(engine: TorchEngine, prefixes: NDArray[np.int64], sources: list[list[int]] = SOURCES) -> NDArray[np.float32]:
    """Log p [B, K, V] in order of ids after the prefixes [B, K, t], run from the start without any reordering."""
    K = prefixes.shape[1]
    rows = np.tile(np.arange(K), (len(sources), 1))
    tokens = np.full((len(sources), K), BOS)
    step, state = engine.step(begun(engine, sources), tokens, np.zeros_like(tokens), V)
    for t in range(prefixes.shape[2]):
        step, state = engine.step(state, prefixes[:, :, t], rows, V)
    return by_id(step.scores, step.ids)


def by_id(scores: NDArray[np.float32], ids: NDArray[np.int64]) -> NDArray[np.float32]:
    out = np.empty_like(scores)
    np.put_along_axis(out, ids, scores, 2)
    return out


def test_a_step_gives_probabilities_best_first(engine: TorchEngine) -> None:
    step, _ = engine.step(begun(engine), *bos(3), V, np.array([[4], [PAD], [6]]))
    assert engine.vocabulary == V and step.ids.dtype == np.int64 and step.scores.dtype == np.float32
    assert (np.diff(step.scores[..., : V - 2]) <= 0).all()
    table = by_id(step.scores, step.ids)
    assert (table[..., [PAD, BOS]] == -np.inf).all()
    np.testing.assert_allclose(np.exp(table).sum(2), 1, atol=1e-6)
    np.testing.assert_array_equal(step.asked[[0, 2], 0], table[[0, 2], 0, [4, 6]])
    few, _ = engine.step(begun(engine), *bos(3), 3)
    np.testing.assert_array_equal(few.ids, step.ids[..., :3])


def test_attention_rows_sum_to_one_and_leave_padding_out(engine: TorchEngine) -> None:
    step, _ = engine.step(begun(engine), *bos(3), 1)
    if engine.model.decoder.attention is None:
        assert step.attention is None
        return
    assert step.attention is not None and step.attention.shape == (3, 1, 5)
    np.testing.assert_allclose(step.attention.sum(2), 1, atol=1e-6)
    assert (step.attention[1, :, 3:] == 0).all() and (step.attention[2, :, 4:] == 0).all()


def test_a_step_is_pure(engine: TorchEngine) -> None:
    _, state = engine.step(begun(engine), *bos(3), 1)
    before = {name: part.clone() for name, part in state.decoder.items()}
    first, _ = engine.step(state, TOKENS, np.zeros((3, 2), np.int64), V)
    engine.step(state, TOKENS + 1, np.zeros((3, 2), np.int64), V)
    engine.keep(state, np.array([1]))
    again, _ = engine.step(state, TOKENS, np.zeros((3, 2), np.int64), V)
    np.testing.assert_array_equal(first.scores, again.scores)
    np.testing.assert_array_equal(first.ids, again.ids)
    assert all(torch.equal(before[name], part) for name, part in state.decoder.items())


def test_parents_choose_whose_prefix_goes_on(engine: TorchEngine) -> None:
    _, state = engine.step(begun(engine), *bos(3), 1)
    _, state = engine.step(state, TOKENS, np.zeros((3, 2), np.int64), 1)  # two rows of each sentence
    parents = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 0]])  # then three
    tokens = np.array([[8, 8, 4], [5, 7, 9], [10, 6, 4]])
    step, state = engine.step(state, tokens, parents, V)
    prefixes = np.stack([np.take_along_axis(TOKENS, parents, 1), tokens], 2)  # [B, K, t]
    np.testing.assert_allclose(by_id(step.scores, step.ids), fed(engine, prefixes), atol=1e-5)
    last = np.array([[2, 0], [0, 2], [1, 1]])
    step, _ = engine.step(state, TOKENS, last, V)
    prefixes = np.concatenate([np.take_along_axis(prefixes, last[:, :, None], 1), TOKENS[:, :, None]], 2)
    np.testing.assert_allclose(by_id(step.scores, step.ids), fed(engine, prefixes), atol=1e-5)


def test_sentences_that_go_leave_the_others_alone(engine: TorchEngine) -> None:
    _, state = engine.step(begun(engine), *bos(3), 1)
    _, state = engine.step(state, TOKENS, np.zeros((3, 2), np.int64), 1)
    stay = np.array([1, 2])
    kept = engine.keep(state, stay)
    assert kept.memory.mask.shape == (2, 4)  # the longest source went
    step, _ = engine.step(kept, TOKENS[stay], np.array([[1, 0], [0, 0]]), V)
    prefixes = np.stack([np.array([[5, 5], [9, 9]]), TOKENS[stay]], 2)
    alone = fed(engine, prefixes, [SOURCES[1], SOURCES[2]])
    np.testing.assert_allclose(by_id(step.scores, step.ids), alone, atol=1e-5)
    if step.attention is not None:
        assert step.attention.shape == (2, 2, 4)


@torch.no_grad()
def test_greedy_search_is_the_argmax_of_the_model(engine: TorchEngine) -> None:
    for source, found in zip(SOURCES, beam_search(engine, SOURCES, SearchOptions(beam=1, max_length=12)), strict=True):
        ids: list[int] = []
        while len(ids) < 13 and EOS not in ids:  # by the teacher-forced model, on the whole prefix each time
            readout, _ = engine.model(torch.tensor([source]), shifted(torch.tensor([[*ids, EOS]])))
            logits = engine.model.output(readout)[0, -1]
            logits[[PAD, BOS]] = -torch.inf
            ids.append(int(logits.argmax()))
        finished = ids[-1] == EOS
        assert (found[0].ids, found[0].finished) == (ids[:-1] if finished else ids[:12], finished)


def test_a_model_handed_to_the_engine_drops_nothing_out() -> None:
    engine = TorchEngine(made({"dropout_embedding": 0.5, "dropout_output": 0.5}).train())
    first, again = (engine.step(begun(engine), *bos(3), V)[0].scores for _ in range(2))
    np.testing.assert_array_equal(first, again)
