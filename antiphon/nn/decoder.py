"""The decoder: from the encoder's memory and the pieces so far to the vector that the output layer reads.

Decoders come in two orders. In `ParallelDecoder` the recurrence never reads the attention, so a whole target runs in
one call; in `StepwiseDecoder` each state depends on what was attended to before it, so a target runs step by step. Both
decode hypotheses by the same `step`, which is pure: same inputs, same outputs, nothing kept on the module.

Shapes: B sentences, S source pieces, T target positions, K hypotheses a sentence, E embedding, D decoder state,
L layers, C context, R readout. A decoder's state is named tensors, batch first: `s` [B, K, L, D] (and `cell`, the
LSTM's memory cells), `feed` [B, K, R] for input feeding, `coverage` [B, K, S].
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from antiphon.config.kinds import BRIDGES, CELLS, READOUTS
from antiphon.nn.attention import Attention, Memory, MultiHead
from antiphon.nn.dropout import Dropout
from antiphon.nn.fused.decoder import Attending, FusedReadout, Layer, recurrent_attention
from antiphon.nn.layers import Recurrent, layer
from antiphon.nn.sru import SRU, State

Named = dict[str, Tensor]


class Readout(nn.Module):
    """From a state s, its context c and the previous piece's embedding y to what the output layer reads.

    Each has an entry in `config.kinds.READOUTS`. This one is W [s_t; c_t] + b, or [s_t; c_t] itself where it has
    the readout's size already, as s_t alone may have (Sutskever 2014).
    """

    state_before = False  # whether it reads s_{t-1} in Bahdanau's order
    out: nn.Module

    def __init__(self, state_size: int, context_size: int, embedding: int, size: int) -> None:
        super().__init__()
        joined = state_size + context_size
        self.out = nn.Identity() if joined == size else nn.Linear(joined, size)

    def forward(self, s: Tensor, c: Tensor | None, y: Tensor) -> Tensor:
        """s [.., D], c [.., C] or None, y [.., E] -> [.., R]."""
        return self.out(s if c is None else torch.cat([s, c], -1))


class TanhReadout(Readout):
    """tanh(W_c [s_t; c_t] + b) (Luong 2015, eq. 5)."""

    def __init__(self, state_size: int, context_size: int, embedding: int, size: int) -> None:
        nn.Module.__init__(self)
        self.out = nn.Linear(state_size + context_size, size)

    def forward(self, s: Tensor, c: Tensor | None, y: Tensor) -> Tensor:
        return torch.tanh(super().forward(s, c, y))


class MaxoutReadout(Readout):
    """The larger of each pair of U_o s + V_o E y_{t-1} + C_o c_t + b, a deep output (Bahdanau 2015, A.2.2)."""

    state_before = True

    def __init__(self, state_size: int, context_size: int, embedding: int, size: int) -> None:
        nn.Module.__init__(self)
        self.out = nn.Linear(state_size + context_size + embedding, 2 * size)

    def forward(self, s: Tensor, c: Tensor | None, y: Tensor) -> Tensor:
        t = self.out(torch.cat([s, y] if c is None else [s, c, y], -1))
        return t.unflatten(-1, (-1, 2)).amax(-1)


class ResidualReadout(Readout):
    """Layer normalisation of s_t + c_t (TensorFlow's tutorial)."""

    def __init__(self, state_size: int, context_size: int, embedding: int, size: int) -> None:
        nn.Module.__init__(self)
        self.out = nn.LayerNorm(size)

    def forward(self, s: Tensor, c: Tensor | None, y: Tensor) -> Tensor:
        return self.out(s if c is None else s + c)


def readout(kind: str, state_size: int, context_size: int, embedding: int, size: int) -> Readout:
    """One of `config.kinds.READOUTS`, by the class of this module that its entry names."""
    return globals()[READOUTS[kind].module](state_size, context_size, embedding, size)


class Stack(nn.Module):
    """The decoder's recurrent layers."""

    def __init__(
        self, cell: str, input_size: int, hidden: int, layers: int, *, residual: bool, layer_norm: str, dropout: float
    ) -> None:
        super().__init__()
        self.cell, self.residual = cell, residual
        sizes = [input_size] + [hidden] * (layers - 1)
        self.layers = nn.ModuleList(layer(cell, size, hidden, layer_norm) for size in sizes)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) if layer_norm == "output" else nn.Identity() for _ in sizes)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, state: Named) -> tuple[Tensor, Named]:
        """Run whole sequences, one a sentence: x [B, T, I], state with K = 1 -> outputs [B, T, D], last state."""
        after: list[State] = []
        for i, (recurrent, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            y, last = recurrent(x, tuple(part[:, 0, i].contiguous() for part in self._parts(state)))
            x = self._join(x, self.dropout(norm(y)))
            after.append(last)
        return x, {name: part.unsqueeze(1) for name, part in self._named(after, 1).items()}

    def step(self, x: Tensor, state: Named) -> tuple[Tensor, Named]:
        """Run one position of every hypothesis: x [B, K, I], state -> the top output [B, K, D], new state."""
        shape = x.shape[:2]
        after: list[State] = []
        for i, (recurrent, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            assert isinstance(recurrent, Recurrent | SRU)
            before = tuple(part[:, :, i].flatten(0, 1) for part in self._parts(state))
            new = tuple(part.unflatten(0, shape) for part in recurrent.step(x.flatten(0, 1), before))
            x = self._join(x, self.dropout(norm(new[0])))
            after.append(new)
        return x, self._named(after, 2)

    def _join(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y if self.residual and x.shape == y.shape else y

    def _parts(self, state: Named) -> State:
        return tuple(state[name] for name in CELLS[self.cell].state)

    def _named(self, states: list[State], dim: int) -> Named:
        parts = (torch.stack(part, dim) for part in zip(*states, strict=True))
        return dict(zip(CELLS[self.cell].state, parts, strict=True))


class ParallelDecoder(nn.Module):
    """Decoders whose recurrence never reads the attention: a whole target in one call.

    Without attention: s_t = f(y_{t-1}, s_{t-1}) (Sutskever 2014), or s_t = f(y_{t-1}, s_{t-1}, c) with the source's
    vector c at every step and in the readout (Cho 2014, section 2.2). With attention: s_t = f(y_{t-1}, s_{t-1}), then
    c_t = attend(s_t) for all t together (Luong 2015 without input feeding; TensorFlow's tutorial). With layers above
    the attention, those read [s_t; c_t] (as the upper layers of Wu 2016 and Chen 2018 do), so the recurrence knows
    what was attended to, and yet all positions are attended at once.
    """

    def __init__(
        self,
        stack: Stack,
        attention: Attention | MultiHead | None,
        upper: Stack | None,
        readout: Readout,
        context: bool,
    ) -> None:
        super().__init__()
        self.stack, self.attention, self.upper, self.readout = stack, attention, upper, readout
        self.context = context

    def start(self, state: Named, memory: Memory) -> Named:
        """The state before the first piece, from the bridge's."""
        return state

    def forward(self, y: Tensor, state: Named, memory: Memory) -> tuple[Tensor, Tensor | None]:
        """Run whole targets: y [B, T, E] -> readouts [B, T, R] and alpha [B, T, S], None without attention."""
        lower, upper = self._split(state)
        s, _ = self.stack(self._input(y, memory), lower)
        c, alpha = self._attend(s, memory)
        if self.upper is not None and c is not None:
            s, _ = self.upper(torch.cat([s, c], -1), upper)
        return self.readout(s, c, y), alpha

    def step(self, y: Tensor, state: Named, memory: Memory) -> tuple[Tensor, Named, Tensor | None]:
        """Run one position of every hypothesis: y [B, K, E] -> readout [B, K, R], new state, alpha [B, K, S]."""
        lower, upper = self._split(state)
        s, state = self.stack.step(self._input(y, memory), lower)
        c, alpha = self._attend(s, memory)
        if self.upper is not None and c is not None:
            s, above = self.upper.step(torch.cat([s, c], -1), upper)
            state = {name: torch.cat([part, above[name]], 2) for name, part in state.items()}
        return self.readout(s, c, y), state, alpha

    def _input(self, y: Tensor, memory: Memory) -> Tensor:
        return torch.cat([y, self._fixed(y, memory)], -1) if self.context else y

    def _attend(self, s: Tensor, memory: Memory) -> tuple[Tensor | None, Tensor | None]:
        if self.attention is not None:
            c, alpha = self.attention(s, memory)
            return c, alpha
        return (self._fixed(s, memory) if self.context else None), None

    def _split(self, state: Named) -> tuple[Named, Named]:
        """The states of the layers below the attention, and of those above."""
        below = len(self.stack.layers)
        return {k: v[:, :, :below] for k, v in state.items()}, {k: v[:, :, below:] for k, v in state.items()}

    @staticmethod
    def _fixed(x: Tensor, memory: Memory) -> Tensor:
        return memory.c.unsqueeze(1).expand(-1, x.shape[1], -1)  # [B, T or K, C]


class StepwiseDecoder(nn.Module):
    """Decoders whose recurrence reads the attention.

    Bahdanau (2015, A.2.2): c_t = attend(s_{t-1}), then s_t = f(y_{t-1}, s_{t-1}, c_t); a maxout readout takes s_{t-1},
    as there, any other s_t. Input feeding (Luong 2015, section 3.3): s_t = f([y_{t-1}; r_{t-1}], s_{t-1}), then
    c_t = attend(s_t) and r_t = readout(s_t, c_t).
    """

    def __init__(
        self,
        stack: Stack,
        attention: Attention | MultiHead,
        readout: Readout,
        *,
        feeding: bool,
        feed_size: int,
        alpha_counts: bool = False,
    ) -> None:
        super().__init__()
        self.stack, self.attention, self.readout = stack, attention, readout
        self.feeding, self.feed_size = feeding, feed_size
        self.alpha_counts = alpha_counts  # whether a gradient comes through alpha itself
        self.coverage = isinstance(attention, Attention) and attention.w_c is not None

    def start(self, state: Named, memory: Memory) -> Named:
        """The state before the first piece, from the bridge's."""
        batch, length = memory.mask.shape
        state = dict(state)
        if self.feeding:
            state["feed"] = state["s"].new_zeros(batch, 1, self.feed_size)
        if self.coverage:
            state["coverage"] = state["s"].new_zeros(batch, 1, length)
        return state

    def forward(self, y: Tensor, state: Named, memory: Memory) -> tuple[Tensor, Tensor | None]:
        """Run whole targets: y [B, T, E] -> readouts [B, T, R] and alpha [B, T, S]."""
        if self.fused:
            return self._whole(y, state, memory)
        return self.stepwise(y, state, memory)

    def stepwise(self, y: Tensor, state: Named, memory: Memory) -> tuple[Tensor, Tensor]:
        """`forward` as the equations stand, one position after the other; the twin of `_whole`."""
        readouts, alphas = [], []
        for t in range(y.shape[1]):
            readout, state, alpha = self.step(y[:, t : t + 1], state, memory)
            readouts.append(readout)
            alphas.append(alpha)
        return torch.cat(readouts, 1), torch.cat(alphas, 1)

    def step(self, y: Tensor, state: Named, memory: Memory) -> tuple[Tensor, Named, Tensor]:
        """Run one position of every hypothesis: y [B, K, E] -> readout [B, K, R], new state, alpha [B, K, S]."""
        coverage = state.get("coverage")
        if self.feeding:
            s, after = self.stack.step(torch.cat([y, state["feed"]], -1), state)
            c, alpha = self.attention(s, memory, coverage)
            readout = self.readout(s, c, y)
            after["feed"] = readout
        else:
            s_before = state["s"][:, :, -1]
            c, alpha = self.attention(s_before, memory, coverage)
            s, after = self.stack.step(torch.cat([y, c], -1), state)
            readout = self.readout(s_before if self.readout.state_before else s, c, y)
        if coverage is not None:
            after["coverage"] = coverage + alpha
        return readout, after, alpha

    @property
    def fused(self) -> bool:
        """Whether `recurrent_attention` knows this decoder."""
        plain = all(type(layer) is Recurrent for layer in self.stack.layers) and not self.stack.residual
        bare = all(isinstance(norm, nn.Identity) for norm in self.stack.norms)
        score = isinstance(self.attention, Attention) and self.attention.fused_score() is not None
        return plain and bare and score and (not self.feeding or self._fused_readout() is not None)

    def _fused_readout(self) -> FusedReadout | None:
        """The readout as `recurrent_attention` feeds it; None: it does not know this one."""
        out = self.readout.out
        if type(self.readout) not in (Readout, TanhReadout) or not isinstance(out, nn.Linear):
            return None
        return FusedReadout(out.weight, out.bias, tanh=type(self.readout) is TanhReadout)

    def _whole(self, y: Tensor, state: Named, memory: Memory) -> tuple[Tensor, Tensor]:
        """`stepwise` with all that waits for nothing done at once; see `recurrent_attention`."""
        attention, stack = self.attention, self.stack
        score = attention.fused_score() if isinstance(attention, Attention) else None
        assert score is not None, "`fused` has checked it"
        attending = Attending(memory.keys, memory.h, memory.mask, score)
        first, *above = [layer.joint() for layer in stack.layers if isinstance(layer, Recurrent)]
        E = y.shape[2]
        x = F.linear(y.transpose(0, 1), first.W[:, :E], first.b)  # [T, B, 4 D]
        T, B, rows = x.shape
        dropout = None
        if self.training and stack.dropout.p:
            dropout = stack.dropout(x.new_ones(len(stack.layers), T, B, rows // 4))
        outputs = recurrent_attention(
            stack.cell, x, [Layer(first.W[:, E:], first.b), *above], attending,
            state["s"][:, 0], state["cell"][:, 0] if "cell" in state else None,
            self._fused_readout() if self.feeding else None, dropout,
        )  # fmt: skip
        s = outputs.s[1:] if dropout is None else outputs.s[1:] * dropout[-1]
        alpha = outputs.alpha.transpose(0, 1)
        if self.alpha_counts:
            _, alpha = attention((s if self.feeding else outputs.s[:-1]).transpose(0, 1), memory)
        if self.feeding:
            return outputs.readout.transpose(0, 1), alpha
        states = outputs.s[:-1] if self.readout.state_before else s
        return self.readout(states.transpose(0, 1), outputs.c.transpose(0, 1), y), alpha


class Bridge(nn.Module):
    """The decoder's initial state from the encoder's last.

    zero: all zeros, nothing of the encoder
    last: layer by layer, as it is (Sutskever 2014)
    dense: tanh(W h) layer by layer; the LSTM's and the SRU's c by a linear map
    backward: s_0 = tanh(W_s h_1), h_1 of the backward direction (Bahdanau 2015, A.2.2)

    What the SRU recalls is c alone, so both make c only, and h = tanh(c).
    """

    def __init__(self, kind: str, cell: str, source_size: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.kind, self.cell, self.hidden, self.count = BRIDGES[kind], CELLS[cell], hidden, layers
        mapped = layers if self.kind.maps else 0

        def maps(count: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Linear(source_size, hidden) for _ in range(count))

        self.state = maps(0 if self.cell.element_wise else mapped)
        self.memory_cell = maps(mapped if "cell" in self.cell.state else 0)

    def forward(self, final: list[State]) -> Named:
        """Each encoder layer's last state, parts [B, R, H] -> `s` and, where there are cells, `cell`, [B, 1, L, D]."""
        if not self.kind.source:
            zero = final[0][0].new_zeros(len(final[0][0]), 1, self.count, self.hidden)
            return dict.fromkeys(self.cell.state, zero)
        # Top layer to top layer, so that a deeper encoder's last layers are the ones that are used.
        states = [final[max(0, i + len(final) - self.count)] for i in range(self.count)]
        backward = self.kind.source == "backward"
        parts = {
            name: [s[n][:, -1] if backward else s[n].flatten(1) for s in states]
            for n, name in enumerate(self.cell.state)
        }
        if not self.kind.maps:
            return {name: torch.stack(part, 1).unsqueeze(1) for name, part in parts.items()}
        named = {}
        if self.memory_cell:
            named["cell"] = torch.stack([w(c) for w, c in zip(self.memory_cell, parts["cell"], strict=True)], 1)
        if self.state:
            named["s"] = torch.stack([torch.tanh(w(h)) for w, h in zip(self.state, parts["s"], strict=True)], 1)
        else:
            named["s"] = torch.tanh(named["cell"])
        return {name: part.unsqueeze(1) for name, part in named.items()}
