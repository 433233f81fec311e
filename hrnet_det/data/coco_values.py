"""What the values of a COCO json may be (https://cocodataset.org/#format-data)."""

from __future__ import annotations

import itertools
import math
import re
import reprlib
from collections.abc import Callable, Iterable

import numpy as np

Content = dict[str, list[dict]]  # of a json: its lists and their rows
LARGEST = 2.0**20  # pixels: of a side or a coordinate, far beyond every image
# Square pixels, and those of run lengths. pycocotools counts in 32 bits and ends the process where
# that does not suffice, as at coordinates of 10^8 and NaN.
LARGEST_AREA = 2.0**31

# Line breaks, tabs, escapes, ...: no font has them, and some end the layout of a text.
_CONTROLS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]+")
_SHORT = reprlib.Repr()  # values cut short, as JSON has them where that differs from Python
_SHORT.maxlist, _SHORT.maxstring, _SHORT.maxlong = 8, 200, 60
_SHORT.repr_NoneType = lambda _, __: "null"
_SHORT.repr_bool = lambda value, _: str(value).lower()

# A key of rows, what tells its right values, these in words, and whether every row needs the key.
Rule = tuple[str, Callable[[object], bool], str, bool]


_NUMBER, _SIDE = "a whole number", "a whole number of pixels above 0"
_POLYGONS = "a list of polygons [x1, y1, x2, y2, x3, y3, ...]"
_POINTS = "a list of x, y, visibility (0, 1 or 2)"
_MASKS = f'{_POLYGONS} or run lengths {{"size": [height, width], "counts": ...}}'


def is_id(value: object) -> bool:
    """A whole number of 64 bits."""
    return type(value) is int and -(2**63) <= value < 2**63


def is_count(value: object) -> bool:
    return is_id(value) and value >= 0


def is_side(value: object) -> bool:
    return is_id(value) and 0 < value < LARGEST


def is_text(value: object) -> bool:
    """Text that can be written: JSON allows halves of characters (surrogates)."""
    return isinstance(value, str) and value == value.encode("utf-8", "ignore").decode()


def is_name(value: object) -> bool:
    """Text with a letter."""
    return is_text(value) and bool(value.strip())


def are_names(value: object) -> bool:
    """None, or text without repetition."""
    is_list = isinstance(value, list) and all(map(is_text, value))
    return value is None or (is_list and len(set(value)) == len(value))


def is_flag(value: object) -> bool:
    return isinstance(value, (int, float)) and value in (0, 1)


def is_unset(value: object) -> bool:
    return is_flag(value) and not value


def are_numbers(value: object, largest: float = LARGEST) -> bool:
    """A list of finite numbers, of coordinates by default."""
    if not isinstance(value, list) or not set(map(type, value)) <= {int, float}:
        return False
    if not value:
        return True
    # Three passes in C, as jsons have tens of millions of numbers; a nan is in the sum.
    return min(value) > -largest and max(value) < largest and not math.isnan(sum(value))


def is_amount(value: object) -> bool:
    return are_numbers([value], LARGEST_AREA) and value >= 0


def is_box(value: object) -> bool:
    return are_numbers(value) and len(value) == 4 and min(value[2:]) >= 0


def are_keypoints(value: object) -> bool:
    """None, or triples of two numbers and a visibility."""
    if value is None:
        return True
    return are_numbers(value) and len(value) % 3 == 0 and set(value[2::3]) <= {0, 1, 2}


def is_segmentation(value: object) -> bool:
    """None, an empty list, polygons or run lengths."""
    if isinstance(value, dict):
        size, counts = value.get("size"), value.get("counts")
        right_size = isinstance(size, list) and len(size) == 2 and all(map(is_side, size))
        right_size = right_size and math.prod(size) < LARGEST_AREA
        if isinstance(counts, list):
            return right_size and all(map(is_count, counts))
        return right_size and isinstance(counts, str)
    return value is None or (isinstance(value, list) and all(map(_is_polygon, value)))


def _is_polygon(value: object) -> bool:
    return are_numbers(value) and len(value) >= 6 and len(value) % 2 == 0


# Of each of the json's lists, the rules for its rows.
RULES: dict[str, tuple[Rule, ...]] = {
    "categories": (
        ("id", is_id, _NUMBER, True),
        ("name", is_name, "text", True),
        ("keypoints", are_names, "a list of different names", False),
    ),
    "images": (
        ("id", is_id, _NUMBER, True),
        ("file_name", is_text, "text", True),
        ("height", is_side, _SIDE, True),
        ("width", is_side, _SIDE, True),
    ),
    "annotations": (
        ("id", is_id, _NUMBER, True),
        ("image_id", is_id, _NUMBER, True),
        ("category_id", is_id, _NUMBER, True),
        ("bbox", is_box, "[x, y, width, height] in pixels", True),
        ("iscrowd", is_flag, "0 or 1", False),
        ("ignore", is_unset, "0 (iscrowd 1 marks what is left out)", False),
        ("segmentation", is_segmentation, _MASKS, False),
        ("keypoints", are_keypoints, _POINTS, False),
        ("area", is_amount, "a number of square pixels", False),
    ),
}


def covers(segmentation: dict, height: int, width: int) -> bool:
    """Whether run lengths are of an image of this size, all of it."""
    counts = segmentation["counts"]
    runs = _uncompressed(counts) if isinstance(counts, str) else counts
    return segmentation["size"] == [height, width] and sum(runs) == height * width


def _uncompressed(counts: str) -> list[int]:
    """The run lengths of COCO's compressed ones; [] if they are not such.

    Five bits a character from the lowest on, and a sixth that says that more follow; from the
    fourth number on the difference to the last but one.
    """
    codes = np.frombuffer(counts.encode("utf-8", "replace"), np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        return []
    ends = np.flatnonzero(codes & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 7:  # 35 bits, more than the 32 of a run length
        return []
    places = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((codes & 31) << places, starts)
    runs -= np.where(codes[ends] & 16, 1 << 5 * lengths, 0)  # the highest bit is the sign
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs.tolist() if runs.min() >= 0 else []


def examples(values: Iterable[object], most: int = 3) -> str:
    """The first few, for a message."""
    first = [str(value) for value in itertools.islice(values, most + 1)]
    return ", ".join(first[:most]) + (", ..." if len(first) > most else "")


def shown(value: object) -> str:
    """A value of the json on one line, cut short; text in quotes."""
    return _SHORT.repr(value)


def on_one_line(text: str) -> str:
    """A text with a space for control characters, such as line breaks; none at its ends."""
    return _CONTROLS.sub(" ", text).strip() if _CONTROLS.search(text) else text
