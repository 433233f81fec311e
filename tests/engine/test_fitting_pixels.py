"""Black and white of images of more than 8 bits: stated, of the weights, measured, or refused."""

import json

import numpy as np
import pytest
import torch
from helpers.coco_content import content_of
from helpers.tiny import TINY
from PIL import Image

from hrnet_det.checkpoint.io import METADATA_KEY
from hrnet_det.config import settings
from hrnet_det.config.load import load_run
from hrnet_det.engine.job import Job
from hrnet_det.engine.preflight import preflight
from hrnet_det.errors import InputError

FASTER = "hrnetv2p_faster_rcnn.yaml"
SIDE = 64
RAMP = np.linspace(0, 1, SIDE * SIDE).reshape(SIDE, SIDE)
DEPTHS = {
    "8": (RAMP * 255).astype(np.uint8),
    "16": (RAMP * 40_000 + 1000).astype(np.uint16),
    "float": RAMP.astype(np.float32),
}


@pytest.fixture
def job(tmp_path):
    """The job of a run on images of these depths, after its checks."""

    def job(train, test, *words, config=FASTER, trains=True):
        given = [*TINY, "OUTPUT_DIR", tmp_path / "run", *words]
        for split, depths in (("TRAIN", train), ("TEST", test)):
            folder = tmp_path / split
            folder.mkdir(exist_ok=True)
            content = content_of(*[((SIDE, SIDE), [(8, 8, 30, 40)])] * len(depths))
            for row, depth in zip(content["images"], depths, strict=True):
                row["file_name"] = f"{row['id']}.tif"
                Image.fromarray(DEPTHS[depth]).save(folder / row["file_name"])
            (tmp_path / f"{split}.json").write_text(json.dumps(content))
            given += [f"DATASETS.CUSTOM.{split}_JSON", tmp_path / f"{split}.json"]
            given += [f"DATASETS.CUSTOM.{split}_IMAGES", folder]
        made = Job(load_run(config, [str(word) for word in given]), trains=trains)
        preflight(made)
        return made

    return job


def test_the_range_is_measured_on_the_images_to_train_on(job):
    run = job(["16", "8", "16"], ["16"]).run
    low, high = run[settings.PIXEL_RANGE]
    # 0.1 and 99.9 % of 1000 to 41000
    assert (low, high) == (pytest.approx(1040, abs=2), pytest.approx(40_960, abs=2))
    (note,) = [note for note in run.notes if "2 images to train on have 16 bits" in note]
    assert note.endswith("black and white. Warning: 1 have 8 bits and stay as they are.")
    assert job(["8"], ["8"]).run[settings.PIXEL_RANGE] == []
    stated = job(["16"], ["16"], "INPUT.PIXEL_RANGE", "[0, 65535]").run
    assert stated[settings.PIXEL_RANGE] == [0, 65535]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (["8"], ["16"], "1 images to test on have more than 8 bits a sample, but the detector is "),
        (["16", "float"], ["16"], "images have different depths"),
        (["16"], ["float"], "images have different depths"),
    ],
)
def test_a_range_that_is_not_known_is_asked_for(job, train, test, message):
    with pytest.raises(InputError) as error:
        job(train, test)
    assert message in str(error.value)
    assert 'INPUT.PIXEL_RANGE "[1039.86, 40959.1]"' in str(error.value)
    assert "16 bits from 1039.86 to 40959.1" in str(error.value)


@pytest.mark.parametrize("given", ["[5]", "[7, 3]", "['a', 'b']", "[0, 1, 2]"])
def test_what_is_no_range_is_refused(job, given):
    with pytest.raises(InputError, match="give the values that become black and white"):
        job(["8"], ["8"], "INPUT.PIXEL_RANGE", given)


def test_images_of_too_many_pixels_are_refused_before_the_start(job):
    with pytest.raises(
        InputError, match=r"INPUT\.MAX_PIXELS 4095, but an image has 4096: raise it"
    ):
        job(["8"], ["8"], "INPUT.MAX_PIXELS", 4095)
    job(["8"], ["8"], "INPUT.MAX_PIXELS", 4096)


@pytest.mark.parametrize("config", [FASTER, "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.py"])
def test_the_range_of_weights_is_that_of_their_evaluation(job, tmp_path, config):
    earlier, path = load_run(config), tmp_path / "weights.pth"
    for stored, said in (([3.0, 700.5], True), ([], False)):
        earlier[settings.PIXEL_RANGE] = stored
        metadata = {"config": earlier.text()}
        torch.save({"model": {"backbone.x": torch.zeros(1)}, METADATA_KEY: metadata}, path)
        words = ("MODEL.WEIGHTS", path)
        if said:
            run = job([], ["16"], *words, trains=False).run
            assert run[settings.PIXEL_RANGE] == stored
            assert "INPUT.PIXEL_RANGE [3.0, 700.5]: as the weights were trained." in run.notes
        else:
            with pytest.raises(InputError, match="1 images to test on have more than 8 bits"):
                job([], ["16"], *words, trains=False)
    given = job([], ["16"], *words, "INPUT.PIXEL_RANGE", "[0, 9]", trains=False).run
    assert given[settings.PIXEL_RANGE] == [0, 9]
