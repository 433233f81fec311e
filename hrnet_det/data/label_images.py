"""Images of semantic labels, one for each pixel of an image."""

from __future__ import annotations

import numpy as np
from detectron2.config import CfgNode
from detectron2.data.detection_utils import read_image

from hrnet_det.config.load import as_run
from hrnet_det.data.checks import learned_from
from hrnet_det.errors import InputError
from hrnet_det.modeling.kinds import SEMANTIC_LABELS


def labels_to_learn(cfg: CfgNode) -> tuple[int, int] | None:
    """How many semantic classes a config's detector learns, and the label that counts for nothing.

    Returns: None if it learns none.
    """
    if SEMANTIC_LABELS not in learned_from(as_run(cfg)):
        return None
    return cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE


def read_labels(path: str, size: tuple[int, int], learned: tuple[int, int] | None) -> np.ndarray:
    """The labels of an image, (H, W) uint8.

    Args:
        size: height and width of the image.
        learned: of `labels_to_learn`; None: labels are not looked at.
    Raises: InputError if the labels' image has another size, or a label that is no class.
    """
    labels = read_image(path, "L").squeeze(2)
    if labels.shape != size:
        raise InputError(
            f"{path}: semantic labels of {labels.shape[1]}x{labels.shape[0]} pixels for an image "
            f"of {size[1]}x{size[0]}: give one label for each pixel"
        )
    if learned is None:
        return labels
    classes, ignored = learned
    wrong = labels[(labels >= classes) & (labels != ignored)]
    if wrong.size:
        raise InputError(
            f"{path}: label {wrong.max()}, but the detector has {classes} semantic classes "
            f"(MODEL.SEM_SEG_HEAD.NUM_CLASSES): labels are 0 to {classes - 1}, and {ignored} for "
            "no label (MODEL.SEM_SEG_HEAD.IGNORE_VALUE)"
        )
    return labels
