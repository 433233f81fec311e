"""The evaluators of datasets, as the table of dataset kinds names them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from detectron2 import evaluation
from detectron2.data import MetadataCatalog
from detectron2.data.datasets import builtin, builtin_meta
from PIL import Image

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.dataset_kinds import DATASET_KINDS, check_package, dataset_kind, metric_for
from hrnet_det.errors import InputError
from hrnet_det.evaluation.coco import COCOS_LIMIT, CocoEvaluator
from hrnet_det.evaluation.dropped_names import (
    CityscapesInstances,
    CityscapesSemanticLabels,
    LvisEvaluator,
)
from hrnet_det.evaluation.implementations import find_implementation
from hrnet_det.evaluation.panoptic import PanopticEvaluator
from hrnet_det.evaluation.predictions import predictions_folder
from hrnet_det.modeling.kinds import kind_of

_COCOS_OWN = {name for names in builtin._PREDEFINED_SPLITS_COCO.values() for name in names}
_COCOS_CLASSES = {row["name"] for row in builtin_meta.COCO_CATEGORIES}


def build_evaluator(run: RunConfig, dataset_name: str) -> evaluation.DatasetEvaluator:
    """What evaluates a dataset, by its kind; raises as check_evaluator."""
    check_evaluator(run, dataset_name)
    folder = predictions_folder(run, dataset_name)
    names = dataset_kind(dataset_name).evaluators
    built = [BUILDERS[name](run, dataset_name, folder) for name in names]
    return built[0] if len(built) == 1 else evaluation.DatasetEvaluators(built)


def check_evaluator(run: RunConfig, dataset_name: str) -> None:
    """Raises: InputError if there is no evaluator for the dataset, or what it needs is missing."""
    kind, metadata = dataset_kind(dataset_name), MetadataCatalog.get(dataset_name)
    if kind is None:
        raise InputError(
            f"dataset {dataset_name} wants the evaluator {metadata.get('evaluator_type', None)!r}; "
            f"there are {', '.join(DATASET_KINDS)} (its metadata's evaluator_type)"
        )
    missing = [key for key in kind.evaluated_with if metadata.get(key, None) is None]
    if missing:
        raise InputError(
            f"dataset {dataset_name} has no {', '.join(missing)} in its metadata, which the "
            f"evaluation of a dataset of evaluator_type {kind.name} needs: "
            f"MetadataCatalog.get({dataset_name!r}).set({missing[0]}=...)"
        )
    if kind.name == "pascal_voc" and metadata.year not in (2007, 2012):
        raise InputError(
            f"dataset {dataset_name} has the year {metadata.year!r} in its metadata, which chooses "
            "how VOC's AP is measured: set 2007 (11 points) or 2012 (the area under the curve)"
        )
    check_package(dataset_name)
    if "coco" in kind.evaluators:
        find_implementation(str(run[settings.COCO_EVAL]))


def best_metric(run: RunConfig) -> str:
    """What model_best.pth is the best of, as metrics.json names it."""
    names, kind = run[settings.TEST_DATASETS], kind_of(run)
    metric = metric_for(kind, names[0]) or kind.metric
    return f"{names[0]}/{metric}" if len(names) > 1 else metric


def _things(dataset_name: str) -> str:
    """The name of a dataset of the same objects, whose classes are those of things alone."""
    metadata, name = MetadataCatalog.get(dataset_name), f"{dataset_name}_things"
    numbers = metadata.thing_dataset_id_to_contiguous_id
    MetadataCatalog.pop(name, None)
    MetadataCatalog.get(name).set(
        json_file=metadata.json_file,
        thing_classes=[metadata.thing_classes[number] for number in sorted(numbers.values())],
        thing_dataset_id_to_contiguous_id=numbers,
    )
    return name


def _read_labels(path: str, dtype: type) -> np.ndarray:
    """As Detectron2's own function, which does not work with NumPy 2."""
    return np.asarray(Image.open(path), dtype=dtype)


def detections_per_image(run: RunConfig, dataset_name: str) -> int | None:
    """The most detections that a run gives for an image, and AP is of if they are over 100.

    None for COCO's own sets, whose AP is of 100 by definition.
    """
    if dataset_name.partition("_panoptic")[0] in _COCOS_OWN:
        classes = MetadataCatalog.get(dataset_name).get("thing_classes", [])
        if set(classes) <= _COCOS_CLASSES:  # not a user's own data under COCO's name
            return None
    return run.detections_per_image


def ap_limit(run: RunConfig, dataset_name: str) -> int:
    """Of how many detections of an image and a class COCO's AP of boxes and masks is."""
    return max(COCOS_LIMIT, detections_per_image(run, dataset_name) or 0)


# Each makes the evaluator of a dataset for a run, which writes predictions to a folder.
BUILDERS: dict[str, Callable[[RunConfig, str, Path], evaluation.DatasetEvaluator]] = {
    "coco": lambda run, name, folder: CocoEvaluator(
        name,
        implementation=str(run[settings.COCO_EVAL]),
        detections_per_image=detections_per_image(run, name),
        output_dir=str(folder),
        kpt_oks_sigmas=run[settings.KEYPOINT_OKS_SIGMAS],
    ),
    "lvis": lambda _, name, folder: LvisEvaluator(name, output_dir=str(folder)),
    "pascal_voc": lambda _, name, __: evaluation.PascalVOCDetectionEvaluator(name),
    "sem_seg": lambda _, name, folder: evaluation.SemSegEvaluator(
        name, output_dir=str(folder), sem_seg_loading_fn=_read_labels
    ),
    "panoptic": lambda _, name, __: PanopticEvaluator(name),
    "things": lambda run, name, folder: BUILDERS["coco"](run, _things(name), folder),
    "cityscapes_instance": lambda _, name, __: CityscapesInstances(name),
    "cityscapes_sem_seg": lambda _, name, __: CityscapesSemanticLabels(name),
}
