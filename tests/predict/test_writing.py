"""Files of results: valid at any time, and one error where they cannot be written."""

import json
import os

import pytest

from hrnet_det.errors import InputError
from hrnet_det.predict.writing import JsonList


def test_a_list_is_valid_after_each_addition(tmp_path):
    path = tmp_path / "list.json"
    path.write_text("what was there before, which is longer")
    rows, file = [], JsonList(path)
    for more in ([], [{"a": 1}], [{"b": "ü"}, {"c": [2.5]}], [], [{"d": None}]):
        file.add(more)
        rows += more
        assert json.loads(path.read_text()) == rows
    file.close()
    assert path.read_text().splitlines()[1:3] == ['{"a": 1},', '{"b": "\\u00fc"},']


def test_what_was_added_stays_valid_where_the_disk_is_full(tmp_path, monkeypatch):
    file = JsonList(tmp_path / "list.json")
    file.add([{"a": 1}])
    real = file._file

    class Full:
        """Takes ten bytes, then nothing."""

        left = 10

        def __getattr__(self, name):
            return getattr(real, name)

        def write(self, content):
            if not self.left and len(content) > 1:
                raise OSError(28, "No space left on device")
            part = content[: self.left or 1]
            self.left = max(0, self.left - len(part))
            return real.write(part)

    monkeypatch.setattr(file, "_file", Full())
    with pytest.raises(InputError) as error:
        file.add([{"b": "long enough"}])
    assert str(error.value) == (
        f"{tmp_path / 'list.json'} cannot be written (No space left on device). What was done "
        "before is there; make room, or give another folder (--output)"
    )
    assert json.loads((tmp_path / "list.json").read_text()) == [{"a": 1}]


def test_a_file_that_cannot_be_opened(tmp_path):
    (tmp_path / "list.json").mkdir()
    with pytest.raises(InputError, match=r"list\.json cannot be written \(Is a directory\)"):
        JsonList(tmp_path / "list.json")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_device(tmp_path):
    (tmp_path / "list.json").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)"):
        JsonList(tmp_path / "list.json")
