"""COCO jsons that cannot be learned from: masks, boxes, keypoints, and rows of the user's code."""

import json
import math

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from helpers.own_json import HEIGHT, POLYGON, RUNS, WIDTH, changed, valid, write_images
from helpers.refusals import refusal
from pycocotools import mask as coco_mask

from hrnet_det.data.coco_json import CocoJson
from hrnet_det.data.rows import check_rows

NAN, GREAT = math.nan, 10**9
MASK = "annotations have a 'segmentation' that is not a list of polygons"
FILL = "annotations have a 'segmentation' whose run lengths do not fill an image of their image's"
BOX = "annotations have a 'bbox' that is not [x, y, width, height] in pixels"
POINTS = "annotations have a 'keypoints' that is not a list of x, y, visibility (0, 1 or 2)"
SIDE = "that is not a whole number of pixels above 0"


def runs(counts, size=(HEIGHT, WIDTH)):
    return {"size": list(size), "counts": counts}


def all_crowd():
    content = valid()
    for row in content["annotations"]:
        row.update(iscrowd=1, segmentation=RUNS)
    return content


def bare(path, value):
    """The same without the box and area, which are then taken from the mask."""
    content = changed(path, value)
    del content["annotations"][0]["bbox"], content["annotations"][0]["area"]
    return content


OF = "annotations.0."
# Masks: the value of the first object's segmentation, and what is said.
MASKS = {
    "text": ("x", MASK),
    "a number": (5, MASK),
    "true": (True, MASK),
    "a group": ({"a": 1}, MASK),
    "a flat list of odd length": (POLYGON[:7], MASK),
    "a flat list of text": (["a"] * 6, MASK),
    "a polygon of text": ([["a"] * 6], MASK),
    "a polygon of null": ([[None] * 6], MASK),
    "a polygon of lists": ([[[1, 2], [3, 4], [5, 6]]], MASK),
    "a polygon with NaN": ([[NAN, 4, 14, 4, 14, 12]], MASK),
    "a polygon of NaN": ([[NAN] * 6], MASK),
    "a polygon to infinity": ([[4, 4, math.inf, 4, 14, 12]], MASK),
    "a polygon of 10^30": ([[1e30] * 6], MASK),
    "a polygon to 10^8": ([[0, 0, 1e8, 0, 1e8, 1e8]], MASK),
    "a polygon to -10^8": ([[0, 0, -1e8, 0, -1e8, 1e8]], MASK),
    "a polygon to 10^5": ([[0, 0, 1e5, 0, 1e5, 1e5]], "by more than the image's size: correct"),
    "run lengths 10^9 x 10^9": (runs([10**18], (GREAT, GREAT)), MASK),
    "run lengths 10^9 x 10^9 in text": (runs("x", (GREAT, GREAT)), MASK),
    "run lengths of a longer image": (runs([2**31 - 1], (2**31 - 1, 1)), MASK),
    "run lengths too short": (runs([0, 700]), FILL),
    "run lengths too long": (runs([0, 769]), FILL),
    "run lengths beyond 32 bits": (runs([2**32 + HEIGHT * WIDTH]), FILL),
    "run lengths beyond 64 bits": (runs([2**64]), MASK),
    "negative run lengths": (runs([-1, HEIGHT * WIDTH + 1]), MASK),
    "run lengths with a fraction": (runs([767.5, 0.5]), MASK),
    "run lengths of text": (runs(["a"]), MASK),
    "no run lengths": (runs([]), FILL),
    "an empty text of run lengths": (runs(""), FILL),
    "a text that encodes nothing": (runs("%%%"), FILL),
    "no counts": ({"size": [HEIGHT, WIDTH]}, MASK),
    "no size": ({"counts": RUNS["counts"]}, MASK),
    "size 0": (runs([0], (0, 0)), MASK),
    "a negative size": (runs([768], (-24, -32)), MASK),
    "a size of text": (runs([768], "ab"), MASK),
    "a size of three": (runs([768], (24, 32, 1)), MASK),
}
# Other contents, the flags of a detector, and what is said.
CONTENTS = {
    "a box of 10^30": (changed(OF + "bbox", [1e30] * 4), {}, BOX),
    "a box of 10^9": (changed(OF + "bbox", [0, 0, 1e9, 1e9]), {}, BOX),
    "a box of NaN": (changed(OF + "bbox", [NAN] * 4), {}, BOX),
    "a box of three": (changed(OF + "bbox", [1, 2, 3]), {}, BOX),
    "a box of text": (changed(OF + "bbox", ["1", "2", "3", "4"]), {}, BOX),
    "a box with a negative side": (changed(OF + "bbox", [4, 4, -10, 8]), {}, BOX),
    "a box to the right": (changed(OF + "bbox", [100, 4, 5, 5]), {}, "lies outside their image"),
    "a box above": (changed(OF + "bbox", [4, -50, 5, 5]), {}, "lies outside their image"),
    "iscrowd no": (changed(OF + "iscrowd", "no"), {}, "'iscrowd' that is not 0 or 1: 'no'"),
    "iscrowd 2": (changed(OF + "iscrowd", 2), {}, "'iscrowd' that is not 0 or 1: 2"),
    "iscrowd a list": (changed(OF + "iscrowd", []), {}, "'iscrowd' that is not 0 or 1: []"),
    "an area of NaN": (changed(OF + "area", NAN), {}, "an 'area' that is not a number"),
    "keypoints of NaN": (changed(OF + "keypoints", [NAN] * 9), {}, POINTS),
    "keypoints of 10^30": (changed(OF + "keypoints", [1e30, 1, 2] * 3), {}, POINTS),
    "a visibility of 5": (changed(OF + "keypoints", [1, 1, 5] * 3), {}, POINTS),
    "a visibility of -1": (changed(OF + "keypoints", [1, 1, -1] * 3), {}, POINTS),
    "a visibility of 0.5": (changed(OF + "keypoints", [1, 1, 0.5] * 3), {}, POINTS),
    "two keypoints of three": (
        changed(OF + "keypoints", [1, 1, 2] * 2), {"keypoints": True}, "do not have 3 x 3"),
    "all crowds": (all_crowd(), {}, "no objects to train on"),
    "all crowds to test on": (all_crowd(), {"evaluated": True}, "no objects to test on"),
    "no masks for a mask head": (
        changed(OF + "segmentation", None), {"masks": True}, "have no 'segmentation', which MODEL"),
    "a file_name of null": (changed("images.0.file_name", None), {}, "name' that is not text"),
    "a file_name of a list": (changed("images.0.file_name", []), {}, "name' that is not text"),
    "a height of 0": (changed("images.0.height", 0), {}, SIDE),
    "a negative width": (changed("images.0.width", -32), {}, SIDE),
    "a height of text": (changed("images.0.height", "high"), {}, SIDE),
    "a width of 10^9": (changed("images.0.width", GREAT), {}, SIDE),
    "a width of NaN": (changed("images.0.width", NAN), {}, SIDE),
    "another size than the file's": (
        changed("images.0.width", 33), {}, "of another width and height than the json says"),
    "an image id of text": (changed("images.0.id", "one"), {}, "'id' that is not a whole number"),
    "a category id beyond 64 bits": (changed("categories.0.id", 2**70), {}, "'id' that is not a"),
    "an object of no image": (changed(OF + "image_id", 99), {}, "unknown 'image_id': 99"),
    "an object of no category": (changed(OF + "category_id", 99), {}, "unknown 'category_id': 99"),
    "a mask with NaN without a box": (
        bare(OF + "segmentation", [[NAN] * 6]), {}, "have no 'bbox': entry 0"),
    "great run lengths without a box": (
        bare(OF + "segmentation", runs([10**18], (GREAT, GREAT))), {}, "have no 'bbox': entry 0"),
    "a row that is null": (changed("annotations.0", None), {}, "are not objects {...}: entry 0"),
}  # fmt: skip
# Whole files, and what is said.
TEXTS = {
    "an empty file": (b"", "is not valid JSON"),
    "a text": (b"hello", "is not valid JSON"),
    "a list": (b"[]", "is not in COCO's format"),
    "a half": (json.dumps(valid()).encode()[:300], "is not valid JSON"),
    "lists 100,000 deep": (b"[" * 100_000, "it is nested too deeply"),
    "objects 100,000 deep": (b'{"a":' * 100_000, "it is nested too deeply"),
    "numbers of 5,000 digits": (b'{"images": [' + b"9" * 5000 + b"]}", "4300 digits"),
    "NUL bytes": (b"\0" * 100, "is not valid JSON"),
    "UTF-16": ("{}".encode("utf-16"), "save it as UTF-8"),
    "no lists": (b'{"images": 3}', "it has no list of images, annotations, categories"),
    "rows of null": (
        b'{"images": [null], "annotations": [], "categories": [null]}', "not objects {...}"),
}  # fmt: skip
# Annotations of rows that the user's own code makes, and the key that is named.
ROWS = {
    "a polygon with NaN": ({"segmentation": [[NAN, 4, 14, 4, 14, 12]]}, "segmentation"),
    "a polygon to 10^8": ({"segmentation": [[0, 0, 1e8, 0, 1e8, 1e8]]}, "segmentation"),
    "a polygon of two points": ({"segmentation": [[0, 0, 5, 5]]}, "segmentation"),
    "a polygon of text": ({"segmentation": [["a"] * 6]}, "segmentation"),
    "a mask of text": ({"segmentation": "x"}, "segmentation"),
    "a mask of three axes": ({"segmentation": np.zeros((2, 2, 2))}, "segmentation"),
    "run lengths 10^9 x 10^9": ({"segmentation": runs(b"x", (GREAT, GREAT))}, "segmentation"),
    "short run lengths": ({"segmentation": runs([0, 5])}, "segmentation"),
    "run lengths without a size": ({"segmentation": {"counts": b"x"}}, "segmentation"),
    "a box of NaN": ({"bbox": [NAN] * 4}, "bbox"),
    "a box of 10^30": ({"bbox": [0, 0, 1e30, 1e30]}, "bbox"),
    "a box of three": ({"bbox": [1, 2, 3]}, "bbox"),
    "a box of text": ({"bbox": "box"}, "bbox"),
    "keypoints of NaN": ({"keypoints": [NAN, 1, 2]}, "keypoints"),
    "keypoints of two": ({"keypoints": [1, 2]}, "keypoints"),
}
TABLE = {**MASKS, **CONTENTS, **TEXTS, **{f"own rows: {name}": case for name, case in ROWS.items()}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    write_images(folder / "images")
    return folder


def said_of(folder, raw, **flags):
    """What is said of a json of these bytes."""
    path = folder / "own.json"
    path.write_bytes(raw)
    flags = {"masks": False, "keypoints": False, "evaluated": False, **flags}
    message = refusal(lambda: CocoJson(path, folder / "images", **flags).raise_errors())
    assert message.startswith(f"{path} ")
    return message


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("iscrowd", [0, 1])
def test_masks(name, iscrowd, folder):
    value, said = MASKS[name]
    content = changed(OF + "segmentation", value)
    content["annotations"][0]["iscrowd"] = iscrowd
    if iscrowd and "than the image's size" in said:
        return  # crowds are not learned, and evaluated at the image's size
    message = said_of(folder, json.dumps(content).encode())
    assert said in message and message.endswith("of id 1" if said == MASK else ": id 1")


@pytest.mark.parametrize("name", CONTENTS)
def test_contents(name, folder):
    content, flags, said = CONTENTS[name]
    assert said in said_of(folder, json.dumps(content).encode(), **flags)


@pytest.mark.parametrize("name", TEXTS)
def test_files(name, folder):
    raw, said = TEXTS[name]
    assert said in said_of(folder, raw)


@pytest.fixture
def own_rows():
    """A function that registers a row with an annotation."""

    def register(**annotation):
        right = {"bbox": [4, 4, 10, 8], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0}
        row = {"file_name": "a.png", "height": HEIGHT, "width": WIDTH, "image_id": 1}
        row["annotations"] = [right | annotation]
        DatasetCatalog.register("own_rows", lambda: [row])
        MetadataCatalog.get("own_rows").set(thing_classes=["cell"])

    yield register
    DatasetCatalog.remove("own_rows")
    MetadataCatalog.remove("own_rows")


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_the_users_code(name, own_rows):
    annotation, key = ROWS[name]
    own_rows(**annotation)
    said = refusal(check_rows, "own_rows")
    assert said.startswith(f"dataset own_rows: a.png has an annotation whose {key!r} ")


def test_rows_that_are_right(own_rows):
    packed = coco_mask.encode(np.ones((HEIGHT, WIDTH), np.uint8, order="F"))
    masks = ([POLYGON], [np.array(POLYGON, float)], RUNS, packed, np.zeros((HEIGHT, WIDTH)), None)
    annotation = {"keypoints": np.array([1.0, 2, 2]), "bbox": np.array([4.0, 4, 10, 8])}
    own_rows(**annotation)
    (row,) = DatasetCatalog.get("own_rows")
    row["annotations"] = [row["annotations"][0] | {"segmentation": mask} for mask in masks]
    check_rows("own_rows")
