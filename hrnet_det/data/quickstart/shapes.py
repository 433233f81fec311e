"""Geometry of the quickstart images; the centre of the top left pixel is at (0.5, 0.5)."""

from __future__ import annotations

import numpy as np

CLASSES = ("disc", "ring", "square", "triangle", "star", "arrow")
GROUND = "ground"  # the one kind of stuff: pixels of no object
GROUND_ID = len(CLASSES) + 1  # its category in COCO's panoptic format
KEYPOINTS = ("tip", "left_wing", "right_wing", "tail")

SUBSAMPLES = 4  # sample points per pixel and axis
CIRCLE_VERTICES = 40


def outline(*, name: str, rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray | None]:
    """One random member of a class, unrotated, its longer side 1, centred at the origin.

    Output: closed polygons, each (K, 2), filled by the even-odd rule (two for the ring), and the
        (4, 2) keypoints of an arrow in the order of `KEYPOINTS`, None for the other classes.
    Raises: ValueError if the name is unknown (the message lists the valid ones).
    """
    if name not in CLASSES:
        raise ValueError(f"unknown class {name!r}; known are {', '.join(CLASSES)}")
    if name == "arrow":
        return _arrow(rng)
    if name == "square":
        polygon = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    elif name == "triangle":
        half = rng.uniform(0.82, 1.0) / 2
        polygon = np.array([[0.0, -half], [0.5, half], [-0.5, half]])
    elif name == "star":
        radii = np.where(np.arange(10) % 2 == 0, 0.53, 0.53 * rng.uniform(0.38, 0.46))
        angles = np.arange(10) * np.pi / 5
        polygon = np.stack([radii * np.sin(angles), -radii * np.cos(angles)], axis=1)
    else:
        polygon = _circle(0.5)
    hole = [_circle(0.5 * rng.uniform(0.48, 0.68))] if name == "ring" else []
    return [polygon, *hole], None


def _circle(radius: float) -> np.ndarray:
    """Vertices of a regular polygon with the area of the circle, (CIRCLE_VERTICES, 2)."""
    step = 2 * np.pi / CIRCLE_VERTICES
    angles = np.arange(CIRCLE_VERTICES) * step
    radius = radius * np.sqrt(step / np.sin(step))
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _arrow(rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
    """An arrow that flies to +x, its left wing on the left of somebody who flies along (-y)."""
    neck = 0.5 - rng.uniform(0.4, 0.5)
    wing = rng.uniform(0.32, 0.4)
    shaft = rng.uniform(0.1, 0.14)
    left = [[0.5, 0.0], [neck, -wing], [neck, -shaft], [-0.5, -shaft]]
    right = [[-0.5, shaft], [neck, shaft], [neck, wing]]
    keypoints = np.array([[0.5, 0.0], [neck, -wing], [neck, wing], [-0.5, 0.0]])
    return [np.array(left + right)], keypoints


def place(points: np.ndarray, *, size: float, angle: float, centre: np.ndarray) -> np.ndarray:
    """Scale unit points to `size` pixels, rotate by `angle` radians, move to `centre`; (K, 2)."""
    cos, sin = np.cos(angle), np.sin(angle)
    return size * points @ np.array([[cos, sin], [-sin, cos]]) + centre


def polygon_area(points: np.ndarray) -> float:
    """Area of a simple polygon (K, 2), in square pixels."""
    x, y = points.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def coverage(
    polygons: list[np.ndarray], *, height: int, width: int
) -> tuple[slice, slice, np.ndarray]:
    """How much of each pixel lies inside the polygons, by the even-odd rule, with supersampling.

    Output: rows and columns of the window that the polygons touch, cut at the image's edge, and
        the covered shares in it, (h, w) float in 0..1; h or w is 0 if nothing is inside.
    """
    points = np.concatenate(polygons)
    x0, y0 = np.clip(np.floor(points.min(axis=0)).astype(int), 0, [width, height])
    x1, y1 = np.clip(np.ceil(points.max(axis=0)).astype(int), [x0, y0], [width, height])
    ends = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons])
    (ax, ay), (bx, by) = points.T, ends.T  # of all edges, with which rows of samples are crossed
    sample_y = y0 + (np.arange((y1 - y0) * SUBSAMPLES) + 0.5) / SUBSAMPLES
    row, edge = np.nonzero((ay <= sample_y[:, None]) != (by <= sample_y[:, None]))
    share = (sample_y[row] - ay[edge]) / (by[edge] - ay[edge])
    crossing = ax[edge] + share * (bx[edge] - ax[edge])
    sample = np.ceil((crossing - x0) * SUBSAMPLES - 0.5).astype(int)  # the first one after it
    sample = np.clip(sample, 0, (x1 - x0) * SUBSAMPLES)
    order = np.lexsort((sample, row))  # each row has an even number of crossings: in, out, in, ...
    pixel, rest = np.divmod(sample[order], SUBSAMPLES)
    where = row[order] // SUBSAMPLES * (x1 - x0 + 1) + pixel
    signs = np.tile([1, -1], len(where) // 2)
    shape = (y1 - y0, x1 - x0 + 1)
    # From a crossing on all samples change: SUBSAMPLES in each pixel, but for `rest` in its own.
    changes = np.bincount(where, SUBSAMPLES * signs, minlength=np.prod(shape)).reshape(shape)
    own = np.bincount(where, rest * signs, minlength=np.prod(shape)).reshape(shape)
    counts = (np.cumsum(changes, axis=1) - own)[:, :-1]
    return slice(y0, y1), slice(x0, x1), counts / SUBSAMPLES**2


def pixel_mask(polygons: list[np.ndarray], *, height: int, width: int) -> np.ndarray:
    """Pixels of which the polygons cover at least half, (height, width) bool."""
    mask = np.zeros((height, width), dtype=bool)
    rows, columns, alpha = coverage(polygons, height=height, width=width)
    mask[rows, columns] = alpha >= 0.5
    return mask
