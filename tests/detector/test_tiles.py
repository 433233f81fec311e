"""Images that are detected in tiles: where these are, what is wanted of them, and what is said."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers import detectors
from helpers.refusals import error_of
from helpers.scenes import NAMES, SIZE, Seeing, by_box, detector_of, equal, random_boxes, scene

from hrnet_det import Detector
from hrnet_det.detector import tiles
from hrnet_det.detector.tiles import Tile, Tiling


def test_tiles_are_spread_evenly():
    tiling = Tiling(100, 0.2)
    assert [tile.left for tile in tiling.tiles((50, 260))] == [0, 80, 160]
    assert [tile.left for tile in tiling.tiles((50, 270))] == [0, 57, 113, 170]
    assert tiling.tiles((50, 110)) == [Tile(0, 0, 100, 50), Tile(10, 0, 110, 50)]
    assert tiling.tiles((100, 100)) == [Tile(0, 0, 100, 100)]
    assert len(tiling.tiles((260, 270))) == 12


def test_tiles_cover_the_image_and_overlap_enough():
    rng = np.random.default_rng(0)
    for _ in range(200):
        tile, side = int(rng.integers(32, 200)), int(rng.integers(1, 2000))
        tiling = Tiling(tile, float(rng.uniform(0, 0.9)))
        found = tiling.tiles((side, 1))
        assert (found[0].top, found[-1].bottom) == (0, side)
        assert all(t.bottom - t.top == min(tile, side) for t in found)
        shared = [a.bottom - b.top for a, b in pairwise(found)]
        assert not shared or min(shared) >= tiling.least
        one_less = side - (tile - tiling.least) * (len(found) - 2)
        assert len(found) == 1 or one_less > tile  # with one fewer they would not cover it


def test_one_tile_is_the_plain_call():
    """Bit by bit, by a network; without a pass of the whole image."""
    detector = Detector(detectors.detector("mask"), detectors.config("mask"), NAMES)
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    plain, tiled = detector(image), detector(image, tile=90, overlap=0.5)
    for name, value in plain.get_fields().items():
        other = tiled.get(name)
        assert torch.equal(getattr(value, "tensor", value), getattr(other, "tensor", other))
    assert len(plain) > 0


@pytest.mark.parametrize("kind", ["faster", "mask", "htc", "keypoint", "retinanet", "fcos"])
def test_tiles_of_each_kind_of_detector(kind):
    """Tiles in a batch as one by one; objects lie in the image, and have its masks."""
    detector = Detector(detectors.detector(kind), detectors.config(kind), NAMES)
    image = np.random.default_rng(0).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    found, alone = (detector(image, tile=64, batch=batch) for batch in (4, 1))
    assert len(found) == len(alone) > 0 and found.image_size == (90, 130)
    torch.testing.assert_close(found.pred_boxes.tensor, alone.pred_boxes.tensor, rtol=0, atol=0.05)
    boxes = found.pred_boxes.tensor
    assert boxes.min() >= 0 and boxes[:, 2].max() <= 130 and boxes[:, 3].max() <= 90
    if "pred_masks" in found.get_fields():
        assert found.pred_masks.shape == (len(found), 90, 130)
        for mask, (x0, y0, x1, y1) in zip(found.pred_masks, boxes.tolist(), strict=True):
            inside = mask[int(y0) : int(y1) + 2, int(x0) : int(x1) + 2].sum()
            assert inside == mask.sum()


def test_what_is_wanted_of_tiles():
    boxes = random_boxes(0, (5, 29))
    classes = [number % 3 for number in range(len(boxes))]
    image = scene(boxes, classes)
    detector = detector_of(Seeing(), "TEST.DETECTIONS_PER_IMAGE", "30")
    everything = detector(image, tile=100, overlap=0.3)
    assert len(everything) == len(boxes) > 30  # which is the number for a tile
    chosen = detector(image, tile=100, overlap=0.3, classes=["bee"], max_detections=4)
    assert equal(by_box(chosen), by_box(everything[everything.pred_classes == 1][:4]))
    few = detector(image, tile=100, overlap=0.3, max_detections=4)  # beside cut ones in a tile
    assert equal(by_box(few), by_box(everything[:4]))
    middle = everything.scores.median().item()
    kept = detector(image, tile=100, overlap=0.3, score=middle)
    assert equal(by_box(kept), by_box(everything[everything.scores >= middle]))


def test_tiles_of_a_list_of_images():
    images = [scene(random_boxes(0, (5, 29))), scene([(5, 5, 20, 20)], size=(80, 60))]
    detector = detector_of(Seeing())
    several = detector(images, tile=100, overlap=0.3, batch=3)
    for found, image in zip(several, images, strict=True):
        assert equal(by_box(found), by_box(detector(image, tile=100, overlap=0.3)))
    assert several[1].pred_boxes.tensor.tolist() == [[5, 5, 20, 20]]


def test_an_image_without_objects():
    for merge in ("nms", "sahi"):
        model = Seeing(["pred_masks", "pred_keypoints"])
        found = detector_of(model)(np.zeros((*SIZE, 3), np.uint8), tile=100, merge=merge)
        shapes = {k: tuple(getattr(v, "tensor", v).shape) for k, v in found.get_fields().items()}
        assert shapes == {
            "pred_boxes": (0, 4), "scores": (0,), "pred_classes": (0,),
            "pred_masks": (0, *SIZE), "pred_keypoints": (0, 2, 3),
        }  # fmt: skip


def test_what_is_said_of_tiles(caplog):
    detector = detector_of(Seeing(), "INPUT.MIN_SIZE_TEST", "50", "INPUT.MAX_SIZE_TEST", "90")
    for _ in range(2):
        detector(scene([]), tile=100)
    assert caplog.messages == [
        "an image of 310x230 is detected in 12 tiles of 100x100, each resized to 50x50 (x0.50) as "
        "an image of that size is, and once as a whole"
    ]


@pytest.mark.parametrize(
    ("options", "what", "number"),
    [({}, "a tile", 3), ({"max_detections": 4}, "an image", 4), ({"tile": 400}, "an image", 3)],
)
def test_the_number_that_is_given_at_most_is_said(options, what, number, caplog):
    detector = detector_of(Seeing(), "TEST.DETECTIONS_PER_IMAGE", "3")
    boxes = [(x, 40, x + 10, 50) for x in (10, 150, 170, 210, 290)]
    detector(scene(boxes), **{"tile": 100} | options)
    assert [said.partition(",")[0] for said in caplog.messages if "at most" in said] == [
        f"{what} has {number} objects"
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tile": 31}, "tile 31: give the side in pixels, at least 32"),
        ({"tile": 64.0}, "tile 64.0: give the side in pixels, at least 32"),
        ({"tile": 64, "overlap": 0.95}, "overlap 0.95: give a share from 0 to 0.9"),
        ({"tile": 64, "overlap": "a"}, "overlap a: give a share from 0 to 0.9"),
        ({"tile": 64, "merge": "wbf"}, "merge 'wbf': give nms or sahi"),
        ({"overlap": 0.5}, "overlap 0.5, merge nms: they are about tiles; give tile, the side of "
         "one in pixels, too"),
    ],
)  # fmt: skip
def test_tiles_that_are_not_possible(options, said):
    assert error_of(lambda: detector_of(Seeing())("not read.png", **options)) == said


def test_without_sahi(monkeypatch):
    monkeypatch.setattr(tiles, "find_spec", lambda name: None)
    said = error_of(lambda: detector_of(Seeing())("not read.png", tile=64, merge="sahi"))
    assert said.startswith("merge sahi needs SAHI: pip install sahi")
