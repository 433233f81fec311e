"""What a value of a config may be, as a rule that tells it and says it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """What a value may be.

    Args:
        is_right: tells it.
        words: the same, at the end of a message.
    """

    is_right: Callable[[object], bool]
    words: str


def number(low: float, high: float = math.inf, *, whole: bool = False, ends: str = "[]") -> Rule:
    """A number from low to high; "(" and ")" in `ends` exclude these."""

    def is_right(value: object) -> bool:
        if type(value) not in ((int,) if whole else (int, float)):
            return False
        above = value > low if ends[0] == "(" else value >= low
        return above and (value < high if ends[1] == ")" else value <= high)

    kind = "a whole number" if whole else "a number"
    limits = []
    if low > -math.inf:
        limits.append(f"{'above' if ends[0] == '(' else 'at least'} {low:.15g}")
    if high < math.inf:
        limits.append(f"{'below' if ends[1] == ')' else 'at most'} {high:.15g}")
    return Rule(is_right, f"{kind} {' and '.join(limits)}".rstrip())


def several(rule: Rule, least: int = 1, most: float = math.inf, *, rising: bool = False) -> Rule:
    """A list of values that are right by a rule, each larger than the one before if `rising`."""

    def is_right(value: object) -> bool:
        if not isinstance(value, (list, tuple)) or not least <= len(value) <= most:
            return False
        if not all(map(rule.is_right, value)):
            return False
        return not rising or all(a < b for a, b in itertools.pairwise(value))

    count = f"{least} values" if least == most else "a list"
    count += " of at least one value" if least == 1 and least != most else ""
    return Rule(is_right, f"{count}{', rising' if rising else ''}, each {rule.words}")


def one_of(*known: object) -> Rule:
    shown = (repr(value) if value == "" else str(value) for value in known)
    return Rule(lambda value: value in known, f"one of {', '.join(shown)}")


def either(empty: object, rule: Rule, words: str) -> Rule:
    """A value that stands for nothing, or one that is right by a rule."""
    return Rule(lambda value: value == empty or rule.is_right(value), f"{rule.words}, or {words}")


def are_different_names(value: object) -> bool:
    texts = isinstance(value, (list, tuple)) and all(isinstance(v, str) and v for v in value)
    return texts and len(value) > 0 and len(set(value)) == len(value)


def is_result(value: object) -> bool:
    """[task, metric, value, tolerance], as Detectron2 compares results with."""
    kinds = (str, str, (int, float), (int, float))
    is_row = isinstance(value, (list, tuple)) and len(value) == len(kinds)
    return is_row and all(map(isinstance, value, kinds))
