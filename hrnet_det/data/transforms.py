"""Resizing of images as the code bases of the published weights do it: INPUT.RESIZE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from detectron2.data import transforms as T
from fvcore.transforms.transform import CropTransform, NoOpTransform, Transform

from hrnet_det.errors import InputError


def largest_scale(height: int, width: int, shortest: int, longest: int) -> float:
    """What both sides are multiplied by so that neither exceeds its limit, in pixels."""
    return min(longest / max(height, width), shortest / min(height, width))


def nearest_sides(height: int, width: int, shortest: int, longest: int) -> tuple[int, int]:
    """mmdetection's size: one scale for both sides, rounded to the nearest pixel, at least 1."""
    scale = largest_scale(height, width, shortest, longest)
    return max(int(height * scale + 0.5), 1), max(int(width * scale + 0.5), 1)


def floored_sides(height: int, width: int, shortest: int, longest: int) -> tuple[int, int]:
    """maskrcnn-benchmark's size: the shorter side, and the other one in proportion, floored."""
    low, high = min(height, width), max(height, width)
    shortest = _shorter_side(low, high, shortest, longest)
    other = int(shortest * high / low)
    return (shortest, other) if height <= width else (other, shortest)


def shorter_scale(height: int, width: int, shortest: int, longest: int) -> float:
    """The scale of the shorter side by `floored_sides`."""
    low, high = min(height, width), max(height, width)
    return _shorter_side(low, high, shortest, longest) / low


def _shorter_side(low: int, high: int, shortest: int, longest: int) -> int:
    return max(round(longest * low / high), 1) if high / low * shortest > longest else shortest


class OneScaleTransform(T.ResizeTransform):
    """Detectron2's resizing; what lies in the image is multiplied by one scale.

    Args:
        scale: None for that of each axis, new / old side.
    """

    def __init__(
        self, height: int, width: int, new_height: int, new_width: int, scale: float | None = None
    ) -> None:
        super().__init__(height, width, new_height, new_width)
        self._set_attributes(locals())

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        if self.scale is None:
            return super().apply_coords(coords)
        coords[:, :2] = coords[:, :2] * self.scale
        return coords

    def inverse(self) -> Transform:
        sizes = self.new_height, self.new_width, self.height, self.width
        return type(self)(*sizes, scale=self.scale and 1 / self.scale)


class OpenCVResizeTransform(OneScaleTransform):
    """Resizing by OpenCV: bilinear, without averaging pixels that it skips; of labels and masks
    the nearest pixel, which for OpenCV is the one that a pixel's upper left corner falls in.

    With `as_float` the result is float32, not rounded to whole levels.

    Raises: InputError if OpenCV is not installed.
    """

    def __init__(
        self,
        height: int,
        width: int,
        new_height: int,
        new_width: int,
        as_float: bool = False,
        scale: float | None = None,
    ) -> None:
        super().__init__(height, width, new_height, new_width, scale)
        self.as_float = as_float

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        """The resized image; with an `interp`, as for semantic labels, the nearest pixels."""
        cv2 = opencv()
        if self.as_float and interp is None:
            img = img.astype(np.float32)
        size = (self.new_width, self.new_height)
        how = cv2.INTER_LINEAR if interp is None else cv2.INTER_NEAREST
        resized = cv2.resize(img, size, interpolation=how)
        return resized.reshape(*resized.shape[:2], *img.shape[2:])  # cv2 drops a single channel

    def inverse(self) -> Transform:
        back = super().inverse()
        back.as_float = self.as_float
        return back


def opencv(key: str = "INPUT.RESIZE opencv") -> object:
    """The module cv2. Raises: InputError if it is not installed, which a key needs."""
    try:
        import cv2
    except ImportError as error:
        raise InputError(
            f"{key} needs OpenCV: pip install opencv-python-headless (or, where images are shown "
            "in windows, opencv-python)"
        ) from error
    return cv2


class ResizeRule(NamedTuple):
    """How a code base chooses the size, and what it resizes with."""

    sides: Callable[[int, int, int, int], tuple[int, int]]
    transform: Callable[..., Transform]
    # What a code base with one scale (Conventions.one_scale) multiplies coordinates by.
    scale: Callable[[int, int, int, int], float] | None = None


RESIZE_RULES: dict[str, ResizeRule | None] = {
    "pillow": None,  # Detectron2's own ResizeShortestEdge
    "opencv": ResizeRule(nearest_sides, OpenCVResizeTransform, largest_scale),
    "opencv_float": ResizeRule(
        nearest_sides, partial(OpenCVResizeTransform, as_float=True), largest_scale
    ),
    "pillow_floor": ResizeRule(floored_sides, T.ResizeTransform),
}
# By an INPUT.RESIZE: how images are resized before they are cropped around an object.
# Source: RandomResizeCrop of HRNet-Object-Detection.
BEFORE_CROP = {"opencv_float": ResizeRule(floored_sides, OneScaleTransform, shorter_scale)}


def at_least_a_pixel(resize: T.ResizeTransform) -> T.ResizeTransform:
    """The same resizing, in which no side of an image of an extreme shape becomes 0 pixels."""
    sides = (max(side, 1) for side in (resize.new_h, resize.new_w))
    return T.ResizeTransform(resize.h, resize.w, *sides, resize.interp)


class ResizeShortestEdge(T.ResizeShortestEdge):
    """Detectron2's; a side of a very long image is at least 1 pixel, where Detectron2's is 0."""

    def get_transform(self, image: np.ndarray) -> Transform:
        made = super().get_transform(image)
        return at_least_a_pixel(made) if isinstance(made, T.ResizeTransform) else made


class CompatResize(T.ResizeShortestEdge):
    """Detectron2's ResizeShortestEdge, whose lengths and sampling it takes, with another rule."""

    def __init__(
        self, plain: T.ResizeShortestEdge, rule: ResizeRule, *, one_scale: bool = False
    ) -> None:
        T.Augmentation.__init__(self)
        self._init({"plain": plain, "rule": rule, "one_scale": one_scale})

    def get_transform(self, image: np.ndarray) -> Transform:
        lengths = self.plain.short_edge_length
        if self.plain.is_range:
            shortest = int(np.random.randint(lengths[0], lengths[1] + 1))
        else:
            shortest = int(np.random.choice(lengths))
        if not shortest:
            return NoOpTransform()
        size, limits = image.shape[:2], (shortest, self.plain.max_size)
        sides, transform, scale = self.rule
        one = {"scale": scale(*size, *limits)} if self.one_scale and scale else {}
        return transform(*size, *sides(*size, *limits), **one)


def check_resize(name: str) -> None:
    """Raises: InputError if there is no INPUT.RESIZE of this name, or OpenCV, which it needs."""
    if name not in RESIZE_RULES:
        raise InputError(f"unknown INPUT.RESIZE {name!r}; known: {', '.join(RESIZE_RULES)}")
    if name.startswith("opencv"):
        opencv()


def with_resize_rule(
    augmentation: T.Augmentation, name: str, *, crops: bool = False, one_scale: bool = False
) -> T.Augmentation:
    """The augmentation; for a ResizeShortestEdge the one of this INPUT.RESIZE, after its check.

    Args:
        crops: a CropAroundObject follows.
        one_scale: both axes of boxes and points are multiplied by the same number.
    """
    check_resize(name)
    rule, plain = RESIZE_RULES[name], augmentation
    if crops:
        rule = BEFORE_CROP.get(name, rule)
    if type(plain) is not T.ResizeShortestEdge:
        return plain
    if rule is not None:
        return CompatResize(plain, rule, one_scale=one_scale)
    style = "range" if plain.is_range else "choice"
    return ResizeShortestEdge(plain.short_edge_length, plain.max_size, style, plain.interp)


JITTER = (10, 30)  # pixels, at most, up or down and to either side


class OneOf(T.Augmentation):
    """One of several augmentations, such as a ResizeShortestEdge of each scale; all as likely."""

    def __init__(self, augmentations: Sequence[T.Augmentation]) -> None:
        super().__init__()
        self.augmentations = list(augmentations)

    def get_transform(self, image: np.ndarray) -> Transform:
        chosen = self.augmentations[np.random.randint(len(self.augmentations))]
        return chosen.get_transform(image)


class CropAroundObject(T.Augmentation):
    """A crop of a fixed size around one of the image's objects, or anywhere without objects.

    Source: RandomResizeCrop of HRNet-Object-Detection: the crop's centre is that of a random
    object, moved by up to JITTER; the crop stays inside the image, and is no larger than it.
    Differs from source: an image without objects is cropped too, at a random place.

    Args:
        size: shorter and longer side in pixels, the longer one along the image's.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = tuple(size)

    def get_transform(self, image: np.ndarray, boxes: np.ndarray) -> Transform:
        sides = np.array(image.shape[:2])
        crop = np.minimum(self.size[::-1] if sides[0] > sides[1] else self.size, sides)
        free = sides - crop
        if len(boxes):
            x0, y0, x1, y1 = boxes[np.random.randint(len(boxes))]
            centre = np.array([(y0 + y1) / 2, (x0 + x1) / 2])
            jitter = [np.random.randint(-most, most + 1) for most in JITTER]
            start = np.clip(np.rint(centre - crop / 2).astype(int) + jitter, 0, free)
        else:
            start = np.array([np.random.randint(most + 1) for most in free])
        (top, left), (height, width) = start.tolist(), crop.tolist()
        return CropTransform(left, top, width, height, *sides[::-1].tolist())
