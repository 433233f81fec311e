"""Images of semantic labels: what is read, and what is refused with its file and numbers."""

import numpy as np
import pytest
from PIL import Image

from hrnet_det.config.load import load_run
from hrnet_det.data.label_images import labels_to_learn, read_labels
from hrnet_det.data.mapper import build_mapper
from hrnet_det.errors import InputError


@pytest.fixture
def path(tmp_path):
    """Labels 0, 1, 2 and 255, of 4x6 pixels."""
    labels = np.array([[0, 1, 2, 255, 0, 1]] * 4, dtype=np.uint8)
    Image.fromarray(labels).save(tmp_path / "labels.png")
    return str(tmp_path / "labels.png")


def refusal(*words):
    with pytest.raises(InputError) as error:
        read_labels(*words)
    return str(error.value)


def test_labels_that_are_classes_are_read(path):
    for learned in ((3, 255), (256, 7), None):
        assert read_labels(path, (4, 6), learned)[0].tolist() == [0, 1, 2, 255, 0, 1]


def test_a_label_that_is_no_class_is_named(path):
    rest = "(MODEL.SEM_SEG_HEAD.IGNORE_VALUE)"
    assert refusal(path, (4, 6), (2, 255)) == (
        f"{path}: label 2, but the detector has 2 semantic classes "
        f"(MODEL.SEM_SEG_HEAD.NUM_CLASSES): labels are 0 to 1, and 255 for no label {rest}"
    )
    assert refusal(path, (4, 6), (3, 254)).startswith(f"{path}: label 255, but the detector has 3")


def test_labels_of_another_size_are_refused(path):
    assert refusal(path, (6, 4), None) == (
        f"{path}: semantic labels of 6x4 pixels for an image of 4x6: give one label for each pixel"
    )


@pytest.mark.parametrize(
    ("config", "words", "expected"),
    [
        ("COCO-InstanceSegmentation/htc_hrnetv2p_w18_20e.yaml", [], (183, 255)),
        (
            "COCO-InstanceSegmentation/htc_hrnetv2p_w18_20e.yaml",
            ["MODEL.HTC.SEMANTIC_ON", "False"],
            None,
        ),
        ("Cityscapes/semantic_hrnetv2_w48.yaml", [], (19, 255)),
        ("quickstart/panoptic_fpn.yaml", ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", "2"], (2, 255)),
        ("hrnetv2p_mask_rcnn.yaml", [], None),
    ],
)
def test_labels_are_looked_at_where_they_are_learned(config, words, expected):
    cfg = load_run(config, words).cfg
    assert labels_to_learn(cfg) == expected
    assert build_mapper(cfg, is_train=True).labels == expected


def test_the_mapper_refuses_them(path, tmp_path):
    Image.new("RGB", (6, 4)).save(tmp_path / "image.png")
    row = {"file_name": str(tmp_path / "image.png"), "height": 4, "width": 6, "image_id": 1}
    row |= {"sem_seg_file_name": path, "annotations": []}
    config = "COCO-InstanceSegmentation/htc_hrnetv2p_w18_20e.yaml"
    for classes in (2, 3):
        cfg = load_run(config, ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", str(classes)]).cfg
        mapper = build_mapper(cfg, is_train=True)
        if classes == 3:
            assert set(mapper(row)["sem_seg"].unique().tolist()) == {0, 1, 2, 255}
            continue
        with pytest.raises(InputError, match=r"label 2, but the detector has 2 semantic classes"):
            mapper(row)
