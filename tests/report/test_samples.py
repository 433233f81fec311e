"""The sheet of images as the network sees them."""

import numpy as np
import pytest
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import BitMasks, Boxes, Instances, Keypoints, PolygonMasks
from PIL import Image

from hrnet_det.drawing.colours import PALETTE
from hrnet_det.report.samples import draw_samples
from hrnet_det.report.sheet import FOUND_FILL, GAP, LINE

CAPTION = LINE + 2  # pixels above an image
SHAPE = [np.array([10.0, 20, 40, 20, 40, 80, 10, 80])]


def sample(pixels, **fields):
    height, width = 120, 60  # drawn five times as large
    level = torch.tensor((200, 100, 50) if pixels != "BGR" else (50, 100, 200))
    image = level[: 1 if pixels == "L" else 3, None, None].expand(-1, height, width)
    return {"file_name": "somewhere/a.jpg", "image": image.to(torch.uint8)} | fields


def drawn(samples, pixels, tmp_path, **metadata):
    path = tmp_path / "sheet.png"
    draw_samples(samples, Metadata(**metadata), pixels, path)
    return np.asarray(Image.open(path)).astype(int)


@pytest.mark.parametrize("pixels", ["RGB", "BGR", "L"])
def test_pixels_are_shown_in_their_colours(pixels, tmp_path):
    sheet = drawn([sample(pixels)], pixels, tmp_path)
    expected = (200, 200, 200) if pixels == "L" else (200, 100, 50)
    assert sheet[CAPTION + 100, 100].tolist() == list(expected)
    floats = sample(pixels)
    floats["image"] = floats["image"].float() + 0.4
    assert np.array_equal(drawn([floats], pixels, tmp_path), sheet)


def test_objects_and_labels_are_drawn_where_they_are(tmp_path):
    """A mask from (10, 20) to (40, 80), and stuff of class 1 below it; 255 is nothing."""
    found = Instances((120, 60), gt_boxes=Boxes(torch.tensor([[10.0, 20, 40, 80]])))
    found.gt_classes, found.gt_masks = torch.tensor([0]), PolygonMasks([SHAPE])
    labels = torch.full((120, 60), 255)
    labels[90:110] = 1
    rows = [sample("RGB", instances=found, sem_seg=labels), sample("RGB")]
    sheet = drawn(rows, "RGB", tmp_path, thing_classes=["cell"], stuff_classes=["things", "sky"])
    plain, scale = np.array((200, 100, 50)), 5
    inside = sheet[CAPTION + 50 * scale, 25 * scale]
    # the palette's first colour is too much like the image's
    assert abs(inside - (plain + FOUND_FILL * (PALETTE[1] - plain))).max() <= 1
    assert sheet[CAPTION + 10 * scale, 5 * scale].tolist() == plain.tolist()
    assert sheet[CAPTION + 100 * scale, 3 * scale].tolist() != plain.tolist()
    assert isinstance(found.gt_masks, PolygonMasks)  # the argument stays as it is
    assert sheet.shape[1] == 2 * (60 * scale + GAP)  # beside each other


@pytest.mark.parametrize("polygons", [True, False])
def test_large_images_are_drawn_small_with_their_objects(polygons, tmp_path):
    """960x1500 as 352x550: a mask from (100, 200) to (600, 800) is at 36.7, 73.3 to 220, 293.3."""
    shape = [np.array([100.0, 200, 600, 200, 600, 800, 100, 800])]
    found = Instances((1500, 960), gt_boxes=Boxes(torch.tensor([[100.0, 200, 600, 800]])))
    masks = PolygonMasks([shape])
    found.gt_masks = masks if polygons else BitMasks.from_polygon_masks(masks, 1500, 960)
    found.gt_keypoints = Keypoints(torch.tensor([[[800.0, 1000, 2], [0, 0, 0]]]))
    row = sample("RGB", instances=found)
    row["image"] = row["image"][:, :1, :1].expand(3, 1500, 960)
    sheet = drawn([row], "RGB", tmp_path)[CAPTION:]
    assert sheet.shape == (550 + GAP, 352 + GAP, 3)
    plain = np.array((200, 100, 50))
    masked = (abs(sheet[:550, :352] - plain).max(axis=2) > 10) & (np.arange(352) < 280)
    ys, xs = np.nonzero(masked)
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (36, 73, 220, 293)
    assert masked[73:293, 37:220].all()
    assert sheet[367, 293].tolist() == [255, 255, 255]  # the keypoint
