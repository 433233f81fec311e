"""What several tiles have found of an object becomes one, as without tiles."""

import numpy as np
import pytest
import torch
from helpers.scenes import NAMES, SIZE, Seeing, by_box, detector_of, equal, random_boxes, scene

from hrnet_det.detector import tiles
from hrnet_det.detector.detections import Detections
from hrnet_det.detector.run_lengths import RunLengthMasks
from hrnet_det.detector.tiles import Tile, Tiling


@pytest.mark.parametrize("overlap", [0.3, 0.5])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_small_objects_are_found_as_without_tiles(seed, whole, overlap):
    """Shorter than the overlap, so that a tile has each whole; others cut it."""
    boxes = random_boxes(seed, (5, 29))
    classes = np.random.default_rng(seed).integers(0, 3, len(boxes)).tolist()
    image = scene(boxes, classes, corner=True)
    model = Seeing(["pred_masks", "pred_keypoints"], blind=None if whole else SIZE)
    fields = ("scores", "pred_masks", "pred_keypoints")
    expected = Seeing(["pred_masks", "pred_keypoints"])
    expected = by_box(detector_of(expected)(image, max_detections=1000), *fields)
    assert len(boxes) > 20 and len(expected[0]) == len(boxes)
    found = detector_of(model)(image, tile=100, overlap=overlap)
    assert type(found) is Detections and found.image is image
    assert torch.equal(found.scores, found.scores.sort(descending=True).values)
    assert equal(by_box(found, *fields), expected)
    assert len(model.seen) == len(Tiling(100, overlap).tiles(SIZE)) + 1
    assert set(model.seen) == {(100, 100), SIZE}


@pytest.mark.parametrize("overlap", [0, 0.1, 0.3])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_objects_longer_than_the_overlap(seed, whole, overlap):
    """Where nothing sees them whole, their parts are joined: boxes, masks and all."""
    boxes = random_boxes(seed, (40, 160), tries=200)
    image = scene(boxes, corner=True)
    expected = detector_of(Seeing(["pred_masks"]))(image)
    assert len(expected) == len(boxes) >= 3
    model = Seeing(["pred_masks"], blind=None if whole else SIZE)
    found = detector_of(model)(image, tile=100, overlap=overlap)
    assert equal(by_box(found, "pred_masks"), by_box(expected, "pred_masks"))


def test_a_row_of_neighbours_stays_a_row():
    """Of one class, side by side across the borders of tiles."""
    boxes = [(x, 40, x + 12, 70) for x in range(5, 290, 13)]
    model = Seeing(["pred_masks"], blind=SIZE)
    found = detector_of(model)(scene(boxes), tile=100, overlap=0.2)
    assert by_box(found)[0].tolist() == [list(map(float, box)) for box in boxes]


def test_masks_of_large_images_stay_run_lengths(monkeypatch, tmp_path):
    boxes = [*random_boxes(0, (5, 29)), (1, 1, 2, 2)]
    image = scene(boxes, corner=True)
    dense = detector_of(Seeing(["pred_masks"]))(image, tile=100, overlap=0.3)
    monkeypatch.setattr(tiles, "DENSE", 100)
    lean = detector_of(Seeing(["pred_masks"]))(image, tile=100, overlap=0.3)
    assert type(lean.pred_masks) is RunLengthMasks
    assert torch.equal(lean.pred_masks.tensor(), dense.pred_masks)
    chosen = lean[lean.scores > 0.2]
    drawn = [x.save(tmp_path / "a.png").read_bytes() for x in (chosen, dense[dense.scores > 0.2])]
    assert drawn[0] == drawn[1]


def test_the_whole_image_is_seen_small():
    """At half its size; tiles see nothing. Masks from there are made large, small objects left."""

    class Blind(Seeing):
        def _objects(self, image):
            small = tuple(image.shape[1:]) == (115, 155)
            return super()._objects((image > 100).float() if small else image * 0)

    words = ["INPUT.MIN_SIZE_TEST", "115", "INPUT.MAX_SIZE_TEST", "155"]
    model = Blind(["pred_masks", "pred_keypoints"])
    detector = detector_of(model, *words)
    image = np.uint8(200) * (scene([(20, 20, 280, 180)], corner=True) > 0)
    found = detector(image, tile=100)
    assert model.seen[-1] == (115, 155) and found.image_size == SIZE
    assert found.pred_boxes.tensor.tolist() == [[20, 20, 280, 180]]
    assert found.pred_keypoints.tolist() == [[[20, 20, 0.5], [280, 180, 0.5]]]
    expected = torch.from_numpy(image[:, :, 0] > 0)
    assert (found.pred_masks[0] ^ expected).sum() / expected.sum() < 0.01
    image = np.uint8(200) * (scene([(150, 150, 170, 170)]) > 0)  # as long as tiles overlap
    assert len(detector(image)) == 1 and len(detector(image, tile=100)) == 0


@pytest.mark.parametrize("score", [0.05, 0.3])
def test_sahis_own_merging_gives_the_same_boxes(score):
    sahi = pytest.importorskip("sahi.postprocess.combine", reason="SAHI is not installed")
    from sahi.prediction import ObjectPrediction

    rng = np.random.default_rng(0)
    low = rng.integers(0, 200, (300, 2))
    boxes = np.concatenate([low, low + rng.integers(5, 60, (300, 2))], axis=1).astype(np.float32)
    scores = (score + rng.permutation(300) / 1000).astype(np.float32)
    classes = rng.integers(0, 3, 300)
    part = tiles.Found(boxes, scores, classes)
    image = [Tile(0, 0, 300, 300)], (300, 300), Tiling(100, 0.2, "sahi")
    found = tiles.merged([part], *image, score=score)
    given = [
        ObjectPrediction(bbox=b, category_id=c, category_name=NAMES[c], score=s)
        for b, c, s in zip(boxes.tolist(), classes.tolist(), scores.tolist(), strict=True)
    ]
    ways = {0.05: sahi.NMSPostprocess(0.5, "IOU", class_agnostic=False),
            0.3: sahi.GreedyNMMPostprocess(0.5, "IOS", class_agnostic=False)}  # fmt: skip
    expected = ways[score](given)
    rows = sorted([*map(float, p.bbox.to_xyxy()), p.category.id, p.score.value] for p in expected)
    columns = (found.pred_boxes.tensor, found.pred_classes[:, None], found.scores[:, None])
    ours = torch.cat(columns, dim=1).tolist()
    np.testing.assert_allclose(sorted(ours), rows)
    assert 20 < len(rows) < 300


def test_parts_are_joined_by_sahi():
    pytest.importorskip("sahi", reason="SAHI is not installed")
    boxes = random_boxes(0, (5, 29))
    options = {"tile": 100, "overlap": 0.3, "merge": "sahi", "score": 0.1}
    found = detector_of(Seeing(["pred_masks"]))(scene(boxes), **options)
    expected = detector_of(Seeing(["pred_masks"]))(scene(boxes))
    assert equal(by_box(found, "pred_masks"), by_box(expected, "pred_masks"))
