"""The output layer and its loss in chunks against their plain twin, compiled and in PyTorch."""

import pytest
import torch
from loops import use_loops
from torch import Tensor
from torch.nn import functional as F

from antiphon.nn.fused import output_loss

N, R, V = 1100, 7, 13


@pytest.fixture(params=["compiled", "plain"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    use_loops(request.param, monkeypatch)


def inputs() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    r, weight, bias = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((N, R), (V, R), (V,)))
    return r, weight, bias, torch.randint(0, V, (N,))


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_output_loss_equals_its_plain_twin(smoothing: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_loss, "CHUNK", 512 * V)
    r, weight, bias, targets = inputs()
    assert N > output_loss.chunk_rows(V) == 512  # more than one chunk, the last one short
    fused = output_loss.output_loss(r, weight, bias, targets, smoothing)
    grads = torch.autograd.grad(fused[0] * 0.5, (r, weight, bias))
    plain = output_loss.plain_output_loss(r, weight, bias, targets, smoothing)
    expected = torch.autograd.grad(plain[0] * 0.5, (r, weight, bias))
    for a, b in zip((*fused, *grads), (*plain, *expected), strict=True):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(output_loss.output_loss(r, weight, bias, targets, smoothing), plain)


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("chunk", [512 * V, 7 * V])  # an odd number of rows would part a pair
def test_the_disagreement_of_two_passes_equals_its_plain_twin(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_loss, "CHUNK", chunk)
    r, weight, bias, targets = inputs()
    targets = targets[::2].repeat_interleave(2)
    fused = output_loss.output_loss(r, weight, bias, targets, 0.1, r_drop=0.7)
    grads = torch.autograd.grad(fused[0] * 0.5, (r, weight, bias))
    p, q = (part.double() for part in (r @ weight.T + bias).softmax(-1).view(-1, 2, V).unbind(1))
    symmetric = (F.kl_div(q.log(), p, reduction="sum") + F.kl_div(p.log(), q, reduction="sum")) / 2
    whole = output_loss.plain_output_loss(r, weight, bias, targets, 0.1)
    plain = whole[0] + 0.7 * symmetric, whole[1]
    expected = torch.autograd.grad(plain[0] * 0.5, (r, weight, bias))
    for a, b in zip((*fused, *grads), (*plain, *expected), strict=True):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(output_loss.output_loss(r, weight, bias, targets, 0.1, r_drop=0.7), plain)


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_output_loss_gradients(smoothing: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_loss, "CHUNK", 4 * V)
    r, weight, bias, targets = inputs()
    rows = r[:6].detach().requires_grad_()

    def loss(r: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return output_loss.output_loss(r, weight, bias, targets[:6], smoothing)[0]

    assert torch.autograd.gradcheck(loss, (rows, weight, bias))


@pytest.mark.usefixtures("loops")
def test_output_loss_in_bfloat16_is_near() -> None:
    r, weight, bias, targets = (x.detach().float() if x.is_floating_point() else x for x in inputs())
    for x in (r, weight, bias):
        x.requires_grad_()
    plain = output_loss.plain_output_loss(r, weight, bias, targets, 0.1)
    expected = torch.autograd.grad(plain[0], (r, weight, bias))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fused = output_loss.output_loss(r, weight, bias, targets, 0.1)
    assert fused[0].dtype == torch.float32
    grads = torch.autograd.grad(fused[0], (r, weight, bias))
    torch.testing.assert_close(fused[0], plain[0], rtol=2e-3, atol=0)
    for a, b in zip(grads, expected, strict=True):
        assert (a - b).norm() / b.norm() < 0.02


@pytest.mark.usefixtures("loops")
def test_logits_far_apart_neither_overflow_nor_hide_nan() -> None:
    logits, bias = torch.tensor([[300.0, -300.0, 0.0], [1.0, torch.nan, 0.0]]), torch.zeros(3)
    loss, nll = output_loss.cross_entropy(logits, bias, torch.tensor([1, 0]), 0.0)
    assert nll[0] == loss[0] == 600 and logits[0].tolist() == [1, -1, 0]
    assert loss[1].isnan() and logits[1].isnan().all()
