"""Semantic labels from panoptic annotations, against labels counted by hand."""

import importlib.util
import json

import numpy as np
import pytest
from detectron2.data import MetadataCatalog
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from PIL import Image
from tiny import REPO

SPEC = importlib.util.spec_from_file_location(
    "prepare_panoptic", REPO / "datasets" / "prepare_panoptic.py"
)
script = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(script)

CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1},
    {"id": 95, "name": "bridge", "isthing": 0},
    {"id": 92, "name": "banner", "isthing": 0},
]


@pytest.fixture
def coco(tmp_path):
    """One picture of 2x3: a person, banner, bridge, and pixels of no segment."""
    folder = tmp_path / "coco"
    (folder / "annotations").mkdir(parents=True)
    (folder / "panoptic_val2017").mkdir()
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0] = (7, 0, 0)  # id 7
    pixels[0, 1] = (7, 2, 0)  # id 7 + 2 * 256
    pixels[1, 2] = (0, 0, 1)  # id 65536
    Image.fromarray(pixels).save(folder / "panoptic_val2017" / "9.png")
    segments = [
        {"id": 7, "category_id": 1},
        {"id": 519, "category_id": 92},
        {"id": 65536, "category_id": 95},
    ]
    rows = [{"image_id": 9, "file_name": "9.png", "segments_info": segments}]
    content = {"categories": CATEGORIES, "annotations": rows}
    (folder / "annotations" / "panoptic_val2017.json").write_text(json.dumps(content))
    return folder


def test_things_are_0_stuff_counts_from_1_and_the_rest_has_no_label(coco, capsys):
    assert script.main(["--root", str(coco.parent), "--splits", "val"]) == 0
    labels = np.asarray(Image.open(coco / "panoptic_stuff_val2017" / "9.png"))
    assert labels.tolist() == [[0, 1, 255], [255, 255, 2]]
    assert "1 pictures converted" in capsys.readouterr().out
    assert script.main(["--root", str(coco.parent), "--splits", "val"]) == 0
    assert "0 pictures converted" in capsys.readouterr().out


def test_labels_are_those_that_detectron2_expects():
    numbers = script.numbers_of_categories(COCO_CATEGORIES)
    metadata = MetadataCatalog.get("coco_2017_val_panoptic_separated")
    expected = metadata.stuff_dataset_id_to_contiguous_id
    assert {k: n for k, n in numbers.items() if n} == {k: n for k, n in expected.items() if k and n}
    assert sorted(numbers.values())[-1] == len(metadata.stuff_classes) - 1 == 53


def test_what_is_missing_is_said(coco, capsys):
    assert script.main(["--root", str(coco.parent)]) == 1
    error = capsys.readouterr().err
    assert "panoptic_train2017.json is not there. Fetch panoptic_annotations_trainval2017" in error
    (coco / "panoptic_val2017" / "9.png").unlink()
    assert script.main(["--root", str(coco.parent), "--splits", "val"]) == 1
    assert "1 of 1 pictures are not in" in capsys.readouterr().err
