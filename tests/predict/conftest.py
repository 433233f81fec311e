"""A trained detector and images that the tests of predict share."""

import pytest
from helpers.finds import noise
from helpers.tiny import TINY, custom, train_net
from PIL import Image


@pytest.fixture(scope="session")
def run(coco, tmp_path_factory):
    """The folder of a training on three classes, which has ended with an evaluation."""
    output = tmp_path_factory.mktemp("runs") / "mask"
    words = ["--config-file", "hrnetv2p_mask_rcnn.yaml", *TINY, "OUTPUT_DIR", output]
    assert train_net(*words, *custom(coco, "polygons.json")).code == 0
    return output


@pytest.fixture
def folder(tmp_path):
    """Two wide images of the same stem, a high one, and a text."""
    path = tmp_path / "images"
    path.mkdir()
    Image.fromarray(noise(60, 100)).save(path / "a.png")
    Image.fromarray(noise(60, 100)).save(path / "a.jpg")
    Image.fromarray(noise(100, 60)).save(path / "b.PNG")
    (path / "notes.txt").write_text("no image")
    return path
