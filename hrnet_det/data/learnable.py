"""Which images and objects of a dataset a code base learns from: MODEL.CONVENTIONS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from detectron2.structures import BoxMode

from hrnet_det.data.mask_shapes import mask_area
from hrnet_det.modeling.compat.training_rules import TrainingRules

SMALL = "image with a side under {side} px"  # what is counted, its noun first
EMPTIED = "image of which no object is left"


def leaves_out(rules: TrainingRules) -> bool:
    """Whether a code base leaves out more than Detectron2, which keeps all that has an object."""
    least = rules.least_image_side, rules.least_object_side
    return any((*least, rules.drops_objects_without_area, rules.drops_objects_outside))


def learnable(
    rows: Iterable[dict], rules: TrainingRules, *, filter_empty: bool = True
) -> tuple[list[dict], Counter]:
    """The rows that a code base learns from, without the objects that it leaves out.

    Crowds stay; the mapper drops them. An image is empty if it has no annotation, crowds included.

    Source: CocoDataset of mmdetection 3.3 (parse_data_info, filter_data: filter_empty_gt and
    min_size) and of HRNet-Object-Detection.
    Differs from source: where HRNet-Object-Detection draws another image in place of one whose
        objects are all left out, that image is left out.

    Args:
        filter_empty: leave out images without annotations, as DATALOADER.FILTER_EMPTY_ANNOTATIONS.
    Returns: rows, new where objects are left out; how often each reason to leave out applied.
    """
    kept, left_out = [], Counter()
    for row in rows:
        if min(row["height"], row["width"]) < rules.least_image_side:
            left_out[SMALL.format(side=rules.least_image_side)] += 1
            continue
        annotations = row.get("annotations")
        if annotations is None:
            kept.append(row)
            continue
        if filter_empty and not annotations:
            continue
        reasons = [_reason(a, row, rules) for a in annotations]
        left_out.update(reason for reason in reasons if reason)
        left = [a for a, reason in zip(annotations, reasons, strict=True) if not reason]
        if filter_empty and not rules.keeps_emptied_images and not any(map(_is_object, left)):
            left_out[EMPTIED] += 1
            continue
        kept.append(row if len(left) == len(annotations) else {**row, "annotations": left})
    return kept, left_out


def has_objects(rows: Sequence[dict]) -> bool:
    """Whether there is an object to learn from in one of the rows, or one has no annotations."""
    return any("annotations" not in row or any(map(_is_object, row["annotations"])) for row in rows)


def said(left_out: Counter) -> str:
    """What was left out in words: "2 objects without an area, 1 image with a side under 32 px"."""
    counted = ((count, *reason.partition(" ")) for reason, count in left_out.items())
    return ", ".join(
        f"{count} {noun}{'s' * (count != 1)} {rest}" for count, noun, _, rest in counted
    )


def _reason(annotation: dict, row: dict, rules: TrainingRules) -> str:
    """Why an object is left out; "" if it is not, or is a crowd."""
    if not _is_object(annotation):
        return ""
    x0, y0, x1, y1 = BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)
    if rules.drops_objects_outside and (
        min(x1, row["width"]) <= max(x0, 0) or min(y1, row["height"]) <= max(y0, 0)
    ):
        return "object outside its image"
    if min(x1 - x0, y1 - y0) < rules.least_object_side:
        return f"object with a side under {rules.least_object_side:g} px"
    if rules.drops_objects_without_area and _area(annotation, (x1 - x0) * (y1 - y0)) <= 0:
        return "object without an area"
    return ""


def _area(annotation: dict, of_box: float) -> float:
    """Square pixels: as the annotations say, else of the mask, else of the box."""
    if (area := annotation.get("area")) is None:
        area = mask_area(annotation.get("segmentation"))
    return of_box if area is None else area


def _is_object(annotation: dict) -> bool:
    return not annotation.get("iscrowd", 0)
