"""The measuring of the mapper: its images, its arithmetic, what it prints."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from hrnet_det import model_zoo
from hrnet_det.data.mapper import build_mapper
from tools import mapper_speed


@pytest.fixture
def one_image(monkeypatch):
    """The command with one image instead of many, which is said to take 12.5 ms."""
    images = mapper_speed.random_images
    monkeypatch.setattr(mapper_speed, "random_images", lambda folder: images(folder, 1))
    monkeypatch.setattr(mapper_speed, "seconds_per_image", lambda *_: 0.0125)


def test_the_images_are_as_large_as_cocos_and_can_be_mapped(tmp_path):
    rows = mapper_speed.random_images(tmp_path, 2)
    with Image.open(rows[1]["file_name"]) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (640, 480), "RGB")
    cfg = model_zoo.get_config("hrnetv2p_mask_rcnn.yaml", ["INPUT.RANDOM_FLIP", "none"])
    mapped = build_mapper(cfg, is_train=True)(rows[1])
    assert (mapped["image"].shape, mapped["image"].dtype) == ((3, 800, 1067), torch.uint8)
    assert len(mapped["instances"]) == len(mapped["instances"].gt_masks) == 7
    x, y, w, h = rows[1]["annotations"][0]["bbox"]
    expected = np.array([x, y, x + w, y + h]) * ([1067 / 640, 800 / 480] * 2)
    np.testing.assert_allclose(mapped["instances"].gt_boxes.tensor[0], expected, rtol=1e-4)


def test_the_first_round_is_not_counted(monkeypatch):
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    costs = iter([50.0, 50.0, 1.0, 2.0, 3.0, 3.0, 9.0, 9.0])

    def mapper(row):
        clock.now += next(costs)

    monkeypatch.setattr(mapper_speed, "time", clock)
    assert mapper_speed.seconds_per_image(mapper, [{}, {}], rounds=3) == 3.0


def test_workers_are_whole_and_at_least_one():
    assert mapper_speed.workers_to_feed(60, 0.0134) == 1
    assert mapper_speed.workers_to_feed(100, 0.05) == 5
    assert mapper_speed.workers_to_feed(101, 0.05) == 6
    assert mapper_speed.workers_to_feed(0.1, 0.001) == 1


def test_what_the_command_prints(one_image, capsys):
    mapper_speed.main(["--feed", "200.5", "INPUT.FORMAT", "BGR"])
    assert capsys.readouterr().out.splitlines() == [
        "640x480 JPEG to 1067x800 BGR, INPUT.RESIZE pillow, 7 objects with polygon masks: "
        "12.5 ms, 80 images per second in one worker",
        "200.5 images per second: DATALOADER.NUM_WORKERS 3",
    ]


def test_the_profile_names_the_resizing(one_image, capsys):
    mapper_speed.main(["--profile", "--config-file", "hrnetv2p_faster_rcnn.yaml"])
    printed = capsys.readouterr().out
    assert "{method 'resize' of 'ImagingCore' objects}" in printed
    assert "7 objects with boxes: " in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--feed", "0"], "--feed 0.0: give images per second, more than 0"),
        (["--feed", "nan"], "--feed nan: give images per second, more than 0"),
        (["INPUT.RESIZE", "x"], "unknown INPUT.RESIZE 'x'; known: pillow, opencv, opencv_float, "),
        (["--config-file", "no/such"], "config no/such is neither a file nor a shipped config"),
        (
            ["--config-file", "quickstart/keypoint_rcnn"],
            "quickstart/keypoint_rcnn wants keypoints, which the random objects lack",
        ),
    ],
)
def test_what_it_cannot_use_is_said(words, message, capsys):
    with pytest.raises(SystemExit) as end:
        mapper_speed.main(words)
    assert end.value.code == 2
    assert f"error: {message}" in capsys.readouterr().err
