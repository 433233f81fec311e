"""Colours of objects beside each other."""

import numpy as np

from hrnet_det.drawing.colours import APART, PALETTE, distinct_colours


def test_objects_apart_have_the_colours_in_turn():
    boxes = np.array([(50 * i, 0, 50 * i + 10, 10) for i in range(25)])
    assert distinct_colours(boxes) == [PALETTE[i % 20] for i in range(25)]
    assert distinct_colours(np.zeros((0, 4))) == []


def test_the_twenty_first_in_the_same_place_has_that_of_the_furthest():
    boxes = np.array([(i, 0, i + 100, 10) for i in range(21)])
    colours = distinct_colours(boxes)
    assert sorted(colours[:20]) == sorted(PALETTE)
    assert colours[20] == colours[0]


def test_a_colour_like_a_neighbours_is_left_out():
    """The palette's 10 and 19, teal and grey, are 31 apart: less than APART."""
    boxes = np.array([(1000 * i, 0, 1000 * i + 10, 10) for i in range(20)])
    boxes[19] = boxes[10]
    colours = distinct_colours(boxes)
    assert colours[:19] == list(PALETTE[:19])
    assert APART > 31
    assert colours[19] not in (PALETTE[10], PALETTE[19])
