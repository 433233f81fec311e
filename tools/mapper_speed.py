"""Images per second that one worker process of the training data loader prepares.

`python -m tools.mapper_speed --feed 60` also says how many workers feed a training of 60
images per second, `--profile` what the time is spent on. The images are random, but of COCO's
size, format and number of objects.
"""

from __future__ import annotations

import argparse
import cProfile
import math
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from detectron2.structures import BoxMode
from PIL import Image

from hrnet_det.config.files import find_config
from hrnet_det.config.yaml import load_config
from hrnet_det.data.mapper import build_mapper
from hrnet_det.errors import InputError

HEIGHT, WIDTH = 480, 640  # pixels
OBJECTS = 7  # in an image, as in COCO's mean
CORNERS = 30  # of an object's polygon
JPEG_QUALITY = 90
IMAGES = 16


def random_images(folder: Path, number: int = IMAGES) -> list[dict]:
    """Write JPEGs of blurred colours and noise, about 110 KB each.

    Returns: the rows of a Detectron2 dataset, with polygons.
    """
    rng = np.random.default_rng(0)
    rows = []
    for image_id in range(number):
        colours = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        smooth = np.asarray(colours.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        noisy = smooth + rng.normal(0, 8, smooth.shape)
        path = folder / f"{image_id}.jpg"
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=JPEG_QUALITY)
        row = {"file_name": str(path), "height": HEIGHT, "width": WIDTH, "image_id": image_id}
        rows.append(row | {"annotations": [_random_object(rng) for _ in range(OBJECTS)]})
    return rows


def _random_object(rng: np.random.Generator) -> dict:
    w, h = rng.uniform(20, 200, 2)
    x, y = rng.uniform(0, WIDTH - w), rng.uniform(0, HEIGHT - h)
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    corners = np.stack([x + w / 2 * (1 + np.cos(angles)), y + h / 2 * (1 + np.sin(angles))], axis=1)
    return {
        "bbox": [x, y, w, h],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": 0,
        "iscrowd": 0,
        "segmentation": [corners.ravel().tolist()],
    }


def seconds_per_image(
    mapper: Callable[[dict], dict], rows: Sequence[dict], rounds: int = 10
) -> float:
    """Median over rounds of the mean over the rows, after one round that is not counted."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        for row in rows:
            mapper(row)
        times.append((time.perf_counter() - start) / len(rows))
    return statistics.median(times[1:])


def profile(mapper: Callable[[dict], dict], rows: Sequence[dict]) -> None:
    """Print the ten functions that most of the time of one round is spent in."""
    with cProfile.Profile() as profiler:
        for row in rows:
            mapper(row)
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(10)


def workers_to_feed(images_per_second: float, seconds: float) -> int:
    """How many workers prepare as many images, if each has a core of its own."""
    return max(math.ceil(images_per_second * seconds), 1)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.mapper_speed", description=__doc__)
    parser.add_argument("--config-file", default="hrnetv2p_mask_rcnn.yaml")
    parser.add_argument("--feed", type=float, help="images per second that a training takes")
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs for the config")
    args = parser.parse_args(argv)
    if args.feed is not None and not 0 < args.feed < math.inf:
        parser.error(f"--feed {args.feed}: give images per second, more than 0")
    torch.set_num_threads(1)  # as the data loader's workers do
    try:
        cfg = load_config(find_config(args.config_file), args.opts)
        if cfg.MODEL.KEYPOINT_ON:
            raise InputError(f"{args.config_file} wants keypoints, which the random objects lack")
        mapper = build_mapper(cfg, is_train=True)
    except InputError as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory() as folder:
        rows = random_images(Path(folder))
        height, width = mapper(rows[0])["image"].shape[1:]
        seconds = seconds_per_image(mapper, rows)
        if args.profile:
            profile(mapper, rows)
    what = f"{cfg.INPUT.MASK_FORMAT} masks" if cfg.MODEL.MASK_ON else "boxes"
    print(
        f"{WIDTH}x{HEIGHT} JPEG to {width}x{height} {cfg.INPUT.FORMAT}, INPUT.RESIZE "
        f"{cfg.INPUT.RESIZE}, {OBJECTS} objects with {what}: "
        f"{1e3 * seconds:.1f} ms, {1 / seconds:.0f} images per second in one worker"
    )
    if args.feed is not None:
        workers = workers_to_feed(args.feed, seconds)
        print(f"{args.feed:g} images per second: DATALOADER.NUM_WORKERS {workers}")


if __name__ == "__main__":
    main()
