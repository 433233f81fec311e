"""Boxes of whole numbers are trained on where they are, not on whole resized pixels."""

import json

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog, get_detection_dataset_dicts
from detectron2.structures import BoxMode
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hrnet_det import model_zoo
from hrnet_det.data import prepare_datasets
from hrnet_det.data.mapper import build_mapper
from hrnet_det.data.rows import typed

BOX = [33, 21, 50, 40]  # x, y, width, height in an image 145 wide and 146 high
# By 101 / 145 and 102 / 146: the shorter side of 101 pixels makes the image 101x102.
EXPECTED = [33 * 101 / 145, 21 * 102 / 146, 83 * 101 / 145, 61 * 102 / 146]
POLYGON = [33, 21, 83, 21, 83, 61, 33, 61]


def annotation(**other):
    shape = {"segmentation": [POLYGON], "keypoints": [33, 21, 2] * 4}
    return {"bbox": BOX, "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0} | shape | other


@pytest.fixture
def own(tmp_path):
    """A dataset that a user's own code has registered, and what it registers."""
    Image.new("RGB", (145, 146)).save(tmp_path / "a.png")
    size = {"height": 146, "width": 145, "image_id": 1}
    rows = [{"file_name": str(tmp_path / "a.png"), **size, "annotations": [annotation()]}]
    DatasetCatalog.register("own_rows", lambda: rows)
    MetadataCatalog.get("own_rows").set(thing_classes=["cell"], evaluator_type="coco")
    yield rows
    DatasetCatalog.remove("own_rows")
    MetadataCatalog.remove("own_rows")


def test_whole_numbers_are_not_rounded_down_when_an_image_is_resized(own):
    words = ["DATASETS.TRAIN", "('own_rows',)", "DATASETS.TEST", "('own_rows',)"]
    words += ["INPUT.MIN_SIZE_TRAIN", "(101,)", "INPUT.RANDOM_FLIP", "none"]
    cfg = model_zoo.get_config("hrnetv2p_mask_rcnn.yaml", words)
    prepare_datasets(cfg)
    (row,) = get_detection_dataset_dicts("own_rows")
    found = build_mapper(cfg, is_train=True)(row)["instances"]
    np.testing.assert_allclose(found.gt_boxes.tensor[0], EXPECTED, rtol=1e-6)
    x0, y0, x1, y1 = EXPECTED
    polygon = found.gt_masks.polygons[0][0]
    np.testing.assert_allclose(polygon, [x0, y0, x1, y0, x1, y1, x0, y1], rtol=1e-9)
    assert own[0]["annotations"] == [annotation()]  # what the user registered is as it was


def test_a_row_is_typed_whatever_holds_its_numbers():
    box = torch.tensor(BOX).numpy()
    row = {"annotations": [annotation(bbox=box, bbox_mode=BoxMode.XYXY_ABS, iscrowd=0)]}
    row |= {"proposal_boxes": [[1, 2, 3, 4]]}
    made = typed(row)
    assert made["annotations"][0]["bbox"] == [33.0, 21.0, 50.0, 40.0]
    assert made["annotations"][0]["bbox_mode"] is BoxMode.XYXY_ABS
    assert made["proposal_boxes"].dtype == np.float64
    rotated = typed({"annotations": [annotation(bbox=[*BOX, 30], bbox_mode=BoxMode.XYWHA_ABS)]})
    assert rotated["annotations"][0]["bbox"] == [33.0, 21.0, 50.0, 40.0, 30.0]
    thirds = typed({"annotations": [annotation(bbox=[1 / 3, 1, 1 / 3, 1])]})["annotations"][0]
    assert thirds["bbox"] == [1 / 3, 1.0, 2 / 3, 2.0]  # in float64
    assert thirds["bbox_mode"] is BoxMode.XYXY_ABS


def test_training_boxes_of_the_quickstart_are_its_truth(tmp_path):
    """Moved back from the resized image, they have an AP of 100 against their own json."""
    words = ["INPUT.RANDOM_FLIP", "none", "DATASETS.TRAIN", "('quickstart_val',)"]
    cfg = model_zoo.get_config("quickstart/faster_rcnn.yaml", words)
    prepare_datasets(cfg)
    mapper, found = build_mapper(cfg, is_train=True), []
    rows = get_detection_dataset_dicts("quickstart_val")
    ids = MetadataCatalog.get("quickstart_val").thing_dataset_id_to_contiguous_id
    category = {number: category for category, number in ids.items()}
    for row in rows:
        objects = mapper(row)["instances"]
        height, width = objects.image_size
        objects.gt_boxes.scale(row["width"] / width, row["height"] / height)
        for (x0, y0, x1, y1), k in zip(
            objects.gt_boxes.tensor.tolist(), objects.gt_classes.tolist(), strict=True
        ):
            found.append(
                {
                    "image_id": row["image_id"],
                    "category_id": category[k],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "score": 1.0,
                }
            )
    truth = COCO(MetadataCatalog.get("quickstart_val").json_file)
    (tmp_path / "found.json").write_text(json.dumps(found))
    evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / "found.json")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] > 0.999
