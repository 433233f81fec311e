"""Seconds of each installed implementation of COCO's evaluation, and how far their results differ.

`python -m tools.coco_speed` prints the table. The annotations and detections are
random, in the numbers of COCO val2017.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import statistics
import time
from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tabulate import tabulate

from hrnet_det.evaluation.implementations import Implementation, installed_implementations

OBJECTS_PER_IMAGE = 7.3  # the mean of COCO val2017
HEIGHT, WIDTH = 480, 640  # pixels
CORNERS = 24  # of the polygons that masks are made of


def random_coco(
    images: int, detections: int, classes: int, *, masks: bool, seed: int = 0
) -> tuple[dict, list[dict]]:
    """Objects and detections of random sizes and classes; half of the objects are also found.

    Args:
        images: how many images.
        detections: the most in an image; every number from 0 is as frequent.
        classes: how many categories.
        masks: whether objects get polygons, and detections masks in the place of boxes.
    Returns: the content of a COCO json, and a list of COCO results.
    """
    rng = np.random.default_rng(seed)
    objects, found = [], []
    for image_id in range(1, images + 1):
        boxes = _random_boxes(rng, rng.poisson(OBJECTS_PER_IMAGE))
        labels = rng.integers(1, classes + 1, len(boxes))
        others = _random_boxes(rng, rng.integers(0, detections + 1))
        other_labels = rng.integers(1, classes + 1, len(others))
        seen = np.flatnonzero(rng.random(len(boxes)) < 0.5)[: len(others)]
        others[: len(seen)] = boxes[seen] * rng.normal(1, 0.05, (len(seen), 4))
        other_labels[: len(seen)] = labels[seen]
        for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
            row = {"id": len(objects) + 1, "image_id": image_id, "category_id": label}
            row |= {"bbox": box, "area": box[2] * box[3], "iscrowd": int(rng.random() < 0.01)}
            objects.append(row | ({"segmentation": [_ellipse(box)]} if masks else {}))
        for box, label in zip(others.tolist(), other_labels.tolist(), strict=True):
            row = {"image_id": image_id, "category_id": label, "score": float(rng.random())}
            found.append(row | ({"segmentation": _run_lengths(box)} if masks else {"bbox": box}))
    truth = {
        "images": [{"id": i, "height": HEIGHT, "width": WIDTH} for i in range(1, images + 1)],
        "categories": [{"id": i, "name": str(i)} for i in range(1, classes + 1)],
        "annotations": objects,
    }
    return truth, found


def _random_boxes(rng: np.random.Generator, number: int) -> np.ndarray:
    """(number, 4) x, y, width, height inside the image; small ones are as frequent as large."""
    sides = np.exp(rng.uniform(np.log(8), np.log(400), (number, 2)))
    return np.hstack([rng.random((number, 2)) * ((WIDTH, HEIGHT) - sides), sides])


def _ellipse(box: Sequence[float]) -> list[float]:
    """The polygon x0, y0, x1, y1, ... of the ellipse in a box."""
    x, y, w, h = box
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    corners = np.stack([x + w / 2 * (1 + np.cos(angles)), y + h / 2 * (1 + np.sin(angles))], axis=1)
    return corners.ravel().tolist()


def _run_lengths(box: Sequence[float]) -> dict:
    encoded = coco_mask.frPyObjects([_ellipse(box)], HEIGHT, WIDTH)[0]
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def evaluate(
    implementation: Implementation, truth: dict, results: list[dict], iou_type: str
) -> tuple[COCOeval, float]:
    """The finished evaluation, and its seconds, from a list of COCO results on."""
    annotations = COCO()
    annotations.dataset = copy.deepcopy(truth)  # an evaluation writes into both
    results = copy.deepcopy(results)
    with contextlib.redirect_stdout(io.StringIO()):
        annotations.createIndex()
        start = time.perf_counter()
        evaluation = implementation.evaluation(annotations, annotations.loadRes(results), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation, time.perf_counter() - start


def measure(truth: dict, results: list[dict], iou_type: str, *, rounds: int) -> str:
    """The table of seconds, and the largest difference of any result from pycocotools'."""
    implementations = installed_implementations()
    seconds: dict[str, list[float]] = {found.name: [] for found in implementations}
    evaluations = {}
    for number in range(rounds):
        for found in implementations[:: -1 if number % 2 else 1]:
            evaluations[found.name], spent = evaluate(found, truth, results, iou_type)
            seconds[found.name].append(spent)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    reference = evaluations["pycocotools"]
    rows = [
        [
            name,
            f"{medians[name]:.1f}",
            ", ".join(f"{value:.1f}" for value in values),
            f"{medians['pycocotools'] / medians[name]:.1f}",
            f"{largest_difference(evaluations[name], reference):.0e}",
        ]
        for name, values in seconds.items()
    ]
    headers = ["implementation", "seconds (median)", "each", "times as fast", "difference"]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def largest_difference(one: COCOeval, other: COCOeval) -> float:
    """Of AP and AR, overall and of each category, threshold, recall and size; all within 0 to 1."""
    pairs = [(one.stats, other.stats)]
    pairs += [(one.eval[name], other.eval[name]) for name in ("precision", "recall")]
    return max(float(np.abs(np.subtract(*pair)).max()) for pair in pairs)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.coco_speed", description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100, help="the most in an image")
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--iou-type", choices=["bbox", "segm"], default="bbox")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in alternating order")
    args = parser.parse_args(argv)
    for name in ("images", "detections", "classes", "rounds"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} {getattr(args, name)}: give at least 1")
    masks = args.iou_type == "segm"
    truth, results = random_coco(args.images, args.detections, args.classes, masks=masks)
    print(
        f"{args.iou_type}: {args.images} images, {len(truth['annotations'])} objects of "
        f"{args.classes} classes, {len(results)} detections\n"
    )
    print(measure(truth, results, args.iou_type, rounds=args.rounds))


if __name__ == "__main__":
    main()
