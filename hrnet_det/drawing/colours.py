"""Colours of objects: each of its own, and easy to tell from those beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Colour = tuple[int, int, int]  # red, green, blue in 0..255
# Twenty colours that are easy to tell apart, without black and white, which images are full of.
_RGB = bytes.fromhex(
    "e6194b 3cb44b ffe119 4363d8 f58231 911eb4 46f0f0 f032e6 bcf60c fabebe "
    "008080 e6beff 9a6324 fffac8 a01010 aaffc3 808000 ffd8b1 2020b0 808080"
)
PALETTE: tuple[Colour, ...] = tuple(zip(_RGB[::3], _RGB[1::3], _RGB[2::3], strict=True))
OF_OBJECTS = len(PALETTE) - 1  # without grey, as many images are grey
APART = 45  # of CIE's Lab colours: neighbours differ by as much where there is such a colour
REACH = 0.15  # of the sides of a box, by which neighbours may be away from each other


def colour(number: int) -> Colour:
    """One of the palette, from its start again after the last."""
    return PALETTE[number % len(PALETTE)]


def distinct_colours(boxes: np.ndarray) -> list[Colour]:
    """A colour for each object, as `distinct_numbers` has them."""
    return [PALETTE[number] for number in distinct_numbers(boxes).tolist()]


def distinct_numbers(boxes: np.ndarray) -> np.ndarray:
    """A colour's number for each object: in turn, but for one like that of a neighbour.

    Then it is the one that differs most from all neighbours, and where these have all of the
    palette, the one that is furthest away.

    Args:
        boxes: (N, 4), x0, y0, x1, y1 in pixels.
    Output: (N,) int64, places in the palette.
    """
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    reach = REACH * sides + 2
    low, high = boxes[:, :2] - reach, boxes[:, 2:] + reach
    chosen = np.arange(len(boxes)) % OF_OBJECTS
    for i in range(1, len(boxes)):
        near = ((low[:i] < high[i]) & (high[:i] > low[i])).all(axis=1).nonzero()[0]
        apart = _DIFFERENCES[:OF_OBJECTS, chosen[near]]
        if not len(near) or apart[chosen[i]].min() >= APART:
            continue
        least = apart.min(axis=1)
        if least.max() == 0:
            away = np.abs(middles[near] - middles[i]).max(axis=1)
            least = np.where(apart == 0, away, np.inf).min(axis=1)
        turn = (np.arange(OF_OBJECTS) + i) % OF_OBJECTS
        chosen[i] = turn[least[turn].argmax()]
    return chosen


def ink_on(ground: Colour) -> str:
    """The colour of text on a ground: black or white."""
    return "black" if np.dot(ground, (0.299, 0.587, 0.114)) > 120 else "white"  # ITU-R BT.601


def _lab(colours: Sequence[Colour]) -> np.ndarray:
    """CIE's L*a*b* of sRGB colours, (N, 3): equal distances look about equally different."""
    share = np.asarray(colours) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.array(to_xyz).T / (0.9505, 1, 1.089)  # of the white of daylight, D65
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * 841 / 108 + 4 / 29).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


_DIFFERENCES = np.linalg.norm(_lab(PALETTE)[:, None] - _lab(PALETTE), axis=2)
