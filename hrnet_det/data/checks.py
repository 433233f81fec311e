"""Whether a run's datasets and image settings are such that it can learn and be evaluated."""

from __future__ import annotations

from detectron2.data import MetadataCatalog

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.config.yaml_run import YamlRun
from hrnet_det.data.datasets import Splits
from hrnet_det.data.labels import LABELS
from hrnet_det.data.mapper import check_scales
from hrnet_det.data.transforms import check_resize
from hrnet_det.errors import InputError
from hrnet_det.modeling.kinds import OBJECTS, SEMANTIC_LABELS, kind_of

EXAMPLES = {
    OBJECTS: "your own in COCO's format, or coco_2017_train",
    SEMANTIC_LABELS: "cityscapes_fine_sem_seg_train or coco_2017_train_panoptic_separated, or your "
    'own, registered with Detectron2\'s load_sem_seg and evaluator_type "sem_seg"',
}
SMALLEST = 32  # pixels: the size of one cell of the coarsest branch


def evaluated_by(name: str) -> frozenset[str] | None:
    """What a dataset's evaluator compares; None if its kind is not known here."""
    known = LABELS.get(MetadataCatalog.get(name).get("evaluator_type", None))
    return None if known is None else frozenset(known)


def annotations_of(name: str) -> frozenset[str] | None:
    """What there is to learn from a dataset; None if its kind is not known here."""
    metadata, found = MetadataCatalog.get(name), evaluated_by(name)
    if found is None:
        return None
    if metadata.get("evaluator_type") == "coco" and metadata.get("stuff_classes"):
        return found | {SEMANTIC_LABELS}  # a user's own, with labels beside the objects
    if metadata.get("panoptic_root") and not metadata.get("sem_seg_root"):
        # COCO's panoptic sets come in two forms; Detectron2 reads semantic labels of one of them.
        return found - {SEMANTIC_LABELS}
    return found


def check_labels(run: RunConfig, splits: Splits) -> None:
    """Compare what the detector learns with what the datasets have annotations of.

    Raises: InputError if a dataset to train on lacks some, or one to test on wants what is not
        predicted.
    """
    kind = kind_of(run)
    if not kind.learns:
        return
    branch = kind.semantic_classes is not None and run.semantic_branch
    needed = kind.learns | ({SEMANTIC_LABELS} if branch else set())
    for name in splits.train:
        found = annotations_of(name)
        for missing in sorted(needed - (needed if found is None else found)):
            without = (
                ", or leave the semantic branch out (MODEL.HTC.SEMANTIC_ON False)"
                if missing not in kind.learns
                else ""
            )
            raise InputError(
                f"{kind.title} learns from {_said(needed)}, but {name} has no {missing}: train on "
                f"a dataset that has them, such as {EXAMPLES[missing]}{without}"
            )
    for name in splits.test:
        found = evaluated_by(name)
        if found is not None and not found <= kind.learns:
            raise InputError(
                f"dataset {name} evaluates {_said(found)}, but {kind.title} predicts "
                f"{_said(kind.learns)}: test on another dataset "
                f"({run.name(settings.TEST_DATASETS)})"
            )


def check_images(run: RunConfig) -> None:
    """Raises: InputError if images cannot be resized as the config says."""
    if not isinstance(run, YamlRun):
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
