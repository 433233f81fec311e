"""The pixels of images of any depth, in the 8 bits that networks are given."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from contextlib import nullcontext
from math import inf
from pathlib import Path

import numpy as np
from detectron2.data.detection_utils import convert_PIL_to_numpy
from PIL import Image

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data import images
from hrnet_det.errors import InputError, MissingInputError

Source = str | Path | Image.Image | np.ndarray
PERCENTILES = (0.1, 99.9)  # of the pixels to train on, which become black and white
SAMPLE, SEED = 100, 0  # images at most that are measured, and the seed by which they are drawn
BITS, SAMPLE_FORMAT = 258, 339  # tags of TIFF; sample format 1 is unsigned
# By EXIF orientation: whether the axes are swapped, then rows and columns reversed.
_TURNS = {
    2: (False, 1, -1), 3: (False, -1, -1), 4: (False, -1, 1), 5: (True, 1, 1),
    6: (True, 1, -1), 7: (True, -1, -1), 8: (True, -1, 1),
}  # fmt: skip


def read_pixels(
    source: Source,
    image_format: str,
    *,
    pixel_range: Sequence[float] = (),
    max_pixels: int = images.MOST_PIXELS,
) -> np.ndarray:
    """An image, (H, W, C) uint8, turned as its EXIF data says.

    Images of 8 bits a sample are as they are; grey ones, palettes and CMYK become the format's
    colours, an alpha channel is left out, and of several pages or frames the first is read. Deeper
    ones (16 bits, 32, floats) are scaled in proportion, so that low becomes 0 and high 255; what
    lies beyond is cut, and nan is 0.

    Args:
        source: a path, a PIL image, or an array (H, W), (H, W, 1) or (H, W, 3) in RGB.
        image_format: "RGB", "BGR", or another one of Detectron2's.
        pixel_range: low and high of deeper images; () if it is not known.
        max_pixels: of larger images none is decoded.
    Raises: InputError if it is no image, is too large, or deeper than 8 bits without a range;
        MissingInputError if its file is not there.
    """
    if isinstance(source, np.ndarray):
        return _in_format(_eight_bits(_checked(source), "the image", pixel_range), image_format)
    if not isinstance(source, (str, Path, Image.Image)):
        raise InputError(
            "an image is a path, a PIL image or an RGB array (H, W, 3), not a "
            f"{type(source).__name__}"
        )
    is_open = isinstance(source, Image.Image)
    name = "the image" if is_open else str(source)
    if not is_open and os.path.isdir(source):
        raise InputError(f"{source} is a folder, not an image")
    if not is_open and not os.path.isfile(source):
        raise MissingInputError(f"image {source} is not there")
    try:
        with nullcontext(source) if is_open else images.open_image(source) as image:
            return _read(image, name, image_format, pixel_range, max_pixels)
    except InputError:
        raise
    except images.DAMAGE as error:
        raise InputError(f"{name} {images.problem_of(error)}") from error


def _read(
    image: Image.Image, name: str, image_format: str, pixel_range: Sequence[float], most: int
) -> np.ndarray:
    if problem := images.too_large(image, most):
        raise InputError(f"{name} {problem}")
    if images.bits_of(image) > 8:
        return _in_format(_eight_bits(deep_pixels(image, name), name, pixel_range), image_format)
    images.load(image)
    return _turned(convert_PIL_to_numpy(image, image_format), images.orientation_of(image))


def _checked(array: np.ndarray) -> np.ndarray:
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))
    if not shaped or not array.size or array.dtype.kind not in "uifb":
        raise InputError(
            "an image as an array is (H, W) or, in RGB, (H, W, 3), of numbers; this one is "
            f"{array.shape} {array.dtype}"
        )
    return array * np.uint8(255) if array.dtype.kind == "b" else array


def deep_pixels(image: Image.Image, name: str) -> np.ndarray:
    """The samples of a PIL image of more than 8 bits, upright, (H, W) or (H, W, 3) in RGB.

    Raises: InputError for 16 bits of colour, of which Pillow keeps 8, if OpenCV is not installed.
    """
    if not image.mode.startswith(("I", "F")):
        return _deep_colours(image, name)
    tags = getattr(image, "tag_v2", {})
    unsigned = (tags.get(BITS), tags.get(SAMPLE_FORMAT, (1,))) == ((32,), (1,))
    images.load(image)
    pixels = np.asarray(image)
    if unsigned and pixels.dtype == np.int32:  # as Pillow takes whole numbers of 32 bits
        pixels = pixels.view(np.uint32)
    return _turned(pixels, images.orientation_of(image))


def _deep_colours(image: Image.Image, name: str) -> np.ndarray:
    try:
        import cv2
    except ImportError as error:
        raise InputError(
            f"{name} has 16 bits for each colour, which need OpenCV: pip install "
            "opencv-python-headless, or convert it to 8 bits"
        ) from error
    place = image.fp.tell()  # which Pillow goes on from
    image.fp.seek(0)
    content = np.frombuffer(image.fp.read(), np.uint8)
    image.fp.seek(place)
    found = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if found is None or found.ndim != 3:
        raise InputError(f"{name} has 16 bits for each colour; OpenCV cannot read it")
    colours = found[:, :, 2::-1]  # without alpha, from BGR to RGB
    # OpenCV turns TIFFs itself, and no others that it leaves unchanged.
    return colours if image.format == "TIFF" else _turned(colours, images.orientation_of(image))


def _eight_bits(pixels: np.ndarray, name: str, pixel_range: Sequence[float]) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).any():
        raise InputError(f"{name} has no finite pixel: all are nan or infinite")
    if not pixel_range:
        low, high = measured(pixels)
        raise InputError(
            f"{name} has pixels of {pixels.dtype} (from {low:g} to {high:g}, but for the outermost "
            "0.1 %), and it is not known which of them are black and white: the detector was "
            f"trained on 8 bits. Give them: --pixel-range {low:g} {high:g} (INPUT.PIXEL_RANGE "
            f'"[{low:g}, {high:g}]" in a config)'
        )
    return scaled(pixels, *pixel_range)


def scaled(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """Pixels as 8 bits: low becomes 0 and high 255; what lies beyond is cut, and nan is 0."""
    levels = (pixels.astype(np.float64) - low) * (255 / (high - low))
    return np.rint(np.clip(np.nan_to_num(levels, nan=0.0), 0, 255)).astype(np.uint8)


def _in_format(pixels: np.ndarray, image_format: str) -> np.ndarray:
    grey = pixels.ndim == 2 or pixels.shape[2] == 1
    image = Image.fromarray(pixels.reshape(pixels.shape[:2]) if grey else pixels)
    return convert_PIL_to_numpy(image, image_format)


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation not in _TURNS:
        return pixels
    swapped, rows, columns = _TURNS[orientation]
    return (pixels.swapaxes(0, 1) if swapped else pixels)[::rows, ::columns]


def measured(pixels: np.ndarray) -> tuple[float, float]:
    """Low and high of pixels, six digits of each: their PERCENTILES; of a single value 1 more."""
    finite = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels.ravel()
    ends = np.percentile(finite, PERCENTILES) if finite.size else (0, 1)
    low, high = (float(f"{end:.6g}") for end in ends)
    return low, high if low < high else low + max(1.0, abs(low) / 1000)


def measured_range(paths: Sequence[str]) -> tuple[float, float]:
    """Low and high of the pixels of deep images: of a sample, always the same one.

    Raises: InputError as `deep_pixels`.
    """
    sample = sorted(paths)
    sample = random.Random(SEED).sample(sample, min(SAMPLE, len(sample)))
    drawn = np.random.default_rng(SEED)
    parts = []
    for path in sample:
        with images.open_image(path) as image:
            pixels = deep_pixels(image, path).ravel()
        parts.append(drawn.choice(pixels, min(len(pixels), 100_000), replace=False))
    return measured(np.concatenate(parts))


def check_pixel_range(run: RunConfig) -> None:
    """Raises: InputError if INPUT.PIXEL_RANGE is no low and high, or INPUT.MAX_PIXELS no number."""
    given, most = run[settings.PIXEL_RANGE], run[settings.MAX_PIXELS]
    numbers = [value for value in given if isinstance(value, (int, float))]
    if len(given) and not (len(numbers) == len(given) == 2 and -inf < given[0] < given[1] < inf):
        raise InputError(
            f"{run.shown(settings.PIXEL_RANGE)}: give the values that become black and white, such "
            'as "[0, 65535]", or "[]": those of the images to train on are measured'
        )
    if most < 1:
        raise InputError(f"{run.shown(settings.MAX_PIXELS)}: give at least 1 pixel")
