"""Whether datasets have the labels that a detector learns from and is evaluated by."""

from __future__ import annotations

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from hrnet_det.errors import InputError

OBJECTS, PIXELS = "objects", "the class of each pixel"
# What each evaluator_type has labels of.
LABELS = {
    "coco": {OBJECTS},
    "cityscapes_instance": {OBJECTS},
    "sem_seg": {PIXELS},
    "cityscapes_sem_seg": {PIXELS},
    "coco_panoptic_seg": {OBJECTS, PIXELS},
}
# What each meta-architecture learns and predicts; one of a user's own is not checked.
LEARNS = {
    "SemanticSegmentor": {PIXELS},
    "PanopticFPN": {OBJECTS, PIXELS},
    "GeneralizedRCNN": {OBJECTS},
    "ProposalNetwork": {OBJECTS},
    "RetinaNet": {OBJECTS},
    "FCOS": {OBJECTS},
    "HTC": {OBJECTS},  # semantic labels, which it may learn too, are asked for where it starts
}
WITH_LABELS = {
    OBJECTS: "your own in COCO's format (DATASETS.CUSTOM), or coco_2017_train",
    PIXELS: "cityscapes_fine_sem_seg_train or coco_2017_train_panoptic_separated, or your own, "
    'registered with Detectron2\'s load_sem_seg and evaluator_type "sem_seg"; DATASETS.CUSTOM has '
    "objects alone",
}


def check_labels(cfg: CfgNode, *, trains: bool) -> None:
    """Compare what the detector learns with the labels of DATASETS.TRAIN and TEST.

    Args:
        trains: whether DATASETS.TRAIN is used.
    Raises: InputError if a training set lacks labels, or a test set wants what is not predicted.
    """
    architecture = cfg.MODEL.META_ARCHITECTURE
    learned = LEARNS.get(architecture)
    if learned is None:
        return
    for name in cfg.DATASETS.TRAIN if trains else ():
        for missing in sorted(learned - _labels(name, learned)):
            raise InputError(
                f"MODEL.META_ARCHITECTURE {architecture} learns {_said(learned)}, but {name} has "
                f"no labels of {missing}: train on a dataset that has them, such as "
                f"{WITH_LABELS[missing]}"
            )
    for name in cfg.DATASETS.TEST:
        if not _labels(name, learned) <= learned:
            raise InputError(
                f"dataset {name} evaluates {_said(_labels(name, learned))}, but "
                f"MODEL.META_ARCHITECTURE {architecture} predicts {_said(learned)}: test on "
                "another dataset (DATASETS.TEST)"
            )


def _labels(name: str, unknown: set[str]) -> set[str]:
    """What a dataset has labels of; `unknown` if its kind is not known here."""
    return LABELS.get(MetadataCatalog.get(name).get("evaluator_type", None), unknown)


def _said(what: set[str]) -> str:
    return " and ".join(sorted(what))
