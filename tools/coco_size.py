"""A generated dataset of COCO's size, and how long `hrnet-det check-data` takes for it.

`python -m tools.coco_size FOLDER` writes FOLDER/train.json, which has as many images, objects and
corners of polygons as COCO's train2017, and as many small JPEG images; then it checks them.
`--images 2000 --size 480x640` is fewer images, of COCO's own size, for the speed of decoding, which
is compared with a plain loop of Pillow's.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from hrnet_det import check_data
from hrnet_det.analysis.tables import parse_size
from hrnet_det.check_data.sources import load

IMAGES, OBJECTS, CLASSES = 118_287, 860_001, 80  # of train2017
CORNERS = 24  # of a polygon, about as many as there
QUALITY = 90
SMALL = "48x64"  # height and width: about 2 KB an image


def make_dataset(
    folder: Path, images: int, size: tuple[int, int], *, distinct: int | None = None
) -> Path:
    """Write train.json and images/. Returns: the json.

    Args:
        distinct: how many images have pixels of their own; further ones are links to these.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    smooth = _smooth_image(np.random.default_rng(0), size)
    paths = [folder / "images" / name for name in _names(images)]
    for number, path in enumerate(paths[:distinct]):
        _write_image(path, smooth, number)
    for number, path in enumerate(paths[len(paths[:distinct]) :]):
        path.hardlink_to(paths[number % distinct])
    return write_json(folder / "train.json", images, size)


def _names(images: int) -> list[str]:
    return [f"{number:012}.jpg" for number in range(1, images + 1)]


def write_json(path: Path, images: int, size: tuple[int, int]) -> Path:
    """The json alone, with objects in COCO's proportions. Returns: the path."""
    rng, names, (height, width) = np.random.default_rng(0), _names(images), size
    with path.open("w", encoding="utf-8") as file:
        rows = [
            {"id": number + 1, "file_name": name, "height": height, "width": width}
            for number, name in enumerate(names)
        ]
        categories = [{"id": n, "name": f"class {n}"} for n in range(1, CLASSES + 1)]
        file.write(f'{{"images": {json.dumps(rows)}, "categories": {json.dumps(categories)}, ')
        file.write('"annotations": [')
        objects = round(images * OBJECTS / IMAGES)
        for start in range(0, objects, 10_000):
            rows = _annotations(rng, start, min(10_000, objects - start), images, size)
            file.write(", " * bool(start) + json.dumps(rows)[1:-1])
        file.write("]}")
    return path


def _smooth_image(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8: blurred colours with noise, which JPEG takes as long for as a photograph."""
    height, width = size
    few = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(few.resize((width, height), Image.Resampling.BICUBIC), dtype=float)
    return (smooth + rng.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8)


def _write_image(path: Path, image: np.ndarray, number: int) -> None:
    """The image with its number in it, as blocks of 8 pixels that are black or white."""
    image = image.copy()
    across = image.shape[1] // 8
    for bit in range(number.bit_length()):
        y, x = 8 * (bit // across), 8 * (bit % across)
        image[y : y + 8, x : x + 8] = 255 * (number >> bit & 1)
    image[-8:, -8:] = 0
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=QUALITY)
    path.write_bytes(buffer.getvalue())


def _annotations(
    rng: np.random.Generator, start: int, count: int, images: int, size: tuple[int, int]
) -> list[dict]:
    """Ellipses of random sizes, images and classes, with ids from `start` + 1 on."""
    height, width = size
    sides = rng.uniform(0.03, 0.6, (count, 2)) * (width, height)
    corners = rng.uniform(0, 1, (count, 2)) * ((width, height) - sides)
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = corners[:, None] + sides[:, None] * (1 + circle) / 2
    polygons = points.reshape(count, -1).round(2).tolist()
    boxes = np.concatenate([corners, sides], axis=1).round(2).tolist()
    areas = (sides.prod(axis=1) * np.pi / 4).round(2).tolist()
    image_ids = rng.integers(1, images + 1, count).tolist()
    classes = rng.integers(1, CLASSES + 1, count).tolist()
    columns = zip(image_ids, classes, boxes, areas, polygons, strict=True)
    return [
        {
            "id": start + i + 1,
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "area": area,
            "iscrowd": 0,
            "segmentation": [polygon],
        }
        for i, (image, category, box, area, polygon) in enumerate(columns)
    ]


def plain_loop(paths: Sequence[Path]) -> float:
    """Images per second that Pillow decodes in one thread."""
    start = time.perf_counter()
    for path in paths:
        with Image.open(path) as image:
            image.load()
    return len(paths) / (time.perf_counter() - start)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="is filled where it has no train.json")
    parser.add_argument("--images", type=int, default=IMAGES, help="(%(default)s)")
    parser.add_argument("--size", default=SMALL, metavar="HxW", help="of images (%(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="threads (1 2)")
    arguments = parser.parse_args(argv)
    folder, size = arguments.folder, parse_size(arguments.size)
    if not (folder / "train.json").is_file():
        make_dataset(folder, arguments.images, size)
    paths = sorted((folder / "images").iterdir())
    print(f"a plain loop: {plain_loop(paths[:10_000]):,.0f} images/s")
    for workers in arguments.workers:
        output = str(folder / "report")
        run = load(None, [str(folder / "train.json"), str(folder / "images")], output=output)
        report = check_data.check(run, workers=workers)
        start = time.perf_counter()
        check_data.write(report, output)
        seconds = {**report.seconds, "page": time.perf_counter() - start}
        shown = ", ".join(f"{part} {value:.1f} s" for part, value in seconds.items())
        speed = len(paths) / seconds["images"]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{workers} workers: {shown}; {speed:,.0f} images/s; {memory:.1f} GiB at most")


if __name__ == "__main__":
    main()
