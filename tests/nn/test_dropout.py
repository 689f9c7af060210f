"""Dropout: its share, its scale, and its gradient."""

import pytest
import torch

from antiphon.nn.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_share_and_mean(p: float) -> None:
    torch.manual_seed(1)
    y = Dropout(p)(torch.ones(1000, 1001))
    kept = (y != 0).double().mean()
    assert abs(kept - (1 - p)) < 5 * (p * (1 - p) / y.numel()) ** 0.5 + 2**-16
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / (1 - p)))


def test_neighbours_are_independent() -> None:
    """Four numbers share a random word; each must still fall on its own."""
    torch.manual_seed(2)
    kept = (Dropout(0.5)(torch.ones(200_000, 4)) != 0).double()
    correlation = torch.corrcoef(kept.T) - torch.eye(4)
    assert correlation.abs().max() < 0.01


def test_gradient_is_the_mask() -> None:
    x = torch.ones(33, 7, requires_grad=True)
    y = Dropout(0.4)(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(grad, y.detach())


def test_a_seed_makes_it_repeatable_and_evaluation_leaves_all() -> None:
    x, layer = torch.randn(5, 9), Dropout(0.5)
    first, second = (torch.manual_seed(3) and layer(x) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert layer.eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert Dropout(0.5)(x.bfloat16()).dtype == torch.bfloat16
