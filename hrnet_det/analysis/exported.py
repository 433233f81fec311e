"""Forms of a network that another engine runs, from a file as hrnet_det.export writes it."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from hrnet_det.analysis.cases import Case, Inputs
from hrnet_det.analysis.models import detector_run
from hrnet_det.export.graph import DetectorGraph
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
    """

    def __init__(self, graph: DetectorGraph) -> None:
        super().__init__()
        options, module = graph.options, graph.options.row.load()
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # sizes are constants here
            path = Path(folder, f"form{options.row.suffix}")
            module.write(graph, path, options, {"export": {"precision": options.precision}})
            self.engine = module.open_file(path)

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        images = inputs
        if not isinstance(inputs, Tensor):
            images = torch.stack([row["image"] for row in inputs])
        found = self.engine({"images": images.numpy()})
        return {name: torch.from_numpy(array) for name, array in found.items()}


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
    return FileForm(DetectorGraph(model if whole else OfNormalised(model), run, options).eval())
