"""Which objects of overlapping tiles are one.

Two tiles see a part of the image both. An object that lies in it is in what both have found; cut
there to that part, the two boxes are alike. Within a tile the detector itself has decided which
boxes are one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

ALIKE = 0.5  # IoU, in the part that both tiles see, of boxes that are one object
INSIDE = 0.7  # share of an object that a tile has cut, inside one of another tile
MARGIN, SHARE = 2, 0.02  # pixels, and share of a tile: an object that near to its border is cut
SAHI_ADVICE = (
    "pip install sahi, which brings opencv-python; where opencv-python-headless is there: pip "
    "install --no-deps sahi fire requests"
)
# Of sahi.predict: its match_threshold, and the confidence threshold below which it suppresses.
SAHI_OVERLAP, LOW_SCORE = 0.5, 0.1
WHOLE, COARSE, CUT = range(3)  # in a tile; in the whole image; at a border of a tile
# By these: how much a score of theirs counts. Measured by tools.tiled_recall on tiles as large as
# most objects, where 1 for all, or the whole image first, cost AP 0.03 to 0.07.
TRUST = np.array([1, 0.1, 0.25])


@dataclass
class Group:
    """An object: the numbers of its parts, the one that stands for it first, and its box."""

    members: list[int]
    box: np.ndarray


@dataclass(frozen=True)
class Candidates:
    """What the tiles of an image have found.

    Args:
        boxes, scores, classes: (N, 4) pixels of the image, (N,), (N,).
        number: (N,) the tile of each; tiles (T, 4), the last one the whole image.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    number: np.ndarray
    tiles: np.ndarray

    @property
    def cut(self) -> np.ndarray:
        """Which of a box's four sides, (N, 4) bool, lie at a border of its tile in the image."""
        tiles, image = self.tiles[self.number], self.tiles[-1]
        return (np.abs(self.boxes - tiles) <= np.tile(_margin(tiles), 2)) & (tiles != image)


def by_nms(found: Candidates, *, least: int, score: float) -> list[Group]:
    """The objects of an image, each once, of what its tiles have found.

    Of what several tiles have found of an object the best stands for it, where one that a tile
    has whole is trusted far more than one that it has cut. Parts of an object that is cut in all
    tiles are joined. Of the whole image, which is seen small, come only objects that are longer
    than the tiles' overlap, as these may be cut in all tiles.

    Args:
        least: pixels in which tiles overlap at least.
        score: the least of the detections; it makes no difference here.
    """
    boxes, number, sides = found.boxes, found.number, found.cut
    coarse = number == len(found.tiles) - 1
    kind = np.where(coarse, COARSE, np.where(sides.any(axis=1), CUT, WHOLE))
    longest = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    kept = ~coarse | (longest > least)
    alike = _alike(found, sides, kept)
    groups: list[Group] = []
    group_of: dict[int, Group] = {}
    for i in np.argsort(-found.scores * TRUST[kind], kind="stable").tolist():
        if not kept[i]:
            continue
        near = [j for j in alike[i] if j in group_of]
        if near and (kind[i] != CUT or any(kind[j] != CUT for j in near)):
            continue
        fitting = [group_of[j] for j in near if number[i] not in number[group_of[j].members]]
        if fitting:
            group_of[i] = group = fitting[0]
            group.members.append(i)
            group.box = _around(group.box, boxes[i])
        else:
            group_of[i] = Group([i], boxes[i])
            groups.append(group_of[i])
    return groups


def _margin(tiles: np.ndarray) -> np.ndarray:
    """How near to a tile's border, in x and y, an object is cut there: (T, 2) pixels."""
    return np.maximum(MARGIN, SHARE * (tiles[:, 2:] - tiles[:, :2]))


def _alike(found: Candidates, sides: np.ndarray, kept: np.ndarray) -> dict[int, list[int]]:
    """Of each object those of other tiles that are the same one, the most alike first."""
    boxes, classes, number, tiles = found.boxes, found.classes, found.number, found.tiles
    of_tile = [((number == t) & kept).nonzero()[0] for t in range(len(tiles))]
    margin = _margin(tiles)
    outwards = np.concatenate([-margin, margin], axis=1) * (tiles != tiles[-1])
    wide = tiles + outwards  # so that tiles side by side see something both
    grown = np.where(sides, wide[number], boxes)
    pairs: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for t, u in zip(*_neighbours(wide), strict=True):
        a, b = of_tile[t][:, None], of_tile[u][None]
        if not a.size or not b.size:
            continue
        value = _iou(*(_clipped(boxes[x], tiles[t], tiles[u]) for x in (a, b)))
        cut_a, cut_b = (sides[x].any(axis=-1) for x in (a, b))
        joined = _iou(*(_clipped(grown[x], wide[t], wide[u]) for x in (a, b)))
        value = np.maximum(value, joined * (cut_a & cut_b))
        shared = _area(_clipped(boxes[a], boxes[b]))
        for cut, x in ((cut_a, a), (cut_b, b)):
            inside = shared / np.maximum(_area(boxes[x]), 1e-9)
            value = np.maximum(value, (inside >= INSIDE) * inside * cut)
        value = value * (classes[a] == classes[b])
        for i, j in zip(*(value >= ALIKE).nonzero(), strict=True):
            first, second = int(a[i, 0]), int(b[0, j])
            pairs[first].append((-value[i, j], second))
            pairs[second].append((-value[i, j], first))
    return defaultdict(list, {i: [j for _, j in sorted(near)] for i, near in pairs.items()})


def _neighbours(tiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of tiles that overlap, each pair once."""
    left, top, right, bottom = tiles.T
    meet = (left[:, None] < right) & (left < right[:, None])
    meet &= (top[:, None] < bottom) & (top < bottom[:, None])
    return np.triu(meet, k=1).nonzero()


def _clipped(boxes: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """What boxes (..., 4) share with all others."""
    for other in others:
        low = np.maximum(boxes[..., :2], other[..., :2])
        high = np.minimum(boxes[..., 2:], other[..., 2:])
        boxes = np.concatenate([low, high], axis=-1)
    return boxes


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2:] - boxes[..., :2]).clip(min=0).prod(axis=-1)


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of each box (N, 1, 4) with each (1, M, 4); 0 of empty ones."""
    shared = _area(_clipped(a, b))
    return shared / np.maximum(_area(a) + _area(b) - shared, 1e-9)


def _around(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.concatenate([np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:])])


def by_sahi(found: Candidates, *, least: int, score: float) -> list[Group]:
    """The same by SAHI's code, as its sliced prediction does it by default.

    That is greedy merging; of objects of scores below LOW_SCORE a suppression.

    Source: sahi.predict.get_sliced_prediction, sahi.postprocess.combine.
    Args: as of `by_nms`; which tile an object is of makes no difference.
    """
    from sahi.postprocess.combine import batched_greedy_nmm, batched_nms

    boxes = found.boxes
    if not len(boxes):
        return []
    rows = np.column_stack([boxes, found.scores, found.classes])
    if score < LOW_SCORE:
        kept = batched_nms(rows, match_metric="IOU", match_threshold=SAHI_OVERLAP)
        return [Group([i], boxes[i]) for i in kept]
    chosen = batched_greedy_nmm(rows, match_metric="IOS", match_threshold=SAHI_OVERLAP)
    groups = []
    for first, others in chosen.items():
        group = Group([first], boxes[first])
        for other in others:
            shared = _area(_clipped(group.box, boxes[other]))
            smaller = min(_area(group.box), _area(boxes[other]))
            if shared >= SAHI_OVERLAP * smaller:  # the group may have grown since
                group.members.append(other)
                group.box = _around(group.box, boxes[other])
        groups.append(group)
    return groups
