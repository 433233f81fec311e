"""Detections of a resized image in the original one's pixels, as a code base scales them back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.config import CfgNode, configurable
from detectron2.structures import Boxes, ImageList, Instances

from hrnet_det.modeling.compat.boxes import ImageSize, scaled
from hrnet_det.modeling.compat.conventions import Conventions
from hrnet_det.modeling.compat.masks import paste_masks


class KnowsScale:
    """Base of detectors that know by which scale an image was resized, before FollowsConventions.

    Args:
        test_sides: shortest and largest longest side of a resized image, in pixels, from which
            a code base with one scale for both axes knows that scale.
        others: conventions, and as the detector's.
    """

    @configurable
    def __init__(self, *, test_sides: tuple[int, int] = (0, 0), **others: object) -> None:
        super().__init__(**others)
        self.test_sides = test_sides

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        sides = (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)
        return {**super().from_config(cfg), "test_sides": sides}

    def preprocess_image(self, batched_inputs: list[dict]) -> ImageList:
        images = super().preprocess_image(batched_inputs)
        images.image_sizes = [
            ImageSize(
                size,
                image_scale(size, original_size(image, size), self.test_sides, self.conventions),
            )
            for size, image in zip(images.image_sizes, batched_inputs, strict=True)
        ]
        return images


def image_scale(
    size: tuple[int, int],
    original: tuple[int, int],
    test_sides: tuple[int, int],
    conventions: Conventions,
) -> tuple[float, float]:
    """(x, y): resized pixels per original pixel.

    Args:
        size, original: height and width, resized and as they were.
        test_sides: as KnowsScale's.
    """
    if conventions.one_scale and test_sides[0]:
        shortest, longest = test_sides
        scale = min(longest / max(original), shortest / min(original))
        if tuple(int(side * scale + 0.5) for side in original) == tuple(size):
            return scale, scale
    return size[1] / original[1], size[0] / original[0]


def original_size(image: dict, size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) in pixels that the detections of a row are wanted in."""
    return image.get("height", size[0]), image.get("width", size[1])


def postprocessed(
    results: Sequence[Instances], batched_inputs: Sequence[dict], conventions: Conventions
) -> list[dict]:
    """`postprocess` of each image's detections, as detectors return them."""
    return [
        {"instances": postprocess(r, *original_size(image, r.image_size), conventions)}
        for r, image in zip(results, batched_inputs, strict=True)
    ]


def postprocess(results: Instances, height: int, width: int, conventions: Conventions) -> Instances:
    """Detections of a resized image in the pixels of the original one.

    Args:
        results: of the ROI heads; unless their image_size is an ImageSize, the scale follows from
            it and the original image's height and width.
    Output: pred_boxes in original pixels, pred_masks (N, height, width) bool where there are
        masks, pred_keypoints as Detectron2's.
    """
    size = results.image_size
    scale = getattr(size, "scale", (size[1] / width, size[0] / height))
    results = Instances((height, width), **results.get_fields())
    results.pred_boxes = Boxes(scaled(results.pred_boxes.tensor, torch.div, scale, conventions))
    if not conventions.keeps_empty_boxes:
        results = results[results.pred_boxes.nonempty()]
    if results.has("pred_masks"):
        probabilities = results.pred_masks[:, 0]  # (N, 1, M, M) of the mask head
        results.pred_masks = paste_masks(
            probabilities, results.pred_boxes.tensor, height, width, conventions.mask_paste
        )
    if results.has("pred_keypoints"):
        results.pred_keypoints[:, :, 0] /= scale[0]
        results.pred_keypoints[:, :, 1] /= scale[1]
    return results
