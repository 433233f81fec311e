"""The sheet of ground truth beside prediction."""

import matplotlib
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image

from hrnet_det.drawing.colours import PALETTE
from hrnet_det.report.sheet import GAP, LINE, draw_predictions, in_flow, in_rows, scale_of

SIZES = ((60, 120), (100, 50), (960, 480))  # height, width; five times as large, six times, less
DRAWN = ((300, 600), (600, 300), (622, 311))
CAPTION = 2 * LINE + 2  # pixels above an image
FOOT = 2 * LINE + 2  # pixels of the legend, which is above all


class Finds(torch.nn.Module):
    """Finds the lower right quarter of each image, and something else with a low score."""

    def forward(self, rows):
        (row,) = rows
        height, width = row["height"], row["width"]
        boxes = [[width / 2, height / 2, width, height], [0, 0, width / 2, height / 2]]
        found = Instances((height, width), pred_boxes=Boxes(torch.tensor(boxes)))
        found.pred_classes, found.scores = torch.tensor([1, 1]), torch.tensor([0.9, 0.4])
        assert not self.training
        assert not torch.is_grad_enabled()
        return [{"instances": found}]


@pytest.fixture
def dataset(tmp_path):
    """Three grey images; in each the upper left quarter is a disc."""
    rows = []
    for number, (height, width) in enumerate(SIZES):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.full((height, width, 3), 100, np.uint8)).save(path)
        disc = {"bbox": [0, 0, width // 2, height // 2], "category_id": 0}
        disc["bbox_mode"] = BoxMode.XYWH_ABS
        size = {"height": height, "width": width}
        rows.append({"file_name": str(path), "annotations": [disc]} | size)
    DatasetCatalog.register("sheet_val", lambda: rows)
    MetadataCatalog.get("sheet_val").set(thing_classes=["disc", "bar"])
    yield rows
    DatasetCatalog.remove("sheet_val")
    MetadataCatalog.remove("sheet_val")


def test_ground_truth_stands_beside_the_prediction(dataset, tmp_path):
    model, backend = Finds().train(), matplotlib.get_backend()
    draw_predictions("sheet_val", model, dict, tmp_path / "sheet.png")
    assert model.training  # as before
    assert matplotlib.get_backend() == backend
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    # the first pair and the second one beside each other, the third below
    widths = [2 * (width + GAP) + GAP for _, width in DRAWN]
    heights = [height + CAPTION + 2 * GAP for height, _ in DRAWN]
    assert sheet.shape == (FOOT + heights[1] + heights[2], widths[0] + widths[1], 3)
    for (y, x), (height, width) in zip(
        ((FOOT, 0), (FOOT, widths[0]), (FOOT + heights[1], 0)), DRAWN, strict=True
    ):
        left = sheet[y + CAPTION : y + CAPTION + height, x : x + width]
        right = sheet[y + CAPTION : y + CAPTION + height, x + width + GAP :][:, :width]
        # the lower line of the true box, the upper line of the found one: both are alone
        assert dashes(left[height // 2 - 1, 20 : width // 2 - 20])
        assert dashes(right[height // 2, width // 2 + 20 : -20])
        assert left[height * 3 // 4, width * 3 // 4].tolist() == [100, 100, 100]
        assert right[height // 4, width // 4].tolist() == [100, 100, 100]
        assert (sheet[y + 2 : y + CAPTION - 2, x : x + 100] < 128).any()  # a caption


def dashes(line):
    """Whether a line is black and white, about half of it each."""
    black, white = ((line == level).all(axis=1) for level in (0, 255))
    return (black | white).all() and 0.3 < black.mean() < 0.7


def test_at_most_eight_images_spread_over_the_dataset(dataset, tmp_path):
    dataset[:] = [dataset[0] | {"number": number} for number in range(20)]
    seen = []

    def mapper(row):
        seen.append(row["number"])
        return row

    draw_predictions("sheet_val", Finds(), mapper, tmp_path / "sheet.png")
    assert seen == [0, 2, 5, 7, 10, 12, 15, 17]


def test_one_image_fills_the_sheet(dataset, tmp_path):
    del dataset[1:]
    draw_predictions("sheet_val", Finds(), dict, tmp_path / "sheet.png")
    width, height = Image.open(tmp_path / "sheet.png").size
    assert (width, height) == (2 * (600 + GAP) + GAP, FOOT + 300 + CAPTION + 2 * GAP)


def test_an_object_and_its_prediction_have_one_colour(dataset, tmp_path):
    """Now the object is where the prediction is: the lower right quarter, from (300, 150) on."""
    del dataset[1:]
    dataset[0]["annotations"] = [
        {"bbox": [60, 30, 60, 30], "category_id": 1, "bbox_mode": BoxMode.XYWH_ABS}
    ]
    draw_predictions("sheet_val", Finds(), dict, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))[FOOT + CAPTION :]
    left, right = sheet[:300, :600], sheet[:300, 600 + GAP :]
    for side in (left, right):
        assert (side[299, 310:590] == PALETTE[0]).all()
        assert (side[200, 350] == 100).all()


def test_masks_of_the_ground_truth_are_outlines(dataset, tmp_path):
    del dataset[1:]
    dataset[0]["annotations"][0]["segmentation"] = [[10.0, 5.0, 50.0, 5.0, 50.0, 25.0, 10.0, 25.0]]
    draw_predictions("sheet_val", Finds(), dict, tmp_path / "sheet.png")
    truth = np.asarray(Image.open(tmp_path / "sheet.png"))[FOOT + CAPTION :][:300, :600]
    assert dashes(truth[124, 60:240])
    assert (truth[60:110, 100:200] == 100).all()


@pytest.mark.parametrize(
    ("size", "drawn", "pair"),
    [
        ((100, 3000), (63, 1900), (2 * (63 + 38 + GAP), 1900 + GAP)),  # below each other
        ((3000, 100), (1200, 40), (1200 + 38 + GAP, 2 * (220 + GAP))),  # room for captions
        ((10, 10), (440, 440), (440 + 38 + GAP, 2 * (440 + GAP))),
        ((1500, 1500), (440, 440), (440 + 38 + GAP, 2 * (440 + GAP))),
    ],
)
def test_images_of_any_form_are_drawn_so_that_they_can_be_seen(size, drawn, pair, tmp_path):
    scale = scale_of(size)
    assert tuple(round(side * scale) for side in size) == drawn
    path = tmp_path / "image.png"
    Image.fromarray(np.full((*size, 3), 100, np.uint8)).save(path)
    row = {"file_name": str(path), "height": size[0], "width": size[1], "annotations": []}
    DatasetCatalog.register("sheet_form", lambda: [row])
    try:
        draw_predictions("sheet_form", Finds(), dict, tmp_path / "sheet.png")
    finally:
        DatasetCatalog.remove("sheet_form")
    width, height = Image.open(tmp_path / "sheet.png").size
    assert (height, width) == (FOOT + pair[0] + GAP, pair[1] + GAP)


def test_rows_and_columns_are_as_large_as_their_largest():
    tiles = [Image.new("RGB", size, "black") for size in ((10, 4), (6, 8), (2, 2))]
    sheet = np.asarray(in_rows(tiles, columns=2))
    assert sheet.shape == (8 + 2 + 2 * GAP, 10 + 6 + 2 * GAP, 3)
    assert (sheet == 0).all(axis=2).sum() == 10 * 4 + 6 * 8 + 2 * 2
    assert (sheet[8 + GAP : 10 + GAP, :2] == 0).all()


def test_a_row_has_as_many_as_fit_and_at_least_one():
    tiles = [Image.new("RGB", size, "black") for size in ((60, 4), (40, 8), (20, 2), (300, 3))]
    sheet = np.asarray(in_flow(tiles, width=100))
    assert sheet.shape == (8 + 2 + 3 + 3 * GAP, 300 + GAP, 3)
    assert (sheet == 0).all(axis=2).sum() == 60 * 4 + 40 * 8 + 20 * 2 + 300 * 3
