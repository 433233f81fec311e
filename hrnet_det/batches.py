"""Images as a network is given them: those of equal shapes together."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T

Item = TypeVar("Item")
WAITING = 4  # batches, at most, of items that wait for others of their shape


class Pixels(NamedTuple):
    """An image as it has been read: what it is called in messages, and (H, W, C) uint8."""

    name: str
    array: np.ndarray


def row_of(image: Pixels, mapper: DatasetMapper) -> dict:
    """What a detector is given of an image: it is resized as the mapper does."""
    height, width = image.array.shape[:2]
    given = T.AugInput(image.array)
    mapper.augmentations(given)
    channels = np.ascontiguousarray(given.image.transpose(2, 0, 1))
    resized = torch.as_tensor(channels.astype("float32"))
    return {"image": resized, "height": height, "width": width, "file_name": image.name}


def in_batches(
    items: Iterable[tuple[Hashable, Item]], *, size: int
) -> Iterator[list[tuple[int, Item]]]:
    """Items of equal shapes, `size` at a time, each with its number among all.

    Args:
        items: pairs of a shape and an item; they are taken one after the other, and at most
            WAITING * size of them wait.
    """
    groups: dict[Hashable, list[tuple[int, Item]]] = {}
    waiting = 0
    for number, (shape, item) in enumerate(items):
        groups.setdefault(shape, []).append((number, item))
        waiting += 1
        if len(groups[shape]) < size and waiting < WAITING * size:
            continue
        full = max(groups, key=lambda shape: len(groups[shape]))
        waiting -= len(groups[full])
        yield groups.pop(full)
    yield from groups.values()
