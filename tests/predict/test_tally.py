"""What the command says of a whole run, and its exit status."""

import io
import sys

import pytest
from helpers.finds import Finds, noise
from PIL import Image

from hrnet_det.predict import check_request
from hrnet_det.predict.tally import run_plan


class Terminal(io.StringIO):
    def isatty(self):
        return True


def told(words, output, **options):
    """The exit status, and the lines about everything."""
    lines = []
    status = run_plan(Finds(), check_request(words, output, **options), batch=2, log=lines.append)
    return status, lines


def test_where_everything_is_and_how_much(folder, tmp_path):
    out = tmp_path / "out"
    pages = [Image.fromarray(noise()) for _ in range(3)]
    pages[0].save(folder / "scan.tif", save_all=True, append_images=pages[1:])
    status, lines = told([folder], out, score=0.2, crops=True)
    assert status == 0 and len(lines) == 6
    assert lines[-3:] == [
        f"{folder / 'scan.tif'}: 2 person, 1 dog",
        f"1 file with several pages or frames, of which the first is read: {folder / 'scan.tif'} "
        "has 3",
        f"4 images: 6 person, 3 dog in 3 of them; drawn and written in {out} (predictions.json, "
        "crops/)",
    ]
    assert told([folder / "b.PNG"], out) == (
        0,
        [
            f"{folder / 'b.PNG'}: nothing over 0.5",
            f"1 image: nothing over 0.5; drawn and written in {out} (predictions.json)",
        ],
    )


def test_the_exit_status_of_what_cannot_be_read(folder, tmp_path, capsys):
    notes = folder / "notes.txt"
    status, lines = told([notes, folder / "a.png"], tmp_path / "out")
    assert status == 1 and lines[0] == f"{notes}: left out, it is not an image that Pillow can read"
    assert lines[-1].startswith("1 image: 1 person, 1 dog in 1 of them; drawn and written in ")
    assert told([notes], tmp_path / "out") == (2, lines[:1])
    assert capsys.readouterr().err == "".join(
        f"error: 1 of {total} images cannot be read:\n  {notes} is not an image that Pillow can "
        "read\n"
        for total in (2, 1)
    )


@pytest.mark.parametrize(("images", "bar"), [(10, False), (11, True)])
def test_many_images_have_a_bar_on_a_terminal(tmp_path, monkeypatch, images, bar):
    for number in range(images):
        Image.fromarray(noise(20, 30)).save(tmp_path / f"{number}.png")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    status, lines = told([tmp_path], tmp_path / "out")
    assert status == 0 and len(lines) == (1 if bar else images + 1)
    assert (f"{images}/{images}" in terminal.getvalue()) == bar


def test_an_interrupt_says_how_far_it_came(folder, tmp_path):
    class Stops(Finds):
        def __call__(self, images, **options):
            if self.calls:
                raise KeyboardInterrupt
            return super().__call__(images, **options)

    lines, plan = [], check_request([folder], tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        run_plan(Stops(), plan, batch=1, log=lines.append)
    drawn = len(list((tmp_path / "out").glob("*.png")))
    assert lines[-1] == f"stopped: {drawn} of 3 images are done: {tmp_path / 'out'}"
    assert sum("stopped" in line for line in lines) == 1
