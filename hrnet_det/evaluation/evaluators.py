"""Which evaluators a dataset wants, by its evaluator_type."""

from __future__ import annotations

import os

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import (
    CityscapesInstanceEvaluator,
    CityscapesSemSegEvaluator,
    DatasetEvaluator,
    DatasetEvaluators,
    SemSegEvaluator,
)
from PIL import Image

from hrnet_det.errors import InputError
from hrnet_det.evaluation.coco import CocoEvaluator, find_implementation
from hrnet_det.evaluation.panoptic import PanopticEvaluator

# The metric that the best checkpoint is chosen by, of each meta-architecture.
BEST_METRIC = {
    "SemanticSegmentor": "sem_seg/mIoU",
    "PanopticFPN": "panoptic_seg/PQ",
    "ProposalNetwork": "box_proposals/AR@1000",
}
# The same of datasets that Cityscapes' own scripts evaluate.
CITYSCAPES_METRIC = {"cityscapes_instance": "segm/AP", "cityscapes_sem_seg": "sem_seg/IoU"}


def build_evaluator(cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
    """Detectron2's evaluators for a dataset; of boxes, masks and panoptic quality ours.

    Raises: InputError as check_evaluator.
    """
    check_evaluator(cfg, dataset_name)
    return _BUILDERS[MetadataCatalog.get(dataset_name).evaluator_type](cfg, dataset_name)


def check_evaluator(cfg: CfgNode, dataset_name: str) -> None:
    """Raises: InputError if there is no evaluator for the dataset, or what it needs is missing."""
    kind = MetadataCatalog.get(dataset_name).get("evaluator_type", None)
    if kind not in _BUILDERS:
        raise InputError(
            f"dataset {dataset_name} wants the evaluator {kind!r}; there are {', '.join(_BUILDERS)}"
        )
    if kind.startswith("coco"):
        find_implementation(cfg.TEST.COCO_EVAL)
    if kind.startswith("cityscapes"):
        _check_cityscapes(dataset_name)


def best_metric(cfg: CfgNode) -> str:
    """What model_best.pth is the best of, as metrics.json names it."""
    kind = MetadataCatalog.get(cfg.DATASETS.TEST[0]).get("evaluator_type", None)
    architecture = cfg.MODEL.META_ARCHITECTURE
    if architecture == "PanopticFPN" and kind == "coco":  # of things alone
        architecture = "GeneralizedRCNN"
    metric = CITYSCAPES_METRIC.get(kind) or BEST_METRIC.get(architecture, "bbox/AP")
    return f"{cfg.DATASETS.TEST[0]}/{metric}" if len(cfg.DATASETS.TEST) > 1 else metric


def _check_cityscapes(dataset_name: str) -> None:
    try:
        import cityscapesscripts  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"dataset {dataset_name} is evaluated by Cityscapes' own scripts: "
            "pip install cityscapesscripts"
        ) from error


def _coco(cfg: CfgNode, name: str) -> DatasetEvaluator:
    return CocoEvaluator(
        name,
        implementation=cfg.TEST.COCO_EVAL,
        output_dir=_folder(cfg),
        kpt_oks_sigmas=cfg.TEST.KEYPOINT_OKS_SIGMAS,
    )


def _semantic(cfg: CfgNode, name: str) -> DatasetEvaluator:
    return SemSegEvaluator(name, output_dir=_folder(cfg), sem_seg_loading_fn=_read_labels)


def _read_labels(path: str, dtype: type) -> np.ndarray:
    """An image of labels; Detectron2's own function for it does not work with NumPy 2."""
    return np.asarray(Image.open(path), dtype=dtype)


def _panoptic(cfg: CfgNode, name: str) -> DatasetEvaluator:
    return DatasetEvaluators([_coco(cfg, name), _semantic(cfg, name), PanopticEvaluator(name)])


def _folder(cfg: CfgNode) -> str:
    return os.path.join(cfg.OUTPUT_DIR, "inference")


_BUILDERS = {
    "coco": _coco,
    "sem_seg": _semantic,
    "coco_panoptic_seg": _panoptic,
    "cityscapes_sem_seg": lambda _, name: CityscapesSemSegEvaluator(name),
    "cityscapes_instance": lambda _, name: CityscapesInstanceEvaluator(name),
}
