"""Whole sequences through a layer against its step, one position after the other, and against the library."""

import pytest
import torch
from loops import use_loops
from torch import Tensor

from antiphon.nn.layers import Recurrent


def layer(cell: str) -> Recurrent:
    torch.manual_seed(0)
    made = Recurrent(cell, 3, 5).double()
    for weight in made.parameters():
        torch.nn.init.uniform_(weight, -0.7, 0.7)
    return made


def stepped(made: Recurrent, x: Tensor, state: tuple[Tensor, ...], mask: Tensor | None) -> tuple[Tensor, ...]:
    outputs = []
    for t in range(x.shape[1]):
        after = made.step(x[:, t], state)
        real = torch.ones(len(x), 1, dtype=torch.bool) if mask is None else mask[:, t, None]
        state = tuple(torch.where(real, new, old) for new, old in zip(after, state, strict=True))
        outputs.append(state[0])
    return torch.stack(outputs, 1), *state


@pytest.mark.parametrize("kind", ["compiled", "plain"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_whole_sequence_equals_its_steps(cell: str, padded: bool, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_loops(kind, monkeypatch)
    made = layer(cell)
    x = torch.randn(3, 4, 3, dtype=torch.float64, requires_grad=True)
    state = tuple(torch.randn(3, 5, dtype=torch.float64, requires_grad=True) for _ in made.zero_state(3))
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 0]], dtype=torch.bool) if padded else None
    leaves = [x, *state, *made.parameters()]

    def gradients(outputs: tuple[Tensor, ...]) -> list[Tensor]:
        y, *last = outputs
        if mask is not None:
            y = y * mask.unsqueeze(-1)  # outputs on padding mean nothing
        torch.manual_seed(1)
        loss = sum(
            ((part * torch.randn(part.shape, dtype=torch.float64)).sum() for part in (y, *last)), y.new_zeros(())
        )
        return [y, *last, *torch.autograd.grad(loss, leaves)]

    y, last = made(x, state, mask)
    for a, b in zip(gradients((y, *last)), gradients(stepped(made, x, state, mask)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gradients_by_differences(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_loops("compiled", monkeypatch)
    made = layer(cell)
    x = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    state = tuple(torch.randn(2, 5, dtype=torch.float64, requires_grad=True) for _ in made.zero_state(2))
    names = [name for name, _ in made.named_parameters()]

    def run(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        weights = dict(zip(names, rest[len(state) :], strict=True))
        y, last = torch.func.functional_call(made, weights, (x, rest[: len(state)]))
        return y, *last

    assert torch.autograd.gradcheck(run, (x, *state, *made.parameters()))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_bfloat16_products_are_near_the_library_s(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_loops("compiled", monkeypatch)
    torch.manual_seed(3)
    made = Recurrent(cell, 16, 32)
    for weight in made.parameters():
        torch.nn.init.uniform_(weight, -0.2, 0.2)
    x = torch.randn(4, 6, 16)
    library = torch.nn.LSTM(16, 32, batch_first=True) if cell == "lstm" else torch.nn.GRU(16, 32, batch_first=True)
    library.load_state_dict({f"{name}_l0": weight for name, weight in made.state_dict().items()})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, _ = made(x, made.zero_state(4))
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), library(x)[0], rtol=0, atol=2e-2)
