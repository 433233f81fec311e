"""A file's classes beside those of the data: told by their names, and brought into their order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hrnet_det.checkpoint.io import some
from hrnet_det.modeling.kinds import object_rows


@dataclass(frozen=True)
class ClassMatch:
    """Which class of a file each class of the data is.

    Args:
        order: the place in the file of each class of the data.
        renamed: (the file's name, the data's) of classes that have no namesake: they are taken in
            the order that they have.
    """

    order: tuple[int, ...]
    renamed: tuple[tuple[str, str], ...]

    @property
    def moved(self) -> list[int]:
        """The classes of the data that have another place in the file."""
        return [ours for ours, theirs in enumerate(self.order) if ours != theirs]

    @property
    def unrelated(self) -> bool:
        """No class of the data has a namesake in the file."""
        return len(self.renamed) == len(self.order)


def match_classes(theirs: Sequence[str], ours: Sequence[str]) -> ClassMatch | None:
    """Match classes by name, whatever their case, spaces and underscores are.

    Returns: None where either are not known, or there are not as many in both.
    """
    if not ours or len(theirs) != len(ours):
        return None
    places = {name: place for place, name in enumerate(keys(theirs))}
    wanted = keys(ours)
    if len(places) < len(theirs) or len(set(wanted)) < len(ours):  # names that are there twice
        places, wanted = {}, []
    found = [places.get(name) for name in wanted] or [
        place if theirs[place] == name else None for place, name in enumerate(ours)
    ]
    free = iter([place for place in range(len(theirs)) if place not in found])
    order = tuple(next(free) if place is None else place for place in found)
    without = [number for number, place in enumerate(found) if place is None]
    return ClassMatch(order, tuple((theirs[order[number]], ours[number]) for number in without))


def keys(names: Sequence[str]) -> list[str]:
    """Names without what spellings differ in; as they are where some would become the same."""
    plain = [re.sub(r"[\W_]+", " ", name.casefold()).strip() for name in names]
    return plain if len(set(plain)) == len(names) else list(names)


def difference(theirs: Sequence[str], ours: Sequence[str]) -> str:
    """What two lists of classes do not have in common, for a message; "" if one is not known."""
    if not (theirs and ours):
        return ""
    parts = [f"the file has {len(theirs)} classes, the data {len(ours)}"]
    for title, names, others in (("data", ours, theirs), ("file", theirs, ours)):
        known = set(keys(others))
        alone = [name for name, key in zip(names, keys(names), strict=True) if key not in known]
        if alone:
            parts.append(f"only the {title} has {some(alone)}")
    return "; ".join(parts)


def reorder(weights: dict[str, Tensor], order: Sequence[int]) -> dict[str, Tensor]:
    """A detector's tensors by our names, with the rows of its class layers in another order.

    A background row stays the last one; of anchors each has its own rows of all classes; layers
    for all classes together stay as they are.

    Args:
        order: the place now of each class to be.
    """
    return {
        name: _reordered(tensor, order, rows) if (rows := object_rows(name)) else tensor
        for name, tensor in weights.items()
    }


def _reordered(tensor: Tensor, order: Sequence[int], rows: int) -> Tensor:
    """Of a class layer, weight or bias, that has so many rows for each class."""
    size = len(order) * rows
    blocks = len(tensor) // size  # one, or one for each anchor; none where classes share the rows
    inside, rest = tensor[: blocks * size], tensor[blocks * size :]
    classes = inside.reshape(blocks, len(order), rows, *tensor.shape[1:])[:, list(order)]
    return torch.cat([classes.reshape(inside.shape), rest])
