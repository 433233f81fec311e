"""Your own data, its checks, what follows from it, and what is said when data is missing."""

import functools
import json
import re

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.coco_shape import datasets_at
from helpers.tiny import (
    CATEGORIES,
    CLASSES,
    EMPTY,
    KEYPOINTS,
    TINY,
    custom,
    train_net,
    train_net_process,
    write_json,
)
from PIL import Image

from hrnet_det import get_cfg, model_zoo, register_quickstart
from hrnet_det.config.load import load_run
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data import prepare_datasets, quickstart
from hrnet_det.data.registration import flip_pairs
from hrnet_det.errors import InputError

FASTER, MASK = "hrnetv2p_faster_rcnn.yaml", "hrnetv2p_mask_rcnn.yaml"
SIGMAS = ["TEST.KEYPOINT_OKS_SIGMAS", "[0.05, 0.05, 0.05]"]


def prepared(*words, config=FASTER, trains=True):
    """The config after overrides and data have been looked at."""
    run = load_run(config, words)
    prepare_datasets(run, trains=trains)
    return run.cfg


def refusal(*words, config=FASTER, kind=InputError):
    """The message with which overrides are refused."""
    with pytest.raises(kind) as error:
        prepared(*words, config=config)
    return str(error.value)


@pytest.fixture
def own(tmp_path):
    """Writes a COCO json of one image, with parts replaced; returns the overrides for it."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "images" / "a.png")
    polygon = [10, 10, 40, 10, 40, 30, 10, 30]
    square = {"id": 1, "image_id": 1, "category_id": 3, "bbox": [10, 10, 30, 20]}
    square |= {"area": 600, "iscrowd": 0, "segmentation": [polygon]}
    image = {"id": 1, "file_name": "a.png", "height": 64, "width": 64}

    def write(*annotations, name="own.json", **parts):
        annotations = [square | a for a in annotations] or [square]
        content = {"images": [image], "annotations": annotations, "categories": CATEGORIES}
        write_json(tmp_path / name, content | parts)
        return custom(tmp_path, name)

    return write


def only(words, split):
    """The overrides of one split."""
    pairs = zip(words[::2], words[1::2], strict=True)
    return [w for key, value in pairs if f".{split}_" in key for w in (key, value)]


# --- what follows from the data ---


def test_classes_come_in_the_order_of_their_ids_and_their_number_follows(coco):
    cfg = prepared(*custom(coco, "polygons.json"), config=MASK)
    assert (cfg.DATASETS.TRAIN, cfg.DATASETS.TEST) == (("custom_train",), ("custom_test",))
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 3
    assert cfg.INPUT.MASK_FORMAT == "polygon"
    for name in ("custom_train", "custom_test"):
        assert MetadataCatalog.get(name).thing_classes == CLASSES == ["disc", "bar", "absent"]
        assert MetadataCatalog.get(name).evaluator_type == "coco"


def test_annotations_are_read_with_contiguous_classes(coco):
    prepared(*custom(coco, "polygons.json"))
    rows = DatasetCatalog.get("custom_train")
    assert len(rows) == 6
    assert MetadataCatalog.get("custom_train").thing_dataset_id_to_contiguous_id == {
        3: 0,
        7: 1,
        12: 2,
    }
    assert [o["category_id"] for o in rows[0]["annotations"]] == [0, 1]
    assert rows[EMPTY - 1]["annotations"] == []
    assert [o.get("iscrowd") for o in rows[5]["annotations"]] == [0, 0, 1]
    assert rows[1]["file_name"] == str(coco / "images" / "2.png")
    assert (rows[1]["height"], rows[1]["width"]) == (96, 64)


def test_datasets_can_be_named_again_with_other_data(coco, own):
    prepared(*own(categories=[{"id": 3, "name": "other"}]))
    assert MetadataCatalog.get("custom_train").thing_classes == ["other"]
    prepared(*custom(coco, "polygons.json"))
    assert MetadataCatalog.get("custom_train").thing_classes == CLASSES
    assert len(DatasetCatalog.get("custom_train")) == 6


def test_run_length_masks_change_the_mask_format(coco):
    cfg = prepared(*custom(coco, "rle.json"), config=MASK)
    assert cfg.INPUT.MASK_FORMAT == "bitmask"


def test_training_or_testing_alone(coco):
    words = custom(coco, "boxes.json")
    cfg = prepared(*only(words, "TRAIN"))
    assert (cfg.DATASETS.TRAIN, cfg.DATASETS.TEST) == (("custom_train",), ())
    cfg = prepared(*only(words, "TEST"), trains=False)
    assert (cfg.DATASETS.TRAIN, cfg.DATASETS.TEST) == ((), ("custom_test",))


def test_a_stated_number_of_classes_must_agree(coco, tmp_path):
    words = custom(coco, "boxes.json")
    key = "MODEL.ROI_HEADS.NUM_CLASSES"
    assert prepared(*words, key, "3").MODEL.ROI_HEADS.NUM_CLASSES == 3
    message = refusal(*words, key, "80")  # 80 is the default, too, but here it is stated
    assert message.startswith(f"{key} is 80, but custom_train has 3 classes (disc, bar, absent)")
    assert f"set {key} 3, or take other data" in message

    config = tmp_path / "own.yaml"
    config.write_text(
        f"_BASE_: {model_zoo.find_config(FASTER)}\nMODEL:\n  ROI_HEADS:\n    NUM_CLASSES: 5\n"
    )
    assert f"{key} is 5, but custom_train has 3 classes" in refusal(*words, config=config)
    child = tmp_path / "child.yaml"
    child.write_text("_BASE_: own.yaml\nSEED: 4\n")
    assert f"{key} is 5, but custom_train has 3 classes" in refusal(*words, config=child)
    outcome = train_net("--config-file", FASTER, *TINY, *words, key, 2)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {key} is 2, but custom_train has 3 classes")


def test_training_and_test_classes_must_be_the_same(coco, own):
    words = own(categories=[{"id": 3, "name": "disc"}, {"id": 4, "name": "box"}])
    message = refusal(*only(custom(coco, "boxes.json"), "TRAIN"), *only(words, "TEST"))
    assert message == (
        "the classes of custom_train and custom_test differ: disc, bar, absent against disc, box; "
        "train and test on the same categories"
    )


def test_many_class_names_are_cut_short(own):
    many = [{"id": i, "name": f"c{i}"} for i in range(1, 21)]
    message = refusal(*own(categories=many), "MODEL.ROI_HEADS.NUM_CLASSES", "4")
    assert "has 20 classes (c1, c2, c3, c4, c5, c6, c7, c8, ... 12 more)" in message


@pytest.fixture
def made(monkeypatch, tmp_path):
    """The quickstart's files, empty: only their names and classes are asked for."""
    monkeypatch.setattr("hrnet_det.data.quickstart.make_quickstart", lambda _: None)
    monkeypatch.setattr("hrnet_det.data.datasets.check_files", lambda *_: None)


@pytest.mark.parametrize(
    ("architecture", "name", "things", "stuff"),
    [
        ("GeneralizedRCNN", "quickstart_val", 6, None),
        ("SemanticSegmentor", "quickstart_semantic_val", None, 7),
        ("PanopticFPN", "quickstart_panoptic_val", 6, 2),
    ],
)
def test_numbers_of_classes_follow_the_data(architecture, name, things, stuff, made):
    cfg = get_cfg()
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.ROI_HEADS.NAME = architecture, "StandardROIHeads"
    cfg.MODEL.MASK_ON, run = True, RunConfig(cfg)
    heads = run.cfg.MODEL.ROI_HEADS, run.cfg.MODEL.SEM_SEG_HEAD
    before = [head.NUM_CLASSES for head in heads]
    run.cfg.DATASETS.TRAIN = run.cfg.DATASETS.TEST = (name,)
    prepare_datasets(run)
    assert [head.NUM_CLASSES for head in heads] == [things or before[0], stuff or before[1]]
    if stuff:
        run.cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 19
        run.stated = {"MODEL.SEM_SEG_HEAD.NUM_CLASSES"}
        with pytest.raises(InputError, match=rf"SEM_SEG_HEAD.NUM_CLASSES is 19, but {name} has"):
            prepare_datasets(run)


# --- keypoints ---


def test_keypoints_follow_the_data(coco):
    words = [*custom(coco, "keypoints.json"), "MODEL.KEYPOINT_ON", "True", *SIGMAS]
    cfg = prepared(*words)
    assert cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS == 3
    metadata = MetadataCatalog.get("custom_train")
    assert metadata.keypoint_names == KEYPOINTS
    assert metadata.keypoint_flip_map == [("left_foot", "right_foot")]
    message = refusal(*words, "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", "17")
    assert message.startswith(
        "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS is 17, but custom_train has 3 keypoints (tip, "
        "left_foot, right_foot)"
    )


def test_one_sigma_for_each_keypoint(coco):
    words = [*custom(coco, "keypoints.json"), "MODEL.KEYPOINT_ON", "True"]
    assert "TEST.KEYPOINT_OKS_SIGMAS has 0 values, but custom_train has 3 keypoints" in refusal(
        *words
    )
    assert "TEST.KEYPOINT_OKS_SIGMAS has 2 values, but custom_train has 3 keypoints" in refusal(
        *words, "TEST.KEYPOINT_OKS_SIGMAS", "[0.1, 0.1]"
    )


def test_keypoints_of_data_without_any(coco):
    message = refusal(*custom(coco, "boxes.json"), "MODEL.KEYPOINT_ON", "True")
    assert message.startswith("custom_train has no keypoints, which this detector learns")


def test_flip_pairs_are_named_alike():
    names = ["nose", "left_eye", "right_eye", "left_fin", "eye_left", "eye_right"]
    assert flip_pairs(names) == [("left_eye", "right_eye"), ("eye_left", "eye_right")]
    assert flip_pairs(["Left_Ear", "Right_Ear", "nose"]) == [("Left_Ear", "Right_Ear")]
    assert flip_pairs(["nose", "left_only"]) == []
    for left, right in (("l_b", "r_b"), ("hip.L", "hip.R"), ("kneeLeft", "kneeRight")):
        assert flip_pairs([left, "tail", right]) == [(left, right)]
    assert flip_pairs(["LHip", "RHip", "left_a", "right_a"]) == [
        ("LHip", "RHip"),
        ("left_a", "right_a"),
    ]
    assert flip_pairs(["lower", "rower", "leye", "reye", "l", "a"]) == []  # no words of their own


# --- how custom data is given ---


def test_json_and_images_are_given_together(coco):
    words = custom(coco, "boxes.json")[:2]
    json_file = coco / "boxes.json"
    assert refusal(*words) == (
        f"DATASETS.CUSTOM.TRAIN_JSON is '{json_file}' and DATASETS.CUSTOM.TRAIN_IMAGES is ''; "
        "give both or neither"
    )
    message = refusal("DATASETS.CUSTOM.TEST_IMAGES", str(coco))
    assert message.startswith("DATASETS.CUSTOM.TEST_JSON is '' and DATASETS.CUSTOM.TEST_IMAGES is ")


def test_areas_that_are_missing_are_those_of_the_boxes(coco, tmp_path):
    content = json.loads((coco / "boxes.json").read_text())
    for row in content["annotations"]:
        del row["area"]
    write_json(tmp_path / "no_area.json", content)
    words = [*custom(coco, "boxes.json"), "OUTPUT_DIR", str(tmp_path / "run")]
    words[words.index("DATASETS.CUSTOM.TEST_JSON") + 1] = str(tmp_path / "no_area.json")
    prepared(*words)
    repaired = json.loads((tmp_path / "run/data/custom_test.json").read_text())
    expected = json.loads((coco / "boxes.json").read_text())
    assert [row["area"] for row in repaired["annotations"]] == [
        row["bbox"][2] * row["bbox"][3] for row in expected["annotations"]
    ]


@pytest.mark.parametrize(
    "parts",
    [
        {"images": [{"id": 1, "file_name": None, "height": 64, "width": 64}]},
        {"categories": [{"id": 3, "name": ["disc"]}]},
        {"categories": [{"id": 3, "name": ""}]},
    ],
)
def test_a_json_that_cannot_be_used_ends_the_command_with_one_error(own, tmp_path, parts):
    words = [*TINY, *own(**parts), "OUTPUT_DIR", tmp_path / "run"]
    outcome = train_net("--config-file", FASTER, *words)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {tmp_path}/own.json cannot be used:\n  1 of 1 ")
    assert not (tmp_path / "run").exists()


def test_masks_need_segmentations(coco):
    message = refusal(*custom(coco, "boxes.json"), config=MASK)
    assert "10 of 10 annotations have no 'segmentation', which MODEL.MASK_ON needs" in message


# --- datasets by name ---


def test_an_unknown_dataset_names_the_nearest():
    message = refusal("DATASETS.TRAIN", "('coco_2017_trian',)")
    assert message.startswith("there is no dataset 'coco_2017_trian'; nearest: coco_2017_train, ")


@pytest.fixture
def datasets_folder(tmp_path, monkeypatch):
    """An empty folder as DETECTRON2_DATASETS, for what reads the variable when it is called."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "sets"))
    few = functools.partial(quickstart.make_quickstart, counts={"train": 3, "val": 2})
    monkeypatch.setattr(quickstart, "make_quickstart", few)
    register_quickstart()
    yield tmp_path / "sets"
    monkeypatch.undo()
    register_quickstart()


def test_quickstart_is_made_where_the_datasets_are(datasets_folder):
    cfg = prepared(config="quickstart/keypoint_rcnn.yaml")
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 1
    assert cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS == 4
    assert (datasets_folder / "quickstart" / "train").is_dir()
    rows = DatasetCatalog.get("quickstart_keypoints_val")
    assert rows[0]["file_name"].startswith(str(datasets_folder / "quickstart" / "val"))
    cfg = prepared(config="quickstart/mask_rcnn.yaml")
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 6
    assert MetadataCatalog.get("quickstart_train").thing_classes[-1] == "arrow"


def test_a_foreign_folder_in_the_place_of_the_quickstart_is_left_alone(datasets_folder):
    mine = write_json(datasets_folder / "quickstart" / "mine.json", {})
    message = refusal(config="quickstart/faster_rcnn.yaml")
    assert "quickstart exists and is not a quickstart dataset" in message
    assert mine.is_file()


NEXT = """Next, one of:
  python datasets/prepare_coco.py          fetches COCO 2017 and lays it out there
  DETECTRON2_DATASETS=/folder/above/coco   where COCO is already
  --config-file custom/mask_rcnn.yaml --data FOLDER    your own data in COCO's format
  --config-file quickstart/mask_rcnn.yaml  (make quickstart) needs no data at all
"""


def test_missing_coco_is_explained_without_a_traceback(tmp_path):
    outcome = train_net_process("--config-file", FASTER, cwd=tmp_path)
    assert outcome.code == 2
    assert "Traceback" not in outcome.out + outcome.err
    start = outcome.err.index("error: ")
    assert outcome.err[start:] == (
        "error: the data of coco_2017_train, coco_2017_val is not there. Looked for\n"
        "  datasets/coco/annotations/instances_train2017.json  (missing)\n"
        "  datasets/coco/train2017  (missing)\n"
        "  datasets/coco/annotations/instances_val2017.json  (missing)\n"
        "  datasets/coco/val2017  (missing)\n"
        f"in {tmp_path}/datasets (DETECTRON2_DATASETS is not set).\n{NEXT}"
    )
    assert list(tmp_path.iterdir()) == []


def test_half_of_coco_is_shown_as_found_and_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sets" / "coco" / "val2017").mkdir(parents=True)
    write_json(tmp_path / "sets" / "coco" / "annotations" / "instances_val2017.json", {})
    with datasets_at(tmp_path / "sets"):
        outcome = train_net("--config-file", FASTER)
    assert outcome.code == 2
    found = dict(re.findall(r"^  (\S+)  \((found|missing)\)$", outcome.err, re.MULTILINE))
    root = f"{tmp_path}/sets/coco/"
    assert found == {
        f"{root}annotations/instances_train2017.json": "missing",
        f"{root}train2017": "missing",
        f"{root}annotations/instances_val2017.json": "found",
        f"{root}val2017": "found",
    }
    assert f"in {tmp_path}/sets (DETECTRON2_DATASETS={tmp_path}/sets)." in outcome.err
