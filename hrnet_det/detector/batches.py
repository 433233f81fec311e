"""Items of equal shapes together, as a network takes several images at once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
WAITING = 4  # batches, at most, of items that wait for others of their shape


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
