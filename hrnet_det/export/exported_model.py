"""An exported file in the place of a Detectron2 model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from detectron2.structures import Boxes, Instances
from torch import nn

from hrnet_det.export.formats import format_of


class ExportedModel(nn.Module):
    """A file's detector with the interface of a Detectron2 model in evaluation mode.

    Input:  rows with "image" (3, H, W), as Detectron2's; not resized where the file does it.
    Output: for each {"instances": Instances}, in pixels of the row's height and width.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.engine = format_of(path).load().open_file(Path(path))
        self.metadata = self.engine.metadata

    def forward(self, rows: list[dict]) -> list[dict]:
        return [{"instances": self._objects(row)} for row in rows]

    def _objects(self, row: dict) -> Instances:
        image = row["image"].permute(1, 2, 0).round().to(torch.uint8)
        found = self.engine({"image": np.ascontiguousarray(image.numpy())})
        objects = Instances(tuple(image.shape[:2]))
        objects.pred_boxes = Boxes(torch.from_numpy(found["boxes"]))
        objects.scores = torch.from_numpy(found["scores"])
        objects.pred_classes = torch.from_numpy(found["classes"])
        return objects
