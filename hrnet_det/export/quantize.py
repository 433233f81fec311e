"""A written detector is made an int8 one: with which images, and what it costs in AP."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tabulate import tabulate

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.errors import InputError
from hrnet_det.export.average_precision import Measured, average_precision
from hrnet_det.export.cases import Cases
from hrnet_det.export.formats import Engine
from hrnet_det.export.int8 import QUANTISERS, Arrays
from hrnet_det.export.options import ExportOptions
from hrnet_det.export.samples import paths_in, read_all, split_paths, spread
from hrnet_det.export.verify import DifferenceError

CALIBRATION = 64  # images, at most
FEW = 16  # of fewer it is said
TRIED = 4 * CALIBRATION  # until so many with objects are found
# Points of AP, of 100: a larger loss is a warning, and an error.
LOUD, LIMIT = 1.0, 3.0
TITLES = {"bbox": "box AP", "segm": "mask AP", "keypoints": "keypoint AP"}


def quantize(
    run: RunConfig,
    path: Path,
    options: ExportOptions,
    metadata: dict,
    say: Callable[[str], object] = print,
) -> dict:
    """Replace a float32 file by its int8 form, and measure the AP of both on the run's test set.

    Args:
        path: of the float32 file, with its metadata.
        options, metadata: of the int8 file.
        say: told what was calibrated with, and the AP before and after.
    Returns: the same for the metadata.
    Raises: InputError if there are no images to calibrate with, or no object is found in them;
        DifferenceError if more than LIMIT points of AP are lost.
    """
    module, whole = options.row.load(), options.part == "detector"
    paths, source = _images(run, options)
    engine = module.open_file(path)
    arrays = list(itertools.islice(_inputs(run, paths, options, engine), CALIBRATION))
    if not arrays:
        raise InputError(
            f"--precision int8: no object is found in {source} ({len(paths)} images), so the heads "
            "cannot be calibrated: give --images FOLDER with images like those of training"
        )
    count = f"{len(arrays)} image{'s' * (len(arrays) > 1)}"
    say(f"int8: calibrated with {count} of {source}; the last layers stay in float32")
    if len(arrays) < FEW:
        say(
            f"WARNING: {count} may not show the detector all that it will see: give --images "
            f"FOLDER with {CALIBRATION}"
        )
    before = average_precision(run, path) if whole else Measured(reason="a backbone has none")
    del engine
    QUANTISERS[options.format](path, iter(arrays))
    module.label(path, metadata)
    said = {"calibration": {"images": len(arrays), "from": source}}
    if before.reason:
        say(f"int8: AP before and after is not known: {before.reason}")
        return said | {"ap": None, "reason": before.reason}
    after = average_precision(run, path)
    say(f"AP on {before.dataset}, {before.images} images:\n{_table(before, after)}")
    _judge(before, after, len(arrays), say)
    said["ap"] = {"dataset": before.dataset, "images": before.images}
    return said | {"ap": said["ap"] | {"float32": before.values, "int8": after.values}}


def _images(run: RunConfig, options: ExportOptions) -> tuple[list[Path], str]:
    """Paths of the images to calibrate with, and what they are in words."""
    if options.images:
        return spread(paths_in(options.images), TRIED), "--images"
    if paths := split_paths(run, "train"):
        return spread(paths, TRIED), "the training set"
    names = ", ".join(run[settings.TRAIN_DATASETS]) or "none is named"
    raise InputError(
        f"--precision int8 needs images to calibrate with, and the run's training set ({names}) "
        f"is not here: give --images FOLDER with {CALIBRATION} images or more like those of "
        "training"
    )


def _inputs(
    run: RunConfig, paths: list[Path], options: ExportOptions, engine: Engine
) -> Iterator[Arrays]:
    """Inputs of a file, of images that it finds objects in: heads see nothing of others.

    NNCF takes a sample with nothing in it for one of zeros: mask AP was then 0.4 instead of 41.9.
    """
    cases = Cases(None, run, options)
    for path in paths:
        arrays = cases.of(*read_all([path], run)).arrays
        if options.part == "backbone" or len(engine(arrays)["scores"]):
            yield arrays


def _table(before: Measured, after: Measured) -> str:
    rows = [
        (TITLES.get(task, task), f"{value:.2f}", f"{after.values[task]:.2f}")
        for task, value in before.values.items()
    ]
    return tabulate(rows, headers=("", "float32", "int8"), tablefmt="github", disable_numparse=True)


def _judge(before: Measured, after: Measured, images: int, say: Callable[[str], object]) -> None:
    """Raises: DifferenceError if more than LIMIT points of an AP are lost."""
    # Without any object AP is no number.
    lost = {
        task: value - np.nan_to_num(after.values[task])
        for task, value in before.values.items()
        if np.isfinite(value)
    }
    task = max(lost, key=lost.get, default="")
    if not task or lost[task] <= LOUD:
        return
    text = (
        f"int8 loses {lost[task]:.1f} points of {TITLES.get(task, task)} on {before.dataset}, "
        f"calibrated with {images} images: give --images FOLDER with more images like those of "
        "training, or --precision float16"
    )
    if lost[task] > LIMIT:
        raise DifferenceError(f"{text}; {LIMIT:g} points may be lost")
    say(f"WARNING: {text}")
