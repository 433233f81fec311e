"""The formats that a detector is exported to: one row each, which everything reads."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from hrnet_det.errors import InputError


@dataclass(frozen=True)
class Format:
    """A format of files.

    Its module has `write(graph, path, options, metadata)` and `open_file(path) -> Engine`.
    """

    name: str  # of --format
    title: str  # for people
    suffix: str
    module: str
    packages: tuple[str, ...] = ()  # that must be imported
    extra: str = ""  # of pyproject.toml, which brings them
    precisions: tuple[str, ...] = ("float32",)
    dynamic: bool = True  # whether one file takes images of all sizes

    def load(self) -> ModuleType:
        """Its module. Raises: InputError if a package that it needs is not installed."""
        for package in self.packages:
            try:
                importlib.import_module(package)
            except ImportError as error:
                raise InputError(
                    f"--format {self.name} needs {package}: pip install '.[{self.extra}]'"
                ) from error
        return importlib.import_module(f"hrnet_det.export.{self.module}")


# fmt: off
FORMATS = {row.name: row for row in (
    Format("onnx", "ONNX", ".onnx", "onnx_file", ("onnx", "onnxruntime"), "onnx",
           ("float32", "float16", "int8")),
    Format("openvino", "OpenVINO", ".xml", "openvino_file", ("openvino",), "openvino",
           ("float32", "float16", "bfloat16", "int8")),
    Format("torchscript", "TorchScript", ".torchscript", "torchscript_file",
           precisions=("float32", "bfloat16")),
    Format("torch_export", "torch.export", ".pt2", "torch_export_file", dynamic=False),
    Format("tensorrt-onnx", "ONNX for TensorRT", ".onnx", "tensorrt_file", ("onnx", "onnxruntime"),
           "onnx", ("float32", "float16"), dynamic=False),
)}
# fmt: on


def format_of(path: str | Path) -> Format | None:
    """The format of an exported file, by its name; None if it is another kind of file."""
    suffix = Path(path).suffix.lower()
    return next((row for row in FORMATS.values() if row.suffix == suffix), None)


Engine = Callable[[dict], dict]  # named arrays in, named arrays out; `metadata` is an attribute
