"""Images through a detector: in every form, and as its config wants them."""

import sys

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import Instances
from helpers.detectors import has_masks
from helpers.foreign_weights import FIVE, KINDS, image, same, small
from helpers.refusals import error_of
from PIL import Image
from torch import nn

from hrnet_det import Detector
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.checkpoint.model_config import config_of
from hrnet_det.config.yaml import merge_overrides
from hrnet_det.detector.detections import Detections
from hrnet_det.errors import MissingInputError


@pytest.mark.parametrize("kind", KINDS)
def test_instances(mmdet, kind):
    found = small(mmdet(kind))(image())
    assert type(found) is Detections and found.image_size == (60, 100)
    fields = ["pred_boxes", "scores", "pred_classes"] + ["pred_masks"] * has_masks(kind)
    assert sorted(found.get_fields()) == sorted(fields)
    boxes, scores = found.pred_boxes.tensor, found.scores
    assert boxes.shape == (len(found), 4) and 0 < len(found) <= 100
    assert {value.device.type for value in (boxes, scores, found.pred_classes)} == {"cpu"}
    assert torch.equal(scores, scores.sort(descending=True).values)
    assert set(found.pred_classes.tolist()) <= set(range(5))
    assert boxes.min() >= 0 and boxes[:, 2].max() <= 100 and boxes[:, 3].max() <= 60
    if has_masks(kind):
        assert found.pred_masks.shape == (len(found), 60, 100)
        assert found.pred_masks.dtype == torch.bool
    assert not scores.requires_grad


def test_every_form_of_a_image(five, tmp_path):
    rgb, path = image(), tmp_path / "a.png"
    Image.fromarray(rgb).save(path)
    expected = five(rgb)
    for form in (path, str(path), Image.open(path), Image.fromarray(rgb).convert("RGBA")):
        assert same(five(form), expected)
    assert same(five(np.asfortranarray(rgb)), expected)
    several = five([path, rgb, Image.fromarray(rgb)])
    assert type(several) is list and len(several) == 3
    assert all(same(found, expected) for found in several)
    assert [len(found) for found in five((rgb,))] == [len(expected)]
    assert five([]) == []


def test_grey_images_and_exif(five, tmp_path):
    rgb = image()
    grey = Image.fromarray(rgb[:, :, 0])
    expected = five(np.repeat(rgb[:, :, :1], 3, axis=2))
    grey.save(tmp_path / "grey.png")
    assert same(five(grey), expected) and same(five(tmp_path / "grey.png"), expected)
    turned, exif = tmp_path / "turned.png", Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(rgb).save(turned, exif=exif)
    expected = five(np.rot90(rgb, k=-1))
    assert expected.image_size == (100, 60)
    assert same(five(turned), expected) and same(five(Image.open(turned)), expected)


def test_boxes_are_in_the_images_own_pixels(five):
    resized = cv2.resize(image(), (160, 96))  # 1.6 times
    tensor = torch.from_numpy(resized.transpose(2, 0, 1).astype("float32"))
    with torch.no_grad():
        found = five.model([{"image": tensor, "height": 96, "width": 160}])[0]["instances"]
    ours = five(image())
    torch.testing.assert_close(ours.pred_boxes.tensor * 1.6, found.pred_boxes.tensor)
    assert torch.equal(ours.scores, found.scores) and len(ours) > 0


class Given(nn.Module):
    """In place of a detector: keeps what it is given, and finds nothing."""

    def forward(self, rows):
        self.rows = rows
        return [{"instances": Instances((60, 100), scores=torch.zeros(0))}]


@pytest.mark.parametrize(
    ("kind", "words", "bgr"),
    [
        ("faster_rcnn", [], False),
        ("faster_rcnn", ["INPUT.FORMAT", "BGR"], True),
        ("fcos", [], True),
        ("fcos", ["INPUT.FORMAT", "RGB"], False),
    ],
)
def test_the_model_gets_the_pixels_that_its_config_wants(mmdet, kind, words, bgr):
    cfg = config_of(read_weights(mmdet(kind))).cfg
    merge_overrides(cfg, [*words, "INPUT.MIN_SIZE_TEST", "30", "INPUT.MAX_SIZE_TEST", "50"])
    cfg.TEST.OPTIMIZED = False  # the model has no parts
    given = Given()
    Detector(given, cfg, FIVE)(image())
    (row,) = given.rows
    assert (row["height"], row["width"], row["image"].dtype) == (60, 100, torch.float32)
    expected = cv2.resize(image(), (50, 30))
    expected = expected[:, :, ::-1] if bgr else expected
    assert np.array_equal(row["image"].permute(1, 2, 0).numpy(), expected)


def test_the_model_gets_luma_and_chroma_where_its_config_wants_them(mmdet):
    """INPUT.FORMAT YUV-BT.601, by the matrix of the standard."""
    run = config_of(read_weights(mmdet("faster_rcnn")))
    words = ["INPUT.FORMAT", "YUV-BT.601", "INPUT.RESIZE", "pillow", "TEST.OPTIMIZED", "False"]
    merge_overrides(run.cfg, [*words, "INPUT.MIN_SIZE_TEST", "0"])
    given = Given()
    Detector(given, run, FIVE)(image())
    red, green, blue = image().astype(float).transpose(2, 0, 1) / 255
    expected = [
        0.299 * red + 0.587 * green + 0.114 * blue,
        -0.14713 * red - 0.28886 * green + 0.436 * blue,
        0.615 * red - 0.51499 * green - 0.10001 * blue,
    ]
    np.testing.assert_allclose(given.rows[0]["image"].numpy(), expected, atol=2e-3)


def test_what_is_no_image(five, tmp_path):
    path, text = tmp_path / "no.jpg", tmp_path / "text.jpg"
    said = error_of(lambda: five(path), MissingInputError)
    assert said == f"image {path} is not there"
    text.write_text("GIF? no")
    assert error_of(lambda: five(str(text))).startswith(
        f"{text} is not an image that Pillow can read"
    )
    Image.fromarray(image()).save(tmp_path / "half.png")
    half = (tmp_path / "half.png").read_bytes()[:1000]
    (tmp_path / "half.png").write_bytes(half)
    said = error_of(lambda: five(tmp_path / "half.png"))
    assert said == f"{tmp_path / 'half.png'} is truncated"
    assert error_of(lambda: five(tmp_path)) == f"{tmp_path} is a folder, not an image"
    for array, what in (
        (np.zeros((3, 5, 6), np.uint8), "(3, 5, 6) uint8"),
        (np.zeros((5, 6, 4), np.uint8), "(5, 6, 4) uint8"),
        (np.zeros((5, 6, 3), complex), "(5, 6, 3) complex128"),
        (np.zeros((0, 6, 3), np.uint8), "(0, 6, 3) uint8"),
    ):
        start = "an image as an array is (H, W) or, in RGB, (H, W, 3), of numbers; this one is "
        assert error_of(lambda array=array: five(array)) == start + what
    for wrong, name in ((torch.zeros(3, 5, 6), "Tensor"), (None, "NoneType"), (b"a.jpg", "bytes")):
        said = f"an image is a path, a PIL image or an RGB array (H, W, 3), not a {name}"
        assert error_of(lambda wrong=wrong: five(wrong)) == said


def test_a_missing_opencv_is_said_before_the_first_image(five, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    cfg = five.cfg.clone()
    merge_overrides(cfg, ["TEST.OPTIMIZED", "False"])  # the model is optimised already
    assert error_of(lambda: Detector(five.model, cfg, FIVE)) == (
        "INPUT.RESIZE opencv needs OpenCV: pip install opencv-python-headless (or, where images "
        "are shown in windows, opencv-python)"
    )
