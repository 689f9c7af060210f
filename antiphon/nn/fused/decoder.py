"""A whole target through a decoder whose recurrence reads the attention, with a backward pass written by hand.

The plain twin is `StepwiseDecoder.step`, one position after the other. Here only what depends on the step before is
done step by step: the share of the embeddings in the gates, and in Bahdanau's order the readouts, are made for all
positions at once by the caller; the gradients of all weights are one product over all steps at the end; what lies
between two products is one pass (`pointwise`).

Shapes: B sentences, T target positions, S source pieces, D decoder state, L layers, A size of a key, M size of an
encoder state, R readout, F what is fed into the first layer beside the embedding (R in input feeding, M in Bahdanau's
order), I a layer's input in the recurrence (F in the first, D above). Steps come first: [T, B, ..]. Everything that a
product reads or writes is in `low`, the type of `x`; cells, gates, alpha and sums are in the weights' type.

Buffers of a forward pass (`_Tape`), here of two layers. Each step writes into the rows that the next product reads, so
that nothing is copied and the weights' gradients are one product over all rows at the end:

    inputs[0]  [T + 1, B, F + D]        inputs[1]  [T + 1, B, D + D]        joined [T, B, D + M]  (input feeding)
              fed      layer 0's h                layer 0's h  layer 1's h             s_t  c_t
    t = 0   |  r_0  |  s_0[0]   |               |  h_1       |  s_0[1]  |            | s_1 | c_1 | -> r_1
    t = 1   |  r_1  |  h_1      |               |  h_2       |  h_1     |            | s_2 | c_2 | -> r_2
    ...     |       |           |               |            |          |            |     |     |
    t = T   |  r_T  |  h_T      |               |  (unused)  |  h_T     |

The product of row t with W is the recurrent share of the gates of step t + 1; layer 0's output goes to the left half of
layer 1's row t, its state to the right half of its own row t + 1. In Bahdanau's order the fed part of row t is c_{t+1}
[B, M], made from layer 1's part of row t, and there is no `joined`.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from antiphon.nn.fused.pointwise import attend_backward, attend_forward, cell_backward, cell_forward


class Layer(NamedTuple):
    """A recurrent layer as one product: gates = [input; h_{t-1}] W^T + b, in the order that `pointwise` names."""

    W: Tensor  # [4 D, I + D]
    b: Tensor  # [4 D]


class FusedScore(NamedTuple):
    """What is computed here: e_ti = v_a . tanh(W_a s + k_i), or without them scale s . k_i."""

    W_a: Tensor | None = None  # [A, D]
    v_a: Tensor | None = None  # [A]
    scale: float = 1.0


class FusedReadout(NamedTuple):
    """r_t = W_c [s_t; c_t] + b, or tanh of it, for input feeding."""

    W_c: Tensor  # [R, D + M]
    b: Tensor  # [R]
    tanh: bool = True


class Attending(NamedTuple):
    """What the decoder attends to, and how."""

    keys: Tensor  # [B, S, A]
    h: Tensor  # [B, S, M]
    mask: Tensor  # [B, S]
    score: FusedScore


class Targets(NamedTuple):
    """What comes out."""

    s: Tensor  # [T + 1, B, D]  Bahdanau: the top layer's s_0..s_T, without dropout; input feeding: nothing to use
    c: Tensor  # [T, B, M]  Bahdanau: contexts; input feeding: nothing to use
    readout: Tensor  # [T, B, R]  input feeding: r_1..r_T; Bahdanau: empty
    alpha: Tensor  # [T, B, S]  no gradient comes through it


def recurrent_attention(
    cell: str,
    x: Tensor,
    layers: list[Layer],
    attending: Attending,
    s_0: Tensor,
    cell_0: Tensor | None,
    readout: FusedReadout | None,
    dropout: Tensor | None,
) -> Targets:
    """Run whole targets.

    Args:
        cell: `lstm` or `gru`.
        x: share of the embeddings in the first layer's gates, its bias included [T, B, 4 D].
        layers: the first layer's W reads what is fed and its state; its b is not used.
        attending: of B sentences.
        s_0, cell_0: states before the first piece [B, L, D]; cells of the LSTM alone.
        readout: what is fed, in input feeding (Luong 2015, section 3.3); None: Bahdanau's order (2015).
        dropout: what each layer's output is multiplied with [L, T, B, D]; Bahdanau's top layer is left to the caller.

    Returns:
        states, contexts, readouts and alpha; differentiable in all tensors but the mask and `dropout`.
    """
    spec = _Spec(cell, attending.score.scale, len(layers), readout is not None, readout is not None and readout.tanh)
    keys, h, mask, (W_a, v_a, _) = attending
    W_c, b_c = readout[:2] if readout else (None, None)
    flat = tuple(part for layer in layers for part in layer)
    given = _Given(x, keys, h, mask, W_a, v_a, s_0, cell_0, W_c, b_c, dropout, flat)
    with torch.autocast(x.device.type, enabled=False):  # `low` is what x has; the rest is to stay exact
        outputs = _RecurrentAttention.apply(spec, *given.flat())
    return Targets(*outputs)


class _Given(NamedTuple):
    """The tensors of `recurrent_attention`, or their gradients; autograd wants them side by side, `flat`."""

    x: Tensor
    keys: Tensor
    h: Tensor
    mask: Tensor | None  # it has no gradient
    W_a: Tensor | None
    v_a: Tensor | None
    s_0: Tensor
    cell_0: Tensor | None
    W_c: Tensor | None
    b_c: Tensor | None
    dropout: Tensor | None
    layers: tuple[Tensor | None, ...]  # W and b of each

    def flat(self) -> tuple[Tensor | None, ...]:
        return (*self[:-1], *self.layers)

    @classmethod
    def of(cls, flat: tuple[Tensor, ...]) -> "_Given":
        """The inverse of `flat`."""
        count = len(cls._fields) - 1
        return cls._make((*flat[:count], flat[count:]))


class _Spec(NamedTuple):
    cell: str
    scale: float
    depth: int
    feeding: bool
    tanh: bool  # of the readout


@dataclass
class _Tape:
    """Everything a forward pass leaves for the backward pass."""

    spec: _Spec
    low: torch.dtype
    real: torch.dtype
    keys: Tensor  # [B, S, A], low like all that follows but v_a
    h: Tensor
    mask: Tensor
    W_a: Tensor | None
    v_a: Tensor | None
    W_c: Tensor | None
    W: list[Tensor]
    dropout: Tensor | None
    inputs: list[Tensor]  # a layer each [T + 1, B, I + D]: what its product reads
    cells: list[Tensor]  # a layer each [T + 1, B, D]
    gates: list[Tensor]  # a layer each [T, B, 4 D]
    alpha: Tensor  # [T, B, S]
    queries: Tensor  # [T, B, A], where W_a is
    joined: Tensor  # [T, B, D + M]: [s_t; c_t] of input feeding
    readouts: Tensor = field(default_factory=lambda: torch.empty(0))  # [T, B, R]

    @property
    def size(self) -> int:
        return self.cells[0].shape[-1]

    def state(self, layer: int, t: int) -> Tensor:
        """A layer's h_{t-1} [B, D], in the buffer that the product of step t reads."""
        return self.inputs[layer][t][:, -self.size :]

    def query(self, t: int) -> Tensor:
        """What attention compares with the keys at step t [B, A]."""
        return self.queries[t] if self.W_a is not None else self.attending_state(t)

    def attending_state(self, t: int) -> Tensor:
        """The state that attends at step t [B, D]."""
        return self.joined[t][:, : self.size] if self.spec.feeding else self.state(-1, t)


class _RecurrentAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spec: _Spec, *flat: Tensor) -> tuple[Tensor, ...]:
        given = _Given.of(flat)
        tape, x = _tape(spec, given), given.x.contiguous()
        zero = torch.zeros_like(x[0])
        biases = [None, *(b.to(tape.low) for b in given.layers[3::2] if b is not None)]  # the first is in x already
        b = None if given.b_c is None else given.b_c.to(tape.low)
        for t in range(len(x)):
            if not spec.feeding:
                _attend(tape, t, tape.inputs[0][t][:, : tape.h.shape[2]])
            for i in range(spec.depth):
                _recur(tape, i, t, x[t] if i == 0 else zero, biases[i])
            if tape.W_c is not None and b is not None:
                _attend(tape, t, tape.joined[t][:, tape.size :])
                r = torch.addmm(b, tape.joined[t], tape.W_c.T)
                r = r.tanh_() if spec.tanh else r
                tape.readouts[t] = r
                tape.inputs[0][t + 1][:, : r.shape[1]] = r
        ctx.tape = tape
        ctx.types = {name: part.dtype for name, part in given._asdict().items() if isinstance(part, Tensor)}
        s = tape.inputs[-1][:, :, -tape.size :].contiguous()
        c = tape.inputs[0][:-1, :, : tape.h.shape[2]].contiguous() if not spec.feeding else x.new_empty(0)
        # What is returned will know this node, so the tape keeps other tensors on that memory, or none would be freed.
        readouts, alpha = tape.readouts.detach(), tape.alpha.detach()
        ctx.mark_non_differentiable(alpha)
        return s, c, readouts, alpha

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        tape: _Tape = ctx.tape
        types, real = ctx.types, tape.real
        back = _Gradients(tape, *(g.to(tape.low).contiguous() for g in grads[:3]))
        for t in reversed(range(len(tape.alpha))):
            back.step(t)
        d_layers: list[Tensor | None] = []
        for i, d in enumerate(back.d_gates):
            rows = d.flatten(0, 1)  # [T B, 4 D]
            d_layers.append((rows.T @ tape.inputs[i][:-1].flatten(0, 1)).to(real))
            d_layers.append(rows.sum(0, dtype=real) if i else None)
        d_h = tape.alpha.permute(1, 2, 0).to(tape.low) @ back.d_c.transpose(0, 1)  # [B, S, M]
        d_cells = torch.stack(back.d_cells, 1)  # [B, L, D]
        d_s = torch.stack([back.carry[i].to(real) for i in range(tape.spec.depth)], 1)
        if tape.spec.cell == "gru":
            d_s = d_s + d_cells
        d_W_a = d_v = d_W_c = d_b = None
        if tape.W_a is not None:
            states = tape.joined[:, :, : tape.size] if tape.spec.feeding else tape.inputs[-1][:-1, :, -tape.size :]
            d_W_a = (back.d_queries.flatten(0, 1).T @ states.flatten(0, 1)).to(real)
        if tape.v_a is not None:
            d_v = back.d_v.sum(0)
        if tape.W_c is not None:
            rows = back.d_readouts.flatten(0, 1)  # [T B, R]
            d_W_c, d_b = (rows.T @ tape.joined.flatten(0, 1)).to(real), rows.sum(0, dtype=real)
        gradients = _Given(
            x=back.d_gates[0], keys=back.d_keys.to(types["keys"]), h=d_h.to(types["h"]), mask=None, W_a=d_W_a, v_a=d_v,
            s_0=d_s.to(types["s_0"]), cell_0=d_cells.to(types["cell_0"]) if "cell_0" in types else None,
            W_c=d_W_c, b_c=d_b, dropout=None, layers=tuple(d_layers),
        )  # fmt: skip
        return None, *gradients.flat()  # None: `spec`


def _tape(spec: _Spec, given: _Given) -> _Tape:
    """Buffers of a whole pass, their first places filled."""
    x, keys, h, mask, W_a, v_a, s_0, cell_0, W_c, _b_c, dropout, layers = given
    assert mask is not None and layers[0] is not None
    (T, B, _), (S, M), D = x.shape, h.shape[1:], s_0.shape[2]
    low, real = x.dtype, layers[0].dtype
    W = [w.to(low) for w in layers[::2] if w is not None]
    inputs = [x.new_empty(T + 1, B, w.shape[1]) for w in W]
    cells = [x.new_empty(T + 1, B, D, dtype=real) for _ in W]
    inputs[0][0].zero_()  # what is fed at the first step of input feeding
    for i in range(spec.depth):
        inputs[i][0][:, -D:] = s_0[:, i]
        cells[i][0] = (s_0 if cell_0 is None else cell_0)[:, i]
    return _Tape(
        spec, low, real, keys.to(low).contiguous(), h.to(low).contiguous(), mask.contiguous(),
        None if W_a is None else W_a.to(low), None if v_a is None else v_a.contiguous(),
        None if W_c is None else W_c.to(low), W, dropout, inputs, cells,
        gates=[x.new_empty(T, B, 4 * D, dtype=real) for _ in W],
        alpha=x.new_empty(T, B, S, dtype=real),
        queries=x.new_empty(T, B, keys.shape[2]) if W_a is not None else x.new_empty(0),
        joined=x.new_empty(T, B, D + M) if spec.feeding else x.new_empty(0),
        readouts=x.new_empty(T, B, W_c.shape[0]) if W_c is not None else x.new_empty(0),
    )  # fmt: skip


def _attend(tape: _Tape, t: int, c: Tensor) -> None:
    """Write c_t and alpha_t."""
    if tape.W_a is not None:
        torch.mm(tape.attending_state(t), tape.W_a.T, out=tape.queries[t])
    attend_forward(tape.query(t), tape.keys, tape.v_a, tape.spec.scale, tape.h, tape.mask, tape.alpha[t], c)


def _recur(tape: _Tape, i: int, t: int, x: Tensor, b: Tensor | None) -> None:
    """Write layer i's state at step t, and hand its output on."""
    X, W = tape.inputs[i][t], tape.W[i]
    u = X @ W.T if b is None else torch.addmm(b, X, W.T)  # [B, 4 D]
    s = tape.state(i, t + 1)
    cell_forward(tape.spec.cell, x, u, tape.cells[i][t], tape.gates[i][t], tape.cells[i][t + 1], s)
    top = i + 1 == tape.spec.depth
    if top and not tape.spec.feeding:
        return
    output = s if tape.dropout is None else s * tape.dropout[i, t]
    (tape.joined[t] if top else tape.inputs[i + 1][t])[:, : tape.size] = output


class _Gradients:
    """The backward pass, a step at a time from the last."""

    def __init__(self, tape: _Tape, d_s: Tensor, d_c: Tensor, d_readouts: Tensor) -> None:
        self.tape = tape
        T, B, S = tape.alpha.shape
        D, M, A = tape.size, tape.h.shape[2], tape.keys.shape[2]
        new = tape.inputs[0].new_empty
        self.output_d_s, self.output_d_c, self.output_d_readouts = d_s, d_c, d_readouts
        self.d_gates = [new(T, B, 4 * D) for _ in tape.W]
        self.d_inputs = [new(B, w.shape[1]) for w in tape.W]
        self.d_inputs[0].zero_()
        self.d_cells = [new(B, D, dtype=tape.real).zero_() for _ in tape.W]
        self.carry = [new(B, D).zero_() for _ in tape.W]  # what step t + 1 sends to h_t of each layer
        self.d_joined = new(T, B, D + M) if tape.spec.feeding else new(0)
        self.d_readouts = new(T, B, tape.readouts.shape[2]) if tape.spec.feeding else new(0)
        self.d_c = self.d_joined[:, :, D:] if tape.spec.feeding else new(T, B, M)
        self.d_queries = new(T, B, A)
        self.d_keys = new(B, S, A, dtype=tape.real).zero_()
        self.d_v = new(B, A, dtype=tape.real).zero_()

    def step(self, t: int) -> None:
        tape = self.tape
        if tape.spec.feeding:
            self.carry[-1] = self.carry[-1] + self.output_d_s[t + 1]
            self.layers(t, self.fed(t))
        else:
            self.layers(t, self.output_d_s[t + 1])
        if t == 0:
            self.carry[-1] = self.carry[-1] + self.output_d_s[0]
        if tape.spec.feeding:
            return
        M = tape.h.shape[2]
        torch.add(self.output_d_c[t], self.d_inputs[0][:, :M], out=self.d_c[t])
        self.carry[-1] = self.carry[-1] + self.attended(t)

    def fed(self, t: int) -> Tensor:
        """Input feeding: through r_t and the attention to the gradient of s_t [B, D]."""
        tape, r = self.tape, self.tape.readouts[t]
        assert tape.W_c is not None
        d_r = torch.add(self.output_d_readouts[t], self.d_inputs[0][:, : r.shape[1]], out=self.d_readouts[t])
        if tape.spec.tanh:
            d_r.mul_(1 - r * r)
        torch.mm(self.d_readouts[t], tape.W_c, out=self.d_joined[t])
        return self.d_joined[t][:, : tape.size] + self.attended(t)

    def attended(self, t: int) -> Tensor:
        """Through c_t to the gradient of the state that attended [B, D]."""
        tape, d_q = self.tape, self.d_queries[t]
        attend_backward(
            tape.query(t), tape.keys, tape.v_a, tape.spec.scale, tape.h, tape.mask, tape.alpha[t], self.d_c[t],
            d_q, self.d_keys, self.d_v,
        )  # fmt: skip
        return d_q if tape.W_a is None else d_q @ tape.W_a

    def layers(self, t: int, d_top: Tensor) -> None:
        """From the gradient of the top output [B, D] to those of all that step t read."""
        tape = self.tape
        for i in reversed(range(tape.spec.depth)):
            if tape.dropout is not None and (tape.spec.feeding or i + 1 < tape.spec.depth):
                d_top = d_top * tape.dropout[i, t]
            cell_backward(
                tape.spec.cell, tape.gates[i][t], tape.cells[i][t], tape.cells[i][t + 1], d_top, self.carry[i],
                self.d_cells[i], self.d_gates[i][t],
            )  # fmt: skip
            torch.mm(self.d_gates[i][t], tape.W[i], out=self.d_inputs[i])
            d_top, self.carry[i] = self.d_inputs[i].split([tape.W[i].shape[1] - tape.size, tape.size], 1)
