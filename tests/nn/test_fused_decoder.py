"""Whole targets at once against the decoder's step, one position after the other: outputs and every gradient."""

import pytest
import torch
from loops import use_loops
from torch import Tensor
from variants import STEPWISE

from antiphon.config import loading
from antiphon.config.kinds import SCORES
from antiphon.nn.decoder import StepwiseDecoder
from antiphon.nn.dropout import Dropout
from antiphon.nn.fused.decoder import Attending, FusedReadout, FusedScore, Layer, recurrent_attention
from antiphon.nn.model import Model, build

SMALL = {"embedding": 6, "encoder_hidden": 4, "decoder_hidden": 8, "attention_size": 5}
SOURCES = torch.tensor([[5, 9, 4, 7, 3], [8, 3, 0, 0, 0], [6, 6, 3, 0, 0]])
TARGETS = torch.tensor([[4, 8, 7, 3], [9, 3, 0, 0], [5, 3, 0, 0]])


def model(**options: object) -> Model:
    torch.manual_seed(0)
    made = build(loading.load(over={"model": SMALL | options | {"init": "uniform", "init_scale": 0.5}}).model, 12, 12)
    return made.double()


FUSED = [score for score, kind in SCORES.items() if not kind.heads]  # each of ours; others go step by step


def results(made: Model, whole: bool, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The loss, alpha, and all gradients, by one way or the other."""
    assert isinstance(made.decoder, StepwiseDecoder) and made.decoder.fused
    with monkeypatch.context() as patch:
        patch.setattr(StepwiseDecoder, "fused", whole)
        made.zero_grad()
        loss = made.loss(SOURCES, TARGETS, 0.1)
        torch.autograd.backward(loss.total)
        _, alpha = made(SOURCES, TARGETS)
    assert alpha is not None
    return [loss.total, alpha, *(w.grad for w in made.parameters() if w.grad is not None)]


@pytest.mark.parametrize("kind", ["compiled", "plain"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("score", FUSED)
@pytest.mark.parametrize("decoder", STEPWISE)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_whole_targets_equal_their_steps(
    cell: str, decoder: str, score: str, layers: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_loops(kind, monkeypatch)
    made = model(cell=cell, decoder=decoder, score=score, decoder_layers=layers)
    whole, steps = (results(made, way, monkeypatch) for way in (True, False))
    assert len(whole) == len(steps) > 15
    for a, b in zip(whole, steps, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_bahdanau_s_own_readout_sees_the_state_before(monkeypatch: pytest.MonkeyPatch) -> None:
    made = model(cell="gru", decoder="bahdanau", score="additive", readout="maxout", bridge="backward")
    for a, b in zip(*(results(made, way, monkeypatch) for way in (True, False)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_a_linear_readout_is_fed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    made = model(decoder="input_feeding", score="additive", readout="linear", readout_size=6)
    for a, b in zip(*(results(made, way, monkeypatch) for way in (True, False)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("decoder", ["bahdanau", "input_feeding"])
def test_dropout_falls_on_the_same_places(decoder: str, layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = model(decoder=decoder, score="additive", decoder_layers=layers, dropout_recurrent=0.5)
    D, T, B = 8, TARGETS.shape[1], len(TARGETS)
    masks = (torch.rand(layers, T, B, D) < 0.5).double() * 2
    calls = iter([(t, i) for _ in range(2) for t in range(T) for i in range(layers)])

    def drop(self: Dropout, x: Tensor) -> Tensor:
        if x.shape == masks.shape:
            return masks
        if x.shape == (B, 1, D):  # a step of the twin
            t, i = next(calls)
            return x * masks[i, t].unsqueeze(1)
        return x  # the encoder's

    monkeypatch.setattr(Dropout, "forward", drop)
    for a, b in zip(*(results(made, way, monkeypatch) for way in (True, False)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_decoders_that_it_does_not_know_go_step_by_step() -> None:
    others: list[dict[str, object]] = [
        {"decoder": "bahdanau", "coverage": True}, {"decoder": "bahdanau", "score": "multi_head"},
        {"decoder": "input_feeding", "layer_norm": "gates"}, {"decoder": "input_feeding", "layer_norm": "output"},
        {"decoder": "input_feeding", "readout": "maxout"}, {"decoder": "bahdanau", "residual": True},
    ]  # fmt: skip
    for options in others:
        decoder = model(**options).decoder
        assert isinstance(decoder, StepwiseDecoder) and not decoder.fused
        assert model(**options).loss(SOURCES, TARGETS).total.isfinite()


@pytest.mark.parametrize("feeding", [True, False])
@pytest.mark.parametrize("additive", [True, False])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gradients_by_differences(cell: str, additive: bool, feeding: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    use_loops("compiled", monkeypatch)
    torch.manual_seed(4)
    T, B, S, D, M, R, L = 2, 2, 3, 3, 4, 2, 2

    def leaf(*shape: int) -> Tensor:
        return (torch.randn(*shape, dtype=torch.float64) * 0.7).requires_grad_()

    A = 5 if additive else D
    tensors = [
        leaf(T, B, 4 * D), leaf(4 * D, (R if feeding else M) + D), leaf(4 * D), leaf(4 * D, 2 * D), leaf(4 * D),
        leaf(B, S, A), leaf(B, S, M), leaf(A, D), leaf(A), leaf(B, L, D), leaf(B, L, D), leaf(R, D + M), leaf(R),
    ]  # fmt: skip
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]], dtype=torch.bool)

    def run(*given: Tensor) -> tuple[Tensor, ...]:
        x, W, b, W_2, b_2, keys, h, W_a, v_a, s_0, cell_0, W_c, b_c = given
        attending = Attending(keys, h, mask, FusedScore(W_a if additive else None, v_a if additive else None, 0.6))
        layers = [Layer(W, b), Layer(W_2, b_2)]
        readout = FusedReadout(W_c, b_c) if feeding else None
        made = recurrent_attention(cell, x, layers, attending, s_0, cell_0 if cell == "lstm" else None, readout, None)
        return (made.readout,) if feeding else (made.s, made.c)

    used = [t for i, t in enumerate(tensors) if (additive or i not in (7, 8))]
    assert torch.autograd.gradcheck(
        lambda *given: run(*given) if additive else run(*given[:7], *tensors[7:9], *given[7:]), used
    )


def test_bfloat16_products_are_near_float32() -> None:
    torch.manual_seed(0)
    options = {"decoder": "input_feeding", "score": "additive", "embedding": 32, "encoder_hidden": 32}
    made = build(loading.load(over={"model": options | {"decoder_hidden": 64, "attention_size": 64}}).model, 12, 12)
    exact = made.loss(SOURCES, TARGETS)
    weights = [w for w in made.parameters() if w.requires_grad]
    wanted = torch.autograd.grad(exact.total, weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = made.loss(SOURCES, TARGETS)
    found = torch.autograd.grad(low.total, weights)
    torch.testing.assert_close(low.total, exact.total, rtol=1e-2, atol=0)
    apart = torch.cat([(a - b).flatten() for a, b in zip(found, wanted, strict=True)])
    assert 0 < apart.norm() < 0.02 * torch.cat([b.flatten() for b in wanted]).norm()
