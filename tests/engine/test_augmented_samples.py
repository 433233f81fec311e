"""augmented_samples.png: what a detector is trained on, and a training that does not notice."""

import logging

import numpy as np
import pytest
import torch
from helpers.tiny import make_coco, train_net
from helpers.training import MASK, words
from PIL import Image

from hrnet_det.config.load import load_run
from hrnet_det.engine import train
from hrnet_det.engine.augmented_samples import draw_augmented_samples

AUGMENTED = """INPUT.RANDOM_FLIP both INPUT.AUGMENT.COPY_PASTE 0.7 INPUT.AUGMENT.RIGHT_ANGLES 0.75
INPUT.AUGMENT.BRIGHTNESS 0.3""".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    return make_coco(tmp_path_factory.mktemp("data"))


def test_a_training_is_the_same_with_and_without_the_sheet(coco, tmp_path, monkeypatch):
    """To the bit, with augmentations that draw random numbers in the training's process."""
    trained = []
    for drawn in (True, False):
        if not drawn:
            monkeypatch.setattr(train, "draw_augmented_samples", lambda *_: None)
        output = tmp_path / str(drawn)
        given = words(coco, output, *AUGMENTED, annotations="polygons.json", config=MASK,
                      splits=["TRAIN"])  # fmt: skip
        outcome = train_net(*given)
        assert outcome.code == 0, outcome.err
        said = f"5 augmented images, as the network is trained on them: {output}/augmented_samples"
        assert outcome.out.count(said) == drawn
        assert outcome.out.count("INPUT.MASK_FORMAT bitmask: copy-paste cuts masks.") == 1
        trained.append(torch.load(output / "model_final.pth", weights_only=True)["model"])
    one, other = trained
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert not (tmp_path / "False" / "augmented_samples.png").exists()
    with Image.open(tmp_path / "True" / "augmented_samples.png") as sheet:
        assert sheet.width > 4 * 300 and np.ptp(np.asarray(sheet)) == 255


def test_another_loader_is_said(tmp_path, caplog, monkeypatch):
    run = load_run("quickstart/mask_rcnn.yaml", ["OUTPUT_DIR", str(tmp_path)])
    with caplog.at_level(logging.INFO, "detectron2.hrnet_det"):
        logging.getLogger("detectron2").propagate = True
        draw_augmented_samples(run, iter([]))
    assert "No augmented_samples.png: the loader of training images is not one" in caplog.text
    assert not list(tmp_path.iterdir())
