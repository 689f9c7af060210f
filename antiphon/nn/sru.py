"""The simple recurrent unit, SRU: every matrix product reads x alone, so it runs once for a whole sequence.

Shapes: B sequences, T positions, I input size, H units. u is [B, T, 3 H]: the candidate, the forget gate and the reset
gate before their functions. The state is (h, c), each [B, H].

SRU (Lei 2018, eq. 1 to 3, with the tanh of its first version, arXiv 1709.02755v1; their highway connection is what
the stacks' `residual` is for):
    f_t = sigmoid(W_f x_t + v_f c_{t-1} + b_f);  c_t = f_t c_{t-1} + (1 - f_t) (W x_t + b)
    r_t = sigmoid(W_r x_t + v_r c_{t-1} + b_r);  h_t = r_t tanh(c_t)
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from antiphon.nn.fused import native

State = tuple[Tensor, ...]


class SRU(nn.Module):
    """A simple recurrent unit that reads a sequence in one direction."""

    def __init__(self, input_size: int, hidden: int) -> None:
        super().__init__()
        self.input_size, self.hidden = input_size, hidden
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden, input_size))
        self.bias_ih = nn.Parameter(torch.zeros(3 * hidden))
        self.v = nn.Parameter(torch.zeros(2 * hidden))

    def zero_state(self, batch: int) -> State:
        """The state before anything was read."""
        zero = self.weight_ih.new_zeros(batch, self.hidden)
        return zero, zero

    def forward(self, x: Tensor, state: State, mask: Tensor | None = None) -> tuple[Tensor, State]:
        """Read a whole sequence; see `layers.Recurrent.forward`."""
        u = F.linear(x, self.weight_ih, self.bias_ih)  # [B, T, 3 H]
        h, c = scan(u, self.v, state[1].to(self.v.dtype), mask)
        return h, (last_real(h, mask), c)

    def step(self, x: Tensor, state: State) -> State:
        """Read one position: x [B, I] and the state before it -> the state after it."""
        return update(F.linear(x, self.weight_ih, self.bias_ih), self.v, state[1])


def last_real(h: Tensor, mask: Tensor | None) -> Tensor:
    """h [B, H] where each sequence's last real position was."""
    if mask is None:
        return h[:, -1]
    positions = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return h[torch.arange(len(h), device=h.device), (mask * positions).argmax(1)]


def update(u: Tensor, v: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One position: u [B, 3 H], v [2 H] and c_{t-1} [B, H] -> h_t and c_t, each [B, H]."""
    candidate, f, r = u.chunk(3, -1)
    v_f, v_r = v.chunk(2)
    f, r = torch.sigmoid(f + v_f * c), torch.sigmoid(r + v_r * c)
    c = f * c + (1 - f) * candidate
    return r * torch.tanh(c), c


def plain_scan(u: Tensor, v: Tensor, c: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """All positions, one after the other.

    Args:
        u: [B, T, 3 H].
        v: v_f and v_r [2 H].
        c: the state before [B, H].
        mask: [B, T], True on real positions; padding leaves c as it was, and h is 0 there. None: everything is real.

    Returns:
        h_1..h_T [B, T, H] in u's type, and the last c [B, H].
    """
    outputs = []
    for t in range(u.shape[1]):
        h, new = update(u[:, t], v, c)
        if mask is not None:
            real = mask[:, t, None]
            h, new = h * real, torch.where(real, new, c)
        c = new
        outputs.append(h)
    return torch.stack(outputs, 1).to(u.dtype), c


class _Scan(torch.autograd.Function):
    """`plain_scan` by the compiled loops; the gates are made again on the way back."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, v: Tensor, c: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        (B, T, _), H = u.shape, c.shape[1]
        cells, h = c.new_empty(B, T, H), u.new_empty(B, T, H)
        native.call("sru_forward", u.dtype, u.numel(), B, T, H, u, v, c, mask, cells, h)
        ctx.save_for_backward(u, v, c, mask, cells)
        return h, cells[:, -1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        u, v, c, mask, cells = ctx.saved_tensors
        (B, T, _), H = u.shape, c.shape[1]
        dh, dc = grads[0].contiguous(), grads[1].clone(memory_format=torch.contiguous_format)
        du, dv = torch.empty_like(u), v.new_zeros(B, 2 * H)
        native.call("sru_backward", u.dtype, u.numel(), B, T, H, u, v, c, mask, cells, dh, dc, du, dv)
        return du, dv.sum(0), dc, None


def scan(u: Tensor, v: Tensor, c: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`plain_scan`, compiled where that is possible. Arguments and returns as there."""
    if not native.available(u.dtype, u.device, v.dtype):
        return plain_scan(u, v, c, mask)
    h, last_c = _Scan.apply(u.contiguous(), v, c.contiguous(), None if mask is None else mask.contiguous())
    return h, last_c
