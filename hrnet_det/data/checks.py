"""Whether a run's datasets and image settings are such that it can learn and be evaluated."""

from __future__ import annotations

import os
from collections.abc import Iterable

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.augmentations import check_augmentations
from hrnet_det.data.dataset_kinds import check_package, dataset_kind, labels_of, metric_for
from hrnet_det.data.datasets import Splits
from hrnet_det.data.transforms import check_resize
from hrnet_det.errors import InputError
from hrnet_det.modeling.compat.conventions import get_conventions
from hrnet_det.modeling.kinds import OBJECTS, SEGMENTS, SEMANTIC_LABELS, Kind, kind_of

EXAMPLES = {
    OBJECTS: "your own in COCO's format, or coco_2017_train",
    SEMANTIC_LABELS: "cityscapes_fine_sem_seg_train or coco_2017_train_panoptic_separated, or your "
    'own, registered with Detectron2\'s load_sem_seg and evaluator_type "sem_seg"',
    SEGMENTS: "cityscapes_fine_panoptic_train or coco_2017_train_panoptic, or your own, registered "
    "with hrnet_det.data.registration.register_segments",
}
OF_BRANCH = (  # where a branch of the RoI heads learns semantic labels, beside objects
    "coco_2017_train_stuffthing or coco_2017_train_panoptic_separated, or leave the semantic "
    "branch out (MODEL.HTC.SEMANTIC_ON False)"
)
SMALLEST = 32  # pixels: the size of one cell of the coarsest branch


def check_labels(run: RunConfig, splits: Splits) -> None:
    """Raises: InputError if a dataset to train on lacks annotations that the detector learns from,
    one to test on wants what is not predicted, or the package that reads one is not installed.
    """
    for name in splits.names:
        check_package(name)
    kind = kind_of(run)
    if not kind.learns:
        return
    for name in filter(dataset_kind, splits.train):
        _check_learned(kind, name, learned_from(run))
    for name in filter(dataset_kind, splits.test):
        _check_predicted(kind, name, run.name(settings.TEST_DATASETS))


def check_test_losses(run: RunConfig, tests: Iterable[str]) -> None:
    """Raises: InputError if a test set lacks annotations that losses are computed from."""
    kind, needed = kind_of(run), learned_from(run)
    for name in filter(dataset_kind, tests):
        lacks = sorted(needed - labels_of(name))
        if kind.masks and not dataset_kind(name).masks:
            lacks.append("masks")
        if lacks:
            raise InputError(
                f"{run.shown(settings.LOSS, True)}: the losses of {kind.title} need "
                f"{' and '.join(lacks)}, which the test set {name} has not: set "
                f"{run.shown(settings.LOSS, False)}"
            )


def check_proposal_files(run: RunConfig, splits: Splits) -> None:
    """Raises: InputError if proposals are to be read, and a dataset has no file of them."""
    if run.is_lazy or not run.cfg.MODEL.LOAD_PROPOSALS:
        return
    for part in ("train", "test"):
        names, key = getattr(splits, part), f"PROPOSAL_FILES_{part.upper()}"
        files = run.cfg.DATASETS[key]
        missing = [str(file) for file in files if not os.path.isfile(str(file))]
        if names and (len(files) != len(names) or missing):
            raise InputError(
                f"MODEL.LOAD_PROPOSALS with DATASETS.{key} {files}: give one file that is there "
                f"for each of {', '.join(names)}{f'; missing: {missing[0]}' if missing else ''}"
            )


def learned_from(run: RunConfig) -> frozenset[str]:
    """What a run's detector learns from, the semantic branch of its RoI heads included."""
    kind = kind_of(run)
    branch = kind.semantic_classes is not None and run.semantic_branch
    return kind.learns | {SEMANTIC_LABELS} if branch else kind.learns


def _check_learned(kind: Kind, name: str, needed: frozenset[str]) -> None:
    for missing in sorted(needed - labels_of(name), reverse=True):
        example = EXAMPLES[missing] if missing in kind.learns else OF_BRANCH
        raise InputError(
            f"{kind.title} learns from {_said(needed)}, but {name} has no {missing}: train on a "
            f"dataset that has them, such as {example}"
        )
    if kind.masks and not dataset_kind(name).masks:
        raise InputError(
            f"{kind.title} learns masks, but the objects of {name} have boxes alone: take a config "
            "without masks, such as hrnetv2p_faster_rcnn.yaml"
        )


def _check_predicted(kind: Kind, name: str, setting: str) -> None:
    row = dataset_kind(name)
    if not row.labels <= kind.learns:
        problem = f"evaluates {_said(row.labels)}, but {kind.title} predicts {_said(kind.learns)}"
    elif not labels_of(name) or metric_for(kind, name) is None:
        problem = (
            f"has nothing that {kind.title} is evaluated by (what is measured on datasets of its "
            f"kind: {', '.join(row.metrics)})"
        )
    else:
        return
    raise InputError(f"dataset {name} {problem}: test on another dataset ({setting})")


def check_images(run: RunConfig) -> None:
    """Raises: InputError if images cannot be resized or augmented as the config says."""
    if run.is_lazy:
        return  # a LazyConfig names its transforms themselves
    check_resize(run.cfg.INPUT.RESIZE)
    check_augmentations(run.cfg)
    _choose_mask_format(run)
    train, test = settings.MIN_SIZE_TRAIN, settings.MIN_SIZE_TEST
    for setting in (train, settings.MAX_SIZE_TRAIN, test, settings.MAX_SIZE_TEST):
        value = run[setting]
        if setting is test and value == 0:  # images keep their size
            continue
        sides = value if isinstance(value, (list, tuple)) else (value,)
        if not sides or not all(isinstance(side, int) and side >= SMALLEST for side in sides):
            several = ', or several of them such as "(640, 800)"' if setting is train else ""
            raise InputError(
                f"{run.shown(setting)}: a side of images in pixels, at least {SMALLEST}{several}"
            )
    sampling, lengths = run.cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING, run[settings.MIN_SIZE_TRAIN]
    if sampling not in ("choice", "range") or (sampling == "range" and len(lengths) != 2):
        raise InputError(
            f"INPUT.MIN_SIZE_TRAIN_SAMPLING {sampling} with INPUT.MIN_SIZE_TRAIN {lengths}: "
            '"choice" of several sides, or "range" with the smallest and the largest'
        )


def _choose_mask_format(run: RunConfig) -> None:
    """Bitmasks where masks are cut, or learned from as pixels."""
    conventions = run[settings.CONVENTIONS]
    if run.cfg.INPUT.AUGMENT.COPY_PASTE:
        why = "copy-paste cuts masks"
    elif run.model.masks and get_conventions(conventions).training.bitmaps:
        why = f"MODEL.CONVENTIONS {conventions} learns from the pixels of masks"
    else:
        return
    if run[settings.MASK_FORMAT] != "bitmask":
        run[settings.MASK_FORMAT] = "bitmask"
        run.note(f"{run.shown(settings.MASK_FORMAT)}: {why}.")


def _said(what: frozenset[str] | set[str]) -> str:
    return " and ".join(sorted(what)) or "nothing"
