"""Forms of a network that another engine runs, from a file as hrnet_det.export writes it."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from hrnet_det.analysis.cases import Case, Inputs, build_inputs
from hrnet_det.analysis.models import detector_run
from hrnet_det.export.graph import DetectorGraph
from hrnet_det.export.int8 import QUANTISERS
from hrnet_det.export.options import ExportOptions


class OfNormalised(nn.Module):
    """A backbone as export takes one, of images that are normalised already."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("pixel_mean", torch.zeros(3, 1, 1))
        self.register_buffer("pixel_std", torch.ones(3, 1, 1))


class FileForm(nn.Module):
    """What runs an exported file, in the place of the model that it is of.

    Input:  images (N, 3, H, W) of the size of the export, or Detectron2's rows of such images.
    Output: the file's, by name.

    Args:
        images: (N, 3, H, W) to calibrate int8 with.
    """

    def __init__(self, graph: DetectorGraph, images: Tensor) -> None:
        super().__init__()
        options = graph.options
        module = options.row.load()
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # sizes are constants here
            warnings.filterwarnings("ignore", message="Exporting aten::index")
            path = Path(folder, f"form{options.row.suffix}")
            metadata = {"export": {"precision": options.precision}}
            if options.precision == "int8":
                module.write(graph, path, replace(options, precision="float32"), metadata)
                QUANTISERS[options.format](path, iter([{"images": images.numpy()}]))
                module.label(path, metadata)
            else:
                module.write(graph, path, options, metadata)
            self.engine = module.open_file(path)

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        found = self.engine({"images": _images(inputs).numpy()})
        return {name: torch.from_numpy(array) for name, array in found.items()}


def _images(inputs: Inputs) -> Tensor:
    """(N, 3, H, W), also of rows of images."""
    if isinstance(inputs, Tensor):
        return inputs
    return torch.stack([row["image"] for row in inputs])


def build_file_form(name: str, model: nn.Module, precision: str, case: Case) -> FileForm:
    """A case's model as a file of a format, which its engine runs.

    The file is for images of the case's size alone, which engines compute in less time.
    """
    whole = case.part == "detector"
    options = ExportOptions(
        name,
        precision,
        processing="outside",
        part="detector" if whole else "backbone",
        size=case.size,
        batch=case.batch,
    )
    run = detector_run(case.variant if whole else "w18")  # a backbone's graph reads none of it
    graph = DetectorGraph(model if whole else OfNormalised(model), run, options)
    return FileForm(graph.eval(), _images(build_inputs(case, "cpu")))
