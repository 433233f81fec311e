"""A detector and its exported files, which the tests of a process share."""

import pytest
from helpers.exported import exported, weights


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Paths of a Mask R-CNN: "weights", and what they are exported to, "inside" and "outside"."""
    folder = tmp_path_factory.mktemp("exported")
    file = weights("mask", folder / "weights.pth")
    return {
        "weights": file,
        "inside": exported(file, folder / "inside.onnx"),
        "outside": exported(file, folder / "outside.onnx", processing="outside", batch=2),
    }
