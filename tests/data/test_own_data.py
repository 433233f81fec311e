"""Own jsons in a run: named in the config, registered by code, laid out as COCO's own."""

import json

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog, get_detection_dataset_dicts
from detectron2.data.datasets import register_coco_instances
from detectron2.structures import BoxMode
from helpers.own_json import HEIGHT, POLYGON, WIDTH, changed, valid, write_images

from hrnet_det.config.load import load_run
from hrnet_det.data import prepare_datasets
from hrnet_det.data.mapper import build_mapper
from hrnet_det.data.own_data import register_again
from hrnet_det.data.rows import type_datasets
from hrnet_det.errors import InputError

MASK = "hrnetv2p_mask_rcnn.yaml"
KEYPOINT = "COCO-Keypoints/keypoint_rcnn_hrnetv2p_w18_1x.yaml"
NAMES = "DATASETS.TRAIN", "DATASETS.TEST"
NAMED = [word for key in NAMES for word in (key, "('mine',)")]


@pytest.fixture
def own(tmp_path):
    """Writes jsons, and prepares a run that trains and tests on them."""
    write_images(tmp_path / "images")

    def prepare(train, test=None, config=MASK, words=()):
        words = [*words, "OUTPUT_DIR", str(tmp_path / "run")]
        for split, content in (("TRAIN", train), ("TEST", test or train)):
            path = tmp_path / f"{split}.json"
            path.write_text(json.dumps(content))
            words += [f"DATASETS.CUSTOM.{split}_JSON", str(path)]
            words += [f"DATASETS.CUSTOM.{split}_IMAGES", str(tmp_path / "images")]
        run = load_run(config, words)
        prepare_datasets(run)
        return run

    return prepare


@pytest.fixture
def registered(tmp_path):
    """Registers a json as Detectron2's tutorial does, and prepares a run that uses it."""
    write_images(tmp_path / "images")

    def prepare(content):
        (tmp_path / "mine.json").write_text(json.dumps(content))
        register_coco_instances("mine", {}, str(tmp_path / "mine.json"), str(tmp_path / "images"))
        run = load_run(MASK, [*NAMED, "OUTPUT_DIR", str(tmp_path / "run")])
        prepare_datasets(run)
        return run

    yield prepare
    DatasetCatalog.remove("mine")
    MetadataCatalog.remove("mine")


def test_a_repaired_json_is_written_and_used(own, tmp_path):
    run = own(changed("annotations.0.segmentation", POLYGON), valid())
    path = tmp_path / "run/data/custom_train.json"
    assert json.loads(path.read_text()) == valid()
    assert MetadataCatalog.get("custom_train").json_file == str(path)
    assert MetadataCatalog.get("custom_test").json_file == str(tmp_path / "TEST.json")
    what = "1 of 4 annotations have one flat list as 'segmentation': one polygon: id 1"
    assert f"{tmp_path}/TRAIN.json: {what}" in run.notes
    assert f"{tmp_path}/TRAIN.json is used with these changes: {path} has them." in run.notes


def test_images_that_are_trained_and_tested_on_are_told(own):
    assert any(
        note.startswith("3 of 3 images to test on are trained on") for note in own(valid()).notes
    )
    apart = valid() | {"images": valid()["images"][:1], "annotations": valid()["annotations"][:2]}
    rest = valid() | {"images": valid()["images"][1:], "annotations": valid()["annotations"][2:]}
    assert not any("trained on" in note for note in own(apart, rest).notes)


def test_keypoints_outside_their_image_are_told_where_keypoints_are_learned(own):
    content = changed("annotations.0.keypoints", [WIDTH + 2, 5, 2, 6, 6, 1, 0, 0, 0])
    content["annotations"][3]["keypoints"] = [-9, 5, 2, 6, 6, 1, 0, 0, 0]  # a crowd
    said = "TRAIN.json: 1 of 4 annotations have 1 visible 'keypoints' more than a pixel outside"
    sigmas = ["TEST.KEYPOINT_OKS_SIGMAS", "[0.1, 0.1, 0.1]"]
    run = own(content, valid(), KEYPOINT, sigmas)
    assert sum(said in note for note in run.notes) == 1
    assert sum("'keypoints'" in note for note in run.notes) == 1  # and none of the other json
    points = build_mapper(run.cfg, is_train=True)(DatasetCatalog.get("custom_train")[0])
    seen = points["instances"].gt_keypoints.tensor[0, :, 2].tolist()
    assert sorted(seen) == [0, 0, 1]  # as is said: it is not learned from
    assert not any("'keypoints'" in note for note in own(content, valid()).notes)


def test_the_root_of_roboflows_categories_is_no_class(own):
    root = {"id": 0, "name": "things", "supercategory": "none"}
    content = valid()
    content["categories"] = [
        root,
        *(c | {"supercategory": "things"} for c in content["categories"]),
    ]
    run = own(content)
    assert MetadataCatalog.get("custom_train").thing_classes == ["disc", "bar"]
    assert run.cfg.MODEL.ROI_HEADS.NUM_CLASSES == 2
    assert sum("head the others and have no objects" in note for note in run.notes) == 2
    used = json.loads(json.dumps(content))
    used["annotations"][0]["category_id"] = 0  # in the json to test on it has an object
    run = own(content, used)
    assert MetadataCatalog.get("custom_train").thing_classes == ["things", "disc", "bar"]
    assert run.cfg.MODEL.ROI_HEADS.NUM_CLASSES == 3


def test_classes_follow_a_json_that_code_registered(registered, tmp_path):
    run = registered(changed("annotations.1.iscrowd", "0"))
    assert run.cfg.MODEL.ROI_HEADS.NUM_CLASSES == 2
    assert MetadataCatalog.get("mine").thing_classes == ["disc", "bar"]
    assert MetadataCatalog.get("mine").json_file == str(tmp_path / "run/data/mine.json")
    first = [a["bbox"] for a in get_detection_dataset_dicts("mine")[0]["annotations"]]
    assert first == [[4.0, 4.0, 14.0, 12.0]] * 2
    DatasetCatalog.remove("mine")
    MetadataCatalog.remove("mine")  # as in a process that is started
    register_again(run, ["mine"])
    assert MetadataCatalog.get("mine").thing_classes == ["disc", "bar"]
    assert len(get_detection_dataset_dicts("mine", filter_empty=False)) == 3


def test_a_json_that_code_registered_is_checked(registered):
    with pytest.raises(InputError, match="have a 'bbox' that is not"):
        registered(changed("annotations.0.bbox", [1, 2]))


def test_a_second_run_of_a_process_reads_a_registered_json_again(registered, tmp_path):
    content = changed("annotations.0.segmentation", POLYGON)
    first = registered(content | {"annotations": content["annotations"][:2]})
    assert (first.cfg.MODEL.ROI_HEADS.NUM_CLASSES, first.cfg.INPUT.MASK_FORMAT) == (2, "polygon")
    more = [*valid()["categories"], {"id": 99, "name": "third"}]
    (tmp_path / "mine.json").write_text(json.dumps(valid() | {"categories": more}))
    second = load_run(MASK, [*NAMED, "OUTPUT_DIR", str(tmp_path / "second")])
    splits = prepare_datasets(second)
    cfg = second.cfg
    assert (cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.INPUT.MASK_FORMAT) == (3, "bitmask")
    assert splits.statistics.keys() == {"mine"}
    assert MetadataCatalog.get("mine").json_file == str(tmp_path / "mine.json")


@pytest.fixture
def coco_folder(tmp_path, monkeypatch):
    """Detectron2's coco_2017_val in a folder of the test's."""
    before = DatasetCatalog["coco_2017_val"], MetadataCatalog.get("coco_2017_val")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "datasets" / "coco"
    write_images(folder / "val2017")
    (folder / "annotations").mkdir()

    def prepare(content):
        (folder / "annotations/instances_val2017.json").write_text(json.dumps(content))
        words = [word for key in NAMES for word in (key, "('coco_2017_val',)")]
        run = load_run(MASK, [*words, "OUTPUT_DIR", str(tmp_path / "run")])
        prepare_datasets(run)
        return run

    yield prepare
    DatasetCatalog["coco_2017_val"] = before[0]
    MetadataCatalog.pop("coco_2017_val")
    MetadataCatalog["coco_2017_val"] = before[1]


def test_own_data_in_cocos_place_is_own_data(coco_folder):
    run = coco_folder(valid())
    assert run.cfg.MODEL.ROI_HEADS.NUM_CLASSES == 2
    assert any("has other categories than coco_2017_val" in note for note in run.notes)
    rows = get_detection_dataset_dicts("coco_2017_val")
    assert [len(row["annotations"]) for row in rows] == [2, 1]
    assert MetadataCatalog.get("coco_2017_val").thing_classes == ["disc", "bar"]


def test_own_data_in_cocos_place_after_a_run_that_had_cocos(coco_folder):
    type_datasets(["coco_2017_val"])
    assert coco_folder(valid()).cfg.MODEL.ROI_HEADS.NUM_CLASSES == 2


def test_cocos_own_categories_are_not_looked_at_further(coco_folder):
    metadata = MetadataCatalog.get("coco_2017_val")
    names = dict(enumerate(metadata.thing_classes))
    ids = metadata.thing_dataset_id_to_contiguous_id
    content = changed("annotations.0.iscrowd", "0")  # which would be repaired in own data
    content["categories"] = [{"id": i, "name": names[n]} for i, n in ids.items()]
    run = coco_folder(content)
    assert run.cfg.MODEL.ROI_HEADS.NUM_CLASSES == 80
    assert run.notes == []
    assert MetadataCatalog.get("coco_2017_val") is metadata


@pytest.mark.parametrize(
    ("changes", "classes", "message"),
    [
        ({}, ["a"], "2 to 2, and its metadata 1 thing_classes: classes count from 0"),
        ({}, [], "thing_classes=[...]"),
        ({"bbox_mode": ...}, ["a", "b", "c"], "1 of 1 annotations have no 'bbox_mode'"),
    ],
)
def test_rows_that_code_makes_are_checked(tmp_path, changes, classes, message):
    row = {"bbox": [4, 4, 14, 12], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 2} | changes
    row = {key: value for key, value in row.items() if value is not ...}
    write_images(tmp_path / "images")
    image = {"file_name": str(tmp_path / "images/1.png"), "height": HEIGHT, "width": WIDTH}
    DatasetCatalog.register("rows", lambda: [image | {"image_id": 1, "annotations": [row]}])
    MetadataCatalog.get("rows").set(evaluator_type="coco")
    if classes:
        MetadataCatalog.get("rows").set(thing_classes=classes)
    try:
        with pytest.raises(InputError) as error:
            words = [word for key in NAMES for word in (key, "('rows',)")]
            prepare_datasets(load_run("hrnetv2p_faster_rcnn.yaml", words))
        assert message in str(error.value)
    finally:
        DatasetCatalog.remove("rows")
        MetadataCatalog.remove("rows")
