"""What a tracer cannot follow in Detectron2 and torchvision, in forms that it can."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from unittest.mock import patch

import torch
from detectron2.structures import Boxes
from torch import Tensor

from hrnet_det.export.pasting import keypoints_of

# They count objects with `len`, which makes a constant of the number at the time of tracing.
_COUNTING = (
    "detectron2.modeling.roi_heads.fast_rcnn",
    "detectron2.modeling.roi_heads.mask_head",
    "detectron2.modeling.roi_heads.keypoint_head",
    "hrnet_det.modeling.roi_heads.cascade",
)


@contextmanager
def traceable(most: int) -> Iterator[None]:
    """Within, Detectron2's detectors compute the same by operations without branches and loops.

    Args:
        most: objects of all images together; what is as large as the images is computed in parts.
    """
    changes = [
        ("torchvision.ops.boxes", "batched_nms", suppressed),
        ("detectron2.modeling.poolers", "convert_boxes_to_pooler_format", numbered),
        (
            "detectron2.modeling.roi_heads.keypoint_head",
            "heatmaps_to_keypoints",
            partial(keypoints_of, most=most),
        ),
        *((module, "len", lambda given: given.__len__()) for module in _COUNTING),
    ]
    with replaced(changes):
        yield


@contextmanager
def replaced(changes: Iterable[tuple[str, str, object]]) -> Iterator[None]:
    """Within, names of modules, (module, name, value), are other values."""
    with ExitStack() as stack:
        for module, name, value in changes:
            change = patch.object(importlib.import_module(module), name, value, create=True)
            stack.enter_context(change)
        yield


def suppressed(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """torchvision's batched_nms: the boxes (K, 4) of each label are moved to a place of their own.

    Differs from source: also where there are no boxes, or coordinates below 0.
    """
    ends = torch.cat([boxes.flatten(), boxes.new_zeros(1)])
    moved = boxes + (labels.to(boxes.dtype) * (ends.max() - ends.min() + 1))[:, None]
    return torch.ops.torchvision.nms(moved, scores, threshold)


def numbered(boxes: Sequence[Boxes]) -> Tensor:
    """(M, 5): the number of the image before each box."""
    return torch.cat(
        [
            torch.cat([torch.full_like(of_image.tensor[:, :1], number), of_image.tensor], dim=1)
            for number, of_image in enumerate(boxes)
        ]
    )
