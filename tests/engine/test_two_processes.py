"""Two processes have the losses, weights and detections of one with the same batch."""

import json

import pytest
import torch
from detectron2.utils import comm
from helpers.forked import Program, program
from helpers.tiny import custom, train_net
from helpers.training import words

from hrnet_det.engine.trainer import Trainer

# Every anchor and proposal takes part, so that nothing is drawn but images; as many in each image.
ALL = """
    INPUT.RANDOM_FLIP none MODEL.RPN.BATCH_SIZE_PER_IMAGE 100000 MODEL.RPN.POSITIVE_FRACTION 1.0
    MODEL.RPN.NMS_THRESH 1.0 MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE 1000
    MODEL.ROI_HEADS.POSITIVE_FRACTION 1.0
""".split()  # noqa: SIM905


def told_losses(words):
    """The program; losses.json gets those of each iteration, as the main process has them."""

    def after_step(self):
        step(self)
        latest = self.storage.latest().items()
        rows.append({name: value for name, (value, _) in latest if "loss" in name})
        if comm.is_main_process():
            with open("losses.json", "w") as file:
                json.dump(rows, file)

    rows, step = [], Trainer.after_step
    Trainer.after_step = after_step
    return program(words)


@pytest.mark.parametrize(
    ("norm", "iterations", "tolerance"), [("FrozenBN", 20, 1e-5), ("naiveSyncBN", 1, 1e-3)]
)
def test_two_processes_train_as_one(twins, coco, tmp_path, norm, iterations, tolerance):
    start = tmp_path / "start"
    done = train_net(*words(twins, start, "SOLVER.MAX_ITER", 3, splits=["TRAIN"]))
    assert done.code == 0, done.err
    weights = start / "model_final.pth"
    same = [
        *(*ALL, "MODEL.WEIGHTS", weights, "MODEL.HRNET.NORM", norm, "MODEL.HRNET.NORM_EVAL", False),
        *(
            "SOLVER.MAX_ITER",
            iterations,
            "SOLVER.BASE_LR",
            0.0003,  # at more a ReLU that opens in one of them shows, which depends on the CPU
            "SOLVER.EMA_DECAY",
            0.9,
            "DATALOADER.NUM_WORKERS",
            1,
        ),
    ]
    test = custom(coco, "boxes.json", ["TEST"])
    losses, content = [], []
    for processes in (1, 2):
        output = tmp_path / str(processes)
        arguments = words(
            *(twins, output / "out", f"--num-gpus={processes}", *test, *same), splits=["TRAIN"]
        )
        outcome = Program(*arguments, cwd=output, main=told_losses).end()
        assert outcome.code == 0 and "Traceback" not in outcome.err, outcome.err
        assert outcome.out.count("Evaluation results for bbox") == 1
        losses.append(json.loads((output / "losses.json").read_text()))
        content.append(torch.load(output / "out" / "model_final.pth", weights_only=True)["model"])
    assert (tmp_path / "2" / "out" / "log.txt.rank1").is_file()
    assert len(losses[0]) == len(losses[1]) == iterations
    for iteration, (alone, shared) in enumerate(zip(*losses, strict=True)):
        assert alone.keys() == shared.keys() and len(alone) == 5
        for name in alone:
            assert shared[name] == pytest.approx(alone[name], rel=tolerance), (iteration, name)
    first = torch.load(weights, weights_only=True)["model"]
    for part in ("bottom_up.conv", "stage4", "fpn_convs", "proposal", "roi_heads"):
        names = [n for n in first if part in n and "running_" not in n and "tracked" not in n]
        before, by_one, by_two = (
            torch.cat([weights[n].flatten() for n in names]) for weights in (first, *content)
        )
        moved = (by_one - before).norm()
        # a ReLU whose input is near 0 may open in one and not in the other
        assert 0 < (by_two - by_one).norm() < 0.03 * moved, part
    if norm == "FrozenBN":
        check_evaluation(tmp_path / "2" / "out", coco, tmp_path / "again")


def check_evaluation(trained, coco, again):
    """Two processes have evaluated each image once, as one does it."""
    options = ("--eval-only", "MODEL.WEIGHTS", trained / "model_final.pth")
    assert train_net(*words(coco, again, *options, "MODEL.HRNET.NORM", "FrozenBN")).code == 0
    found = [
        sorted(
            json.loads((folder / "inference" / "coco_instances_results.json").read_text()),
            key=lambda row: (row["image_id"], -row["score"], row["bbox"]),
        )
        for folder in (again, trained)
    ]
    assert found[0] == found[1]
    assert {row["image_id"] for row in found[0]} == {1, 2, 3, 4, 5, 6}
