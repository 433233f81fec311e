"""Whole files of each kind that hrnet_det reads, and what reads them, for tools.fuzz."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from hrnet_det.check_data import decoding
from hrnet_det.checkpoint.finite import check_values
from hrnet_det.checkpoint.io import METADATA_KEY, read_weights
from hrnet_det.config.load import load_run
from hrnet_det.data.coco_json import CocoJson
from hrnet_det.data.images import probe
from hrnet_det.data.pixels import read_pixels

HEIGHT, WIDTH = 24, 32  # pixels
MASK = {"size": [HEIGHT, WIDTH], "counts": [100, 60, HEIGHT * WIDTH - 160]}
PACKED = {"size": [HEIGHT, WIDTH], "counts": "T38`000000000000000000\\="}


@dataclass(frozen=True)
class Reader:
    """What reads a kind of file.

    Args:
        suffix: of its names. whole: files without damage. read: reads one at a path.
    """

    suffix: str
    whole: Callable[[], list[bytes]]
    read: Callable[[Path], object]


def _json() -> list[bytes]:
    row = {"image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [4, 4, 10, 8], "area": 80}
    polygon = [4, 4, 14, 4, 14, 12, 4, 12]
    content = {
        "images": [{"id": 1, "file_name": "1.png", "height": HEIGHT, "width": WIDTH}],
        "annotations": [
            row | {"id": 1, "segmentation": [polygon], "keypoints": [5, 5, 2, 6, 6, 1]},
            row | {"id": 2, "segmentation": MASK},
            row | {"id": 3, "segmentation": PACKED, "iscrowd": 1},
        ],
        "categories": [{"id": 1, "name": "disc", "keypoints": ["a", "b"]}],
    }
    return [json.dumps(content).encode(), json.dumps(content, indent=1).encode()]


@cache
def _images() -> Path:
    folder = Path(tempfile.mkdtemp())
    Image.new("RGB", (WIDTH, HEIGHT), (40, 0, 0)).save(folder / "1.png")
    return folder


def _read_json(path: Path) -> None:
    for evaluated in (False, True):
        flags = {"masks": evaluated, "keypoints": False, "evaluated": evaluated}
        CocoJson(path, _images(), **flags).raise_errors()


def _weights() -> list[bytes]:
    tensors = {"conv.weight": torch.randn(2, 3, 3, 3), "bn.running_var": torch.rand(2)}
    content = {"model": tensors, "iteration": 3, "optimizer": {"lr": 0.1, "state": [torch.ones(2)]}}
    files = [save(tensors), save(tensors, {METADATA_KEY: '{"classes": ["a"]}'})]
    for as_zip in (True, False):
        raw = io.BytesIO()
        torch.save(content, raw, _use_new_zipfile_serialization=as_zip)
        files.append(raw.getvalue())
    return files


def _read_weights(path: Path) -> None:
    file = read_weights(path)
    check_values(file.weights, str(path))
    file.classes  # noqa: B018


def _image_files() -> list[bytes]:
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(0, 2**16, (HEIGHT, WIDTH), dtype=np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = [(colours, kind, {}) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "PPM", "ICO")]
    kinds += [(colours, "TIFF", {"compression": c}) for c in ("raw", "tiff_lzw", "tiff_deflate")]
    kinds += [(colours, "JPEG", {"exif": exif, "progressive": True}), (colours, "TGA", {})]
    kinds += [(deep, "PNG", {}), (deep, "TIFF", {}), (colours.convert("P"), "PNG", {})]
    files = []
    for image, kind, options in kinds:
        raw = io.BytesIO()
        image.save(raw, kind, **options)
        files.append(raw.getvalue())
    return files


def _read_image(path: Path) -> None:
    probe(path)
    decoding.decode(path)
    read_pixels(path, "RGB", pixel_range=(0, 65535))


def _config() -> list[bytes]:
    text = """_BASE_: ["{base}"]
MODEL: {MASK_ON: True, PIXEL_STD: [1.0, 1.0, 1.0], ANCHOR_GENERATOR: {SIZES: [[32], [64]]}}
DATASETS: {TRAIN: ["a"], TEST: []}
SOLVER: {BASE_LR: 0.01, STEPS: [10, 20], MAX_ITER: 30}
INPUT: {MIN_SIZE_TRAIN: [640, 800], CROP: {SIZE: [0.9, 0.9]}}
OUTPUT_DIR: "./output"
"""
    base = _images() / "base.yaml"
    base.write_text("SEED: 3\n")
    return [text.replace("{base}", str(base)).encode(), b"SEED: &a 1\nVERSION: 2\n"]


READERS = {
    "json": Reader(".json", _json, _read_json),
    "weights": Reader(".pth", _weights, _read_weights),
    "image": Reader(".png", _image_files, _read_image),
    "config": Reader(".yaml", _config, load_run),
}
