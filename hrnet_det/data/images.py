"""Image files: what their headers say, and whether they are whole."""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from hrnet_det.data.image_ends import ends_well

MOST_PIXELS = 178_956_970  # of an image: where Pillow's own limit, twice its warning, is an error
ORIENTATION = 0x0112  # the EXIF tag
TURNED = (5, 6, 7, 8)  # values of it that swap width and height
FIRST_IS_WHOLE = ("MPO",)  # what follows the first image are the previews of a camera
# What Pillow raises for files that are damaged.
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError)
DAMAGE += (AttributeError, AssertionError, RuntimeError, MemoryError, struct.error, zlib.error)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What the header of an image file says.

    Args:
        width, height: pixels, turned as the EXIF data says: 0 where that is not known.
        mode: Pillow's, such as "RGB" or "I;16".
        bits: of one sample: 1, 8, 16 or 32.
        pages: images in the file, of which the first is read.
        orientation: of the EXIF data, 1 to 8; 1 is upright.
        problem: what keeps it from being read, such as "is truncated"; "" for nothing.
    """

    path: str
    width: int = 0
    height: int = 0
    mode: str = ""
    bits: int = 8
    pages: int = 1
    orientation: int = 1
    problem: str = ""

    @property
    def deep(self) -> bool:
        """Whether a sample has more than 8 bits."""
        return self.bits > 8

    @property
    def depth(self) -> str:
        """In words: "8 bits", "16 bits", "32 bits" or "floats"."""
        return "floats" if self.mode.startswith("F") else f"{self.bits} bits"

    @property
    def turned(self) -> bool:
        """Whether its EXIF data swaps width and height."""
        return self.orientation in TURNED


def probe(path: str | Path) -> ImageFacts:
    """What an image's header says, without decoding it.

    A JPEG, PNG, GIF, TIFF or WebP whose end is not there is decoded to decide whether it is
    damaged, as are those in formats without a mark at their end, up to MOST_PIXELS.
    """
    path = str(path)
    try:
        with open_image(path) as image:
            mode, bits = image.mode, bits_of(image)  # which are other ones once it is decoded
            orientation = orientation_of(image)
            width, height = _stored_size(image)[:: -1 if orientation in TURNED else 1]
            pages = 1 if image.format in FIRST_IS_WHOLE else getattr(image, "n_frames", 1)
            facts = (width, height, mode, bits, pages, orientation)
            sideways = image.format == "TIFF" and orientation in TURNED  # see `load`
            whole = ends_well(image, path) and not sideways
            problem = "" if whole or width * height > MOST_PIXELS else decode(path)
            return ImageFacts(path, *facts, problem)
    except DAMAGE as error:
        return ImageFacts(path, problem=problem_of(error))


def probe_all(paths: Iterable[str | Path]) -> list[ImageFacts]:
    """`probe` of each path, in order, by several threads."""
    with ThreadPoolExecutor(min(16, 2 * (os.cpu_count() or 1))) as threads:
        return list(threads.map(probe, paths))


def decode(path: str | Path) -> str:
    """What is wrong with an image, of which all is decoded (of several pages the first).

    Returns: "is truncated" or the like; "" if it is whole.
    """
    try:
        with open_image(path) as image:
            load(image)
    except DAMAGE as error:
        return problem_of(error)
    return ""


def too_large(image: Image.Image, most: int) -> str:
    """What is wrong with an image of more than so many pixels; "" if it has not as many."""
    width, height = image.size
    if width * height <= most:
        return ""
    return (
        f"has {width}x{height} pixels, more than INPUT.MAX_PIXELS {most}: raise it (--max-pixels), "
        "if you trust the file and have the memory, or cut the image into tiles"
    )


class SidewaysError(OSError):
    """A TIFF that Pillow decodes by the wrong width."""


def load(image: Image.Image) -> None:
    """Decode a PIL image; a TIFF is turned by that as it says, and has no orientation any more.

    Raises: those of DAMAGE.
    """
    size = image.size
    image.load()
    if image.format == "TIFF" and image.size != size:
        raise SidewaysError(
            "is a TIFF that lies on its side and is not compressed, which Pillow reads wrongly: "
            "save it upright"
        )


def problem_of(error: Exception) -> str:
    """What an error of Pillow's says of a file, such as "is truncated"."""
    if isinstance(error, UnidentifiedImageError):
        return "is not an image that Pillow can read"
    if isinstance(error, FileNotFoundError):
        return "is not there"
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, SidewaysError):
        return reason
    return "is truncated" if "truncated" in reason.lower() else f"is damaged ({reason})"


class _Limit:
    """Pillow's limit of pixels, lifted while files are opened, by threads at the same time.

    It is infinite then, and not None as Pillow has it for no limit: what another thread cuts out
    of an image at that moment is compared with it after Pillow has seen that there is one.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, inf
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                Image.MAX_IMAGE_PIXELS = self._before


_LIMIT = _Limit()


@contextmanager
def open_image(path: str | Path) -> Iterator[Image.Image]:
    """A Pillow image of any number of pixels; who decodes it has to ask how many there are."""
    with _LIMIT:
        image = Image.open(path)
    with image:
        yield image


def orientation_of(image: Image.Image) -> int:
    """That of its EXIF data, 1 to 8; 1 without any that can be read, as Detectron2 takes it."""
    try:
        is_png, named = image.format == "PNG", getattr(image, "filename", "")
        late = is_png and (not named or b"eXIf" in _chunks_behind(image))
        # Of a PNG `image.getexif` decodes all to see what is behind the pixels.
        exif = image.getexif() if late else Image.Image.getexif(image)
        value = exif.get(ORIENTATION, 1)
    except DAMAGE:
        return 1
    return value if value in range(1, 9) else 1


def _chunks_behind(image: Image.Image) -> set[bytes]:
    """The names of a PNG's chunks from its pixels on; none where they cannot be followed."""
    names: set[bytes] = set()
    if not image.tile:  # it is decoded
        return names
    with open(image.filename, "rb") as file:
        file.seek(image.tile[0].offset - 8)
        while len(head := file.read(8)) == 8:
            names.add(head[4:])
            file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
    return names


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """Width and height before it is turned, which Pillow does to a TIFF's when it opens it."""
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    return tags.get(256, image.width), tags.get(257, image.height)


def bits_of(image: Image.Image) -> int:
    """Of one sample in the file: Pillow's RGB modes would keep the upper 8 of 16."""
    if image.mode.startswith(("I;16", "I", "F")):
        return 16 if image.mode.startswith("I;16") else 32
    coded = str(image.tile[0].args) if getattr(image, "tile", None) else ""
    if ";16" in coded:
        return 16
    return 1 if image.mode == "1" else 8
