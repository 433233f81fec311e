"""Every image of a dataset decoded, in parallel, and images that are there more than once."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from hrnet_det.data.coco_values import examples, shown
from hrnet_det.data.findings import Finding
from hrnet_det.data.images import (
    DAMAGE,
    MOST_PIXELS,
    load,
    open_image,
    problem_of,
    too_large,
)

AT_ONCE, AHEAD = 8, 32  # images of a thread's task, and tasks that are handed out at once
ROWS = 16  # of pixels that tell whether two images may be the same


class Place(NamedTuple):
    """The name of an image's dataset, and its id there."""

    dataset: str
    image: int


@dataclass(frozen=True)
class Decoded:
    """What decoding an image has shown.

    Attributes:
        kind: format and mode, such as "JPEG RGB"; "" if it cannot be opened.
        digest: of its size, its mode and some rows of its pixels; b"" if it cannot be decoded.
        problem: what is wrong with it, "" if nothing.
    """

    kind: str = ""
    digest: bytes = b""
    problem: str = ""


def decode(path: str | Path, most: int = MOST_PIXELS) -> Decoded:
    """Read and decode an image of at most so many pixels, of several pages the first."""
    kind = ""
    try:
        with open_image(path) as image:
            kind = f"{image.format} {image.mode}"
            if problem := too_large(image, most):
                return Decoded(kind, problem=problem)
            load(image)
            return Decoded(kind, _digest(image, rows=ROWS))
    except DAMAGE as error:
        return Decoded(kind, problem=problem_of(error))


def _digest(image: Image.Image, *, rows: int) -> bytes:
    """A hash of an image's size, mode and so many rows of its pixels, spread over its height."""
    width, height = image.size
    found = hashlib.sha1(f"{width}x{height} {image.mode}".encode(), usedforsecurity=False)
    for i in range(min(rows, height)):
        top = i * height // min(rows, height)
        found.update(image.crop((0, top, width, top + 1)).tobytes())
    return found.digest()


def decode_all(
    paths: Iterable[str], *, workers: int | None = None, most: int = MOST_PIXELS
) -> Iterator[Decoded]:
    """What `decode` says of each path, in order. Pillow decodes outside of Python's lock.

    Args:
        most: pixels of an image that is decoded.
        workers: threads; by default one for each core.
    """
    workers = workers or os.cpu_count()
    waiting = iter(paths)
    with ThreadPoolExecutor(workers) as threads:
        while parts := [part for _ in range(AHEAD) if (part := list(islice(waiting, AT_ONCE)))]:
            for found in threads.map(lambda part: [decode(path, most) for path in part], parts):
                yield from found


def damaged(
    paths: Mapping[int, str], found: Mapping[int, Decoded], known: Collection[int]
) -> Iterator[Finding]:
    """An error that counts the images of a dataset which cannot be decoded, if there are any.

    Args:
        paths, found: of each image id its file, and what decoding has shown.
        known: ids of images that another error names.
    """
    wrong = {n: image.problem for n, image in found.items() if image.problem and n not in known}
    if wrong:
        reasons = examples(f"{shown(paths[n])} {problem}" for n, problem in wrong.items())
        text = f"{len(wrong)} of {len(paths)} images cannot be decoded: restore or remove them"
        yield Finding("images-damaged", "error", f"{text}: {reasons}", images=tuple(wrong))


def same_pixels(paths: Mapping[Place, str], found: Mapping[Place, Decoded]) -> list[list[Place]]:
    """Groups of images that have the same pixels, in the order of their first ones.

    Those with the same digest are decoded once more, and compared by all of their pixels; places
    that share a file are of one image.
    """
    groups = []
    for likely in _grouped((place, image.digest) for place, image in found.items() if image.digest):
        files = {paths[place]: b"" for place in likely}
        if len(files) > 1:
            files = {path: _whole_digest(path) for path in files}
        groups += _grouped((place, files[paths[place]]) for place in likely)
    return groups


def _whole_digest(path: str) -> bytes:
    with open_image(path) as image:
        load(image)
        return _digest(image, rows=image.height)


def _grouped(places: Iterable[tuple[Place, Hashable]]) -> list[list[Place]]:
    """Those that share a value with others."""
    groups = defaultdict(list)
    for place, value in places:
        groups[value].append(place)
    return [group for group in groups.values() if len(group) > 1]
