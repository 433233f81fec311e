"""The measuring of predict on many images, on a few."""

import pytest

from tools import predict_many
from tools.soak import Sample


def test_what_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(predict_many, "MOST", 1)  # four images are the first of a process
    predict_many.main(["--images", "4", "--batch", "2"])
    first, speed, written, grown = capsys.readouterr().out.splitlines()
    assert first.split()[:2] == ["4", "images"] and first.endswith(" open files")
    assert speed.startswith("all: ") and speed.endswith(" images/s")
    assert written == "4 drawings, 12 rows of predictions.json"
    assert grown.startswith("most memory of the second half beside the first: ")


def test_the_command_explains_itself(capsys):
    with pytest.raises(SystemExit) as end:
        predict_many.main(["--help"])
    assert end.value.code == 0 and "--images" in capsys.readouterr().out


def test_memory_that_grows_is_a_failure(monkeypatch, capsys):
    def grows(detector, folder, output, batch):
        output.mkdir()
        (output / "predictions.json").write_text("[]")
        return [Sample(n, 1000 + 20 * n, 9) for n in range(1, 9)]

    monkeypatch.setattr(predict_many, "measured", grows)
    monkeypatch.setattr(predict_many, "random_detector", lambda device: None)
    with pytest.raises(SystemExit) as end:
        predict_many.main(["--images", "1"])
    assert end.value.code == 1
    said = "most memory of the second half beside the first: +7.41%"  # 1160 and 1080
    assert capsys.readouterr().out.splitlines()[-1] == said
