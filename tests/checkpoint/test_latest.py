"""The checkpoint that --resume goes on from, where the last one is damaged or not named."""

import logging
import os

import pytest
import torch
from detectron2.utils import comm

from hrnet_det.checkpoint import Checkpointer
from hrnet_det.checkpoint.latest import iteration_of, latest_checkpoint, numbered_checkpoints
from hrnet_det.errors import InputError


class Model(torch.nn.Module):
    def __init__(self, value=0.0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((64,), value))


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of iterations 9, 19 and 29, the best of 24, and the final one of 39."""
    checkpointer = Checkpointer(Model(), str(tmp_path))
    for iteration in (9, 19, 29):
        checkpointer.save(f"model_{iteration:07d}", iteration=iteration)
    checkpointer.save("model_best", iteration=24)
    checkpointer.save("model_final", iteration=39)
    return tmp_path


def latest(folder):
    """Name of the checkpoint to go on from, and what was skipped."""
    found = latest_checkpoint(folder)
    return os.path.basename(found.path), list(found.skipped)


def damage(path, how):
    content = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "inverted":
        middle = content.index(b"\0" * 128) + 64
        path.write_bytes(content[:middle] + b"\xff" + content[middle + 1 :])
    elif how == "text":
        path.write_text("no weights")
    elif how == "gone":
        path.unlink()


def test_the_one_that_last_checkpoint_names_whatever_its_iteration(folder):
    assert latest(folder) == ("model_final.pth", [])
    (folder / "last_checkpoint").write_text("model_0000009.pth\n")
    assert latest(folder) == ("model_0000009.pth", [])


SAID = {
    "empty": "is not a file of weights but an empty file",
    "truncated": "cannot be read as plain tensors: damaged, or a pickle of its own",
    "inverted": "is damaged: its record ",
    "text": "cannot be read as plain tensors: damaged, or a pickle of its own",
}


@pytest.mark.parametrize("how", SAID)
def test_damaged_ones_are_skipped_from_the_last_iteration_to_the_first(folder, how):
    damage(folder / "model_best.pth", how)  # it says no iteration, so it comes last
    order = [f"model_{name}.pth" for name in ("final", "0000029", "0000019", "0000009", "best")]
    for number, name in enumerate(order[:4]):
        found, skipped = latest(folder)
        assert found == name and len(skipped) == number
        damage(folder / name, how)
    found, skipped = latest(folder)
    assert found == "" and len(skipped) == 5
    for reason, name in zip(skipped, order, strict=True):
        assert reason.startswith(f"{folder / name} {SAID[how]}") and "\n" not in reason


@pytest.mark.parametrize(
    "written",
    [
        b"model_0000049.pth",  # which is not there
        b"",
        bytes(range(256)),
        b"model\0.pth",
        b"x" * 5000,
        b"../model_0000009.pth",
        b"/etc/passwd",
        b".",
    ],
)
def test_a_last_checkpoint_that_names_none(folder, written):
    inner = folder / "inner"
    inner.mkdir()
    (folder / "model_0000029.pth").rename(inner / "model_0000029.pth")
    (inner / "last_checkpoint").write_bytes(written)
    said = f"{inner / 'last_checkpoint'} names no file of its folder"
    assert latest(inner) == ("model_0000029.pth", [said])


def test_without_last_checkpoint_the_last_iteration(folder):
    (folder / "last_checkpoint").unlink()
    assert latest(folder) == ("model_final.pth", [])
    (folder / "model_final.pth").unlink()
    assert latest(folder) == ("model_0000029.pth", [])
    (folder / "model_0000029.pth").unlink()
    assert latest(folder) == ("model_best.pth", [])
    assert [iteration_of(path) for path in sorted(folder.glob("*.pth"))] == [9, 19, 24]


def test_what_an_earlier_run_or_someone_else_has_left_is_none(tmp_path):
    for name in ("model_0000009.pth.previous", "model_0000019.pth.partial", "other.pth"):
        torch.save({"model": {"w": torch.zeros(1)}}, tmp_path / name)
    assert latest(tmp_path) == ("", []) == latest(tmp_path / "none")


def test_files_are_ordered_by_iteration_and_not_by_name(tmp_path):
    for name in ("model_0000009.pth", "model_10000009.pth", "model_9000009.pth", "model_9.pth"):
        (tmp_path / name).touch()
    assert [path.name for path in numbered_checkpoints(tmp_path)] == [
        "model_0000009.pth", "model_9000009.pth", "model_10000009.pth",
    ]  # fmt: skip


def test_a_file_is_read_once_until_it_is_written_again(folder, monkeypatch):
    from hrnet_det.checkpoint import latest as module

    read = []
    real = module.read_weights
    monkeypatch.setattr(
        module, "read_weights", lambda path, **options: read.append(path) or real(path, **options)
    )
    for _ in range(3):
        assert latest(folder) == ("model_final.pth", [])
    assert len(read) == 1
    Checkpointer(Model(), str(folder)).save("model_final", iteration=49)
    assert latest(folder) == ("model_final.pth", []) and len(read) == 2


def test_the_checkpointer_says_what_it_skips_and_where_it_goes_on(folder, caplog):
    damage(folder / "model_final.pth", "empty")
    checkpointer = Checkpointer(Model(1.0), str(folder))
    with caplog.at_level(logging.WARNING):
        assert checkpointer.resume_or_load("")["iteration"] == 29
    assert checkpointer.resumed_from == str(folder / "model_0000029.pth")
    assert checkpointer.model.weight.detach().abs().max() == 0
    assert caplog.messages == [
        f"--resume skips what cannot be used: {folder / 'model_final.pth'} is not a file of "
        "weights but an empty file: name a .pth, .pkl or .safetensors file",
        f"--resume goes on from {folder / 'model_0000029.pth'}",
    ]
    assert checkpointer.has_checkpoint()
    assert checkpointer.get_checkpoint_file() == checkpointer.resumed_from


def test_the_checkpointer_says_that_it_starts_anew(folder, tmp_path, caplog):
    weights, empty = str(folder / "model_best.pth"), tmp_path / "empty"
    empty.mkdir()
    (empty / "model_0000009.pth.partial").touch()
    checkpointer = Checkpointer(Model(1.0), str(empty))
    with caplog.at_level(logging.WARNING):
        checkpointer.resume_or_load(weights)
        checkpointer.resume_or_load("")
        checkpointer.resume_or_load(weights, resume=False)
    said = f"--resume: {empty} has no checkpoint to go on from: starting from "
    assert caplog.messages == [said + weights, said + "random weights"]
    assert checkpointer.resumed_from == "" and not checkpointer.has_checkpoint()
    assert list(empty.iterdir()) == []  # what was half written is gone


# --- several processes ---


def test_all_processes_go_on_from_the_one_of_the_main_process(folder, monkeypatch):
    """This is process 1, which does not look for itself; the main one skipped model_final.pth."""
    agreed = str(folder / "model_0000029.pth")
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    monkeypatch.setattr(comm, "get_rank", lambda: 1)
    monkeypatch.setattr(comm, "all_gather", lambda own: [agreed, own])
    checkpointer = Checkpointer(Model(1.0), str(folder))
    assert checkpointer.resume_or_load("")["iteration"] == 29
    (folder / "model_0000029.pth").unlink()
    with pytest.raises(InputError) as error:
        checkpointer.resume_or_load("")
    assert str(error.value) == (
        f"--resume: process 1 does not see {agreed}, from which the main process goes on: all "
        "machines need the same OUTPUT_DIR on a shared file system"
    )


# --- keeping the last ones ---


def names(folder):
    return sorted(path.name for path in folder.glob("*.pth"))


def test_the_last_ones_are_kept_and_the_best(tmp_path):
    first = Checkpointer(Model(), str(tmp_path), kept=2)
    first.save("model_best", iteration=4)
    for iteration, expected in ((9, [9]), (19, [9, 19]), (29, [19, 29])):
        first.save(f"model_{iteration:07d}", iteration=iteration)
        assert names(tmp_path) == [f"model_{n:07d}.pth" for n in expected] + ["model_best.pth"]
    resumed = Checkpointer(Model(), str(tmp_path), kept=2)  # it goes by the files that are there
    resumed.save("model_0000039", iteration=39)
    resumed.save("model_final", iteration=39)
    ours = ["model_0000029.pth", "model_0000039.pth", "model_best.pth", "model_final.pth"]
    assert names(tmp_path) == ours
    # After an earlier one was gone on with, those before it are not the oldest of all.
    resumed.save("model_0000034", iteration=34)
    assert names(tmp_path) == [ours[0], "model_0000034.pth", *ours[1:]]
    Checkpointer(Model(), str(tmp_path), kept=0).save("model_0000049", iteration=49)
    assert len(names(tmp_path)) == 6


def test_what_cannot_be_saved_costs_no_earlier_one(tmp_path, monkeypatch):
    checkpointer = Checkpointer(Model(), str(tmp_path), kept=1)
    checkpointer.save("model_0000009", iteration=9)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match="No space left on device"):
        checkpointer.save("model_0000019", iteration=19)
    assert names(tmp_path) == ["model_0000009.pth"]
