"""What makes of a dataset's row the model's input."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from detectron2.config import CfgNode, configurable, instantiate
from detectron2.data import DatasetFromList, DatasetMapper
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from fvcore.transforms.transform import TransformList

from hrnet_det.config.load import as_run
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.augmentations import (
    build_augmentations,
    check_augmentations,
    cuts_objects,
)
from hrnet_det.data.copy_paste import CopyPaste
from hrnet_det.data.images import MOST_PIXELS
from hrnet_det.data.label_images import labels_to_learn, read_labels
from hrnet_det.data.moved import as_run_lengths, moved_box
from hrnet_det.data.pixels import Source, read_pixels
from hrnet_det.data.random_geometry import RandomRotation
from hrnet_det.data.rows import rows_to_learn_from
from hrnet_det.data.transforms import CropAroundObject
from hrnet_det.modeling.compat.conventions import get_conventions
from hrnet_det.modeling.compat.training_rules import DETECTRON2_RULES, TrainingRules
from hrnet_det.modeling.kinds import SEGMENTS, kind_of


def build_test_mapper(run: RunConfig) -> DatasetMapper:
    """The mapper of images to test on."""
    if run.is_lazy:
        return instantiate(run.cfg.dataloader.test.mapper)
    return build_mapper(run.cfg, is_train=False)


def reader_of(mapper: object) -> Callable[[Source, str], np.ndarray]:
    """What reads images as a mapper does: an image and its format to (H, W, C) uint8."""
    return getattr(mapper, "read", read_pixels)


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
    """What makes of a row the model's input, with the augmentations of the keys of INPUT.

    Raises: InputError as check_augmentations and check_resize do.
    """
    check_augmentations(cfg)
    if SEGMENTS in kind_of(as_run(cfg)).learns:
        from hrnet_det.data.panoptic_mapper import PanopticMapper

        return PanopticMapper(cfg, is_train=is_train)
    mapper = Mapper(cfg, is_train=is_train)
    if is_train and (probability := cfg.INPUT.AUGMENT.COPY_PASTE):
        rows = rows_to_learn_from(cfg, cfg.DATASETS.TRAIN)
        mapper.copy_paste = CopyPaste(probability, DatasetFromList(rows, copy=False))
    return mapper


class Mapper(DatasetMapper):
    """Detectron2's DatasetMapper, which reads images as `read_pixels`.

    Its augmentations see the objects' boxes.

    Differs from source: of a crop around an object (CropAroundObject) only those objects remain
    whose box has its centre inside; what is left of their boxes, masks and keypoints is what lies
    inside. Source of that rule: as CropAroundObject's. Masks end where padding begins. Rotated
    boxes are those of the rotated masks, also for a detector without masks. By the rules of other
    code bases boxes and masks move as hrnet_det.data.moved says, and objects of whose mask no pixel
    is left stay.
    """

    copy_paste: CopyPaste | None = None

    @configurable
    def __init__(
        self,
        *,
        pixel_range: Sequence[float] = (),
        max_pixels: int = MOST_PIXELS,
        rules: TrainingRules = DETECTRON2_RULES,
        labels: tuple[int, int] | None = None,
        **options: object,
    ) -> None:
        super().__init__(**options)
        self.rules, self.labels = rules, labels
        self.pixel_range, self.max_pixels = tuple(pixel_range), max_pixels

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, object]:
        """Detectron2's, with the augmentations of the keys of INPUT."""
        plain = cfg.clone()
        plain.defrost()
        plain.INPUT.RANDOM_FLIP = "none"  # of which Detectron2 does not know "both"
        # Names of keypoints are for flips alone; a run's dataset is unknown to other processes.
        plain.MODEL.KEYPOINT_ON = is_train and cfg.MODEL.KEYPOINT_ON
        rules = get_conventions(cfg.MODEL.CONVENTIONS).training
        if rules.bitmaps or (is_train and cfg.INPUT.AUGMENT.COPY_PASTE):
            plain.INPUT.MASK_FORMAT = "bitmask"
        return super().from_config(plain, is_train) | {
            "augmentations": build_augmentations(cfg, is_train=is_train),
            "use_keypoint": cfg.MODEL.KEYPOINT_ON,
            "pixel_range": cfg.INPUT.PIXEL_RANGE,
            "max_pixels": cfg.INPUT.MAX_PIXELS,
            "rules": rules,
            "labels": labels_to_learn(cfg),
            "recompute_boxes": is_train and cfg.MODEL.MASK_ON and cuts_objects(cfg),
        }

    def read(self, source: Source, image_format: str) -> np.ndarray:
        """An image, (H, W, C) uint8."""
        limits = {"pixel_range": self.pixel_range, "max_pixels": self.max_pixels}
        return read_pixels(source, image_format, **limits)

    def __call__(self, dataset_dict: dict) -> dict:
        mapped = self._map(dataset_dict)
        if self.copy_paste is not None:
            self.copy_paste(mapped, self._map)
        return mapped

    def _map(self, dataset_dict: dict) -> dict:
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
        image = self.read(row["file_name"], self.image_format)
        utils.check_image_size(row, image)
        path = row.pop("sem_seg_file_name", None)
        return image, None if path is None else read_labels(path, image.shape[:2], self.labels)

    def _transform_annotations(
        self, dataset_dict: dict, transforms: TransformList, image_shape: tuple[int, int]
    ) -> None:
        objects = [a for a in dataset_dict.pop("annotations") if not a.get("iscrowd", 0)]
        if self._has(CropAroundObject):
            objects = [a for a in objects if _centre_inside(a, transforms, image_shape)]
        tight = self.recompute_boxes or self._has(RandomRotation)
        masks = self.use_instance_mask or (tight and all(a.get("segmentation") for a in objects))
        for annotation in objects:
            if not masks:
                annotation.pop("segmentation", None)
            elif self.rules.bitmaps:
                as_run_lengths(annotation, dataset_dict["height"], dataset_dict["width"])
            if not self.use_keypoint:
                annotation.pop("keypoints", None)
            box = moved_box(annotation, transforms, image_shape, self.rules)
            utils.transform_instance_annotations(
                annotation,
                transforms,
                image_shape,
                keypoint_hflip_indices=self.keypoint_hflip_indices,
            )
            if isinstance(mask := annotation.get("segmentation"), np.ndarray):
                annotation["segmentation"] = (mask == 1).astype(np.uint8)  # not 255, the padding
            if box is not None:
                annotation["bbox"] = box
        listed = all(isinstance(a.get("segmentation"), list) for a in objects)
        mask_format = "polygon" if listed else "bitmask"
        instances = utils.annotations_to_instances(
            objects,
            image_shape,
            mask_format=self.instance_mask_format if self.use_instance_mask else mask_format,
        )
        if tight and instances.has("gt_masks"):
            instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        if not self.use_instance_mask and instances.has("gt_masks"):
            instances.remove("gt_masks")
        by_mask = not self.rules.bitmaps
        dataset_dict["instances"] = utils.filter_empty_instances(instances, by_mask=by_mask)

    def _has(self, kind: type[T.Augmentation]) -> bool:
        return any(isinstance(a, kind) for a in self.augmentations.augs)


def _centre_inside(
    annotation: dict, transforms: TransformList, image_shape: tuple[int, int]
) -> bool:
    height, width = image_shape
    x0, y0, x1, y1 = transforms.apply_box(_box(annotation)[None])[0]
    return 0 < x0 + x1 < 2 * width and 0 < y0 + y1 < 2 * height


def _boxes(row: dict) -> np.ndarray:
    """The boxes of an image's objects, (N, 4) x0, y0, x1, y1; crowds are none."""
    objects = [a for a in row.get("annotations", ()) if not a.get("iscrowd", 0)]
    return np.array([_box(a) for a in objects], dtype=float).reshape(-1, 4)


def _box(annotation: dict) -> np.ndarray:
    box = annotation["bbox"]
    return np.array(BoxMode.convert(box, annotation["bbox_mode"], BoxMode.XYXY_ABS), dtype=float)
