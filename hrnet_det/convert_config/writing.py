"""The YAML config that a conversion ends in, with its comments."""

from __future__ import annotations

import json
from collections.abc import Iterable

from hrnet_det.convert_config.conversion import Chosen, Lacking
from hrnet_det.convert_config.counterparts import Base
from hrnet_det.convert_config.nodes import Node

WIDTH = 100


def value_text(value: object) -> str:
    """A value as YAML has it on one line."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(value_text, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "True", False: "False", None: "null"}[value]
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


OWN = {  # why a base's own keys are stated
    "MODEL.CONVENTIONS": "images, matching, losses and results by mmdetection's rules",
    "SOLVER.RECIPE": "mmdetection's optimiser and schedule for this detector",
}


def document(header: Iterable[str], base: Base, values: dict[str, Chosen]) -> str:
    """The text of a config.

    Args:
        header: lines of comments.
        values: by our keys, in their order.
    """
    lines = [f"# {line}".rstrip() for line in header]
    lines.append(f"_BASE_: {json.dumps(base.name, ensure_ascii=False)}")
    values = {key: Chosen(value, (), OWN[key]) for key, value in base.own.items()} | values
    tree: dict = {}
    for key, chosen in values.items():
        *groups, name = key.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = chosen
    return "\n".join([*lines, *_lines(tree, 0)]) + "\n"


def _lines(tree: dict, depth: int) -> list[str]:
    lines = []
    for name, value in tree.items():
        indent = "  " * depth
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", *_lines(value, depth + 1)]
            continue
        text, why = f"{indent}{name}: {value_text(value.value)}", comment(value)
        if why and len(text) + len(why) + 4 > WIDTH:
            lines += [f"{indent}# {why}", text]
        else:
            lines.append(f"{text}  # {why}" if why else text)
    return lines


def comment(chosen: Chosen) -> str:
    """Where a value is from, and what was decided."""
    names = ", ".join(f"{node.name}, {_short(node)}" for node in chosen.sources[:1])
    return "; ".join(part for part in (names, chosen.why) if part)


def _short(node: Node) -> str:
    """The line without folders."""
    return f"{node.place.path.name}:{node.place.line}"


def lacking_lines(lacking: Iterable[Lacking]) -> list[str]:
    """What has no counterpart, one line each."""
    return [" ".join(str(item).split()) for item in lacking]
