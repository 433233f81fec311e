"""The layers of an ONNX graph in float16; boxes, scores and NMS stay in float32."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from hrnet_det.errors import InputError

HALF = "_float16"  # the end of a tensor's name
# Layers with weights; their inputs are all data and weights.
LAYERS = {"Conv", "ConvTranspose", "Gemm"}
# What is between layers, by how many of its inputs are data, None for all. It is in float16 where
# all of that is.
BETWEEN = {
    **dict.fromkeys(("Relu", "MaxPool", "AveragePool", "Resize", "Identity", "Dropout"), 1),
    **dict.fromkeys(("Flatten", "Reshape", "Transpose", "Slice", "Pad"), 1),
    **dict.fromkeys(("Add", "Concat"), None),
}


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose layers compute in float16, and hold their weights in it.

    These are convolutions and linear layers with what is between them. Whatever else takes their
    results takes them in float32, RoIAlign, anchors, boxes, softmax and NMS among it.

    Raises: InputError if a weight is too large for float16.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    inside = _results_inside(graph.node, weights)
    outside = _names_taken_outside(graph, inside)
    nodes: list[NodeProto] = []
    cast: set[str] = set()
    for node in graph.node:
        if not inside & set(node.output):
            nodes.append(node)
            continue
        for number in _data_of(node):
            name = node.input[number]
            if name in weights:
                if name + HALF not in weights:
                    weights[name + HALF] = _half_weight(weights[name])
            elif name not in inside and name not in cast:
                nodes.append(_cast(name, name + HALF, TensorProto.FLOAT16))
                cast.add(name)
            node.input[number] = name + HALF
        (result,) = node.output
        node.output[0] = result + HALF
        nodes.append(node)
        if result in outside:
            nodes.append(_cast(result + HALF, result, TensorProto.FLOAT))
    del graph.node[:]
    graph.node.extend(nodes)
    used = _used_names(graph)
    del graph.initializer[:]
    graph.initializer.extend(tensor for name, tensor in weights.items() if name in used)
    kept = [info for info in graph.value_info if info.name not in inside]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    return made


def _data_of(node: NodeProto) -> list[int]:
    """Numbers of a node's inputs that are of its type."""
    count = None if node.op_type in LAYERS else BETWEEN[node.op_type]
    return [n for n, name in enumerate(node.input) if name and (count is None or n < count)]


def _results_inside(nodes: list[NodeProto], weights: dict[str, TensorProto]) -> set[str]:
    """Names of what is computed in float16."""
    inside: set[str] = set()
    for node in nodes:
        if len(node.output) != 1:
            continue
        if node.op_type in LAYERS:
            is_inside = all(name in weights for name in list(node.input)[1:] if name)
        else:
            is_inside = node.op_type in BETWEEN and all(
                node.input[n] in inside for n in _data_of(node)
            )
        if is_inside:
            inside.add(node.output[0])
    return inside


def _names_taken_outside(graph: GraphProto, inside: set[str]) -> set[str]:
    """Names of what is taken in float32: by other nodes, by graphs within, or as an output."""
    taken = {output.name for output in graph.output}
    for node in graph.node:
        if inside & set(node.output):
            names = set(node.input) - {node.input[n] for n in _data_of(node)}
        else:
            names = set(node.input)
        taken |= names
        for inner in _graphs_of(node):
            taken |= _used_names(inner)
    return taken


def _used_names(graph: GraphProto) -> set[str]:
    used = {output.name for output in graph.output}
    for node in graph.node:
        used |= set(node.input)
        for inner in _graphs_of(node):
            used |= _used_names(inner)
    return used


def _graphs_of(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _half_weight(tensor: TensorProto) -> TensorProto:
    values = numpy_helper.to_array(tensor)
    largest = np.abs(values).max(initial=0)
    if largest > np.finfo(np.float16).max:
        raise InputError(
            f"--precision float16: {tensor.name} has the value {largest:g}, and float16 ends at "
            "65504: give --precision float32"
        )
    return numpy_helper.from_array(values.astype(np.float16), tensor.name + HALF)


def _cast(name: str, result: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [name], [result], name=f"{result}_cast", to=to)
