"""Paint of the quickstart images: backgrounds, colours and fills, as float RGB in 0..255."""

from __future__ import annotations

from colorsys import hsv_to_rgb

import numpy as np
from PIL import Image

from hrnet_det.data.quickstart.shapes import CLASSES, coverage, place

MIN_CONTRAST = 70.0  # root mean square over R, G, B, grey levels
TYPICAL_HUE = 0.95  # share of the objects whose hue is near their class's own; the others have any
HUE_SPREAD = 0.04  # standard deviation of a typical hue, in turns of the colour wheel


def smooth_noise(
    *, rng: np.random.Generator, height: int, width: int, cells: int, channels: int = 1
) -> np.ndarray:
    """Uniform noise in -1..1 on cells x cells, interpolated to (height, width, channels)."""
    grid = rng.uniform(-1, 1, size=(channels, cells, cells)).astype(np.float32)
    size, way = (width, height), Image.Resampling.BICUBIC
    return np.stack([Image.fromarray(plane).resize(size, way) for plane in grid], axis=2)


def background(*, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise of several scales and clutter; (height, width, 3), which can leave 0..255 a little."""
    size = {"rng": rng, "height": height, "width": width}
    canvas = rng.uniform(55, 200) + rng.uniform(-25, 25, size=3)
    canvas = canvas + 40.0 * smooth_noise(cells=3, **size)
    canvas += 15.0 * smooth_noise(cells=3, channels=3, **size)
    strength = rng.uniform(3, 13)
    for cells in (6, 12, 24, 48, 96):
        canvas += strength * rng.uniform(0.3, 1.0) * smooth_noise(cells=cells, **size)
        canvas += 0.35 * strength * smooth_noise(cells=cells, channels=3, **size)
    for _ in range(rng.integers(1, 5)):
        _add_blob(canvas, rng)
    for _ in range(rng.integers(3, 11)):
        _add_stroke(canvas, rng)
    return canvas


def _add_blob(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """One soft elliptic spot without an edge, in place."""
    height, width = canvas.shape[:2]
    centre, radius = rng.uniform(0, [width, height]), rng.uniform(7, 45, size=2)
    x = (np.arange(width) + 0.5 - centre[0]) / radius[0]
    y = (np.arange(height) + 0.5 - centre[1])[:, None] / radius[1]
    alpha = rng.uniform(0.2, 0.6) * np.exp(-(x**2) - y**2)[:, :, None]
    canvas += alpha * (rng.uniform(0, 255, size=3) - canvas)


def _add_stroke(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """One long thin line, short stroke or open arc, in place."""
    kind = rng.choice(["line", "stroke", "arc"], p=[0.35, 0.4, 0.25])
    centre = rng.uniform(0, [canvas.shape[1], canvas.shape[0]])
    if kind == "arc":
        angles = np.linspace(0, rng.uniform(0.5, 1.1) * np.pi, 24)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        radius, half = rng.uniform(5, 45), rng.uniform(0.4, 1.0)
        points = np.concatenate([(radius + half) * circle, (radius - half) * circle[::-1]])
    else:
        long = rng.uniform(40, 260) if kind == "line" else rng.uniform(5, 24)
        half = rng.uniform(0.4, 0.9) if kind == "line" else rng.uniform(0.6, 1.4)
        points = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array([long / 2, half])
    polygon = place(points, size=1.0, angle=rng.uniform(0, 2 * np.pi), centre=centre)
    colour, opacity = rng.uniform(0, 255, size=3), rng.uniform(0.35, 0.9)
    rows, columns, alpha = coverage([polygon], height=canvas.shape[0], width=canvas.shape[1])
    canvas[rows, columns] += opacity * alpha[:, :, None] * (colour - canvas[rows, columns])


def contrasting_colour(*, hue: float, ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A colour, (3,), of about a hue that stands out from the pixels `ground`, (..., 3).

    The first of 30 draws that is MIN_CONTRAST away from the ground's mean and half as much from
    four fifths of its pixels; without one, the draw furthest from the mean.
    """
    ground = ground.reshape(-1, 3)
    hues = (hue + rng.normal(scale=HUE_SPREAD, size=30)) % 1
    saturations, values = rng.uniform([[0.55], [0.4]], 1.0, size=(2, 30))
    draws = 255 * np.array(list(map(hsv_to_rgb, hues, saturations, values)))
    from_mean = np.sqrt(np.mean((draws - ground.mean(axis=0)) ** 2, axis=1))
    for draw, distance in zip(draws, from_mean, strict=True):
        from_pixels = np.sqrt(np.mean((ground - draw) ** 2, axis=1))
        if distance >= MIN_CONTRAST and np.quantile(from_pixels, 0.2) >= MIN_CONTRAST / 2:
            return draw
    return draws[np.argmax(from_mean)]


def paint(
    canvas: np.ndarray, *, name: str, polygons: list[np.ndarray], rng: np.random.Generator
) -> None:
    """Draw one object of a class onto the canvas (H, W, 3), in place.

    Its two colours stand out from the canvas below and around it.
    """
    rows, columns, alpha = coverage(polygons, height=canvas.shape[0], width=canvas.shape[1])
    # Two pixels more, so that the ground beside a window-filling square counts too.
    above, left = max(rows.start - 2, 0), max(columns.start - 2, 0)
    ground = canvas[above : rows.stop + 2, left : columns.stop + 2]
    typical = rng.random() < TYPICAL_HUE
    hue = CLASSES.index(name) / len(CLASSES) if typical else rng.random()
    first, second = (contrasting_colour(hue=hue, ground=ground, rng=rng) for _ in range(2))
    points = np.concatenate(polygons)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    extent = float(np.ptp(points, axis=0).max())
    x = (np.arange(columns.start, columns.stop) + 0.5 - middle[0]) / extent  # -0.5..0.5
    y = (np.arange(rows.start, rows.stop)[:, None] + 0.5 - middle[1]) / extent
    share = _mix(x=x, y=y, extent=extent, rng=rng)[:, :, None]
    light = 1 + rng.uniform(0, 0.35) * y[:, :, None]
    colour = (first + share * (second - first)) * light
    canvas[rows, columns] += alpha[:, :, None] * (colour - canvas[rows, columns])


def _mix(*, x: np.ndarray, y: np.ndarray, extent: float, rng: np.random.Generator) -> np.ndarray:
    """The second colour's share at each (y, x), (h, w) in 0..1; x is (w,), y (h, 1), in extents."""
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * x + np.sin(angle) * y
    kind = rng.choice(["plain", "graded", "striped", "speckled"], p=[0.35, 0.25, 0.2, 0.2])
    if kind == "graded":
        return np.clip(along + 0.5, 0, 1)
    if kind == "plain" or extent < 20:  # pixels: a texture would hide the shape
        return np.zeros_like(along)
    if kind == "striped":
        period = rng.uniform(5, max(7, extent / 4)) / extent
        return np.clip(0.5 + 1.5 * np.sin(2 * np.pi * along / period), 0, 1)
    height, width = along.shape
    cells = int(extent / rng.uniform(2.5, 6))
    noise = smooth_noise(rng=rng, height=height, width=width, cells=cells)[:, :, 0]
    return np.clip(0.3 + 2.5 * noise, 0, 1)
