"""The functions and methods that expressions of a config may call: they compute, and do no more."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TypeVar

from hrnet_det.convert_config.nodes import MOST_ITEMS, Node, copied, merged, plain
from hrnet_det.errors import shown

MOST_WIDTH = 100  # of a formatted number
T = TypeVar("T")


def formatted(value: object, spec: str) -> str:
    """format(), of a width that a config could have. Raises: ValueError for another one."""
    if any(int(width) > MOST_WIDTH for width in _numbers(spec)):
        raise ValueError(f"{spec!r} is too wide")
    return format(value, spec)


_PLACES = re.compile(r"%(?:%|(?:\(\w*\))?[-+ #0]*(\d*)(\*?)(?:\.(\d*)(\*?))?)")


def filled_in(text: str, values: object) -> str:
    """`text % values`, of widths that a config could have. Raises: ValueError for another one."""
    for width, star, digits, other in _PLACES.findall(text):
        if star or other or any(int(n[:9]) > MOST_WIDTH for n in (width, digits) if n):
            raise ValueError(f"{shown(text)} is too wide")
    _check_length(text, "%", values)
    return text % values


def _check_length(text: str, sign: str, values: object) -> None:
    """Raises: ValueError if each of the signs in a text may become more than a config has."""
    if len(text) + text.count(sign) * len(str(values)) > MOST_ITEMS:
        raise ValueError("the text is too long for a config")


def _numbers(text: str) -> list[str]:
    words = "".join(c if c.isdigit() else " " for c in text).split()
    return [word[:9] for word in words]


def _on_plain(function: Callable) -> Callable:
    """A function of values, called with Nodes."""

    def call(*arguments: Node, **options: Node) -> object:
        return function(
            *(plain(node) for node in arguments), **{k: plain(v) for k, v in options.items()}
        )

    return call


def _dict(*arguments: Node, **options: Node) -> dict[str, Node]:
    made: dict[str, Node] = {}
    for node in arguments:
        if isinstance(node.value, dict):
            made.update(node.value)
        else:
            made.update((plain(key), item) for key, item in (pair.value for pair in node.value))
    return {**made, **options}


def _range(*ends: int) -> list[int]:
    numbers = range(*ends)
    if len(numbers) > MOST_ITEMS:
        raise ValueError(f"{len(numbers)} numbers are too many for a config")
    return list(numbers)


def _sequence(kind: type[T]) -> Callable[..., T]:
    return lambda *nodes: kind(nodes[0].value) if nodes else kind()


BUILTINS: dict[str, Callable] = {
    "dict": _dict,
    "list": _sequence(list),
    "tuple": _sequence(tuple),
    "len": lambda node: len(node.value),
    "range": _on_plain(_range),
    **{f.__name__: _on_plain(f) for f in (int, float, str, bool, abs, round, min, max, sum)},
    "sorted": _on_plain(sorted),
    "zip": lambda *nodes: list(zip(*(node.value for node in nodes), strict=False)),
    "enumerate": lambda node, *start: list(enumerate(node.value, *(s.value for s in start))),
    "reversed": lambda node: list(reversed(node.value)),
}
IMPORTED: dict[str, Callable] = {
    "copy.deepcopy": lambda node: copied(node),
    "copy.copy": lambda node: Node(node.value.copy(), node.place),
    "os.path.join": _on_plain(os.path.join),
    "os.path.basename": _on_plain(os.path.basename),
    "os.path.dirname": _on_plain(os.path.dirname),
}


def _update(owner: Node, *others: Node, **options: Node) -> None:
    """dict.update; a dict of a `_base_` file is mmengine's, whose dicts inside are updated too."""
    for other in (*(node.value for node in others), options):
        for key, node in dict(other).items():
            before = owner.value.get(key)
            both = before is not None and isinstance(before.value, dict)
            if both and isinstance(node.value, dict) and before.place.path != node.place.path:
                _update(before, node)
            else:
                owner.value[key] = node


def _merge(owner: Node, other: Node) -> None:
    owner.value.update(merged(other, owner).value)


def _replace(text: str, old: str, new: str) -> str:
    if (len(text) + 1) * (len(new) + 1) > MOST_ITEMS:
        raise ValueError("the text is too long for a config")
    return text.replace(old, new)


def _join(text: str, parts: list[str]) -> str:
    if len(text) * len(parts) + sum(map(len, parts)) > MOST_ITEMS:
        raise ValueError("the text is too long for a config")
    return text.join(parts)


def _extend(owner: Node, other: Node) -> None:
    if len(owner.value) + len(other.value) > MOST_ITEMS:
        raise ValueError("the list is too long for a config")
    owner.value.extend(other.value)


_TEXT = ("lower", "upper", "strip", "lstrip", "rstrip", "split", "startswith", "endswith")
_METHODS: dict[type, dict[str, Callable]] = {
    str: {
        **{name: _on_plain(getattr(str, name)) for name in _TEXT},
        "replace": _on_plain(_replace),
        "join": _on_plain(_join),
    },
    list: {
        "append": lambda owner, node: owner.value.append(node),
        "extend": _extend,
        "insert": lambda owner, at, node: owner.value.insert(at.value, node),
        "pop": lambda owner, *at: owner.value.pop(*(node.value for node in at)),
        "copy": lambda owner: list(owner.value),
        "index": lambda owner, node: plain(owner).index(plain(node)),
    },
    tuple: {"index": lambda owner, node: plain(owner).index(plain(node))},
    dict: {
        "update": _update,
        "merge": _merge,
        "pop": lambda owner, key, *other: owner.value.pop(key.value, *other),
        "get": lambda owner, key, *other: owner.value.get(key.value, *other),
        "setdefault": lambda owner, key, node: owner.value.setdefault(key.value, node),
        "copy": lambda owner: dict(owner.value),
        "keys": lambda owner: list(owner.value),
        "values": lambda owner: list(owner.value.values()),
        "items": lambda owner: list(owner.value.items()),
    },
}


def method(owner: Node, name: str) -> Callable | None:
    """A method of a value; None where a config may not call it, or the value has none."""
    if isinstance(owner.value, str) and name == "format":
        return _format
    return _METHODS.get(type(owner.value), {}).get(name)


def _format(owner: Node, *arguments: Node, **options: Node) -> str:
    """str.format of names and numbers alone: no attributes, no widths."""
    text = owner.value
    if any(sign in part.split("}")[0] for part in text.split("{")[1:] for sign in ".[:!"):
        raise ValueError(f"{text!r}: only plain {{}} and {{name}} are filled in")
    _check_length(text, "{", [plain(node) for node in (*arguments, *options.values())])
    return _on_plain(str.format)(owner, *arguments, **options)
