"""Objects and detections of tiny test sets, written by hand."""

import contextlib
import copy
import io
from collections.abc import Sequence

from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hrnet_det.diagnosis.arrays import Predictions
from hrnet_det.diagnosis.objects import Evaluated

SIDE = 200  # of images; pixels


def evaluated_of(
    *,
    truth: Sequence[tuple],
    found: Sequence[tuple],
    classes: Sequence[str] = ("cat", "dog"),
    images: int = 1,
    task: str = "bbox",
    max_detections: int = 100,
) -> Evaluated:
    """A test set of rows: (image, class, [x, y, width, height]), of crowds with "crowd" at the end.

    Args:
        found: the same with a score at the end. For "segm" objects fill their boxes.
    """
    content = {
        "images": [
            {"id": n, "file_name": f"{n}.png", "height": SIDE, "width": SIDE} for n in range(images)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(classes)],
        "annotations": [
            _row(*row[:3]) | {"id": n, "iscrowd": int("crowd" in row)}
            for n, row in enumerate(truth, start=1)
        ],
    }
    results = [_row(*row[:3]) | {"score": row[3]} for row in found]
    return Predictions(content, results, max_detections=max_detections).evaluated(task)


def _row(image: int, label: int, box: Sequence[float]) -> dict:
    x, y, w, h = box
    outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    mask = coco_mask.merge(coco_mask.frPyObjects(outline, SIDE, SIDE))
    mask = {"size": mask["size"], "counts": mask["counts"].decode()}
    return {"image_id": image, "category_id": label, "bbox": list(box), "segmentation": mask}


def coco_evaluation(truth: dict, results: Sequence[dict], task: str, *, limit: int) -> COCOeval:
    """pycocotools' evaluation of a json and results, accumulated; with `limit` detections."""
    results = copy.deepcopy(results)
    if task == "segm":  # as Detectron2: an object's size is its mask's area, not its box's
        results = [{k: v for k, v in row.items() if k != "bbox"} for row in results]
    annotations = COCO()
    annotations.dataset = copy.deepcopy(truth)
    with contextlib.redirect_stdout(io.StringIO()):
        annotations.createIndex()
        made = COCOeval(annotations, annotations.loadRes(results), task)
        made.params.maxDets = [limit]
        made.evaluate()
        made.accumulate()
    return made
