"""Images on their way from readers through the detector to what draws and writes them."""

import json
import os
import time
from contextlib import closing

import pytest
from helpers.finds import Finds, noise
from PIL import Image

from hrnet_det.data.pixels import read_pixels
from hrnet_det.errors import InputError
from hrnet_det.predict import UnreadError, drawing_queue, predict
from hrnet_det.predict.sources import reading
from hrnet_det.predict.sources.find import find_sources


def test_images_are_given_to_the_detector_together(folder, tmp_path):
    """In their order, also where one cannot be read, and with the options that are given."""
    (folder / "a_damaged.png").write_text("no image")
    for name in ("c", "d"):
        Image.fromarray(noise(20, 30)).save(folder / f"{name}.png")
    finds, lines = Finds(), []
    tiles = {"tile": 64, "overlap": 0.5, "merge": "sahi"}
    with pytest.raises(UnreadError, match=r"^1 of 6 images"):
        predict(finds, [folder], tmp_path / "out", batch=4, log=lines.append, **tiles)
    assert [line.split(": ")[0].rsplit("/")[-1] for line in lines[1:]] == [
        *("a.jpg", "a.png", "a_damaged.png", "b.PNG", "c.png", "d.png")
    ]
    assert finds.calls == [
        ([(60, 100), (60, 100), (100, 60)], {"batch": 4, **tiles}),
        ([(20, 30), (20, 30)], {"batch": 4, **tiles}),
    ]


def test_classes_that_are_wanted(folder, tmp_path):
    for words in (["dog"], ["1"], ["1", "dog"]):
        (found,) = predict(Finds(), [folder / "a.png"], tmp_path / "out", classes=words)
        assert found.counts == {"dog": 1}
    finds = Finds()
    finds.class_names = ("1", "0")  # names go before numbers
    (found,) = predict(finds, [folder / "a.png"], tmp_path / "out", classes=["0"])
    assert found.counts == {"0": 1}
    with pytest.raises(InputError, match=r"no class 'dogs' .*did you mean dog\?"):
        predict(Finds(), [folder / "a.png"], tmp_path / "out", classes=["dogs"])


def test_what_a_detector_cannot_take_is_named(folder, tmp_path):
    class Fails(Finds):
        def __call__(self, images, **options):
            if any(rgb.shape[0] == 100 for rgb in images):
                raise InputError("numbers are not finite")
            return super().__call__(images, **options)

    with pytest.raises(InputError) as error:
        predict(Fails(), [folder], tmp_path / "out", batch=3)
    assert str(error.value) == f"{folder / 'b.PNG'}: numbers are not finite"
    assert json.loads((tmp_path / "out" / "predictions.json").read_text()) == []


def test_an_interrupt_leaves_what_is_done(folder, tmp_path):
    class Stops(Finds):
        def __call__(self, images, **options):
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().__call__(images, **options)

    with pytest.raises(KeyboardInterrupt):
        predict(Stops(), [folder], tmp_path / "out")
    rows = json.loads((tmp_path / "out" / "predictions.json").read_text())
    drawn = [path.name for path in (tmp_path / "out").glob("*.png")]
    assert [row["image_id"] for row in rows] in ([0, 0], [0, 0, 1, 1])
    assert len(rows) == 2 * len(drawn)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_drawing_that_cannot_be_written_ends_the_run(folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a_2.png").symlink_to("/dev/full")
    with pytest.raises(InputError) as error:
        predict(Finds(), [folder], out)
    assert str(error.value).startswith(
        f"{out / 'a_2.png'} cannot be written (No space left on device). What was done before is"
    )
    rows = json.loads((out / "predictions.json").read_text())
    assert {row["image_id"] for row in rows} == {0}


def test_images_of_large_masks_are_drawn_one_at_a_time(monkeypatch):
    monkeypatch.setattr(drawing_queue, "MOST_WAITING", 3 * 60 * 100 * 2)  # pixels and masks of one
    finds, done = Finds(), []
    finds.masks = True

    def draw(number, *_):
        time.sleep(0.05)
        return number

    with closing(drawing_queue.DrawingQueue(draw, done.append, threads=2, most=3)) as queue:
        left = []
        for number in range(3):
            queue.add(number, reading.Read(None, noise()), finds([noise()])[0])
            left.append(number + 1 - len(done))
        queue.join()
    assert max(left) <= 1 and done == [0, 1, 2]


def test_large_images_are_read_one_at_a_time(folder, tmp_path, monkeypatch):
    for name in "cdef":
        Image.fromarray(noise()).save(folder / f"{name}.png")

    def most_ahead(limit):
        monkeypatch.setattr(reading, "MOST_WAITING", limit)
        asked, most = 0, 0

        class Counted:
            def __iter__(self):
                nonlocal asked
                for source in find_sources([folder], output=tmp_path).sources.values():
                    asked += 1
                    yield source

        each = reading.read_ahead(Counted(), read_pixels, threads=2, ahead=3)
        for done, _ in enumerate(each, 1):
            most = max(most, asked - done)
        return most

    assert most_ahead(3 * 60 * 100) == 0 and most_ahead(2**29) == 2
