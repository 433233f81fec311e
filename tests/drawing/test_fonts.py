"""Text of any script and length."""

import pytest

from hrnet_det.drawing import fonts
from hrnet_det.drawing.fonts import can_write, font, shortened


def test_a_long_text_is_cut_to_a_width():
    text = "a very long name of a class"
    cut = shortened(text, 80, 12)
    assert cut.endswith("…") and text.startswith(cut[:-1])
    assert 60 < font(12).getlength(cut) <= 80
    assert shortened("dog", 80, 12) == "dog"
    assert shortened(text, 2, 12) == ""


@pytest.fixture
def no_other_fonts(monkeypatch):
    for function in (fonts._path_for, fonts._say_once):
        function.cache_clear()
    monkeypatch.setattr(fonts, "_others", list)
    yield
    fonts._path_for.cache_clear()


def test_letters_that_no_font_has_are_told_once(no_other_fonts, caplog):
    assert can_write("dog é ж β \n")
    assert not can_write("\u732b") and not can_write("dog \u72ac")
    assert sum("no font of this machine has" in line for line in caplog.messages) == 1


def test_another_font_of_the_machine_is_taken_for_letters_that_the_usual_lacks(
    no_other_fonts, monkeypatch
):
    letters = {"/a.ttf": {ord("d")}, "/b.ttf": {0x732B}}
    usual = fonts._letters(fonts.FONT)
    monkeypatch.setattr(fonts, "_others", lambda: list(letters))
    monkeypatch.setattr(fonts, "_letters", lambda path: letters.get(str(path), usual))
    assert fonts._path_for("\u732b") == "/b.ttf"
    assert fonts._path_for("d") == fonts.FONT
