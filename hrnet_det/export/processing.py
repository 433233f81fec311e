"""What a graph does before and after the detector: resizing, and objects in the image's pixels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor

from hrnet_det.config.run_config import RunConfig
from hrnet_det.export.pasting import Number, paste
from hrnet_det.modeling.compat.boxes import scaled
from hrnet_det.modeling.compat.conventions import Conventions

Scale = tuple[Number | float, Number | float]  # (x, y), resized pixels per original pixel
Resizing = Callable[[Tensor], tuple[Tensor, Scale]]


def resizing_of(run: RunConfig) -> Resizing:
    return lambda image: (image.float(), (1.0, 1.0))


def in_original(
    objects: Instances, size: tuple[Number, Number], conventions: Conventions, *, most: int
) -> dict[str, Tensor]:
    """Objects of a resized image in the original one's pixels, as the model postprocesses them.

    Args:
        objects: their image_size is an ImageSize.
        size: height and width of the original image.
        most: of objects; 0 if that is not known.
    Output: boxes, scores, classes, and where there are any masks and keypoints, as DetectorGraph's.
    """
    scale = objects.image_size.scale
    boxes = Boxes(scaled(objects.pred_boxes.tensor, torch.div, scale, conventions))
    found = {"scores": objects.scores, "classes": objects.pred_classes}
    for name in ("masks", "keypoints"):
        if objects.has(f"pred_{name}"):
            found[name] = objects.get(f"pred_{name}")
    found["boxes"] = boxes.tensor
    if not conventions.keeps_empty_boxes:
        boxes.clip(size)
        found["boxes"] = boxes.tensor
        full = boxes.nonempty().nonzero()[:, 0]
        found = {name: values[full] for name, values in found.items()}
    if "masks" in found:
        rule = conventions.mask_paste
        cells = found["masks"][:, 0]
        found["masks"] = paste(cells, found["boxes"], size, method=rule, most=most)
    if "keypoints" in found:
        x, y, score = found["keypoints"].unbind(dim=-1)
        found["keypoints"] = torch.stack([x / scale[0], y / scale[1], score], dim=-1)
    return found
