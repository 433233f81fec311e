"""A user's own COCO json, read once and checked before anything is trained on it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path

from hrnet_det.data import coco_values as values
from hrnet_det.errors import InputError, MissingInputError

Content = dict[str, list[dict]]


class CocoJson:
    """What a COCO detection json says, after a check that it can be trained or tested on.

    Args:
        path: the json. images: the folder that its file names start from.
        masks, keypoints: whether such heads are trained, so that every object needs these.
        evaluated: whether pycocotools is to score detections on it, which wants more keys; if not,
            it is trained on, which wants objects.
    Attributes:
        content: what the json has.
        classes: category names in the order of their ids.
        keypoint_names: of the first category that has keypoints, [] if none has.
        has_rle: whether an object's mask (not a crowd's) is run-length encoded.
    Raises: MissingInputError if the json, the folder or images are missing; InputError if the
        json is not COCO's format or contradicts itself (the message counts and shows examples).
    """

    def __init__(
        self, path: Path, images: Path, *, masks: bool, keypoints: bool, evaluated: bool
    ) -> None:
        self.path, self.images = path.expanduser(), images.expanduser()
        if not self.path.is_file():
            raise MissingInputError(f"COCO json {self.path} is not there")
        if not self.images.is_dir():
            raise MissingInputError(f"image folder {self.images} (of {self.path}) is not there")
        self.content = content = _read(self.path)
        for problems in (
            misshapen(content, evaluated=evaluated),
            contradictions(content, masks=masks, keypoints=keypoints, evaluated=evaluated),
        ):
            lines = "\n  ".join(problems)
            if lines:
                raise InputError(f"{self.path} cannot be used:\n  {lines}")
        names = [row["file_name"] for row in content["images"]]
        # pathlib is slower, and fails at names that are too long for the file system.
        missing = [name for name in names if not os.path.isfile(os.path.join(self.images, name))]
        if missing:
            raise MissingInputError(
                f"{len(missing)} of {len(names)} images of {self.path} are not in {self.images}: "
                f"{values.examples(map(values.shown, missing))}"
            )
        categories = sorted(content["categories"], key=itemgetter("id"))
        self.classes: list[str] = [row["name"] for row in categories]
        self.keypoint_names: list[str] = next(iter(_keypoint_lists(categories)), [])
        objects = _objects(content["annotations"])
        self.has_rle = any(isinstance(row.get("segmentation"), dict) for row in objects)


def write_content(path: Path, content: Content) -> None:
    """Write a COCO json, with its folder; a file that is not whole is never at the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(content), encoding="utf-8")
    os.replace(unfinished, path)


def _read(path: Path) -> Content:
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unrepeated)
    except OSError as error:
        raise InputError(f"COCO json {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{path} is not valid JSON: {_reason(error)}") from error
    found = content if isinstance(content, dict) else {}
    lists = ("images", "annotations", "categories")
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
        raise ValueError(f"an object has the key {values.shown(key)} {count} times")
    return row


def misshapen(content: Content, *, evaluated: bool) -> Iterator[str]:
    """Rows that lack a key, or have no usable ids; nothing more can be said of these."""
    for rows_of, rules in values.rules(evaluated=evaluated).items():
        rows = content[rows_of]
        if not rows and rows_of != "annotations":
            yield f"there are no {rows_of}"
        odd = [i for i, row in enumerate(rows) if not isinstance(row, dict)]
        yield from _count(odd, rows, "are not objects {...}", rows_of, "entry ")
        for key, is_right, allowed, required in () if odd else rules:
            lacking = [i for i, row in enumerate(rows) if required and key not in row]
            yield from _count(lacking, rows, f"have no {key!r}", rows_of, "entry ")
            if is_right is values.is_id and not lacking:
                wrong = [i for i, row in enumerate(rows) if not is_right(row[key])]
                yield from _count(wrong, rows, _not(key, allowed), rows_of, "entry ")


def contradictions(
    content: Content, *, masks: bool, keypoints: bool, evaluated: bool
) -> Iterator[str]:
    """Values that are not allowed, or do not fit together, of content that is not `misshapen`."""
    annotations = content["annotations"]
    for rows_of, rules in values.rules(evaluated=evaluated).items():
        rows = content[rows_of]
        for key, is_right, allowed, _ in rules:
            wrong = [row for row in rows if key in row and not is_right(row[key])]
            found = [f"{values.shown(row[key])} of id {row['id']}" for row in wrong]
            yield from _count(found, rows, _not(key, allowed), rows_of)
    yield from _repeated(content)
    for rows_of, key in (("categories", "category_id"), ("images", "image_id")):
        known = {row["id"] for row in content[rows_of]}
        wrong = [f"{row[key]} of id {row['id']}" for row in annotations if row[key] not in known]
        yield from _count(wrong, annotations, f"have an unknown {key!r}")
    if evaluated and any(row["id"] == 0 for row in annotations):
        yield "annotation id 0 is used: pycocotools counts its object as missed; number from 1"
    if not evaluated and not _objects(annotations):
        yield "there are no objects to train on: no annotations but those with iscrowd 1"
    yield from _wrong_run_lengths(content)
    if masks:
        why = "MODEL.MASK_ON needs (take a Faster R-CNN config for boxes alone)"
        bare = [f"id {row['id']}" for row in annotations if not row.get("segmentation")]
        yield from _count(bare, annotations, f"have no 'segmentation', which {why}")
    if keypoints:
        yield from _wrong_keypoints(content, evaluated=evaluated)


def _objects(annotations: Iterable[dict]) -> list[dict]:
    """The annotations that are not crowds."""
    return [row for row in annotations if not row.get("iscrowd", 0)]


def _keypoint_lists(categories: Iterable[dict]) -> list[list[str]]:
    """The names of the keypoints of those categories that have some."""
    lists = [row.get("keypoints") for row in categories]
    return [names for names in lists if names and values.are_names(names)]


def _repeated(content: Content) -> Iterator[str]:
    for what, rows_of, key in (
        ("category id", "categories", "id"),
        ("image id", "images", "id"),
        ("annotation id", "annotations", "id"),
        ("category name", "categories", "name"),
    ):
        counts = Counter(row[key] for row in content[rows_of] if isinstance(row[key], (int, str)))
        twice = [values.shown(value) for value, count in counts.items() if count > 1]
        if twice:
            yield f"{what} given more than once: {values.examples(twice)}"


def _wrong_run_lengths(content: Content) -> Iterator[str]:
    sizes = {row["id"]: (row["height"], row["width"]) for row in content["images"]}
    wrong = []
    for row in content["annotations"]:
        mask, size = row.get("segmentation"), sizes.get(row["image_id"], (None,))
        is_right = isinstance(mask, dict) and values.is_segmentation(mask)
        if is_right and all(map(values.is_side, size)) and not values.covers(mask, *size):
            wrong.append(f"id {row['id']}")
    what = "have a 'segmentation' whose run lengths do not fill an image of their image's size"
    yield from _count(wrong, content["annotations"], what)


def _wrong_keypoints(content: Content, *, evaluated: bool) -> Iterator[str]:
    named = _keypoint_lists(content["categories"])
    if not named:  # said where the model's keypoints are compared with the data's
        return
    if any(names != named[0] for names in named):
        yield (
            "categories have different keypoints, but MODEL.KEYPOINT_ON learns one list of them: "
            f"{values.examples(map(values.shown, named))}"
        )
    number, needed = len(named[0]), "which MODEL.KEYPOINT_ON needs"
    rows = content["annotations"] if evaluated else _objects(content["annotations"])
    wrong, uncounted, visible = [], [], False
    for row in rows:
        shown, points = f"id {row['id']}", row.get("keypoints")
        if not isinstance(points, list) or len(points) != 3 * number:
            wrong.append(shown)
        elif any(values.is_amount(v) and v > 0 for v in points[2::3]):
            visible = True
        if not values.is_count(row.get("num_keypoints")):
            uncounted.append(shown)
    yield from _count(wrong, rows, f"do not have {number} x 3 'keypoints' values, {needed}")
    if evaluated:
        what = f"have no number of 'num_keypoints', {needed} for testing"
        yield from _count(uncounted, rows, what)
    elif not wrong and not visible:
        yield "no annotation has a visible keypoint (visibility 1 or 2) to train on"


def _count(
    wrong: list, rows: list, what: str, rows_of: str = "annotations", before: str = ""
) -> Iterator[str]:
    """A line that counts the wrong ones of some rows and shows examples; none without any."""
    if wrong:
        yield f"{len(wrong)} of {len(rows)} {rows_of} {what}: {before}{values.examples(wrong)}"


def _not(key: str, allowed: str) -> str:
    return f"have {'an' if key[0] in 'aei' else 'a'} {key!r} that is not {allowed}"
