"""The output layer as pieces of both graphs: log p of the next pieces, copying, the shortlist and the k best.

Shapes: B sentences, S source pieces, K hypotheses a sentence, N = B K rows, k best next pieces, R readout, V target
pieces, W pieces on a shortlist.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from antiphon.config.sections import Model
from antiphon.data.tokenizer import BOS, PAD
from antiphon.export.graph import FLOAT, INT, Array, Graph, quantised

# From so many pieces on the k best are searched for in groups of so many.
GROUPED, GROUP = 1024, 64


class Query(NamedTuple):
    """Which pieces a step is asked for: names of values."""

    k: str  # [1]  how many of the best
    ask: str  # [N, 1]  and one piece for each row


class Best(NamedTuple):
    """What a step says of the next pieces: names of values."""

    scores: str  # [N, k]  log p of the best, best first
    ids: str  # [N, k]
    asked: str  # [N, 1]  log p of the piece that was asked for


class Words(NamedTuple):
    """The output layer: a row of its matrix for each target piece."""

    weight: Array  # [V, R]
    bias: Array  # [V]
    bans: NDArray[np.float32]  # [V]  -inf on pieces that are never an output
    filling: int  # rows more, so that groups are full


def words(g: Graph) -> Words:
    """The output layer of a model."""
    weight, bias = g.weights["output.weight"], g.weights["output.bias"]
    bans = np.zeros(len(bias), np.float32)
    bans[[PAD, BOS]] = -np.inf
    return Words(weight, bias, bans, -len(bias) % GROUP if len(bias) >= GROUPED else 0)


def write_words(g: Graph) -> None:
    """Write the output layer's rows of some pieces, `allowed` [W], once a batch: the step multiplies by no others."""
    weight, bias, bans, _ = words(g)
    allowed = g.input("allowed", INT, "W")
    if g.int8:
        weight, scale = quantised(weight)
        g.output("words.scale", g.op("Gather", g.constant(scale, "words.scales"), allowed), FLOAT, "W")
    rows = g.op("Gather", g.constant(weight, "words"), allowed)
    g.output("words.weight", g.op("Transpose", rows), _kind(g), weight.shape[1], "W")
    g.output("words.bias", g.op("Gather", g.constant(bias + bans, "words.biases"), allowed), FLOAT, "W")


def write_best(
    g: Graph, m: Model, readouts: str, alpha: str, sources: str, query: Query, shortlist: bool = False
) -> None:
    """Write log p of the k best next pieces, and of those asked for.

    Args:
        readouts: r_t [N, R].
        alpha: attention [B, K, S], of decoders that copy.
        sources: source ids [B, S], of decoders that copy.
        query: which pieces are asked for.
        shortlist: whether rows of the output layer can be an input, in place of all rows.
    """
    layer = words(g)
    if m.copy_source:
        best = _best(g, _mixed(g, layer, readouts, alpha, sources), len(layer.bias), query)
    elif shortlist:
        best = _best_of_some(g, layer, readouts, query)
    else:
        best = _best(g, _logits(g, layer, readouts, layer.bans), len(layer.bias), query)
    g.output("scores", best.scores, FLOAT, "N", "k")
    g.output("ids", best.ids, INT, "N", "k")
    g.output("asked", best.asked, FLOAT, "N", 1)


def _logits(g: Graph, layer: Words, readouts: str, bans: Array | float = 0.0) -> str:
    """readouts [N, R] -> [N, V], with V a multiple of GROUP if it is large."""
    weight = np.pad(layer.weight, ((0, layer.filling), (0, 0)))
    bias = np.pad(layer.bias + bans, (0, layer.filling), constant_values=-np.inf)
    return g.product(readouts, "output.weight", weight, bias)


def _mixed(g: Graph, layer: Words, readouts: str, alpha: str, sources: str) -> str:
    """log p [N, V] = log(p_gen P_vocab + (1 - p_gen) sum_{i: x_i = w} alpha_ti) (See 2017, eq. 9).

    Not normalised, as pieces that are never an output are banned from the mixture; see `nn.copying`.
    """
    p = g.op("Softmax", _logits(g, layer, readouts))
    gate = g.linear(readouts, "copier.w")  # [N, 1]  the logit of p_gen
    counts = g.op("Shape", alpha)
    ids = g.op("Expand", g.op("Unsqueeze", sources, g.ints(1)), counts)  # [B, K, S]
    flat = g.op("Concat", g.ints(-1), g.op("Shape", alpha, start=2), axis=0)
    ids, alpha = (g.op("Reshape", part, flat) for part in (ids, alpha))  # [N, S]
    copied = g.op("Mul", alpha, g.op("Sigmoid", g.op("Neg", gate)))
    p = g.op("ScatterElements", g.op("Mul", p, g.op("Sigmoid", gate)), ids, copied, axis=1, reduction="add")
    return g.op("Add", g.op("Log", p), g.constant(np.pad(layer.bans, (0, layer.filling))))


def _best(g: Graph, logits: str, size: int, query: Query) -> Best:
    """The k best of logits [N, V], and those asked for; `size`: V without what fills its groups."""
    log_p = g.op("LogSoftmax", logits)
    asked = g.op("GatherElements", log_p, query.ask, axis=1)
    if size < GROUPED:
        scores, ids = g.ops("TopK", 2, log_p, query.k)
        return Best(scores, ids, asked)
    # The k best are in the k groups with the highest maxima, which are found several times quicker.
    group, last = g.constant(np.array(GROUP), "group"), g.constant(np.array(size - 1), "last")
    groups = g.reshape(log_p, 0, -1, GROUP)  # [N, V / GROUP, GROUP]
    count = g.op("Min", query.k, g.ints(-(-size // GROUP)))
    _, which = g.ops("TopK", 2, g.op("ReduceMax", groups, axes=[2], keepdims=0), count, sorted=0)
    some = g.op("GatherND", groups, g.op("Unsqueeze", which, g.ints(2)), batch_dims=1)
    scores, place = g.ops("TopK", 2, g.reshape(some, 0, -1), query.k)
    begin = g.op("Mul", g.op("GatherElements", which, g.op("Div", place, group), axis=1), group)
    ids = g.op("Add", begin, g.op("Mod", place, group))
    return Best(scores, g.op("Min", ids, last), asked)


def _best_of_some(g: Graph, layer: Words, readouts: str, query: Query) -> Best:
    """The k best by the rows `words.*` of the output layer, if there are any, and else by all rows."""
    readouts = g.op("Identity", readouts)  # branches cannot read what is an output too
    weight, bias = g.input("words.weight", _kind(g), layer.weight.shape[1], "W"), g.input("words.bias", FLOAT, "W")
    scale = g.input("words.scale", FLOAT, "W") if g.int8 else ""
    some, every = (Graph(g.weights, g.int8, g.epsilon, prefix) for prefix in ("some.", "every."))
    answers = (
        _best(some, some.multiplied(readouts, weight, bias, scale), 0, query),
        _best(every, _logits(every, layer, readouts, layer.bans), len(layer.bias), query),
    )
    for branch, best in zip((some, every), answers, strict=True):
        for name, value in best._asdict().items():
            branch.output(f"{branch.prefix}{name}", value, INT if name == "ids" else FLOAT, "N", name)
    given = g.op("Greater", g.op("Size", bias), g.constant(np.array(0), "none"))
    return Best(*g.ops("If", 3, given, then_branch=some.finished("some"), else_branch=every.finished("every")))


def _kind(g: Graph) -> int:
    """The type of the output layer's weights."""
    return TensorProto.INT8 if g.int8 else FLOAT
