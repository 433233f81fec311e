"""Videos that are written can be played, and have sound and shape of their source."""

import shutil
from fractions import Fraction

import av
import numpy as np
import pytest
from helpers.video_finds import GREY, NAMES, Finds, blended, grey, near
from helpers.videos import read_video, write_video

from hrnet_det.drawing.colours import PALETTE
from hrnet_det.errors import InputError
from hrnet_det.predict.video import writing
from hrnet_det.predict.video.annotate import VideoResult, annotate_video
from hrnet_det.predict.video.reading import VideoReader
from hrnet_det.predict.video.writing import VideoWriter


def test_odd_sides_are_made_even_and_it_is_said(tmp_path):
    path = write_video(tmp_path / "odd.mp4", grey(1, 121, 201))
    found = annotate_video(Finds(), path, tmp_path / "out.mp4", class_names=NAMES)
    said = "its frames are 201x121, written as 202x122: videos have even sides"
    assert found == VideoResult(1, {"person": 1}, notes=(said,))
    assert read_video(tmp_path / "out.mp4").frames.shape == (1, 122, 202, 3)


def test_sound_is_kept_where_it_can_be(tmp_path):
    aac = write_video(tmp_path / "aac.mp4", grey(3), sound="aac")
    found = annotate_video(Finds(), aac, tmp_path / "a.mp4", class_names=NAMES)
    seen = read_video(tmp_path / "a.mp4")
    assert found.notes == () and seen.times == [0, 40, 80]
    assert seen.packets == read_video(aac).packets != []
    pcm = write_video(tmp_path / "pcm.mkv", grey(3), sound="pcm_s16le")
    found = annotate_video(Finds(), pcm, tmp_path / "b.mp4", class_names=NAMES)
    assert found.notes == ("its sound (pcm_s16le) is left out, as MP4 does not take it",)
    assert read_video(tmp_path / "b.mp4").packets == []


def test_a_video_whose_process_is_killed_can_be_played(tmp_path):
    """What is on the disk before it is closed."""
    noise = np.random.default_rng(0).integers(0, 256, (150, 64, 96, 3), dtype=np.uint8)
    path, unfinished = write_video(tmp_path / "clip.mp4", list(noise)), tmp_path / "killed.mp4"
    reader = VideoReader(path)
    writer = VideoWriter(tmp_path / "out.mp4", reader)
    for frame in reader.read():
        writer.add(frame)
    shutil.copy(tmp_path / "out.mp4", unfinished)
    writer.close()
    reader.close()
    assert len(read_video(tmp_path / "out.mp4").times) == 150
    found = annotate_video(Finds(), unfinished, tmp_path / "again.mp4", class_names=NAMES)
    assert 50 <= found.frames < 150


def test_without_an_encoder_of_h264_it_is_mpeg4_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(writing.av, "codecs_available", {"mpeg4"})
    path = write_video(tmp_path / "clip.ts", grey(3), [0, 40, 100])  # 90,000 units a second
    found = annotate_video(Finds(), path, tmp_path / "out.mp4", class_names=NAMES)
    assert found.notes == (
        "written as MPEG-4 Part 2, as this FFmpeg has no encoder of H.264: browsers do not play it",
    )
    seen = read_video(tmp_path / "out.mp4")
    assert (seen.codec, seen.times) == ("mpeg4", [0, 40, 100])
    assert near(seen.frames[2, 80, 140], blended(PALETTE[1], GREY + 2))


def test_a_file_that_cannot_be_written_is_one_error(tmp_path):
    path = write_video(tmp_path / "clip.mp4", grey(2))
    with pytest.raises(InputError, match=r"/no/out\.mp4 cannot be written \(No such file or direc"):
        annotate_video(Finds(), path, tmp_path / "no" / "out.mp4", class_names=NAMES)


def test_the_pixels_of_a_video_keep_their_shape(tmp_path):
    path = tmp_path / "dv.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(16, 11)
        for pixels in grey(2, 64, 96):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    annotate_video(Finds(), path, tmp_path / "out.mp4", class_names=NAMES)
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.streams.video[0].sample_aspect_ratio == Fraction(16, 11)
