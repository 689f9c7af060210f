"""One position of a recurrent layer as a piece of a graph; the equations of `nn.layers` and `nn.sru`.

Shapes: N rows, I input size, H units, G gates.
"""

from typing import NamedTuple

import numpy as np

from antiphon.config.sections import Model
from antiphon.config.shapes import shapes
from antiphon.export.graph import Array, Graph, known

CellState = tuple[str, ...]  # names of h and, where the cell has one, of c, each [N, H]

# PyTorch's rows of the LSTM's gates, i, f, g, o, as i, f, o, g: the three that go through one sigmoid side by side.
LSTM_ORDER = (0, 1, 3, 2)


class Layer(NamedTuple):
    """A recurrent layer in one direction."""

    name: str  # of its weights, such as decoder.stack.layers.0
    cell: str
    parts: tuple[str, ...]  # what the parts of its state are called
    normalised: bool  # whether its gates are layer-normalised


def layer(m: Model, name: str) -> Layer:
    """The layer of a model that has this name.

    Raises:
        UserError: its cell or its layer normalisation cannot be exported.
    """
    known(CELLS, m.cell, "model.cell")
    return Layer(name, m.cell, shapes(m).state, known(NORMALISED_GATES, m.layer_norm, "model.layer_norm"))


def step(g: Graph, layer: Layer, x: str, state: CellState) -> CellState:
    """Read one position: x [N, I] and the state before it -> the state after it."""
    if layer.cell == "lstm" and not layer.normalised:
        return _joint_lstm(g, layer, x, state)
    return update(g, layer, input_share(g, layer, x), state)


def input_share(g: Graph, layer: Layer, x: str) -> str:
    """W x + b of all gates: x [N, I] -> [N, G H]."""
    return _share(g, layer, "ih", x)


def update(g: Graph, layer: Layer, from_x: str, state: CellState) -> CellState:
    """The state after a position, from the input's share of the gates [N, G H] and the state before."""
    return CELLS[layer.cell](g, layer, from_x, state)


def _lstm(g: Graph, layer: Layer, from_x: str, state: CellState) -> CellState:
    h, c = state
    gates = g.op("Add", from_x, _share(g, layer, "hh", h))
    return _lstm_of_gates(g, gates, c, len(g.weights[f"{layer.name}.bias_hh"]) // 4, f"{layer.name}.norm_c")


def _joint_lstm(g: Graph, layer: Layer, x: str, state: CellState) -> CellState:
    """The LSTM with one product over [x; h], which is quicker than two."""
    h, c = state
    weight = np.concatenate([g.weights[f"{layer.name}.weight_ih"], g.weights[f"{layer.name}.weight_hh"]], 1)
    bias = g.weights[f"{layer.name}.bias_ih"] + g.weights[f"{layer.name}.bias_hh"]
    gates = g.product(g.concat(x, h), f"{layer.name}.weight", _ordered(layer, weight), _ordered(layer, bias))
    return _lstm_of_gates(g, gates, c, len(bias) // 4)


def _lstm_of_gates(g: Graph, gates: str, c: str, H: int, norm: str = "") -> CellState:
    """c_t = f c_{t-1} + i g and h_t = o tanh(c_t), from the summed gates i, f, o, g [N, 4 H]."""
    three, new = g.ops("Split", 2, gates, g.ints(3 * H, H), axis=-1)
    i, f, o = g.ops("Split", 3, g.op("Sigmoid", three), axis=-1)
    c = g.op("Add", g.op("Mul", f, c), g.op("Mul", i, g.op("Tanh", new)))
    return g.op("Mul", o, g.op("Tanh", g.norm(c, norm) if norm else c)), c


def _gru(g: Graph, layer: Layer, from_x: str, state: CellState) -> CellState:
    """h_t = n + z (h_{t-1} - n), which is (1 - z) n + z h_{t-1}."""
    (h,) = state
    from_h = _share(g, layer, "hh", h)
    (xr, xz, xn), (hr, hz, hn) = (g.ops("Split", 3, share, axis=-1) for share in (from_x, from_h))
    r = g.op("Sigmoid", g.op("Add", xr, hr))
    z = g.op("Sigmoid", g.op("Add", xz, hz))
    n = g.op("Tanh", g.op("Add", xn, g.op("Mul", r, hn)))
    return (g.op("Add", n, g.op("Mul", z, g.op("Sub", h, n))),)


def _sru(g: Graph, layer: Layer, from_x: str, state: CellState) -> CellState:
    """c_t = u + f (c_{t-1} - u) and h_t = r tanh(c_t); f and r see c_{t-1} by the vectors v alone."""
    c, v = state[1], g.weights[f"{layer.name}.v"]  # [2 H]
    H = len(v) // 2
    u, gates = g.ops("Split", 2, from_x, g.ints(H, 2 * H), axis=-1)
    gates = g.op("Add", gates, g.op("Mul", g.concat(c, c), g.constant(v)))
    f, r = g.ops("Split", 2, g.op("Sigmoid", gates), axis=-1)
    c = g.op("Add", u, g.op("Mul", f, g.op("Sub", c, u)))
    return g.op("Mul", r, g.op("Tanh", c)), c


def _share(g: Graph, layer: Layer, side: str, x: str) -> str:
    """The share of x ("ih") or of h ("hh") [N, ..] in the gates [N, G H], normalised where they are."""
    weight, bias = (_ordered(layer, g.weights[f"{layer.name}.{part}_{side}"]) for part in ("weight", "bias"))
    if not layer.normalised:
        return g.product(x, f"{layer.name}.weight_{side}", weight, bias)
    scale, shift = (_ordered(layer, g.weights[f"{layer.name}.norm_{side}.{part}"]) for part in ("weight", "bias"))
    rows = g.product(x, f"{layer.name}.weight_{side}", weight, None)
    return g.normalised(rows, g.constant(scale), g.constant(shift + bias))


def _ordered(layer: Layer, weight: Array) -> Array:
    """A weight whose gates stand in the order that `_lstm_of_gates` splits them in."""
    if layer.cell != "lstm":
        return weight
    return np.ascontiguousarray(weight.reshape(4, -1, *weight.shape[1:])[list(LSTM_ORDER)].reshape(weight.shape))


CELLS = {"lstm": _lstm, "gru": _gru, "sru": _sru}
NORMALISED_GATES = {"none": False, "output": False, "gates": True}
