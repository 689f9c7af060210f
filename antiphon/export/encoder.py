"""The encoder as an ONNX graph: sources -> `memory.*` and the decoder's first `state.*`; see `nn.encoder`.

Shapes: B sentences, S source pieces, E embedding, H encoder units a direction, R directions, M size of an
encoder state, D decoder state, W pieces on a shortlist. Inside the encoder time comes first, [S, B, ..], as ONNX's
recurrent operators have it.
"""

from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto

from antiphon.config.kinds import CELLS
from antiphon.config.sections import Model
from antiphon.config.shapes import shapes
from antiphon.data.tokenizer import PAD
from antiphon.export import attention, cells, output, sequence
from antiphon.export.border import Memory, State, state_sizes
from antiphon.export.cells import CellState
from antiphon.export.graph import FLOAT, INT, Graph, Weights, known
from antiphon.export.sequence import Source


class Encoded(NamedTuple):
    """What the recurrent layers leave: names of values."""

    h: str  # [S, B, M]
    last: list[CellState]  # each layer's last state, parts [R, B, H]


def encoder(m: Model, weights: Weights, int8: bool, shortlist: bool = False) -> onnx.ModelProto:
    """Write the encoder's graph.

    Args:
        m: the `[model]` section.
        weights: by the names of the model's parameters, tied ones under each of their names.
        int8: keep matrices in int8, row by row, and multiply in int8; the GRU, for which ONNX Runtime has no such
            operator, stays as it is.
        shortlist: also select from the output layer what belongs to the pieces `allowed` [W], as `words.*`.

    Raises:
        UserError: an option has a value that this module cannot write.
    """
    g = Graph(weights, int8, m.layer_norm_epsilon)
    source = _source(g)
    encoded = _layers(g, m, source, g.embed("source_embedding.weight", g.op("Transpose", source.ids)))
    memory, ports = _memory(g, m, source, encoded)._asdict(), attention.memory_ports(m)
    for name, port in ports.items():
        g.output(f"memory.{name}", memory[name], port.kind, *port.shape)
    state, sizes = _first_state(g, m, source, encoded.last).named(shapes(m).state), state_sizes(m)
    for name, size in sizes.items():
        g.output(f"state.{name}", state[name], FLOAT, "B", size)
    if shortlist:
        output.write_words(g)
    return g.model()


def _source(g: Graph) -> Source:
    ids = g.input("sources", INT, "B", "S")
    real = g.op("Not", g.op("Equal", ids, g.constant(np.array(PAD), "PAD")))
    by_time = g.op("Unsqueeze", g.op("Transpose", real), g.ints(2))
    lengths = g.op("ReduceSum", g.op("Cast", real, to=TensorProto.INT32), g.ints(1), keepdims=0)
    return Source(ids, real, by_time, lengths)


def _layers(g: Graph, m: Model, source: Source, x: str) -> Encoded:
    """Run the recurrent layers over embeddings x [S, B, E]."""
    size = shapes(m)
    merge = known(MERGES, m.merge, "model.merge")
    x, inputs = _reversed(g, m, source, x), m.embedding
    last = []
    for i in range(m.encoder_layers):
        directions = [cells.layer(m, f"encoder.layers.{i}.{d}") for d in range(size.directions)]
        read = sequence.run(g, directions, x, source, m.encoder_hidden)
        y = merge(g, read.y)  # [S, B, M]
        if m.layer_norm == "output":
            y = g.norm(y, f"encoder.norms.{i}")
        x = g.op("Add", x, y) if m.residual and inputs == size.memory else y
        inputs = size.memory
        last.append(read.last)
    return Encoded(_reversed(g, m, source, x), last)


def _reversed(g: Graph, m: Model, source: Source, x: str) -> str:
    """x [S, B, ..] with each row's pieces in reverse, its EOS where it was, if the source is read backwards."""
    if not m.reverse_source:
        return x
    pieces = g.op("Sub", g.op("Cast", source.lengths, to=INT), g.constant(np.array(1), "one"))
    return g.op("ReverseSequence", x, pieces, time_axis=0, batch_axis=1)


def _concatenated(g: Graph, y: str) -> str:
    return g.reshape(g.op("Transpose", y, perm=[0, 2, 1, 3]), 0, 0, -1)


def _summed(g: Graph, y: str) -> str:
    return g.op("ReduceSum", y, g.ints(1), keepdims=0)


def _memory(g: Graph, m: Model, source: Source, encoded: Encoded) -> Memory:
    """What the decoder reads of the source at each step."""
    size = shapes(m)
    if not size.attends:
        return Memory(c=_summary(g, m, encoded) if size.context else "")
    h, keys = attention.prepare(g, m, g.op("Transpose", encoded.h, perm=[1, 0, 2]))
    mask = attention.mask(g, source.real)
    return Memory(mask, g.op("Identity", source.ids) if m.copy_source else "", h, keys)


def _summary(g: Graph, m: Model, encoded: Encoded) -> str:
    """c = tanh(V h_S), the whole source as one vector (Cho 2014, section 2.2). [B, C]"""
    return g.op("Tanh", g.linear(_joined(g, m, encoded.last[-1][0]), "summary"))


def _first_state(g: Graph, m: Model, source: Source, last: list[CellState]) -> State:
    """The decoder's state before the first piece, from the encoder's last one; see `nn.decoder.Bridge`."""
    bridge = known(BRIDGES, m.bridge, "model.bridge")
    # Top layer to top layer, as there.
    layers = tuple(
        bridge(g, m, source, i, last[max(0, i + len(last) - m.decoder_layers)]) for i in range(m.decoder_layers)
    )
    sizes = state_sizes(m)
    feed = g.zeros(source.lengths, shapes(m).readout) if "feed" in sizes else ""
    coverage = g.op("ConstantOfShape", g.op("Shape", source.ids)) if "coverage" in sizes else ""
    return State(layers, feed, coverage)


def _zero_bridge(g: Graph, m: Model, source: Source, i: int, last: CellState) -> CellState:
    return tuple(g.zeros(source.lengths, m.decoder_hidden) for _ in last)


def _last_bridge(g: Graph, m: Model, source: Source, i: int, last: CellState) -> CellState:
    return tuple(_joined(g, m, part) for part in last)


def _dense_bridge(g: Graph, m: Model, source: Source, i: int, last: CellState) -> CellState:
    return _mapped(g, m, i, tuple(_joined(g, m, part) for part in last))


def _backward_bridge(g: Graph, m: Model, source: Source, i: int, last: CellState) -> CellState:
    backward = g.constant(np.array(-1), "backward")
    return _mapped(g, m, i, tuple(g.op("Gather", part, backward, axis=0) for part in last))


def _mapped(g: Graph, m: Model, i: int, last: CellState) -> CellState:
    """h = tanh(W h') and c = W' c' of layer i; h = tanh(c) where a cell's state is c alone."""
    h, *c = last
    c = [g.linear(part, f"bridge.memory_cell.{i}") for part in c]
    return g.op("Tanh", c[0] if CELLS[m.cell].element_wise else g.linear(h, f"bridge.state.{i}")), *c


def _joined(g: Graph, m: Model, part: str) -> str:
    """Both directions' state side by side: [R, B, H] -> [B, R H]."""
    return g.reshape(g.op("Transpose", part, perm=[1, 0, 2]), -1, shapes(m).final)


# Both directions' outputs as one, [S, R, B, H] -> [S, B, M].
MERGES = {"concat": _concatenated, "sum": _summed}
BRIDGES = {"zero": _zero_bridge, "last": _last_bridge, "dense": _dense_bridge, "backward": _backward_bridge}
