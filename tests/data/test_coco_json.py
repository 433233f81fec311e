"""COCO jsons of users: what is read from them, and that whatever is wrong with one is an error."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.own_json import HEIGHT, POINTS, POLYGON, RUNS, WIDTH, changed, valid
from pycocotools import mask as coco_mask

from hrnet_det.data.coco_json import CocoJson
from hrnet_det.data.coco_values import covers
from hrnet_det.errors import InputError, MissingInputError

# --- what is read ---


def test_what_is_read(read):
    file = read(valid(), masks=True, keypoints=True, evaluated=True)
    assert (file.classes, file.keypoint_names, file.has_rle) == (["disc", "bar"], POINTS, True)
    file = read(changed("annotations.2.segmentation", [POLYGON]))
    assert not file.has_rle  # but for the crowd, which is not learned
    file = read(changed("categories.1.keypoints", None))
    assert file.keypoint_names == []


@pytest.mark.parametrize("key", ["iscrowd", "area", "keypoints", "num_keypoints", "segmentation"])
def test_training_on_boxes_needs_little(read, key):
    content = valid()
    for row in content["annotations"][:3]:
        del row[key]
    assert read(content).classes == ["disc", "bar"]


# --- values ---


HUGE = 10**400


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("categories.0.name", ["", " ", None, True, ["bar"], {"a": 1}, "\ud800"]),
        ("categories.1.keypoints", [5, "tip", [1, 2], [["tip"]], ["tip", "tip"], {"tip": 1}]),
        ("images.0.file_name", [None, True, ["1.png"], "\ud800"]),
        ("images.0.height", [0, -24, 1.5, "high", True, [24], HUGE]),
        ("images.1.width", [0, -32, 1.5, "-32", True, [32], HUGE]),
        ("annotations.0.bbox", [5, "box", [], [1, 2, 3], [1, 2, -3, 4], {"x": 1}]),
        ("annotations.0.bbox", [[x, 2, 3, 4] for x in (None, "1", True, [1], HUGE)]),
        ("annotations.0.bbox", [[1, 2, 3, x] for x in (math.nan, math.inf)]),
        ("annotations.0.iscrowd", ["yes", "2", 2, -1, [0]]),
        ("annotations.0.ignore", [1, None, "0"]),
        ("annotations.0.area", ["80", [80], -1, math.nan, True]),
        ("annotations.0.keypoints", ["abc", 5, {"a": 1}, [1, 2], ["x"] * 9, [None] * 9]),
        ("annotations.0.keypoints", [[math.nan] * 9, [True] * 9, [HUGE] * 9]),
        ("annotations.0.segmentation", ["abc", 5, True, {}, {"a": 1}, [5], POLYGON[:7]]),
        ("annotations.0.segmentation", [[POLYGON, [1, 2, 3]], [POLYGON[:7]], [RUNS, RUNS]]),
        ("annotations.0.segmentation", [[[x] * 6] for x in (None, "1", True, [1], HUGE)]),
        ("annotations.0.segmentation", [[[math.nan] * 6], [POLYGON, None]]),
        ("annotations.0.segmentation", [RUNS | {"counts": x} for x in (None, 5, ["a"], [-1])]),
        ("annotations.0.segmentation", [RUNS | {"size": x} for x in (None, 5, [24], "ab", [0, 1])]),
        ("annotations.0.segmentation", [{"counts": RUNS["counts"]}, {"size": RUNS["size"]}]),
    ],
)  # fmt: skip
def test_a_value_that_is_not_allowed_is_named(problems, path, values):
    rows, number, key = path.split(".")
    count = len(valid()[rows])
    of_id = valid()[rows][int(number)]["id"]
    for value in values:
        line, *others = problems(changed(path, value), evaluated=True)
        article = "an" if key[0] in "ai" else "a"
        assert line.startswith(f"1 of {count} {rows} have {article} {key!r} that is not "), value
        assert re.search(rf": .+ of id {of_id}$", line), line
        assert not others and len(line) < 1000


def test_values_are_shown_as_json_has_them_and_cut_short(problems):
    for value, text in (
        ("x", "'x'"),
        ([True, False], "[true, false]"),
        (["x"] * 50, "['x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', ...]"),
        (json.loads("[" * 800 + "]" * 800), "[[[[[[[...]]]]]]]"),
    ):
        (line,) = problems(changed("annotations.0.bbox", value))
        assert line.endswith(f"not [x, y, width, height] in pixels: {text} of id 1")


def test_three_examples_are_shown_of_many(problems):
    content = valid()
    for row in content["annotations"]:
        row["bbox"] = "none"
    (line,) = problems(content)
    assert line.startswith("4 of 4 annotations have a 'bbox' that is not ")
    assert line.endswith(": 'none' of id 1, 'none' of id 2, 'none' of id 3, ...")


@pytest.mark.parametrize("rows", ["images", "annotations", "categories"])
def test_rows_are_objects_with_ids(problems, rows):
    count = len(valid()[rows])
    for value in (5, None, "x", [1]):
        (line,) = problems(changed(f"{rows}.1", value))
        assert line == f"1 of {count} {rows} are not objects {{...}}: entry 1"
    if rows == "annotations":  # whose ids mean nothing else: they are numbered anew
        return
    for value in (None, "one", 1.5, True, [1], {"a": 1}, 2**63):
        (line,) = problems(changed(f"{rows}.1.id", value))
        assert line == f"1 of {count} {rows} have an 'id' that is not a whole number: entry 1"
    (line,) = problems(changed(f"{rows}.1.id", ...))
    assert line == f"1 of {count} {rows} have no 'id': entry 1"


@pytest.mark.parametrize(
    "path",
    [
        "categories.0.name",
        "images.0.file_name",
        "annotations.0.image_id",
        "annotations.0.category_id",
    ],
)
def test_keys_that_every_row_needs(problems, path):
    rows, _, key = path.split(".")
    (line,) = problems(changed(path, ...), evaluated=True)
    assert line == f"1 of {len(valid()[rows])} {rows} have no {key!r}: entry 0"


# --- what does not fit together ---


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("categories.1.id", 7, "category id given more than once: 7"),
        ("categories.1.name", "bar", "category name given more than once: 'bar'"),
        ("images.1.id", 1, "image id given more than once: 1"),
        ("annotations.0.category_id", 99,
         "1 of 4 annotations have an unknown 'category_id': 99 of id 1"),
        ("annotations.0.image_id", 99, "1 of 4 annotations have an unknown 'image_id': 99 of id 1"),
        ("categories", [], "there are no categories"),
        ("images", [], "there are no images"),
        ("annotations", [], "there are no objects to train on: no annotations but those with "
         "iscrowd 1"),
    ],
)  # fmt: skip
def test_a_json_that_contradicts_itself(problems, path, value, line):
    assert line in problems(changed(path, value))


def test_all_problems_are_shown_together(problems):
    content = changed("annotations.0.bbox", [])
    content["annotations"][0] |= {"image_id": 97, "segmentation": None}
    content["annotations"][1] |= {"category_id": 98, "keypoints": None}
    lines = problems(content, masks=True, keypoints=True)
    starts = (
        "1 of 4 annotations have a 'bbox' that is not ",
        "1 of 4 annotations have an unknown 'category_id'",
        "1 of 4 annotations have an unknown 'image_id'",
        "1 of 4 annotations have no 'segmentation'",
        "1 of 3 annotations do not have 3 x 3 'keypoints' values",
    )
    assert len(lines) == len(starts)
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))


def test_masks_need_segmentations(problems):
    for value in (..., None, []):
        (line,) = problems(changed("annotations.1.segmentation", value), masks=True)
        assert line.startswith("1 of 4 annotations have no 'segmentation', which MODEL.MASK_ON nee")
        assert line.endswith(": id 2")


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        ([HEIGHT, WIDTH], [1, 2]),
        ([HEIGHT, WIDTH], [HEIGHT * WIDTH, 1]),
        ([WIDTH, HEIGHT], RUNS["counts"]),
        ([HEIGHT, WIDTH], ""),
        ([HEIGHT, WIDTH], "garbage!"),
        ([HEIGHT, WIDTH], "\u00e4\ud800"),
        ([HEIGHT, WIDTH], "P" * 40),
        ([HEIGHT, WIDTH], "o" * 7 + "0"),
    ],
)
def test_run_lengths_are_of_an_image_of_the_right_size(problems, size, counts):
    (line,) = problems(changed("annotations.2.segmentation", {"size": size, "counts": counts}))
    assert line.startswith("1 of 4 annotations have a 'segmentation' whose run lengths do not fill")
    assert line.endswith(": id 3")


def test_compressed_run_lengths_are_those_of_pycocotools():
    rng = np.random.default_rng(0)
    for share in (0, 0.001, 0.1, 0.5, 0.9, 1):
        for height, width in ((1, 1), (7, 5), (40, 300), (600, 300)):
            mask = np.asfortranarray(rng.random((height, width)) < share, dtype=np.uint8)
            encoded = coco_mask.encode(mask)
            runs = {"size": encoded["size"], "counts": encoded["counts"].decode()}
            assert covers(runs, height, width)
            assert not covers(runs, width + 1, height)
            cut = runs | {"counts": runs["counts"][:-1]}
            assert not covers(cut, height, width)


# --- keypoints ---


def test_keypoints_need_their_values(problems):
    for value in (..., None, [], [1, 1, 2]):
        (line,) = problems(changed("annotations.0.keypoints", value), keypoints=True)
        assert line.startswith(
            "1 of 3 annotations do not have 3 x 3 'keypoints' values, which MODE"
        )
        assert line.endswith(": id 1")


def test_a_crowd_needs_keypoints_where_it_is_tested_on(read, problems):
    content = changed("annotations.3.keypoints", ...)
    read(content, keypoints=True)
    (line,) = problems(content, keypoints=True, evaluated=True)
    assert line.startswith("1 of 4 annotations do not have 3 x 3 'keypoints' values")


def test_all_categories_have_the_same_keypoints(read, problems):
    content = changed("categories.0.keypoints", ["a", "b", "c"])
    read(content)
    (line,) = problems(content, keypoints=True)
    assert line.startswith("categories have different keypoints, but MODEL.KEYPOINT_ON learns one ")
    assert line.endswith(": ['a', 'b', 'c'], ['tip', 'left_foot', 'right_foot']")


def test_some_keypoint_is_visible(problems):
    content = valid()
    for row in content["annotations"]:
        row["keypoints"] = [0] * 9
    (line,) = problems(content, keypoints=True)
    assert line.startswith("no annotation has a visible keypoint")


# --- files ---


TEXT = json.dumps(valid())
FILES = {
    "empty": (b"", "Expecting value: line 1"),
    "python": (b"{'images': []}", "Expecting property name"),
    "cut": (TEXT[:200].encode(), "Unterminated string"),
    "binary": (bytes(range(256)), "can't decode byte 0x80 in position 128: invalid start byte"),
    "latin-1": (TEXT.replace("disc", "sch\u00f6n").encode("latin-1"), "; save it as UTF-8"),
    "utf-16": (TEXT.encode("utf-16"), "invalid start byte; save it as UTF-8"),
    "utf-16-le": (TEXT.encode("utf-16-le"), "Expecting property name"),
    "mark": (TEXT.encode("utf-8-sig"), "with a byte order mark; save it as UTF-8 without one"),
    "open": (b"[" * 100_000, "it is nested too deeply"),
    "deep": (b'{"images": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "it is nested too deeply"),
    "number": (TEXT.replace("80", "9" * 5000, 1).encode(), "Exceeds the limit (4300 digits)"),
    "twice": (TEXT.replace("{", '{"images": [], ', 1).encode(), "has the key 'images' 2 times"),
    "inside": (TEXT.replace('"id"', '"bbox"').encode(), "an object has the key 'bbox' 2 times"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_json(read, folder, name):
    raw, reason = FILES[name]
    with pytest.raises(InputError) as error:
        read(raw)
    assert str(error.value).startswith(f"{folder}/own.json is not valid JSON: ")
    assert reason in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("content", "missing"),
    [
        ([1, 2], "images, annotations, categories"),
        (5, "images, annotations, categories"),
        (None, "images, annotations, categories"),
        ({"images": [], "categories": {}}, "annotations, categories"),
        (valid() | {"images": None}, "images"),
    ],
)
def test_a_json_that_is_not_cocos(read, folder, content, missing):
    with pytest.raises(InputError) as error:
        read(content)
    assert str(error.value).startswith(
        f"{folder}/own.json is not in COCO's format: it has no list of {missing} ("
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "own.json cannot be read: Permission denied"),
        (MemoryError(), "own.json is not valid JSON: it does not fit into the memory"),
    ],
)
def test_a_file_that_cannot_be_read(read, monkeypatch, error, words):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("pathlib.Path.read_text", fail)
    with pytest.raises(InputError, match=re.escape(words)):
        read(valid())


def test_missing_files_are_named(read, folder):
    flags = {"masks": False, "keypoints": False, "evaluated": False}
    with pytest.raises(MissingInputError) as error:
        CocoJson(folder / "none.json", folder / "images", **flags)
    assert str(error.value) == f"COCO json {folder}/none.json is not there: give the json file"
    read(valid())
    with pytest.raises(MissingInputError) as error:
        CocoJson(folder / "own.json", folder / "none", **flags)
    assert str(error.value) == (
        f"image folder {folder}/none (of {folder}/own.json) is not there: give the folder that the "
        "json's file names start from"
    )
    for name in ("a.png", "", "..", "x" * 300, "a\0b"):
        with pytest.raises(MissingInputError) as error:
            read(changed("images.0.file_name", name))
        start = f"images of {folder}/own.json are missing:\n  1 of 3 images are not in "
        assert str(error.value).startswith(f"{start}{folder}/images: {name!r}"[:150])


@pytest.mark.parametrize(
    ("json_file", "images", "said"),
    [
        ("images", "images", "COCO json images is a folder: give the json file"),
        ("/dev/null", "images", "COCO json /dev/null is a device or a pipe: give the json file"),
        (
            "own.json",
            "images/1.png",
            "image folder images/1.png (of own.json) is a file: give the folder that the json's "
            "file names start from",
        ),
        (
            "own.json",
            "/dev/null",
            "image folder /dev/null (of own.json) is a device or a pipe: give the folder that the "
            "json's file names start from",
        ),
        ("no.json", "images", "COCO json no.json is not there, looked for in {}: give the json"),
        (
            "own.json",
            "no",
            "image folder no (of own.json) is not there, looked for in {}: give the folder that",
        ),
    ],
)
def test_what_is_no_json_or_no_folder_is_said_to_be_what_it_is(
    read, folder, monkeypatch, json_file, images, said
):
    read(valid())
    monkeypatch.chdir(folder)
    flags = {"masks": False, "keypoints": False, "evaluated": False}
    with pytest.raises(InputError) as error:
        CocoJson(Path(json_file), Path(images), **flags)
    assert str(error.value).startswith(said.format(folder))
    assert isinstance(error.value, MissingInputError) == ("is not there" in said)
