"""OpenVINO files, and how OpenVINO runs them on a CPU."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import threading
from collections import Counter, OrderedDict
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import openvino as ov
from openvino._offline_transformations import apply_moc_transformations

from hrnet_det.errors import InputError, MissingInputError
from hrnet_det.export.formats import FORMATS
from hrnet_det.export.graph import DetectorGraph
from hrnet_det.export.int8 import DIGEST, of_network
from hrnet_det.export.options import ExportOptions
from hrnet_det.modeling.inference.openvino_form import check_process, compile_options, core

logger = logging.getLogger("detectron2.hrnet_det")

METADATA = "hrnet_det"
UNREADABLE = (RuntimeError, ValueError)  # of a damaged file
WEIGHTS_SUFFIX = ".bin"  # of the second file, which lies beside the .xml and has the weights

# What OpenVINO calls the types that layers compute in. Without a hint it takes bfloat16 by itself
# where the CPU has it. float16 is how weights are stored; a CPU computes in float32.
HINTS = {"float32": "f32", "float16": "f32", "bfloat16": "bf16", "int8": "f32"}
_KEPT_AS_THEY_ARE = ("Const", "Parameter", "Result")
# A shape that comes so often gets a network of its own, of these as many at most.
SEEN, KEPT = 8, 4
COUNTED = 1000  # shapes, before counting begins anew

Shapes = tuple[tuple[int, ...], ...]


def write(graph: DetectorGraph, path: Path, options: ExportOptions, metadata: dict) -> None:
    """Write a detector: an .xml, and a .bin of the same name beside it with the weights.

    It goes through ONNX: OpenVINO's own reader of traced modules takes sizes of the image that
    they were traced with for constants (boxes of other sizes were 80 pixels off).

    Weights of float16 and bfloat16 files are stored in float16.

    Raises: InputError if the packages for ONNX are not installed; a file is run without them.
    """
    with tempfile.TemporaryDirectory() as folder:
        between = Path(folder) / "model.onnx"
        form = replace(options, format="onnx", precision="float32")
        FORMATS["onnx"].load().write(graph, between, form, metadata)
        save(core().read_model(str(between)), path, options.precision, metadata)


def save(model: ov.Model, path: Path, precision: str, metadata: dict) -> None:
    """Write a network with its metadata, which is JSON in the rt_info "hrnet_det".

    Raises: InputError if OpenVINO cannot write it, for which it has one reason, and no words.
    """
    apply_moc_transformations(model, cf=True)  # those of reading, after which no name changes
    model.set_rt_info(json.dumps(metadata), [METADATA])
    try:
        ov.save_model(model, str(path), compress_to_fp16=precision in ("float16", "bfloat16"))
    except RuntimeError as error:
        raise InputError(
            f"OpenVINO cannot write {path.name} and its .bin ({error}): the disk is full, or does "
            "not take files of that size: make room, or give another place"
        ) from error
    _keep_boxes_precise(path)


def _keep_boxes_precise(path: Path) -> None:
    """Let all but the network's layers be computed in float32, whatever these are.

    In bfloat16 a coordinate of 1,000 pixels is rounded by 2, and OpenVINO takes it for RoIAlign
    and the pasting of masks, too, where layers are in bfloat16. "precise" is its own mark.
    """
    tree = ElementTree.parse(path)
    for layer in tree.iter("layer"):
        if of_network(layer.get("name")) or layer.get("type") in _KEPT_AS_THEY_ARE:
            continue
        said = layer.find("rt_info")
        said = ElementTree.SubElement(layer, "rt_info") if said is None else said
        ElementTree.SubElement(said, "attribute", {"name": "precise", "version": "0"})
    _write(tree, path)


def label(path: Path, metadata: dict) -> None:
    """Give a file that is there other metadata; its weights stay as they are."""
    tree = ElementTree.parse(path)
    tree.find(f"rt_info/{METADATA}").set("value", json.dumps(metadata))
    _write(tree, path)


def _write(tree: ElementTree.ElementTree, path: Path) -> None:
    """Write an .xml whose .bin is there: OpenVINO itself takes any .bin of this length."""
    said = tree.find("rt_info")
    digest = said.find(DIGEST)
    digest = ElementTree.SubElement(said, DIGEST) if digest is None else digest
    digest.set("value", _digest_of(path.with_suffix(WEIGHTS_SUFFIX)))
    tree.write(path, encoding="utf-8", xml_declaration=True)


def _digest_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path) -> tuple[ov.Model, dict]:
    """A network and its metadata, {} if `hrnet-det export` has not written it.

    Raises: MissingInputError without the file or the one with its weights; InputError if these are
        of another export; what `UNREADABLE` has if it cannot be read.
    """
    weights = path.with_suffix(WEIGHTS_SUFFIX)
    for file, what in ((path, "there is no such file"), (weights, f"{path.name} has its weights")):
        if not file.is_file():
            raise MissingInputError(f"{file}: {what}; an OpenVINO model is an .xml and a .bin")
    model = core().read_model(str(path))
    if not model.has_rt_info([METADATA]):
        return model, {}
    said = model.get_rt_info([DIGEST]).astype(str) if model.has_rt_info([DIGEST]) else ""
    if said and said != _digest_of(weights):
        raise InputError(
            f"{weights} is not what was written with {path.name}, but changed, or of another "
            "export: take both files of one export"
        )
    return model, json.loads(model.get_rt_info([METADATA]).astype(str))


class OpenVinoEngine:
    """A file as a function: named arrays in, named arrays out. It may be called by many threads.

    It computes in the precision that the file was written in, by as many threads as torch. Shapes
    that come again and again get a network of their own, which takes seconds to make and then
    less time for an image (`SEEN`, `KEPT`).

    Raises: RuntimeError in a process that was forked from one which has used OpenVINO.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"OpenVINO {ov.__version__.split('-')[0]}"
        self.model, self.metadata = read(path)
        precision = self.metadata.get("export", {}).get("precision", "float32")
        self.names = [output.any_name for output in self.model.outputs]
        self.config = compile_options(hint_for(precision))
        self._any = core().compile_model(self.model, "CPU", self.config)
        self._dynamic = self.model.is_dynamic()
        self._seen: Counter[Shapes] = Counter()
        self._own: OrderedDict[Shapes, ov.CompiledModel] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with self._lock:
            found = self._network_for(arrays)(arrays)
        return dict(zip(self.names, found.values(), strict=True))

    def _network_for(self, arrays: dict[str, np.ndarray]) -> ov.CompiledModel:
        check_process()
        shapes = tuple(array.shape for array in arrays.values())
        if shapes in self._own:
            self._own.move_to_end(shapes)
            return self._own[shapes]
        if len(self._seen) > COUNTED:
            self._seen.clear()
        self._seen[shapes] += 1
        if not self._dynamic or self._seen[shapes] < SEEN:
            return self._any
        model = self.model.clone()
        model.reshape({name: array.shape for name, array in arrays.items()})
        self._own[shapes] = core().compile_model(model, "CPU", self.config)
        self._seen[shapes] = 0
        if len(self._own) > KEPT:
            self._own.popitem(last=False)
        return self._own[shapes]


def hint_for(precision: str) -> str:
    """The type to compute in on this CPU: f32 where it has no bfloat16, which is said."""
    hint = HINTS[precision]
    if hint == "bf16" and "BF16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        logger.warning("this CPU has no instructions for bfloat16: it computes in float32 here")
        return "f32"
    return hint


open_file = OpenVinoEngine
