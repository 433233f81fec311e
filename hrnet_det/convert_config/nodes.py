"""The values of a config, each with the line that states it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hrnet_det.errors import InputError, shown

DELETE = "_delete_"
MOST_ITEMS = 100_000  # of a list or text, and parts of a config: a list may have itself many times


@dataclass(frozen=True)
class Place:
    """A line of a file, counted from 1."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass
class Node:
    """A value and where it is stated.

    Args:
        value: a number, text or None; or a list, tuple or dict of Nodes.
        name: the dotted key in the whole config, such as "model.neck.out_channels".
    """

    value: object
    place: Place
    name: str = ""

    def get(self, key: str) -> Node | None:
        """What a dict has under a key, or a list at an index; None where there is none."""
        if isinstance(self.value, dict):
            return self.value.get(key)
        if isinstance(self.value, (list, tuple)) and key.lstrip("-").isdigit():
            inside = -len(self.value) <= int(key) < len(self.value)
            return self.value[int(key)] if inside else None
        return None

    def find(self, path: str) -> Node | None:
        """What is at a dotted path, such as "roi_head.bbox_head.0.num_classes"; None if nothing."""
        node: Node | None = self
        for key in path.split(".") if path else ():
            node = node.get(key) if node is not None else None
        return node

    def __str__(self) -> str:
        """For a list of what is left: the key, its value cut short, the line."""
        return f"{self.name} = {shown(plain(self))} ({self.place})"


def plain(node: Node, left: Iterator[int] | None = None) -> object:
    """The value without places, as Python would have it; left counts the parts that it may have."""
    left = left or iter(range(MOST_ITEMS))
    _count(node, left)
    if isinstance(node.value, dict):
        return {key: plain(item, left) for key, item in node.value.items()}
    if isinstance(node.value, (list, tuple)):
        return type(node.value)(plain(item, left) for item in node.value)
    return node.value


def _count(node: Node, left: Iterator[int]) -> None:
    if next(left, None) is None:
        raise InputError(f"{node.place}: has more than {MOST_ITEMS:,} parts, too many for a config")


def from_plain(value: object, place: Place) -> Node:
    """A Node of a value without places, all of it stated in one line."""
    if isinstance(value, dict):
        return Node({key: from_plain(item, place) for key, item in value.items()}, place)
    if isinstance(value, (list, tuple)):
        return Node(type(value)(from_plain(item, place) for item in value), place)
    return Node(value, place)


def copied(node: Node, name: str = "", left: Iterator[int] | None = None) -> Node:
    """A copy that shares no part with the original, its parts named by their dotted keys."""
    left = left or iter(range(MOST_ITEMS))
    _count(node, left)
    prefix = f"{name}." if name else ""
    value = node.value
    if isinstance(value, dict):
        value = {key: copied(item, f"{prefix}{key}", left) for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        value = type(value)(copied(item, f"{prefix}{i}", left) for i, item in enumerate(value))
    return Node(value, node.place, name)


def children(node: Node) -> Iterator[Node]:
    """The parts of a dict, list or tuple."""
    if isinstance(node.value, dict):
        yield from node.value.values()
    elif isinstance(node.value, (list, tuple)):
        yield from node.value


def merged(over: Node, base: Node, key: str = "") -> Node:
    """A dict merged into another one, as `_base_` is; neither is changed.

    Lists and plain values replace those of the base, and so does a dict with `_delete_=True`.

    Raises: InputError if a dict without `_delete_` stands over something else.
    """
    result = dict(base.value)
    for name, node in over.value.items():
        where = f"{key}.{name}" if key else name
        if isinstance(node.value, dict) and name in result:
            deletes = node.value.get(DELETE)
            if deletes is not None and deletes.value:
                result[name] = without_marks(node)
            elif isinstance(result[name].value, dict):
                result[name] = merged(node, result[name], where)
            else:
                raise InputError(
                    f"{node.place}: {where} is a dict, but {result[name].place} has "
                    f"{shown(plain(result[name]))}: {DELETE}=True in it replaces that"
                )
        else:
            result[name] = without_marks(node)
    result.pop(DELETE, None)
    return Node(result, over.place)


def without_marks(node: Node) -> Node:
    """The same without the `_delete_` of a dict itself."""
    if isinstance(node.value, dict) and DELETE in node.value:
        kept = {key: item for key, item in node.value.items() if key != DELETE}
        return Node(kept, node.place)
    return node
