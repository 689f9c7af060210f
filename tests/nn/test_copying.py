"""Copying and the coverage loss: against the equations taken apart, gradients, and a task that needs copying."""

import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from antiphon.config import loading
from antiphon.data.tokenizer import EOS, PAD
from antiphon.errors import UserError
from antiphon.nn.copying import copied, coverage_loss
from antiphon.nn.decoder import StepwiseDecoder
from antiphon.nn.fused import output_loss
from antiphon.nn.model import Model, build, shifted

V = 11
SMALL: dict[str, Any] = {
    "embedding": 8, "encoder_hidden": 6, "decoder_hidden": 12, "attention_size": 6, "copy_source": True,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "bahdanau": {"decoder": "bahdanau", "score": "additive", "cell": "gru"},
    "input_feeding": {"decoder": "input_feeding", "score": "general", "decoder_layers": 2},
    "over_outputs": {"decoder": "over_outputs", "score": "dot"},
    "between": {"decoder": "between", "decoder_layers": 2, "score": "multi_head", "heads": 3},
    "coverage": {"decoder": "input_feeding", "score": "additive", "coverage": True},
}
SOURCES = torch.tensor([[4, 5, 4, 7, EOS], [8, 9, EOS, PAD, PAD], [5, 4, 10, EOS, PAD]])
TARGETS = torch.tensor([[4, 5, EOS, PAD], [9, 8, 7, EOS], [4, EOS, PAD, PAD]])


def made(options: dict[str, Any]) -> Model:
    torch.manual_seed(3)
    model = build(loading.load(over={"model": SMALL | options}).model, V, V)
    for weight in model.parameters():
        torch.nn.init.uniform_(weight, -0.5, 0.5)
    return model.double().eval()


def taken_apart(model: Model) -> NDArray[np.float64]:
    """p [B, T, V] by loops over equation 9, from readouts and alpha."""
    readout, alpha = model(SOURCES, shifted(TARGETS))
    assert model.copier is not None and alpha is not None
    w, b = model.copier.w.weight[0].numpy(), float(model.copier.w.bias)
    logits = readout.numpy() @ model.output.weight.numpy().T + model.output.bias.numpy()
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    for i in range(len(SOURCES)):
        for t in range(TARGETS.shape[1]):
            p_gen = 1 / (1 + math.exp(-(readout[i, t].numpy() @ w + b)))
            p[i, t] *= p_gen
            for s in range(SOURCES.shape[1]):
                p[i, t, SOURCES[i, s]] += (1 - p_gen) * float(alpha[i, t, s])
    return np.asarray(p)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_distribution_is_equation_9(kind: str) -> None:
    model = made(KINDS[kind])
    expected = taken_apart(model)
    assert expected.sum(-1) == pytest.approx(1)
    memory, state = model.encode(SOURCES)
    for t in range(TARGETS.shape[1]):
        logits, state, _ = model.step(shifted(TARGETS)[:, t : t + 1], state, memory)
        assert logits.exp()[:, 0].numpy() == pytest.approx(expected[:, t], abs=1e-12), "logits are log p"
    real = (TARGETS != PAD).numpy()
    chosen = np.take_along_axis(expected, TARGETS.numpy()[:, :, None], 2)[:, :, 0]
    assert float(model.loss(SOURCES, TARGETS).nll) == pytest.approx(-np.log(chosen[real]).sum())


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_the_whole_loss(kind: str) -> None:
    model = made(KINDS[kind])
    names = ["copier.w.weight", "output.bias", "target_embedding.weight", "source_embedding.weight"]
    some = {name: weight for name, weight in model.named_parameters() if name in names or "attention" in name}
    coverage = 0.7 if kind == "coverage" else 0.0

    def loss(*weights: Tensor) -> Tensor:
        given = dict(zip(some, weights, strict=True))
        total = torch.func.functional_call(model, given, (SOURCES, TARGETS, 0.1, None, coverage), strict=False)
        assert isinstance(total, Tensor)
        return total

    model.forward = lambda *a: Model.loss(model, *a).total if len(a) == 5 else Model.forward(model, *a)  # type: ignore
    assert torch.autograd.gradcheck(loss, tuple(some.values()), atol=1e-6)


def test_the_fast_pass_has_the_gradients_of_the_plain_steps() -> None:
    """Through alpha too, which the fused recurrence itself does not hand back."""
    for kind in ("bahdanau", "input_feeding"):
        model = made(KINDS[kind])
        decoder = model.decoder
        assert isinstance(decoder, StepwiseDecoder) and decoder.fused
        fast = torch.autograd.grad(model.loss(SOURCES, TARGETS).total, list(model.parameters()))
        decoder._whole = decoder.stepwise  # type: ignore[method-assign]
        plain = torch.autograd.grad(model.loss(SOURCES, TARGETS).total, list(model.parameters()))
        for a, b in zip(fast, plain, strict=True):
            torch.testing.assert_close(a, b, atol=1e-9, rtol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_chunked_loss_equals_its_plain_twin(smoothing: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_loss, "CHUNK", 64 * V)
    torch.manual_seed(0)
    N = 150
    r, weight, bias, z = (
        torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((N, 5), (V, 5), (V,), (N,))
    )
    mass = torch.rand(N, dtype=torch.float64) * (torch.rand(N) < 0.6)
    mass.requires_grad_()
    targets = torch.randint(0, V, (N,))
    inputs = r, weight, bias, z, mass
    fast = output_loss.output_loss(r, weight, bias, targets, smoothing, (z, mass))
    plain = output_loss.plain_output_loss(r, weight, bias, targets, smoothing, (z, mass))
    for a, b in zip(fast, plain, strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(torch.autograd.grad(fast[0], inputs), torch.autograd.grad(plain[0], inputs), strict=True):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(output_loss.output_loss(r, weight, bias, targets, smoothing, (z, mass)), plain)


def test_copied_mass_and_coverage_by_hand() -> None:
    alpha = torch.tensor([[[0.5, 0.3, 0.2], [0.4, 0.1, 0.5]]])
    sources, targets = torch.tensor([[7, 8, 7]]), torch.tensor([[7, 8]])
    torch.testing.assert_close(copied(alpha, sources, targets), torch.tensor([[0.7, 0.1]]))
    real = torch.tensor([[True, True]])
    assert float(coverage_loss(alpha, real)) == pytest.approx(0.4 + 0.1 + 0.2)
    assert float(coverage_loss(alpha, torch.tensor([[True, False]]))) == 0


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"model": {"copy_source": True, "decoder": "initial"}}, "copy_source needs attention, and model.decoder"),
        ({"model": {"copy_source": True}, "text": {"joint": False}}, "copy_source needs text.joint = true"),
        ({"train": {"coverage_loss": 1.0}}, "train.coverage_loss needs model.coverage = true"),
    ],
)
def test_what_does_not_go_together_is_told(over: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        loading.load(over=over)


def unseen(copying: bool) -> float:
    """Share of right outputs for names never seen in training: "say X" -> "X X"."""
    torch.manual_seed(1)
    generator = random.Random(2)
    vocabulary, names = 60, list(range(5, 60))
    options = {
        "embedding": 32,
        "encoder_hidden": 32,
        "decoder_hidden": 64,
        "attention_size": 32,
        "copy_source": copying,
    }
    model = build(
        loading.load(over={"model": options | {"tie": "all", "readout_size": 32}}).model, vocabulary, vocabulary
    )
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        chosen = [generator.sample(names[:40], 2) for _ in range(32)]
        sources = torch.tensor([[4, a, b, EOS] for a, b in chosen])
        targets = torch.tensor([[b, a, EOS] for a, b in chosen])
        loss = model.loss(sources, targets)
        optimiser.zero_grad()
        torch.autograd.backward(loss.total / loss.pieces)
        optimiser.step()
    tests = [(a, b) for a in names[40:] for b in names[40:] if a != b]
    sources = torch.tensor([[4, a, b, EOS] for a, b in tests])
    targets = torch.tensor([[b, a, EOS] for a, b in tests])
    with torch.no_grad():
        readout, alpha = model(sources, shifted(targets))
        logits = model._logits(readout, alpha, sources)
    return float((logits.argmax(-1) == targets).all(1).float().mean())


def test_names_never_seen_can_be_copied() -> None:
    assert unseen(copying=True) > 0.5 > 0.1 > unseen(copying=False)
