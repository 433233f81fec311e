"""The arrays that an exported file gives, as Detectron2's Instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from torch import Tensor

from hrnet_det.modeling.compat.boxes import ImageSize
from hrnet_det.modeling.compat.conventions import DETECTRON2, get_conventions
from hrnet_det.modeling.compat.scales import image_scale, original_size, postprocess

FIELDS = {
    "scores": "scores",
    "classes": "pred_classes",
    "masks": "pred_masks",
    "keypoints": "pred_keypoints",
}


def objects_of(arrays: Mapping[str, np.ndarray], size: tuple[int, int]) -> Instances:
    """The objects of an image, whose height and width in pixels are `size`."""
    objects = Instances(tuple(size))
    objects.pred_boxes = Boxes(torch.from_numpy(arrays["boxes"]))
    for name, field in FIELDS.items():
        if name in arrays:
            objects.set(field, torch.from_numpy(arrays[name]))
    return objects


def into_canvas(
    images: Tensor, size: tuple[int, int], mean: Sequence[float]
) -> tuple[Tensor, tuple[int, int]]:
    """Images (N, 3, H, W) in the upper left corner of the only size that a file takes.

    The rest has the mean colour, which is what Detectron2 pads with. Larger images are resized.

    Returns: (N, 3, *size), and the height and width that the images have in it.
    """
    given = images.shape[2:]
    factor = min(1.0, *(most / side for side, most in zip(given, size, strict=True)))
    if factor < 1:
        given = [max(1, int(side * factor)) for side in given]
        images = F.interpolate(images, given, mode="bilinear", antialias=True)
    colour = images.new_tensor(mean).view(1, 3, 1, 1)
    canvas = colour.repeat(len(images), 1, *size)
    canvas[:, :, : given[0], : given[1]] = images
    return canvas, tuple(given)


def in_original(
    objects: Instances, row: Mapping, conventions: str, test_sides: tuple[int, int]
) -> Instances:
    """Objects of a resized image in the original one's pixels, as the detector brings them there.

    Args:
        objects: with pred_masks (N, M, M), the probabilities of the cells of their boxes.
        row: has the original image's height and width.
        conventions: MODEL.CONVENTIONS.
        test_sides: shorter and longer side that images are resized to, pixels.
    """
    if objects.has("pred_masks"):
        objects.pred_masks = objects.pred_masks[:, None]
    original = original_size(row, objects.image_size)
    if conventions == DETECTRON2:
        return detector_postprocess(objects, *original)
    rules = get_conventions(conventions)
    scale = image_scale(objects.image_size, original, test_sides, rules)
    known = Instances(ImageSize(objects.image_size, scale), **objects.get_fields())
    return postprocess(known, *original, rules)
