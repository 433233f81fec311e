"""Jsons of the user's own that the tests of data write and read."""

import json

import pytest
from helpers.own_json import write_images

from hrnet_det.data.coco_json import CocoJson
from hrnet_det.errors import InputError


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder with the images of `own_json.valid`; tests write jsons to it."""
    folder = tmp_path_factory.mktemp("own")
    write_images(folder / "images")
    return folder


@pytest.fixture
def read_all(folder):
    """Writes a json, of content or of bytes, and reads it with all findings."""

    def read_all(content, *, masks=False, keypoints=False, evaluated=False):
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / "own.json").write_bytes(raw)
        flags = {"masks": masks, "keypoints": keypoints, "evaluated": evaluated}
        return CocoJson(folder / "own.json", folder / "images", **flags)

    return read_all


@pytest.fixture
def read(read_all):
    """The same; errors are raised."""
    return lambda content, **flags: read_all(content, **flags).raise_errors()


@pytest.fixture
def problems(read, folder):
    """The lines with which a json is refused."""

    def problems(content, **flags):
        with pytest.raises(InputError) as error:
            read(content, **flags)
        start, *lines = str(error.value).split("\n  ")
        assert start == f"{folder}/own.json cannot be used:"
        return lines

    return problems
