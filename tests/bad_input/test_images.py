"""Images that cannot be read: damaged, far too large, elsewhere than in their folder."""

import copy
import io
import json
import os
import struct
import zlib

import pytest
from helpers.own_json import HEIGHT, WIDTH, changed, write_images
from helpers.refusals import refusal
from PIL import Image

from hrnet_det.check_data.decoding import decode
from hrnet_det.data.coco_json import CocoJson
from hrnet_det.data.images import MOST_PIXELS, probe
from hrnet_det.data.pixels import read_pixels


def encoded(kind, **options):
    raw = io.BytesIO()
    Image.effect_noise((WIDTH, HEIGHT), 50).convert("RGB").save(raw, kind, **options)
    return raw.getvalue()


def png(width, height, *, end=True):
    """A PNG of a few bytes that says it is of this size."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + (chunk(b"IEND", b"") if end else b"")
    return b"\x89PNG\r\n\x1a\n" + head + body


UNKNOWN, TRUNCATED = "is not an image that Pillow can read", "is truncated"
JPEG, PNG = encoded("JPEG"), encoded("PNG")
LARGE = "of another width and height than the json says"
# The bytes of an image file, and what is said of it.
FILES = {
    "empty": (b"", UNKNOWN),
    "a text": (b"hello world", UNKNOWN),
    "a JSON": (b'{"a": 1}', UNKNOWN),
    "NUL bytes": (b"\0" * 1000, UNKNOWN),
    "an HTML page": (b"<!DOCTYPE html><html></html>", UNKNOWN),
    "an SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UNKNOWN),
    "the beginning of a JPEG": (JPEG[:20], UNKNOWN),
    "half a JPEG": (JPEG[: len(JPEG) // 2], TRUNCATED),
    "a JPEG without its last byte": (JPEG[:-10], TRUNCATED),
    "the beginning of a PNG": (PNG[:8], UNKNOWN),
    "half a PNG": (PNG[: len(PNG) // 2], TRUNCATED),
    "a PNG of 0 x 0": (png(0, 0), UNKNOWN),
    "half a GIF": (encoded("GIF")[:200], ""),
    "half a BMP": (encoded("BMP")[:500], TRUNCATED),
    "half a TIFF": (encoded("TIFF")[:500], ""),
    "half a WebP": (encoded("WEBP")[:100], ""),
    "half a PPM": (encoded("PPM")[:500], ""),
    "a bomb of 10^10 pixels": (png(10**5, 10**5), LARGE),
    "a bomb that is cut": (png(10**5, 10**5, end=False), LARGE),
    "a bomb of 2^62 pixels": (png(2**31 - 1, 2**31 - 1, end=False), LARGE),
}
# The file_name of the first image, and what is said; {0} is the folder of images.
NAMES = {
    "an absolute text": ("{0}/../secret.txt", UNKNOWN),
    "a text above": ("../secret.txt", UNKNOWN),
    "a text far above": ("../" * 40 + "etc/passwd", UNKNOWN),
    "a password file": ("/etc/passwd", UNKNOWN),
    "nothing": ("no.png", "are not in {0}: 'no.png'"),
    "an empty name": ("", "are not in {0}: ''"),
    "the folder itself": (".", "are not in {0}: '.'"),
    "the root": ("/", "are not in {0}: '/'"),
    "a device": ("/dev/zero", "are not in {0}: '/dev/zero'"),
    "standard input": ("/dev/stdin", "are not in {0}: '/dev/stdin'"),
    "the memory": ("/proc/self/mem", "'/proc/self/mem' is damaged"),
    "a pipe": ("pipe.png", "are not in {0}: 'pipe.png'"),
    "a loop of links": ("loop.png", "are not in {0}: 'loop.png'"),
    "a link to nothing": ("broken.png", "are not in {0}: 'broken.png'"),
    "NUL": ("a\0b.png", "are not in {0}: "),
    "5,000 letters": ("x" * 5000, "are not in {0}: "),
}
TABLE = {**FILES, **NAMES, "a bomb whose json is right": None, "a bomb to detect in": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    write_images(folder / "images")
    (folder / "secret.txt").write_text("no image")
    (folder / "images" / "loop.png").symlink_to("pool.png")
    (folder / "images" / "pool.png").symlink_to("loop.png")
    (folder / "images" / "broken.png").symlink_to("gone.png")
    (folder / "images" / "here").symlink_to(".")
    os.mkfifo(folder / "images" / "pipe.png")
    return folder


def read(folder, content):
    path = folder / "own.json"
    path.write_text(json.dumps(content))
    flags = {"masks": False, "keypoints": False, "evaluated": False}
    return CocoJson(path, folder / "images", **flags)


@pytest.mark.parametrize("name", FILES)
def test_files(name, folder):
    raw, said = FILES[name]
    path = folder / "images" / "bad.png"
    path.write_bytes(raw)
    content = changed("images.0.file_name", "bad.png")
    message = refusal(lambda: read(folder, content).raise_errors())
    assert message.startswith(f"{folder}/own.json ") and "'bad.png' " in message and said in message
    if said != LARGE:  # that is refused by its size
        assert refusal(read_pixels, path, "RGB").startswith(f"{path} ")
        assert decode(path).problem and probe(path).problem


@pytest.mark.parametrize("name", NAMES)
def test_names(name, folder):
    given, said = (text.replace("{0}", f"{folder}/images") for text in NAMES[name])
    content = changed("images.0.file_name", given)
    assert said in refusal(lambda: read(folder, content).raise_errors())


def test_images_elsewhere_are_read_and_said(folder):
    for given in (str(folder / "images" / "1.png"), "../images/1.png", "here/here/1.png"):
        assert not read(folder, changed("images.0.file_name", given)).findings
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "elsewhere.png")
    for given in (str(folder / "elsewhere.png"), "../elsewhere.png"):
        file = read(folder, changed("images.0.file_name", given)).raise_errors()
        (said,) = file.findings
        assert said.severity == "warning" and said.text == (
            f"1 of 3 images have a 'file_name' that leads out of {folder}/images: they are read "
            f"where it leads: {given!r}"
        )


def test_bombs_are_not_decoded(folder):
    path = folder / "images" / "bomb.png"
    side = 50_000
    for end in (True, False):
        path.write_bytes(png(side, side, end=end))
        content = copy.deepcopy(changed("images.0.file_name", "bomb.png"))
        content["images"][0].update(height=side, width=side)
        read(folder, content).raise_errors()  # INPUT.MAX_PIXELS is compared by fit_pixels
        message = refusal(read_pixels, path, "RGB")
        assert message == (
            f"{path} has 50000x50000 pixels, more than INPUT.MAX_PIXELS {MOST_PIXELS}: raise it "
            "(--max-pixels), if you trust the file and have the memory, or cut the image into tiles"
        )
        assert decode(path).problem in message
