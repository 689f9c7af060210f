"""One step of the decoder as an ONNX graph; see `nn.decoder`. The search stays outside.

Shapes: B sentences, S source pieces, K hypotheses a sentence, N = B K rows, k best next pieces, E embedding, I input
size, D decoder state, C context, R readout.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx

from antiphon.config.sections import Model
from antiphon.config.shapes import shapes
from antiphon.export import attention, cells, output
from antiphon.export.attention import attend
from antiphon.export.border import Memory, State, state_sizes
from antiphon.export.cells import CellState
from antiphon.export.graph import FLOAT, INT, Graph, Weights, known


class Decoded(NamedTuple):
    """What a step of the decoder makes: names of values."""

    readout: str  # r_t [N, R]
    state: State
    alpha: str = ""  # [B, K, S], where there is attention


class Stacked(NamedTuple):
    """What some recurrent layers make of one position: names of values."""

    s: str  # [N, D]  the top layer's output
    layers: tuple[CellState, ...]


def step(m: Model, weights: Weights, int8: bool, shortlist: bool = False) -> onnx.ModelProto:
    """Write the graph of one step.

    Inputs: `tokens` and `rows` [N], where row n continues row rows[n] of the state; `ask` [N, 1]; `k` [1];
    `memory.*`, `state.*`. Outputs: `scores` and `ids` [N, k], `asked` [N, 1], with attention `attention` [B, K, S],
    `next.*`. With a shortlist also `words.*` go in, and if they are not empty, `ids` and `ask` count the pieces in
    `allowed`, and p is over these alone.

    Args:
        m, weights, int8, shortlist: as for `encoder`.

    Raises:
        UserError: an option has a value that this module cannot write.
    """
    g = Graph(weights, int8, m.layer_norm_epsilon)
    decoder = known(DECODERS, m.decoder, "model.decoder")
    tokens, rows = g.input("tokens", INT, "N"), g.input("rows", INT, "N")
    query = output.Query(g.input("k", INT, 1), g.input("ask", INT, "N", 1))
    ports = attention.memory_ports(m)
    memory = Memory(**{name: g.input(f"memory.{name}", port.kind, *port.shape) for name, port in ports.items()})
    parts, sizes = shapes(m).state, state_sizes(m)
    named = {
        name: g.op("Gather", g.input(f"state.{name}", FLOAT, "before", size), rows) for name, size in sizes.items()
    }
    state = State.of(named, parts, m.decoder_layers)
    decoded = decoder(g, m, g.embed("target_embedding.weight", tokens), state, memory)
    after = decoded.state.named(parts)
    for name, size in sizes.items():
        g.output(f"next.{name}", after[name], FLOAT, "N", size)
    output.write_best(g, m, decoded.readout, decoded.alpha, memory.ids, query, shortlist)
    if decoded.alpha:
        g.output("attention", decoded.alpha, FLOAT, "B", "K", "S")
    return g.model()


def _initial(g: Graph, m: Model, y: str, state: State, memory: Memory) -> Decoded:
    """s_t = f(y_{t-1}, s_{t-1}) (Sutskever 2014)."""
    s, layers = _stack(g, m, "decoder.stack", y, state.layers)
    return Decoded(_readout(g, m, s, "", y), state._replace(layers=layers))


def _context(g: Graph, m: Model, y: str, state: State, memory: Memory) -> Decoded:
    """s_t = f(y_{t-1}, s_{t-1}, c) (Cho 2014, section 2.2)."""
    c = _for_each_hypothesis(g, memory.c, y, shapes(m).context)
    s, layers = _stack(g, m, "decoder.stack", g.concat(y, c), state.layers)
    return Decoded(_readout(g, m, s, c, y), state._replace(layers=layers))


def _bahdanau(g: Graph, m: Model, y: str, state: State, memory: Memory) -> Decoded:
    """c_t = attend(s_{t-1}), then s_t = f(y_{t-1}, s_{t-1}, c_t) (Bahdanau 2015, A.2.2)."""
    s_before = state.layers[-1][0]
    attended = attend(g, m, s_before, memory, state.coverage)
    s, layers = _stack(g, m, "decoder.stack", g.concat(y, attended.c), state.layers)
    r = _readout(g, m, s_before if m.readout == "maxout" else s, attended.c, y)
    return Decoded(r, state._replace(layers=layers, coverage=attended.coverage), attended.alpha)


def _input_feeding(g: Graph, m: Model, y: str, state: State, memory: Memory) -> Decoded:
    """s_t = f([y_{t-1}; r_{t-1}], s_{t-1}), c_t = attend(s_t), r_t = readout(s_t, c_t) (Luong 2015, section 3.3)."""
    s, layers = _stack(g, m, "decoder.stack", g.concat(y, state.feed), state.layers)
    attended = attend(g, m, s, memory, state.coverage)
    r = _readout(g, m, s, attended.c, y)
    return Decoded(r, State(layers, feed=r, coverage=attended.coverage), attended.alpha)


def _over_outputs(g: Graph, m: Model, y: str, state: State, memory: Memory) -> Decoded:
    """s_t = f(y_{t-1}, s_{t-1}), then c_t = attend(s_t) (Luong 2015 without input feeding)."""
    s, layers = _stack(g, m, "decoder.stack", y, state.layers)
    attended = attend(g, m, s, memory)
    return Decoded(_readout(g, m, s, attended.c, y), state._replace(layers=layers), attended.alpha)


def _between(g: Graph, m: Model, y: str, state: State, memory: Memory) -> Decoded:
    """Attend with the lower layers' output s; the layers above it read [s; c_t]."""
    below = shapes(m).below
    s, lower = _stack(g, m, "decoder.stack", y, state.layers[:below])
    attended = attend(g, m, s, memory)
    s, upper = _stack(g, m, "decoder.upper", g.concat(s, attended.c), state.layers[below:])
    return Decoded(_readout(g, m, s, attended.c, y), state._replace(layers=lower + upper), attended.alpha)


def _stack(g: Graph, m: Model, name: str, x: str, before: Sequence[CellState]) -> Stacked:
    """Run recurrent layers by one position: x [N, I] and their states before it."""
    after = []
    for i, state in enumerate(before):
        layer = cells.layer(m, f"{name}.layers.{i}")
        state = cells.step(g, layer, x, state)
        y = g.norm(state[0], f"{name}.norms.{i}") if m.layer_norm == "output" else state[0]
        same = g.weights[f"{layer.name}.weight_ih"].shape[1] == m.decoder_hidden
        x = g.op("Add", x, y) if m.residual and same else y
        after.append(state)
    return Stacked(x, tuple(after))


def _for_each_hypothesis(g: Graph, c: str, y: str, size: int) -> str:
    """The source's one vector for each row of y [N, E]: c [B, C] -> [N, C]."""
    N, B = g.op("Shape", y, end=1), g.op("Shape", c, end=1)
    shape = g.op("Concat", B, g.op("Div", N, B), g.ints(size), axis=0)  # [B, K, C]
    return g.reshape(g.op("Expand", g.op("Unsqueeze", c, g.ints(1)), shape), -1, size)


def _readout(g: Graph, m: Model, s: str, c: str, y: str) -> str:
    """r_t [N, R], which the output layer reads, of the state s [N, D], its context c [N, C] or '', and y [N, E]."""
    return known(READOUTS, m.readout, "model.readout")(g, m, s, c, y)


def _linear(g: Graph, m: Model, s: str, c: str, y: str) -> str:
    """W [s_t; c_t], or s_t itself where it has the size that is asked for."""
    size = shapes(m)
    joined = _joined(g, s, c)
    return joined if m.decoder_hidden + size.context == size.readout else g.linear(joined, READOUT)


def _tanh(g: Graph, m: Model, s: str, c: str, y: str) -> str:
    """tanh(W_c [c_t; s_t]) (Luong 2015, eq. 5)."""
    return g.op("Tanh", g.linear(_joined(g, s, c), READOUT))


def _maxout(g: Graph, m: Model, s: str, c: str, y: str) -> str:
    """The larger of each pair of U_o s + V_o E y_{t-1} + C_o c_t (Bahdanau 2015, A.2.2)."""
    weight, bias = (g.weights[f"{READOUT}.{part}"] for part in ("weight", "bias"))
    halves = [np.concatenate([rows[::2], rows[1::2]]) for rows in (weight, bias)]
    t = g.product(g.concat(_joined(g, s, c), y), READOUT, *halves)
    return g.op("Max", *g.ops("Split", 2, t, axis=-1))


def _residual(g: Graph, m: Model, s: str, c: str, y: str) -> str:
    """Layer normalisation of s_t + c_t (TensorFlow's tutorial)."""
    return g.norm(g.op("Add", s, c) if c else s, READOUT)


def _joined(g: Graph, s: str, c: str) -> str:
    return g.concat(s, c) if c else s


READOUT = "decoder.readout.out"  # the readout's weights
READOUTS = {"linear": _linear, "tanh": _tanh, "maxout": _maxout, "residual": _residual}
DECODERS = {
    "initial": _initial,
    "context": _context,
    "bahdanau": _bahdanau,
    "input_feeding": _input_feeding,
    "over_outputs": _over_outputs,
    "between": _between,
}
