"""The kinds of datasets: one row each, which everything reads that asks what a dataset has.

A dataset's kind is its metadata's `evaluator_type`; docs/development.md says how to add one.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass

from detectron2.data import MetadataCatalog

from hrnet_det.environment import one_line
from hrnet_det.errors import InputError
from hrnet_det.modeling.kinds import OBJECTS, SEGMENTS, SEMANTIC_LABELS, Kind

# What the metadata of datasets of any kind may name on disk.
_PANOPTIC_FILES = ("{panoptic_json}", "{panoptic_root}", "{sem_seg_root}")
FILES = ("{json_file}", "{image_root}", *_PANOPTIC_FILES, "{image_dir}", "{gt_dir}")
BOX_METRICS = ("bbox/AP", "box_proposals/AR@1000")


@dataclass(frozen=True)
class DatasetKind:
    """A kind of datasets: what is in them, and how they are evaluated."""

    name: str  # the evaluator_type
    # What it has annotations of: OBJECTS, SEMANTIC_LABELS or both, or SEGMENTS.
    labels: frozenset[str]
    evaluators: tuple[str, ...]  # of detectors on it: keys of `evaluation.evaluators.BUILDERS`
    # What these measure, as metrics.json names it, what counts most first. The best checkpoint is
    # chosen by the detector's own metric (`Kind.metric`) if it is one of them, else by the first
    # one of a task that the detector has.
    metrics: tuple[str, ...]
    masks: bool = True  # whether its objects have masks, or may have
    files: tuple[str, ...] = ()  # paths of fields of its metadata that it needs, beside FILES
    evaluated_with: tuple[str, ...] = ()  # metadata that its evaluators cannot do without
    package: str = ""  # the Python package that reads and evaluates it, beside hrnet_det's own
    install: str = ""  # the command that installs the package


DATASET_KINDS: dict[str, DatasetKind] = {}


def register_dataset_kind(kind: DatasetKind) -> DatasetKind:
    """Add a row. Raises: ValueError if there is one of that name."""
    if kind.name in DATASET_KINDS:
        raise ValueError(f"there is a kind of datasets {kind.name!r} already")
    DATASET_KINDS[kind.name] = kind
    return kind


# COCO's panoptic datasets come in two forms of one evaluator_type: objects with separate labels of
# stuff (with sem_seg_root), and segments of all classes.
STANDARD = "coco_panoptic_standard"
_HAS_OBJECTS, _HAS_LABELS = frozenset({OBJECTS}), frozenset({SEMANTIC_LABELS})
_VOC_FOLDERS = ("{dirname}/Annotations", "{dirname}/JPEGImages")
_CITYSCAPES = {
    "evaluated_with": ("gt_dir",),
    "package": "cityscapesscripts",
    "install": "pip install cityscapesscripts",
}
for _kind in (
    DatasetKind("coco", _HAS_OBJECTS, ("coco",), BOX_METRICS),
    DatasetKind(
        "lvis",
        _HAS_OBJECTS,
        ("lvis",),
        BOX_METRICS,
        evaluated_with=("json_file",),
        package="lvis",
        install="pip install lvis (it brings opencv-python, which wants a display; without one: "
        "pip install --no-deps lvis opencv-python-headless)",
    ),
    DatasetKind(
        "pascal_voc",
        _HAS_OBJECTS,
        ("pascal_voc",),
        ("bbox/AP",),
        masks=False,
        files=("{dirname}/ImageSets/Main/{split}.txt", *_VOC_FOLDERS),
        evaluated_with=("dirname", "split", "year"),
    ),
    DatasetKind(
        "sem_seg",
        _HAS_LABELS,
        ("sem_seg",),
        ("sem_seg/mIoU",),
        evaluated_with=("stuff_classes", "ignore_label"),
    ),
    DatasetKind(
        "coco_panoptic_seg",
        _HAS_OBJECTS | _HAS_LABELS,
        ("coco", "sem_seg", "panoptic"),
        ("panoptic_seg/PQ", *BOX_METRICS, "sem_seg/mIoU"),
        evaluated_with=("panoptic_json", "panoptic_root", "stuff_classes", "ignore_label"),
    ),
    DatasetKind(
        STANDARD,
        frozenset({SEGMENTS}),
        ("things", "panoptic"),
        ("panoptic_seg/PQ", "bbox/AP"),
        evaluated_with=("panoptic_json", "panoptic_root", "json_file"),
    ),
    DatasetKind(
        "cityscapes_panoptic_seg",
        frozenset({SEGMENTS}),
        ("panoptic", "cityscapes_instance", "cityscapes_sem_seg"),
        ("panoptic_seg/PQ", "segm/AP", "sem_seg/IoU"),
        **_CITYSCAPES | {"evaluated_with": ("panoptic_json", "panoptic_root", "gt_dir")},
    ),
    DatasetKind(
        "cityscapes_instance", _HAS_OBJECTS, ("cityscapes_instance",), ("segm/AP",), **_CITYSCAPES
    ),
    DatasetKind(
        "cityscapes_sem_seg", _HAS_LABELS, ("cityscapes_sem_seg",), ("sem_seg/IoU",), **_CITYSCAPES
    ),
):
    register_dataset_kind(_kind)


def dataset_kind(dataset: str) -> DatasetKind | None:
    """The kind of a registered dataset; None if it is not known."""
    metadata = MetadataCatalog.get(dataset)
    name = metadata.get("evaluator_type", None)
    if name == "coco_panoptic_seg" and not metadata.get("sem_seg_root"):
        name = STANDARD
    return DATASET_KINDS.get(name)


def labels_of(dataset: str) -> frozenset[str] | None:
    """What there is to learn from a dataset; None if its kind is not known."""
    kind, metadata = dataset_kind(dataset), MetadataCatalog.get(dataset)
    if kind is None:
        return None
    if kind.name == "coco" and metadata.get("stuff_classes"):
        return kind.labels | {SEMANTIC_LABELS}  # a user's own, beside the objects
    return kind.labels


def files_of(dataset: str) -> Iterator[str]:
    """The files and folders that a dataset's metadata names."""
    kind, metadata = dataset_kind(dataset), MetadataCatalog.get(dataset).as_dict()
    named = {field: value for field, value in metadata.items() if value}
    for path in (*FILES, *(kind.files if kind else ())):
        with contextlib.suppress(KeyError):  # of a field that the metadata does not have
            yield path.format(**named)


def metric_for(detector: Kind, dataset: str) -> str | None:
    """What tells how good a detector is on a dataset, as metrics.json names it; None if nothing."""
    kind = dataset_kind(dataset)
    if kind is None or detector.metric in kind.metrics:
        return detector.metric
    if not detector.learns:  # of the user's own
        return kind.metrics[0]
    boxes = ("bbox", "segm") if detector.masks else ("bbox",)
    tasks = {  # what the evaluators of a detector's predictions call their results
        "instances": boxes,
        "proposals": ("box_proposals",),
        "sem_seg": ("sem_seg",),
        "panoptic_seg": (*boxes, "sem_seg", "panoptic_seg"),
    }.get(detector.output, ())
    return next((metric for metric in kind.metrics if metric.split("/")[0] in tasks), None)


def check_package(dataset: str) -> None:
    """Raises: InputError if the package that reads and evaluates a dataset is not there."""
    kind = dataset_kind(dataset)
    if kind is None or not kind.package:
        return
    try:
        importlib.import_module(kind.package)
    except ImportError as error:
        raise InputError(
            f"dataset {dataset} needs the package {kind.package} ({one_line(error)}): "
            f"{kind.install}"
        ) from error
