"""What is known of each kind of dataset, and detectors and datasets that do not go together."""

import sys

import pytest
from detectron2.data import MetadataCatalog
from helpers.tiny import custom, train_net

from hrnet_det import get_cfg
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data import dataset_kinds
from hrnet_det.data.checks import check_labels
from hrnet_det.data.dataset_kinds import (
    DATASET_KINDS,
    DatasetKind,
    files_of,
    labels_of,
    metric_for,
    register_dataset_kind,
)
from hrnet_det.data.datasets import Splits
from hrnet_det.errors import InputError
from hrnet_det.evaluation.evaluators import BUILDERS
from hrnet_det.modeling.kinds import KINDS, OBJECTS, SEGMENTS, SEMANTIC_LABELS, Kind

COCO, SEMANTIC, PANOPTIC = (f"quickstart_{kind}val" for kind in ("", "semantic_", "panoptic_"))
CITY = "cityscapes_fine_{}_val"
STANDARD = "quickstart_panoptic_standard_val"
BOTH = "objects and semantic labels"


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """As if all packages were there."""
    for package in ("cityscapesscripts", "lvis"):
        monkeypatch.setitem(sys.modules, package, sys)


@pytest.fixture
def metadata():
    """A dataset's metadata, forgotten after the test."""
    yield MetadataCatalog.get("own_kind")
    MetadataCatalog.remove("own_kind")


def refusal(kind, train=(), test=(), *, branch=False):
    """The text with which datasets are refused, or None."""
    row, cfg = KINDS[kind], get_cfg()
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.ROI_HEADS.NAME = row.meta_arch, [*row.roi_heads, ""][0]
    cfg.MODEL.MASK_ON, cfg.MODEL.KEYPOINT_ON = row.masks, row.keypoints
    cfg.MODEL.HTC.SEMANTIC_ON = branch
    try:
        check_labels(RunConfig(cfg), Splits(tuple(train), tuple(test)))
    except InputError as error:
        return str(error)


# --- the table ---


def test_every_kind_has_its_evaluators_and_measures_what_they_do():
    for name, kind in DATASET_KINDS.items():
        assert name == kind.name
        assert kind.labels in ({SEGMENTS}, {OBJECTS}, {SEMANTIC_LABELS}, {OBJECTS, SEMANTIC_LABELS})
        assert kind.metrics and set(kind.evaluators) <= set(BUILDERS)


@pytest.mark.parametrize(
    ("dataset", "labels"),
    [
        ("coco_2017_val", {OBJECTS}),
        ("lvis_v1_val", {OBJECTS}),
        ("voc_2007_val", {OBJECTS}),
        ("ade20k_sem_seg_val", {SEMANTIC_LABELS}),
        ("coco_2017_val_panoptic_separated", {OBJECTS, SEMANTIC_LABELS}),
        ("coco_2017_val_panoptic", {SEGMENTS}),
        (CITY.format("instance_seg"), {OBJECTS}),
        (CITY.format("sem_seg"), {SEMANTIC_LABELS}),
        ("cityscapes_fine_panoptic_val", {SEGMENTS}),
        ("quickstart_panoptic_standard_val", {SEGMENTS}),
    ],
)
def test_what_datasets_of_detectron2_have_labels_of(dataset, labels):
    assert labels_of(dataset) == labels


@pytest.mark.parametrize(
    ("dataset", "files"),
    [
        ("coco_2017_val", ["coco/annotations/instances_val2017.json", "coco/val2017"]),
        ("lvis_v1_val", ["lvis/lvis_v1_val.json", "coco/"]),
        ("voc_2012_train", [f"VOC2012/{part}" for part in ("ImageSets/Main/train.txt",
         "Annotations", "JPEGImages")]),
        ("ade20k_sem_seg_val", [f"ADEChallengeData2016/{part}/validation" for part in ("images",
         "annotations_detectron2")]),
        (CITY.format("sem_seg"), ["cityscapes/leftImg8bit/val/", "cityscapes/gtFine/val/"]),
    ],
)  # fmt: skip
def test_what_datasets_of_detectron2_need_on_disk(dataset, files):
    found = [path.partition("datasets/")[2] for path in files_of(dataset)]
    assert found == files


@pytest.mark.parametrize(
    ("kind", "dataset", "metric"),
    [
        ("rpn", "voc_2007_val", None),
        ("rpn", CITY.format("instance_seg"), None),
        ("faster_rcnn", CITY.format("instance_seg"), None),
        ("mask_rcnn", CITY.format("instance_seg"), "segm/AP"),
        ("semantic_seg", COCO, None),
    ],
)
def test_what_a_detector_is_judged_by(kind, dataset, metric):
    assert metric_for(KINDS[kind], dataset) == metric


def test_a_detector_of_the_users_own_is_judged_by_what_counts_most():
    own = Kind(name="own", title="Own", base="", meta_arch="Own", learns=frozenset())
    assert metric_for(own, SEMANTIC) == "sem_seg/mIoU"
    assert metric_for(own, COCO) == "bbox/AP"


def test_a_kind_is_one_row(metadata, monkeypatch, tmp_path):
    monkeypatch.setattr(dataset_kinds, "DATASET_KINDS", dict(DATASET_KINDS))
    metadata.set(evaluator_type="points", folder=str(tmp_path), thing_classes=["dot"])
    assert labels_of("own_kind") is None
    row = DatasetKind(
        name="points",
        labels=frozenset({OBJECTS}),
        evaluators=("coco",),
        metrics=("bbox/AP",),
        files=("{folder}/points.csv", "{other}/absent"),
    )
    register_dataset_kind(row)
    assert labels_of("own_kind") == {OBJECTS}
    assert list(files_of("own_kind")) == [f"{tmp_path}/points.csv"]
    with pytest.raises(ValueError, match="there is a kind of datasets 'points' already"):
        register_dataset_kind(row)


# --- detectors and datasets ---


@pytest.mark.parametrize(
    ("kind", "train", "test"),
    [
        ("faster_rcnn", COCO, COCO),
        ("faster_rcnn", "voc_2007_trainval", "voc_2007_test"),
        ("faster_rcnn", PANOPTIC, COCO),
        ("mask_rcnn", "lvis_v1_train", "lvis_v1_val"),
        ("mask_rcnn", COCO, CITY.format("instance_seg")),
        ("rpn", COCO, "lvis_v1_val"),
        ("htc", PANOPTIC, COCO),
        ("semantic_seg", SEMANTIC, SEMANTIC),
        ("semantic_seg", PANOPTIC, CITY.format("sem_seg")),
        ("panoptic_fpn", PANOPTIC, PANOPTIC),
        ("panoptic_fpn", PANOPTIC, COCO),
        ("panoptic_deeplab", STANDARD, STANDARD),
        ("panoptic_deeplab", "coco_2017_train_panoptic", CITY.format("panoptic")),
    ],
)
def test_labels_that_suffice(kind, train, test):
    assert refusal(kind, [train], [test]) is None


@pytest.mark.parametrize(
    ("kind", "train", "learned", "missing"),
    [
        ("semantic_seg", COCO, "semantic labels", "semantic labels"),
        ("panoptic_fpn", COCO, BOTH, "semantic labels"),
        ("panoptic_fpn", SEMANTIC, BOTH, "objects"),
        (
            "panoptic_fpn",
            "coco_2017_train_panoptic",
            BOTH,
            "semantic labels",
        ),
        ("faster_rcnn", SEMANTIC, "objects", "objects"),
        ("panoptic_deeplab", PANOPTIC, "panoptic segments", "panoptic segments"),
    ],
)
def test_labels_that_a_training_set_lacks(kind, train, learned, missing):
    assert refusal(kind, [train]).startswith(
        f"{KINDS[kind].title} learns from {learned}, but {train} has no {missing}: train on a "
        "dataset that has them, such as "
    )


def test_the_semantic_branch_of_htc_needs_semantic_labels(metadata):
    """Detectron2 reads those of COCO's separated sets, and stuff_classes alone are none."""
    for train in ("coco_2017_train_panoptic", CITY.format("instance_seg")):
        message = refusal("htc", [train], [COCO], branch=True)
        assert message.startswith(
            f"Hybrid Task Cascade learns from objects and semantic labels, but {train} has no sem"
        )
        assert message.endswith("or leave the semantic branch out (MODEL.HTC.SEMANTIC_ON False)")
    assert refusal("htc", ["coco_2017_train_panoptic_separated"], [COCO], branch=True) is None
    metadata.set(evaluator_type="coco", stuff_classes=["things", "ground"])
    assert refusal("htc", ["own_kind"], ["own_kind"], branch=True) is None


@pytest.mark.parametrize("kind", ["mask_rcnn", "cascade_mask_rcnn", "htc"])
def test_voc_has_no_masks(kind):
    assert refusal(kind, ["voc_2007_trainval"]).startswith(
        f"{KINDS[kind].title} learns masks, but the objects of voc_2007_trainval have boxes alone"
    )
    assert refusal(kind, [COCO], ["voc_2007_test"]) is None  # its boxes are measured


@pytest.mark.parametrize(
    ("kind", "test", "evaluated", "predicted"),
    [
        ("semantic_seg", COCO, "objects", "semantic labels"),
        ("faster_rcnn", SEMANTIC, "semantic labels", "objects"),
        ("faster_rcnn", PANOPTIC, "objects and semantic labels", "objects"),
        ("panoptic_fpn", "coco_2017_val_panoptic", "panoptic segments", BOTH),
        ("panoptic_fpn", CITY.format("panoptic"), "panoptic segments", BOTH),
    ],
)
def test_test_sets_that_want_more_than_is_predicted(kind, test, evaluated, predicted):
    assert refusal(kind, [PANOPTIC], [test]) == (
        f"dataset {test} evaluates {evaluated}, but {KINDS[kind].title} predicts {predicted}: test "
        "on another dataset (DATASETS.TEST)"
    )


@pytest.mark.parametrize(
    ("kind", "test", "measured"),
    [
        ("rpn", "voc_2007_test", "bbox/AP"),
        ("faster_rcnn", CITY.format("instance_seg"), "segm/AP"),
    ],
)
def test_test_sets_that_measure_nothing_of_it(kind, test, measured):
    assert refusal(kind, [PANOPTIC], [test]).startswith(
        f"dataset {test} has nothing that {KINDS[kind].title} is evaluated by (what is measured on "
        f"datasets of its kind: {measured}"
    )


def test_a_dataset_of_unknown_kind_is_not_judged(metadata):
    metadata.set(thing_classes=["disc"])
    assert refusal("semantic_seg", ["own_kind"], ["own_kind"]) is None


def test_packages_are_looked_for_before_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "lvis", None)
    assert refusal("mask_rcnn", ["lvis_v1_train"]).startswith(
        "dataset lvis_v1_train needs the package lvis (ModuleNotFoundError: "
    )


def test_the_command_refuses_objects_for_a_semantic_model(coco, tmp_path):
    words = [*custom(coco, "polygons.json", ["TRAIN"]), "OUTPUT_DIR", tmp_path]
    outcome = train_net("--config-file", "quickstart/semantic.yaml", *words)
    assert outcome.code == 2
    assert outcome.err.startswith("error: Semantic segmentation learns from semantic labels, but ")
