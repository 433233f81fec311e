"""Images with objects and semantic labels: the colour of their pixels."""

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances
from pycocotools import mask as coco_mask

from hrnet_det.drawing.annotate import (
    LABELS_ALPHA,
    STUFF_ALPHA,
    UNLABELLED,
    annotate,
    enlargement,
    lettering,
)
from hrnet_det.drawing.canvas import MASK_ALPHA
from hrnet_det.drawing.colours import PALETTE

CLASSES = ["disc", "bar"]
SCALE = 16  # 480 pixels / 30
GREY = (100, 100, 100)


def image(height=20, width=30):
    return np.full((height, width, 3), 100, np.uint8)


def predicted(boxes=((4, 6, 16, 18),), classes=(1,), scores=(0.876,), masks=False):
    """Objects as a model gives them; each mask is its box, less a pixel on each side."""
    found = Instances((20, 30), pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float)))
    found.pred_classes, found.scores = torch.tensor(classes), torch.tensor(scores)
    if masks:
        found.pred_masks = torch.zeros(len(boxes), 20, 30, dtype=torch.bool)
        for mask, (x0, y0, x1, y1) in zip(found.pred_masks, boxes, strict=True):
            mask[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] = True
    return found


def drawn(objects=None, **given):
    return annotate(image(), objects=objects, classes=CLASSES, **given)


def at(pixels, x, y, scale=SCALE):
    """The colour in the middle of one of the image's pixels."""
    return pixels[y * scale + scale // 2, x * scale + scale // 2].tolist()


def blend(under, colour, alpha=MASK_ALPHA):
    return pytest.approx(
        [(1 - alpha) * u + alpha * c for u, c in zip(under, colour, strict=True)], abs=1.5
    )


def test_a_mask_tints_its_pixels_and_no_others():
    with_mask, without = drawn(predicted(masks=True)), drawn(predicted())
    assert with_mask.shape == (20 * SCALE, 30 * SCALE, 3)
    first = blend(GREY, PALETTE[0])
    assert at(with_mask, 10, 12) == first
    outside = np.ones((20, 30), bool)
    outside[7:17, 5:15] = False
    outside = outside.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    # the box and the label have the colour of the object instead of the class's, but stay in place
    changed = (with_mask != GREY).any(axis=2) & outside
    assert (changed == ((without != GREY).any(axis=2) & outside)).all()


def test_overlapping_masks_are_blended_never_black():
    boxes = ((1, 1, 18, 14), (11, 7, 28, 19))
    pixels = drawn(predicted(boxes, classes=(0, 0), scores=(0.9, 0.8), masks=True))
    first, second = PALETTE[:2]  # of one class, and two colours
    assert at(pixels, 5, 10) == blend(GREY, first)
    assert at(pixels, 24, 16) == blend(GREY, second)
    both = [(0.55 * 100 + 0.45 * a + 0.45 * b) / 1.45 for a, b in zip(first, second, strict=True)]
    assert at(pixels, 14, 10) == pytest.approx(both, abs=2)


def test_the_outline_of_a_small_mask_is_drawn_on_a_large_one():
    boxes = ((12, 10, 18, 16), (1, 1, 29, 19))  # the best object is the smaller one
    pixels = drawn(predicted(boxes, classes=(0, 0), scores=(0.9, 0.8), masks=True))
    assert pixels[14 * SCALE, 13 * SCALE].tolist() == list(PALETTE[0])
    assert pixels[10 * SCALE, 2 * SCALE].tolist() == list(PALETTE[1])


def test_run_lengths_are_drawn_as_the_masks_are():
    objects = predicted(((4, 6, 16, 18), (10, 2, 29, 14)), (0, 1), (0.9, 0.8), masks=True)
    lengths = predicted(((4, 6, 16, 18), (10, 2, 29, 14)), (0, 1), (0.9, 0.8))
    lengths.pred_masks = [
        coco_mask.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
        for mask in objects.pred_masks
    ]
    assert (drawn(lengths) == drawn(objects)).all()


def grid(columns, rows, side, size, classes=1, scores=True):
    """Objects of a side, in a grid on an image of a size (height, width), in turn of classes."""
    y, x = np.divmod(np.arange(columns * rows), columns)
    corners = np.stack([x * size[1] / columns, y * size[0] / rows], axis=1)
    found = Instances(size, pred_boxes=Boxes(np.hstack([corners, corners + side])))
    found.pred_classes = torch.arange(columns * rows) % classes
    if scores:
        found.scores = torch.linspace(0.99, 0.5, columns * rows)
    return found


def on_grey(objects, classes, **given):
    grey = np.full((*objects.image_size, 3), 100, np.uint8)
    return annotate(grey, objects=objects, classes=classes, **given)


def test_many_objects_of_one_class_have_no_names_and_the_legend_has_one():
    """Twelve objects with much room: their scores are written, "cell: 12" in a corner."""
    objects = grid(4, 3, 100, (600, 800))
    pixels = on_grey(objects, ["cell"])
    same = on_grey(objects, ["rod"])  # another name changes the legend alone
    ys, xs = np.nonzero((pixels != same).any(axis=2))
    assert xs.max() < 100 or xs.min() > 700
    assert ys.max() < 30 or ys.min() > 570
    assert (pixels == on_grey(objects, ["cell"], written="scores")).all()
    objects.scores = objects.scores / 2
    assert (pixels != on_grey(objects, ["cell"])).any()


def test_objects_of_several_classes_have_their_names_where_there_is_room():
    objects = grid(4, 3, 100, (600, 800), classes=2)
    pixels = on_grey(objects, CLASSES)
    assert (pixels == on_grey(objects, CLASSES, written="names")).all()
    assert (pixels != on_grey(objects, CLASSES, written="scores")).any()


def test_without_room_for_both_names_are_left_where_colours_do_not_tell_them():
    """Colours of objects, as masks have them, and those of classes, as boxes alone have them."""
    objects = grid(4, 3, 100, (600, 800), classes=2)
    by_class = on_grey(objects, CLASSES, written="scores", legend=False)
    assert (by_class == on_grey(objects, ["x", "y"], written="scores", legend=False)).all()
    objects.colours = torch.arange(12)
    named = on_grey(objects, CLASSES, written="scores", legend=False)
    assert (named != on_grey(objects, ["x", "y"], written="scores", legend=False)).any()
    objects.scores = objects.scores / 2
    assert (named == on_grey(objects, CLASSES, written="scores", legend=False)).all()


@pytest.mark.parametrize("classes", [1, 2])
def test_on_a_dense_image_nothing_is_written_but_a_legend(classes):
    """400 objects of 16 pixels in 500x500: outside of them only a corner is changed."""
    objects = grid(20, 20, 16, (500, 500), classes=classes)
    pixels = on_grey(objects, CLASSES)
    assert (pixels == on_grey(objects, CLASSES, written="nothing")).all()
    for left, top, right, bottom in objects.pred_boxes.tensor.long().tolist():
        pixels[top:bottom, left:right] = 100
    ys, xs = np.nonzero((pixels != 100).any(axis=2))
    assert len(ys)
    assert np.ptp(xs) < 80 and np.ptp(ys) < 40
    assert xs.min() == 0 or xs.max() > 490
    assert ys.min() == 0 or ys.max() > 490
    assert (on_grey(objects, CLASSES, legend=False)[:2, :2] == PALETTE[0]).any()  # no legend there


def test_lines_are_thinner_on_small_objects():
    objects = grid(2, 1, 10, (900, 900))
    objects.pred_boxes.tensor[1, 2:] = 800  # from (450, 0) to (800, 800)
    drawn = (on_grey(objects, CLASSES, written="nothing", legend=False) != 100).any(axis=2)
    assert drawn[5].nonzero()[0].tolist() == [0, 9, 450, 451, 452, 797, 798, 799]


def test_more_objects_than_colours_and_none_like_its_neighbour():
    """A grid of 8 x 8 masks that touch: no two beside each other, or at a corner, are alike."""
    objects = grid(8, 8, 10, (80, 80))
    objects.pred_masks = torch.zeros(64, 80, 80, dtype=torch.bool)
    boxes = objects.pred_boxes.tensor.long().tolist()
    for mask, (x0, y0, x1, y1) in zip(objects.pred_masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    pixels = on_grey(objects, ["cell"], scale=1, legend=False)[5::10, 5::10].astype(int)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 15
    for y, x in ((0, 1), (1, 0), (1, 1)):
        assert abs(pixels[y:, x:] - pixels[: 8 - y, : 8 - x]).max(axis=2).min() > 10


def test_a_name_that_no_font_has_is_the_number_of_its_class(monkeypatch):
    monkeypatch.setattr("hrnet_det.drawing.annotate.can_write", lambda text: text != "\U00012000")
    named = annotate(image(), objects=predicted(), classes=["", "\U00012000"])
    assert (named == annotate(image(), objects=predicted(), classes=["", "1"])).all()


def test_boxes_alone_have_the_colour_of_their_class():
    pixels = drawn(predicted())
    assert pixels[18 * SCALE - 1, 10 * SCALE].tolist() == list(PALETTE[1])  # its lower line
    inside = pixels[6 * SCALE + 1 : 18 * SCALE - 1, 4 * SCALE + 1 : 16 * SCALE - 1]
    assert (inside == 100).all()
    assert (pixels[18 * SCALE :] == 100).all()
    assert (pixels[:, : 4 * SCALE] == 100).all()


def test_numbers_of_colours_take_the_place_of_the_objects_own():
    objects = predicted(masks=True)
    objects.colours = torch.tensor([len(PALETTE) + 3])  # from the start again
    assert at(drawn(objects), 10, 12) == blend(GREY, PALETTE[3])


def test_labels_name_class_and_score():
    pixels = drawn(predicted())
    for other in (
        annotate(image(), objects=predicted(), classes=["disc", "rod"]),
        drawn(predicted(scores=(0.5,))),
    ):
        rows, columns = np.nonzero((pixels != other).any(axis=2))
        assert len(rows)
        assert rows.max() < 6 * SCALE  # above the box
        assert columns.min() >= 4 * SCALE


def test_a_class_without_a_name_has_its_number():
    assert (
        annotate(image(), objects=predicted(), classes=["disc"])
        == annotate(image(), objects=predicted(), classes=["disc", "1"])
    ).all()


def test_nothing_found_leaves_the_enlarged_image():
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    empty = Instances((20, 30), pred_boxes=Boxes(torch.zeros(0, 4)), pred_classes=torch.zeros(0))
    assert (annotate(noise, objects=empty) == noise.repeat(16, axis=0).repeat(16, axis=1)).all()


@pytest.mark.parametrize(("side", "times"), [(30, 16), (192, 2), (319, 2), (330, 1), (4000, 1)])
def test_small_images_are_enlarged_and_large_ones_stay(side, times):
    assert enlargement(np.zeros((side // 2, side, 3), np.uint8)) == times


def test_an_image_can_be_shrunk():
    pixels = annotate(image(40, 60), objects=None, scale=0.5)
    assert pixels.shape == (20, 30, 3)
    objects = predicted(((8, 8, 40, 32),))
    pixels = annotate(image(40, 60), objects=objects, scale=0.5, written="nothing", legend=False)
    assert pixels[15, 10].tolist() == list(PALETTE[1])  # half of 32, less one
    assert pixels[16, 10].tolist() == [100] * 3


def test_ground_truth_is_drawn_as_a_prediction_is_without_scores():
    mask = torch.zeros(1, 20, 30, dtype=torch.bool)
    mask[0, 7:17, 5:15] = True
    truth = Instances((20, 30), gt_boxes=Boxes(torch.tensor([[4.0, 6, 16, 18]])))
    truth.gt_classes, truth.gt_masks = torch.tensor([1]), BitMasks(mask)
    found = predicted(masks=True)
    found.remove("scores")
    assert (drawn(truth) == drawn(found)).all()


def test_visible_keypoints_are_white_discs():
    truth = Instances((20, 30), gt_boxes=Boxes(torch.tensor([[4.0, 6, 16, 18]])))
    truth.gt_classes = torch.tensor([0])
    plain = drawn(truth)
    truth.gt_keypoints = torch.tensor([[[10.0, 12.0, 2.0], [6.0, 9.0, 0.0]]])
    pixels = drawn(truth)
    assert pixels[12 * SCALE, 10 * SCALE].tolist() == [255, 255, 255]
    assert pixels[9 * SCALE, 6 * SCALE].tolist() == [100, 100, 100]  # not visible
    assert 0 < (pixels != plain).any(axis=2).sum() <= 7 * 7  # one disc of radius 3
    found = predicted()
    found.pred_keypoints = torch.tensor([[[10.0, 12.0, 0.06], [6.0, 9.0, 0.04]]])  # scores
    pixels = drawn(found)
    assert pixels[12 * SCALE, 10 * SCALE].tolist() == [255, 255, 255]
    assert pixels[9 * SCALE, 6 * SCALE].tolist() == [100, 100, 100]


def quarters():
    """Labels 0, 1, 2 and none, each of a quarter of the image."""
    labels = np.full((20, 30), UNLABELLED)
    labels[:10, :15], labels[:10, 15:], labels[10:, :15] = 0, 1, 2
    return labels


def test_each_class_of_semantic_labels_has_a_colour():
    pixels = drawn(labels=quarters(), label_names=["sky", "sea"])
    grey, first, second = PALETTE[-1], PALETTE[0], PALETTE[1]
    assert at(pixels, 1, 1) == blend(GREY, grey, LABELS_ALPHA)
    assert at(pixels, 28, 1) == blend(GREY, first, LABELS_ALPHA)
    assert at(pixels, 1, 18) == blend(GREY, second, LABELS_ALPHA)
    assert (pixels[10 * SCALE :, 15 * SCALE :] == 100).all()  # no label
    other = drawn(labels=quarters(), label_names=["sky", "land"])
    rows, columns = np.nonzero((pixels != other).any(axis=2))
    assert rows.max() < 10 * SCALE  # a name in its part of the image
    assert columns.min() >= 15 * SCALE


def test_stuff_is_tinted_under_things():
    pixels = drawn(predicted(masks=True), labels=np.zeros((20, 30), int), label_names=["road"])
    road = [0.75 * 100 + 0.25 * value for value in PALETTE[10]]
    assert STUFF_ALPHA == 0.25
    assert at(pixels, 28, 18) == pytest.approx(road, abs=1.5)
    assert at(pixels, 10, 14) == blend(road, PALETTE[0])


def test_lettering_is_what_is_drawn_without_being_told():
    rgb = np.zeros((300, 400, 3), np.uint8)
    boxes = [[x, y, x + 60.0, y + 40] for x in (20, 150, 280) for y in (40, 140, 230)]
    for names in (["ant", "bee"], ["a bee of a very long name " * 4, "an ant of a long name " * 4]):
        objects = Instances((300, 400), pred_boxes=Boxes(torch.tensor(boxes)))
        objects.pred_classes, objects.scores = torch.arange(9) % 2, torch.linspace(1, 0, 9)
        written, text = lettering(rgb, objects=objects, classes=names)
        told = annotate(rgb, objects=objects, classes=names, scale=1, written=written, text=text)
        assert np.array_equal(told, annotate(rgb, objects=objects, classes=names, scale=1))
        other = "scores" if written == "names" else "names"
        changed = annotate(rgb, objects=objects, classes=names, scale=1, written=other)
        assert not np.array_equal(told, changed)
