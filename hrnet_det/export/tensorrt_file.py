"""ONNX files that TensorRT builds engines of: sizes are fixed, and operators are those it has.

They are run by onnxruntime here; TensorRT itself needs a GPU.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime

from hrnet_det.errors import InputError
from hrnet_det.export import onnx_file
from hrnet_det.export.graph import DetectorGraph
from hrnet_det.export.half import halved
from hrnet_det.export.onnx_file import UNREADABLE, OnnxEngine, label
from hrnet_det.export.options import ExportOptions

__all__ = ["UNREADABLE", "label", "open_file", "write"]

OPSET = 17  # the last one that TensorRT 8.5 reads
# Of ONNX, what TensorRT 8.5 and later have for tensors of any values. If, Loop and Scan, which it
# has with restrictions on shapes, are not among them.
# Source: docs/operators.md of github.com/onnx/onnx-tensorrt, of TensorRT 8.5.
OPERATORS = frozenset(
    """
    Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast Ceil Clip Concat Constant
    ConstantOfShape Conv ConvTranspose Cos CumSum Div Einsum Equal Erf Exp Expand Flatten Floor
    Gather GatherElements GatherND Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual
    GridSample HardSigmoid HardSwish Identity InstanceNormalization LeakyRelu Less LessOrEqual Log
    LogSoftmax MatMul Max MaxPool Mean Min Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or Pad
    Pow PRelu Range Reciprocal ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu
    Reshape Resize RoiAlign Round ScatterElements ScatterND Shape Sigmoid Sign Sin Size Slice
    Softmax Softplus Split Sqrt Squeeze Sub Sum Tanh Tile TopK Transpose Trilu Unsqueeze Where Xor
    """.split()  # noqa: SIM905
)
RESIZE_MODES = ("nearest", "linear")


def write(graph: DetectorGraph, path: Path, options: ExportOptions, metadata: dict) -> None:
    """Write a detector for images of one size. What follows from that size is computed now.

    Raises: InputError if it has an operator or a type that TensorRT lacks.
    """
    plain = replace(options, precision="float32")
    onnx_file.write(graph, path, plain, metadata, opset=OPSET)
    model = folded(path)
    check(model)
    onnx.save(halved(model) if options.precision == "float16" else model, str(path))
    label(path, metadata)


def folded(path: Path) -> onnx.ModelProto:
    """A file's graph without what is the same for every image."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    made = path.with_suffix(".folded")
    options.optimized_model_filepath = str(made)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    model = onnx.load(str(made))
    made.unlink()
    return model


def check(model: onnx.ModelProto) -> None:
    """Raises: InputError if TensorRT cannot read a graph."""
    lacking = {
        node.op_type if not node.domain else f"{node.domain}.{node.op_type}"
        for node in model.graph.node
        if node.domain or node.op_type not in OPERATORS or not _is_resized_plainly(node)
    }
    infos = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    types = {info.type.tensor_type.elem_type for info in infos}
    types |= {tensor.data_type for tensor in model.graph.initializer}
    if onnx.TensorProto.DOUBLE in types:
        lacking.add("numbers of 64 bits")
    if lacking:
        raise InputError(
            f"--format tensorrt-onnx: TensorRT does not have {', '.join(sorted(lacking))}, which "
            "this detector takes: give --part backbone, or --format onnx for another engine"
        )


def _is_resized_plainly(node: onnx.NodeProto) -> bool:
    if node.op_type != "Resize":
        return True
    modes = [a.s.decode() for a in node.attribute if a.name == "mode"]
    return all(mode in RESIZE_MODES for mode in modes)


open_file = OnnxEngine
