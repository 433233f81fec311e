"""Detectors and datasets that do not go together."""

import pytest
from detectron2.data import MetadataCatalog
from helpers.tiny import custom, train_net

from hrnet_det import get_cfg
from hrnet_det.data.datasets import prepare_datasets
from hrnet_det.data.labels import check_labels
from hrnet_det.errors import InputError

OBJECTS, SEMANTIC, PANOPTIC = (f"quickstart_{kind}val" for kind in ("", "semantic_", "panoptic_"))
DETECTOR, SEGMENTOR, FPN = "GeneralizedRCNN", "SemanticSegmentor", "PanopticFPN"


def refusal(architecture, train, test, *, trains=True):
    """The error's text, or None."""
    cfg = get_cfg()
    cfg.MODEL.META_ARCHITECTURE = architecture
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (train,), (test,)
    try:
        check_labels(cfg, trains=trains)
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
        (SEGMENTOR, OBJECTS, "the class of each pixel", "the class of each pixel"),
        (FPN, OBJECTS, "objects and the class of each pixel", "the class of each pixel"),
        (FPN, SEMANTIC, "objects and the class of each pixel", "objects"),
        (DETECTOR, SEMANTIC, "objects", "objects"),
    ],
)
def test_labels_that_a_training_set_lacks(architecture, train, learned, missing):
    fitting = {SEGMENTOR: SEMANTIC, FPN: PANOPTIC, DETECTOR: OBJECTS}[architecture]
    assert refusal(architecture, train, fitting).startswith(
        f"MODEL.META_ARCHITECTURE {architecture} learns {learned}, but {train} has no labels of "
        f"{missing}: train on a dataset that has them, such as "
    )
    assert refusal(architecture, train, fitting, trains=False) is None


@pytest.mark.parametrize(
    ("architecture", "test", "evaluated", "predicted"),
    [
        (SEGMENTOR, OBJECTS, "objects", "the class of each pixel"),
        (DETECTOR, SEMANTIC, "the class of each pixel", "objects"),
        (DETECTOR, PANOPTIC, "objects and the class of each pixel", "objects"),
    ],
)
def test_test_sets_that_want_more_than_is_predicted(architecture, test, evaluated, predicted):
    assert refusal(architecture, PANOPTIC, test) == (
        f"dataset {test} evaluates {evaluated}, but MODEL.META_ARCHITECTURE {architecture} "
        f"predicts {predicted}: test on another dataset (DATASETS.TEST)"
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
        "error: MODEL.META_ARCHITECTURE SemanticSegmentor learns the class of each pixel, but "
        "custom_train has no labels of the class of each pixel: "
    )
    assert outcome.err.endswith("DATASETS.CUSTOM has objects alone\n")


@pytest.fixture
def made(monkeypatch, tmp_path):
    """The quickstart's files, empty: only their names and classes are asked for."""
    monkeypatch.setattr("hrnet_det.data.quickstart.make_quickstart", lambda _: None)
    monkeypatch.setattr("hrnet_det.data.datasets._check_files", lambda _: None)


@pytest.mark.parametrize(
    ("name", "things", "stuff"), [(OBJECTS, 6, None), (SEMANTIC, None, 7), (PANOPTIC, 6, 2)]
)
def test_numbers_of_classes_follow_the_data(name, things, stuff, made):
    cfg = get_cfg()
    heads = cfg.MODEL.ROI_HEADS, cfg.MODEL.SEM_SEG_HEAD
    before = [head.NUM_CLASSES for head in heads]
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (name,)
    prepare_datasets(cfg, stated=())
    assert [head.NUM_CLASSES for head in heads] == [things or before[0], stuff or before[1]]
    if stuff:
        cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 19
        with pytest.raises(InputError, match=rf"SEM_SEG_HEAD.NUM_CLASSES is 19, but {name} has"):
            prepare_datasets(cfg, stated=["MODEL.SEM_SEG_HEAD.NUM_CLASSES"])
