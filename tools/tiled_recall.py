"""Recall and AP of one call, of tiles, and of SAHI's slices, on mosaics with many small objects.

`python -m tools.tiled_recall RUN` prints the table for the weights of a training. A mosaic is made
of GRID x GRID images of a COCO json, so that all of its objects are known. Detectors resize a
whole mosaic to the size of one image, in which its objects are GRID times smaller.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tabulate import tabulate

from hrnet_det import Detector
from hrnet_det.errors import InputError

FOLDER = Path("datasets/quickstart")
GROUND = 114  # grey level between images
LOW = 0.05  # the least score that configs let through
MOST = 10_000  # detections of a mosaic


class Mosaics(NamedTuple):
    """Images (H, W, 3) uint8, and the content of a COCO json whose image ids count them from 0."""

    images: list[np.ndarray]
    truth: dict


def make_mosaics(content: dict, folder: Path, *, grid: int, count: int) -> Mosaics:
    """Mosaics of the first images of a COCO json, each image once, in cells of one size.

    Args:
        content: with objects that have boxes.
        grid: images beside and below each other; count: mosaics.
    Raises: InputError if there are too few images.
    """
    rows = content["images"][: grid**2 * count]
    if len(rows) < grid**2 * count:
        raise InputError(f"{count} mosaics take {grid**2 * count} images; the json has {len(rows)}")
    side = max(max(row["height"], row["width"]) for row in rows)
    images = [np.full((grid * side, grid * side, 3), GROUND, np.uint8) for _ in range(count)]
    places = {}
    for number, row in enumerate(rows):
        mosaic, cell = divmod(number, grid**2)
        y, x = (side * at for at in divmod(cell, grid))
        with Image.open(folder / row["file_name"]) as image:
            pixels = np.asarray(image.convert("RGB"))
        images[mosaic][y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
        places[row["id"]] = mosaic, x, y
    objects = []
    for given in content["annotations"]:
        if given["image_id"] in places:
            mosaic, x, y = places[given["image_id"]]
            left, top, width, height = given["bbox"]
            moved = {"image_id": mosaic, "bbox": [left + x, top + y, width, height]}
            moved |= {"id": len(objects) + 1, "iscrowd": given.get("iscrowd", 0)}
            objects.append(moved | {k: given[k] for k in ("area", "category_id")})
    sizes = {"height": grid * side, "width": grid * side}
    truth = {"images": [{"id": k, **sizes} for k in range(count)], "annotations": objects}
    return Mosaics(images, truth | {"categories": content["categories"]})


def quality(truth: dict, rows: list[dict], *, score: float) -> tuple[float, float, float]:
    """AP, and recall and precision of what scores `score` and more, at IoU 0.5, in boxes.

    Recall and precision are of all objects together, whatever their classes' numbers.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        reference.dataset = truth
        reference.createIndex()
        found = reference.loadRes(rows) if rows else COCO()
        evaluation = COCOeval(reference, found, "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.maxDets = [1, 10, MOST]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, -1]
    hits = kept = 0
    for image in (x for x in evaluation.evalImgs if x and x["aRng"][1] > 1e9):
        over = np.array(image["dtScores"]) >= score
        counted = over & ~image["dtIgnore"][0]
        hits += int((counted & (image["dtMatches"][0] > 0)).sum())
        kept += int(counted.sum())
    objects = sum(not row["iscrowd"] for row in truth["annotations"])
    return precision[precision > -1].mean(), hits / objects, hits / max(kept, 1)


def rows_of(objects: object, mosaic: int, ids: Sequence[int]) -> list[dict]:
    """COCO results of a detector's objects; ids: category ids by pred_classes."""
    rows = [row | {"image_id": mosaic} for row in instances_to_coco_json(objects, mosaic)]
    for row in rows:
        row["category_id"] = ids[row["category_id"]]
        row.pop("segmentation", None)
    return rows


Way = Callable[[np.ndarray, int, Sequence[int]], list[dict]]


def sliced(detector: Detector, tile: int, overlap: float, score: float) -> Way:
    """SAHI's sliced prediction with a detector, as rows of COCO results."""
    from sahi.predict import get_sliced_prediction

    from hrnet_det.detector.sahi import sahi_model

    model = sahi_model(detector, confidence_threshold=score)

    def rows(image: np.ndarray, mosaic: int, ids: Sequence[int]) -> list[dict]:
        options = {"slice_height": tile, "slice_width": tile, "verbose": 0}
        options |= {"overlap_height_ratio": overlap, "overlap_width_ratio": overlap}
        result = get_sliced_prediction(image, model, **options)
        return [
            {"image_id": mosaic, "category_id": ids[found.category.id],
             "bbox": found.bbox.to_xywh(), "score": float(found.score.value)}
            for found in result.object_prediction_list
        ]  # fmt: skip

    return rows


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights", help="a training's folder, or a file")
    parser.add_argument("--json", type=Path, default=FOLDER / "annotations/instances_val.json")
    parser.add_argument("--images", type=Path, default=FOLDER / "val")
    parser.add_argument("--grid", type=int, default=4, help="images beside each other (4)")
    parser.add_argument("--mosaics", type=int, default=6, help="how many (6)")
    parser.add_argument("--tile", type=int, default=160, help="pixels (160)")
    parser.add_argument("--overlap", type=float, default=0.2, help="share of a tile (0.2)")
    parser.add_argument("--score", type=float, default=0.5, help="of recall, precision (0.5)")
    parser.add_argument("--batch", type=int, default=1, help="tiles at once (1)")
    parser.add_argument("--device")
    given = parser.parse_args(words)
    content = json.loads(given.json.read_text())
    images, truth = make_mosaics(content, given.images, grid=given.grid, count=given.mosaics)
    detector = Detector.from_pretrained(given.weights, device=given.device)
    ids = sorted(row["id"] for row in content["categories"])
    many, side = {"max_detections": MOST}, detector.run.cfg.INPUT.MIN_SIZE_TEST * given.grid
    tiles = {"tile": given.tile, "overlap": given.overlap, "batch": given.batch}

    def ours(**options: object) -> Way:
        return lambda image, k, ids: rows_of(detector(image, **options), k, ids)

    ways = {
        "one call, the config's size": ours(**many),
        f"one call, {given.grid} times that size": ours(**many, size=(side, side)),
        "tiles": ours(**tiles),
        "tiles, merged by SAHI": ours(**tiles, merge="sahi"),
        "SAHI's sliced prediction": sliced(detector, given.tile, given.overlap, LOW),
        f"tiles, from score {given.score}": ours(**tiles, score=given.score),
        "the same, merged by SAHI": ours(**tiles, merge="sahi", score=given.score),
        "SAHI's, from that score": sliced(detector, given.tile, given.overlap, given.score),
    }
    objects, size = len(truth["annotations"]), images[0].shape[1]
    print(f"{len(images)} mosaics of {size}x{size} with {objects} objects, IoU 0.5", flush=True)
    table = []
    for name, way in ways.items():
        start = time.perf_counter()
        rows = [row for k, image in enumerate(images) for row in way(image, k, ids)]
        seconds = (time.perf_counter() - start) / len(images)
        table.append([name, *quality(truth, rows, score=given.score), len(rows), seconds])
    least = f"score {given.score}"
    headers = ["way", "AP50", f"recall, {least}", f"precision, {least}", "found", "s a mosaic"]
    print(tabulate(table, headers, floatfmt=".3f"))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"memory: {memory:.2f} GiB at most")


if __name__ == "__main__":
    main()
