"""Attention as pieces of both graphs: what the encoder prepares once, and how a step attends; see `nn.attention`.

Shapes: B sentences, S source pieces, K hypotheses a sentence, N = B K rows, M size of an encoder state, D decoder
state, A size of a key, C size of a context. The hypotheses of a sentence share its memory.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from antiphon.config.sections import Model
from antiphon.config.shapes import shapes
from antiphon.export.border import Memory, Port
from antiphon.export.graph import FLOAT, INT, Graph, known


class Score(NamedTuple):
    """How a query is compared with the encoder's states."""

    e: Callable[[Graph, Model, str, Memory, str], str]  # s [N, D], memory, coverage [B, K, S] or '' -> e [B, K, S]
    keys: str = ""  # the linear layer that makes the keys, if they are not h itself


class Attended(NamedTuple):
    """What a step attended to: names of values."""

    c: str  # [N, C]
    alpha: str  # [B, K, S]
    coverage: str = ""  # [N, S]  after this step, where there is coverage


def memory_ports(m: Model) -> dict[str, Port]:
    """The parts of `Memory` that a model has."""
    size = shapes(m)
    if not size.attends:
        return {"c": Port(FLOAT, ("B", size.context))} if size.context else {}
    ports = {"mask": Port(FLOAT, ("B", 1, "S"))}
    if m.copy_source:
        ports["ids"] = Port(INT, ("B", "S"))
    if m.score == "multi_head":
        heads = Port(FLOAT, ("B", m.heads, "S", m.attention_size // m.heads))
        return ports | {"h": heads, "keys": heads}
    ports["h"] = Port(FLOAT, ("B", "S", size.memory))
    if known(SCORES, m.score, "model.score").keys:
        ports["keys"] = Port(FLOAT, ("B", "S", size.key))
    return ports


def prepare(g: Graph, m: Model, h: str) -> tuple[str, str]:
    """What attention needs of h [B, S, M]: what it weighs, and the keys, '' where they are h itself."""
    if m.score == "multi_head":
        values, keys = (_split(g, m, _projected(g, m, h, layer)) for layer in ("W_v", "W_k"))
        return values, keys
    layer = known(SCORES, m.score, "model.score").keys
    return h, _projected(g, m, h, layer) if layer else ""


def mask(g: Graph, real: str) -> str:
    """What is added to the scores: 0 on real pieces, minus infinity on padding. [B, S] -> [B, 1, S]"""
    values = [g.constant(np.array(value, np.float32)) for value in (0, -np.inf)]
    return g.op("Unsqueeze", g.op("Where", real, *values), g.ints(1))


def attend(g: Graph, m: Model, s: str, memory: Memory, before: str = "") -> Attended:
    """c_t = sum_i alpha_ti h_i with alpha_t = softmax(e_t) (Bahdanau 2015, eq. 5 and 6).

    Args:
        s: decoder states [N, D].
        memory: the source.
        before: the coverage so far [N, S], or ''.
    """
    if m.score == "multi_head":
        return _multi_head(g, m, s, memory)
    coverage = by_sentence(g, before, g.op("Shape", memory.mask, start=2), memory) if before else ""
    e = known(SCORES, m.score, "model.score").e(g, m, s, memory, coverage)
    alpha = g.op("Softmax", g.op("Add", e, memory.mask))
    after = ""
    if before:
        after = g.op("Add", before, g.op("Reshape", alpha, g.op("Shape", before)))
    c = g.reshape(g.op("MatMul", alpha, memory.h), -1, shapes(m).memory)
    return Attended(c, alpha, after)


def by_sentence(g: Graph, x: str, sizes: str, memory: Memory) -> str:
    """x [N, ..] -> [B, K, sizes]."""
    batch = g.op("Shape", memory.mask, end=1)
    return g.op("Reshape", x, g.op("Concat", batch, g.ints(-1), sizes, axis=0))


def _dot(g: Graph, m: Model, s: str, memory: Memory, coverage: str) -> str:
    """e_ti = s_t . h_i, or s_t . W_a h_i (Luong 2015, section 3.1)."""
    return _covered(g, _products(g, m, s, memory), coverage)


def _scaled_dot(g: Graph, m: Model, s: str, memory: Memory, coverage: str) -> str:
    """e_ti = s_t . h_i / sqrt(D) (Vaswani 2017, eq. 1)."""
    products = _products(g, m, s, memory)
    scaled = g.op("Mul", products, g.constant(np.array(m.decoder_hidden**-0.5, np.float32)))
    return _covered(g, scaled, coverage)


def _additive(g: Graph, m: Model, s: str, memory: Memory, coverage: str) -> str:
    """e_ti = v_a . tanh(W_a s_t + U_a h_i + w_c coverage_i) (Bahdanau 2015, A.1.2; See 2017, eq. 11)."""
    query = by_sentence(g, g.linear(s, "decoder.attention.score.W_a"), g.ints(1, m.attention_size), memory)
    inner = g.op("Add", query, g.op("Unsqueeze", memory.keys, g.ints(1)))  # [B, K, S, A]
    if coverage:
        w_c = g.constant(g.weights["decoder.attention.w_c.weight"][:, 0], "w_c")
        inner = g.op("Add", inner, g.op("Mul", g.op("Unsqueeze", coverage, g.ints(3)), w_c))
    v_a = g.constant(g.weights["decoder.attention.score.v_a.weight"].T, "v_a")  # [A, 1]
    return g.op("Squeeze", g.op("MatMul", g.op("Tanh", inner), v_a), g.ints(3))


def _products(g: Graph, m: Model, s: str, memory: Memory) -> str:
    query = by_sentence(g, s, g.ints(m.decoder_hidden), memory)  # [B, K, D]
    return g.op("MatMul", query, g.op("Transpose", memory.keys or memory.h, perm=[0, 2, 1]))


def _covered(g: Graph, e: str, coverage: str) -> str:
    return g.op("Add", e, g.op("Mul", coverage, g.weight("decoder.attention.w_c.weight"))) if coverage else e


def _multi_head(g: Graph, m: Model, s: str, memory: Memory) -> Attended:
    """Scaled dot products side by side, joined by W_o; alpha is their mean (Vaswani 2017, section 3.2.2)."""
    head = m.attention_size // m.heads
    q = by_sentence(g, g.linear(s, "decoder.attention.W_q"), g.ints(m.heads, head), memory)
    q = g.op("Transpose", q, perm=[0, 2, 1, 3])  # [B, heads, K, A / heads]
    e = g.op("MatMul", q, g.op("Transpose", memory.keys, perm=[0, 1, 3, 2]))
    e = g.op("Mul", e, g.constant(np.array(head**-0.5, np.float32)))
    alpha = g.op("Softmax", g.op("Add", e, g.op("Unsqueeze", memory.mask, g.ints(1))))  # [B, heads, K, S]
    mean = g.op("ReduceMean", alpha, axes=[1], keepdims=0)
    c = g.op("Transpose", g.op("MatMul", alpha, memory.h), perm=[0, 2, 1, 3])
    return Attended(g.linear(g.reshape(c, -1, m.attention_size), "decoder.attention.W_o"), mean)


def _projected(g: Graph, m: Model, h: str, layer: str) -> str:
    """A linear layer of the attention over h [B, S, M]."""
    rows = g.linear(g.reshape(h, -1, shapes(m).memory), f"decoder.attention.{layer}")
    return g.unflattened(rows, h)


def _split(g: Graph, m: Model, x: str) -> str:
    """[B, S, A] -> [B, heads, S, A / heads]."""
    return g.op("Transpose", g.reshape(x, 0, 0, m.heads, -1), perm=[0, 2, 1, 3])


SCORES = {
    "dot": Score(_dot),
    "scaled_dot": Score(_scaled_dot),
    "general": Score(_dot, "score.W_a"),
    "additive": Score(_additive, "score.U_a"),
}
