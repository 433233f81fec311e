"""ONNX files, and how onnxruntime runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from hrnet_det.export.graph import DetectorGraph
from hrnet_det.export.half import halved
from hrnet_det.export.options import ExportOptions

OPSET = 18
METADATA = "hrnet_det"
UNREADABLE = (  # what onnxruntime raises for a damaged file, each of them a plain Exception
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    ValueError,
    OSError,
)


def write(
    graph: DetectorGraph, path: Path, options: ExportOptions, metadata: dict, *, opset: int = OPSET
) -> None:
    """Write a detector. Its metadata is the JSON of the property "hrnet_det"."""
    with torch.no_grad():
        torch.onnx.export(
            graph,
            (graph.example(),),
            str(path),
            dynamo=False,
            opset_version=opset,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes={graph.inputs[0]: graph.axes},
        )
    if options.precision == "float16":
        onnx.save(halved(onnx.load(str(path))), str(path))
    label(path, metadata)


def label(path: Path, metadata: dict) -> None:
    """Replace what a file says of itself."""
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {METADATA: json.dumps(metadata)})
    onnx.save(model, str(path))


class OnnxEngine:
    """A file as a function: named arrays in, named arrays out."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # errors are raised
        where = {"providers": ["CPUExecutionProvider"]}
        self.session = onnxruntime.InferenceSession(str(path), options, **where)
        self.name = f"onnxruntime {onnxruntime.__version__}"
        found = self.session.get_modelmeta().custom_metadata_map
        self.metadata = json.loads(found.get(METADATA, "{}"))

    def __call__(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, arrays), strict=True))


open_file = OnnxEngine
