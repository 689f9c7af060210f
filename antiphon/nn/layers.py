"""One recurrent layer, LSTM or GRU: over a whole sequence with the library's fused kernel, or one step at a time.

Shapes: B sequences, T positions, I input size, H units. G gates: 4 (LSTM: input, forget, cell,
output) or 3 (GRU: reset, update, new). A layer's state is (h, c) for LSTM and (h,) for GRU, each [B, H].

LSTM (Hochreiter 1997 with forget gates, as Sutskever 2014 cites it through Graves 2013):
    i, f, o = sigmoid(W x_t + U h_{t-1} + b);  g = tanh(W x_t + U h_{t-1} + b)
    c_t = f c_{t-1} + i g;  h_t = o tanh(c_t)
GRU (Cho 2014, eq. 5 to 8; the reset gate acts after the product with U, as in the fused kernels of every library):
    r, z = sigmoid(W x_t + U h_{t-1} + b);  n = tanh(W x_t + b + r (U h_{t-1} + b'));  h_t = (1 - z) n + z h_{t-1}
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from antiphon.config.kinds import CELLS
from antiphon.nn.fused import native
from antiphon.nn.fused.decoder import Layer
from antiphon.nn.fused.layer import recurrence
from antiphon.nn.sru import SRU, State, last_real

# A gate pushed this far is exactly 0 or 1 in every floating type that is used here.
SHUT = 1e4


class Recurrent(nn.Module):
    """A layer that reads a sequence in one direction."""

    def __init__(self, cell: str, input_size: int, hidden: int) -> None:
        super().__init__()
        if cell not in ("lstm", "gru"):
            raise ValueError(f"{cell}: the kernels know the LSTM and the GRU alone")
        self.cell, self.input_size, self.hidden = cell, input_size, hidden
        rows = CELLS[cell].gates * hidden
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden))
        self.bias_ih = nn.Parameter(torch.zeros(rows))
        self.bias_hh = nn.Parameter(torch.zeros(rows))
        # What padding adds to the gates so that a state passes through it untouched: the LSTM's input gate shuts and
        # its forget gate opens; the GRU's update gate opens.
        hold = torch.zeros(CELLS[cell].gates, hidden)
        if cell == "lstm":
            hold[0], hold[1] = -SHUT, SHUT
        else:
            hold[1] = SHUT
        self.hold: Tensor
        self.register_buffer("hold", hold.view(rows, 1), persistent=False)

    def zero_state(self, batch: int) -> State:
        """The state before anything was read."""
        zero = self.weight_hh.new_zeros(batch, self.hidden)
        return (zero, zero) if self.cell == "lstm" else (zero,)

    def forward(self, x: Tensor, state: State, mask: Tensor | None = None) -> tuple[Tensor, State]:
        """Read a whole sequence.

        Args:
            x: inputs [B, T, I].
            state: state before the first position, each [B, H].
            mask: [B, T], True on real positions; padding leaves the state as it was. None: everything is real.

        Returns:
            outputs h_1..h_T [B, T, H], and the state after the last position; where there is padding the outputs there
            mean nothing, and the state's h is that of the last real position.
        """
        weight_ih: Tensor = self.weight_ih
        if mask is not None:
            x = torch.cat([x, (~mask).unsqueeze(-1).to(x.dtype)], -1)
            weight_ih = torch.cat([weight_ih, self.hold], 1)
        y, last = self._compiled(x, state, weight_ih) if self._own(x) else self._library(x, state, weight_ih)
        if self.cell == "gru":
            return y, last
        # The LSTM's output gate still moves on padding.
        return y, (last[0] if mask is None else last_real(y, mask), last[1])

    def _own(self, x: Tensor) -> bool:
        """Whether `recurrence` is faster than the library's fused layer: with compiled loops it is."""
        device = x.device.type
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        return native.available(low, x.device, self.weight_hh.dtype)

    def _compiled(self, x: Tensor, state: State, weight_ih: Tensor) -> tuple[Tensor, State]:
        joint = self.joint(weight_ih)
        inputs = x.shape[2]
        gates = F.linear(x.transpose(0, 1), joint.W[:, :inputs], joint.b)  # [T, B, 4 H]
        h, last = recurrence(self.cell, gates, joint.W[:, inputs:], *state, *([None] * (2 - len(state))))
        return h.transpose(0, 1), (last,) if self.cell == "gru" else (h[-1], last)

    def _library(self, x: Tensor, state: State, weight_ih: Tensor) -> tuple[Tensor, State]:
        weights: list[Tensor] = [weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        begin = [s.unsqueeze(0) for s in state]
        if self.cell == "gru":
            y, h = torch.gru(x, begin[0], weights, True, 1, 0.0, self.training, False, True)
            return y, (h[0],)
        y, h, c = torch.lstm(x, begin, weights, True, 1, 0.0, self.training, False, True)
        return y, (h[0], c[0])

    def joint(self, weight_ih: Tensor | None = None) -> Layer:
        """The layer as one product of [x; h]; the GRU's n keeps its two shares apart, each zero in the other's part.

        Args:
            weight_ih: in the place of the layer's own, with further columns.
        """
        weight_ih = self.weight_ih if weight_ih is None else weight_ih
        if self.cell == "lstm":
            return Layer(torch.cat([weight_ih, self.weight_hh], 1), self.bias_ih + self.bias_hh)
        H = self.hidden
        blank = weight_ih.new_zeros(H, weight_ih.shape[1]), self.weight_hh.new_zeros(H, H)
        from_x = torch.cat([weight_ih, blank[0]])  # [4 H, I]
        from_h = torch.cat([self.weight_hh[: 2 * H], blank[1], self.weight_hh[2 * H :]])  # [4 H, H]
        b = torch.cat([self.bias_ih[: 2 * H] + self.bias_hh[: 2 * H], self.bias_ih[2 * H :], self.bias_hh[2 * H :]])
        return Layer(torch.cat([from_x, from_h], 1), b)

    def step(self, x: Tensor, state: State) -> State:
        """Read one position: x [B, I] and the state before it -> the state after it."""
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        if self.cell == "gru":
            return (torch.gru_cell(x, state[0], *weights),)
        return torch.lstm_cell(x, list(state), *weights)


class NormalisedRecurrent(Recurrent):
    """A layer whose gates are layer-normalised at each position (Ba 2016, eq. 20 to 22); no fused kernel has it."""

    def __init__(self, cell: str, input_size: int, hidden: int) -> None:
        super().__init__(cell, input_size, hidden)
        rows = CELLS[cell].gates * hidden
        self.norm_ih, self.norm_hh = nn.LayerNorm(rows), nn.LayerNorm(rows)
        self.norm_c = nn.LayerNorm(hidden) if cell == "lstm" else None

    def forward(self, x: Tensor, state: State, mask: Tensor | None = None) -> tuple[Tensor, State]:
        """Read a whole sequence; see `Recurrent.forward`."""
        from_x = self._from_x(x)  # [B, T, G H]
        outputs = []
        for t in range(x.shape[1]):
            after = self._update(from_x[:, t], state)
            if mask is not None:
                real = mask[:, t, None]
                after = tuple(torch.where(real, new, old) for new, old in zip(after, state, strict=True))
            state = after
            outputs.append(state[0])
        return torch.stack(outputs, 1), state

    def step(self, x: Tensor, state: State) -> State:
        """Read one position; see `Recurrent.step`."""
        return self._update(self._from_x(x), state)

    def _from_x(self, x: Tensor) -> Tensor:
        return self.norm_ih(x @ self.weight_ih.T) + self.bias_ih

    def _update(self, from_x: Tensor, state: State) -> State:
        h = state[0]
        from_h = self.norm_hh(h @ self.weight_hh.T) + self.bias_hh
        if self.norm_c is None:
            (xr, xz, xn), (hr, hz, hn) = from_x.chunk(3, -1), from_h.chunk(3, -1)
            z = torch.sigmoid(xz + hz)
            n = torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
            return ((1 - z) * n + z * h,)
        i, f, g, o = (from_x + from_h).chunk(4, -1)
        c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(self.norm_c(c)), c


def layer(cell: str, input_size: int, hidden: int, layer_norm: str) -> Recurrent | SRU:
    """A recurrent layer by the class that `config.kinds.CELLS` names, with normalised gates if `layer_norm` is `gates`.

    Raises:
        ValueError: the cell has no such class.
    """
    kind = CELLS[cell]
    made = globals().get(kind.normalised if layer_norm == "gates" else kind.module)
    if made is None:
        raise ValueError(f"a {cell} with layer_norm = {layer_norm!r} has no class here")
    return made(input_size, hidden) if kind.element_wise else made(cell, input_size, hidden)
