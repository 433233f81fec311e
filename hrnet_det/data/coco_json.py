"""A user's own COCO json, read once and checked before anything is trained on it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from hrnet_det.data.coco_checks import contradictions, keypoint_lists, misshapen, objects
from hrnet_det.data.coco_values import examples, shown
from hrnet_det.errors import InputError, MissingInputError


class CocoJson:
    """What a COCO detection json says, after a check that it can be trained or tested on.

    Args:
        path: the json.
        images: the folder that its file names start from.
        masks: whether a mask head is to be trained, so that every object needs a segmentation.
        keypoints: whether a keypoint head is, so that every object needs its keypoints.
        evaluated: whether pycocotools is to score detections on it, which wants more keys; if not,
            it is trained on, which wants objects.
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
        content = _read(self.path)
        self._refuse(misshapen(content, evaluated=evaluated))
        self._refuse(contradictions(content, masks=masks, keypoints=keypoints, evaluated=evaluated))
        self._check_images([row["file_name"] for row in content["images"]])
        categories = sorted(content["categories"], key=lambda row: row["id"])
        self.classes: list[str] = [row["name"] for row in categories]
        self.keypoint_names: list[str] = next(keypoint_lists(categories), [])
        self.has_rle = any(
            isinstance(row.get("segmentation"), dict) for row in objects(content["annotations"])
        )

    def _refuse(self, problems: Iterable[str]) -> None:
        problems = list(problems)
        if problems:
            raise InputError(f"{self.path} cannot be used:\n  " + "\n  ".join(problems))

    def _check_images(self, names: list[str]) -> None:
        # pathlib is slower, and fails at names that are too long for the file system.
        missing = [name for name in names if not os.path.isfile(os.path.join(self.images, name))]
        if missing:
            raise MissingInputError(
                f"{len(missing)} of {len(names)} images of {self.path} are not in {self.images}: "
                f"{examples(map(shown, missing))}"
            )


def _read(path: Path) -> dict[str, list[object]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unrepeated)
    except OSError as error:
        raise InputError(f"COCO json {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{path} is not valid JSON: {_reason(error)}") from error
    lists = ("images", "annotations", "categories")
    found = content if isinstance(content, dict) else {}
    missing = [key for key in lists if not isinstance(found.get(key), list)]
    if missing:
        raise InputError(
            f"{path} is not in COCO's format: it has no list of {', '.join(missing)} "
            "(https://cocodataset.org/#format-data)"
        )
    return content


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"{error}; save it as UTF-8"
    if "BOM" in str(error):  # pycocotools reads the file as well, and would fail at it
        return "it begins with a byte order mark; save it as UTF-8 without one"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error) or "it does not fit into the memory"


def _unrepeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object; of a repeated key the last value would silently be taken."""
    row = dict(pairs)
    if len(row) != len(pairs):
        ((key, count),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"an object has the key {shown(key)} {count} times")
    return row
