"""Semantic labels from panoptic annotations, against labels counted by hand."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import MetadataCatalog
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from PIL import Image

SCRIPT = Path(__file__).resolve().parents[2] / "datasets" / "prepare_panoptic.py"
SPEC = importlib.util.spec_from_file_location("prepare_panoptic", SCRIPT)
script = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(script)

CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1},
    {"id": 95, "name": "bridge", "isthing": 0},
    {"id": 92, "name": "banner", "isthing": 0},
]


@pytest.fixture
def coco(tmp_path):
    """One image of 2x3: a person, banner, bridge, and pixels of no segment."""
    folder = tmp_path / "coco"
    (folder / "annotations").mkdir(parents=True)
    (folder / "panoptic_val2017").mkdir()
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0] = (7, 0, 0)  # id 7
    pixels[0, 1] = (7, 2, 0)  # id 7 + 2 * 256
    pixels[1, 2] = (0, 0, 255)  # id 255 * 65536
    Image.fromarray(pixels).save(folder / "panoptic_val2017" / "9.png")
    segments = [
        {"id": 7, "category_id": 1},
        {"id": 519, "category_id": 92},
        {"id": 255 * 65536, "category_id": 95},
    ]
    rows = [{"image_id": 9, "file_name": "9.png", "segments_info": segments}]
    content = {"categories": CATEGORIES, "annotations": rows}
    (folder / "annotations" / "panoptic_val2017.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def run(coco):
    return lambda *words: script.main(["--root", str(coco.parent), *words])


@pytest.mark.parametrize("source", ["panoptic_val2017", "annotations/panoptic_val2017"])
def test_things_are_0_stuff_counts_from_1_and_the_rest_has_no_label(source, run, coco, capsys):
    (coco / "panoptic_val2017").rename(coco / source)
    assert run("--splits", "val") == 0
    labels = np.asarray(Image.open(coco / "panoptic_stuff_val2017" / "9.png"))
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[0, 1, 255], [255, 255, 2]]
    assert "1 images converted" in capsys.readouterr().out
    assert run("--splits", "val") == 0
    assert "0 images converted" in capsys.readouterr().out


def test_labels_are_those_that_detectron2_expects():
    labels = script.label_of_category(COCO_CATEGORIES)
    metadata = MetadataCatalog.get("coco_2017_val_panoptic_separated")
    expected = metadata.stuff_dataset_id_to_contiguous_id
    assert {k: n for k, n in labels.items() if n} == {k: n for k, n in expected.items() if k and n}
    assert sorted(labels.values())[-1] == len(metadata.stuff_classes) - 1 == 53


def test_what_is_missing_or_damaged_is_said(run, coco, capsys):
    def error(*words):
        assert run(*words) == 2
        return capsys.readouterr().err

    advice = "Fetch panoptic_annotations_trainval2017.zip"
    assert f"annotations/panoptic_train2017.json is missing. {advice}" in error()
    image = coco / "panoptic_val2017" / "9.png"
    image.write_bytes(image.read_bytes()[:50])
    assert f"error: {image}: " in error("--splits", "val")
    assert list((coco / "panoptic_stuff_val2017").iterdir()) == []
    image.unlink()
    assert "1 of 1 PNG files are missing, such as 9.png." in error("--splits", "val")
    (coco / "annotations" / "panoptic_val2017.json").write_bytes(b"\xff{")
    assert "panoptic_val2017.json is not valid JSON: " in error("--splits", "val")


def test_ctrl_c_is_one_line(run, capsys, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "find_jobs", stop)
    assert run() == 130
    assert capsys.readouterr().err == "stopped; run the same command again to go on\n"
