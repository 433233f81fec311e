"""The quickstart dataset: drawn images with COCO annotations, made in seconds on first use.

Discs, rings, squares, triangles, stars and arrows on cluttered ground. Shape tells them apart for
certain; most have about the hue of their class, the others any. Boxes, masks, crowds, (for arrows)
keypoints and panoptic segments follow COCO's format, and there are semantic labels, so whatever
trains on COCO trains on this, from scratch and on a CPU.
"""

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

from hrnet_det.data.quickstart.scene import FIRST_IMAGE_ID, Figure, draw_scene, visible_masks
from hrnet_det.data.quickstart.semantic_labels import GROUND, GROUND_ID, KINDS, box, semantic_labels
from hrnet_det.data.quickstart.shapes import CLASSES, KEYPOINTS
from hrnet_det.errors import InputError

__all__ = ["CLASSES", "GROUND", "GROUND_ID", "KEYPOINTS", "make_quickstart"]

SKELETON = ((1, 2), (1, 3), (1, 4))  # pairs of keypoints, counted from 1 as COCO does

VERSION = 2  # to be raised with every change of an image or an annotation
MARKER = "VERSION"
COUNTS = {"train": 320, "val": 100}  # images


def make_quickstart(root: str | Path, *, counts: Mapping[str, int] = COUNTS) -> Path:
    """Make the dataset in `root` unless it is already there, and return `root`.

    Layout: `{train,val}/*.png`, `annotations/instances_{train,val}.json` (all classes) and
    `annotations/keypoints_{train,val}.json` (the same images, arrows only);
    `semantic_{train,val}/*.png` (0: ground, 1 to 6: the classes), `stuff_{train,val}/*.png` (0: an
    object, 1: ground), and in COCO's panoptic format `panoptic_{train,val}/*.png` with
    `annotations/panoptic_{train,val}.json`. The set is written to
    a folder beside `root` and renamed when complete, so neither an interruption nor a second
    process leaves half a set. A set of another version or other counts is replaced.

    Args:
        root: folder of the dataset; made if missing, its parents too.
        counts: images for "train" and for "val".
    Raises: InputError if `root` holds something that this function did not write, or cannot be
        written.
    """
    marker = f"hrnet_det quickstart {VERSION}: {counts['train']} train, {counts['val']} val\n"
    target = Path(root).expanduser().resolve()
    if _marker_of(target) == marker:
        return Path(root)
    _refuse_foreign(target)
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


def _marker_of(folder: Path) -> str | None:
    """Text of the folder's marker, None without one."""
    file = folder / MARKER
    return file.read_text() if file.is_file() else None


def _refuse_foreign(target: Path) -> None:
    """Raise InputError if the target exists, is not empty and carries no marker of ours."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (_marker_of(target) or "").startswith("hrnet_det quickstart "):
        raise InputError(
            f"{target} exists and is not a quickstart dataset (it has no {MARKER} file written by "
            "hrnet_det); nothing was changed. Give an empty or a new folder, or move it away."
        )


def _install(staged: Path, *, target: Path, marker: str) -> None:
    """Rename the staged set to the target; another process may be doing the same."""
    aside = staged.with_name(f"{staged.name}.old")
    for _ in range(10):
        if _marker_of(target) == marker:
            return
        _refuse_foreign(target)
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
    (root / "annotations").mkdir(exist_ok=True)
    images, instances, keypoints, panoptic = [], [], [], []
    for index in tqdm(range(count), desc=f"quickstart {split}", disable=None, leave=False):
        pixels, figures = draw_scene(split=split, index=index)
        image_id = FIRST_IMAGE_ID[split] + index
        file_name = f"{image_id:06d}.png"
        Image.fromarray(pixels).save(root / split / file_name, compress_level=1)  # faster
        height, width = pixels.shape[:2]
        image = {"id": image_id, "file_name": file_name, "height": height, "width": width}
        images.append({**image, "license": 1})
        masks, covers = visible_masks(figures)
        labels, segments = semantic_labels(figures, masks, (height, width))
        for kind, content in labels.items():
            Image.fromarray(content).save(root / f"{kind}_{split}" / file_name, compress_level=1)
        panoptic.append({"image_id": image_id, "file_name": file_name, "segments_info": segments})
        for figure, visible, covered in zip(figures, masks, covers, strict=True):
            ids = {"id": len(instances) + 1, "image_id": image_id}
            instance = {**ids, **_annotation(figure, visible=visible)}
            instances.append(instance)
            if figure.name == "arrow":
                named = _keypoint_fields(figure, covered=covered)
                keypoints.append({**instance, "category_id": 1, **named})
    shapes = [_category(name=name, number=i) for i, name in enumerate(CLASSES, start=1)]
    arrow = {"keypoints": list(KEYPOINTS), "skeleton": [list(bone) for bone in SKELETON]}
    arrows = [{**_category(name="arrow", number=1), **arrow}]
    ground = {"id": GROUND_ID, "name": GROUND, "supercategory": GROUND}
    everything = [*({**shape, "isthing": 1} for shape in shapes), {**ground, "isthing": 0}]
    for kind, items, categories in (
        ("instances", instances, shapes),
        ("keypoints", keypoints, arrows),
        ("panoptic", panoptic, everything),
    ):
        content = {**_header(), "images": images, "categories": categories, "annotations": items}
        (root / "annotations" / f"{kind}_{split}.json").write_text(json.dumps(content))


def _header() -> dict:
    """COCO's `info` and `licenses`."""
    url = "https://creativecommons.org/publicdomain/zero/1.0/"
    info = {"description": "hrnet_det quickstart: drawn shapes", "version": str(VERSION)}
    return {"info": info, "licenses": [{"id": 1, "name": "CC0 1.0", "url": url}]}


def _category(*, name: str, number: int) -> dict:
    """One COCO category."""
    return {"id": number, "name": name, "supercategory": "shape"}


def _annotation(figure: Figure, *, visible: np.ndarray) -> dict:
    """COCO's fields of one figure but the ids; box and area are those of the visible mask.

    A polygon where one polygon tells the whole truth: nothing covered, nothing cut off, no hole, no
    crowd. Uncompressed RLE otherwise.
    """
    height, width = visible.shape
    polygons = figure.members[0]
    points = polygons[0]
    whole = bool(np.all((points >= 0) & (points <= [width, height])))
    if whole and len(figure.members) == len(polygons) == 1 and np.array_equal(visible, figure.mask):
        segmentation = [np.round(points, 2).ravel().tolist()]
    else:
        segmentation = _uncompressed_rle(visible)
    return {
        "category_id": CLASSES.index(figure.name) + 1,
        "bbox": box(visible),
        "area": int(visible.sum()),
        "iscrowd": int(figure.is_crowd),
        "segmentation": segmentation,
    }


def _uncompressed_rle(mask: np.ndarray) -> dict:
    """COCO's RLE: lengths of runs down the columns, by turns outside (first) and inside."""
    flat = np.concatenate([[False], mask.ravel(order="F")])
    starts = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], starts, [mask.size]]))
    return {"counts": counts.tolist(), "size": list(mask.shape)}


def _keypoint_fields(figure: Figure, *, covered: np.ndarray) -> dict:
    """COCO's `keypoints` (x, y, v for each, whole pixels) and `num_keypoints` of an arrow.

    A corner is named by the arrow's own pixel nearest to it, since the pixel that holds the corner
    itself is mostly ground. v is 2 where that is seen, 1 where another object covers it, 0 outside
    the image (x = y = 0). A crowd has none, as in COCO.
    """
    height, width = figure.mask.shape
    rows, columns = np.nonzero(figure.mask)
    triples = []
    for x, y in np.full((4, 2), -1.0) if figure.keypoints is None else figure.keypoints:
        if 0 <= x < width and 0 <= y < height:
            nearest = np.argmin((columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2)
            column, row = int(columns[nearest]), int(rows[nearest])
            triples.append([column, row, 1 if covered[row, column] else 2])
        else:
            triples.append([0, 0, 0])
    flat = [value for triple in triples for value in triple]
    return {"keypoints": flat, "num_keypoints": sum(triple[2] > 0 for triple in triples)}
