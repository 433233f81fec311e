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


def distinct_colours(boxes: np.ndarray, image: np.ndarray | None = None) -> list[Colour]:
    """A colour for each object, as `distinct_numbers` has them."""
    return [PALETTE[number] for number in distinct_numbers(boxes, image).tolist()]


def distinct_numbers(boxes: np.ndarray, image: np.ndarray | None = None) -> np.ndarray:
    """A colour's number for each object: in turn, but for one like a neighbour's or the image's.

    Where none is APART from all neighbours and the image, it is the one that differs most, and
    where the neighbours have all of the palette, that of the one furthest away.

    Args:
        boxes: (N, 4), x0, y0, x1, y1 in pixels.
        image: (H, W, 3) uint8, RGB: what the colours are drawn on.
    Output: (N,) int64, places in the palette.
    """
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    reach = REACH * sides + 2
    low, high = boxes[:, :2] - reach, boxes[:, 2:] + reach
    grounds = np.full((len(boxes), OF_OBJECTS), np.inf) if image is None else _on(image, boxes)
    chosen = np.arange(len(boxes)) % OF_OBJECTS
    for i in range(len(boxes)):
        near = ((low[:i] < high[i]) & (high[:i] > low[i])).all(axis=1).nonzero()[0]
        apart = _DIFFERENCES[:OF_OBJECTS, chosen[near]]
        least = np.minimum(apart.min(axis=1, initial=np.inf), grounds[i]).clip(max=APART)
        if apart.min(axis=1, initial=np.inf).max() == 0:
            away = np.abs(middles[near] - middles[i]).max(axis=1)
            least = np.where(apart == 0, away, np.inf).min(axis=1)
        turn = (np.arange(OF_OBJECTS) + i) % OF_OBJECTS
        chosen[i] = turn[least[turn].argmax()]  # of the largest the first
    return chosen


def _on(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(N, OF_OBJECTS): how the colours differ from the image at the borders of boxes."""
    shares = np.array([(x, y) for x in (0, 0.5, 1) for y in (0, 0.5, 1) if (x, y) != (0.5, 0.5)])
    points = boxes[:, None, :2] * (1 - shares) + boxes[:, None, 2:] * shares  # (N, 8, 2)
    x, y = points.round().astype(int).clip(0, np.array(image.shape[1::-1]) - 1).transpose(2, 0, 1)
    grounds = np.median(image[y, x], axis=1)
    return np.linalg.norm(_lab(grounds)[:, None] - _lab(PALETTE[:OF_OBJECTS]), axis=2)


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
