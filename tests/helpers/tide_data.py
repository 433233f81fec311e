"""Random test sets, and what tidecv makes of them."""

import matplotlib
import numpy as np
import pycocotools.mask
from tidecv import TIDE, Data
from tidecv.quantify import TIDERun

from hrnet_det.diagnosis.objects import Evaluated, EvaluatedImage, Objects

SIDE = 64  # pixels, of the images


def random_set(seed: int, *, masks: bool = False, ties: bool = False) -> Evaluated:
    """Objects and crowds of 5 classes in 40 images, and 150 to 250 detections.

    They are found well and poorly, several times, as another class, and where nothing is. Every
    seventh image has no objects, every fifth one no detections.
    """
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for image in range(40):
        number = rng.integers(1, 6) if image % 7 else 0
        boxes, classes = _boxes(rng, number), rng.integers(0, 5, number)
        truth.append((image, classes, boxes, np.ones(number), rng.random(number) < 0.15))
        if image % 5:
            found.append((image, *_detections(rng, boxes, classes, ties)))
    return Evaluated(
        dataset="random",
        task="segm" if masks else "bbox",
        classes=list("abcde"),
        images=[EvaluatedImage(number, f"{number}.jpg", SIDE, SIDE) for number in range(40)],
        truth=_objects(truth, masks),
        found=_objects(found, masks),
        max_detections=100,
    )


def _boxes(rng: np.random.Generator, number: int) -> np.ndarray:
    sides = rng.uniform(6, 40, (number, 2))
    corner = rng.uniform(0, SIDE - sides)
    return np.concatenate([corner, corner + sides], axis=1)


def _detections(
    rng: np.random.Generator, boxes: np.ndarray, classes: np.ndarray, ties: bool
) -> tuple[np.ndarray, ...]:
    """Classes, boxes, scores, and that none is a crowd, the best first."""
    again = np.repeat(np.arange(len(boxes)), rng.integers(0, 4, len(boxes)))
    moved = rng.normal(0, rng.choice([1, 3, 8], (len(again), 1)), (len(again), 4))
    near = np.concatenate([boxes[again] + moved, _boxes(rng, rng.integers(0, 7))])
    low, high = np.minimum(near[:, :2], near[:, 2:]), np.maximum(near[:, :2], near[:, 2:])
    near = np.concatenate([low.clip(0, SIDE), high.clip(0, SIDE) + 1], axis=1)
    labels = rng.integers(0, 5, len(near))
    kept = np.flatnonzero(rng.random(len(again)) < 0.75)
    labels[kept] = classes[again[kept]]
    scores = rng.random(len(near))
    scores = np.sort(scores.round(1) if ties else scores)[::-1]
    return labels, near, scores, np.zeros(len(near), bool)


def _objects(rows: list[tuple], masks: bool) -> Objects:
    image = np.concatenate([np.full(len(row[1]), row[0]) for row in rows])
    classes, boxes, scores, crowd = map(np.concatenate, list(zip(*rows, strict=True))[1:])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    shapes = [_ellipse(box) for box in boxes] if masks else None
    return Objects(image, classes, boxes, areas, scores, crowd, shapes)


def _ellipse(box: np.ndarray) -> dict:
    """The mask of the ellipse in a box, and at least one pixel."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    (cx, cy), (rx, ry) = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    mask = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1
    mask[min(int(cy), SIDE - 1), min(int(cx), SIDE - 1)] = True
    return pycocotools.mask.encode(np.asfortranarray(mask, dtype=np.uint8))


def run_tidecv(evaluated: Evaluated, scores: np.ndarray | None = None) -> TIDERun:
    """Its own evaluation, with other scores of the detections where they are given."""
    truth, found = Data("truth", max_dets=len(evaluated.found)), Data("found")
    for number, name in enumerate(evaluated.classes):
        truth.add_class(number, name)
    for number, image in enumerate(evaluated.images):
        truth.add_image(number, image.path)
    for objects, data in ((evaluated.truth, truth), (evaluated.found, found)):
        scores = evaluated.found.scores if scores is None else scores
        for place, (image, label) in enumerate(
            zip(objects.image.tolist(), objects.classes.tolist(), strict=True)
        ):
            shape = _shape(objects, place)
            if data is found:
                found.add_detection(image, label, float(scores[place]), **shape)
            elif objects.crowd[place]:
                truth.add_ignore_region(image, label, **shape)
            else:
                truth.add_ground_truth(image, label, **shape)
    mode = TIDE.BOX if evaluated.task == "bbox" else TIDE.MASK
    with matplotlib.rc_context():  # whose defaults it changes, for all plots of the process
        return TIDE().evaluate(truth, found, mode=mode)


def _shape(objects: Objects, place: int) -> dict:
    if objects.masks is not None:
        return {"mask": objects.masks[place]}
    x0, y0, x1, y1 = objects.boxes[place]
    return {"box": [x0, y0, x1 - x0, y1 - y0]}
