"""What the soak measures, and what it makes of it."""

import mmap
import os

import pytest

from tools import soak
from tools.soak import Sample, files_are_constant, growth, held


def samples(memory, files=None):
    files = files or [9] * len(memory)
    return [Sample(20 * n, *pair) for n, pair in enumerate(zip(memory, files, strict=True), 1)]


def test_growth_is_of_the_second_half():
    early = [100, 300, 500, 700]
    assert growth(samples([*early, 1000, 1000, 1000, 1000])) == 0
    assert growth(samples([*early, 1000, 1005, 1010, 1015])) == pytest.approx(0.015)
    assert growth(samples([1, 1, 1000, 990])) == pytest.approx(-0.01)


def test_open_files():
    memory = [1] * 8
    assert files_are_constant(samples(memory, [4, 5, 6, 7, 9, 9, 12, 9]))
    assert not files_are_constant(samples(memory, [9, 9, 9, 9, 9, 10, 11, 12]))


def test_memory_of_a_process():
    before = held(os.getpid())
    with mmap.mmap(-1, 50_000_000) as more:  # pages of its own, not what was freed before
        more.write(b"x" * len(more))
        assert held(os.getpid()) - before >= 0.9 * len(more)


@pytest.mark.parametrize(("memory", "files", "code"), [(10, 5, 0), (11, 5, 1), (10, 6, 1)])
def test_the_status(monkeypatch, capsys, memory, files, code):
    made = samples([10] * 7 + [memory], [5] * 7 + [files])
    monkeypatch.setattr(soak, "train", lambda folder, iterations, workers: made)
    try:
        soak.main([])
        status = 0
    except SystemExit as end:
        status = end.code
    assert status == code
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 9 and printed[-1].startswith("memory over the second half: +")


def test_a_json_of_many_images(tmp_path, capsys):
    soak.read_json(tmp_path, 50, 1)
    first, rows, mine, workers = capsys.readouterr().out.splitlines()[-4:]
    assert first.startswith("50 images: a json of ") and rows.startswith("50 rows read in ")
    assert mine.startswith("all processes hold ")
    assert workers.startswith("1 workers, MB of each alone: ")
