"""One COCO json made two, to train and to test on: by image, always in the same way."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

from hrnet_det.data.coco_values import Content

SHARE = 0.2  # of the images, which are tested on
SEED = 0


def split_content(content: Content, share: float = SHARE, seed: int = SEED) -> tuple[Content, ...]:
    """The contents to train and to test on; the images of one file name stay together.

    Which images are tested on depends on the file names and the seed alone, not on their order. An
    image that has the last object of a class to train on is trained on, so that every class is.

    Args:
        content: of a COCO json whose rows have the keys of the format. share: of the images that
            are tested on, as far as the classes allow. seed: of the random order.
    """
    files = sorted({row["file_name"] for row in content["images"]})
    random.Random(seed).shuffle(files)
    file_of = {row["id"]: row["file_name"] for row in content["images"]}
    classes: dict[str, set[int]] = defaultdict(set)
    for row in content["annotations"]:
        if not row.get("iscrowd", 0) and row["image_id"] in file_of:
            classes[file_of[row["image_id"]]].add(row["category_id"])
    left = Counter(number for numbers in classes.values() for number in numbers)
    tested: set[str] = set()
    for file in files:
        if len(tested) < round(share * len(files)) and all(left[n] > 1 for n in classes[file]):
            tested.add(file)
            left.subtract(classes[file])
    return _part(content, set(files) - tested), _part(content, tested)


def _part(content: Content, files: set[str]) -> Content:
    images = [row for row in content["images"] if row["file_name"] in files]
    ids = {row["id"] for row in images}
    annotations = [row for row in content["annotations"] if row["image_id"] in ids]
    return {**content, "images": images, "annotations": annotations}
