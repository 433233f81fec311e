"""Damaged files are made and read, and what is no InputError is found, kept and named."""

import os
import signal
from types import SimpleNamespace

import pytest

from tools import fuzz
from tools.fuzz_corpus import READERS, Reader


@pytest.mark.parametrize("name", READERS)
def test_whole_files_are_taken_and_a_few_damaged_ones_are_no_fault(name, tmp_path):
    reader = READERS[name]
    for raw in reader.whole():
        path = tmp_path / f"whole{reader.suffix}"
        path.write_bytes(raw)
        reader.read(path)
    counts = fuzz.run_examples(reader, 0, tmp_path, examples=25)
    assert counts["refused"] >= 10


def stumble(path):
    if b"\xff" in path.read_bytes():
        raise KeyError("hidden")


def crash(path):
    os.kill(os.getpid(), signal.SIGSEGV)


@pytest.mark.parametrize(("read", "said"), [(stumble, "KeyError: 'hidden'"), (crash, "SIGSEGV")])
def test_a_fault_is_kept_and_named(read, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fuzz, "READERS", {"json": Reader(".json", lambda: [b"whole"], read)})
    monkeypatch.setattr(fuzz, "MEMORY", 2**28)  # less than this process has, with torch
    clock = SimpleNamespace(
        monotonic=iter([0.0, 0.0, 9.0]).__next__
    )  # the start, one file, the end
    monkeypatch.setattr(fuzz, "time", clock)
    words = ["--seconds", "1", "--seed", "7", "--readers", "json", "--output", str(tmp_path)]
    assert fuzz.main(words) == 1
    out = capsys.readouterr().out
    assert f"FAULT: json, seed 7: {'the process ended with ' if read is crash else ''}{said}" in out
    kept = tmp_path / "json-7.json"
    assert f"the file is {kept}" in out and out.endswith("1 faults in 0 files\n")
    assert read is crash or b"\xff" in kept.read_bytes()
