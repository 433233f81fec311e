"""Layers of a written detector in int8, by the quantisers of onnxruntime and of NNCF.

What stays in float32 was chosen by the AP of a quickstart Mask R-CNN of 42.6 (boxes) and 41.6
(masks), calibrated with 32 images: all layers in int8 42.4 and 41.5, without the last ones 43.0 and
41.9, the same with weights of 7 bits 43.2 and 41.9, the backbone with its pyramid alone 42.9 and
41.5. The last layers are 1 % of the time.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from hrnet_det.errors import InputError
from hrnet_det.modeling.inference.openvino_form import core

DIGEST = "hrnet_det_weights"  # the rt_info of an .xml with the SHA-256 of its .bin
Arrays = dict[str, np.ndarray]

# Modules whose layers are quantised, and in these the last layers, which stay in float32: boxes,
# scores, masks and keypoints are decoded from them.
_NETWORK = re.compile(
    r"/(backbone|rpn_head|box_head(\.\d+)?|mask_head(\.\d+)?|keypoint_head|head)/"
)
_LAST = re.compile(
    r"/(objectness_logits|anchor_deltas|cls_score|bbox_pred|ctrness|predictor|deconv|score_lowres"
    r"|semantic_head|res_embedding)(\.\d+)?(_\d+)?/"
)


def of_network(name: str) -> bool:
    """Whether a node, "/backbone/.../Conv", belongs to the network: not to boxes, NMS, RoIAlign."""
    return bool(_NETWORK.search(name))


def in_int8(name: str) -> bool:
    """Whether the layer of a node is quantised, by the node's name, "/backbone/.../Conv"."""
    return of_network(name) and not _LAST.search(name)


def onnx_in_int8(path: Path, arrays: Iterator[Arrays]) -> None:
    """Quantise the layers of an ONNX file, which takes its place.

    Weights have 7 bits, one scale for each channel: with 8 the sums overflow on CPUs that have
    AVX2 or AVX-512 without VNNI.

    Args:
        arrays: inputs to calibrate with.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def get_next(self) -> Arrays | None:
            return next(arrays, None)

    layers = ("Conv", "Gemm")
    model = onnx.load(str(path))
    nodes = [n.name for n in model.graph.node if n.op_type in layers and in_int8(n.name)]
    made = path.with_name("int8.onnx")
    with _quiet():
        quantize_static(
            model,
            str(made),
            Reader(),
            nodes_to_quantize=nodes,
            op_types_to_quantize=list(layers),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    made.replace(path)


def openvino_in_int8(path: Path, arrays: Iterator[Arrays]) -> None:
    """Quantise the layers of an OpenVINO model, which takes its place. As `onnx_in_int8`.

    Raises: InputError if NNCF is not installed.
    """
    import openvino as ov

    try:
        import nncf
    except ImportError as error:
        raise InputError(
            "--format openvino --precision int8 needs nncf, which is not installed: "
            "pip install 'hrnet_det[openvino]'"
        ) from error

    model = core().read_model(str(path))
    ignored = [op.get_friendly_name() for op in model.get_ordered_ops() if not _may_be_int8(op)]
    samples = list(arrays)
    advanced = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
    with _quiet():
        made = nncf.quantize(
            model,
            nncf.Dataset(samples),
            subset_size=len(samples),
            ignored_scope=nncf.IgnoredScope(names=ignored, validate=False),
            advanced_parameters=advanced,
        )
    made.set_rt_info("", [DIGEST])  # that of the float32 weights; `label` writes the new one
    aside = path.with_name("int8.xml")
    ov.save_model(made, str(aside), compress_to_fp16=False)
    for suffix in (".bin", ".xml"):
        aside.with_suffix(suffix).replace(path.with_suffix(suffix))


def _may_be_int8(op: object) -> bool:
    """Whether an operation of OpenVINO belongs to what is quantised."""
    name = op.get_friendly_name()
    layer = op.get_type_name() in ("Convolution", "MatMul", "Add", "Relu")
    return in_int8(name) and (layer or "/backbone/" in name)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without advice of quantisers to their developers, and their bars."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


# By format.
QUANTISERS: dict[str, Callable[[Path, Iterator[Arrays]], None]] = {
    "onnx": onnx_in_int8,
    "openvino": openvino_in_int8,
}
