"""An LSTM or GRU layer over whole sequences, with a backward pass written by hand.

The plain twin is `Recurrent.step`, one position after the other. Here the inputs' share of the gates is made by the
caller for all positions at once, the gradient of the recurrent weights is one product over all steps at the end, and
what lies between two products is one compiled pass. On a processor this is faster than the library's fused layer.

Shapes: B sequences, T positions, H units. Steps come first: [T, B, ..]. What a product reads or writes is in the type
of `x`; cells and gates are in the weights' type.
"""

from typing import Any

import torch
from torch import Tensor

from antiphon.nn.fused.pointwise import cell_backward, cell_forward


def recurrence(cell: str, x: Tensor, W: Tensor, h_0: Tensor, c_0: Tensor | None) -> tuple[Tensor, Tensor]:
    """Run a layer.

    Args:
        cell: `lstm` or `gru`.
        x: the inputs' share of the gates, biases included, in the order that `pointwise` names [T, B, 4 H].
        W: recurrent weights [4 H, H].
        h_0, c_0: the state before the first position [B, H]; c of the LSTM alone.

    Returns:
        h_1..h_T [T, B, H], and c_T of the LSTM or h_T of the GRU [B, H].
    """
    with torch.autocast(x.device.type, enabled=False):
        h, last = _Recurrence.apply(cell, x, W, h_0, c_0)
    return h, last


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cell: str, x: Tensor, W: Tensor, h_0: Tensor, c_0: Tensor | None) -> tuple[Tensor, Tensor]:
        (T, B, _), H, low, real = x.shape, W.shape[1], x.dtype, W.dtype
        x, w = x.contiguous(), W.to(low)
        h, cells = x.new_empty(T + 1, B, H), x.new_empty(T + 1, B, H, dtype=real)
        gates = x.new_empty(T, B, 4 * H, dtype=real)
        h[0], cells[0] = h_0, h_0 if c_0 is None else c_0
        for t in range(T):
            cell_forward(cell, x[t], h[t] @ w.T, cells[t], gates[t], cells[t + 1], h[t + 1])
        ctx.save_for_backward(w, h, cells, gates)
        ctx.cell, ctx.types = cell, (real, h_0.dtype, None if c_0 is None else c_0.dtype)
        return h[1:], cells[T]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        w, h, cells, gates = ctx.saved_tensors
        real, h_type, c_type = ctx.types
        dh, dc = grads[0].to(w.dtype).contiguous(), grads[1].to(real, copy=True).contiguous()
        d_gates = torch.empty(gates.shape, dtype=w.dtype, device=w.device)
        carry = torch.zeros_like(h[0])  # what step t + 1 sends to h_t
        for t in reversed(range(len(gates))):
            cell_backward(ctx.cell, gates[t], cells[t], cells[t + 1], dh[t], carry, dc, d_gates[t])
            torch.mm(d_gates[t], w, out=carry)
        d_W = (d_gates.flatten(0, 1).T @ h[:-1].flatten(0, 1)).to(real)
        if c_type is None:
            return None, d_gates, d_W, (carry + dc).to(h_type), None
        return None, d_gates, d_W, carry.to(h_type), dc.to(c_type)
