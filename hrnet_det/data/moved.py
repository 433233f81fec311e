"""How the boxes and masks of objects move with their image, by the rules of a code base."""

from __future__ import annotations

import numpy as np
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from fvcore.transforms.transform import TransformList
from pycocotools import mask as coco_mask

from hrnet_det.modeling.compat.training_rules import DETECTRON2_RULES, TrainingRules

_LAST_PIXEL = np.array([0, 0, 1, 1], dtype=np.float32)  # from a half-open box to a closed one


def moved_box(
    annotation: dict, transforms: TransformList, size: tuple[int, int], rules: TrainingRules
) -> np.ndarray | None:
    """An object's box in the transformed image, (4,) float32 x0, y0, x1, y1, half-open.

    Source: Resize and RandomFlip of mmdetection 3.3, which compute in float32; BboxTransform of
    HRNet-Object-Detection, which resizes the closed box, x1 - 1 and y1 - 1, and clips it so that a
    pixel stays inside the image.

    Args:
        size: height, width of the transformed image.
    Returns: None where Detectron2's rules hold.
    """
    if rules == DETECTRON2_RULES:
        return None
    box = BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)
    box, closed = np.asarray([box], dtype=np.float32), _LAST_PIXEL * rules.closed_boxes
    for transform in transforms.transforms:
        if isinstance(transform, T.ResizeTransform):
            box = transform.apply_box(box - closed) + closed
        else:
            box = transform.apply_box(box)
    height, width = size
    end = np.array([width, height, width, height], dtype=np.float32)
    return np.clip(box[0], closed, end - closed[[2, 3, 0, 1]])


def as_run_lengths(annotation: dict, height: int, width: int) -> None:
    """Let an object's polygons, in place, be the pixels of the original image that they cover.

    Source: LoadAnnotations(poly2mask=True) of mmdetection 3.3, annToMask of pycocotools.
    """
    if isinstance(polygons := annotation.get("segmentation"), list):
        runs = coco_mask.frPyObjects([list(map(float, p)) for p in polygons], height, width)
        annotation["segmentation"] = coco_mask.merge(runs)
