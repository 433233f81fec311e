"""Resizing of pictures as the code bases of the published weights do it: INPUT.RESIZE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from fvcore.transforms.transform import NoOpTransform, Transform

from hrnet_det.data.augmentation import CropAroundObject, CropMapper, OneOf, check_scales
from hrnet_det.errors import InputError


def nearest_sides(height: int, width: int, shortest: int, longest: int) -> tuple[int, int]:
    """mmdetection's size: one scale for both sides, rounded to the nearest pixel, at least 1."""
    scale = min(longest / max(height, width), shortest / min(height, width))
    return max(int(height * scale + 0.5), 1), max(int(width * scale + 0.5), 1)


def floored_sides(height: int, width: int, shortest: int, longest: int) -> tuple[int, int]:
    """maskrcnn-benchmark's size: the shorter side, and the other one in proportion, floored."""
    low, high = min(height, width), max(height, width)
    if high / low * shortest > longest:
        shortest = max(round(longest * low / high), 1)
    other = int(shortest * high / low)
    return (shortest, other) if height <= width else (other, shortest)


class OpenCVResizeTransform(Transform):
    """Bilinear resizing by OpenCV, which does not average the pixels that it skips.

    Args:
        height, width: of the picture. new_height, new_width: of the result. In pixels.
        as_float: the result is float32, not rounded to whole levels.
    Raises: InputError if OpenCV is not installed.
    """

    def __init__(
        self, height: int, width: int, new_height: int, new_width: int, as_float: bool = False
    ) -> None:
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        cv2 = _opencv()
        if self.as_float:
            img = img.astype(np.float32)
        size = (self.new_width, self.new_height)
        resized = cv2.resize(img, size, interpolation=cv2.INTER_LINEAR)
        return resized.reshape(*resized.shape[:2], *img.shape[2:])  # cv2 drops a single channel

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        coords[:, 0] = coords[:, 0] * (self.new_width / self.width)
        coords[:, 1] = coords[:, 1] * (self.new_height / self.height)
        return coords

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        plain = T.ResizeTransform(self.height, self.width, self.new_height, self.new_width)
        return plain.apply_segmentation(segmentation)

    def inverse(self) -> Transform:
        return OpenCVResizeTransform(
            self.new_height, self.new_width, self.height, self.width, self.as_float
        )


def _opencv() -> object:
    try:
        import cv2
    except ImportError as error:
        raise InputError(
            "INPUT.RESIZE opencv needs OpenCV: pip install opencv-python-headless (or, where "
            "pictures are shown in windows, opencv-python)"
        ) from error
    return cv2


@dataclass(frozen=True)
class ResizeRule:
    """How a code base chooses the size, and what it resizes with."""

    sides: Callable[[int, int, int, int], tuple[int, int]]
    transform: Callable[..., Transform]


def _opencv_float(*sizes: int) -> Transform:
    return OpenCVResizeTransform(*sizes, as_float=True)


# "pillow" is Detectron2's own ResizeShortestEdge.
RESIZE_RULES: dict[str, ResizeRule] = {
    "opencv": ResizeRule(nearest_sides, OpenCVResizeTransform),
    "opencv_float": ResizeRule(nearest_sides, _opencv_float),
    "pillow_floor": ResizeRule(floored_sides, T.ResizeTransform),
}


class SourceResize(T.ResizeShortestEdge):
    """Detectron2's ResizeShortestEdge with another code base's rule.

    Args:
        plain: the ResizeShortestEdge to take the place of: its lengths and the way it samples.
        rule: a row of RESIZE_RULES.
    """

    def __init__(self, plain: T.ResizeShortestEdge, rule: ResizeRule) -> None:
        T.Augmentation.__init__(self)
        self._init({"plain": plain, "rule": rule})

    def get_transform(self, image: np.ndarray) -> Transform:
        height, width = image.shape[:2]
        lengths = self.plain.short_edge_length
        if self.plain.is_range:
            shortest = int(np.random.randint(lengths[0], lengths[1] + 1))
        else:
            shortest = int(np.random.choice(lengths))
        if not shortest:
            return NoOpTransform()
        return self.rule.transform(
            height, width, *self.rule.sides(height, width, shortest, self.plain.max_size)
        )


def source_augmentation(augmentation: T.Augmentation, name: str) -> T.Augmentation:
    """The augmentation, or in place of a ResizeShortestEdge that of INPUT.RESIZE `name`.

    Raises: InputError if there is no such way to resize (the message lists them).
    """
    if name != "pillow" and name not in RESIZE_RULES:
        raise InputError(f"unknown INPUT.RESIZE {name!r}; known: pillow, {', '.join(RESIZE_RULES)}")
    if name == "pillow" or type(augmentation) is not T.ResizeShortestEdge:
        return augmentation
    if RESIZE_RULES[name].transform is not T.ResizeTransform:
        _opencv()
    return SourceResize(augmentation, RESIZE_RULES[name])


def build_mapper(cfg: CfgNode, *, is_train: bool) -> DatasetMapper:
    """Detectron2's DatasetMapper with the resizing of INPUT.RESIZE, and in training several scales.

    Where INPUT.SCALES_TRAIN names scales, one of them takes the place of MIN_SIZE_TRAIN and
    MAX_SIZE_TRAIN; INPUT.CROP_TRAIN crops the resized picture.

    Raises: InputError if one of these keys cannot be followed.
    """
    check_scales(cfg)
    crops = bool(is_train and cfg.INPUT.CROP_TRAIN)
    mapper = (CropMapper if crops else DatasetMapper)(cfg, is_train=is_train)
    augmentations = []
    for augmentation in mapper.augmentations.augs:
        resizes = type(augmentation) is T.ResizeShortestEdge
        if resizes and is_train and cfg.INPUT.SCALES_TRAIN:
            scales = [T.ResizeShortestEdge(short, long) for short, long in cfg.INPUT.SCALES_TRAIN]
            scales = [source_augmentation(scale, cfg.INPUT.RESIZE) for scale in scales]
            augmentations.append(OneOf(scales))
        else:
            augmentations.append(source_augmentation(augmentation, cfg.INPUT.RESIZE))
        if resizes and crops:
            augmentations.append(CropAroundObject(cfg.INPUT.CROP_TRAIN))
    mapper.augmentations = T.AugmentationList(augmentations)
    return mapper
