"""What of a dataset a training leaves out because its MODEL.CONVENTIONS do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from detectron2.structures import BoxMode

from hrnet_det.check_data.objects import Objects
from hrnet_det.data.findings import Finding
from hrnet_det.data.learnable import has_objects, learnable, leaves_out, said
from hrnet_det.modeling.compat.conventions import get_conventions


def left_out(conventions: str, objects: Objects, crowds: list[dict]) -> Iterator[Finding]:
    """What is not learned from of a dataset that is trained on; an error if nothing is left.

    Args:
        conventions: a value of MODEL.CONVENTIONS.
        crowds: the annotations of groups, beside the objects.
    """
    rules = get_conventions(conventions).training
    if not leaves_out(rules):
        return
    rows = _rows(objects, crowds)
    kept, reasons = learnable(rows, rules)
    if not reasons:
        return
    images, learned = {row["id"] for row in kept}, {a["id"] for r in kept for a in r["annotations"]}
    given = [a for row in rows for a in row["annotations"]]
    nothing = not has_objects(kept)
    yield Finding(
        "left-out-by-conventions",
        "error" if nothing else "warning",
        f"MODEL.CONVENTIONS {conventions} leaves out {said(reasons)}"
        + (", and no object is left to learn from" if nothing else ""),
        images=tuple(r["id"] for r in rows if r["annotations"] and r["id"] not in images),
        annotations=tuple(a["id"] for a in given if not a["iscrowd"] and a["id"] not in learned),
    )


def _rows(objects: Objects, crowds: list[dict]) -> list[dict]:
    """Images with their annotations, as Detectron2 has them; of ids that are known."""
    of_image = defaultdict(list)
    for row in [*objects.rows, *crowds]:
        annotation = {"id": row.get("id"), "iscrowd": int(bool(row.get("iscrowd")))}
        annotation |= {key: row[key] for key in ("bbox", "area", "segmentation") if key in row}
        of_image[row.get("image_id")].append(annotation | {"bbox_mode": BoxMode.XYWH_ABS})
    return [
        {key: image[key] for key in ("id", "height", "width")}
        | {"annotations": of_image[image["id"]]}
        for image in objects.images
    ]
