"""Videos: drawn frame by frame, with a line of JSON for each."""

import json
import shutil
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from helpers.videos import read_video, turn, write_video
from PIL import Image
from pycocotools import mask as coco_mask

from hrnet_det.data.pixels import read_pixels
from hrnet_det.drawing.colours import PALETTE
from hrnet_det.errors import InputError
from hrnet_det.predict import UnreadError, check_request, plan, predict
from hrnet_det.predict.results import Prediction
from hrnet_det.predict.tally import run_plan
from hrnet_det.predict.video import annotate, writing
from hrnet_det.predict.video.annotate import VideoResult, annotate_video
from hrnet_det.predict.video.reading import VideoReader, _length
from hrnet_det.predict.video.writing import VideoWriter

NAMES = ("person", "dog")
GREY = 90
NEAR = 14  # of 255, what the codec may change


def grey(count, height=240, width=400):
    """Frames of one grey each, a little lighter from frame to frame."""
    return [np.full((height, width, 3), GREY + n, np.uint8) for n in range(count)]


class Finds:
    """Finds in the nth frame n dogs with masks, at most two, and in each a person."""

    def __init__(self):
        self.batches = []

    def __call__(self, frames):
        self.batches.append([int(frame[0, 0, 0]) for frame in frames])
        return [self.objects(frame, sum(map(len, self.batches[:-1])) + i)
                for i, frame in enumerate(frames)]  # fmt: skip

    def objects(self, frame, n):
        height, width = frame.shape[:2]
        found, dogs = Instances((height, width)), min(n, 2)
        boxes = [[20.0, 40, 60, 100], [100, 40, 180, 120], [200, 40, 300, 120]][: 1 + dogs]
        found.pred_boxes = Boxes(torch.tensor(boxes))
        found.scores = torch.tensor([0.75, 0.5, 0.25])[: 1 + dogs]
        found.pred_classes = torch.tensor([0, 1, 1])[: 1 + dogs]
        found.pred_masks = torch.zeros(1 + dogs, height, width, dtype=torch.bool)
        for mask, (x0, y0, x1, y1) in zip(found.pred_masks, boxes, strict=True):
            mask[int(y0) : int(y1), int(x0) : int(x1)] = True
        return found


def blended(colour, ground):
    """A mask's colour over a ground."""
    return 0.45 * np.array(colour) + 0.55 * ground


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def near(pixel, expected):
    return np.abs(pixel.astype(float) - expected).max() <= NEAR


def test_frames_keep_their_size_and_times_and_are_drawn_in_the_colours_of_classes(tmp_path):
    """Of a variable frame rate."""
    times = [0, 40, 100, 130, 400]
    path = write_video(tmp_path / "10:30 #1?.mp4", grey(5), times)
    drawing = tmp_path / "out.mp4"
    found = annotate_video(Finds(), path, drawing, class_names=NAMES)
    assert found == VideoResult(5, {"dog": 7, "person": 5})
    seen = read_video(drawing)
    assert (seen.times, seen.codec, seen.frames.shape) == (times, "h264", (5, 240, 400, 3))
    for n, frame in enumerate(seen.frames):
        ground = GREY + n
        assert near(frame[200, 350], ground)
        assert near(frame[80, 40], blended(PALETTE[0], ground))
        assert near(frame[80, 140], blended(PALETTE[1], ground) if n else ground)
        assert near(frame[80, 250], blended(PALETTE[1], ground) if n > 1 else ground)


def test_each_frame_has_a_line_with_its_objects(tmp_path):
    path = write_video(tmp_path / "clip.mp4", grey(3), [0, 40, 100])
    annotate_video(Finds(), path, tmp_path / "out.mp4", class_names=NAMES)
    first, second, third = lines(tmp_path / "out.jsonl")
    rle = first["objects"][0].pop("segmentation")
    mask = coco_mask.decode(rle)
    assert (mask.shape, mask.sum(), mask[40:100, 20:60].sum()) == ((240, 400), 2400, 2400)
    person = {"category": "person", "category_id": 0, "bbox": [20, 40, 40, 60], "score": 0.75}
    assert first == {"frame": 0, "seconds": 0, "objects": [person]}
    del second["objects"][0]["segmentation"], second["objects"][1]["segmentation"]
    dog = {"category": "dog", "category_id": 1, "bbox": [100, 40, 80, 80], "score": 0.5}
    assert second == {"frame": 1, "seconds": 0.04, "objects": [person, dog]}
    assert (third["frame"], third["seconds"], len(third["objects"])) == (2, 0.1, 3)


def test_frames_go_to_the_detector_in_batches_and_every_nth_of_them(tmp_path):
    path = write_video(tmp_path / "clip.mkv", grey(8))
    finds = Finds()
    found = annotate_video(finds, path, tmp_path / "a.mp4", class_names=NAMES, every=3, batch=2)
    assert found.frames == 3
    close = [[n + GREY - 2 <= value <= n + GREY + 2 for value in batch]
             for n, batch in zip((0, 6), finds.batches, strict=True)]  # fmt: skip
    assert [len(batch) for batch in finds.batches] == [2, 1] and close[0][0] and close[1][0]
    assert [row["frame"] for row in lines(tmp_path / "a.jsonl")] == [0, 3, 6]
    assert read_video(tmp_path / "a.mp4").times == [0, 120, 240]
    for options in ({"every": 0}, {"batch": -1}):
        with pytest.raises(InputError, match=r"^(every 0|batch -1): give a whole number of at lea"):
            annotate_video(finds, path, tmp_path / "a.mp4", class_names=NAMES, **options)


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


def test_an_interrupted_video_can_be_played(tmp_path):
    path, finds = write_video(tmp_path / "clip.mp4", grey(6)), Finds()

    def interrupted(frames):
        if len(finds.batches) == 3:
            raise KeyboardInterrupt
        return finds(frames)

    with pytest.raises(KeyboardInterrupt):
        annotate_video(interrupted, path, tmp_path / "out.mp4", class_names=NAMES)
    assert read_video(tmp_path / "out.mp4").times == [0, 40, 80]
    assert [row["frame"] for row in lines(tmp_path / "out.jsonl")] == [0, 1, 2]


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


class Detects(Finds):
    """In the place of a Detector."""

    class_names = NAMES
    read = staticmethod(read_pixels)

    def __call__(self, frames, *, score, batch, classes):
        assert (score, batch, classes) == (0.5, 2, []) and len(frames) <= batch
        return [objects[objects.scores >= score] for objects in super().__call__(frames)]


def test_videos_are_predicted_on_among_images(tmp_path):
    """One of three is damaged, one is none: what can be read is done, and they are named."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 128, 320, 3), dtype=np.uint8)
    given, output, log = tmp_path / "given", tmp_path / "out", []
    given.mkdir()
    image, clip, cut, text = (given / n for n in ("a.png", "clip.mp4", "cut.mkv", "text.mp4"))
    Image.fromarray(grey(1)[0]).save(image)
    write_video(clip, grey(4))
    content = write_video(cut, list(noise)).read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    text.write_text("no video")
    with pytest.raises(UnreadError) as error:
        predict(Detects(), [given], output, batch=2, every=2, log=log.append)
    frames = len(lines(output / "cut.jsonl"))
    no_video = "cannot be read as a video (Invalid data found when processing input)"
    ended = "is cut off: its end is missing"
    assert error.value.failed == [f"{cut} {ended}; {frames} frames are done", f"{text} {no_video}"]
    assert str(error.value).startswith("2 of 4 images and videos cannot be read in full:\n  ")
    assert log[0] == f"{image}: 1 person"
    assert log[1] == f"{clip}: 2 frames, 2 person, 2 dog"
    assert log[2] == f"{cut}: {frames} frames, {frames} person, {frames} dog; it {ended}"
    assert log[3] == f"{text}: left out, it {no_video}"
    written = ["a.png", "clip.jsonl", "clip.mp4", "cut.jsonl", "cut.mp4", "predictions.json"]
    assert sorted(path.name for path in output.iterdir()) == written
    assert [row["frame"] for row in lines(output / "clip.jsonl")] == [0, 2]


def test_what_is_predicted_on_a_video_is_told(tmp_path, capsys):
    clip = write_video(tmp_path / "clip.mkv", grey(3, 241, 400), sound="pcm_s16le")
    output = tmp_path / "out"
    assert predict(Detects(), [clip], output, batch=2) == [
        Prediction(clip, output / "clip.mp4", {"person": 3, "dog": 2}, frames=3, notes=(
            "its sound (pcm_s16le) is left out, as MP4 does not take it",
            "its frames are 400x241, written as 400x242: videos have even sides",
        ))
    ]  # fmt: skip
    asked = check_request([clip], output, crops=True)
    assert asked.notes == ["crops and the results with the json's ids are of images, not of videos"]
    assert run_plan(Detects(), asked, batch=2) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{clip}: 3 frames, 3 person, 2 dog",
        f"{clip}: its sound (pcm_s16le) is left out, as MP4 does not take it",
        f"{clip}: its frames are 400x241, written as 400x242: videos have even sides",
        f"1 video of 3 frames: 3 person, 2 dog in 1 of them; drawn and written in {output} "
        "(NAME.jsonl of each video)",
    ]
    assert {path.name for path in output.iterdir()} == {"clip.mp4", "clip.jsonl"}
    (output / "clip.jsonl").unlink()
    (output / "clip.jsonl").symlink_to(clip)
    with pytest.raises(InputError, match=r"/clip\.jsonl would overwrite .*/clip\.mkv: gi"):
        predict(Detects(), [clip], output)


def test_where_images_and_videos_are_is_told(tmp_path, capsys):
    clip, image = write_video(tmp_path / "clip.mkv", grey(1)), tmp_path / "a.png"
    Image.fromarray(grey(1)[0]).save(image)
    asked = check_request([image, clip], tmp_path / "out", crops=True)
    assert run_plan(Detects(), asked, batch=2) == 0
    *_, of_clip, everything = capsys.readouterr().out.splitlines()
    assert of_clip == f"{clip}: 1 frame, 1 person, 1 dog"
    assert everything.endswith("/out (predictions.json, NAME.jsonl of each video, crops/)")


def test_an_interrupt_in_a_video_says_how_far_it_came(tmp_path, capsys):
    class Stops(Detects):
        def __call__(self, frames, **options):
            if len(self.batches) == 2:
                raise KeyboardInterrupt
            return super().__call__(frames, **options)

    clip = write_video(tmp_path / "clip.mkv", grey(6))
    with pytest.raises(KeyboardInterrupt):
        run_plan(Stops(), check_request([clip], tmp_path / "out"), batch=2)
    assert len(lines(tmp_path / "out" / "clip.jsonl")) == 4
    assert capsys.readouterr().out.splitlines() == [
        f"stopped: 0 of 1 videos are done, and 4 frames of {clip}: {tmp_path / 'out'}"
    ]


def test_what_is_written_changes_seldom(tmp_path, monkeypatch):
    """Scores alone from the first frame without room for names on, until a second has had it."""
    seen = []

    def drawn(pixels, *, objects, written, text, **_):
        seen.append((written, text))
        return pixels

    room = iter([("names", 20), ("scores", 12), ("names", 18), ("names", 18), ("names", 18)])
    monkeypatch.setattr(annotate, "annotate", drawn)
    monkeypatch.setattr(annotate, "lettering", lambda *_, **__: next(room))
    path = write_video(tmp_path / "clip.mp4", grey(5), [0, 400, 800, 1400, 1800])
    annotate_video(Finds(), path, tmp_path / "out.mp4", class_names=NAMES)
    names, scores = ("names", 20), ("scores", 12)
    assert seen == [names, scores, scores, scores, ("names", 18)]


@pytest.mark.parametrize(
    ("found", "said"), [(None, "is not installed"), (SimpleNamespace(version="16.1.0"), "is 16.1")]
)
def test_videos_without_a_pyav_that_writes_them_are_refused(tmp_path, monkeypatch, found, said):
    clip = write_video(tmp_path / "clip.mp4", grey(1))
    monkeypatch.setattr(plan, "distribution", lambda _: found)
    with pytest.raises(
        InputError, match=rf"^{clip} is a video, which takes PyAV 17 or later; it {said}"
    ):
        check_request([clip], tmp_path / "out")
