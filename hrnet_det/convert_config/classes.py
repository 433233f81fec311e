"""Classes and numbers of images, from the jsons that a config names where they are there."""

from __future__ import annotations

import json
import math
from pathlib import Path

from hrnet_det.convert_config.conversion import Conversion
from hrnet_det.convert_config.nodes import plain
from hrnet_det.convert_config.splits import Split, split_of

# COCO train2017: images with objects, of 118,287 (mmdetection's filter_empty_gt leaves these).
COCO_TRAINING_IMAGES = 117_266
COCO_CLASSES = 80
CLASS_COUNTS = tuple(f"MODEL.{group}.NUM_CLASSES" for group in ("ROI_HEADS", "FCOS", "RETINANET"))


def compare_classes(conversion: Conversion, train: Split | None) -> None:
    """Classes follow the json: say where its categories may be others than the config's."""
    if train is None:
        return
    node = train.node.find("metainfo.classes") or train.node.find("metainfo.CLASSES")
    conversion.use(train.node.find("metainfo"))
    names = plain(node) if node is not None else None
    names = [names] if isinstance(names, str) else list(names or ())
    count = next((conversion.values[k] for k in CLASS_COUNTS if k in conversion.values), None)
    if names and count is not None and count.value != len(names):
        conversion.lack(
            count.sources[0], f"metainfo.classes has {len(names)} names: the json decides"
        )
    content = read_json(train.json)
    found = [row.get("name") for row in content.get("categories", [])] if content else []
    if found and names and sorted(map(str, found)) != sorted(names):
        conversion.lack(
            node,
            f"{train.json} has {len(found)} categories, all of which are learned here: keep those "
            "of the list alone in the json",
        )
    elif names and not found:
        conversion.remarks.append(
            f"Classes are the categories of {train.json}: it should have these {len(names)} alone."
        )


def read_json(path: str) -> dict:
    """The content of a json; {} where it is not there, or is none."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def images_of(conversion: Conversion) -> int | None:
    """Images of an epoch, as mmdetection's filters leave them; None where they are not known."""
    train = split_of(conversion, "train_dataloader")
    if train is None:
        return conversion.images
    if conversion.images is not None:
        return conversion.images * train.times
    if train.coco_name == "coco_2017_train":
        return COCO_TRAINING_IMAGES * train.times
    content = read_json(train.json)
    if not content:
        return None
    filtering = train.node.find("filter_cfg.filter_empty_gt")
    rows = content.get("images", [])
    if filtering is not None and filtering.value:
        with_objects = {row.get("image_id") for row in content.get("annotations", [])}
        rows = [row for row in rows if row.get("id") in with_objects]
    least = train.node.find("filter_cfg.min_size")
    if least is not None and isinstance(least.value, int):
        sides = ((row.get("width", math.inf), row.get("height", math.inf)) for row in rows)
        return sum(min(of_image) >= least.value for of_image in sides) * train.times
    return len(rows) * train.times
