"""Frames of videos: upright, at their times, as far as they can be read."""

import shutil

import av
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from helpers.video_finds import GREY, NAMES, Finds, grey, lines, near
from helpers.videos import read_video, turn, write_video

from hrnet_det.predict.video.annotate import VideoResult, annotate_video
from hrnet_det.predict.video.reading import _length


def test_a_video_of_a_phone_is_turned_as_it_is_shown(tmp_path):
    frames = grey(2, 120, 200)
    for frame in frames:
        frame[:40, :60] = (220, 40, 40)  # at the top left, which is shown at the top right
    path = write_video(tmp_path / "phone.mp4", frames)
    turn(path)

    def nothing(given):
        assert [frame.shape for frame in given] == [(200, 120, 3)]
        return [Instances((200, 120), scores=torch.zeros(0), pred_boxes=Boxes(torch.zeros(0, 4)),
                          pred_classes=torch.zeros(0, dtype=torch.long))]  # fmt: skip

    found = annotate_video(nothing, path, tmp_path / "out.mp4", class_names=NAMES)
    assert found == VideoResult(2, {})
    frame = read_video(tmp_path / "out.mp4").frames[0]
    assert frame.shape == (200, 120, 3)
    assert near(frame[20, 100], (220, 40, 40)) and near(frame[20, 20], GREY)


def test_times_begin_at_0_where_a_streams_clock_has_run_before(tmp_path):
    path = write_video(tmp_path / "clip.ts", grey(3), [0, 40, 100])
    annotate_video(Finds(), path, tmp_path / "out.mp4", class_names=NAMES)
    assert [row["seconds"] for row in lines(tmp_path / "out.jsonl")] == [0, 0.04, 0.1]
    assert read_video(tmp_path / "out.mp4").times == [0, 40, 100]


def test_of_a_damaged_video_is_done_what_can_be_read(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (20, 64, 96, 3), dtype=np.uint8)
    whole = write_video(tmp_path / "whole.mkv", list(noise))
    content = whole.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(content[: len(content) // 2])
    found = annotate_video(Finds(), cut, tmp_path / "out.mp4", class_names=NAMES)
    assert found.problem == "is cut off: its end is missing" and 5 <= found.frames <= 11
    assert len(read_video(tmp_path / "out.mp4").times) == found.frames
    assert len(lines(tmp_path / "out.jsonl")) == found.frames
    hole = tmp_path / "hole.mp4"
    shutil.copy(write_video(tmp_path / "whole.mp4", list(noise)), hole)
    content = bytearray(hole.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20_000] = bytes(20_000)
    hole.write_bytes(content)
    found = annotate_video(Finds(), hole, tmp_path / "out.mp4", class_names=NAMES)
    assert found.problem.startswith("is damaged: a part of it cannot be decoded")
    assert 5 <= found.frames < 20
    assert annotate_video(Finds(), whole, tmp_path / "out.mp4", class_names=NAMES).problem == ""


def test_what_is_no_video_is_said_and_nothing_written(tmp_path):
    text, sound = tmp_path / "text.mp4", tmp_path / "sound.mp4"
    text.write_text("no video")
    with av.open(str(sound), "w") as file:
        tone = file.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        file.mux(tone.encode(frame))
        file.mux(tone.encode())
    for path, said in (
        (text, "cannot be read as a video (Invalid data found when processing input)"),
        (sound, "has no video stream"),
    ):
        found = annotate_video(Finds(), path, tmp_path / "out.mp4", class_names=NAMES)
        assert found == VideoResult(0, {}, said)
    assert {path.name for path in tmp_path.iterdir()} == {"text.mp4", "sound.mp4"}


@pytest.mark.parametrize(
    ("start", "length"),
    [
        (b"\x81", (1, 1)),
        (b"\x40\x02", (2, 2)),
        (b"\x01\x00\x00\x00\x00\x00\x00\x80", (128, 8)),
        (b"\x01\xff\xff\xff\xff\xff\xff\xff", None),  # unknown
        (b"\x00\x01", None),
        (b"", None),
    ],
)
def test_lengths_of_matroska(start, length):
    assert _length(start + b"\x07" * (8 - len(start)) if length else start) == length
