"""Writing an ONNX graph node by node, with matrices in float32 or int8."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from antiphon.errors import UserError

Case = TypeVar("Case")
Array = NDArray[Any]
Weights = Mapping[str, NDArray[np.float32]]
OPSET, IR = 17, 8  # LayerNormalization begins with 17; onnxruntime has read both since 1.12
MICROSOFT = "com.microsoft"  # onnxruntime's own operators: products of int8 weights
FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64

# Largest int8 weight of a product. Processors without VNNI add two products in 16 bits: 2 x 255 x 64 still fits.
LARGEST = 64


def known(cases: Mapping[str, Case], name: str, option: str) -> Case:
    """The case of an option's value.

    Raises:
        UserError: there is none. A model is never written as if it were another one.
    """
    if name not in cases:
        raise UserError(f"{option} = '{name}': cannot be exported to ONNX; run this model with --engine torch")
    return cases[name]


class Graph:
    """A graph under construction. Methods take and return names of values; each weight is written once."""

    def __init__(self, weights: Weights, int8: bool, epsilon: float, prefix: str = "") -> None:
        self.weights, self.int8, self.epsilon = weights, int8, epsilon  # of layer normalisation
        self.prefix = prefix  # names differ inside a loop and around it
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.results: list[tuple[str, str]] = []  # names of outputs, and of the values that they are
        self.count = 0

    def input(self, name: str, kind: int, *shape: str | int) -> str:
        """Declare an input; dimensions that vary are named."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, value: str, kind: int, *shape: str | int) -> None:
        """Make a value an output."""
        self.results.append((name, value))
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def ops(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node of `count` outputs; an input that is left out is ''."""
        names = [f"{self.prefix}{kind}_{self.count + i}" for i in range(count)]
        self.count += count
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def constant(self, value: Array, name: str = "") -> str:
        """Add an array; a named one is added only once."""
        if not name:
            name, self.count = f"constant_{self.count}", self.count + 1
        name = self.prefix + name
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64), "ints_" + "_".join(map(str, values)))

    def weight(self, name: str) -> str:
        return self.constant(self.weights[name], name)

    def reshape(self, x: str, *shape: int) -> str:
        """Change the shape; -1: the remaining size, 0: the same size as before."""
        return self.op("Reshape", x, self.ints(*shape))

    def unflattened(self, rows: str, x: str) -> str:
        """rows [A B, ..] as [A, B, ..], where A and B are the first two axes of x."""
        return self.op("Reshape", rows, self.op("Concat", self.op("Shape", x, end=2), self.ints(-1), axis=0))

    def concat(self, *parts: str) -> str:
        return parts[0] if len(parts) == 1 else self.op("Concat", *parts, axis=-1)

    def zeros(self, lengths: str, size: int) -> str:
        """Zeros [B, size]; `lengths` [B] says how many rows."""
        return self.op("ConstantOfShape", self.op("Concat", self.op("Shape", lengths), self.ints(size), axis=0))

    def linear(self, x: str, layer: str) -> str:
        """A PyTorch linear layer: x [N, in] -> [N, out]."""
        return self.product(x, f"{layer}.weight", self.weights[f"{layer}.weight"], self.weights.get(f"{layer}.bias"))

    def product(self, x: str, name: str, weight: Array, bias: Array | None) -> str:
        """x [N, in] times weight [out, in] plus bias [out]; in int8 x is quantised by its largest number."""
        b = [] if bias is None else [self.constant(bias, f"{name}.bias")]
        if not self.int8:
            return self.op("Gemm", x, self.constant(weight, name), *b, transB=1)
        w, scale = quantised(weight)
        tensors = self.constant(w.T, f"{name}.int8"), self.constant(scale, f"{name}.scale")
        return self.op("DynamicQuantizeMatMul", x, *tensors, "", *b, domain=MICROSOFT)

    def multiplied(self, x: str, weight: str, bias: str, scale: str = "") -> str:
        """x [N, in] times a weight [in, out] that is an input, plus its bias; int8 if it has a scale [out]."""
        if scale:
            return self.op("DynamicQuantizeMatMul", x, weight, scale, "", bias, domain=MICROSOFT)
        return self.op("Add", self.op("MatMul", x, weight), bias)

    def embed(self, name: str, ids: str) -> str:
        """ids [..] -> embeddings [.., E]."""
        if not self.int8:
            return self.op("Gather", self.weight(name), ids)
        w, scale = quantised(self.weights[name], 127)
        rows = self.op("Cast", self.op("Gather", self.constant(w, f"{name}.rows"), ids), to=FLOAT)
        return self.op("Mul", rows, self.op("Gather", self.constant(scale[:, None], f"{name}.rows.scale"), ids))

    def norm(self, x: str, layer: str) -> str:
        """A PyTorch layer normalisation."""
        return self.normalised(x, self.weight(f"{layer}.weight"), self.weight(f"{layer}.bias"))

    def normalised(self, x: str, scale: str, shift: str) -> str:
        """Layer normalisation over the last axis."""
        return self.op("LayerNormalization", x, scale, shift, epsilon=self.epsilon)

    def finished(self, name: str) -> onnx.GraphProto:
        """The graph alone, such as a loop's body; values that are outputs get the outputs' names."""
        renamed: dict[str, str] = {}
        for output, value in self.results:
            if renamed.setdefault(value, output) != output:  # one value twice
                self.nodes.append(helper.make_node("Identity", [value], [output]))
        nodes = []
        for node in self.nodes:
            new = onnx.NodeProto()
            new.CopyFrom(node)
            new.input[:] = [renamed.get(value, value) for value in node.input]
            new.output[:] = [renamed.get(value, value) for value in node.output]
            nodes.append(new)
        return helper.make_graph(nodes, name, self.inputs, self.outputs, list(self.constants.values()))

    def model(self) -> onnx.ModelProto:
        """The finished model."""
        graph = self.finished("antiphon")
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR, producer_name="antiphon")


def quantised(weight: Array, largest: int = LARGEST) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """weight [.., out, in] as int8 and the scale of each of its rows [.., out]."""
    scale = np.maximum(np.abs(weight).max(-1) / largest, np.finfo(np.float32).tiny).astype(np.float32)
    return np.rint(weight / scale[..., None]).astype(np.int8), scale
