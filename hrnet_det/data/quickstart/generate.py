"""The quickstart dataset: drawn images with all that COCO annotates, made on first use."""

from __future__ import annotations

import errno
import json
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from hrnet_det.data.quickstart.scene import (
    FIRST_IMAGE_ID,
    KINDS,
    Figure,
    draw_scene,
    semantic_labels,
    visible_masks,
)
from hrnet_det.data.quickstart.shapes import CLASSES, GROUND, GROUND_ID, KEYPOINTS
from hrnet_det.errors import InputError

SKELETON = [[1, 2], [1, 3], [1, 4]]  # pairs of keypoints, counted from 1 as COCO does
VERSION = 2  # to be raised with every change of an image or an annotation
MARKER = "VERSION"
COUNTS = {"train": 320, "val": 100}  # images


def make_quickstart(root: str | Path, *, counts: Mapping[str, int] = COUNTS) -> Path:
    """Make the dataset in `root` unless it is already there, and return `root`.

    Layout, for train and val: images in `train/`; labels in `semantic_train/` (0: ground, 1 to 6:
    the classes), `stuff_train/` (0: an object, 1: ground) and, in COCO's format, `panoptic_train/`;
    `annotations/{instances,keypoints,panoptic}_train.json`, of which keypoints has arrows alone.
    The set is renamed to `root` when complete, so neither an interruption nor a second process
    leaves half a set. Other versions and counts (images of each split) are replaced.

    Raises: InputError if `root` holds something that this function did not write, or cannot be
        written.
    """
    marker = f"hrnet_det quickstart {VERSION}: {counts['train']} train, {counts['val']} val\n"
    target = Path(root).expanduser().resolve()
    if _is_made(target, marker):
        return Path(root)
    staged = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for split in ("train", "val"):
            _write_split(staged, split=split, count=counts[split])
        (staged / MARKER).write_text(marker)
        _install(staged, target=target, marker=marker)
    except OSError as error:
        raise InputError(
            f"the quickstart dataset cannot be written to {target}: {error}. Set "
            "DETECTRON2_DATASETS to a folder that can be written to."
        ) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return Path(root)


def _is_made(target: Path, marker: str) -> bool:
    """Whether the set is there. Raises: InputError if the folder holds what is none of ours."""
    file = target / MARKER
    found = file.read_text() if file.is_file() else ""
    is_free = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    if not is_free and not found.startswith("hrnet_det quickstart "):
        raise InputError(
            f"{target} exists and is not a quickstart dataset (it has no {MARKER} file written by "
            "hrnet_det); nothing was changed. Give an empty or a new folder, or move it away."
        )
    return found == marker


def _install(staged: Path, *, target: Path, marker: str) -> None:
    """Rename the staged set to the target; another process may be doing the same."""
    aside = staged.with_name(f"{staged.name}.old")
    for _ in range(10):
        if _is_made(target, marker):
            return
        try:
            if target.exists():
                target.rename(aside)
                shutil.rmtree(aside)
            staged.rename(target)
            return
        except OSError as error:  # the other process renamed between our look and our step
            if error.errno not in (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY):
                raise
    raise OSError(f"could not rename {staged} to {target}: the folder keeps changing")


def _write_split(root: Path, *, split: str, count: int) -> None:
    """Draw `count` images and write them with all their annotations below `root`."""
    for folder in (split, *(f"{kind}_{split}" for kind in KINDS)):
        (root / folder).mkdir(parents=True)
    images, instances, keypoints, panoptic = [], [], [], []
    for index in tqdm(range(count), desc=f"quickstart {split}", disable=None, leave=False):
        pixels, figures = draw_scene(split=split, index=index)
        image_id = FIRST_IMAGE_ID[split] + index
        name, (height, width) = f"{image_id:06d}.png", pixels.shape[:2]
        row = {"id": image_id, "file_name": name, "height": height, "width": width, "license": 1}
        images.append(row)
        masks, covers = visible_masks(figures)
        labels, segments = semantic_labels(figures, masks, (height, width))
        written = {split: pixels, **{f"{kind}_{split}": labels[kind] for kind in KINDS}}
        for folder, content in written.items():
            Image.fromarray(content).save(root / folder / name, compress_level=1)  # faster
        panoptic.append({"image_id": image_id, "file_name": name, "segments_info": segments})
        of_figures = zip(figures, masks, covers, segments[1:], strict=True)
        for figure, visible, covered, segment in of_figures:
            instance = {"id": 0, "image_id": image_id} | segment  # in this order in the json
            instance["id"] = len(instances) + 1
            instance["segmentation"] = _segmentation(figure, visible)
            instances.append(instance)
            if figure.name == "arrow":
                keypoints.append({**instance, "category_id": 1, **_keypoints(figure, covered)})
    _write_annotations(root, split, images, (instances, keypoints, panoptic))


def _write_annotations(
    root: Path, split: str, images: list[dict], annotations: tuple[list[dict], ...]
) -> None:
    """COCO's json files: of all objects, of the arrows, and of the panoptic segments."""
    url = "https://creativecommons.org/publicdomain/zero/1.0/"
    header = {
        "info": {"description": "hrnet_det quickstart: drawn shapes", "version": str(VERSION)},
        "licenses": [{"id": 1, "name": "CC0 1.0", "url": url}],
        "images": images,
    }
    numbers = enumerate(CLASSES, start=1)
    shapes = [{"id": number, "name": name, "supercategory": "shape"} for number, name in numbers]
    arrow = {**shapes[-1], "id": 1, "keypoints": list(KEYPOINTS), "skeleton": SKELETON}
    ground = {"id": GROUND_ID, "name": GROUND, "supercategory": GROUND, "isthing": 0}
    everything = [*({**shape, "isthing": 1} for shape in shapes), ground]
    categories = {"instances": shapes, "keypoints": [arrow], "panoptic": everything}
    folder = root / "annotations"
    folder.mkdir(exist_ok=True)
    for (kind, named), rows in zip(categories.items(), annotations, strict=True):
        content = {**header, "categories": named, "annotations": rows}
        (folder / f"{kind}_{split}.json").write_text(json.dumps(content))


def _segmentation(figure: Figure, visible: np.ndarray) -> list[list[float]] | dict:
    """A polygon for one whole object that nothing covers or cuts off, else run lengths.

    These go down the columns, by turns outside (first) and inside.
    """
    height, width = visible.shape
    points = figure.members[0][0]
    single = sum(map(len, figure.members)) == 1 and np.array_equal(visible, figure.mask)
    if single and np.all((points >= 0) & (points <= [width, height])):
        return [np.round(points, 2).ravel().tolist()]
    starts = np.flatnonzero(np.diff(visible.ravel(order="F"), prepend=False))
    counts = np.diff(starts, prepend=0, append=visible.size).tolist()
    return {"counts": counts, "size": [height, width]}


def _keypoints(figure: Figure, covered: np.ndarray) -> dict:
    """COCO's `keypoints` (x, y, v for each, whole pixels) and `num_keypoints` of an arrow.

    Of each the arrow's own pixel nearest to it; v is 2 where that is seen, 1 where another object
    covers it, 0 outside the image. A crowd has none.
    """
    height, width = figure.mask.shape
    rows, columns = np.nonzero(figure.mask)
    triples = np.zeros((len(KEYPOINTS), 3), int)
    for number, (x, y) in enumerate([] if figure.keypoints is None else figure.keypoints):
        if 0 <= x < width and 0 <= y < height:
            nearest = np.argmin((columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2)
            column, row = columns[nearest], rows[nearest]
            triples[number] = column, row, 1 if covered[row, column] else 2
    seen = int(np.count_nonzero(triples[:, 2]))
    return {"keypoints": triples.ravel().tolist(), "num_keypoints": seen}
