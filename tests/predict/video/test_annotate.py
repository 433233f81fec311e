"""Videos: drawn frame by frame, with a line of JSON for each."""

import pytest
from helpers.video_finds import GREY, NAMES, Finds, blended, grey, lines, near
from helpers.videos import read_video, write_video
from pycocotools import mask as coco_mask

from hrnet_det.drawing.colours import PALETTE
from hrnet_det.errors import InputError
from hrnet_det.predict.video import annotate
from hrnet_det.predict.video.annotate import VideoResult, annotate_video


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
