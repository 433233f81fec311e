"""What a file is, an image or a video, by how it begins and else by the end of its name."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import Image

IMAGE, VIDEO, OTHER = "image", "video", ""
HEAD = 189  # bytes that are looked at: the second packet of an MPEG transport stream begins at 188
# Formats that Pillow names but reads only with another program, or not at all.
_STUBS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv"}
VIDEO_SUFFIXES |= {".ogv", ".3gp", ".mts", ".m2ts", ".mjpeg"}
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"qoif")
_IMAGES += (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"8BPS", b"DDS ")
_VIDEOS = (b"\x1aE\xdf\xa3", b"0&\xb2u\x8ef\xcf\x11", b"FLV\x01", b"\0\0\x01\xba", b"\0\0\x01\xb3")
# Of ISO's base media format, which begins with its size, "ftyp" and a brand.
_IMAGE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heif", b"mif1", b"msf1")
_SOUND_BRANDS = (b"M4A ", b"M4B ", b"M4P ")


@cache
def image_suffixes() -> frozenset[str]:
    """The ends of names, in small letters, of images that can be read."""
    known = Image.registered_extensions().items()
    return frozenset(end for end, kind in known if kind in Image.OPEN and kind not in _STUBS)


def kind_of_file(path: Path) -> str:
    """IMAGE, VIDEO, or OTHER for a file that is neither.

    Raises: OSError if it cannot be opened.
    """
    with open(path, "rb") as file:
        kind = kind_of_bytes(file.read(HEAD))
    suffix = path.suffix.lower()
    if kind or suffix in VIDEO_SUFFIXES:
        return kind or VIDEO
    return IMAGE if suffix in image_suffixes() else OTHER


def kind_of_bytes(head: bytes) -> str:
    """IMAGE or VIDEO, where a file's first HEAD bytes tell it; else OTHER."""
    brand = head[8:12]
    if head[4:8] == b"ftyp":
        if brand in _IMAGE_BRANDS:
            return IMAGE
        return OTHER if brand in _SOUND_BRANDS else VIDEO
    if head.startswith(b"RIFF"):
        return {b"WEBP": IMAGE, b"AVI ": VIDEO}.get(brand, OTHER)
    bitmap = head.startswith(b"BM") and head[6:10] == bytes(4)
    if bitmap or head.startswith(_IMAGES):
        return IMAGE
    stream = len(head) == HEAD and head[0] == head[188] == 0x47
    return VIDEO if stream or head.startswith(_VIDEOS) else OTHER


def stem_of(name: str) -> str:
    """A file's name without the end that says what it is: street of street.jpg, all of scan.v2."""
    path = Path(name)
    known = image_suffixes() | VIDEO_SUFFIXES
    return path.stem if path.suffix.lower() in known else path.name
