"""Any change to a json of the user's own: it is refused, or everything works on it."""

import contextlib
import copy
import io
import math

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog, get_detection_dataset_dicts
from detectron2.data.detection_utils import SizeMismatchError
from detectron2.structures import Boxes, Instances
from helpers.own_json import HEIGHT, POLYGON, RUNS, WIDTH, valid
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hrnet_det import get_cfg
from hrnet_det.data.coco_json import write_content
from hrnet_det.data.mapper import build_mapper
from hrnet_det.data.registration import register_coco
from hrnet_det.data.rows import type_datasets
from hrnet_det.errors import InputError
from hrnet_det.evaluation.coco import CocoEvaluator

HUGE = 10**400
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
    path = file.path.with_name("repaired.json") if file.changed else file.path
    if file.changed:
        write_content(path, file.content)
    register_coco(
        "own_json",
        json_file=path,
        image_root=file.images,
        classes=file.classes,
        keypoint_names=file.keypoint_names,
    )
    type_datasets(["own_json"])


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
