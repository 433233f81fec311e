"""A detector as a function of tensors, which is what a file holds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.export.options import ExportOptions
from hrnet_det.modeling.kinds import kind_of


class DetectorGraph(nn.Module):
    """A detector that takes and gives tensors alone; it is traced.

    Args:
        model: in evaluation mode, not optimised.
        run: its config.
    Input:  "inside": image (H, W, 3) uint8 in RGB. "outside": images (N, 3, H, W) float32.
    Output: a tuple of what `outputs` names: boxes (K, 4) float32, scores (K,) float32, classes
        (K,) int64, then masks (K, H, W) bool and keypoints (K, J, 3) where the detector has them.
    """

    def __init__(self, model: nn.Module, run: RunConfig, options: ExportOptions) -> None:
        super().__init__()
        self.model = model
        self.kind = kind_of(run)
        self.options = options
        self.bgr = run[settings.PIXEL_FORMAT] == "BGR"

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("image",) if self.options.processing == "inside" else ("images",)

    @property
    def outputs(self) -> tuple[str, ...]:
        more = [("masks", self.kind.masks), ("keypoints", self.kind.keypoints)]
        return ("boxes", "scores", "classes", *(name for name, there in more if there))

    def example(self) -> Tensor:
        """An input to trace with."""
        height, width = self.options.size or (192, 224)
        return torch.randint(0, 256, (height, width, 3), dtype=torch.uint8)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        given = image.permute(2, 0, 1).float()
        given = given.flip(0) if self.bgr else given
        row = {"image": given, "height": image.shape[0], "width": image.shape[1]}
        objects = self.model([row])[0]["instances"]
        found = [objects.pred_boxes.tensor, objects.scores, objects.pred_classes]
        if self.kind.masks:
            found.append(objects.pred_masks)
        if self.kind.keypoints:
            found.append(objects.pred_keypoints)
        return tuple(found)
