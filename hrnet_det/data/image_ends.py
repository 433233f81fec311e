"""Whether an image file is whole, as its end says."""

from __future__ import annotations

import os
from collections.abc import Callable

from PIL import Image

TAIL = 64  # bytes that are read from a file's end


def ends_well(image: Image.Image, path: str) -> bool:
    """Whether the end of a file is where its format has it."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        rule = _ENDS.get(image.format)
        return rule is not None and rule(image, file.read(), size)


def _tiff_ends(image: Image.Image, _: bytes, size: int) -> bool:
    """Whether all strips or tiles lie within the file."""
    tags = image.tag_v2
    for starts, lengths in ((273, 279), (324, 325)):
        if starts in tags and lengths in tags:
            return all(a + n <= size for a, n in zip(tags[starts], tags[lengths], strict=False))
    return False


def _riff_ends(image: Image.Image, _: bytes, size: int) -> bool:
    with open(image.filename, "rb") as file:
        return size >= 8 + int.from_bytes(file.read(8)[4:], "little")


_ENDS: dict[str, Callable[[Image.Image, bytes, int], bool]] = {
    "JPEG": lambda _, tail, __: tail.endswith(b"\xff\xd9"),
    "PNG": lambda _, tail, __: b"IEND\xaeB`\x82" in tail,
    "GIF": lambda _, tail, __: tail.endswith(b";"),
    "TIFF": _tiff_ends,
    "WEBP": _riff_ends,
}
