"""Colours of objects beside each other."""

import numpy as np

from hrnet_det.drawing.colours import APART, PALETTE, distinct_colours


def test_objects_apart_have_the_colours_in_turn():
    boxes = np.array([(50 * i, 0, 50 * i + 10, 10) for i in range(25)])
    assert distinct_colours(boxes) == [PALETTE[i % 19] for i in range(25)]
    assert distinct_colours(np.zeros((0, 4))) == []


def test_where_all_colours_are_taken_it_is_that_of_the_furthest():
    """All but grey, which many images are."""
    boxes = np.array([(i, 0, i + 100, 10) for i in range(20)])
    colours = distinct_colours(boxes)
    assert sorted(colours[:19]) == sorted(PALETTE[:19])
    assert colours[19] == colours[0]


def test_a_colour_like_a_neighbours_is_left_out():
    """The palette's 4 and 12, orange and brown, are 34 apart: less than APART."""
    boxes = np.array([(1000 * i, 0, 1000 * i + 10, 10) for i in range(13)])
    boxes[12] = boxes[4]
    colours = distinct_colours(boxes)
    assert colours[:12] == list(PALETTE[:12])
    assert APART > 34
    assert colours[12] not in (PALETTE[4], PALETTE[12])


def test_a_colour_like_the_image_is_left_out():
    """On white the palette's pale yellow, 13, is 21 from it; on its own red, 0, red is left out."""
    boxes = np.array([(100 * i, 0, 100 * i + 10, 10) for i in range(19)])
    white = np.full((20, 2000, 3), 255, np.uint8)
    colours = distinct_colours(boxes, white)
    assert colours[:5] == list(PALETTE[:5])
    assert colours[13] != PALETTE[13]
    assert colours[18] == PALETTE[18]
    black = distinct_colours(boxes, white * 0)
    assert black[13] == PALETTE[13]
    red = np.broadcast_to(np.uint8(PALETTE[0]), white.shape)
    assert PALETTE[0] not in distinct_colours(boxes, red)
    assert distinct_colours(boxes + 5000, white)  # beside the image
