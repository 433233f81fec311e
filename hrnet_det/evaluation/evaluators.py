"""Which evaluators a dataset wants, by its evaluator_type."""

from __future__ import annotations

import os

import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.evaluation import (
    CityscapesInstanceEvaluator,
    CityscapesSemSegEvaluator,
    DatasetEvaluator,
    DatasetEvaluators,
    SemSegEvaluator,
)
from PIL import Image

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.errors import InputError
from hrnet_det.evaluation.coco import CocoEvaluator, find_implementation
from hrnet_det.evaluation.panoptic import PanopticEvaluator
from hrnet_det.modeling.kinds import kind_of

# What the best checkpoint is chosen by on datasets that Cityscapes' own scripts evaluate.
CITYSCAPES_METRIC = {"cityscapes_instance": "segm/AP", "cityscapes_sem_seg": "sem_seg/IoU"}


def build_evaluator(run: RunConfig, dataset_name: str) -> DatasetEvaluator:
    """Detectron2's evaluators for a dataset; of boxes, masks and panoptic quality ours.

    Raises: InputError as check_evaluator.
    """
    check_evaluator(run, dataset_name)
    return _BUILDERS[MetadataCatalog.get(dataset_name).evaluator_type](run, dataset_name)


def check_evaluator(run: RunConfig, dataset_name: str) -> None:
    """Raises: InputError if there is no evaluator for the dataset, or what it needs is missing."""
    kind = MetadataCatalog.get(dataset_name).get("evaluator_type", None)
    if kind not in _BUILDERS:
        raise InputError(
            f"dataset {dataset_name} wants the evaluator {kind!r}; there are {', '.join(_BUILDERS)}"
        )
    if kind.startswith("coco"):
        find_implementation(str(run[settings.COCO_EVAL]))
    if kind.startswith("cityscapes"):
        _check_cityscapes(dataset_name)


def best_metric(run: RunConfig) -> str:
    """What model_best.pth is the best of, as metrics.json names it."""
    names = run[settings.TEST_DATASETS]
    evaluated = MetadataCatalog.get(names[0]).get("evaluator_type", None)
    metric = CITYSCAPES_METRIC.get(evaluated) or kind_of(run).metric
    if metric.startswith("panoptic_seg") and evaluated == "coco":  # of things alone
        metric = "bbox/AP"
    return f"{names[0]}/{metric}" if len(names) > 1 else metric


def _check_cityscapes(dataset_name: str) -> None:
    try:
        import cityscapesscripts  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"dataset {dataset_name} is evaluated by Cityscapes' own scripts: "
            "pip install cityscapesscripts"
        ) from error


def _coco(run: RunConfig, name: str) -> DatasetEvaluator:
    return CocoEvaluator(
        name,
        implementation=str(run[settings.COCO_EVAL]),
        output_dir=_folder(run),
        kpt_oks_sigmas=run[settings.KEYPOINT_OKS_SIGMAS],
    )


def _semantic(run: RunConfig, name: str) -> DatasetEvaluator:
    return SemSegEvaluator(name, output_dir=_folder(run), sem_seg_loading_fn=_read_labels)


def _read_labels(path: str, dtype: type) -> np.ndarray:
    """An image of labels; Detectron2's own function for it does not work with NumPy 2."""
    return np.asarray(Image.open(path), dtype=dtype)


def _panoptic(run: RunConfig, name: str) -> DatasetEvaluator:
    return DatasetEvaluators([_coco(run, name), _semantic(run, name), PanopticEvaluator(name)])


def _folder(run: RunConfig) -> str:
    return os.path.join(str(run[settings.OUTPUT_DIR]), "inference")


_BUILDERS = {
    "coco": _coco,
    "sem_seg": _semantic,
    "coco_panoptic_seg": _panoptic,
    "cityscapes_sem_seg": lambda _, name: CityscapesSemSegEvaluator(name),
    "cityscapes_instance": lambda _, name: CityscapesInstanceEvaluator(name),
}
