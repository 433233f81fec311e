"""Checks of a COCO json's content: each problem is one finding that counts and shows examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from hrnet_det.data import coco_values as values
from hrnet_det.data.coco_values import Content
from hrnet_det.data.findings import Finding, finding


def misshapen(content: Content) -> Iterator[Finding]:
    """Rows that lack a key, or have no usable ids; nothing more can be said of these."""
    for rows_of, rules in values.RULES.items():
        rows = content[rows_of]
        if not rows and rows_of != "annotations":
            yield Finding(f"{rows_of}-none", "error", f"there are no {rows_of}")
        odd = [i for i, row in enumerate(rows) if not isinstance(row, dict)]
        yield from _entries("row", odd, rows, "are not objects {...}", rows_of)
        for key, is_right, allowed, required in () if odd else rules:
            lacking = [i for i, row in enumerate(rows) if required and key not in row]
            yield from _entries(key, lacking, rows, f"have no {key!r}", rows_of)
            if is_right is values.is_id and not lacking:
                wrong = [i for i, row in enumerate(rows) if not is_right(row[key])]
                yield from _entries(key, wrong, rows, _not(key, allowed), rows_of)


def _entries(key: str, wrong: list[int], rows: list, what: str, rows_of: str) -> Iterator[Finding]:
    if wrong:
        text = f"{len(wrong)} of {len(rows)} {rows_of} {what}: entry {values.examples(wrong)}"
        yield Finding(f"{rows_of}-{key}", "error", text)


def contradictions(
    content: Content, *, masks: bool, keypoints: bool, evaluated: bool
) -> Iterator[Finding]:
    """Values that are not allowed, or do not fit together, of content that is not `misshapen`."""
    annotations = content["annotations"]
    for rows_of, rules in values.RULES.items():
        rows = content[rows_of]
        for key, is_right, allowed, _ in rules:
            wrong = [row for row in rows if key in row and not is_right(row[key])]
            shown = [f"{values.shown(row[key])} of id {row['id']}" for row in wrong[:4]]
            kind = f"{rows_of}-{key}"
            yield from finding("error", kind, wrong, rows, _not(key, allowed), rows_of, shown)
    yield from _repeated(content)
    for rows_of, key in (("categories", "category_id"), ("images", "image_id")):
        known = {row["id"] for row in content[rows_of]}
        wrong = [row for row in annotations if row[key] not in known]
        shown = [f"{row[key]} of id {row['id']}" for row in wrong[:4]]
        what = f"have an unknown {key!r}"
        yield from finding("error", f"unknown-{key}", wrong, annotations, what, shown=shown)
    if not objects(annotations):
        purpose = "test" if evaluated else "train"
        text = f"there are no objects to {purpose} on: no annotations but those with iscrowd 1"
        yield Finding("no-objects", "error", text)
    yield from _wrong_run_lengths(content)
    if masks:
        why = "MODEL.MASK_ON needs (take a Faster R-CNN config for boxes alone)"
        bare = [row for row in annotations if not row.get("segmentation")]
        what = f"have no 'segmentation', which {why}"
        yield from finding("error", "no-masks", bare, annotations, what)
    if keypoints:
        yield from _wrong_keypoints(content, evaluated=evaluated)


def objects(annotations: Iterable[dict]) -> list[dict]:
    """The annotations that are not crowds."""
    return [row for row in annotations if not row.get("iscrowd", 0)]


def keypoint_lists(categories: Iterable[dict]) -> list[list[str]]:
    """The names of the keypoints of those categories that have some."""
    lists = [row.get("keypoints") for row in categories]
    return [names for names in lists if names and values.are_names(names)]


def _repeated(content: Content) -> Iterator[Finding]:
    for what, rows_of, key in (
        ("category id", "categories", "id"),
        ("image id", "images", "id"),
        ("category name", "categories", "name"),
    ):
        counts = Counter(row[key] for row in content[rows_of] if isinstance(row[key], (int, str)))
        twice = [values.shown(value) for value, count in counts.items() if count > 1]
        if twice:
            text = f"{what} given more than once: {values.examples(twice)}"
            yield Finding(what.replace(" ", "-"), "error", text)


def _wrong_run_lengths(content: Content) -> Iterator[Finding]:
    sizes = {row["id"]: (row["height"], row["width"]) for row in content["images"]}
    wrong = []
    for row in content["annotations"]:
        mask, size = row.get("segmentation"), sizes.get(row["image_id"], (None,))
        is_right = isinstance(mask, dict) and values.is_segmentation(mask)
        if is_right and all(map(values.is_side, size)) and not values.covers(mask, *size):
            wrong.append(row)
    what = "have a 'segmentation' whose run lengths do not fill an image of their image's size"
    yield from finding("error", "run-lengths-size", wrong, content["annotations"], what)


def _wrong_keypoints(content: Content, *, evaluated: bool) -> Iterator[Finding]:
    named = keypoint_lists(content["categories"])
    if not named:  # said where the model's keypoints are compared with the data's
        return
    if any(names != named[0] for names in named):
        text = (
            "categories have different keypoints, but MODEL.KEYPOINT_ON learns one list of them: "
            f"{values.examples(map(values.shown, named))}"
        )
        yield Finding("keypoints-differ", "error", text)
    number = len(named[0])
    rows = content["annotations"] if evaluated else objects(content["annotations"])
    lists = [(row, row.get("keypoints")) for row in rows]
    wrong = [
        row for row, points in lists if not isinstance(points, list) or len(points) != 3 * number
    ]
    what = f"do not have {number} x 3 'keypoints' values, which MODEL.KEYPOINT_ON needs"
    yield from finding("error", "keypoints-number", wrong, rows, what)
    seen = (v for _, points in lists if values.are_keypoints(points) for v in (points or ())[2::3])
    if not wrong and not any(visibility > 0 for visibility in seen):
        text = "no annotation has a visible keypoint (visibility 1 or 2) to learn or to test"
        yield Finding("keypoints-invisible", "error", text)


def _not(key: str, allowed: str) -> str:
    return f"have {'an' if key[0] in 'aei' else 'a'} {key!r} that is not {allowed}"
