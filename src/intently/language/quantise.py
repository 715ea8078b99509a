"""An fp32 ONNX graph to int8: every product with constant weights is computed in whole numbers.

Weights have a scale for each output column, as in ONNX Runtime's per-channel dynamic quantisation.
Activations differ: a scale for each token, not one for the whole batch. That costs a few percent of the
speed, halves the distance to the exact vectors, and makes a vector independent of the texts beside it
(docs/adr/0001).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from intently.schema import FloatArray

WEIGHT_MAX = 63
"""Weights lie in -63..63: 7 bits, since two products of 8 bits overflow on processors without VNNI."""

_OURS = "com.microsoft"
_STEP, _MIDDLE, _TINY = "intently_step", "intently_middle", "intently_tiny"
_EMBEDDING = 1_000_000  # tables with more numbers than this are kept in half precision


def quantise(source: Path, target: Path) -> int:
    """Write the int8 version of the graph in `source`; how many products were replaced."""
    model: ModelProto = onnx.load(str(source))
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for name, value in ((_STEP, np.float32(1 / 127)), (_MIDDLE, np.uint8(128)), (_TINY, np.float32(1e-12))):
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    nodes: list[NodeProto] = []
    rounded: set[str] = set()
    replaced: set[str] = set()
    for node in graph.node:
        if node.op_type == "MatMul" and _is_matrix(weights.get(node.input[1])):
            if node.input[0] not in rounded:
                nodes += _round_tokens(node.input[0])
                rounded.add(node.input[0])
            if node.input[1] not in replaced:
                _round_weights(graph, weights[node.input[1]])
                replaced.add(node.input[1])
            nodes += _product(node)
        elif node.op_type == "Gather" and _is_large(weights.get(node.input[0])):
            nodes += _half_table(graph, node, weights[node.input[0]], node.input[0] not in replaced)
            replaced.add(node.input[0])
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    if _OURS not in {entry.domain for entry in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(_OURS, 1))
    onnx.save(model, str(target))
    return sum(node.op_type == "MatMulIntegerToFloat" for node in nodes)


def round_columns(weights: FloatArray) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.int8]], FloatArray]:
    """Whole numbers in -63..63 and the scale of each column: (rows, columns) -> that, (columns,)."""
    scale = (np.abs(weights).max(axis=0) / WEIGHT_MAX).astype(np.float32)
    scale[scale == 0] = 1.0
    return np.round(weights / scale).astype(np.int8), scale


def _is_matrix(tensor: TensorProto | None) -> bool:
    return tensor is not None and len(tensor.dims) == 2 and tensor.data_type == TensorProto.FLOAT


def _is_large(tensor: TensorProto | None) -> bool:
    return _is_matrix(tensor) and int(np.prod(tensor.dims)) > _EMBEDDING if tensor is not None else False


def _round_tokens(x: str) -> list[NodeProto]:
    """x / its largest magnitude in each row -> whole numbers 1..255, 128 for nought."""
    return [
        helper.make_node("ReduceMax", [x], [f"{x}_high"], axes=[-1], keepdims=1),
        helper.make_node("ReduceMin", [x], [f"{x}_low"], axes=[-1], keepdims=1),
        helper.make_node("Neg", [f"{x}_low"], [f"{x}_depth"]),
        helper.make_node("Max", [f"{x}_high", f"{x}_depth", _TINY], [f"{x}_size"]),
        helper.make_node("Div", [x, f"{x}_size"], [f"{x}_unit"]),
        helper.make_node("QuantizeLinear", [f"{x}_unit", _STEP, _MIDDLE], [f"{x}_whole"]),
    ]


def _round_weights(graph: GraphProto, tensor: TensorProto) -> None:
    whole, scale = round_columns(numpy_helper.to_array(tensor))
    name = tensor.name
    graph.initializer.append(numpy_helper.from_array(whole, f"{name}_whole"))
    graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
    graph.initializer.append(numpy_helper.from_array(np.zeros(len(scale), np.int8), f"{name}_zero"))


def _product(node: NodeProto) -> list[NodeProto]:
    x, w = node.input[0], node.input[1]
    inputs = [f"{x}_whole", f"{w}_whole", _STEP, f"{w}_scale", _MIDDLE, f"{w}_zero"]
    unit = f"{node.output[0]}_unit"
    return [
        helper.make_node("MatMulIntegerToFloat", inputs, [unit], domain=_OURS),
        helper.make_node("Mul", [unit, f"{x}_size"], list(node.output)),
    ]


def _half_table(graph: GraphProto, node: NodeProto, tensor: TensorProto, first: bool) -> list[NodeProto]:
    """Look up in half precision, then widen: half the file, the same vectors to 3 digits."""
    half = f"{tensor.name}_half"
    if first:
        table = numpy_helper.to_array(tensor).astype(np.float16)
        graph.initializer.append(numpy_helper.from_array(table, half))
    out = node.output[0]
    lookup = helper.make_node("Gather", [half, node.input[1]], [f"{out}_half"])
    lookup.attribute.extend(node.attribute)
    return [lookup, helper.make_node("Cast", [f"{out}_half"], [out], to=TensorProto.FLOAT)]
