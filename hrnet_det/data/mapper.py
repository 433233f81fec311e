"""What makes of a dataset's row the model's input."""

from __future__ import annotations

import copy

import numpy as np
from detectron2.config import CfgNode, instantiate
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from fvcore.transforms.transform import TransformList

from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.transforms import CropAroundObject, OneOf, with_resize_rule
from hrnet_det.errors import InputError


def build_test_mapper(run: RunConfig) -> DatasetMapper:
    """The mapper of images to test on."""
    if run.is_lazy:
        return instantiate(run.cfg.dataloader.test.mapper)
    return build_mapper(run.cfg, is_train=False)


def build_mapper(cfg: CfgNode, *, is_train: bool) -> DatasetMapper:
    """Detectron2's DatasetMapper with the resizing of INPUT.RESIZE, and in training several scales.

    A scale of INPUT.SCALES_TRAIN, if any, replaces MIN_SIZE_TRAIN and MAX_SIZE_TRAIN;
    INPUT.CROP_TRAIN crops the resized image. Raises as check_scales, check_resize.
    """
    check_scales(cfg)
    crops = bool(is_train and cfg.INPUT.CROP_TRAIN)
    mapper = (CropMapper if crops else DatasetMapper)(cfg, is_train=is_train)
    augmentations = []
    for augmentation in mapper.augmentations.augs:
        resizes = type(augmentation) is T.ResizeShortestEdge
        if resizes and is_train and cfg.INPUT.SCALES_TRAIN:
            scales = [T.ResizeShortestEdge(*scale) for scale in cfg.INPUT.SCALES_TRAIN]
            augmentation = OneOf([with_resize_rule(scale, cfg.INPUT.RESIZE) for scale in scales])
        augmentations.append(with_resize_rule(augmentation, cfg.INPUT.RESIZE))
        if resizes and crops:
            augmentations.append(CropAroundObject(cfg.INPUT.CROP_TRAIN))
    mapper.augmentations = T.AugmentationList(augmentations)
    return mapper


class CropMapper(DatasetMapper):
    """Detectron2's DatasetMapper with CropAroundObject among its augmentations.

    Source: as CropAroundObject's. An object whose box has its centre outside the crop is dropped;
    what is left of the others' boxes, masks and keypoints is what lies inside.
    """

    def __call__(self, dataset_dict: dict) -> dict:
        objects = [o for o in dataset_dict.get("annotations", ()) if not o.get("iscrowd", 0)]
        plain, boxes = self.augmentations, np.array([_box(o) for o in objects]).reshape(-1, 4)

        def augment(aug_input: T.AugInput) -> TransformList:
            aug_input.boxes = boxes  # which move along
            return plain(aug_input)

        of_image = copy.copy(self)
        of_image.augmentations = augment
        return DatasetMapper.__call__(of_image, dataset_dict)

    def _transform_annotations(
        self, dataset_dict: dict, transforms: TransformList, image_shape: tuple[int, int]
    ) -> None:
        height, width = image_shape

        def is_inside(row: dict) -> bool:
            x0, y0, x1, y1 = transforms.apply_box(_box(row)[None])[0]
            return 0 < x0 + x1 < 2 * width and 0 < y0 + y1 < 2 * height

        dataset_dict["annotations"] = list(filter(is_inside, dataset_dict["annotations"]))
        super()._transform_annotations(dataset_dict, transforms, image_shape)


def _box(row: dict) -> np.ndarray:
    """x0, y0, x1, y1 of an object."""
    return np.array(BoxMode.convert(row["bbox"], row["bbox_mode"], BoxMode.XYXY_ABS), dtype=float)


def check_scales(cfg: CfgNode) -> None:
    """Raises: InputError if INPUT.SCALES_TRAIN or INPUT.CROP_TRAIN is no list of sizes."""
    given = cfg.INPUT
    for key, example, pairs in (
        ("SCALES_TRAIN", "[[600, 1000], [800, 1333]]", given.SCALES_TRAIN),
        ("CROP_TRAIN", "[800, 1200]", [given.CROP_TRAIN] if given.CROP_TRAIN else []),
    ):
        for pair in pairs:
            whole = isinstance(pair, (list, tuple)) and set(map(type, pair)) == {int}
            if not whole or len(pair) != 2 or not 0 < pair[0] <= pair[1]:
                raise InputError(
                    f"INPUT.{key}: {pair} is no size: give the shorter and the longer side in "
                    f"pixels, such as {example}"
                )
    if given.CROP_TRAIN and given.CROP.ENABLED:
        raise InputError(
            "INPUT.CROP_TRAIN crops resized images, INPUT.CROP.ENABLED original ones: set one"
        )
