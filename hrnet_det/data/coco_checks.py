"""What is wrong with the content of a COCO json: a line for each kind of problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from hrnet_det.data.coco_values import (
    are_names,
    covers,
    examples,
    is_amount,
    is_count,
    is_id,
    is_segmentation,
    is_side,
    rules,
    shown,
)

Content = dict[str, list[dict]]
ONE = {"categories": "category", "images": "image", "annotations": "annotation"}


def misshapen(content: Content, *, evaluated: bool) -> Iterator[str]:
    """Rows that lack a key, or have no usable ids; nothing more can be said of these.

    Args:
        content: a COCO json with its three lists.
        evaluated: whether it is tested on, else it is trained on.
    """
    for rows_of, wanted in rules(evaluated=evaluated).items():
        rows = content[rows_of]
        count = f"of {len(rows)} {rows_of}"
        odd = [i for i, row in enumerate(rows) if not isinstance(row, dict)]
        if odd:
            yield f"{len(odd)} {count} are not objects {{...}}: entry {examples(odd)}"
            continue
        for key, is_right, allowed, required in wanted:
            lacking = [i for i, row in enumerate(rows) if required and key not in row]
            if lacking:
                yield f"{len(lacking)} {count} have no {key!r}: entry {examples(lacking)}"
            elif is_right is is_id:
                wrong = [i for i, row in enumerate(rows) if not is_id(row[key])]
                if wrong:
                    yield (
                        f"{len(wrong)} {count} have {_a(key)} that is not {allowed}: "
                        f"entry {examples(wrong)}"
                    )
    for rows_of in ("categories", "images"):
        if not content[rows_of]:
            yield f"there are no {rows_of}"


def contradictions(
    content: Content, *, masks: bool, keypoints: bool, evaluated: bool
) -> Iterator[str]:
    """Values that are not allowed, or do not fit together; of content that is not `misshapen`.

    Args:
        masks, keypoints: whether they are learned.
        content, evaluated: as of `misshapen`.
    """
    annotations = content["annotations"]
    yield from _wrong_values(content, evaluated=evaluated)
    yield from _repeated(content)
    for rows_of, key in (("categories", "category_id"), ("images", "image_id")):
        known = {row["id"] for row in content[rows_of]}
        wrong = [f"{row[key]} of id {row['id']}" for row in annotations if row[key] not in known]
        if wrong:
            yield _count(wrong, annotations, f"have an unknown {key!r}")
    if evaluated and any(row["id"] == 0 for row in annotations):
        yield "annotation id 0 is used: pycocotools counts its object as missed; number from 1"
    if not evaluated and not any(True for _ in objects(annotations)):
        yield "there are no objects to train on: no annotations but those with iscrowd 1"
    yield from _wrong_run_lengths(content)
    if masks:
        bare = [f"id {row['id']}" for row in annotations if not row.get("segmentation")]
        if bare:
            why = "MODEL.MASK_ON needs (take a Faster R-CNN config for boxes alone)"
            yield _count(bare, annotations, f"have no 'segmentation', which {why}")
    if keypoints:
        yield from _wrong_keypoints(content, evaluated=evaluated)


def objects(annotations: Iterable[dict]) -> Iterator[dict]:
    """The annotations that are not crowds."""
    return (row for row in annotations if not row.get("iscrowd", 0))


def keypoint_lists(categories: Iterable[dict]) -> Iterator[list[str]]:
    """The names of the keypoints of those categories that have some."""
    lists = (row.get("keypoints") for row in categories)
    return (names for names in lists if names and are_names(names))


def _wrong_values(content: Content, *, evaluated: bool) -> Iterator[str]:
    for rows_of, wanted in rules(evaluated=evaluated).items():
        rows = content[rows_of]
        for key, is_right, allowed, _ in wanted:
            wrong = [row for row in rows if key in row and not is_right(row[key])]
            if wrong:
                values = [f"{shown(row[key])} of id {row['id']}" for row in wrong]
                yield _count(values, rows, f"have {_a(key)} that is not {allowed}", rows_of)


def _repeated(content: Content) -> Iterator[str]:
    given = {f"{ONE[rows_of]} id": [row["id"] for row in content[rows_of]] for rows_of in ONE}
    names = [row["name"] for row in content["categories"]]
    given["category name"] = [name for name in names if isinstance(name, str)]
    for what, values in given.items():
        twice = [shown(value) for value, count in Counter(values).items() if count > 1]
        if twice:
            yield f"{what} given more than once: {examples(twice)}"


def _wrong_run_lengths(content: Content) -> Iterator[str]:
    sizes = {
        row["id"]: (row["height"], row["width"])
        for row in content["images"]
        if is_side(row["height"]) and is_side(row["width"])
    }
    wrong = [
        f"id {row['id']}"
        for row in content["annotations"]
        if isinstance(row.get("segmentation"), dict)
        and is_segmentation(row["segmentation"])
        and row["image_id"] in sizes
        and not covers(row["segmentation"], *sizes[row["image_id"]])
    ]
    if wrong:
        what = "have a 'segmentation' whose run lengths do not fill an image of their image's size"
        yield _count(wrong, content["annotations"], what)


def _wrong_keypoints(content: Content, *, evaluated: bool) -> Iterator[str]:
    named = list(keypoint_lists(content["categories"]))
    if not named:  # said where the model's keypoints are compared with the data's
        return
    if any(names != named[0] for names in named):
        yield (
            "categories have different keypoints, but MODEL.KEYPOINT_ON learns one list of them: "
            f"{examples(map(shown, named))}"
        )
    number, needed = len(named[0]), "which MODEL.KEYPOINT_ON needs"
    rows = content["annotations"] if evaluated else list(objects(content["annotations"]))
    lists = [row.get("keypoints") for row in rows]
    wrong = [
        f"id {row['id']}"
        for row, values in zip(rows, lists, strict=True)
        if not isinstance(values, list) or len(values) != 3 * number
    ]
    if wrong:
        yield _count(wrong, rows, f"do not have {number} x 3 'keypoints' values, {needed}")
    elif not evaluated and not any(is_amount(v) and v for x in lists for v in x[2::3]):
        yield "no annotation has a visible keypoint (visibility 1 or 2) to train on"
    uncounted = [f"id {row['id']}" for row in rows if not is_count(row.get("num_keypoints"))]
    if evaluated and uncounted:
        yield _count(uncounted, rows, f"have no number of 'num_keypoints', {needed} for testing")


def _count(wrong: list[str], rows: list, what: str, rows_of: str = "annotations") -> str:
    return f"{len(wrong)} of {len(rows)} {rows_of} {what}: {examples(wrong)}"


def _a(key: str) -> str:
    return f"{'an' if key[0] in 'aei' else 'a'} {key!r}"
