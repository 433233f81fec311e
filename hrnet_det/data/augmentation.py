"""Training on pictures of several scales, as HRNet-Object-Detection does, and crops of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from fvcore.transforms.transform import CropTransform, Transform, TransformList

from hrnet_det.errors import InputError

JITTER = (10, 30)  # pixels, at most, up or down and to either side


class OneOf(T.Augmentation):
    """One of several augmentations, each as likely as the others.

    Args:
        augmentations: such as a ResizeShortestEdge for each scale.
    """

    def __init__(self, augmentations: Sequence[T.Augmentation]) -> None:
        super().__init__()
        self.augmentations = list(augmentations)

    def get_transform(self, image: np.ndarray) -> Transform:
        number = np.random.randint(len(self.augmentations))
        return self.augmentations[number].get_transform(image)


class CropAroundObject(T.Augmentation):
    """A crop of a fixed size around one of the picture's objects, or anywhere without objects.

    Source: RandomResizeCrop of HRNet-Object-Detection: the crop's centre is that of a random
    object, moved by up to JITTER; the crop stays inside the picture.
    Differs from source: a picture without objects is cropped too, at a random place.

    Args:
        size: shorter and longer side of the crop, in pixels, the longer one along the picture's; a
            side over the picture's becomes that.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = tuple(size)

    def get_transform(self, image: np.ndarray, boxes: np.ndarray) -> Transform:
        sides = np.array(image.shape[:2])
        wanted = np.array(self.size[::-1] if sides[0] > sides[1] else self.size)
        crop = np.minimum(wanted, sides)
        free = sides - crop
        if len(boxes):
            x0, y0, x1, y1 = boxes[np.random.randint(len(boxes))]
            centre = np.array([(y0 + y1) / 2, (x0 + x1) / 2])
            jitter = [np.random.randint(-most, most + 1) for most in JITTER]
            start = np.clip(np.rint(centre - crop / 2).astype(int) + jitter, 0, free)
        else:
            start = np.array([np.random.randint(most + 1) for most in free])
        (top, left), (height, width) = start.tolist(), crop.tolist()
        return CropTransform(left, top, width, height, int(sides[1]), int(sides[0]))


class CropMapper(DatasetMapper):
    """Detectron2's DatasetMapper with CropAroundObject among its augmentations.

    Source: as CropAroundObject's. An object whose box has its centre outside the crop is dropped;
    what is left of the others' boxes, masks and keypoints is what lies inside.
    """

    def __call__(self, dataset_dict: dict) -> dict:
        objects = [o for o in dataset_dict.get("annotations", ()) if not o.get("iscrowd", 0)]
        plain, boxes = self.augmentations, np.array([_box(o) for o in objects]).reshape(-1, 4)
        try:
            self.augmentations = _WithBoxes(plain, boxes)
            return super().__call__(dataset_dict)
        finally:
            self.augmentations = plain

    def _transform_annotations(
        self, dataset_dict: dict, transforms: TransformList, image_shape: tuple[int, int]
    ) -> None:
        height, width = image_shape
        kept = []
        for row in dataset_dict["annotations"]:
            x0, y0, x1, y1 = transforms.apply_box(_box(row)[None])[0]
            if 0 < x0 + x1 < 2 * width and 0 < y0 + y1 < 2 * height:
                kept.append(row)
        dataset_dict["annotations"] = kept
        super()._transform_annotations(dataset_dict, transforms, image_shape)


class _WithBoxes(T.Augmentation):
    """Augmentations that are told the boxes of one picture's objects, which move along."""

    def __init__(self, augmentations: T.AugmentationList, boxes: np.ndarray) -> None:
        super().__init__()
        self.augmentations, self.boxes = augmentations, boxes

    def __call__(self, aug_input: T.AugInput) -> Transform:
        aug_input.boxes = self.boxes
        return self.augmentations(aug_input)


def _box(row: dict) -> np.ndarray:
    """x0, y0, x1, y1 of an object."""
    return np.array(BoxMode.convert(row["bbox"], row["bbox_mode"], BoxMode.XYXY_ABS), dtype=float)


def check_scales(cfg: CfgNode) -> None:
    """Raises: InputError if INPUT.SCALES_TRAIN or INPUT.CROP_TRAIN is no list of sizes."""
    given = cfg.INPUT
    pairs = [("SCALES_TRAIN", pair) for pair in given.SCALES_TRAIN]
    pairs += [("CROP_TRAIN", given.CROP_TRAIN)] if given.CROP_TRAIN else []
    for key, pair in pairs:
        whole = isinstance(pair, (list, tuple)) and all(isinstance(side, int) for side in pair)
        if not whole or len(pair) != 2 or not 0 < pair[0] <= pair[1]:
            raise InputError(
                f"INPUT.{key}: {pair} is no size: give the shorter and the longer side in pixels, "
                + ("such as [[600, 1000], [800, 1333]]" if key == "SCALES_TRAIN" else "[800, 1200]")
            )
    if given.CROP_TRAIN and given.CROP.ENABLED:
        raise InputError(
            "INPUT.CROP_TRAIN crops resized pictures, INPUT.CROP.ENABLED original ones: set one"
        )
