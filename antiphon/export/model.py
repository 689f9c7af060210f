"""A model as two ONNX graphs, made from its weights: the encoder, and one step of the decoder.

The search stays outside. Names at the border are all that the engine knows: whatever the encoder puts out as `memory.*`
and `state.*` goes into the step, which puts the state after it out as `next.*`.

Shapes: B sentences, S source pieces, K hypotheses a sentence, N = B K rows; I input size, H encoder units a direction,
R directions, M size of an encoder state, D decoder state, A size of a key, G gates, V words. Inside the encoder time
comes first, [S, B, ..], as ONNX's recurrent operators have it. Equations are in docs/models.md and beside the modules
of `nn`, whose classes are named here.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto

from antiphon.config import sections
from antiphon.config.kinds import CELLS
from antiphon.data.tokenizer import BOS, PAD
from antiphon.export.graph import FLOAT, INT, MICROSOFT, Array, Graph, Weights, quantised

# Rows of PyTorch's gates in the order that is wanted: PyTorch has i, f, g, o and r, z, n.
ONNX_GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}  # i, o, f, g and z, r, n
STEP_GATES = (0, 1, 3, 2)  # i, f, o, g: the three that go through one sigmoid side by side

# From so many pieces on the k best are looked for in groups of so many.
GROUPED, GROUP = 1024, 64


def encoder(options: sections.Model, weights: Weights, int8: bool, shortlist: bool = False) -> onnx.ModelProto:
    """The encoder: sources [B, S] -> `memory.*` and the decoder's first `state.*`.

    Args:
        options: the `[model]` section.
        weights: by the names of the model's parameters, tied ones under each of their names.
        int8: keep matrices in int8, row by row, and multiply in int8; the GRU, for which onnxruntime has no such
            operator, stays as it is.
        shortlist: also take from the output layer what belongs to the pieces `allowed` [W], as `words.*`.
    """
    made = _Encoder(options, weights, int8)
    if shortlist:
        made.words()
    return made.graph.model()


def step(options: sections.Model, weights: Weights, int8: bool, shortlist: bool = False) -> onnx.ModelProto:
    """One step of the decoder; arguments as for `encoder`.

    Inputs: `tokens` and `rows` [N], where row n goes on from row rows[n] of the state; `ask` [N, 1]; `k` [1];
    `memory.*`, `state.*`. Outputs: `scores` and `ids` [N, k], `asked` [N, 1], with attention `attention` [B, K, S],
    `next.*`. With a shortlist also `words.*` go in, and if they are not empty, `ids` and `ask` count the pieces in
    `allowed`, and p is over these alone.
    """
    made = _Step(options, weights, int8)
    made.answer(shortlist)
    return made.graph.model()


class _Encoder:
    """Writes the graph of `nn.encoder`, `nn.attention`'s `prepare` and `nn.decoder.Bridge`."""

    def __init__(self, options: sections.Model, weights: Weights, int8: bool) -> None:
        self.o = options
        self.graph = g = Graph(weights, int8)
        self.directions = 2 if options.bidirectional else 1
        self.sources = g.input("sources", INT, "B", "S")
        real = g.op("Not", g.op("Equal", self.sources, g.constant(np.array(PAD), "PAD")))  # [B, S]
        self.real = g.op("Unsqueeze", g.op("Transpose", real), g.ints(2))  # [S, B, 1]
        self.lengths = g.op("ReduceSum", g.op("Cast", real, to=TensorProto.INT32), g.ints(1), keepdims=0)  # [B]
        h, final = self.layers(g.embed("source_embedding.weight", g.op("Transpose", self.sources)))
        if options.decoder not in ("initial", "context"):
            self.attended(g.op("Transpose", h, perm=[1, 0, 2]))
            self.mask(real)
            if options.copy_source:
                g.output("memory.ids", g.op("Identity", self.sources), INT, "B", "S")
        elif options.decoder == "context":
            c = g.op("Tanh", g.linear(self.joined(final[-1][0]), "summary"))
            g.output("memory.c", c, FLOAT, "B", options.decoder_hidden)
        self.bridge(final)

    def layers(self, x: str) -> tuple[str, list[list[str]]]:
        """Embeddings [S, B, E] -> h [S, B, M] and each layer's last state, (h, c) or (h,), each [R, B, H]."""
        g, o = self.graph, self.o
        x, size = self.turned(x), o.embedding
        final = []
        for i in range(o.encoder_layers):
            known = o.cell in ONNX_GATES and o.layer_norm != "gates"
            y, state = self.fused(x, i) if known else self.scanned(x, i)
            if o.merge == "concat":  # y: [S, R, B, H]
                y = g.reshape(g.op("Transpose", y, perm=[0, 2, 1, 3]), 0, 0, -1)
            else:
                y = g.op("ReduceSum", y, g.ints(1), keepdims=0)
            if o.layer_norm == "output":
                y = g.norm(y, f"encoder.norms.{i}")
            after = o.encoder_hidden * (self.directions if o.merge == "concat" else 1)
            x, size = g.op("Add", x, y) if o.residual and size == after else y, after
            final.append(state)
        return self.turned(x), final

    def turned(self, x: str) -> str:
        """x [S, B, ..] with each row's pieces turned round, its EOS where it was, if the source is read backwards."""
        if not self.o.reverse_source:
            return x
        g = self.graph
        pieces = g.op("Sub", g.op("Cast", self.lengths, to=INT), g.constant(np.array(1), "one"))
        return g.op("ReverseSequence", x, pieces, time_axis=0, batch_axis=1)

    def fused(self, x: str, layer: int) -> tuple[str, list[str]]:
        """ONNX's LSTM or GRU: x [S, B, I] -> y [S, R, B, H], 0 on padding, and the last state."""
        g, o = self.graph, self.o
        H = o.encoder_hidden
        direction = {"direction": "bidirectional" if o.bidirectional else "forward"}
        w, u = self.stacked(layer, "weight_ih"), self.stacked(layer, "weight_hh")  # [R, G H, I or H]
        biases = np.concatenate([self.stacked(layer, "bias_ih"), self.stacked(layer, "bias_hh")], 1)  # [R, 2 G H]
        b = g.constant(biases)
        if o.cell == "gru":
            y, h = g.ops("GRU", 2, x, g.constant(w), g.constant(u), b, self.lengths,
                         hidden_size=H, linear_before_reset=1, **direction)  # fmt: skip
            return y, [h]
        if not g.int8:
            y, *state = g.ops("LSTM", 3, x, g.constant(w), g.constant(u), b, self.lengths, hidden_size=H, **direction)
            return y, state
        (w, w_scale), (u, u_scale) = quantised(w), quantised(u)
        scales = [g.constant(part) for s in (w_scale, u_scale) for part in (s, np.zeros(s.shape, np.int8))]
        matrices = [g.constant(part.transpose(0, 2, 1)) for part in (w, u)]
        y, *state = g.ops("DynamicQuantizeLSTM", 3, x, *matrices, b, self.lengths, "", "", "", *scales,
                          hidden_size=H, domain=MICROSOFT, **direction)  # fmt: skip
        return y, state

    def stacked(self, layer: int, name: str) -> Array:
        """Both directions' weights, their gates in ONNX's order."""
        order = list(ONNX_GATES[self.o.cell])
        parts = [self.graph.weights[f"encoder.layers.{layer}.{d}.{name}"] for d in range(self.directions)]
        return np.stack([part.reshape(len(order), -1, *part.shape[1:])[order].reshape(part.shape) for part in parts])

    def scanned(self, x: str, layer: int) -> tuple[str, list[str]]:
        """Cells that no operator has (SRU, normalised gates) by a loop inside the graph. See `fused`."""
        g = self.graph
        outputs, states = [], []
        for d in range(self.directions):
            found, *state = self.loop(x, f"encoder.layers.{layer}.{d}", backward=d)
            outputs.append(g.op("Unsqueeze", found, g.ints(1)))
            states.append([g.op("Unsqueeze", part, g.ints(0)) for part in state])
        y = g.op("Concat", *outputs, axis=1)
        return y, [g.op("Concat", *parts, axis=0) for parts in zip(*states, strict=True)]

    def loop(self, x: str, layer: str, backward: int) -> list[str]:
        """Run a cell over x [S, B, I]: outputs [S, B, H] and the last state, each [B, H]."""
        g, o, H = self.graph, self.o, self.o.encoder_hidden
        size = g.weights[f"{layer}.weight_ih"].shape
        from_x = self.unflattened(_from(g, o, layer, "ih", g.reshape(x, -1, size[1])), x)  # [S, B, G H]
        names = CELLS[o.cell].state
        body = Graph(g.weights, g.int8, f"{layer}.")
        old = [body.input(f"{layer}.before.{name}", FLOAT, "B", H) for name in names]
        share = body.input(f"{layer}.x", FLOAT, "B", size[0])
        real = body.input(f"{layer}.real", TensorProto.BOOL, "B", 1)
        new = _updated(body, o, layer, share, old)
        kept = [body.op("Where", real, a, b) for a, b in zip(new, old, strict=True)]  # padding changes nothing
        for name, value in zip([*names, "y"], [*kept, kept[0]], strict=True):
            body.output(f"{layer}.after.{name}", value, FLOAT, "B", H)
        *state, y = g.ops("Scan", len(names) + 1, *(self.zeros(H) for _ in names), from_x, self.real,
                          body=body.finished("cell"), num_scan_inputs=2,
                          scan_input_directions=[backward] * 2, scan_output_directions=[backward])  # fmt: skip
        return [y, *state]

    def joined(self, state: str) -> str:
        """Both directions' state side by side: [R, B, H] -> [B, R H]."""
        g = self.graph
        return g.reshape(g.op("Transpose", state, perm=[1, 0, 2]), -1, self.directions * self.o.encoder_hidden)

    def attended(self, h: str) -> None:
        """What attention needs of h [B, S, M]: what is weighed, and keys where they are something else."""
        g, o = self.graph, self.o
        if o.score == "multi_head":
            for name, layer in (("h", "W_v"), ("keys", "W_k")):
                heads = g.reshape(self.projected(h, layer), 0, 0, o.heads, -1)
                split = g.op("Transpose", heads, perm=[0, 2, 1, 3])
                g.output(f"memory.{name}", split, FLOAT, "B", o.heads, "S", o.attention_size // o.heads)
            return
        g.output("memory.h", h, FLOAT, "B", "S", _memory_size(o))
        if o.score in ("general", "additive"):
            keys = self.projected(h, "score.W_a" if o.score == "general" else "score.U_a")
            g.output("memory.keys", keys, FLOAT, "B", "S", _key_size(o))

    def projected(self, h: str, layer: str) -> str:
        """A linear layer of the attention over h [B, S, M]."""
        g = self.graph
        rows = g.linear(g.reshape(h, -1, _memory_size(self.o)), f"decoder.attention.{layer}")
        return self.unflattened(rows, h)

    def unflattened(self, rows: str, x: str) -> str:
        """rows [S B, ..] as [S, B, ..], or in whatever order x has its first two axes."""
        g = self.graph
        return g.op("Reshape", rows, g.op("Concat", g.op("Shape", x, end=2), g.ints(-1), axis=0))

    def mask(self, real: str) -> None:
        """What is added to the scores of attention: 0 on real pieces, minus infinity on padding."""
        g = self.graph
        values = [g.constant(np.array(value, np.float32)) for value in (0, -np.inf)]
        g.output("memory.mask", g.op("Unsqueeze", g.op("Where", real, *values), g.ints(1)), FLOAT, "B", 1, "S")

    def bridge(self, final: list[list[str]]) -> None:
        """The decoder's first state; see `nn.decoder.Bridge`."""
        g, o = self.graph, self.o
        D = o.decoder_hidden
        for i in range(o.decoder_layers):
            state = final[max(0, i + len(final) - o.decoder_layers)]
            for name, part in zip(CELLS[o.cell].state, self.bridged(i, state), strict=True):
                g.output(f"state.{name}.{i}", part, FLOAT, "B", D)
        if o.decoder == "input_feeding":
            g.output("state.feed", self.zeros(_readout_size(g)), FLOAT, "B", _readout_size(g))
        if o.coverage and _stepwise(o):
            zero = g.op("ConstantOfShape", g.op("Shape", self.sources))
            g.output("state.coverage", zero, FLOAT, "B", "S")

    def bridged(self, i: int, state: list[str]) -> list[str]:
        """The first state of the decoder's layer i, from the encoder's last one, each part [R, B, H]."""
        g, o = self.graph, self.o
        if o.bridge == "zero":
            return [self.zeros(o.decoder_hidden) for _ in state]
        if o.bridge == "last":
            return [self.joined(part) for part in state]
        first = g.constant(np.array(-1), "backward")  # the backward direction's last state
        h, *c = (g.op("Gather", part, first, axis=0) if o.bridge == "backward" else self.joined(part) for part in state)
        c = [g.linear(part, f"bridge.memory_cell.{i}") for part in c]
        return [g.op("Tanh", c[0] if CELLS[o.cell].element_wise else g.linear(h, f"bridge.state.{i}")), *c]

    def words(self) -> None:
        """The output layer's share of some pieces, once a batch: the step multiplies by no others."""
        g, layer = self.graph, _Words(self.graph)
        allowed = g.input("allowed", INT, "W")
        weight: Array = layer.weight
        if g.int8:
            weight, scale = quantised(weight)
            scales = g.op("Gather", g.constant(scale, "words.scales"), allowed)
            g.output("words.scale", scales, FLOAT, "W")
        rows = g.op("Gather", g.constant(weight, "words"), allowed)
        g.output("words.weight", g.op("Transpose", rows), TensorProto.INT8 if g.int8 else FLOAT, weight.shape[1], "W")
        g.output("words.bias", g.op("Gather", g.constant(layer.bias, "words.biases"), allowed), FLOAT, "W")

    def zeros(self, size: int) -> str:
        g = self.graph
        return g.op("ConstantOfShape", g.op("Concat", g.op("Shape", self.lengths), g.ints(size), axis=0))


class _Step:
    """Writes the graph of one step of `nn.decoder`; `state` holds what each part of it is so far."""

    def __init__(self, options: sections.Model, weights: Weights, int8: bool) -> None:
        self.o = options
        self.graph = g = Graph(weights, int8)
        tokens, rows = g.input("tokens", INT, "N"), g.input("rows", INT, "N")
        self.k, self.ask = g.input("k", INT, 1), g.input("ask", INT, "N", 1)
        self.alpha = ""
        self.memory = self.memories()
        sizes: dict[str, str | int] = {
            f"{name}.{i}": options.decoder_hidden
            for i in range(options.decoder_layers)
            for name in CELLS[options.cell].state
        }
        if options.decoder == "input_feeding":
            sizes["feed"] = _readout_size(g)
        if options.coverage and _stepwise(options):
            sizes["coverage"] = "S"
        self.state = {
            name: g.op("Gather", g.input(f"state.{name}", FLOAT, "before", size), rows) for name, size in sizes.items()
        }
        self.readouts = self.decoded(g.embed("target_embedding.weight", tokens))  # [N, R]
        for name, size in sizes.items():
            g.output(f"next.{name}", self.state[name], FLOAT, "N", size)

    def memories(self) -> dict[str, str]:
        """The inputs of the encoder's memory, as `_Encoder` puts them out."""
        g, o = self.graph, self.o
        if o.decoder == "initial":
            return {}
        if o.decoder == "context":
            return {"c": g.input("memory.c", FLOAT, "B", o.decoder_hidden)}
        memory = {"mask": g.input("memory.mask", FLOAT, "B", 1, "S")}
        if o.copy_source:
            memory["ids"] = g.input("memory.ids", INT, "B", "S")
        if o.score == "multi_head":
            shape = ("B", o.heads, "S", o.attention_size // o.heads)
            return memory | {name: g.input(f"memory.{name}", FLOAT, *shape) for name in ("h", "keys")}
        memory["h"] = memory["keys"] = g.input("memory.h", FLOAT, "B", "S", _memory_size(o))
        if o.score in ("general", "additive"):
            memory["keys"] = g.input("memory.keys", FLOAT, "B", "S", _key_size(o))
        return memory

    def decoded(self, y: str) -> str:
        """Run the decoder: embeddings y [N, E] -> readouts [N, R]; `state` becomes the new one."""
        g, o = self.graph, self.o
        top = f"s.{o.decoder_layers - 1}"
        if o.decoder == "initial":
            return self.readout(self.stack(y), "", y)
        if o.decoder == "context":
            c = self.fixed(y)
            return self.readout(self.stack(g.concat(y, c)), c, y)
        if o.decoder == "bahdanau":
            before = self.state[top]
            c = self.attend(before)
            s = self.stack(g.concat(y, c))
            return self.readout(before if o.readout == "maxout" else s, c, y)
        if o.decoder == "input_feeding":
            s = self.stack(g.concat(y, self.state["feed"]))
            self.state["feed"] = self.readout(s, self.attend(s), y)
            return self.state["feed"]
        if o.decoder == "over_outputs":
            s = self.stack(y)
            return self.readout(s, self.attend(s), y)
        s = self.stack(y, below=1)
        c = self.attend(s)
        return self.readout(self.stack(g.concat(s, c), above=1), c, y)

    def fixed(self, y: str) -> str:
        """The source's one vector, for each of its hypotheses: [B, C] -> [N, C]."""
        g, c = self.graph, self.memory["c"]
        N, B = g.op("Shape", y, end=1), g.op("Shape", c, end=1)
        shape = g.op("Concat", B, g.op("Div", N, B), g.ints(self.o.decoder_hidden), axis=0)  # [B, K, C]
        return g.reshape(g.op("Expand", g.op("Unsqueeze", c, g.ints(1)), shape), -1, self.o.decoder_hidden)

    def stack(self, x: str, below: int = 0, above: int = 0) -> str:
        """Recurrent layers, all of them or those below or above a number: x [N, I] -> [N, D]."""
        g, o = self.graph, self.o
        for i in range(above, below or o.decoder_layers):
            name = f"decoder.{'upper' if above else 'stack'}"
            layer = f"{name}.layers.{i - above}"
            keys = [f"{part}.{i}" for part in CELLS[o.cell].state]
            new = _cell(g, o, layer, x, [self.state[key] for key in keys])
            self.state.update(zip(keys, new, strict=True))
            y = g.norm(new[0], f"{name}.norms.{i - above}") if o.layer_norm == "output" else new[0]
            same = g.weights[f"{layer}.weight_ih"].shape[1] == o.decoder_hidden
            x = g.op("Add", x, y) if o.residual and same else y
        return x

    def attend(self, s: str) -> str:
        """c [N, C] of the states s [N, D]; keeps alpha [B, K, S]. The hypotheses of a sentence share its memory."""
        g, o = self.graph, self.o
        mask = self.memory["mask"]  # [B, 1, S]
        if o.score == "multi_head":
            return self.attend_heads(s, mask)
        before, coverage = self.state.get("coverage"), ""
        if before:
            coverage = self.by_sentence(before, g.op("Shape", mask, start=2))  # [B, K, S]
        self.alpha = g.op("Softmax", g.op("Add", self.scores(s, coverage), mask))  # [B, K, S]
        if before:
            rows = g.op("Reshape", self.alpha, g.op("Shape", before))  # [N, S]
            self.state["coverage"] = g.op("Add", before, rows)
        return g.reshape(g.op("MatMul", self.alpha, self.memory["h"]), -1, _memory_size(o))

    def scores(self, s: str, coverage: str) -> str:
        """e [B, K, S] of s [N, D] and coverage (or ''), without the mask."""
        g, o, keys = self.graph, self.o, self.memory["keys"]
        if o.score == "additive":
            query = self.by_sentence(g.linear(s, "decoder.attention.score.W_a"), g.ints(1, o.attention_size))
            inner = g.op("Add", query, g.op("Unsqueeze", keys, g.ints(1)))  # [B, K, S, A]
            if coverage:
                w = g.constant(g.weights["decoder.attention.w_c.weight"][:, 0], "w_c")
                inner = g.op("Add", inner, g.op("Mul", g.op("Unsqueeze", coverage, g.ints(3)), w))
            v = g.constant(g.weights["decoder.attention.score.v_a.weight"].T, "v_a")  # [A, 1]
            return g.op("Squeeze", g.op("MatMul", g.op("Tanh", inner), v), g.ints(3))
        query = self.by_sentence(s, g.ints(o.decoder_hidden))
        e = g.op("MatMul", query, g.op("Transpose", keys, perm=[0, 2, 1]))
        if o.score == "scaled_dot":
            e = g.op("Mul", e, g.constant(np.array(o.decoder_hidden**-0.5, np.float32)))
        return g.op("Add", e, g.op("Mul", coverage, g.weight("decoder.attention.w_c.weight"))) if coverage else e

    def attend_heads(self, s: str, mask: str) -> str:
        g, o = self.graph, self.o
        q = self.by_sentence(g.linear(s, "decoder.attention.W_q"), g.ints(o.heads, o.attention_size // o.heads))
        q = g.op("Transpose", q, perm=[0, 2, 1, 3])  # [B, heads, K, A / heads]
        e = g.op("MatMul", q, g.op("Transpose", self.memory["keys"], perm=[0, 1, 3, 2]))
        e = g.op("Mul", e, g.constant(np.array((o.attention_size // o.heads) ** -0.5, np.float32)))
        alpha = g.op("Softmax", g.op("Add", e, g.op("Unsqueeze", mask, g.ints(1))))  # [B, heads, K, S]
        self.alpha = g.op("ReduceMean", alpha, axes=[1], keepdims=0)
        c = g.op("Transpose", g.op("MatMul", alpha, self.memory["h"]), perm=[0, 2, 1, 3])
        return g.linear(g.reshape(c, -1, o.attention_size), "decoder.attention.W_o")

    def by_sentence(self, x: str, sizes: str) -> str:
        """x [N, ..] -> [B, K, sizes]."""
        g = self.graph
        batch = g.op("Shape", self.memory["mask"], end=1)
        return g.op("Reshape", x, g.op("Concat", batch, g.ints(-1), sizes, axis=0))

    def readout(self, s: str, c: str, y: str) -> str:
        """From the state, its context (or '') and the previous piece to what the output layer reads; see `Readout`."""
        g, o = self.graph, self.o
        layer = "decoder.readout.out"
        if o.readout == "residual":
            return g.norm(g.op("Add", s, c) if c else s, layer)
        joined = g.concat(s, c) if c else s
        if o.readout == "maxout":
            weight, bias = (g.weights[f"{layer}.{name}"] for name in ("weight", "bias"))
            halves = [np.concatenate([part[::2], part[1::2]]) for part in (weight, bias)]
            t = g.product(g.concat(joined, y), layer, *halves)
            return g.op("Max", *g.ops("Split", 2, t, axis=-1))
        r = g.linear(joined, layer) if f"{layer}.weight" in g.weights else joined
        return g.op("Tanh", r) if o.readout == "tanh" else r

    def answer(self, shortlist: bool) -> None:
        """Log p of the k best next pieces, and of those asked for."""
        g = self.graph
        words = _Words(g)
        if self.o.copy_source:
            found = self.best(g, self.mixed(words), words.size)
        elif not shortlist:
            found = self.best(g, words.logits(g, self.readouts), words.size)
        else:
            self.readouts = g.op("Identity", self.readouts)  # branches cannot read what is an output too
            R, kind = words.weight.shape[1], TensorProto.INT8 if g.int8 else FLOAT
            w, b = g.input("words.weight", kind, R, "W"), g.input("words.bias", FLOAT, "W")
            scale = [g.input("words.scale", FLOAT, "W")] if g.int8 else []
            some, every = (Graph(g.weights, g.int8, prefix) for prefix in ("some.", "every."))
            answers = [self.best(some, some.multiplied(self.readouts, w, b, *scale), 0),
                       self.best(every, words.logits(every, self.readouts), words.size)]  # fmt: skip
            for branch, values in zip((some, every), answers, strict=True):
                for name, value in zip(("scores", "ids", "asked"), values, strict=True):
                    branch.output(f"{branch.prefix}{name}", value, INT if name == "ids" else FLOAT, "N", name)
            given = g.op("Greater", g.op("Size", b), g.constant(np.array(0), "none"))
            found = g.ops("If", 3, given, then_branch=some.finished("some"), else_branch=every.finished("every"))
        for name, value in zip(("scores", "ids", "asked"), found, strict=True):
            g.output(name, value, INT if name == "ids" else FLOAT, "N", 1 if name == "asked" else "k")
        if self.alpha:
            g.output("attention", self.alpha, FLOAT, "B", "K", "S")

    def mixed(self, words: "_Words") -> str:
        """log p [N, V] of writing and copying, not normalised where some pieces are banned; see `nn.copying`."""
        g = self.graph
        p = g.op("Softmax", words.logits(g, self.readouts, banned=False))
        gate = g.linear(self.readouts, "copier.w")  # [N, 1]
        counts = g.op("Shape", self.alpha)  # [B, K, S]
        ids = g.op("Expand", g.op("Unsqueeze", self.memory["ids"], g.ints(1)), counts)
        flat = g.op("Concat", g.ints(-1), g.op("Shape", self.alpha, start=2), axis=0)
        ids, alpha = (g.op("Reshape", part, flat) for part in (ids, self.alpha))  # [N, S]
        given = g.op("Mul", alpha, g.op("Sigmoid", g.op("Neg", gate)))
        p = g.op("ScatterElements", g.op("Mul", p, g.op("Sigmoid", gate)), ids, given, axis=1, reduction="add")
        return g.op("Add", g.op("Log", p), g.constant(words.bans))

    def best(self, g: Graph, logits: str, size: int) -> list[str]:
        """The k best of logits [N, V], their ids, and those asked for; `size`: V without what was added to it."""
        log_p = g.op("LogSoftmax", logits)
        asked = g.op("GatherElements", log_p, self.ask, axis=1)
        if size < GROUPED:
            return [*g.ops("TopK", 2, log_p, self.k), asked]
        # The k best are in the k groups with the highest maxima, which are found several times quicker.
        group, last = g.constant(np.array(GROUP), "group"), g.constant(np.array(size - 1), "last")
        groups = g.reshape(log_p, 0, -1, GROUP)  # [N, V / GROUP, GROUP]
        count = g.op("Min", self.k, g.ints(-(-size // GROUP)))
        _, which = g.ops("TopK", 2, g.op("ReduceMax", groups, axes=[2], keepdims=0), count, sorted=0)
        some = g.op("GatherND", groups, g.op("Unsqueeze", which, g.ints(2)), batch_dims=1)
        scores, place = g.ops("TopK", 2, g.reshape(some, 0, -1), self.k)
        begin = g.op("Mul", g.op("GatherElements", which, g.op("Div", place, group), axis=1), group)
        ids = g.op("Add", begin, g.op("Mod", place, group))
        return [scores, g.op("Min", ids, last), asked]


class _Words:
    """The output layer: a row of its matrix for each piece, and more where groups want to be full."""

    def __init__(self, g: Graph) -> None:
        self.weight, self.free = g.weights["output.weight"], g.weights["output.bias"]  # [V, R], [V]
        self.size = len(self.free)
        self.more = -self.size % GROUP if self.size >= GROUPED else 0
        self.bans = np.zeros(self.size + self.more, np.float32)
        self.bans[[PAD, BOS]] = -np.inf  # these are never an output
        self.bias = self.free + self.bans[: self.size]

    def logits(self, g: Graph, readouts: str, banned: bool = True) -> str:
        """readouts [N, R] -> [N, V], with V a multiple of GROUP if it is large; `banned`: without PAD and BOS."""
        weight = np.pad(self.weight, ((0, self.more), (0, 0)))
        bias = np.pad(self.bias if banned else self.free, (0, self.more), constant_values=-np.inf)
        return g.product(readouts, "output.weight", weight, bias)


def _cell(g: Graph, o: sections.Model, layer: str, x: str, state: Sequence[str]) -> list[str]:
    """One position of a recurrent layer: x [N, I] and the state before -> the state after; see `nn.recurrent`."""
    if o.cell != "lstm" or o.layer_norm == "gates":
        return _updated(g, o, layer, _from(g, o, layer, "ih", x), state)
    # One product over [x; h] is quicker than two.
    weight = np.concatenate([g.weights[f"{layer}.weight_ih"], g.weights[f"{layer}.weight_hh"]], 1)
    bias = g.weights[f"{layer}.bias_ih"] + g.weights[f"{layer}.bias_hh"]
    gates = g.product(g.concat(x, state[0]), f"{layer}.weight", _ordered(o, weight), _ordered(o, bias))
    return _lstm(g, len(bias) // 4, gates, state[1], None)


def _updated(g: Graph, o: sections.Model, layer: str, from_x: str, state: Sequence[str]) -> list[str]:
    """The state after, from the input's share of the gates [N, G H] and the state before."""
    if o.cell == "sru":
        return _sru(g, g.weights[f"{layer}.v"], from_x, state[1])
    from_h = _from(g, o, layer, "hh", state[0])
    if o.cell == "lstm":
        H = len(g.weights[f"{layer}.bias_hh"]) // 4
        return _lstm(g, H, g.op("Add", from_x, from_h), state[1], f"{layer}.norm_c")
    (xr, xz, xn), (hr, hz, hn) = (g.ops("Split", 3, part, axis=-1) for part in (from_x, from_h))
    r, z = (g.op("Sigmoid", g.op("Add", a, b)) for a, b in ((xr, hr), (xz, hz)))
    n = g.op("Tanh", g.op("Add", xn, g.op("Mul", r, hn)))
    return [g.op("Add", n, g.op("Mul", z, g.op("Sub", state[0], n)))]  # (1 - z) n + z h


def _lstm(g: Graph, H: int, gates: str, c: str, norm: str | None) -> list[str]:
    """(h, c) from the summed gates i, f, o, g [N, 4 H] and c before."""
    three, new = g.ops("Split", 2, gates, g.ints(3 * H, H), axis=-1)
    i, f, out = g.ops("Split", 3, g.op("Sigmoid", three), axis=-1)
    c = g.op("Add", g.op("Mul", f, c), g.op("Mul", i, g.op("Tanh", new)))
    return [g.op("Mul", out, g.op("Tanh", g.norm(c, norm) if norm else c)), c]


def _sru(g: Graph, v: Array, u: str, c: str) -> list[str]:
    """(h, c) from u [N, 3 H] and c before."""
    H = len(v) // 2
    candidate, gates = g.ops("Split", 2, u, g.ints(H, 2 * H), axis=-1)
    gates = g.op("Add", gates, g.op("Mul", g.concat(c, c), g.constant(v)))
    f, r = g.ops("Split", 2, g.op("Sigmoid", gates), axis=-1)
    c = g.op("Add", candidate, g.op("Mul", f, g.op("Sub", c, candidate)))
    return [g.op("Mul", r, g.op("Tanh", c)), c]


def _from(g: Graph, o: sections.Model, layer: str, side: str, x: str) -> str:
    """The share of x or h [N, ..] in the gates [N, G H], normalised where they are."""
    weight, bias = (_ordered(o, g.weights[f"{layer}.{name}_{side}"]) for name in ("weight", "bias"))
    if o.layer_norm != "gates":
        return g.product(x, f"{layer}.weight_{side}", weight, bias)
    scale, shift = (_ordered(o, g.weights[f"{layer}.norm_{side}.{name}"]) for name in ("weight", "bias"))
    rows = g.product(x, f"{layer}.weight_{side}", weight, None)
    return g.op("LayerNormalization", rows, g.constant(scale), g.constant(shift + bias))


def _ordered(o: sections.Model, weight: Array) -> Array:
    """A weight's gates in the order that `_lstm` splits them in."""
    if o.cell != "lstm":
        return weight
    return np.ascontiguousarray(weight.reshape(4, -1, *weight.shape[1:])[list(STEP_GATES)].reshape(weight.shape))


def _memory_size(o: sections.Model) -> int:
    return o.encoder_hidden * (2 if o.bidirectional and o.merge == "concat" else 1)


def _key_size(o: sections.Model) -> int:
    return o.decoder_hidden if o.score == "general" else o.attention_size


def _readout_size(g: Graph) -> int:
    return int(g.weights["output.weight"].shape[1])


def _stepwise(o: sections.Model) -> bool:
    return o.decoder in ("bahdanau", "input_feeding")
