"""SOLVER.PATIENCE: where a training ends, and what a resumed one remembers."""

import re
from collections import OrderedDict

import pytest
import torch
from helpers.tiny import metrics_rows, train_net
from helpers.training import words

from hrnet_det.engine import Trainer

pytestmark = pytest.mark.usefixtures("without_page")


@pytest.fixture
def evaluate(monkeypatch):
    """Give evaluations these values, one after the other; "stop" ends the process's training."""

    def give(*values):
        rest = iter(values)

        def test(cls, run, model):
            value = next(rest)
            if value == "stop":
                raise KeyboardInterrupt
            return OrderedDict(bbox={"AP": value})

        monkeypatch.setattr(Trainer, "test", classmethod(test))
        return rest

    return give


def patient(coco, output, *more):
    return words(
        coco, output, "TEST.EVAL_PERIOD", 1, "SOLVER.PATIENCE", 2, "SOLVER.MAX_ITER", 8,
        "SOLVER.STEPS", "(6,)", "SOLVER.CHECKPOINT_PERIOD", 1, *more,
    )  # fmt: skip


def state(path):
    return torch.load(path, weights_only=True)["trainer"]["hooks"]["EarlyStopping"]


def test_it_ends_cleanly(coco, tmp_path, evaluate):
    rest = evaluate(10.0, 20.0, float("nan"), 20.0, 99.0)
    outcome = train_net(*patient(coco, tmp_path))
    assert outcome.code == 0
    assert next(rest) == 99.0  # four evaluations, the last of which is that of the end
    (line,) = [line for line in outcome.out.splitlines() if "Early stopping" in line]
    assert (
        "Early stopping after 4 of 8 iterations: bbox/AP has not been higher than 20.00 at "
        "iteration 1 for 2 evaluations (SOLVER.PATIENCE 2)"
    ) in line
    final = torch.load(tmp_path / "model_final.pth", weights_only=True)
    best = torch.load(tmp_path / "model_best.pth", weights_only=True)
    assert (final["iteration"], best["iteration"], best["bbox/AP"]) == (3, 1, 20.0)
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"
    assert (tmp_path / "results.json").is_file() and "\nNext:\n" in outcome.out
    rows = metrics_rows(tmp_path)
    assert [row["iteration"] for row in rows] == [0, 1, 2, 3]
    printed = [line for line in outcome.out.splitlines() if " eta: " in line]
    assert [re.search(r"iter: (\d)", line)[1] for line in printed] == ["1", "2", "3"]
    assert {row["lr"] for row in rows} == {0.01}  # the schedule of 8 iterations, not of 4
    assert [row["bbox/AP"] for row in rows][:2] == [10.0, 20.0]
    # going on with it: there is no patience left
    rest = evaluate(5.0, 99.0)
    outcome = train_net(*patient(coco, tmp_path, "--resume"))
    assert (outcome.code, next(rest)) == (0, 99.0)
    assert "Early stopping after 4 of 8 iterations" in outcome.out
    # with more there is
    evaluate(5.0, 99.0)
    outcome = train_net(*patient(coco, tmp_path, "--resume", "SOLVER.PATIENCE", 3))
    assert outcome.code == 0
    assert "Early stopping after 5 of 8 iterations" in outcome.out


@pytest.mark.parametrize("done", [1, 2])
def test_a_run_that_was_killed_remembers(coco, tmp_path, evaluate, done):
    values = [30.0, 10.0, 20.0, 20.0]
    evaluate(*values[:done], "stop")
    assert train_net(*patient(coco, tmp_path)).code == 130  # of a KeyboardInterrupt
    saved = {"best": 30.0, "at": 0, "waited": done - 1}
    last = tmp_path / (tmp_path / "last_checkpoint").read_text()
    assert state(last) == saved
    evaluate(*values[done:])
    outcome = train_net(*patient(coco, tmp_path, "--resume"))
    assert outcome.code == 0
    assert "Early stopping after 3 of 8 iterations" in outcome.out
    assert state(tmp_path / "model_final.pth") == saved | {"waited": 2}


@pytest.mark.parametrize(
    ("more", "splits", "name"),
    [
        (["TEST.EVAL_PERIOD", 0], ["TRAIN", "TEST"], "set TEST.EVAL_PERIOD (iterations)"),
        ([], ["TRAIN"], "give a test set"),
        (["SOLVER.PATIENCE", -1], ["TRAIN"], "SOLVER.PATIENCE -1: must be at least 1 evaluation"),
    ],
)
def test_what_it_needs(coco, tmp_path, more, splits, name):
    arguments = words(
        coco, tmp_path / "out", "TEST.EVAL_PERIOD", 1, "SOLVER.PATIENCE", 2, *more, splits=splits
    )
    outcome = train_net(*arguments)
    assert outcome.code == 2
    assert "error: SOLVER.PATIENCE" in outcome.err and name in outcome.err
