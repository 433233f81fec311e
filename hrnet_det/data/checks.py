"""Whether a run's datasets and image settings are such that it can learn and be evaluated."""

from __future__ import annotations

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.dataset_kinds import check_package, dataset_kind, labels_of, metric_for
from hrnet_det.data.datasets import Splits
from hrnet_det.data.mapper import check_scales
from hrnet_det.data.transforms import check_resize
from hrnet_det.errors import InputError
from hrnet_det.modeling.kinds import OBJECTS, SEMANTIC_LABELS, Kind, kind_of

EXAMPLES = {
    OBJECTS: "your own in COCO's format, or coco_2017_train",
    SEMANTIC_LABELS: "cityscapes_fine_sem_seg_train or coco_2017_train_panoptic_separated, or your "
    'own, registered with Detectron2\'s load_sem_seg and evaluator_type "sem_seg"',
}
SMALLEST = 32  # pixels: the size of one cell of the coarsest branch


def check_labels(run: RunConfig, splits: Splits) -> None:
    """Compare what the detector learns with what the datasets have annotations of.

    Raises: InputError if a dataset to train on lacks some, or one to test on wants what is not
        predicted, or the package that reads a dataset is not installed.
    """
    for name in splits.names:
        check_package(name)
    kind = kind_of(run)
    if not kind.learns:
        return
    branch = kind.semantic_classes is not None and run.semantic_branch
    for name in splits.train:
        _check_learned(kind, name, kind.learns | ({SEMANTIC_LABELS} if branch else set()))
    for name in splits.test:
        _check_predicted(
            kind, name, f"test on another dataset ({run.name(settings.TEST_DATASETS)})"
        )


def _check_learned(kind: Kind, name: str, needed: frozenset[str]) -> None:
    found = labels_of(name)
    if found is None:
        return
    for missing in sorted(needed - found, reverse=True):
        without = ", or leave the semantic branch out (MODEL.HTC.SEMANTIC_ON False)"
        raise InputError(
            f"{kind.title} learns from {_said(needed)}, but {name} has no {missing}: train on a "
            f"dataset that has them, such as {EXAMPLES[missing]}"
            + (without if missing not in kind.learns else "")
        )
    if kind.masks and not dataset_kind(name).masks:
        raise InputError(
            f"{kind.title} learns masks, but the objects of {name} have boxes alone: take a config "
            "without masks, such as hrnetv2p_faster_rcnn.yaml"
        )


def _check_predicted(kind: Kind, name: str, instead: str) -> None:
    row = dataset_kind(name)
    if row is None:
        return
    if not row.labels <= kind.learns:
        raise InputError(
            f"dataset {name} evaluates {_said(row.labels)}, but {kind.title} predicts "
            f"{_said(kind.learns)}: {instead}"
        )
    if not labels_of(name) or metric_for(kind, name) is None:
        raise InputError(
            f"dataset {name} has nothing that {kind.title} is evaluated by (what is measured on "
            f"datasets of its kind: {', '.join(row.metrics)}): {instead}"
        )


def check_images(run: RunConfig) -> None:
    """Raises: InputError if images cannot be resized as the config says."""
    if run.is_lazy:
        return  # a LazyConfig names its transforms themselves
    check_resize(run.cfg.INPUT.RESIZE)
    check_scales(run.cfg)
    for setting, may_be_zero in (
        (settings.MIN_SIZE_TRAIN, False),
        (settings.MAX_SIZE_TRAIN, False),
        (settings.MIN_SIZE_TEST, True),
        (settings.MAX_SIZE_TEST, False),
    ):
        value = run[setting]
        sides = value if isinstance(value, (list, tuple)) else (value,)
        right = [isinstance(side, int) and side >= SMALLEST for side in sides]
        if may_be_zero and value == 0:  # images keep their size
            continue
        if not right or not all(right):
            raise InputError(
                f"{run.shown(setting)}: a side of images in pixels, at least {SMALLEST}"
                + (
                    ', or several of them such as "(640, 800)"'
                    if setting is settings.MIN_SIZE_TRAIN
                    else ""
                )
            )
    sampling, lengths = run.cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING, run[settings.MIN_SIZE_TRAIN]
    if sampling not in ("choice", "range") or (sampling == "range" and len(lengths) != 2):
        raise InputError(
            f"INPUT.MIN_SIZE_TRAIN_SAMPLING {sampling} with INPUT.MIN_SIZE_TRAIN {lengths}: "
            '"choice" of several sides, or "range" with the smallest and the largest'
        )


def _said(what: frozenset[str] | set[str]) -> str:
    return " and ".join(sorted(what)) or "nothing"
