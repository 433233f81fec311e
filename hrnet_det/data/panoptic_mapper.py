"""What makes of a row with panoptic segments the input of Panoptic-DeepLab, with its targets."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from PIL import Image

from hrnet_det.data.mapper import Mapper
from hrnet_det.modeling.meta_arch.panoptic_project import panoptic_project
from hrnet_det.modeling.segment_ids import segment_ids

FILL = 255  # of labels, by augmentations that leave a part of an image uncovered


class PanopticMapper(Mapper):
    """The Mapper of rows with "pan_seg_file_name" and "segments_info".

    Their segments become, by Detectron2's PanopticDeepLabTargetGenerator, "sem_seg", "center",
    "offset" and the weights of the three, as they are after all augmentations.

    Args:
        targets: what makes these of the ids of pixels (H, W) and the segments.
        others: as Mapper.
    """

    @configurable
    def __init__(self, *, targets: Callable | None = None, **others: object) -> None:
        super().__init__(**others)
        self.targets = targets

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, object]:
        targets = partial(
            make_targets,
            ignore_label=cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE,
            thing_ids=cfg.MODEL.PANOPTIC_DEEPLAB.THING_CLASSES,
            sigma=cfg.INPUT.GAUSSIAN_SIGMA,
            ignore_stuff_in_offset=cfg.INPUT.IGNORE_STUFF_IN_OFFSET,
            small_instance_area=cfg.INPUT.SMALL_INSTANCE_AREA,
            small_instance_weight=cfg.INPUT.SMALL_INSTANCE_WEIGHT,
            ignore_crowd_in_semantic=cfg.INPUT.IGNORE_CROWD_IN_SEMANTIC,
        )
        return {**super().from_config(cfg, is_train), "targets": targets}

    def _map(self, dataset_dict: dict) -> dict:
        row = copy.deepcopy(dataset_dict)
        image = self.read(row["file_name"], self.image_format)
        utils.check_image_size(row, image)
        path, segments = row.pop("pan_seg_file_name", None), row.pop("segments_info", ())
        row.pop("annotations", None)
        row.pop("sem_seg_file_name", None)
        labels = _encoded(segment_ids(_read(path)), segments) if self.is_train else None
        given = T.AugInput(image, boxes=np.zeros((0, 4)), sem_seg=labels)
        self.augmentations(given)
        row["image"] = torch.as_tensor(np.ascontiguousarray(given.image.transpose(2, 0, 1)))
        if labels is None:
            return row
        pairs = zip(_numbers(segments), segments, strict=True)
        numbered = [{**s, "id": number} for number, s in pairs]
        made = self.targets(_decoded(given.sem_seg), numbered)
        made.pop("center_points")
        return row | made


def make_targets(ids: np.ndarray, segments: Sequence[dict], **options: object) -> dict:
    """What Detectron2's PanopticDeepLabTargetGenerator makes of an image.

    A generator for each image, so that a mapper can go to processes without panopticapi.

    Args:
        options: the generator's.
    """
    generator = panoptic_project().target_generator.PanopticDeepLabTargetGenerator
    return generator(**options)(ids, segments)


def _read(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _numbers(segments: Sequence[dict]) -> list[int]:
    """A number for each segment of an image, from 1 on, without FILL."""
    return [number + (number >= FILL) for number in range(1, len(segments) + 1)]


def _encoded(ids: np.ndarray, segments: Sequence[dict]) -> np.ndarray:
    """Numbers of segments, 0 for none, as an image that can be augmented: uint8, (H, W).

    With more than 254 segments (H, W, 3): the lower and the higher byte, and nothing.
    """
    numbers, keys = _numbers(segments), np.array([s["id"] for s in segments], dtype=np.int64)
    order = np.argsort(keys)
    places = np.searchsorted(keys, ids, sorter=order).clip(max=max(len(keys) - 1, 0))
    if not len(keys):
        return np.zeros(ids.shape, np.uint8)
    found = order[places]
    labels = np.where(keys[found] == ids, np.array(numbers)[found], 0)
    if max(numbers) < FILL:
        return labels.astype(np.uint8)
    return np.stack([labels % 256, labels // 256, 0 * labels], axis=-1).astype(np.uint8)


def _decoded(labels: np.ndarray) -> np.ndarray:
    """The numbers of `_encoded`, (H, W) int64."""
    return labels.astype(np.int64) if labels.ndim == 2 else segment_ids(labels)
