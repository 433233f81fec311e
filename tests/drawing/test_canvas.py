"""Pixels of what is drawn on an image."""

import numpy as np
import pytest

from hrnet_det.drawing.canvas import Canvas
from hrnet_det.drawing.colours import PALETTE
from hrnet_det.drawing.fonts import font

RED, BLUE = (255, 0, 0), (0, 0, 255)


def grey(height=20, width=30):
    return np.full((height, width, 3), 100, np.uint8)


def mask(rows, columns, height=20, width=30):
    found = np.zeros((height, width), bool)
    found[rows, columns] = True
    return found


def blend(under, colour, alpha):
    return [(1 - alpha) * u + alpha * c for u, c in zip(under, colour, strict=True)]


def changed(canvas, before):
    return (canvas.pixels() != before).any(axis=2)


def test_a_mask_is_blended_into_its_pixels_and_no_others():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    canvas, region = Canvas(image), mask(slice(5, 15), slice(8, 20))
    canvas.mask(region, RED, 0.4, outline=False)
    drawn = canvas.pixels()
    assert drawn[region] == pytest.approx(image[region] * 0.6 + np.array(RED) * 0.4, abs=1)
    assert (drawn[~region] == image[~region]).all()


def test_overlapping_masks_have_the_same_share_in_any_order():
    canvas = Canvas(grey())
    canvas.mask(mask(slice(2, 12), slice(2, 12)), RED, 0.5, outline=False)
    canvas.mask(mask(slice(7, 17), slice(7, 17)), BLUE, 0.5, outline=False)
    drawn = canvas.pixels()
    assert drawn[4, 4] == pytest.approx(blend((100, 100, 100), RED, 0.5), abs=1)
    assert drawn[15, 15] == pytest.approx(blend((100, 100, 100), BLUE, 0.5), abs=1)
    assert drawn[9, 9] == pytest.approx([(100 + 255) / 3, 100 / 3, (100 + 255) / 3], abs=1)
    assert drawn[18, 18].tolist() == [100, 100, 100]


@pytest.mark.parametrize("count", [2, 5, 20, 300])
def test_any_number_of_masks_leaves_all_visible_and_nothing_black(count):
    """Masks in the palette's colours on a white image: their mean and a share of the image."""
    canvas, colours = Canvas(np.full((20, 30, 3), 255, np.uint8)), []
    for number in range(count):
        colours.append(PALETTE[number % len(PALETTE)])
        canvas.mask(mask(slice(5, 15), slice(8, 20)), colours[-1], 0.5, outline=False)
    drawn = canvas.pixels()[10, 10]
    if count <= 20:
        expected = (np.sum(colours, axis=0) + 255) / (count + 1)
        assert drawn == pytest.approx(expected, abs=3)
    assert drawn.min() > 60


def test_the_outline_of_a_mask_can_be_dashes():
    canvas = Canvas(grey(200, 200), line=2)
    canvas.outline(mask(slice(20, 180), slice(20, 180), 200, 200), RED, gaps=BLUE)
    drawn = canvas.pixels()
    edge = np.zeros((200, 200), bool)
    edge[20:180, 20:180] = True
    edge[22:178, 22:178] = False
    red, blue = ((drawn == colour).all(axis=2) for colour in (RED, BLUE))
    assert ((red | blue) == edge).all()
    assert red.sum() == pytest.approx(blue.sum(), rel=0.05)
    assert "".join("RB"[int(b)] for b in blue[20, 24:48]) == "BBBBRRRRRR" + "BBBBBBRRRRRR" + "BB"


def test_the_lines_of_a_box_can_be_dashes():
    canvas = Canvas(grey(200, 200), line=2)
    canvas.box((20, 30, 180, 170), RED, gaps=BLUE)
    drawn = canvas.pixels()
    plain = Canvas(grey(200, 200), line=2)
    plain.box((20, 30, 180, 170), RED)
    red, blue = ((drawn == colour).all(axis=2) for colour in (RED, BLUE))
    assert ((red | blue) == (plain.pixels() == RED).all(axis=2)).all()
    assert red.sum() == pytest.approx(blue.sum(), rel=0.05)


def test_dashes_of_small_objects_are_wide_enough_to_be_seen():
    plain, dashed = Canvas(grey(200, 200)), Canvas(grey(200, 200))
    plain.box((20, 30, 40, 50), RED)
    dashed.box((20, 30, 40, 50), RED, gaps=BLUE)
    assert (changed(plain, 100)[40]).nonzero()[0].tolist() == [20, 39]
    assert (changed(dashed, 100)[40]).nonzero()[0].tolist() == [20, 21, 38, 39]


def test_a_legend_has_a_row_for_each_and_stands_where_no_objects_are():
    canvas = Canvas(grey(200, 300))
    canvas.avoid([(0, 0, 300, 100), (0, 100, 100, 200)])
    canvas.legend([("disc: 3", RED), ("bar: 2", BLUE)])
    drawn = canvas.pixels()
    ys, xs = np.nonzero((drawn != 100).any(axis=2))
    assert xs.min() > 200 and ys.min() > 150
    swatches = [(drawn == colour).all(axis=2) for colour in (RED, BLUE)]
    assert extent(swatches[0])[3] < extent(swatches[1])[1]
    assert (drawn[ys.min() : ys.max(), xs.min() : xs.max()].min(axis=2) > 200).sum() > 20  # text


def test_the_outline_of_a_mask_is_its_own_border_in_the_whole_colour():
    canvas = Canvas(grey())
    canvas.mask(mask(slice(0, 6), slice(10, 20)), RED, 0.5)  # up to the image's border
    drawn = canvas.pixels()
    inside = mask(slice(1, 5), slice(11, 19))
    edge = mask(slice(0, 6), slice(10, 20)) & ~inside
    assert (drawn[edge] == RED).all()
    assert drawn[inside] == pytest.approx(np.tile(blend([100] * 3, RED, 0.5), (32, 1)), abs=1)
    assert (drawn[~edge & ~inside] == 100).all()


def test_an_empty_mask_changes_nothing():
    canvas = Canvas(grey())
    canvas.mask(np.zeros((20, 30), bool), RED)
    assert not changed(canvas, grey()).any()


@pytest.mark.parametrize(("scale", "size"), [(3, (60, 90)), (0.5, (10, 15)), (1.5, (30, 45))])
def test_what_is_drawn_follows_the_scale(scale, size):
    image = grey()
    canvas = Canvas(image, scale)
    assert canvas.pixels().shape == (*size, 3)
    canvas.mask(mask(slice(4, 12), slice(10, 20)), RED, 0.5, outline=False)
    expected = np.zeros(size, bool)
    expected[int(4 * scale) : int(12 * scale), int(10 * scale) : int(20 * scale)] = True
    assert (changed(canvas, np.full((*size, 3), 100)) == expected).all()
    canvas = Canvas(image, scale)
    canvas.box((10, 4, 20, 12), BLUE)
    rows, columns = np.nonzero(changed(canvas, np.full((*size, 3), 100)))
    assert (rows.min(), rows.max()) == (4 * scale, 12 * scale - 1)
    assert (columns.min(), columns.max()) == (10 * scale, 20 * scale - 1)
    assert (image == 100).all()  # the caller's


def test_enlarged_pixels_stay_sharp():
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert (Canvas(noise, 4).pixels() == noise.repeat(4, axis=0).repeat(4, axis=1)).all()


def test_a_point_is_a_disc_around_its_place():
    canvas = Canvas(grey(), 4)
    canvas.points([(10, 8)], (255, 255, 255))
    drawn = changed(canvas, np.full((80, 120, 3), 100))
    assert canvas.pixels()[32, 40].tolist() == [255, 255, 255]
    rows, columns = np.nonzero(drawn)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (29, 35, 37, 43)


def labelled(labels, size=(100, 200)):
    """Where each label's ground is: the pixels of its colour."""
    canvas = Canvas(grey(*size))
    for number, (text, box) in enumerate(labels):
        canvas.label(text, box, PALETTE[number])
    drawn = canvas.pixels()
    return [(drawn == PALETTE[number]).all(axis=2) for number in range(len(labels))]


def extent(where):
    rows, columns = np.nonzero(where)
    return columns.min(), rows.min(), columns.max(), rows.max()


def test_a_label_stands_on_its_box_and_where_there_is_no_room_in_it():
    (above,) = labelled([("dog", (50, 40, 90, 80))])
    assert extent(above)[0] == 50
    assert extent(above)[3] == 40
    (inside,) = labelled([("dog", (50, 5, 90, 80))])
    assert extent(inside)[:2] == (50, 5)
    (shifted,) = labelled([("elephant", (190, 40, 200, 80))])  # off the image's right side
    assert extent(shifted)[2] == 199


def test_labels_cover_no_other_label():
    """Nine objects in one place: some are named, each of these readable, the first in any case."""
    box = (60, 40, 120, 60)
    grounds = labelled([("person", box)] * 9)
    shown = [extent(where) for where in grounds if where.any()]
    assert grounds[0].any()
    assert 2 <= len(shown) < 9
    for i, (left, top, right, bottom) in enumerate(shown):
        for left2, top2, right2, bottom2 in shown[:i]:
            assert right <= left2 or right2 <= left or bottom <= top2 or bottom2 <= top


def test_the_ink_of_a_label_contrasts_with_its_ground():
    for colour, ink in (((0, 0, 117), 255), ((255, 225, 25), 0)):
        canvas = Canvas(grey(100, 200))
        canvas.label("dog", (50, 40, 90, 80), colour)
        assert (abs(canvas.pixels() - float(ink)).max(axis=2) < 60).sum() > 10


def test_the_font_has_the_letters_of_european_languages():
    drawn = {letter: bytes(font(20).getmask(letter)) for letter in "ßéåжσ\uffff"}
    assert len(set(drawn.values())) == 6  # what a font lacks looks like \uffff


@pytest.mark.parametrize(
    "text",
    ["do\ng", "do\rg", "do\r\ng", "do\0g", "do\tg", "do\x1cg", "do\x85g", "do\u2029g", "do g\n"],
    ids=ascii,
)
def test_control_characters_are_spaces_in_a_label(text):
    plain, canvas = Canvas(grey(100, 200)), Canvas(grey(100, 200))
    plain.label("do g", (50, 40, 90, 80), RED)
    canvas.label(text, (50, 40, 90, 80), RED)
    assert (canvas.pixels() == plain.pixels()).all() and changed(plain, 100).any()


@pytest.mark.parametrize(
    "text", ["", "\n", "\ud800", "x" * 2_000_000, "\u202e\u200d\ufeff", 5, None]
)
def test_no_text_of_a_label_fails(text):
    canvas = Canvas(grey(100, 200))
    canvas.label(text, (50, 40, 90, 80), RED)
    assert canvas.pixels().shape == (100, 200, 3)
    assert (canvas.pixels() == RED).all(axis=2).any()
