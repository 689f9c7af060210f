"""The compiled loops against their twins in PyTorch, and those against autograd."""

from collections.abc import Callable

import pytest
import torch
from loops import use_loops
from torch import Tensor

from antiphon.nn.fused import pointwise

B, H, S, A, M = 5, 37, 6, 19, 23  # no multiple of a vector's length
REAL = {torch.float32: torch.float32, torch.bfloat16: torch.float32, torch.float64: torch.float64}
NEAR = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float64: 1e-12}
LOWS = list(REAL)


def drawn(*shape: int, dtype: torch.dtype, scale: float = 2.0) -> Tensor:
    return (torch.randn(*shape) * scale).to(dtype)


def apart(rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """Rows that do not follow each other in memory."""
    return drawn(rows, columns + 7, dtype=dtype)[:, 3 : 3 + columns]


def cell_results(cell: str, low: torch.dtype) -> list[Tensor]:
    torch.manual_seed(1)
    real = REAL[low]
    from_x, from_h = (drawn(B, 4 * H, dtype=low) for _ in range(2))
    before, dc = (drawn(B, H, dtype=real) for _ in range(2))
    gates, after, h = torch.empty(B, 4 * H, dtype=real), torch.empty(B, H, dtype=real), apart(B, H, low)
    pointwise.cell_forward(cell, from_x, from_h, before, gates, after, h)
    d_gates = torch.empty(B, 4 * H, dtype=low)
    pointwise.cell_backward(cell, gates, before, after, apart(B, H, low), apart(B, H, low), dc, d_gates)
    return [gates, after, h, dc, d_gates]


def attend_results(additive: bool, low: torch.dtype) -> list[Tensor]:
    torch.manual_seed(2)
    real = REAL[low]
    q, keys, h = apart(B, A, low), drawn(B, S, A, dtype=low), drawn(B, S, M, dtype=low)
    v = drawn(A, dtype=real) if additive else None
    mask = torch.arange(S) < torch.tensor([6, 1, 3, 5, 2]).unsqueeze(1)
    alpha, c = torch.empty(B, S, dtype=real), apart(B, M, low)
    pointwise.attend_forward(q, keys, v, 0.3, h, mask, alpha, c)
    dq, d_keys, d_v = torch.empty(B, A, dtype=low), drawn(B, S, A, dtype=real), drawn(B, A, dtype=real)
    pointwise.attend_backward(q, keys, v, 0.3, h, mask, alpha, apart(B, M, low), dq, d_keys, d_v)
    return [alpha, c, dq, d_keys, d_v]


CASES: dict[str, Callable[[torch.dtype], list[Tensor]]] = {
    "lstm": lambda low: cell_results("lstm", low),
    "gru": lambda low: cell_results("gru", low),
    "additive": lambda low: attend_results(True, low),
    "dot": lambda low: attend_results(False, low),
}


@pytest.mark.parametrize("low", LOWS, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_compiled_loops_equal_their_plain_twins(case: str, low: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    use_loops("compiled", monkeypatch)
    compiled = CASES[case](low)
    use_loops("plain", monkeypatch)
    for a, b in zip(compiled, CASES[case](low), strict=True):
        torch.testing.assert_close(a, b, rtol=NEAR[low], atol=NEAR[low])


@pytest.mark.parametrize("kind", ["compiled", "plain"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_far_gates_hold_a_state_exactly(cell: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_loops(kind, monkeypatch)
    before, gates = torch.randn(2, 9), torch.randn(2, 36)
    far = torch.zeros(2, 4, 9)
    if cell == "lstm":
        far[:, 0], far[:, 1] = -1e4, 1e4
    else:
        far[:, 1] = 1e4
    after = torch.empty(2, 9)
    pointwise.cell_forward(cell, far.view(2, 36), gates, before, torch.empty(2, 36), after, torch.empty(2, 9))
    assert torch.equal(after, before)


@pytest.mark.parametrize("kind", ["compiled", "plain"])
def test_tanh_and_exp_are_the_library_s(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_loops(kind, monkeypatch)
    x = torch.linspace(-30, 30, 8 * 999).view(8, -1)
    n = x.shape[1]
    from_x = torch.cat([torch.full_like(x, 99.0), torch.full_like(x, -99.0), x, torch.full_like(x, 99.0)], 1)
    gates, after, h = torch.empty(8, 4 * n), torch.empty(8, n), torch.empty(8, n)
    pointwise.cell_forward("lstm", from_x, torch.zeros_like(from_x), torch.zeros(8, n), gates, after, h)
    torch.testing.assert_close(after, torch.tanh(x), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(h, torch.tanh(torch.tanh(x)), rtol=1e-6, atol=1e-7)
    mask, alpha = torch.ones(8, n, dtype=torch.bool), torch.empty(8, n)
    pointwise.attend_forward(
        torch.ones(8, 1), x.unsqueeze(2), None, 3.0, x.unsqueeze(2), mask, alpha, torch.empty(8, 1)
    )
    torch.testing.assert_close(alpha, (3 * x).softmax(1), rtol=3e-5, atol=1e-30)
    gates[0, 0] = torch.nan
    pointwise.cell_forward("lstm", gates, gates, torch.zeros(8, n), torch.empty(8, 4 * n), after, h)
    assert after[0, 0].isnan()
