"""`--data FOLDER`: the jsons and images that a run takes from a folder, and what is said."""

import json
import shutil
from pathlib import Path

import pytest
from helpers.tiny import write_json

from hrnet_det.config import settings
from hrnet_det.config.load import load_run
from hrnet_det.data import prepare_datasets
from hrnet_det.data.folders import take_folder
from hrnet_det.engine.train import build_parser, load_job
from hrnet_det.errors import InputError

FASTER = "custom/faster_rcnn.yaml"
LAZY = "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.py"


@pytest.fixture
def mine(coco, tmp_path, monkeypatch):
    """A folder with one json and its images, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(coco / "images", "mine/images")
    shutil.copy(coco / "boxes.json", "mine/labels.json")
    return "mine"


def taken(folder, *words, config=FASTER, trains=True):
    run = load_job(build_parser().parse_args(["--config-file", config, "--data", folder, *words]))
    take_folder(run.run, trains=trains)
    return run.run


def files(run):
    wanted = (settings.TRAIN_JSON, settings.TRAIN_IMAGES, settings.TEST_JSON, settings.TEST_IMAGES)
    return [run[setting] for setting in wanted]


@pytest.mark.parametrize("config", [FASTER, LAZY])
def test_two_jsons_are_trained_and_tested_on(mine, config):
    shutil.move("mine/labels.json", "mine/train.json")
    shutil.copy("mine/train.json", "mine/val.json")
    run = taken(mine, config=config)
    assert files(run) == ["mine/train.json", "mine/images", "mine/val.json", "mine/images"]
    assert run.notes == [
        "Training on mine/train.json (images in mine/images/), testing on mine/val.json (images "
        "in mine/images/)."
    ]
    assert prepare_datasets(run)[:2] == (("custom_train",), ("custom_test",))


def test_one_json_is_split_and_the_parts_are_kept(mine):
    run = taken(mine, "OUTPUT_DIR", "out")
    parts = ["out/data/split_train.json", "out/data/split_test.json"]
    assert files(run) == [parts[0], "mine/images", parts[1], "mine/images"]
    train, test = (json.loads(Path(path).read_text()) for path in parts)
    assert (len(train["images"]), len(test["images"])) == (5, 1)
    assert run.notes[0] == (
        "mine/labels.json is split by image: 5 to train on, 1 to test on (drawn with seed 0, "
        "always the same), written to out/data/."
    )
    # The saved config names the parts, so that it works again with and without --data.
    Path("again.yaml").write_text(run.text())
    again = load_run("again.yaml")
    take_folder(again, trains=True)
    assert files(again) == files(run) and not again.notes
    assert files(taken(mine, "OUTPUT_DIR", "new", config="again.yaml"))[0] == (
        "new/data/split_train.json"
    )


def test_a_test_set_is_enough_to_evaluate_on(mine):
    shutil.move("mine/labels.json", "mine/val.json")
    run = taken(mine, trains=False)
    assert files(run) == ["", "", "mine/val.json", "mine/images"]
    assert run.notes == ["Testing on mine/val.json (images in mine/images/)."]
    with pytest.raises(
        InputError, match=r"^mine has only mine/val.json \(images in mine/images/\)"
    ):
        taken(mine)


def test_an_image_alone_cannot_be_split(mine):
    content = json.loads(Path("mine/labels.json").read_text())
    content["images"] = content["images"][:1]
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] == 1]
    write_json(Path("mine/labels.json"), content)
    run = taken(mine)
    assert files(run) == ["mine/labels.json", "mine/images", "", ""]
    assert run.notes[0] == "mine/labels.json has too few images to keep some for testing."


def test_a_folder_and_a_json_are_one_too_many(mine):
    with pytest.raises(InputError, match=r"^DATASETS\.CUSTOM\.FOLDER mine .* give one of them"):
        taken(mine, "DATASETS.CUSTOM.TRAIN_JSON", "a.json")
