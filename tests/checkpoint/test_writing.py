"""Checkpoints are there whole or not at all, whenever a process ends or a disk is full."""

import errno
import os
import resource
import signal
import subprocess
from pathlib import Path

import pytest
import torch

from hrnet_det.checkpoint import Checkpointer
from hrnet_det.checkpoint.latest import latest_checkpoint
from hrnet_det.checkpoint.writing import full_disk_is_told, remove_partial, written_aside
from hrnet_det.errors import InputError


class Model(torch.nn.Module):
    """One tensor of so many numbers, all the same."""

    def __init__(self, value, numbers=4):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((numbers,), float(value)))


def saved(folder, name="model_0000009", value=1, numbers=4):
    Checkpointer(Model(value, numbers), str(folder)).save(name)


def content(folder):
    """{name: value} of the checkpoints, and what last_checkpoint says."""
    values = {
        path.name: float(torch.load(path, weights_only=True)["model"]["weight"][0])
        for path in folder.glob("*.pth")
    }
    return values | {"last_checkpoint": (folder / "last_checkpoint").read_text()}


def test_a_process_killed_while_it_writes_leaves_the_earlier_file(tmp_path):
    saved(tmp_path)
    before = content(tmp_path)
    assert before == {"model_0000009.pth": 1.0, "last_checkpoint": "model_0000009.pth"}
    write = torch.save

    def half(given, file):  # the process ends when half of it is on the disk
        write(given, file)
        file.truncate(file.tell() // 2)
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        torch.save = half
        saved(tmp_path, value=2)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert content(tmp_path) == before
    left = tmp_path / "model_0000009.pth.partial"
    assert left.is_file()
    saved(tmp_path, "model_0000019", value=3)  # and the next one clears up
    assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "last_checkpoint", "model_0000009.pth", "model_0000019.pth",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize("call", range(4))
@pytest.mark.parametrize("after", [False, True])
def test_a_process_killed_at_any_step_leaves_one_to_go_on_from(tmp_path, name, call, after):
    """The steps: file, name and folder of the checkpoint, then those of last_checkpoint."""
    saved(tmp_path)
    real, calls = getattr(os, name), []

    def step(*args):
        calls.append(args)
        if after:
            real(*args)
        if len(calls) > call:
            os.kill(os.getpid(), signal.SIGKILL)
        if not after:
            real(*args)

    child = os.fork()
    if not child:
        setattr(os, name, step)
        saved(tmp_path, "model_0000019", value=2)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == (0 if name == "replace" and call > 1 else -signal.SIGKILL)
    found = latest_checkpoint(tmp_path)
    tagged = (tmp_path / "last_checkpoint").read_text()
    assert found.path == str(tmp_path / tagged) and not found.skipped
    renamed = (call, after) >= (1, False) if name == "fsync" else (call, after) >= (0, True)
    assert (tmp_path / "model_0000019.pth").exists() == renamed
    assert content(tmp_path)[tagged] == {"model_0000009.pth": 1, "model_0000019.pth": 2}[tagged]


def test_what_is_left_of_a_run_is_removed_and_nothing_else(tmp_path):
    ours = ["model_0000009.pth", "model_final.safetensors", "model_card.md", "last_checkpoint",
            "config.yaml", "results.json", "metrics.json"]  # fmt: skip
    theirs = ["weights.pth.partial", "download.partial", "model_0000009.pth", "partial"]
    for name in [f"{name}.partial" for name in ours] + theirs:
        (tmp_path / name).touch()
    remove_partial(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(theirs)
    remove_partial(tmp_path / "none")


def test_an_interrupted_save_leaves_the_earlier_file(tmp_path, monkeypatch):
    saved(tmp_path)
    before = content(tmp_path)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        saved(tmp_path, value=2)
    assert content(tmp_path) == before and not list(tmp_path.glob("*.partial"))


def test_what_is_written_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *args, name=name, real=real: (done.append(name), real(*args))[1]
        )
    with written_aside(tmp_path / "a") as file:
        file.write(b"x" * 10)
    assert done == ["fsync", "replace", "fsync"]  # the file, its name, the folder
    assert (tmp_path / "a").read_bytes() == b"x" * 10


def full_disk(folder, message):
    """Save what does not fit: the earlier files stay, and the error says what was needed."""
    before = content(folder)
    with pytest.raises(InputError) as error:
        saved(folder, "model_0000019", value=2, numbers=10**6)
    path = folder / "model_0000019.pth"
    said = str(error.value)
    assert said.startswith(f"{path} cannot be written ({message}, for 4.0 MB; ")
    assert " MB are free there)" in said or " GB are free there)" in said
    assert said.endswith(
        "Checkpoints that were there before are whole. Make room, or keep fewer of them "
        "(SOLVER.CHECKPOINTS_KEPT, train.checkpoints_kept); --resume then goes on from the last one"
    )
    assert content(folder) == before and not list(folder.glob("*.partial"))


def test_a_file_that_may_not_be_as_large(tmp_path):
    """The system itself refuses to write on, as a full disk does."""
    saved(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, limits[1]))
    try:
        full_disk(tmp_path, os.strerror(errno.EFBIG))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_disk_that_fills(tmp_path, monkeypatch, step):
    saved(tmp_path)

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if step == "write":
        monkeypatch.setattr(torch, "save", lambda _, file: refuse())
    else:
        monkeypatch.setattr(os, step, refuse)
    full_disk(tmp_path, os.strerror(errno.ENOSPC))


def test_a_file_system_that_is_full(tmp_path):
    """A real one of 2 MB where one can be mounted, otherwise the test above stands alone."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
        mounted = done.returncode == 0
    except FileNotFoundError as error:
        mounted, done = False, error
    if not mounted:
        pytest.skip(f"a file system of 2 MB cannot be mounted here: {done}")
    try:
        saved(folder)
        full_disk(folder, os.strerror(errno.ENOSPC))
        saved(folder, "model_0000019", value=2)  # what fits is saved afterwards
        assert content(folder)["model_0000019.pth"] == 2.0
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_folder_that_is_gone(tmp_path):
    folder = tmp_path / "gone"
    with pytest.raises(InputError) as error:
        saved(folder)
    path = Path(folder, "model_0000009.pth")
    assert str(error.value).startswith(f"{path} cannot be written (No such file or directory, for")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_any_file_that_cannot_be_written(tmp_path, number):
    reason = os.strerror(number)
    with pytest.raises(InputError) as error, full_disk_is_told(tmp_path):
        raise OSError(number, reason)
    assert str(error.value).startswith(f"a file of {tmp_path} cannot be written ({reason}; ")
    with pytest.raises(InputError) as error, full_disk_is_told(tmp_path):
        raise OSError(number, reason, "a.png")
    assert str(error.value).startswith(f"a.png cannot be written ({reason}; ")


def test_other_errors_are_no_full_disk(tmp_path):
    for error in (FileNotFoundError(errno.ENOENT, "no"), InputError("x"), ValueError("y")):
        with pytest.raises(type(error)) as raised, full_disk_is_told(tmp_path):
            raise error
        assert raised.value is error


def test_what_fails_after_a_checkpoint_could_not_be_written_does_not_hide_it(tmp_path):
    first = InputError("model_final.pth cannot be written")
    with pytest.raises(InputError) as error, full_disk_is_told(tmp_path):
        try:
            raise first
        finally:
            raise OSError(errno.ENOSPC, "full")  # a writer of metrics that is closed
    assert error.value is first
