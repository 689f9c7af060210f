"""The SRU's compiled loops against the plain twin, in every type that they are built for."""

import pytest
import torch
from torch import Tensor

from antiphon.nn.fused import native
from antiphon.nn.sru import plain_scan, scan

B, T, H = 3, 5, 19  # H: not a multiple of a vector's width
MASKS = {
    "real": None,
    "padded": torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [False] * 2 + [True] * 3]),
}


def inputs(low: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    real = torch.promote_types(low, torch.float32)
    u = torch.randn(B, T, 3 * H, dtype=torch.float64).to(low).requires_grad_()
    v, c = (torch.randn(*shape, dtype=real).requires_grad_() for shape in ((2 * H,), (B, H)))
    return u, v, c


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(
    ("low", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=str
)
def test_compiled_loops_equal_their_plain_twin(low: torch.dtype, tolerance: float, mask: str) -> None:
    if not native.available(low, torch.device("cpu"), torch.promote_types(low, torch.float32)):
        pytest.skip("no C++ compiler here")
    given = inputs(low)
    weight = torch.randn(B, T, H, dtype=given[1].dtype)
    results = []
    for which in (scan, plain_scan):
        h, c = which(*given, MASKS[mask])
        assert h.dtype == low and c.dtype == given[1].dtype
        results.append([h, c, *torch.autograd.grad((h * weight).sum() + c.square().sum(), given)])
    for a, b in zip(*results, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


def test_gradients() -> None:
    """Also of what was read before, and of each output."""

    def run(u: Tensor, v: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        return scan(u, v, c, MASKS["padded"])

    assert torch.autograd.gradcheck(run, inputs(torch.float64))


def test_the_threads_do_not_change_a_bit() -> None:
    given = inputs(torch.float32)
    u = given[0].detach().repeat(40, 8, 4).requires_grad_()  # enough work for several threads
    v, c = given[1].detach().repeat(4).requires_grad_(), given[2].detach().repeat(40, 4)
    before, grads = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            h, last = scan(u, v, c)
            grads.append(torch.autograd.grad(h.square().sum() + last.sum(), (u, v)))
    finally:
        torch.set_num_threads(before)
    for other in grads[1:]:
        assert all(torch.equal(a, b) for a, b in zip(grads[0], other, strict=True))
