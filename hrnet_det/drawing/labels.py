"""Where labels stand, and how much of the objects they cover."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

COVERED = 0.3  # of an object's box under labels: it can no longer be seen well
BURIED = 0.08  # of the objects may be so
PLACED = 0.9  # of the labels need a place
ANY = 1  # object may be covered in any case
MOST = 400  # objects: more are never labelled one by one
AREA = 0.5  # of the objects' own area that labels have together at most
ON_PAGE = 0.025, 0.12  # of the page's area: what they may have in any case, and at most


class Places:
    """The free places of a page of a size (width, height in pixels); its labels cover no other."""

    def __init__(self, size: tuple[int, int], boxes: Sequence[Sequence[float]] = ()) -> None:
        """boxes: of objects, x0 y0 x1 y1 in pixels of the page, of which labels cover little."""
        self._size = np.array(size, float)
        self._boxes = np.asarray(boxes, float).reshape(-1, 4)
        self.taken = np.zeros((0, 4))

    def take(self, width: float, height: float, box: Sequence[float]) -> np.ndarray | None:
        """A place for a label at a box, x0 y0 x1 y1; None where there is none.

        Above the box, inside it at its top, below it, or inside at its bottom, from the box's left
        side or else from its right: the one that covers least of the objects, or of equal ones the
        first.
        """
        left, top, right, bottom = box
        lefts = np.clip((left, right - width), 0, max(0, self._size[0] - width)).repeat(4)
        tops = np.array((top - height, top, bottom, bottom - height) * 2)
        places = np.stack([lefts, tops, lefts + width, tops + height], axis=1)
        on_page = (places[:, :2] >= 0).all(axis=1) & (places[:, 2:] <= self._size).all(axis=1)
        places = places[on_page & ~(shared(places, self.taken) > 0).any(axis=1)]
        if not len(places):
            return None
        place = places[shared(places, self._boxes).sum(axis=1).round().argmin()]
        self.taken = np.concatenate([self.taken, place[None]])
        return place

    def corner(self, width: float, height: float) -> tuple[int, int]:
        """Left and top of a place in a corner, of which it is the one that covers least.

        What is written there already counts more than objects; of equal corners it is the upper
        left one, then those to the right, and below.
        """
        right, low = (self._size - (width, height)).clip(min=0)
        starts = np.array([(0, 0), (right, 0), (0, low), (right, low)])
        places = np.hstack([starts, starts + np.array((width, height))])
        texts = shared(places, self.taken).sum(axis=1)
        objects = shared(places, self._boxes).sum(axis=1).clip(max=width * height)
        place = places[np.lexsort((objects.round(), texts.round()))[0]]
        self.taken = np.concatenate([self.taken, place[None]])
        return int(place[0]), int(place[1])


def shared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, M): what each of N boxes shares with each of M others, square pixels."""
    low = np.maximum(first[:, None, :2], second[:, :2])
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    return (high - low).clip(min=0).prod(axis=2)


def leave_objects_visible(
    sizes: Sequence[tuple[float, float]], boxes: np.ndarray, page: tuple[int, int]
) -> bool:
    """Whether labels of sizes (width, height) find places where they cover little of the objects.

    Args:
        boxes: (N, 4), x0 y0 x1 y1 of the objects, and page: width and height, all in pixels.
    """
    if len(boxes) <= ANY:
        return True
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).clip(min=1)
    needed = sum(width * height for width, height in sizes)
    few, most = (share * page[0] * page[1] for share in ON_PAGE)
    if len(boxes) > MOST or needed > min(max(AREA * areas.sum(), few), most):
        return False
    places = Places(page, boxes)
    placed = [places.take(*size, box) is not None for size, box in zip(sizes, boxes, strict=True)]
    covered = shared(boxes, places.taken).sum(axis=1) / areas > COVERED
    enough = sum(placed) >= PLACED * len(boxes) - ANY
    return enough and covered.sum() <= max(ANY, BURIED * len(boxes))
