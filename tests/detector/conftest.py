"""Weights and a training run that the tests of detectors share."""

import pytest
import torch
from helpers.foreign_weights import FIVE, own, renamed, small
from helpers.tiny import TINY, custom, train_net

from hrnet_det.checkpoint.formats import MMDET

RUN = ["--config-file", "hrnetv2p_faster_rcnn.yaml", *TINY]


@pytest.fixture(scope="module")
def mmdet(tmp_path_factory):
    """Files as mmdetection names them; of each kind, made once."""
    folder = tmp_path_factory.mktemp("mmdet")

    def file(kind="faster_rcnn", classes=5, names=None):
        path = folder / f"{kind}_{classes}_{len(names or ())}.pth"
        if not path.exists():
            meta = {"dataset_meta": {"classes": tuple(names)}} if names else {"epoch": 12}
            torch.save({"state_dict": renamed(MMDET, own(kind, classes)), "meta": meta}, path)
        return path

    return file


@pytest.fixture(scope="module")
def five(mmdet):
    """A detector of five classes that have names."""
    return small(mmdet(names=FIVE))


@pytest.fixture(scope="module")
def run(coco, tmp_path_factory):
    """The folder of a training run on three classes."""
    output = tmp_path_factory.mktemp("runs") / "faster"
    assert train_net(*RUN, *custom(coco, "boxes.json", ["TRAIN"]), "OUTPUT_DIR", output).code == 0
    return output
