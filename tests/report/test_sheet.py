"""The sheet of ground truth beside prediction."""

import matplotlib
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image

from hrnet_det.drawing.annotate import annotate
from hrnet_det.drawing.colours import PALETTE
from hrnet_det.report.sheet import CAPTION, GAP, draw_predictions, in_rows

SIZES = ((60, 120), (100, 50), (960, 480))  # height, width; twice as large, as it is, half
DRAWN = ((240, 480), (500, 250), (480, 240))


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
    # two pairs and one below: as wide as the widest of each column, as high as each row's highest
    widths = [2 * (480 + GAP) + GAP, 2 * (250 + GAP) + GAP]
    heights = [500 + CAPTION + 2 * GAP, 480 + CAPTION + 2 * GAP]
    assert sheet.shape == (sum(heights), sum(widths), 3)
    for (y, x), (height, width) in zip(
        ((0, 0), (0, widths[0]), (heights[0], 0)), DRAWN, strict=True
    ):
        left = sheet[y + CAPTION : y + CAPTION + height, x : x + width]
        right = sheet[y + CAPTION : y + CAPTION + height, x + width + GAP :][:, :width]
        # the lower line of the true box, the upper line of the found one
        assert left[height // 2 - 1, width // 4].tolist() == list(PALETTE[0])
        assert right[height // 2, width * 7 // 8].tolist() == list(PALETTE[1])
        assert left[height * 3 // 4, width * 3 // 4].tolist() == [100, 100, 100]
        assert right[height // 4, width // 4].tolist() == [100, 100, 100]
        assert (sheet[y + 2 : y + CAPTION - 2, x : x + 100] < 128).any()  # a caption


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
    assert (width, height) == (2 * (480 + GAP) + GAP, 240 + CAPTION + 2 * GAP)


def test_the_truth_on_a_sheet_is_the_annotated_image(dataset, tmp_path):
    del dataset[1:]
    draw_predictions("sheet_val", Finds(), dict, tmp_path / "sheet.png")
    truth = Instances((60, 120), gt_boxes=Boxes(torch.tensor([[0.0, 0, 60, 30]])))
    truth.gt_classes = torch.tensor([0])
    grey = np.full((60, 120, 3), 100, np.uint8)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    expected = annotate(grey, objects=truth, classes=["disc", "bar"])
    assert (sheet[CAPTION : CAPTION + 240, :480] == expected).all()


def test_rows_and_columns_are_as_large_as_their_largest():
    tiles = [Image.new("RGB", size, "black") for size in ((10, 4), (6, 8), (2, 2))]
    sheet = np.asarray(in_rows(tiles, columns=2))
    assert sheet.shape == (8 + 2 + 2 * GAP, 10 + 6 + 2 * GAP, 3)
    assert (sheet == 0).all(axis=2).sum() == 10 * 4 + 6 * 8 + 2 * 2
    assert (sheet[8 + GAP : 10 + GAP, :2] == 0).all()
