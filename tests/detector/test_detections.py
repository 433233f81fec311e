"""The objects of an image, shown and saved, and as Detectron2's Instances."""

import copy
import io
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.structures import Boxes, Instances
from detectron2.utils.visualizer import Visualizer
from helpers.refusals import error_of
from PIL import Image
from pycocotools import mask as coco_mask

from hrnet_det.detector.detections import Detections
from hrnet_det.detector.run_lengths import RunLengthMasks, coco_rows, run_lengths, union
from hrnet_det.drawing.annotate import annotate
from hrnet_det.errors import MissingInputError

NAMES = ("ant", "bee", "cat")
SIZE = (40, 60)


def pixels(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def masks():
    found = torch.zeros(3, *SIZE, dtype=torch.bool)
    found[0, 5:20, 10:30] = found[1, 10:39, 25:50] = found[2, :, 55:] = True
    return found


def objects(image=None, masks=None):
    boxes = torch.tensor([[10.0, 5, 30, 20], [25, 10, 50, 39], [55, 0, 60, 40]])
    found = Instances(
        SIZE,
        pred_boxes=Boxes(boxes),
        scores=torch.tensor([0.9, 0.8, 0.3]),
        pred_classes=torch.tensor([1, 0, 1]),
    )
    if masks is not None:
        found.pred_masks = masks
    return Detections.of(found, image, NAMES)


@pytest.fixture
def file(tmp_path):
    Image.fromarray(pixels()).save(tmp_path / "street.png")
    return tmp_path / "street.png"


def read(path):
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def drawing(found, image=None):
    plain = Instances(found.image_size, **found.get_fields())
    return annotate(pixels() if image is None else image, objects=plain, classes=NAMES)


# --- drawn ---


def test_objects_that_are_chosen_are_drawn_on_their_image(file, tmp_path):
    found = objects(file, masks())
    chosen = found[found.scores > 0.5]
    assert chosen.save(tmp_path / "drawn.png") == tmp_path / "drawn.png"
    assert np.array_equal(read(tmp_path / "drawn.png"), drawing(chosen))
    assert not np.array_equal(drawing(chosen), drawing(found))
    assert (found.names, chosen.names) == (["bee", "ant", "bee"], ["bee", "ant"])
    assert found.class_names == list(NAMES) and chosen.image == file


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".jpg", "JPEG"), (".JPEG", "JPEG"), (".webp", "WEBP")]
)
def test_the_suffix_says_the_format(file, tmp_path, suffix, kind):
    path = objects(file).save(str(tmp_path / f"drawn{suffix}"))
    with Image.open(path) as image:
        assert image.format == kind
    assert np.abs(read(path).astype(int) - drawing(objects())).mean() < 12


def test_arrays_and_pil_images_are_drawn_on_as_they_are(tmp_path):
    array = pixels()
    for image in (array, Image.fromarray(array)):
        found = objects(image)
        assert found.image is image and np.array_equal(found.drawn(), drawing(found))
    grey = np.repeat(array[:, :, :1], 3, axis=2)
    assert np.array_equal(objects(array[:, :, 0]).drawn(), drawing(objects(), grey))


def test_images_of_16_bits_are_drawn_as_they_were_read(tmp_path):
    deep = np.full(SIZE, 1500, np.uint16)
    found = Detections.of(objects(), deep, NAMES, pixel_range=[1000, 2000])[:0]
    assert found.drawn()[0, 0].tolist() == [128] * 3  # half of 255


def test_where_it_cannot_be_drawn(file, tmp_path):
    found = objects(file)
    assert error_of(lambda: found.save(tmp_path / "a.xyz")) == (
        f"{tmp_path / 'a.xyz'}: the suffix says the format of a drawing; give .png, .jpg, .webp or "
        "another one that Pillow writes"
    )
    missing = tmp_path / "no"
    assert error_of(lambda: found.save(missing / "a.png")) == (
        f"{missing / 'a.png'}: there is no folder {missing}: make it, or name another one"
    )
    assert error_of(lambda: found.save(file)) == (f"{file} is the image itself: name another file")
    (tmp_path / "folder.png").mkdir()
    assert "cannot be written: Is a directory" in error_of(
        lambda: found.save(tmp_path / "folder.png")
    )
    Image.fromarray(pixels()[:30]).save(file)
    assert error_of(found.drawn) == (
        "the objects are of an image of 60x40 pixels, which is 60x30 by now: detect them again"
    )
    file.unlink()
    assert error_of(found.drawn, MissingInputError) == f"image {file} is not there"
    assert error_of(objects().drawn) == (
        "these objects have no image to be drawn on: take a Detector's own"
    )


def test_shown_in_a_window_or_in_a_notebook(monkeypatch):
    found, shown = objects(pixels()), []
    monkeypatch.setattr(Image.Image, "show", lambda image: shown.append(("window", image)))
    ipython, display = SimpleNamespace(get_ipython=lambda: None), SimpleNamespace()
    display.display = lambda image: shown.append(("notebook", image))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    found.show()
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())
    found.show()
    ipython.get_ipython = lambda: SimpleNamespace()  # IPython in a terminal
    found.show()
    monkeypatch.setitem(sys.modules, "IPython", None)
    found.show()
    assert [where for where, _ in shown] == ["window", "notebook", "window", "window"]
    assert all(np.array_equal(np.array(image), found.drawn()) for _, image in shown)
    assert np.array_equal(np.array(Image.open(io.BytesIO(found._repr_png_()))), found.drawn())
    assert objects()._repr_png_() is None


# --- as Instances ---


def test_what_is_made_of_them_knows_the_image(file):
    found = objects(file, masks())
    forms = [found[0], found[1:], found[torch.tensor([2, 0])], found[[True, False, True]],
             found.to("cpu"), copy.copy(found), copy.deepcopy(found),
             pickle.loads(pickle.dumps(found)), Detections.cat([found[:1], found[1:]])]  # fmt: skip
    for form in forms:
        assert type(form) is Detections and form.image == file
        assert form.class_names == list(NAMES)
    assert [form.scores.tolist() for form in forms[:4]] == [
        found.scores[chosen].tolist() for chosen in ([0], [1, 2], [2, 0], [0, 2])
    ]
    assert all(torch.equal(form.pred_masks, masks()) for form in forms[4:])
    assert len(pickle.dumps(objects(file))) < 4000  # no pixels
    assert "num_instances=3" in str(found)


def test_joined_with_objects_of_another_image(file):
    other = Instances(SIZE, **objects().get_fields())
    for several in ([objects(file), objects("b.png")], [objects(file), other]):
        joined = Detections.cat(several)
        assert type(joined) is Instances and len(joined) == 6
    assert type(Instances.cat([objects(file), objects(file)])) is Instances
    assert type(Detections.cat([other])) is Instances


def test_classes_without_a_name():
    found = objects()
    found.pred_classes = torch.tensor([0, 3, 7])
    assert found.names == ["ant", "class 3", "class 7"]


@pytest.mark.parametrize("lean", [False, True])
def test_detectron2s_own_tools(lean):
    """Whole masks and run lengths alike."""
    given = RunLengthMasks([run_lengths(m.numpy(), 0, 0, SIZE) for m in masks()], SIZE)
    found = objects(pixels(), given if lean else masks())
    rows = instances_to_coco_json(found, 7)
    assert [row["bbox"] for row in rows] == [[10, 5, 20, 15], [25, 10, 25, 29], [55, 0, 5, 40]]
    expected = [coco_mask.encode(np.asfortranarray(m.numpy().astype(np.uint8))) for m in masks()]
    assert [row["segmentation"]["counts"] for row in rows] == [
        rle["counts"].decode() for rle in expected
    ]
    assert coco_rows(found, 7) == rows
    metadata = MetadataCatalog.get("names of test_detections").set(thing_classes=list(NAMES))
    drawn = Visualizer(pixels(), metadata).draw_instance_predictions(found).get_image()
    assert drawn.shape == (*SIZE, 3)


# --- run lengths ---


def test_run_lengths_of_a_part_are_those_of_the_whole_mask():
    rng = np.random.default_rng(0)
    for _ in range(300):
        size = tuple(rng.integers(1, 12, 2).tolist())
        h, w = (int(rng.integers(0, side + 1)) for side in size)
        top, left = int(rng.integers(0, size[0] - h + 1)), int(rng.integers(0, size[1] - w + 1))
        part = rng.random((h, w)) < rng.choice([0, 0.3, 0.7, 1])
        whole = np.zeros(size, np.uint8)
        whole[top : top + h, left : left + w] = part
        expected = coco_mask.encode(np.asfortranarray(whole))
        assert run_lengths(part, left, top, size) == expected


def test_masks_as_run_lengths():
    whole = masks()
    lean = RunLengthMasks([run_lengths(m.numpy(), 0, 0, SIZE) for m in whole], SIZE)
    assert (len(lean), lean.shape, lean.dtype) == (3, (3, *SIZE), torch.bool)
    assert torch.equal(lean.tensor(), whole) and torch.equal(lean[-1], whole[-1])
    assert torch.equal(torch.stack(list(lean)), whole)
    for chosen in (slice(1, None), [2, 0], torch.tensor([True, False, True]), np.array([1])):
        assert torch.equal(lean[chosen].tensor(), whole[chosen])
    for one in (2, np.int64(2), torch.tensor(2)):  # as objects.scores.argmin() is
        assert torch.equal(lean[one], whole[2])
    found = objects(masks=lean)
    assert torch.equal(found[found.scores > 0.5].pred_masks.tensor(), whole[:2])
    assert torch.equal(Detections.cat([found[2:], found[:1]]).pred_masks.tensor(), whole[[2, 0]])
    again = pickle.loads(pickle.dumps(found.to("cpu")))
    assert torch.equal(again.pred_masks.tensor(), whole)
    both = coco_mask.decode(union(lean.rle[:2]))
    assert np.array_equal(both.astype(bool), (whole[0] | whole[1]).numpy())
    empty = RunLengthMasks([], SIZE)
    assert (len(empty), empty.tensor().shape) == (0, (0, *SIZE))
