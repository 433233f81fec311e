"""Fonts of what is written on images: one that has the letters of the text."""

from __future__ import annotations

import logging
from functools import cache, lru_cache
from pathlib import Path

import matplotlib
from matplotlib.font_manager import findSystemFonts
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

logger = logging.getLogger("detectron2.hrnet_det")
# Pillow's own font has ASCII alone; this one has the letters of Europe and Arabic as well.
FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
CUT = "…"  # in the place of what is left out of a long text


@lru_cache(maxsize=64)
def font(size: int, path: Path | str = FONT) -> ImageFont.FreeTypeFont:
    """A font, `size` pixels high."""
    return ImageFont.truetype(path, size)


def font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """The usual font, or where it lacks letters of a text, one of this machine that has them."""
    return font(size, _path_for(text) or FONT)


def can_write(text: str) -> bool:
    """Whether there is a font for all letters of a text; the first time that not, it is said."""
    if _path_for(text):
        return True
    _say_once()
    return False


def shortened(text: str, width: float, size: int) -> str:
    """A text of at most a width in pixels: of a longer one as much of the start as fits."""
    letters = font_for(text, size)
    if letters.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:  # the most letters that fit
        middle = (low + high + 1) // 2
        fits = letters.getlength(text[:middle].rstrip() + CUT) <= width
        low, high = (middle, high) if fits else (low, middle - 1)
    return text[:low].rstrip() + CUT if low else ""


@lru_cache(maxsize=1024)
def _path_for(text: str) -> Path | str | None:
    """A font that has all letters of a text; None if there is none."""
    needed = {ord(letter) for letter in text if letter.isprintable() and not letter.isspace()}
    for path in (FONT, *_others()) if needed - _letters(FONT) else (FONT,):
        if needed <= _letters(path):
            return path
    return None


@cache
def _others() -> list[str]:
    """The fonts of this machine."""
    return sorted(findSystemFonts())


@cache
def _letters(path: Path | str) -> frozenset[int]:
    """The letters that a font has at any size; none if it cannot be read."""
    try:
        letters = frozenset(FT2Font(str(path)).get_charmap())
        ImageFont.truetype(path, 12)
    except (OSError, RuntimeError):
        return frozenset()
    return letters


@cache
def _say_once() -> None:
    logger.warning(
        "no font of this machine has all letters of the names of classes: numbers are drawn for "
        "them; install a font that has them, such as Noto Sans CJK"
    )
