"""Each object cut out of its image, in a folder for its class."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from detectron2.structures import Instances
from PIL import Image

from hrnet_det.predict.writing import said_of

CROPS = "crops"  # the folder
LONGEST = 100  # characters of a folder's name


def class_folders(names: Sequence[str]) -> list[str]:
    """A folder's name for each class, without characters that a file system does not take.

    Of names that would have the same folder, also where capital letters are small ones, the later
    ones get a number.
    """
    folders, taken = [], set()
    for name in names:
        plain = re.sub(r"[^\w.() -]", "_", name)[:LONGEST].strip(". ") or "_"
        folder, number = plain, 1
        while folder.lower() in taken:
            number += 1
            folder = f"{plain}_{number}"
        taken.add(folder.lower())
        folders.append(folder)
    return folders


def write_crops(
    rgb: np.ndarray, objects: Instances, *, folder: Path, folders: Sequence[str], below: Path
) -> None:
    """Write CLASS/NAME_1.png and so on: the pixels of each object's box, the best first.

    Args:
        rgb: (H, W, 3) uint8. folders: of the classes, in `folder`.
        below: the drawing of the image, below the output, whose name and folders they have.
    Raises: InputError if one cannot be written.
    """
    boxes, classes = objects.pred_boxes.tensor.tolist(), objects.pred_classes.tolist()
    for number, (box, k) in enumerate(zip(boxes, classes, strict=True), 1):
        path = folder / folders[k] / below.with_name(f"{below.stem}_{number}.png")
        with said_of(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(cut(rgb, box)).save(path)


def cut(rgb: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """All pixels of an image that a box x0, y0, x1, y1 touches; at least one."""
    height, width = rgb.shape[:2]
    left, top = (
        min(max(0, math.floor(x)), n - 1) for x, n in zip(box[:2], (width, height), strict=True)
    )
    right, bottom = (math.ceil(x) for x in box[2:])
    return rgb[top : max(bottom, top + 1), left : max(right, left + 1)]
