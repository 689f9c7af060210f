"""A recurrent layer of the encoder as a piece of a graph: over whole sequences, in one direction or two.

Shapes: S source pieces, B sentences, I input size, H units a direction, R directions, G gates. Time comes first, as
ONNX's recurrent operators have it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto

from antiphon.export.cells import CellState, Layer, input_share, update
from antiphon.export.graph import FLOAT, MICROSOFT, Array, Graph, quantised

# PyTorch's rows of the gates in ONNX's order: i, f, g, o as i, o, f, g, and r, z, n as z, r, n.
ONNX_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}


class Source(NamedTuple):
    """What the encoder reads: names of values."""

    ids: str  # [B, S]
    real: str  # [B, S]  True on real pieces
    real_by_time: str  # [S, B, 1]
    lengths: str  # [B]


class Read(NamedTuple):
    """What a layer made of a sequence: names of values."""

    y: str  # [S, R, B, H]  outputs; on padding they mean nothing
    last: CellState  # [R, B, H] each


def run(g: Graph, directions: Sequence[Layer], x: str, source: Source, H: int) -> Read:
    """Run a layer over x [S, B, I]; `directions`: the forward one and, where there is one, the backward one."""
    if directions[0].normalised or directions[0].cell not in ONNX_ORDER:
        return _scanned(g, directions, x, source, H)
    return (_lstm if directions[0].cell == "lstm" else _gru)(g, directions, x, source, H)


def _lstm(g: Graph, directions: Sequence[Layer], x: str, source: Source, H: int) -> Read:
    """ONNX's LSTM; in int8 that of ONNX Runtime."""
    w, u, biases = _weights(g, directions)
    b, options = g.constant(biases), _options(directions, H)
    if not g.int8:
        y, *last = g.ops("LSTM", 3, x, g.constant(w), g.constant(u), b, source.lengths, **options)
        return Read(y, tuple(last))
    (w, w_scale), (u, u_scale) = quantised(w), quantised(u)
    scales = [g.constant(part) for s in (w_scale, u_scale) for part in (s, np.zeros(s.shape, np.int8))]
    matrices = [g.constant(part.transpose(0, 2, 1)) for part in (w, u)]
    inputs = [x, *matrices, b, source.lengths, "", "", "", *scales]
    y, *last = g.ops("DynamicQuantizeLSTM", 3, *inputs, domain=MICROSOFT, **options)
    return Read(y, tuple(last))


def _gru(g: Graph, directions: Sequence[Layer], x: str, source: Source, H: int) -> Read:
    """ONNX's GRU, which no runtime has in int8."""
    w, u, biases = _weights(g, directions)
    b = g.constant(biases)
    inputs = [x, g.constant(w), g.constant(u), b, source.lengths]
    y, h = g.ops("GRU", 2, *inputs, linear_before_reset=1, **_options(directions, H))
    return Read(y, (h,))


def _options(directions: Sequence[Layer], H: int) -> dict[str, Any]:
    return {"hidden_size": H, "direction": "bidirectional" if len(directions) == 2 else "forward"}


def _weights(g: Graph, directions: Sequence[Layer]) -> tuple[Array, Array, Array]:
    """W [R, G H, I], U [R, G H, H] and both biases side by side [R, 2 G H], their gates in ONNX's order."""
    order = list(ONNX_ORDER[directions[0].cell])

    def stacked(name: str) -> Array:
        parts = [g.weights[f"{layer.name}.{name}"] for layer in directions]
        return np.stack([p.reshape(len(order), -1, *p.shape[1:])[order].reshape(p.shape) for p in parts])

    biases = np.concatenate([stacked("bias_ih"), stacked("bias_hh")], 1)
    return stacked("weight_ih"), stacked("weight_hh"), biases


def _scanned(g: Graph, directions: Sequence[Layer], x: str, source: Source, H: int) -> Read:
    """Cells that no operator has (SRU, normalised gates) by a loop inside the graph."""
    outputs: list[str] = []
    states: list[list[str]] = []
    for backward, layer in enumerate(directions):
        y, *last = _scan(g, layer, x, source, H, backward)
        outputs.append(g.op("Unsqueeze", y, g.ints(1)))
        states.append([g.op("Unsqueeze", part, g.ints(0)) for part in last])
    y = g.op("Concat", *outputs, axis=1)
    return Read(y, tuple(g.op("Concat", *parts, axis=0) for parts in zip(*states, strict=True)))


def _scan(g: Graph, layer: Layer, x: str, source: Source, H: int, backward: int) -> list[str]:
    """One direction over x [S, B, I]: outputs [S, B, H] and the last state, parts [B, H]."""
    rows, inputs = g.weights[f"{layer.name}.weight_ih"].shape  # G H, I
    from_x = g.unflattened(input_share(g, layer, g.reshape(x, -1, inputs)), x)  # [S, B, G H]
    body = Graph(g.weights, g.int8, g.epsilon, f"{layer.name}.")
    before = tuple(body.input(f"{layer.name}.before.{part}", FLOAT, "B", H) for part in layer.parts)
    share = body.input(f"{layer.name}.x", FLOAT, "B", rows)
    real = body.input(f"{layer.name}.real", TensorProto.BOOL, "B", 1)
    after = update(body, layer, share, before)
    kept = [body.op("Where", real, new, old) for new, old in zip(after, before, strict=True)]  # padding changes nothing
    for name, value in zip([*layer.parts, "y"], [*kept, kept[0]], strict=True):
        body.output(f"{layer.name}.after.{name}", value, FLOAT, "B", H)
    zeros = [g.zeros(source.lengths, H) for _ in layer.parts]
    *last, y = g.ops(
        "Scan", len(layer.parts) + 1, *zeros, from_x, source.real_by_time,
        body=body.finished("cell"), num_scan_inputs=2,
        scan_input_directions=[backward] * 2, scan_output_directions=[backward],
    )  # fmt: skip
    return [y, *last]
