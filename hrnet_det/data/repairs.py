"""Values of a COCO json that are wrong in one possible way only: converted, and told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

from hrnet_det.data import coco_values as values
from hrnet_det.data.coco_values import Content
from hrnet_det.data.findings import Finding, finding
from hrnet_det.data.images import probe
from hrnet_det.data.mask_shapes import mask_area, mask_box


def repair(content: Content, folder: Path) -> list[Finding]:
    """Convert in place what tools write in another form than COCO's; each kind is one finding.

    Rows that are no objects are left to the checks, as is what could mean several things.

    Args:
        content: of a COCO json. folder: of its images.
    """
    found = []
    for rows_of, repairs in REPAIRS.items():
        rows = [row for row in content[rows_of] if isinstance(row, dict)]
        for kind, what, make in repairs:
            changed = [row for row in rows if make(row)]
            found += finding("change", kind, changed, rows, what, rows_of)
    found += _file_names(content["images"], folder)
    found += _sizes(content["images"], folder)
    found += _boxes(content)
    found += _without_area(content["annotations"])
    found += _repeated_ids(content["annotations"])
    return found


def _as_text(key: str) -> Callable[[dict], bool]:
    return lambda row: type(row.get(key)) is int and _set(row, key, str(row[key]))


def _on_one_line(row: dict) -> bool:
    name = row.get("name")
    made = values.on_one_line(name) if isinstance(name, str) else name
    return bool(made) and made != name and _set(row, "name", made)


def _as_number(key: str) -> Callable[[dict], bool]:
    """Digits, and floats without a fraction."""

    def make(row: dict) -> bool:
        value = row.get(key)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
            return _set(row, key, int(value))
        is_whole = type(value) is float and value.is_integer() and abs(value) < values.LARGEST
        return is_whole and _set(row, key, int(value))

    return make


def _set(row: dict, key: str, value: object) -> bool:
    row[key] = value
    return True


FLAGS = {"0": 0, "1": 1, None: 0, False: 0, True: 1}


def _flag(row: dict) -> bool:
    value = row.get("iscrowd")
    if not (value is None or isinstance(value, (str, bool))) or value not in FLAGS:
        return False
    return _set(row, "iscrowd", FLAGS[value])


def _flat_polygon(row: dict) -> bool:
    mask = row.get("segmentation")
    is_flat = isinstance(mask, list) and len(mask) >= 6 and values.are_numbers(mask)
    return is_flat and len(mask) % 2 == 0 and _set(row, "segmentation", [mask])


def _single_run_lengths(row: dict) -> bool:
    mask = row.get("segmentation")
    is_one = isinstance(mask, list) and len(mask) == 1 and isinstance(mask[0], dict)
    return is_one and values.is_segmentation(mask[0]) and _set(row, "segmentation", mask[0])


def _degenerate_polygons(row: dict) -> bool:
    """Parts of no or less than three points; a mask of such alone becomes none."""
    mask = row.get("segmentation")
    if not isinstance(mask, list) or not all(map(values.are_numbers, mask)):
        return False
    kept = [part for part in mask if len(part) >= 6 or len(part) % 2]
    return len(kept) < len(mask) and _set(row, "segmentation", kept)


def _count_keypoints(row: dict) -> bool:
    points = row.get("keypoints")
    counted = values.is_count(row.get("num_keypoints"))
    if not points or not values.are_keypoints(points) or counted:
        return False
    return _set(row, "num_keypoints", sum(visible > 0 for visible in points[2::3]))


# Of each of the json's lists: kinds of changes, what they are, and what makes them in a row.
REPAIRS: dict[str, tuple[tuple[str, str, Callable[[dict], bool]], ...]] = {
    "images": (
        ("image-id", "have an 'id' of digits in quotes: read as a number", _as_number("id")),
        ("file-name-number", "have a number as 'file_name': read as text", _as_text("file_name")),
        ("image-size", "have a 'height' of digits in quotes or a float", _as_number("height")),
        ("image-size", "have a 'width' of digits in quotes or a float", _as_number("width")),
    ),
    "categories": (
        ("category-name-number", "have a number as 'name': read as text", _as_text("name")),
        (
            "category-name-controls",
            "have control characters in their 'name', such as line breaks: read as a space",
            _on_one_line,
        ),
    ),
    "annotations": (
        ("image-id", "have an 'image_id' in quotes: read as a number", _as_number("image_id")),
        ("category-id", "have a 'category_id' in quotes: a number", _as_number("category_id")),
        ("iscrowd", "have no 'iscrowd' of 0 or 1 as a number: 0 where it is missing", _flag),
        ("polygon-flat-list", "have one flat list as 'segmentation': one polygon", _flat_polygon),
        ("run-lengths-in-list", "have run lengths in a list: taken out", _single_run_lengths),
        (
            "polygon-degenerate",
            "have polygons of less than 3 points in their 'segmentation': left out",
            _degenerate_polygons,
        ),
        (
            "num-keypoints",
            "have no 'num_keypoints': their keypoints of visibility 1 and 2 counted",
            _count_keypoints,
        ),
    ),
}


def _is_named(row: object) -> bool:
    return isinstance(row, dict) and values.is_text(row.get("file_name"))


def _file_names(images: list[dict], folder: Path) -> Iterator[Finding]:
    """Names with backslashes or a server's path: found by their last part where it is unique."""
    named = [
        row for row in images if isinstance(row, dict) and values.is_text(row.get("file_name"))
    ]
    missing = [row for row in named if not os.path.isfile(os.path.join(folder, row["file_name"]))]
    if not missing:
        return
    places: dict[str, list[str]] = {}
    for path, _, files in os.walk(folder):
        for file in files:
            places.setdefault(file, []).append(os.path.relpath(os.path.join(path, file), folder))
    moved = []
    for row in missing:
        for name in (row["file_name"], unquote(row["file_name"])):
            whole = name.replace("\\", "/")
            found = places.get(whole.rsplit("/", 1)[-1], [])
            exact = [place for place in found if place.replace(os.sep, "/") == whole]
            if len(exact or found) == 1:
                moved.append((row, row["file_name"]))
                row["file_name"] = (exact or found)[0]
                break
    what = f"have a 'file_name' that is not in {folder} but for its last part: found by that"
    shown = [f"{values.shown(name)} is {values.shown(row['file_name'])}" for row, name in moved]
    rows = [row for row, _ in moved]
    yield from finding("change", "file-name-found", rows, images, what, "images", shown)


def _sizes(images: list[dict], folder: Path) -> Iterator[Finding]:
    """Sizes that are missing or null are read from the files."""
    changed = []
    for row in filter(_is_named, images):
        absent = [key for key in ("height", "width") if row.get(key) is None]
        facts = probe(os.path.join(folder, row["file_name"])) if absent else None
        if facts and facts.width:
            row["width"], row["height"] = facts.width, facts.height
            changed.append(row)
    what = "have no 'height' and 'width': taken from the files"
    yield from finding("change", "image-size-missing", changed, images, what, "images")


def _boxes(content: Content) -> Iterator[Finding]:
    """Boxes that are missing or empty are those of the masks; objects without either go."""
    rows = content["annotations"]
    derived, empty = [], []
    for row in filter(lambda row: isinstance(row, dict), rows):
        box = row.get("bbox")
        if box is not None and not (values.is_box(box) and 0 in box[2:]):
            continue
        made = mask_box(row.get("segmentation"))
        if made is not None and min(made[2:]) > 0:
            row["bbox"] = made
            derived.append(row)
        elif box is not None:
            empty.append(row)
    what = "have no 'bbox', or one of no width or height: that of their mask is taken"
    yield from finding("change", "boxes-of-masks", derived, rows, what)
    what = "have a 'bbox' of no width or height: these objects are left out"
    yield from finding("change", "boxes-empty", empty, rows, what)
    if empty:
        gone = set(map(id, empty))
        content["annotations"] = [row for row in rows if id(row) not in gone]


def _without_area(annotations: list[dict]) -> Iterator[Finding]:
    rows = [row for row in annotations if isinstance(row, dict) and row.get("area") is None]
    changed = []
    for row in rows:
        if (area := mask_area(row.get("segmentation"))) is not None:
            row["area"] = area
        elif values.is_box(row.get("bbox")):
            row["area"] = float(row["bbox"][2] * row["bbox"][3])
        else:
            continue
        changed.append(row)
    what = "have no 'area': that of their mask, or of their box without one"
    yield from finding("change", "area-missing", changed, annotations, what)


def _repeated_ids(annotations: list[dict]) -> Iterator[Finding]:
    """Annotation ids mean nothing else: missing, repeated and odd ones are numbered anew."""
    ids = [row.get("id") if isinstance(row, dict) else None for row in annotations]
    odd = [value for value in ids if not values.is_id(value)]
    if not all(isinstance(row, dict) for row in annotations):
        return
    if odd or len(set(ids)) < len(ids):
        for number, row in enumerate(annotations, 1):
            row["id"] = number
        what = "are numbered anew: their ids are not whole numbers, each given once"
        yield from finding("change", "annotation-ids", annotations, annotations, what, shown=())
