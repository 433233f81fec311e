"""Videos among what is predicted on."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers.video_finds import Detects, grey, lines
from helpers.videos import write_video
from PIL import Image

from hrnet_det.errors import InputError
from hrnet_det.predict import UnreadError, check_request, plan, predict
from hrnet_det.predict.results import Prediction
from hrnet_det.predict.tally import run_plan


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
