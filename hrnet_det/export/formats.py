"""The formats that a detector is exported to: one row each, which everything reads."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np

from hrnet_det.errors import InputError


class Engine(Protocol):
    """What runs a file: named arrays in, named arrays out.

    Attributes:
        name: and version, such as "onnxruntime 1.22.0".
        metadata: what the file says of itself; {} if that is nothing.
    """

    name: str
    metadata: dict

    def __call__(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class Format:
    """A format of files.

    Its module has `write(graph, path, options, metadata)`, which may put more files beside the
    path; `label(path, metadata)`, which replaces the metadata of a file; and
    `open_file(path) -> Engine`.
    """

    name: str  # of --format
    title: str  # for people
    suffix: str
    module: str
    packages: tuple[str, ...] = ()  # that must be imported
    extra: str = ""  # of pyproject.toml, which brings them
    precisions: tuple[str, ...] = ("float32",)
    dynamic: bool = True  # whether one file takes images of all sizes
    processing: str = "inside"  # unless the other one is asked for
    others: str = ""  # why it has no other precisions

    def load(self) -> ModuleType:
        """Its module. Raises: InputError if a package that it needs is not installed."""
        for package in self.packages:
            try:
                importlib.import_module(package)
            except ImportError as error:
                raise InputError(
                    f"--format {self.name} needs {package}, which is not installed: "
                    f"pip install 'hrnet_det[{self.extra}]'"
                ) from error
        return importlib.import_module(f"hrnet_det.export.{self.module}")


# fmt: off
FORMATS = {row.name: row for row in (
    Format("onnx", "ONNX", ".onnx", "onnx_file", ("onnx", "onnxruntime"), "onnx",
           ("float32", "float16", "int8"),
           others="onnxruntime has no convolution in bfloat16 for CPUs"),
    Format("openvino", "OpenVINO", ".xml", "openvino_file", ("openvino",), "openvino",
           ("float32", "float16", "bfloat16", "int8")),
    Format("torchscript", "TorchScript", ".torchscript", "torchscript_file",
           others="16 bits on CPUs and int8 are --format openvino's"),
    Format("torch_export", "torch.export", ".pt2", "torch_export_file",
           others="16 bits on CPUs and int8 are --format openvino's"),
    Format("tensorrt-onnx", "ONNX for TensorRT", ".onnx", "tensorrt_file", ("onnx", "onnxruntime"),
           "onnx", ("float32", "float16"), dynamic=False, processing="outside",
           others="TensorRT quantises a float32 file itself: trtexec --int8"),
)}
# fmt: on


def format_of(path: str | Path) -> Format | None:
    """The format of an exported file, by its name; None if it is another kind of file."""
    suffix = Path(path).suffix.lower()
    return next((row for row in FORMATS.values() if row.suffix == suffix), None)
