"""What is known while a config is converted: what was read of it, and what became of that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from hrnet_det.convert_config.nodes import Node, children, plain
from hrnet_det.errors import InputError, shown


class Chosen(NamedTuple):
    """A value of a key of ours.

    Args:
        value: as a YAML config has it.
        sources: what of the other config it is from.
        why: where it does not follow from the source alone, what was decided.
        also: other values that mean the same for this detector.
    """

    value: object
    sources: tuple[Node, ...]
    why: str = ""
    also: tuple = ()


class Lacking(NamedTuple):
    """What has no counterpart here, and what to do about it."""

    node: Node
    advice: str

    def __str__(self) -> str:
        return f"{self.node}: {self.advice}"


@dataclass
class Conversion:
    """A config that is being converted.

    Args:
        root: its values, in mmdetection 3's layout.
        version: of mmdetection, 2 or 3.
        gpus: how many it was trained on; None where the user does not say.
        images: how many with objects an epoch has; None likewise.
    Attributes:
        kind: the detector, a key of `KINDS`.
        values: by our keys, what they become.
        splits: by dataloader, what it reads (`splits.split_of`).
        lacking: what has no counterpart. remarks: what the user should know besides.
    """

    root: Node
    version: int = 3
    gpus: int | None = None
    images: int | None = None
    kind: str = ""
    values: dict[str, Chosen] = field(default_factory=dict)
    splits: dict[str, object] = field(default_factory=dict)
    lacking: list[Lacking] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    _used: set[int] = field(default_factory=set)

    def find(self, path: str) -> Node | None:
        """What is at a dotted path; None where nothing is. It still counts as unread."""
        return self.root.find(path)

    def nodes(self, path: str) -> list[Node]:
        """All that is at a dotted path, in which `*` stands for each part of a list.

        What is no list stands for its one part: heads of a cascade may be written once.
        """
        found = [self.root]
        for key in path.split("."):
            if key == "*":
                parts = (list(children(n)) if _is_list(n) else [n] for n in found)
                found = [part for several in parts for part in several]
            else:
                found = [part for part in (n.get(key) for n in found) if part is not None]
        return found

    def use(self, *nodes: Node | None) -> None:
        """Count these as read, with all of their parts."""
        for node in nodes:
            if node is not None:
                self._used.add(id(node))
                self.use(*children(node))

    def take(self, path: str) -> Node | None:
        """What is at a path, which then counts as read."""
        node = self.find(path)
        self.use(node)
        return node

    def value(self, path: str, default: object = None) -> object:
        """The value at a path, which then counts as read; the default where there is none."""
        node = self.take(path)
        return default if node is None else plain(node)

    def set(
        self, key: str, value: object, *sources: Node | None, why: str = "", also: tuple = ()
    ) -> None:
        """Let a key of ours have a value."""
        self.use(*sources)
        self.values[key] = Chosen(value, tuple(n for n in sources if n is not None), why, also)

    def lack(self, node: Node, advice: str) -> None:
        """Say that something has no counterpart."""
        self.use(node)
        self.lacking.append(Lacking(node, advice))

    def refuse(self, node: Node, why: str) -> InputError:
        """The error for a detector that there is none of here."""
        return InputError(f"{node.place}: {node.name} is {shown(plain(node))}: {why}")

    def unread(self, node: Node | None = None) -> Iterator[Node]:
        """What nothing has read: whole groups where none of their parts was."""
        for part in children(self.root if node is None else node):
            if id(part) in self._used or part.value is None:
                continue
            if any(self.is_read(inner) for inner in children(part)):
                yield from self.unread(part)
            else:
                yield part

    def is_read(self, node: Node) -> bool:
        return id(node) in self._used or any(self.is_read(part) for part in children(node))


class Row(NamedTuple):
    """A line of the table of keys.

    Args:
        names: keys of mmdetection 3, in which `*` stands for each stage of a cascade.
        keys: ours that follow from them; () where our detector does the same by itself, or
            training does not depend on it.
        convert: does it.
        says: for the table in the documentation.
    """

    names: tuple[str, ...]
    keys: tuple[str, ...]
    convert: Callable[[Conversion], None]
    says: str = ""


def rows_of(names: str, keys: str = "", says: str = "") -> Callable[[Callable], Row]:
    """Make a row of a function; names and keys are given as words of one text."""
    return lambda convert: Row(tuple(names.split()), tuple(keys.split()), convert, says)


STAGES = "all stages of a cascade share this here: the first one's value was taken"


def same(
    name: str,
    key: str,
    via: Callable[[object], object] = lambda value: value,
    default: object = None,
    says: str = "",
) -> Row:
    """A key whose value is taken as it is, or by a formula.

    Args:
        default: what mmdetection takes where the key is not there; None: ours is left as it is.
    """

    def convert(conversion: Conversion) -> None:
        nodes = conversion.nodes(name)
        if nodes:
            conversion.set(key, via(plain(nodes[0])), nodes[0])
        elif default is not None:
            conversion.set(key, via(default))
        for other in nodes[1:]:
            conversion.use(other)
            if plain(other) != plain(nodes[0]):
                conversion.lack(other, STAGES)

    return Row((name,), (key,), convert, says)


def always(name: str, *allowed: object, advice: str = "") -> Row:
    """A key that has one meaning here; another value has no counterpart."""

    def convert(conversion: Conversion) -> None:
        nodes = conversion.nodes(name)
        for node in nodes:
            conversion.use(node)
            if plain(node) not in allowed:
                said = f"here it is {allowed[0]!r}" if len(allowed) == 1 else f"here: {allowed}"
                conversion.lack(node, advice or said)

    return Row((name,), (), convert)


def shared_by(first: str, others: str, key: str, advice: str) -> Row:
    """Two keys that are one number here: that of the first path, whose other value is told.

    Args:
        first, others: paths; the first one that is there has the value.
        advice: where they differ.
    """

    @rows_of(f"{others} {first}", key, "one for training and use")
    def row(conversion: Conversion) -> None:
        given = [n for n in (conversion.take(path) for path in (first, others)) if n is not None]
        if given:
            conversion.set(key, float(given[0].value), given[0])
        if len(given) == 2 and given[0].value != given[1].value:
            conversion.lack(given[1], advice)

    return row


def unneeded(*names: str) -> list[Row]:
    """Keys that training and results do not depend on here."""

    def make(name: str) -> Row:
        return Row((name,), (), lambda conversion: conversion.use(*conversion.nodes(name)))

    return [make(name) for name in names]


def _is_list(node: Node) -> bool:
    return isinstance(node.value, (list, tuple))
