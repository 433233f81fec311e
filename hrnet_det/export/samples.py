"""Images to check and to calibrate an exported file with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from detectron2.data import MetadataCatalog
from PIL import Image

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.config.settings import Setting
from hrnet_det.data.mapper import build_test_mapper, reader_of
from hrnet_det.data.quickstart.scene import draw_scene
from hrnet_det.errors import InputError, MissingInputError, shown

# Of each split: its names of datasets, and the folder of a user's own images.
_SPLITS: dict[str, tuple[Setting, Setting]] = {
    "train": (settings.TRAIN_DATASETS, settings.TRAIN_IMAGES),
    "test": (settings.TEST_DATASETS, settings.TEST_IMAGES),
}
# Scenes that are drawn: number in the quickstart's test set, height, width.
_DRAWN = ((0, 480, 640), (1, 600, 400), (2, 333, 500), (5, 427, 427))


class Sample(NamedTuple):
    """An image: what it is called, and (H, W, 3) uint8 in RGB."""

    name: str
    pixels: np.ndarray


def paths_in(images: str | Path | Sequence[str | Path]) -> list[Path]:
    """The images of a folder, those inside its folders too, in order; or those of a list.

    Raises: InputError if there are none, MissingInputError if one is not there.
    """
    if not isinstance(images, (str, Path)):
        paths = [Path(path) for path in images]
        if not paths:
            raise InputError("images: the list is empty: give paths of images, or a folder")
        for path in paths:
            if not path.is_file():
                raise MissingInputError(f"image {path} is not there")
        return paths
    if not os.path.isdir(images):
        raise MissingInputError(
            f"--images {shown(str(images))}: there is no such folder: give one of images"
        )
    if found := _images_below(Path(images)):
        return found
    raise InputError(f"--images {images}: the folder has no images: give one that has")


def split_paths(run: RunConfig, split: str) -> list[Path]:
    """The images of the folders that a run trains ("train") or is tested ("test") on.

    Returns: [] where they are not here.
    """
    names, own = _SPLITS[split]
    folders = [str(run[own])] if run.has(own) and run[own] else []
    folders += [MetadataCatalog.get(n).get("image_root", "") for n in run[names] if not folders]
    return [path for folder in folders if folder for path in _images_below(Path(folder))]


def _images_below(folder: Path) -> list[Path]:
    known = Image.registered_extensions()  # which loads Pillow's plugins
    files = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return sorted(path for path in files if known.get(path.suffix.lower()) in Image.OPEN)


def read_all(paths: Sequence[Path], run: RunConfig) -> list[Sample]:
    """Images as the run's detector reads them. Raises: InputError if one cannot be read."""
    read = reader_of(build_test_mapper(run))
    return [Sample(path.name, read(path, "RGB")) for path in paths]


def spread(paths: Sequence[Path], count: int) -> list[Path]:
    """So many of them, at most, from the first to the last in equal steps."""
    count = min(count, len(paths))
    return [paths[round(k * (len(paths) - 1) / max(count - 1, 1))] for k in range(count)]


def drawn() -> list[Sample]:
    """Scenes of the quickstart in the sizes of photographs."""
    samples = []
    for number, height, width in _DRAWN:
        pixels, _ = draw_scene(split="val", index=number)
        samples.append(Sample(f"drawn {number}", resized(pixels, (height, width))))
    return samples


def resized(pixels: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Pixels (H, W, 3) uint8 in another size, height and width."""
    image = Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image)
