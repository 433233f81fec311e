"""The images of the quickstart dataset, each a pure function of `SEED`, its split and its index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrnet_det.data.quickstart.paint import background, paint
from hrnet_det.data.quickstart.shapes import (
    CLASSES,
    GROUND_ID,
    outline,
    pixel_mask,
    place,
    polygon_area,
)

SEED = 1904_04514
FIRST_IMAGE_ID = {"train": 1, "val": 100_001}

KINDS = ("semantic", "stuff", "panoptic")

SIDES = (128, 176)  # pixels, shortest and longest side of an image
SIZES = (12.0, 120.0)  # pixels, an object's longer side, log-uniform
CROWD_SIZES = (6.5, 9.0)  # pixels, smaller than everything that is annotated on its own
MIN_VISIBLE = 0.35  # share of an object's area
MIN_VISIBLE_PIXELS = 20
ATTEMPTS = 25  # places tried for an object before it is left out


@dataclass(frozen=True)
class Figure:
    """One placed object, or a crowd of objects of one class."""

    name: str
    members: list[list[np.ndarray]]  # of each object its polygons, in pixels
    mask: np.ndarray  # (H, W) bool, with what others cover
    area: float  # square pixels, with what the image's edge cuts off
    keypoints: np.ndarray | None  # (4, 2), pixels

    @property
    def is_crowd(self) -> bool:
        return len(self.members) > 1


def draw_scene(*, split: str, index: int) -> tuple[np.ndarray, list[Figure]]:
    """The pixels of one image, (H, W, 3) uint8, and its figures from the lowest to the topmost.

    One index in 16 has no object and one in 10 has a crowd (no index is both).
    """
    rng = np.random.default_rng([SEED, FIRST_IMAGE_ID[split], index])
    width, height = (int(side) for side in rng.integers(SIDES[0], SIDES[1] + 1, size=2))
    canvas = background(rng=rng, height=height, width=width)
    figures: list[Figure] = []
    if index % 10 == 3:
        figures.append(_crowd(rng=rng, height=height, width=width))
        _paint(canvas, figures[0], rng)
    for _ in range(0 if index % 16 == 8 else rng.integers(1, 9)):
        figure = _try_to_place(figures, rng=rng, height=height, width=width)
        if figure is not None:
            figures.append(figure)
            _paint(canvas, figure, rng)
    canvas += rng.normal(scale=rng.uniform(1.0, 4.0), size=(height, width, 1))
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8), figures


def _paint(canvas: np.ndarray, figure: Figure, rng: np.random.Generator) -> None:
    for polygons in figure.members:
        paint(canvas, name=figure.name, polygons=polygons, rng=rng)


def _crowd(*, rng: np.random.Generator, height: int, width: int) -> Figure:
    """15 to 30 tiny objects of one class, packed into an ellipse that lies inside the image."""
    name = str(rng.choice(CLASSES))
    number = int(rng.integers(15, 31))
    radii = rng.uniform(0.8, 1.25, size=2) * 4.2 * np.sqrt(number)
    middle = rng.uniform(radii + 6, np.array([width, height]) - radii - 6)
    centres: list[np.ndarray] = []
    members = []
    while len(members) < number:
        draws = rng.uniform(-1, 1, size=(30, 2))
        draws = middle + radii * draws[np.sum(draws**2, axis=1) <= 1]
        gaps = [min((np.hypot(*(draw - c)) for c in centres), default=0.0) for draw in draws]
        centres.append(draws[int(np.argmax(gaps))])
        polygons, _ = outline(name=name, rng=rng)
        size, angle = rng.uniform(*CROWD_SIZES), rng.uniform(0, 2 * np.pi)
        members.append([place(p, size=size, angle=angle, centre=centres[-1]) for p in polygons])
    masks = [pixel_mask(polygons, height=height, width=width) for polygons in members]
    mask = np.any(masks, axis=0)
    return Figure(name, members, mask, area=float(mask.sum()), keypoints=None)


def _try_to_place(
    figures: list[Figure], *, rng: np.random.Generator, height: int, width: int
) -> Figure | None:
    """A new topmost object that leaves every object visible enough; None if no place was found."""
    name = str(rng.choice(CLASSES))
    size = float(np.exp(rng.uniform(*np.log(SIZES))))
    inside, apart = rng.random() < 0.85, rng.random() < 0.75
    unit, unit_keypoints = outline(name=name, rng=rng)
    extent = np.array([width, height])
    for _ in range(ATTEMPTS):
        angle, centre = rng.uniform(0, 2 * np.pi), rng.uniform(0, extent)
        if inside:
            turned = np.concatenate([place(p, size=size, angle=angle, centre=0.0) for p in unit])
            low, high = 1 - turned.min(axis=0), extent - 1 - turned.max(axis=0)
            centre = rng.uniform(np.minimum(low, high), np.maximum(low, high))
        where = {"size": size, "angle": angle, "centre": centre}
        polygons = [place(p, **where) for p in unit]
        keypoints = None if unit_keypoints is None else place(unit_keypoints, **where)
        outer, *holes = (polygon_area(p) for p in polygons)
        mask = pixel_mask(polygons, height=height, width=width)
        figure = Figure(name, [polygons], mask, outer - sum(holes), keypoints)
        touches = apart and any(np.any(mask & other.mask) for other in figures)
        if not touches and _all_visible([*figures, figure]):
            return figure
    return None


def visible_masks(figures: list[Figure]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each figure, (H, W) bool: what is seen of it, and what the figures above it cover."""
    visible, covered = [], []
    above = np.zeros_like(figures[0].mask) if figures else None
    for figure in reversed(figures):
        visible.append(figure.mask & ~above)
        covered.append(above)
        above = above | figure.mask
    return visible[::-1], covered[::-1]


def _all_visible(figures: list[Figure]) -> bool:
    """Whether enough of every figure is seen."""
    needed = [max(MIN_VISIBLE * figure.area, MIN_VISIBLE_PIXELS) for figure in figures]
    return all(m.sum() >= n for m, n in zip(visible_masks(figures)[0], needed, strict=True))


def semantic_labels(
    figures: list[Figure], visible: list[np.ndarray], shape: tuple[int, int]
) -> tuple[dict[str, np.ndarray], list[dict]]:
    """Images of labels, and COCO's panoptic segments_info.

    Input:  figures, and of each the pixels that are seen of it, (H, W) bool.
    Output: for each of KINDS a uint8 array: "semantic" (H, W), 0 for ground, 1 + number of the
        class; "stuff" (H, W), 0 for objects, 1 for ground; "panoptic" (H, W, 3), whose red is the
        segment's id. And the segments: 1 for the ground, then 2, 3, ... for the figures.
    """
    classes, ids = np.zeros(shape, np.uint8), np.ones(shape, np.uint8)
    segments = []
    for number, (figure, mask) in enumerate(zip(figures, visible, strict=True), start=2):
        category = CLASSES.index(figure.name) + 1
        classes[mask], ids[mask] = category, number
        segments.append({"id": number, **_fields(mask, category, is_crowd=figure.is_crowd)})
    ground = classes == 0
    segments.insert(0, {"id": 1, **_fields(ground, GROUND_ID, is_crowd=False)})
    panoptic = ids[:, :, None] * np.array([1, 0, 0], np.uint8)
    return {"semantic": classes, "stuff": ground.astype(np.uint8), "panoptic": panoptic}, segments


def _fields(mask: np.ndarray, category: int, *, is_crowd: bool) -> dict:
    """COCO's fields of a mask, whose box is left, top, width and height in pixels."""
    ys, xs = np.nonzero(mask)
    left, top = int(xs.min()), int(ys.min())
    return {
        "category_id": category,
        "bbox": [left, top, int(xs.max()) + 1 - left, int(ys.max()) + 1 - top],
        "area": len(xs),
        "iscrowd": int(is_crowd),
    }
