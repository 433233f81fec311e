"""Runs that ended at any moment, whose last checkpoint is damaged, or that are resumed late."""

import errno
import resource
import tempfile

import pytest
import torch
from helpers.tiny import metrics_rows, train_net
from helpers.training import words

from hrnet_det.config import settings
from hrnet_det.config.load import load_run
from hrnet_det.engine.job import Job
from hrnet_det.engine.lazy_trainer import trainer_of
from hrnet_det.engine.start import check_output
from hrnet_det.errors import InputError

LAZY = "COCO-Detection/fcos_hrnetv2p_w18_1x.py"


def resumed(arguments, *more):
    return train_net(*arguments[:2], "--resume", *arguments[2:], *more)


def iteration(path):
    return torch.load(path, weights_only=True)["iteration"]


def test_resume_without_the_last_checkpoint(coco, tmp_path):
    """A run of four iterations, with a checkpoint after each, is damaged in several ways."""
    arguments = words(coco, tmp_path, "SOLVER.CHECKPOINT_PERIOD", 1, splits=["TRAIN"])
    outcome = resumed(arguments, "SOLVER.MAX_ITER", 3)  # an empty folder: it starts
    assert outcome.code == 0
    assert f"--resume: {tmp_path} has no checkpoint to go on from: starting from" in outcome.out
    final = tmp_path / "model_final.pth"
    assert iteration(final) == 2

    # ended before model_final.pth was written: it is written, and nothing is trained again
    final.unlink()
    (tmp_path / "last_checkpoint").unlink()
    outcome = resumed(arguments, "SOLVER.MAX_ITER", 3)
    assert outcome.code == 0 and "Nothing is left to train with SOLVER.MAX_ITER 3" in outcome.out
    assert f"--resume goes on from {tmp_path / 'model_0000002.pth'}" in outcome.out
    weights = [torch.load(tmp_path / n, weights_only=True) for n in (final, "model_0000002.pth")]
    assert weights[0]["iteration"] == weights[1]["iteration"] == 2
    states = [content["trainer"]["iteration"] for content in weights]
    assert states == [2, 2]

    # less is wanted than was trained: nothing to do, and no file is named that is not there
    final.unlink()
    outcome = resumed(arguments, "SOLVER.MAX_ITER", 2)
    assert outcome.code == 0 and "Nothing is left to train with SOLVER.MAX_ITER 2" in outcome.out
    assert not final.exists() and "model_final.pth" not in outcome.out
    assert f"predict {tmp_path / 'model_0000002.pth'} image.jpg" in outcome.out

    # the last one is damaged: the one before is taken
    path = tmp_path / "model_0000002.pth"
    path.write_bytes(path.read_bytes()[:-1000])
    outcome = resumed(arguments, "SOLVER.MAX_ITER", 3)
    assert outcome.code == 0 and "Starting training from iteration 2" in outcome.out
    assert outcome.out.count("--resume skips what cannot be used: ") == 2  # and last_checkpoint
    assert iteration(path) == iteration(final) == 2

    # all are damaged: it starts anew, and none of them is taken later
    for file in tmp_path.glob("model_*.pth"):
        file.write_bytes(b"")
    outcome = resumed(arguments, "SOLVER.MAX_ITER", 1)
    assert outcome.code == 0 and "Starting training from iteration 0" in outcome.out
    assert outcome.out.count("--resume skips what cannot be used: ") == 4
    assert sorted(file.name for file in tmp_path.glob("model_*.pth*")) == [
        "model_0000000.pth", "model_0000000.pth.previous", "model_0000001.pth.previous",
        "model_0000002.pth.previous", "model_final.pth", "model_final.pth.previous",
    ]  # fmt: skip
    assert [row["iteration"] for row in metrics_rows(tmp_path)] == [0]


def test_a_training_whose_disk_is_full(coco, tmp_path):
    """The system refuses files above 5 MB, as it refuses any on a full disk."""
    arguments = words(coco, tmp_path, "SOLVER.CHECKPOINT_PERIOD", 1, splits=["TRAIN"])
    assert train_net(*arguments, "SOLVER.MAX_ITER", 1).code == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("model_*")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 * 10**6, limits[1]))
    try:
        outcome = resumed(arguments, "SOLVER.MAX_ITER", 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert outcome.code == 2 and outcome.err.count("\n") == 1
    path = tmp_path / "model_0000001.pth"
    assert outcome.err.startswith(f"error: {path} cannot be written (File too large, for 1")
    assert {path.name: path.read_bytes() for path in tmp_path.glob("model_*")} == before
    assert "Traceback" not in (tmp_path / "log.txt").read_text() + outcome.out
    assert resumed(arguments, "SOLVER.MAX_ITER", 2).code == 0 and iteration(path) == 1


def refusal(run):
    with pytest.raises(InputError) as error:
        check_output(Job(run))
    return str(error.value)


@pytest.mark.parametrize("config", ["quickstart/faster_rcnn.yaml", LAZY])
def test_an_output_folder_that_cannot_be_one(tmp_path, config, monkeypatch):
    run = load_run(config, [])
    name = run.name(settings.OUTPUT_DIR)
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    cases = {
        tmp_path / "file": "Not a directory",
        tmp_path / "file" / "below": "Not a directory",
        tmp_path / "loop" / "below": "Too many levels of symbolic links",
        tmp_path / ("a" * 300): "File name too long",
        tmp_path / "a\0b": "embedded null byte",
    }
    for place, reason in cases.items():
        run[settings.OUTPUT_DIR] = str(place)
        assert refusal(run) == (
            f"{run.shown(settings.OUTPUT_DIR)}: nothing can be written to {place} ({reason}): give "
            f"another {name}"
        )
    run[settings.OUTPUT_DIR] = ""
    assert "no folder to write to" in refusal(run)
    run[settings.OUTPUT_DIR] = str(tmp_path / "new" / "folder")
    check_output(Job(run))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop"]  # nothing is made

    def read_only(dir):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    assert f"nothing can be written to {tmp_path} (Read-only file system)" in refusal(run)


def test_an_output_folder_that_is_a_file_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "file").touch()
    outcome = train_net(*words(tmp_path / "no data", tmp_path / "file"))
    assert outcome.code == 2 and outcome.out == ""
    assert outcome.err.startswith(f"error: OUTPUT_DIR {tmp_path / 'file'}: nothing can be written")
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("config", "words", "kept"),
    [
        ("hrnetv2p_faster_rcnn.yaml", [], 0),  # all, as Detectron2
        ("custom/mask_rcnn.yaml", [], 3),
        ("hrnetv2p_faster_rcnn.yaml", ["SOLVER.CHECKPOINTS_KEPT", "5"], 5),
        (LAZY, [], 0),
        (LAZY, ["train.checkpoints_kept=4"], 4),
    ],
)
def test_how_many_are_kept(config, words, kept):
    run = load_run(config, words)
    run[settings.TRAIN_DATASETS] = run[settings.TEST_DATASETS] = ()
    assert trainer_of(run).build_checkpointer(run, torch.nn.Linear(1, 1)).kept == kept
