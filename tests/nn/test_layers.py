"""The recurrent layers against the equations, written out."""

import pytest
import torch
from torch import Tensor

from antiphon.config.kinds import CELLS
from antiphon.nn.layers import NormalisedRecurrent, Recurrent, layer
from antiphon.nn.sru import SRU

MATRIX = ["lstm", "gru"]  # cells of which a matrix reads h_{t-1}


def made(cell: str, norm: str = "none") -> Recurrent | SRU:
    torch.manual_seed(0)
    made = layer(cell, 5, 4, norm)
    for weight in made.parameters():
        torch.nn.init.normal_(weight, 0.0, 0.5)
    return made.double()


def equations(layer: Recurrent | SRU, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """One step as the modules' docstrings write it."""
    from_x = x @ layer.weight_ih.T + layer.bias_ih
    if isinstance(layer, SRU):
        (u, f, r), (v_f, v_r) = from_x.chunk(3, 1), layer.v.chunk(2)
        f, r = torch.sigmoid(f + v_f * state[1]), torch.sigmoid(r + v_r * state[1])
        c = f * state[1] + (1 - f) * u
        return r * torch.tanh(c), c
    from_h = state[0] @ layer.weight_hh.T + layer.bias_hh
    if layer.cell == "gru":
        (xr, xz, xn), (hr, hz, hn) = from_x.chunk(3, 1), from_h.chunk(3, 1)
        z, n = torch.sigmoid(xz + hz), torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
        return ((1 - z) * n + z * state[0],)
    i, f, g, o = (from_x + from_h).chunk(4, 1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


@pytest.mark.parametrize("cell", CELLS)
def test_sequence_and_step_follow_the_equations(cell: str) -> None:
    made_layer = made(cell)
    x = torch.randn(3, 6, 5, dtype=torch.float64)
    state = tuple(torch.randn(3, 4, dtype=torch.float64) for _ in made_layer.zero_state(3))
    outputs, last = made_layer(x, state)
    for t in range(6):
        stepped, state = made_layer.step(x[:, t], state), equations(made_layer, x[:, t], state)
        for a, b in zip(stepped, state, strict=True):
            torch.testing.assert_close(a, b)
        torch.testing.assert_close(outputs[:, t], state[0])
    for a, b in zip(last, state, strict=True):
        torch.testing.assert_close(a, b)


KINDS = [(cell, "none") for cell in CELLS] + [(cell, "gates") for cell in MATRIX]


@pytest.mark.parametrize(("cell", "norm"), KINDS)
def test_padding_passes_the_state_through(cell: str, norm: str) -> None:
    made_layer = made(cell, norm)
    x = torch.randn(2, 6, 5, dtype=torch.float64)
    mask = torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    outputs, state = made_layer(x, made_layer.zero_state(2), mask)
    short, short_state = made_layer(x[1:, :3], made_layer.zero_state(1))
    torch.testing.assert_close(outputs[1:, :3], short)
    for a, b in zip(state, short_state, strict=True):
        torch.testing.assert_close(a[1:], b)
    # Padding in front, as the backward direction meets it.
    turned, _ = made_layer(x.flip(1), made_layer.zero_state(2), mask.flip(1))
    alone, _ = made_layer(x[1:, :3].flip(1), made_layer.zero_state(1))
    torch.testing.assert_close(turned[1:, 3:], alone)


@pytest.mark.parametrize("cell", CELLS)
def test_padding_gets_no_gradient(cell: str) -> None:
    made_layer = made(cell)
    x = torch.randn(1, 5, 5, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True, True, False, False]])
    _, state = made_layer(x, made_layer.zero_state(1), mask)
    torch.autograd.backward(torch.stack(state).sum())
    assert x.grad is not None
    assert x.grad[0, 3:].abs().max() == 0
    assert x.grad[0, :3].abs().min() > 0


@pytest.mark.parametrize(("cell", "norm"), KINDS)
def test_gradients(cell: str, norm: str) -> None:
    made_layer = made(cell, norm)
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True, True], [True, True, False]])

    def run(x: Tensor, *_: Tensor) -> Tensor:
        y, state = made_layer(x, made_layer.zero_state(2), mask)
        return torch.cat([y[mask], *state])

    assert torch.autograd.gradcheck(run, (x, *made_layer.parameters()))


@pytest.mark.parametrize("cell", MATRIX)
def test_normalised_gates_follow_ba_2016(cell: str) -> None:
    made_layer = made(cell, "gates")
    assert isinstance(made_layer, NormalisedRecurrent)
    x, h, c = (torch.randn(3, n, dtype=torch.float64) for n in (5, 4, 4))

    def norm(a: Tensor, module: torch.nn.LayerNorm) -> Tensor:
        centred = a - a.mean(1, keepdim=True)
        return centred / (centred.pow(2).mean(1, keepdim=True) + module.eps).sqrt() * module.weight + module.bias

    from_x = norm(x @ made_layer.weight_ih.T, made_layer.norm_ih) + made_layer.bias_ih
    from_h = norm(h @ made_layer.weight_hh.T, made_layer.norm_hh) + made_layer.bias_hh
    if cell == "lstm":
        i, f, g, o = (from_x + from_h).chunk(4, 1)
        new_c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        assert made_layer.norm_c is not None
        expected = torch.sigmoid(o) * torch.tanh(norm(new_c, made_layer.norm_c))
        state = made_layer.step(x, (h, c))
        torch.testing.assert_close(state[1], new_c)
    else:
        (xr, xz, xn), (hr, hz, hn) = from_x.chunk(3, 1), from_h.chunk(3, 1)
        z = torch.sigmoid(xz + hz)
        expected = (1 - z) * torch.tanh(xn + torch.sigmoid(xr + hr) * hn) + z * h
        state = made_layer.step(x, (h,))
    torch.testing.assert_close(state[0], expected)
