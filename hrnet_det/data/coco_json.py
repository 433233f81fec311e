"""A user's own COCO json, read once and checked before anything is trained on it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hrnet_det.errors import InputError, MissingInputError


class CocoFile:
    """What a COCO detection json says, after a check that it can be trained or tested on.

    Args:
        path: the json.
        images: the folder that its file names start from.
        masks: whether a mask head is to be trained, so that every object needs a segmentation.
        keypoints: whether a keypoint head is, so that every object needs its keypoints.
        evaluated: whether pycocotools is to score detections on it, which wants more keys.
    Attributes:
        classes: category names in the order of their ids.
        keypoint_names: of the first category that has keypoints, [] if none has.
        has_rle: whether an object's mask (not a crowd's) is run-length encoded.
    Raises: MissingInputError if the json, the folder or images are missing; InputError if the
        json is not COCO's format or contradicts itself (the message counts and shows examples).
    """

    def __init__(
        self, path: Path, images: Path, *, masks: bool, keypoints: bool, evaluated: bool
    ) -> None:
        self.path = path.expanduser()
        self.images = images.expanduser()
        if not self.path.is_file():
            raise MissingInputError(f"COCO json {self.path} is not there")
        if not self.images.is_dir():
            raise MissingInputError(f"image folder {self.images} (of {self.path}) is not there")
        content = self._read()
        self._check(content, masks=masks, keypoints=keypoints, evaluated=evaluated)
        categories = sorted(content["categories"], key=lambda category: category["id"])
        self.classes: list[str] = [category["name"] for category in categories]
        self.keypoint_names = _keypoint_names(categories)
        self.has_rle = any(
            isinstance(a.get("segmentation"), dict) and not a.get("iscrowd", 0)
            for a in content["annotations"]
        )

    def _read(self) -> dict:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{self.path} is not valid JSON: {error}") from error
        lists = ("images", "annotations", "categories")
        missing = [
            key
            for key in lists
            if not isinstance(content, dict) or not isinstance(content.get(key), list)
        ]
        if missing:
            raise InputError(
                f"{self.path} is not in COCO's format: it has no list of {', '.join(missing)} "
                "(https://cocodataset.org/#format-data)"
            )
        return content

    def _check(self, content: dict, *, masks: bool, keypoints: bool, evaluated: bool) -> None:
        keys = ("id", "image_id", "category_id", "bbox")
        if evaluated:
            keys = (*keys, "area", "iscrowd")
        problems = [
            *_unusable("category", content["categories"], ("id", "name")),
            *_unusable("image", content["images"], ("id", "file_name", "height", "width")),
            *_unusable("annotation", content["annotations"], keys),
        ]
        if not content["categories"]:
            problems.append("there are no categories")
        if problems:
            self._refuse(problems)
        problems = [
            *_repeated("category id", [c["id"] for c in content["categories"]]),
            *_repeated("category name", [c["name"] for c in content["categories"]]),
            *_repeated("image id", [image["id"] for image in content["images"]]),
            *_repeated("annotation id", [a["id"] for a in content["annotations"]]),
            *_wrong_annotations(content, masks),
            *(_zero_ids(content) if evaluated else ()),
            *(_wrong_keypoints(content) if keypoints else ()),
        ]
        if problems:
            self._refuse(problems)
        names = [image["file_name"] for image in content["images"]]
        missing = [name for name in names if not (self.images / name).is_file()]
        if missing:
            raise MissingInputError(
                f"{len(missing)} of {len(names)} images of {self.path} are not in "
                f"{self.images}: {_examples(missing)}"
            )

    def _refuse(self, problems: list[str]) -> None:
        raise InputError(f"{self.path} cannot be used:\n  " + "\n  ".join(problems))


def _unusable(what: str, rows: list, keys: tuple[str, ...]) -> Iterator[str]:
    for key in keys:
        without = [i for i, row in enumerate(rows) if not isinstance(row, dict) or key not in row]
        if without:
            yield f"{len(without)} {what} entries have no {key!r}: entry {_examples(without)}"
            continue
        if key == "id" or key.endswith("_id"):
            wrong = [i for i, row in enumerate(rows) if type(row[key]) is not int]
            if wrong:
                yield (
                    f"{len(wrong)} {what} entries have a {key!r} that is no whole number: entry "
                    f"{_examples(wrong)}"
                )


def _repeated(what: str, values: list) -> Iterator[str]:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        yield f"{what} given more than once: {_examples(twice)}"


def _wrong_annotations(content: dict, masks: bool) -> Iterator[str]:
    categories = {category["id"] for category in content["categories"]}
    images = {image["id"] for image in content["images"]}
    annotations = content["annotations"]
    for key, is_right, what in (
        ("category_id", categories.__contains__, "an unknown category_id"),
        ("image_id", images.__contains__, "an unknown image_id"),
        ("bbox", _is_box, "a bbox that is no [x, y, w, h]"),
    ):
        wrong = [f"{a[key]} of id {a['id']}" for a in annotations if not is_right(a[key])]
        if wrong:
            yield f"{len(wrong)} annotations have {what}: {_examples(wrong)}"
    bare = [f"id {a['id']}" for a in annotations if masks and not a.get("segmentation")]
    if bare:
        yield (
            f"{len(bare)} of {len(annotations)} annotations have no segmentation, which "
            "MODEL.MASK_ON needs (take a Faster R-CNN config for boxes alone): "
            f"{_examples(bare)}"
        )


def _zero_ids(content: dict) -> Iterator[str]:
    if any(a["id"] == 0 for a in content["annotations"]):
        yield "annotation id 0 is used: pycocotools counts its object as missed; number from 1"


def _keypoint_names(categories: list[dict]) -> list[str]:
    return next((c["keypoints"] for c in categories if c.get("keypoints")), [])


def _wrong_keypoints(content: dict) -> Iterator[str]:
    number = len(_keypoint_names(content["categories"]))
    wrong = [
        f"id {a['id']}"
        for a in content["annotations"]
        if len(a.get("keypoints", ())) != 3 * number and not a.get("iscrowd", 0)
    ]
    if wrong and number:
        yield (
            f"{len(wrong)} annotations have no {number} x 3 keypoint values (x, y, visibility), "
            f"which MODEL.KEYPOINT_ON needs: {_examples(wrong)}"
        )


def _is_box(box: object) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(v, (int, float)) and abs(v) < float("inf") for v in box)
        and min(box[2:]) >= 0
    )


def _examples(values: list, most: int = 3) -> str:
    text = ", ".join(str(value)[:200] for value in values[:most])
    return text + (", ..." if len(values) > most else "")
