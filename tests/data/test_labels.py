"""Detectors and datasets that do not go together."""

import pytest
from detectron2.data import MetadataCatalog
from helpers.tiny import custom, train_net

from hrnet_det import get_cfg
from hrnet_det.config.yaml_run import YamlRun
from hrnet_det.data.checks import check_labels
from hrnet_det.data.datasets import Splits, prepare_datasets
from hrnet_det.errors import InputError

OBJECTS, SEMANTIC, PANOPTIC = (f"quickstart_{kind}val" for kind in ("", "semantic_", "panoptic_"))
DETECTOR, SEGMENTOR, FPN = "GeneralizedRCNN", "SemanticSegmentor", "PanopticFPN"
TITLES = {DETECTOR: "Mask R-CNN", SEGMENTOR: "Semantic segmentation", FPN: "Panoptic FPN"}


def run_of(architecture):
    cfg = get_cfg()
    cfg.MODEL.META_ARCHITECTURE = architecture
    cfg.MODEL.ROI_HEADS.NAME = "HTCROIHeads" if architecture == "HTC" else "StandardROIHeads"
    cfg.MODEL.MASK_ON = True
    return YamlRun(cfg)


def refusal(architecture, train, test, *, trains=True):
    """The error's text, or None."""
    try:
        check_labels(run_of(architecture), Splits((train,) if trains else (), (test,)))
    except InputError as error:
        return str(error)


@pytest.mark.parametrize(
    ("architecture", "train", "test"),
    [
        (DETECTOR, OBJECTS, OBJECTS),
        (DETECTOR, PANOPTIC, OBJECTS),
        ("HTC", PANOPTIC, OBJECTS),
        (SEGMENTOR, SEMANTIC, SEMANTIC),
        (SEGMENTOR, PANOPTIC, "cityscapes_fine_sem_seg_val"),
        (FPN, PANOPTIC, PANOPTIC),
        (FPN, PANOPTIC, OBJECTS),
        ("OneOfMyOwn", OBJECTS, SEMANTIC),
    ],
)
def test_labels_that_suffice(architecture, train, test):
    assert refusal(architecture, train, test) is None


@pytest.mark.parametrize(
    ("architecture", "train", "learned", "missing"),
    [
        (SEGMENTOR, OBJECTS, "semantic labels", "semantic labels"),
        (FPN, OBJECTS, "objects and semantic labels", "semantic labels"),
        (FPN, SEMANTIC, "objects and semantic labels", "objects"),
        (DETECTOR, SEMANTIC, "objects", "objects"),
    ],
)
def test_labels_that_a_training_set_lacks(architecture, train, learned, missing):
    fitting = {SEGMENTOR: SEMANTIC, FPN: PANOPTIC, DETECTOR: OBJECTS}[architecture]
    assert refusal(architecture, train, fitting).startswith(
        f"{TITLES[architecture]} learns from {learned}, but {train} has no {missing}: train on a "
        "dataset that has them, such as "
    )
    assert refusal(architecture, train, fitting, trains=False) is None


@pytest.mark.parametrize(
    ("architecture", "test", "evaluated", "predicted"),
    [
        (SEGMENTOR, OBJECTS, "objects", "semantic labels"),
        (DETECTOR, SEMANTIC, "semantic labels", "objects"),
        (DETECTOR, PANOPTIC, "objects and semantic labels", "objects"),
    ],
)
def test_test_sets_that_want_more_than_is_predicted(architecture, test, evaluated, predicted):
    assert refusal(architecture, PANOPTIC, test) == (
        f"dataset {test} evaluates {evaluated}, but {TITLES[architecture]} predicts {predicted}: "
        "test on another dataset (DATASETS.TEST)"
    )


def test_a_dataset_of_unknown_kind_is_not_judged():
    MetadataCatalog.get("plain").set(thing_classes=["disc"])
    assert refusal(SEGMENTOR, "plain", SEMANTIC) is None
    MetadataCatalog.pop("plain")


def test_the_command_refuses_objects_for_a_semantic_model(coco, tmp_path):
    words = [*custom(coco, "polygons.json", ["TRAIN"]), "OUTPUT_DIR", tmp_path]
    outcome = train_net("--config-file", "quickstart/semantic.yaml", *words)
    assert outcome.code == 2
    assert outcome.err.startswith(
        "error: Semantic segmentation learns from semantic labels, but custom_train has no "
        "semantic labels: train on a dataset that has them, such as cityscapes_fine_sem_seg_train"
    )


@pytest.fixture
def made(monkeypatch, tmp_path):
    """The quickstart's files, empty: only their names and classes are asked for."""
    monkeypatch.setattr("hrnet_det.data.quickstart.make_quickstart", lambda _: None)
    monkeypatch.setattr("hrnet_det.data.datasets.check_files", lambda *_: None)


@pytest.mark.parametrize(
    ("architecture", "name", "things", "stuff"),
    [(DETECTOR, OBJECTS, 6, None), (SEGMENTOR, SEMANTIC, None, 7), (FPN, PANOPTIC, 6, 2)],
)
def test_numbers_of_classes_follow_the_data(architecture, name, things, stuff, made):
    run = run_of(architecture)
    heads = run.cfg.MODEL.ROI_HEADS, run.cfg.MODEL.SEM_SEG_HEAD
    before = [head.NUM_CLASSES for head in heads]
    run.cfg.DATASETS.TRAIN = run.cfg.DATASETS.TEST = (name,)
    prepare_datasets(run)
    assert [head.NUM_CLASSES for head in heads] == [things or before[0], stuff or before[1]]
    if stuff:
        run.cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 19
        run.stated = {"MODEL.SEM_SEG_HEAD.NUM_CLASSES"}
        with pytest.raises(InputError, match=rf"SEM_SEG_HEAD.NUM_CLASSES is 19, but {name} has"):
            prepare_datasets(run)


def test_semantic_labels_of_coco_are_those_of_the_separated_sets():
    """Detectron2 reads no semantic labels of the others, whose stuff_classes are there too."""
    message = refusal("HTC", "coco_2017_train_panoptic", "coco_2017_val")
    assert "but coco_2017_train_panoptic has no semantic labels" in message
    assert "MODEL.HTC.SEMANTIC_ON False" in message
    assert refusal("HTC", "coco_2017_train_panoptic_separated", "coco_2017_val") is None
    assert "no semantic labels" in refusal(
        "HTC", "cityscapes_fine_instance_seg_train", "cityscapes_fine_instance_seg_val"
    )
