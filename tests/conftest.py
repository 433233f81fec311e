"""Datasets that the tests share: made once, and not written to afterwards."""

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # in the processes that tests start, too
os.environ["HF_HUB_OFFLINE"] = "1"  # no test depends on what the hub or its cache has
os.environ["HF_HUB_CACHE"] = os.path.join(os.devnull, "hub")

import pytest
import torch
from helpers.tiny import make_coco

torch.set_num_threads(1)  # tiny networks gain nothing from more


def pytest_collection_finish():
    """Let garbage collection leave aside what is imported, and come less often: a tenth faster."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.fixture(scope="session")
def coco(tmp_path_factory):
    """The folder of `tiny.make_coco`."""
    return make_coco(tmp_path_factory.mktemp("data") / "coco")


@pytest.fixture(scope="session")
def twins(tmp_path_factory):
    """The folder of a dataset of two images of the same size."""
    return make_coco(tmp_path_factory.mktemp("data") / "twins", sides=((64, 64), (64, 64)))
