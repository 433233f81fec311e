"""COCO jsons of users: what is read from them, and that whatever is wrong with one is an error."""

import contextlib
import copy
import io
import json
import math
import re

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog, get_detection_dataset_dicts
from detectron2.data.detection_utils import SizeMismatchError
from detectron2.structures import Boxes, Instances
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from hrnet_det import get_cfg
from hrnet_det.data.coco_json import CocoJson
from hrnet_det.data.coco_values import covers
from hrnet_det.data.mapper import build_mapper
from hrnet_det.data.registration import register_coco
from hrnet_det.errors import InputError, MissingInputError
from hrnet_det.evaluation.coco import CocoEvaluator

HEIGHT, WIDTH = 24, 32  # pixels, of every image
POLYGON = [4, 4, 14, 4, 14, 12, 4, 12]
RUNS = {"size": [HEIGHT, WIDTH], "counts": [100, 8, 16, 8, HEIGHT * WIDTH - 132]}
POINTS = ["tip", "left_foot", "right_foot"]


def annotation(number, image_id, category_id, segmentation, iscrowd=0):
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [4, 4, 10, 8],
        "area": 80,
        "iscrowd": iscrowd,
        "segmentation": segmentation,
        "keypoints": [5, 5, 2, 6, 6, 1, 0, 0, 0],
        "num_keypoints": 2,
    }


def valid():
    """The content of a json that is right for everything."""
    images = [
        {"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH} for i in (1, 2, 3)
    ]
    objects = [(1, 1, 7, [POLYGON]), (2, 1, 3, [POLYGON, POLYGON]), (3, 2, 3, RUNS)]
    annotations = [annotation(*each) for each in objects]
    categories = [{"id": 7, "name": "bar"}, {"id": 3, "name": "disc", "keypoints": POINTS}]
    return copy.deepcopy(
        {
            "images": images,
            "annotations": [*annotations, annotation(4, 3, 3, RUNS, iscrowd=1)],
            "categories": categories,
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the images of `valid`."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "images").mkdir()
    for i in (1, 2, 3):
        image = Image.new("RGB", (WIDTH, HEIGHT), (40 * i, 0, 0))
        image.save(folder / "images" / f"{i}.png")
    return folder


@pytest.fixture
def read(folder):
    """Writes a json, of content or of bytes, and reads it."""

    def read(content, *, masks=False, keypoints=False, evaluated=False):
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / "own.json").write_bytes(raw)
        flags = {"masks": masks, "keypoints": keypoints, "evaluated": evaluated}
        return CocoJson(folder / "own.json", folder / "images", **flags)

    return read


@pytest.fixture
def problems(read, folder):
    """The lines with which a json is refused."""

    def problems(content, **flags):
        with pytest.raises(InputError) as error:
            read(content, **flags)
        start, *lines = str(error.value).split("\n  ")
        assert start == f"{folder}/own.json cannot be used:"
        return lines

    return problems


def changed(path, value):
    """`valid` with another value at a path such as "images.0.height"; `...` takes it away."""
    content = node = valid()
    *keys, last = (int(key) if key.isdigit() else key for key in path.split("."))
    for key in keys:
        node = node[key]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return content


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
        ("categories.0.name", [5, None, True, ["bar"], {"a": 1}, "\ud800"]),
        ("categories.1.keypoints", [5, "tip", [1, 2], [["tip"]], ["tip", "tip"], {"tip": 1}]),
        ("images.0.file_name", [5, None, True, ["1.png"], "\ud800"]),
        ("images.0.height", [0, -24, 24.0, 1.5, "24", None, True, [24], HUGE]),
        ("images.1.width", [0, -32, 32.0, 1.5, "32", None, True, [32], HUGE]),
        ("annotations.0.bbox", [None, 5, "box", [], [1, 2, 3], [1, 2, -3, 4], {"x": 1}]),
        ("annotations.0.bbox", [[x, 2, 3, 4] for x in (None, "1", True, [1], HUGE)]),
        ("annotations.0.bbox", [[1, 2, 3, x] for x in (math.nan, math.inf)]),
        ("annotations.0.iscrowd", [None, "0", "1", 2, -1, [0]]),
        ("annotations.0.ignore", [1, None, "0"]),
        ("annotations.0.area", [None, "80", [80], -1, math.nan, True]),
        ("annotations.0.keypoints", ["abc", 5, {"a": 1}, [1, 2], ["x"] * 9, [None] * 9]),
        ("annotations.0.keypoints", [[math.nan] * 9, [True] * 9, [HUGE] * 9]),
        ("annotations.0.segmentation", ["abc", 5, True, {}, {"a": 1}, [5], [[]], POLYGON]),
        ("annotations.0.segmentation", [[POLYGON, [1, 2, 3, 4]], [POLYGON[:7]], [POLYGON[:2]]]),
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
        (None, "null"),
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
        row["bbox"] = None
    (line,) = problems(content)
    assert line.startswith("4 of 4 annotations have a 'bbox' that is not ")
    assert line.endswith(": null of id 1, null of id 2, null of id 3, ...")


@pytest.mark.parametrize("rows", ["images", "annotations", "categories"])
def test_rows_are_objects_with_ids(problems, rows):
    count = len(valid()[rows])
    for value in (5, None, "x", [1]):
        (line,) = problems(changed(f"{rows}.1", value))
        assert line == f"1 of {count} {rows} are not objects {{...}}: entry 1"
    for value in (None, "1", 1.0, True, [1], {"a": 1}, 2**63):
        (line,) = problems(changed(f"{rows}.1.id", value))
        assert line == f"1 of {count} {rows} have an 'id' that is not a whole number: entry 1"
    (line,) = problems(changed(f"{rows}.1.id", ...))
    assert line == f"1 of {count} {rows} have no 'id': entry 1"


@pytest.mark.parametrize(
    "path",
    [
        "categories.0.name",
        "images.0.file_name",
        "images.0.height",
        "images.0.width",
        "annotations.0.image_id",
        "annotations.0.category_id",
        "annotations.0.bbox",
        "annotations.0.area",
        "annotations.0.iscrowd",
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
        ("annotations.1.id", 1, "annotation id given more than once: 1"),
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
    content["annotations"][1] |= {"id": 1, "category_id": 98, "keypoints": None}
    lines = problems(content, masks=True, keypoints=True)
    starts = (
        "1 of 4 annotations have a 'bbox' that is not ",
        "annotation id given more than once",
        "1 of 4 annotations have an unknown 'category_id'",
        "1 of 4 annotations have an unknown 'image_id'",
        "1 of 4 annotations have no 'segmentation'",
        "1 of 3 annotations do not have 3 x 3 'keypoints' values",
    )
    assert len(lines) == len(starts)
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))


def test_an_annotation_id_of_0_would_be_a_miss_to_pycocotools(read, problems):
    content = changed("annotations.0.id", 0)
    (line,) = problems(content, evaluated=True)
    assert line.startswith("annotation id 0 is used: pycocotools counts its object as missed")
    read(content)  # training does not mind


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


def test_the_evaluation_of_keypoints_needs_their_number(read, problems):
    for value in (..., None, "2"):
        content = changed("annotations.0.num_keypoints", value)
        read(content, keypoints=True)
        read(content, evaluated=True)
        (line,) = problems(content, keypoints=True, evaluated=True)
        assert line.startswith("1 of 4 annotations have no number of 'num_keypoints'")


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
    assert str(error.value) == f"COCO json {folder}/none.json is not there"
    read(valid())
    with pytest.raises(MissingInputError) as error:
        CocoJson(folder / "own.json", folder / "none", **flags)
    assert str(error.value) == f"image folder {folder}/none (of {folder}/own.json) is not there"
    for name in ("a.png", "", "..", "x" * 300, "a\0b"):
        with pytest.raises(MissingInputError) as error:
            read(changed("images.0.file_name", name))
        start = f"1 of 3 images of {folder}/own.json are not in {folder}/images: "
        assert str(error.value).startswith(start + repr(name)[:50])


# --- any change to a json: it is refused, or everything works on it ---


VALUES = {
    "value": [None, True, False, "", "x", "2.png", [], {}, [[]], [None], [{}], [POLYGON], RUNS],
    "number": [-1, 0, 1, 2, 3, 7, 24, 1.5, -0.0, 1e300, math.nan, math.inf, 2**40, HUGE],
}


def nodes(content, path=()):
    """The paths of all values in a json."""
    keys = range(len(content)) if isinstance(content, list) else ()
    for key in content if isinstance(content, dict) else keys:
        yield (*path, key)
        yield from nodes(content[key], (*path, key))


@st.composite
def mutated(draw):
    """`valid` with up to three changes: another value, that of another row, a key less, twice."""
    content = valid()
    for _ in range(draw(st.integers(1, 3))):
        paths = list(nodes(content))
        if not paths:
            break
        path = draw(st.sampled_from(paths))
        node, last = at(content, path[:-1]), path[-1]
        action = draw(st.sampled_from(["value", "number", "row", "row", "row", "less", "twice"]))
        if action == "less":
            del node[last]
        elif action == "twice":
            if isinstance(node, list):
                node.append(copy.deepcopy(node[last]))
        elif action == "row":
            alike = [p for p in paths if len(p) == len(path) and (p[0], p[-1]) == (path[0], last)]
            node[last] = copy.deepcopy(at(content, draw(st.sampled_from(alike))))
        else:
            node[last] = copy.deepcopy(draw(st.sampled_from(VALUES[action])))
    return content


def at(content, path):
    for key in path:
        content = content[key]
    return content


def learn(file, cfg):
    """The rows as training sees them."""
    register(file)
    cfg.DATASETS.TRAIN = ("own_json",)
    cfg.INPUT.MASK_FORMAT = "bitmask" if file.has_rle else "polygon"
    keypoints = int(cfg.MODEL.KEYPOINT_ON)
    rows = get_detection_dataset_dicts("own_json", filter_empty=True, min_keypoints=keypoints)
    mapper = build_mapper(cfg, is_train=True)
    return [mapper(row) for row in rows]


def evaluate(file, cfg):
    """The AP of a detection on each image."""
    register(file)
    sigmas = [0.1] * len(file.keypoint_names) if cfg.MODEL.KEYPOINT_ON else ()
    evaluator = CocoEvaluator("own_json", kpt_oks_sigmas=sigmas)
    evaluator.reset()
    for row in DatasetCatalog.get("own_json"):
        found = Instances((HEIGHT, WIDTH), pred_boxes=Boxes(torch.tensor([[4.0, 4, 14, 12]])))
        found.scores, found.pred_classes = torch.tensor([0.9]), torch.tensor([0])
        if cfg.MODEL.MASK_ON:
            found.pred_masks = torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool)
        if cfg.MODEL.KEYPOINT_ON:
            found.pred_keypoints = torch.ones(1, len(file.keypoint_names), 3)
        evaluator.process([row], [{"instances": found}])
    with contextlib.redirect_stdout(io.StringIO()):
        return evaluator.evaluate()["bbox"]["AP"]


def register(file):
    register_coco(
        "own_json",
        json_file=file.path,
        image_root=file.images,
        classes=file.classes,
        keypoint_names=file.keypoint_names,
    )


@pytest.fixture
def forget():
    yield
    if "own_json" in DatasetCatalog.list():
        DatasetCatalog.remove("own_json")
        MetadataCatalog.remove("own_json")


@settings(
    max_examples=400,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(content=mutated(), masks=st.booleans(), keypoints=st.booleans(), evaluated=st.booleans())
@example(content=valid(), masks=True, keypoints=True, evaluated=True)
@example(content=valid(), masks=True, keypoints=True, evaluated=False)
def test_what_is_not_refused_works(read, forget, content, masks, keypoints, evaluated):
    cfg = get_cfg()
    cfg.MODEL.MASK_ON, cfg.MODEL.KEYPOINT_ON = masks, keypoints
    cfg.INPUT.MIN_SIZE_TRAIN = (HEIGHT,)
    try:
        file = read(content, masks=masks, keypoints=keypoints, evaluated=evaluated)
        if keypoints and not file.keypoint_names:
            return  # refused where the datasets are compared with the model
    except InputError as error:
        str(error).encode()
        return
    with contextlib.suppress(SizeMismatchError):  # seen where the images are read
        (evaluate if evaluated else learn)(file, cfg)
