"""COCO's objects with COCO-stuff's maps beside them, which Hybrid Task Cascade learns from."""

import json
import re

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from PIL import Image

from hrnet_det import model_zoo
from hrnet_det.config.load import load_run
from hrnet_det.data import prepare_datasets, register_coco_stuff
from hrnet_det.data.coco_stuff import CLASSES, THINGS
from hrnet_det.data.mapper import build_mapper
from hrnet_det.errors import MissingInputError

HTC = "COCO-InstanceSegmentation/htc_hrnetv2p_w18_20e"
NAMES = ("000000000009", "000000000025")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """COCO with two images of each split: objects, and maps that are noise."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    register_coco_stuff()
    things = [row for row in COCO_CATEGORIES if row["isthing"]]
    box = {"bbox": [4, 4, 20, 12], "area": 240, "iscrowd": 0}
    box |= {"segmentation": [[4, 4, 24, 4, 24, 16, 4, 16]], "category_id": 90}
    numbers = np.random.default_rng(0)
    for split in ("train2017", "val2017"):
        images = [
            {"id": int(name), "file_name": f"{name}.jpg", "height": 40, "width": 60}
            for name in NAMES
        ]
        objects = [box | {"id": i, "image_id": row["id"]} for i, row in enumerate(images, 1)]
        content = {"images": images, "annotations": objects, "categories": things}
        file = tmp_path / "coco" / "annotations" / f"instances_{split}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
        for folder, suffix in ((split, "jpg"), (f"stuffthingmaps/{split}", "png")):
            (tmp_path / "coco" / folder).mkdir(parents=True)
            for name in NAMES:
                labels = numbers.integers(0, 182, (40, 60), dtype=np.uint8)
                Image.fromarray(labels).save(tmp_path / "coco" / folder / f"{name}.{suffix}")
    paths = {"json_file": "annotations/instances_val2017.json", "image_root": "val2017"}
    for key, path in paths.items():  # of the set that it is tested on
        value = str(tmp_path / "coco" / path)
        monkeypatch.setitem(MetadataCatalog.get("coco_2017_val").__dict__, key, value)
    yield tmp_path
    monkeypatch.undo()
    register_coco_stuff()


def maps(root, split="train2017"):
    return root / "coco" / "stuffthingmaps" / split


def test_a_label_is_the_categorys_id_less_one():
    assert len(CLASSES) == len(set(CLASSES)) == 183
    for row in COCO_CATEGORIES:
        if row["isthing"] or row["name"] in CLASSES:  # or of stuff that has not been merged
            assert CLASSES[row["id"] - 1] == row["name"]
    assert (CLASSES[91], CLASSES[181]) == ("banner", "wood")  # the first and the last of stuff
    assert len(THINGS) == 80


@pytest.mark.parametrize("config", [f"{HTC}.yaml", f"{HTC}.py"])
def test_htc_learns_183_classes_of_pixels_as_published(root, config):
    run = load_run(config)
    splits = prepare_datasets(run)
    assert splits.train == ("coco_2017_train_stuffthing",)
    head = (
        run.cfg.model.roi_heads.semantic_head.num_classes
        if run.is_lazy
        else run.cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    )
    assert head == 183
    assert run.notes == []


def test_detectron2s_54_classes_are_one_override(root, monkeypatch):
    metadata = MetadataCatalog.get("coco_2017_train_panoptic_separated")
    for key in ("json_file", "image_root", "panoptic_json", "panoptic_root", "sem_seg_root"):
        monkeypatch.setitem(metadata.__dict__, key, str(root))
    run = load_run(HTC, ["DATASETS.TRAIN", "('coco_2017_train_panoptic_separated',)"])
    prepare_datasets(run)
    assert run.cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 54


def test_rows_have_objects_and_maps(root):
    rows = DatasetCatalog.get("coco_2017_train_stuffthing")
    assert [row["sem_seg_file_name"] for row in rows] == [
        str(maps(root) / f"{name}.png") for name in NAMES
    ]
    assert [a["category_id"] for row in rows for a in row["annotations"]] == [79, 79]
    cfg = model_zoo.get_config(HTC)
    cfg.INPUT.RANDOM_FLIP = "none"
    cfg.INPUT.MIN_SIZE_TRAIN = (40,)
    mapped = build_mapper(cfg, is_train=True)(rows[0])
    with Image.open(maps(root) / f"{NAMES[0]}.png") as labels:
        np.testing.assert_array_equal(mapped["sem_seg"], np.asarray(labels))
    assert mapped["instances"].gt_classes.tolist() == [79]


def test_missing_maps_are_explained(root):
    for file in maps(root).iterdir():
        file.unlink()
    maps(root).rmdir()
    with pytest.raises(MissingInputError) as error:
        prepare_datasets(load_run(HTC))
    found = dict(re.findall(r"^  (\S+)  \((found|missing)\)$", str(error.value), re.MULTILINE))
    assert [path for path, state in found.items() if state == "missing"] == [str(maps(root))]
    assert (
        "  python datasets/prepare_coco.py --parts stuffthingmaps    fetches COCO-stuff's maps: "
        "183\n                        classes for HTC (coco_2017_train_panoptic_separated: "
        "Detectron2's 54)\n"
    ) in str(error.value)


def test_one_missing_map_is_named(root):
    (maps(root) / f"{NAMES[1]}.png").unlink()
    with pytest.raises(MissingInputError) as error:
        DatasetCatalog.get("coco_2017_train_stuffthing")
    assert str(error.value) == (
        f"{maps(root)}: the maps of semantic labels of 1 of 2 images are missing, such as "
        f"{NAMES[1]}.png: one is needed for each image, of its name"
    )


def test_the_validation_set_has_maps_too(root):
    rows = DatasetCatalog.get("coco_2017_val_stuffthing")
    assert rows[0]["sem_seg_file_name"] == str(maps(root, "val2017") / f"{NAMES[0]}.png")
    assert MetadataCatalog.get("coco_2017_val_stuffthing").evaluator_type == "coco"
