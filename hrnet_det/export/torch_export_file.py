"""Files of torch.export, and how torch runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torchvision  # noqa: F401  whose operators are the files'
from torch import Tensor, nn
from torch.export import Dim
from torch.export.pt2_archive._package import load_pt2

from hrnet_det.export import exported_program
from hrnet_det.export.archive import EXTRA, Archive, rewrite, save
from hrnet_det.export.exporting import exporting, multiple
from hrnet_det.export.graph import DetectorGraph
from hrnet_det.export.options import ExportOptions
from hrnet_det.export.torchscript_file import Named, called

# Of a damaged file, or one of another version.
UNREADABLE = (RuntimeError, ValueError, KeyError, TypeError, AttributeError, AssertionError)


class Program(Named):
    """The same, whose sizes torch.export can compare."""

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        if not self.detector.whole:
            image = _of_whole_cells(image, self.detector.model.backbone.size_divisibility)
        return super().forward(image)


def _of_whole_cells(images: Tensor, divisor: int) -> Tensor:
    """The same images; that their sides are multiples of the divisor can be seen from now on."""
    height, width = images.shape[-2:]
    below, right = multiple(height, divisor) - height, multiple(width, divisor) - width
    return nn.functional.pad(images, (0, right, 0, below))


def write(graph: DetectorGraph, path: Path, options: ExportOptions, metadata: dict) -> None:
    """Write a detector, as a function of one tensor that gives a dictionary of tensors.

    Its metadata is the JSON of the extra file hrnet_det.json.
    """
    example = graph.example()
    if "batch" in graph.axes.values():
        example = example.expand(2, -1, -1, -1)  # torch takes a size of 1 for a constant
    shapes = dict.fromkeys(graph.axes, Dim.DYNAMIC)
    with torch.no_grad(), exporting():
        program = torch.export.export(
            Program(graph), (example,), dynamic_shapes=(shapes,), strict=False
        )
    save(path, lambda content: torch.export.save(program, content))
    label(path, metadata)


def label(path: Path, metadata: dict) -> None:
    """Give a file other metadata, and leave out of what it is not needed for: lines, inputs."""
    changed = {
        EXTRA: json.dumps(metadata).encode(),
        exported_program.PROGRAM: exported_program.plain(Archive(path)[exported_program.PROGRAM]),
        exported_program.SAMPLE: b"",
    }
    rewrite(path, changed)


class TorchExportEngine:
    """A file as a function: named arrays in, named arrays out.

    Raises: InputError of a file that could run other programs (`exported_program`); what
        UNREADABLE has of one that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"torch.export of torch {torch.__version__.split('+')[0]}"
        archive = Archive(path)
        self.metadata = json.loads(archive[EXTRA]) if EXTRA in archive.names else {}
        exported_program.check(path, archive)
        self.module = load_pt2(str(path)).exported_programs["model"].module()

    def __call__(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return called(self.module, arrays)


open_file = TorchExportEngine
