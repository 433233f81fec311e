"""Objects of an image that is detected in tiles: each once, as without tiles."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from helpers import detectors
from torch import nn

from hrnet_det import Detector, model_zoo
from hrnet_det.detector import tiles
from hrnet_det.detector.detections import Detections
from hrnet_det.detector.run_lengths import RunLengthMasks
from hrnet_det.detector.tiles import Tile, Tiling
from hrnet_det.errors import InputError

NAMES = ["ant", "bee", "cat"]
SIZE = (230, 310)  # of the scenes, in pixels


class Seeing(nn.Module):
    """In place of a detector: finds each coloured region of its input, whole or cut.

    Red numbers the objects, green is their score, blue their class. What touches a side of its
    input has a score that is 0.2 higher, so that cut objects would win by it.

    Args:
        fields: beside boxes, scores and classes, "pred_masks" or "pred_keypoints".
        whole: height and width of an image in which it sees nothing.
    """

    def __init__(self, fields=(), blind=None):
        super().__init__()
        self.fields, self.blind, self.seen = fields, blind, []

    def forward(self, rows):
        self.seen += [tuple(row["image"].shape[1:]) for row in rows]
        return [{"instances": self._objects(row["image"])} for row in rows]

    def _objects(self, image):
        size = tuple(image.shape[1:])
        numbers = image[0].unique().tolist() if size != self.blind else [0]
        masks = torch.stack([image[0] == number for number in numbers])
        found = [self._object(image, mask) for mask, n in zip(masks, numbers, strict=True) if n]
        found.sort(key=lambda row: -row[1])
        boxes, scores, classes, masks = zip(*found, strict=True) if found else ((), (), (), ())
        made = Instances(size)
        made.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
        made.scores = torch.tensor(scores, dtype=torch.float32)
        made.pred_classes = torch.tensor(classes, dtype=torch.int64)
        if "pred_masks" in self.fields:
            made.pred_masks = torch.stack(masks) if masks else torch.zeros(0, *size).bool()
        if "pred_keypoints" in self.fields:
            corners = made.pred_boxes.tensor.reshape(-1, 2, 2)
            made.pred_keypoints = torch.cat([corners, corners[..., :1] * 0 + 0.5], dim=-1)
        return made

    @staticmethod
    def _object(image, mask):
        (y, x), (height, width) = mask.nonzero(as_tuple=True), mask.shape
        box = [x.min().item(), y.min().item(), x.max().item() + 1, y.max().item() + 1]
        touches = box[0] == 0 or box[1] == 0 or box[2] == width or box[3] == height
        score = image[1][mask][0].item() / 500 + 0.2 * touches
        return box, score, int(image[2][mask][0]), mask


def scene(boxes, classes=None, size=SIZE, corner=False):
    """An image with an object in each box x0 y0 x1 y1; with `corner` without its lower right."""
    image = np.zeros((*size, 3), np.uint8)
    for number, (x0, y0, x1, y1) in enumerate(boxes, start=1):
        image[y0:y1, x0:x1] = number, 50 + 3 * number, 0 if classes is None else classes[number - 1]
        if corner:
            image[(y0 + y1) // 2 : y1, (x0 + x1) // 2 : x1] = 0
            image[y1 - 1, x0] = image[y0, x1 - 1] = image[y0, x0]
    return image


def random_boxes(seed, sides, size=SIZE, tries=60):
    """Boxes that neither overlap nor touch; none touches the image's border."""
    rng, boxes = np.random.default_rng(seed), []
    for _ in range(tries):
        w, h = rng.integers(*sides, 2)
        x, y = rng.integers(1, size[1] - w), rng.integers(1, size[0] - h)
        if all(x > b[2] or y > b[3] or x + w < b[0] or y + h < b[1] for b in boxes):
            boxes.append((int(x), int(y), int(x + w), int(y + h)))
    return boxes


def detector_of(model, *words):
    cfg = model_zoo.get_config(
        "quickstart/mask_rcnn.yaml",
        ["INPUT.MIN_SIZE_TEST", "0", "TEST.OPTIMIZED", "False", "MODEL.DEVICE", "cpu",
         "INPUT.FORMAT", "RGB", *words],
    )  # fmt: skip
    return Detector(model, cfg, NAMES)


def by_box(objects, *fields):
    """Its fields, in the order of its boxes."""
    order = sorted(range(len(objects)), key=lambda i: objects.pred_boxes.tensor[i].tolist())
    found = objects[order]
    return [found.pred_boxes.tensor, found.pred_classes, *(found.get(name) for name in fields)]


def equal(found, expected):
    assert [x.shape for x in found] == [x.shape for x in expected]
    return all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))


def message(call):
    with pytest.raises(InputError) as error:
        call()
    return str(error.value)


# --- where tiles are ---


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


# --- each object once ---


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


# --- large images ---


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


# --- SAHI ---


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


# --- what is said ---


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
    assert message(lambda: detector_of(Seeing())("not read.png", **options)) == said


def test_without_sahi(monkeypatch):
    monkeypatch.setattr(tiles, "find_spec", lambda name: None)
    said = message(lambda: detector_of(Seeing())("not read.png", tile=64, merge="sahi"))
    assert said.startswith("merge sahi needs SAHI: pip install sahi")
