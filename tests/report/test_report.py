"""Tables, curves and images of the report."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image

from hrnet_det.config.load import load_run
from hrnet_det.report.drawing import _stuff, _things, _truth, annotated, coloured, draw_curves
from hrnet_det.report.summary import results_tables, write_report

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
BOX = dict(zip(METRICS, (36.24, 58.0, 39.96, 20.0, 38.0, 47.0), strict=True))
MASK = dict(zip(METRICS, (33.8, 55.5, 36.0, 14.0, 35.0, 50.0), strict=True))
NAN = float("nan")


def cells(table):
    """The words of each line that has any."""
    return [line.split() for line in table.splitlines() if line.strip("- ")]


def test_one_test_set():
    results = {"bbox": BOX | {"AP-disc": 30.0, "AP-bar": 42.48}, "segm": MASK | {"AP-disc": 1.0}}
    assert cells(results_tables(results)) == [
        ["Results", "(percent)"],
        ["AP", "AP50", "AP75", "APs", "APm", "APl"],
        ["box", "36.2", "58.0", "40.0", "20.0", "38.0", "47.0"],
        ["mask", "33.8", "55.5", "36.0", "14.0", "35.0", "50.0"],
        ["class", "box", "AP", "mask", "AP"],
        ["disc", "30.0", "1.0"],
        ["bar", "42.5", "-"],
    ]


def test_ground_truth_of_which_only_some_has_masks_is_drawn_as_boxes():
    box = {"bbox": [4, 4, 8, 8], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0}
    polygon = {"segmentation": [[4.0, 4.0, 12.0, 4.0, 12.0, 12.0]]}
    row = {"height": 32, "width": 32, "annotations": [box | polygon, dict(box)]}
    truth = _truth(row)
    assert truth.gt_boxes.tensor.tolist() == [[4.0, 4.0, 12.0, 12.0]] * 2
    assert not truth.has("gt_masks")
    assert _truth(row | {"annotations": [box | polygon]}).gt_masks.tensor.sum() > 20
    assert row["annotations"][0]["bbox"] == [4, 4, 8, 8]  # as it was


def test_a_class_without_objects_is_null_in_the_json(tmp_path):
    run = load_run("quickstart/mask_rcnn", ["OUTPUT_DIR", str(tmp_path), "DATASETS.TEST", "()"])
    results = {"bbox": BOX | {"AP-disc": NAN}}
    text = write_report(run, torch.nn.Identity(), results, mapper=None, weights=Path("w.pth"))
    written = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    assert written == {"bbox": BOX | {"AP-disc": None}}
    assert "results.json" in text


def test_several_test_sets():
    results = {"first_val": {"bbox": BOX}, "second_val": {"bbox": MASK, "keypoints": {"AP": 61.0}}}
    assert cells(results_tables(results)) == [
        ["Results", "first_val", "(percent)"],
        ["AP", "AP50", "AP75", "APs", "APm", "APl"],
        ["box", "36.2", "58.0", "40.0", "20.0", "38.0", "47.0"],
        ["Results", "second_val", "(percent)"],
        ["AP", "AP50", "AP75", "APs", "APm", "APl"],
        ["box", "33.8", "55.5", "36.0", "14.0", "35.0", "50.0"],
        ["keypoints", "61.0", "-", "-", "-", "-", "-"],
    ]


def test_test_time_augmentation_has_rows_and_columns_of_its_own():
    results = {"bbox": BOX | {"AP-disc": 3.0}, "bbox_TTA": BOX | {"AP": 37.0, "AP-disc": 4.0}}
    rows = cells(results_tables(results))
    assert [row[:2] for row in rows[2:4]] == [["box", "36.2"], ["box", "TTA"]]
    assert rows[3][2] == "37.0"
    assert rows[4:] == [["class", "box", "AP", "box", "TTA", "AP"], ["disc", "3.0", "4.0"]]
    # of several test sets, Trainer.test gives each its augmented form
    several = {"a": {"bbox": BOX}, "b": {"bbox": BOX}, "a_TTA": {"bbox": BOX}}
    titles = [row[1] for row in cells(results_tables(several)) if row[0] == "Results"]
    assert titles == ["a", "b", "a_TTA"]


def test_a_class_without_objects():
    results = {"bbox": BOX | {"APl": NAN, "AP-disc": 100.0, "AP-absent": NAN}}
    rows = cells(results_tables(results))
    assert rows[2] == ["box", "36.2", "58.0", "40.0", "20.0", "38.0", "nan"]
    assert rows[-2:] == [["disc", "100.0"], ["absent", "nan"]]


def write_metrics(folder, rows):
    (folder / "metrics.json").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_curves(tmp_path):
    rows = [
        {"iteration": i, "total_loss": 3.0 / (i + 1), "loss_cls": 2.0 / (i + 1), "lr": 0.01}
        for i in range(19, 100, 20)
    ]
    rows.insert(2, {"iteration": 50, "bbox/AP": 3.0})  # of an evaluation: no losses
    write_metrics(tmp_path, rows)
    assert draw_curves(tmp_path) is True
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size == (960, 720)  # 8 x 6 inches at 120 dots
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 10


def test_too_few_points_for_curves(tmp_path):
    write_metrics(tmp_path, [{"iteration": 19, "total_loss": 3.0, "lr": 0.01}, {"bbox/AP": 1.0}])
    assert draw_curves(tmp_path) is False
    assert not (tmp_path / "curves.png").exists()


def image(height=20, width=30):
    return np.full((height, width, 3), 100, np.uint8)


def predicted(masks=True, scale_free_box=(4.0, 6.0, 16.0, 18.0)):
    instances = Instances((20, 30))
    instances.pred_boxes = Boxes(torch.tensor([scale_free_box]))
    instances.pred_classes = torch.tensor([1])
    instances.scores = torch.tensor([0.876])
    if masks:
        mask = torch.zeros(1, 20, 30, dtype=torch.bool)
        mask[0, 10:16, 8:14] = True
        instances.pred_masks = mask
    return instances


def test_a_mask_tints_its_pixels_and_no_others():
    scale = 13  # 400 pixels / 30, rounded
    with_mask = annotated(image(), predicted(), ["disc", "bar"])
    without = annotated(image(), predicted(masks=False), ["disc", "bar"])
    assert with_mask.shape == without.shape == (20 * scale, 30 * scale, 3)
    changed = (with_mask != without).any(axis=2)
    expected = np.zeros_like(changed)
    expected[10 * scale : 16 * scale, 8 * scale : 14 * scale] = True
    assert (changed == expected).all()
    # 45 % of the second colour, #3cb44b, on grey
    red, green, blue = with_mask[13 * scale, 11 * scale].tolist()
    assert abs(red - (0.55 * 100 + 0.45 * 0x3C)) <= 1
    assert abs(green - (0.55 * 100 + 0.45 * 0xB4)) <= 1
    assert abs(blue - (0.55 * 100 + 0.45 * 0x4B)) <= 1


def test_pixels_away_from_box_and_label_stay():
    drawn = annotated(image(), predicted(masks=False), ["disc", "bar"])
    scale = 13
    assert drawn[6 * scale, 10 * scale].tolist() == [0x3C, 0xB4, 0x4B]  # the box's upper line
    assert (drawn[18 * scale + 2 :] == 100).all()
    assert (drawn[:, : 4 * scale - 2] == 100).all()
    assert (drawn[8 * scale : 17 * scale, 5 * scale : 15 * scale] == 100).all()  # inside
    assert (drawn[: 4 * scale] == 100).all()


def test_labels_name_class_and_score():
    """No two different texts look alike, so that images tell texts apart."""
    classes = ["disc", "bar"]
    drawn = annotated(image(), predicted(), classes)
    assert (drawn != annotated(image(), predicted(), ["disc", "rod"])).any()
    other = predicted()
    other.scores = torch.tensor([0.5])
    assert (drawn != annotated(image(), other, classes)).any()


def test_nothing_found_leaves_the_enlarged_image():
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    empty = Instances((20, 30), pred_boxes=Boxes(torch.zeros(0, 4)), pred_classes=torch.zeros(0))
    drawn = annotated(noise, empty, ["disc"])
    assert (drawn == noise.repeat(13, axis=0).repeat(13, axis=1)).all()
    large = np.zeros((500, 700, 3), np.uint8)  # not enlarged
    assert annotated(large, empty, ["disc"]).shape == (500, 700, 3)


def test_ground_truth_and_keypoints():
    truth = Instances((20, 30))
    truth.gt_boxes = Boxes(torch.tensor([[4.0, 6.0, 16.0, 18.0]]))
    truth.gt_classes = torch.tensor([0])
    plain = annotated(image(), truth, ["disc"])
    truth.gt_keypoints = torch.tensor([[[10.0, 12.0, 2.0], [6.0, 9.0, 0.0]]])
    drawn = annotated(image(), truth, ["disc"])
    scale = 13
    assert drawn[12 * scale, 10 * scale].tolist() == [255, 255, 255]
    assert drawn[9 * scale, 6 * scale].tolist() == [100, 100, 100]  # not visible
    assert 0 < (drawn != plain).any(axis=2).sum() <= 7 * 7  # one disc of radius 3


def test_classes_of_pixels_and_of_stuff_have_colours():
    image = np.full((2, 3, 3), 100, np.uint8)
    labels = np.array([[0, 1, 1], [9, 0, 2]])  # 9 has the colour of 1 again
    found = coloured(image, labels)
    assert found.shape == (2 * 133, 3 * 133, 3)  # enlarged to about 400 pixels
    small = found[::133, ::133]
    assert (small[labels == 0] == 100).all()
    red = [0.4 * 100 + 0.6 * value for value in (230, 25, 75)]  # 60 % of #e6194b
    for y, x in ((0, 1), (0, 2), (1, 0)):
        assert small[y, x] == pytest.approx(red, abs=1)
    assert small[1, 2].argmax() == 1  # green


def test_things_and_stuff_of_a_panoptic_prediction():
    ids = torch.tensor([[1, 1, 2], [0, 3, 3]])
    segments = [
        {"id": 1, "isthing": True, "category_id": 4},
        {"id": 2, "isthing": False, "category_id": 7},
        {"id": 3, "isthing": False, "category_id": 1},
    ]
    assert _stuff(ids, segments).tolist() == [[0, 0, 7], [0, 1, 1]]
    things = _things(ids, segments)
    assert things.pred_classes.tolist() == [4]
    assert things.pred_masks.tolist() == [[[True, True, False], [False, False, False]]]
    assert things.pred_boxes.tensor.tolist() == [[0, 0, 2, 1]]
