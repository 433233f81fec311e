"""What makes of a dataset's row the model's input."""

from __future__ import annotations

import copy

import numpy as np
import torch
from detectron2.config import CfgNode, instantiate
from detectron2.data import DatasetMapper
from detectron2.data import detection_utils as utils
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


def build_loss_mapper(run: RunConfig) -> DatasetMapper:
    """The mapper of images to test on that keeps what a detector learns from."""
    if not run.is_lazy:
        mapper = build_test_mapper(run)
        mapper.is_train = True
        return mapper
    mapper = instantiate(run.cfg.dataloader.train.mapper)
    mapper.augmentations = build_test_mapper(run).augmentations
    mapper.recompute_boxes = False  # which is for crops
    return mapper


def build_mapper(cfg: CfgNode, *, is_train: bool) -> DatasetMapper:
    """Detectron2's DatasetMapper with the resizing of INPUT.RESIZE, and in training several scales.

    A scale of INPUT.SCALES_TRAIN, if any, replaces MIN_SIZE_TRAIN and MAX_SIZE_TRAIN;
    INPUT.CROP_TRAIN crops the resized image. Raises as check_scales, check_resize.
    """
    check_scales(cfg)
    crops = bool(is_train and cfg.INPUT.CROP_TRAIN)
    mapper = Mapper(cfg, is_train=is_train)
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


class Mapper(DatasetMapper):
    """Detectron2's DatasetMapper, whose augmentations see the objects' boxes.

    Differs from source: of a crop around an object (CropAroundObject) only those objects remain
    whose box has its centre inside; what is left of their boxes, masks and keypoints is what lies
    inside. Source of that rule: as CropAroundObject's.
    """

    def __call__(self, dataset_dict: dict) -> dict:
        row = copy.deepcopy(dataset_dict)
        image, labels = self._read(row)
        given = T.AugInput(image, boxes=_boxes(row), sem_seg=labels)
        transforms = self.augmentations(given)
        channels = np.ascontiguousarray(given.image.transpose(2, 0, 1))
        row["image"] = torch.as_tensor(channels)
        if labels is not None:
            row["sem_seg"] = torch.as_tensor(given.sem_seg.astype("long"))
        size = given.image.shape[:2]
        if self.proposal_topk is not None:
            utils.transform_proposals(row, size, transforms, proposal_topk=self.proposal_topk)
        if not self.is_train:
            row.pop("annotations", None)
        elif "annotations" in row:
            self._transform_annotations(row, transforms, size)
        return row

    def _read(self, row: dict) -> tuple[np.ndarray, np.ndarray | None]:
        """An image, (H, W, C), and its semantic labels, (H, W), if it has any to learn from."""
        image = utils.read_image(row["file_name"], format=self.image_format)
        utils.check_image_size(row, image)
        path = row.pop("sem_seg_file_name", None)
        return image, None if path is None else utils.read_image(path, "L").squeeze(2)

    def _transform_annotations(
        self, dataset_dict: dict, transforms: TransformList, image_shape: tuple[int, int]
    ) -> None:
        if any(isinstance(a, CropAroundObject) for a in self.augmentations.augs):
            height, width = image_shape

            def is_inside(annotation: dict) -> bool:
                x0, y0, x1, y1 = transforms.apply_box(_box(annotation)[None])[0]
                return 0 < x0 + x1 < 2 * width and 0 < y0 + y1 < 2 * height

            dataset_dict["annotations"] = list(filter(is_inside, dataset_dict["annotations"]))
        super()._transform_annotations(dataset_dict, transforms, image_shape)


def _boxes(row: dict) -> np.ndarray:
    """The boxes of an image's objects, (N, 4) x0, y0, x1, y1; crowds are none."""
    objects = [a for a in row.get("annotations", ()) if not a.get("iscrowd", 0)]
    return np.array([_box(a) for a in objects], dtype=float).reshape(-1, 4)


def _box(annotation: dict) -> np.ndarray:
    box = annotation["bbox"]
    return np.array(BoxMode.convert(box, annotation["bbox_mode"], BoxMode.XYXY_ABS), dtype=float)


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
