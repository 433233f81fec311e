"""Random changes of where things are in an image: turns, flips, crops and scales.

Pixels that no image covers are grey, and have no semantic label.
"""

from __future__ import annotations

import numpy as np
from detectron2.data import transforms as T
from fvcore.transforms.transform import CropTransform, HFlipTransform, Transform, TransformList

from hrnet_det.data.transforms import at_least_a_pixel, opencv

FILL = 128  # of such pixels
IGNORED = 255  # the label of such pixels
CROP_TRIALS = 20


class RightAngleTransform(Transform):
    """An image turned counter-clockwise by a number of right angles: no pixel changes.

    Args:
        height, width: of the image, pixels.
        turns: 1, 2 or 3.
    """

    def __init__(self, height: int, width: int, turns: int) -> None:
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        return np.rot90(img, self.turns)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        (x, y), height, width = coords.T, self.height, self.width
        for _ in range(self.turns):
            x, y = y, width - x
            height, width = width, height
        return np.stack([x, y], axis=1)

    def inverse(self) -> Transform:
        sides = (self.height, self.width) if self.turns == 2 else (self.width, self.height)
        return RightAngleTransform(*sides, 4 - self.turns)


class RandomRightAngle(T.Augmentation):
    """A turn by 90, 180 or 270 degrees, each as likely, with a probability of `prob` in all."""

    def __init__(self, prob: float = 0.75) -> None:
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        if self._rand_range() >= self.prob:
            return T.NoOpTransform()
        return RightAngleTransform(*image.shape[:2], int(np.random.randint(1, 4)))


class RandomVerticalFlip(T.RandomFlip):
    """Detectron2's vertical flip as a half turn of a horizontal one, which is the same image.

    Differs from source: left and right of keypoints are swapped, as in every mirrored image.
    Detectron2 swaps them for its HFlipTransform alone, not for its own vertical flip.
    """

    def __init__(self, prob: float = 0.5) -> None:
        super().__init__(prob, horizontal=False, vertical=True)

    def get_transform(self, image: np.ndarray) -> Transform:
        flip, (height, width) = super().get_transform(image), image.shape[:2]
        if isinstance(flip, T.NoOpTransform):
            return flip
        return TransformList([RightAngleTransform(height, width, 2), HFlipTransform(width)])


class FilledRotation(T.RotationTransform):
    """Detectron2's rotation about the centre, by OpenCV; the image keeps its size.

    Differs from source: what the image does not cover is `fill` and not black, and as a label
    `ignored` and not class 0; images of one channel keep their axis.
    """

    def __init__(self, height: int, width: int, angle: float, fill: float, ignored: int) -> None:
        super().__init__(height, width, angle, expand=False)
        self._set_attributes({"fill": fill, "ignored": ignored})

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        return self._turned(img, opencv().INTER_LINEAR, self.fill)

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        return self._turned(segmentation, opencv().INTER_NEAREST, self.ignored)

    def _turned(self, pixels: np.ndarray, flags: int, value: float) -> np.ndarray:
        size, border = (self.w, self.h), (value,) * 4
        turned = opencv().warpAffine(
            np.ascontiguousarray(pixels), self.rm_image, size, flags=flags, borderValue=border
        )
        return turned.reshape(pixels.shape)  # OpenCV drops a single channel


class RandomRotation(T.Augmentation):
    """A turn about the centre by up to `degrees` either way; corners that leave are cut off."""

    def __init__(self, degrees: float, fill: float = FILL, ignored: int = IGNORED) -> None:
        super().__init__()
        opencv("INPUT.AUGMENT.ROTATION")
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        height, width = image.shape[:2]
        angle = float(self._rand_range(-self.degrees, self.degrees))
        turn = FilledRotation(height, width, angle, self.fill, self.ignored)
        return TransformList([turn, CropTransform(0, 0, width, height)])  # which cuts polygons


class ScaleJitter(T.ResizeScale):
    """Detectron2's ResizeScale; images of extreme shapes keep a pixel on their shorter side."""

    def get_transform(self, image: np.ndarray) -> Transform:
        return at_least_a_pixel(super().get_transform(image))


class CropKeepingObjects(T.Augmentation):
    """A crop at a random place that contains enough of each object's box.

    Args:
        least: of each of the image's sides the crop has a random share between this, or what it
            needs to contain all boxes, and 1.
        visible: the least share of each box's area inside it. 1: no box is cut. Under 1 boxes may
            be cut, and the crop need not contain them all, unless no such place is found.
    """

    def __init__(self, least: float, visible: float = 1.0) -> None:
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray, boxes: np.ndarray) -> Transform:
        sides = np.array(image.shape[1::-1])
        least, none = np.maximum(sides * self.least, 1), np.zeros(2)
        boxes = np.clip(boxes, 0, np.tile(sides, 2))
        boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
        for _ in range(CROP_TRIALS if len(boxes) and self.visible < 1 else 0):
            size = _between(least, sides)
            start = _between(none, sides - size)
            if shares_inside(boxes, start, size).min() >= self.visible:
                return _crop(start, size, sides)
        low = np.floor(boxes[:, :2].min(axis=0)) if len(boxes) else sides
        high = np.ceil(boxes[:, 2:].max(axis=0)) if len(boxes) else none
        size = _between(np.maximum(least, high - low), sides)
        start = _between(np.maximum(high - size, 0), np.minimum(low, sides - size))
        return _crop(start, size, sides)


def _between(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Random whole numbers from low to high, both included."""
    return np.random.randint(np.ceil(low), np.floor(high) + 1)


def shares_inside(boxes: np.ndarray, start: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The shares of boxes' areas, (N,), inside a crop of a size (width, height) at start (x, y)."""
    inside = np.minimum(boxes[:, 2:], start + size) - np.maximum(boxes[:, :2], start)
    return inside.clip(min=0).prod(axis=1) / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def _crop(start: np.ndarray, size: np.ndarray, sides: np.ndarray) -> Transform:
    return CropTransform(*start.tolist(), *size.tolist(), *sides.tolist())
