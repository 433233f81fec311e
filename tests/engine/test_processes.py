"""Trainings in processes of their own."""

import json

import pytest
import torch
from helpers.coco_shape import write_coco
from helpers.tiny import (
    TINY,
    metrics_rows,
    train_net,
    train_net_process,
)
from helpers.training import FASTER, words


@pytest.mark.slow
def test_the_quickstart_config_trains_in_two_processes(coco, tmp_path):
    arguments = words(
        coco,
        tmp_path / "output",
        *("--num-gpus=2", "--dist-url=auto", "SOLVER.IMS_PER_BATCH", 4, "SOLVER.MAX_ITER", 9),
        *("TEST.EVAL_PERIOD", 1, "SOLVER.PATIENCE", 1, "TEST.LOSS", True, "SOLVER.BASE_LR", 1e-9),
        annotations="rle.json",
        config="quickstart/mask_rcnn.yaml",
    )
    outcome = train_net_process(*arguments, cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    assert "Traceback" not in outcome.err
    results = json.loads((tmp_path / "output" / "results.json").read_text())
    assert set(results) == {"bbox", "segm"}
    # nothing is learned at this rate: both end after the second evaluation
    assert "Early stopping after 2 of 9 iterations" in outcome.out
    rows = metrics_rows(tmp_path / "output")
    assert [row["iteration"] for row in rows] == [0, 1] and rows[1]["loss_mask"] > 0
    assert all(row["validation_loss/total"] > 0 for row in rows)


def test_coco_is_found_and_trained_on_as_typed(tmp_path):
    write_coco(tmp_path / "sets")
    small = list(TINY)
    variant = small.index("MODEL.HRNET.VARIANT")
    del small[variant : variant + 2]  # w32, as the config says
    outcome = train_net_process(
        "--config-file", FASTER, *small, "SOLVER.MAX_ITER", 2, "SOLVER.BASE_LR", 1e-4,
        cwd=tmp_path, DETECTRON2_DATASETS=str(tmp_path / "sets"),
    )  # fmt: skip
    assert (outcome.code, "Traceback" in outcome.err) == (0, False), outcome.err
    output = tmp_path / "output"
    results = json.loads((output / "results.json").read_text())["bbox"]
    assert sum(name.startswith("AP-") for name in results) == 80
    assert results["AP-toothbrush"] >= 0  # category 90
    assert metrics_rows(output)[-1]["iteration"] == 1
    weights = torch.load(output / "model_final.pth", weights_only=True)["model"]
    assert weights["roi_heads.box_predictor.cls_score.weight"].shape[0] == 81
    assert weights["backbone.bottom_up.stage4.0.branches.0.0.conv1.weight"].shape[0] == 32


def test_two_processes_train_as_one(twins, tmp_path):
    """Every proposal takes part, so that nothing is drawn at random but images and weights."""
    same = """
        MODEL.HRNET.NORM naiveSyncBN INPUT.RANDOM_FLIP none SOLVER.MAX_ITER 1
        MODEL.RPN.BATCH_SIZE_PER_IMAGE 100000 MODEL.RPN.POSITIVE_FRACTION 1.0
        MODEL.RPN.NMS_THRESH 1.0 MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE 1000
        MODEL.ROI_HEADS.POSITIVE_FRACTION 1.0 SOLVER.EMA_DECAY 0.9
    """.split()  # noqa: SIM905
    one, two = tmp_path / "one", tmp_path / "two"
    assert train_net(*words(twins, one, *same, splits=["TRAIN"])).code == 0
    options = ["--num-gpus=2", "--dist-url=auto"]
    outcome = train_net_process(*words(twins, two, *same, *options), cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out.count("Evaluation results for bbox") == 1
    assert (two / "log.txt.rank1").is_file()
    (alone,), (shared,) = metrics_rows(one), metrics_rows(two)
    for name in alone:
        if "loss" in name:
            assert shared[name] == pytest.approx(alone[name], rel=1e-3), name
    still = tmp_path / "still"
    assert (
        train_net(*words(twins, still, *same, "SOLVER.BASE_LR", "0.0", splits=["TRAIN"])).code == 0
    )
    start, alone, shared = (
        torch.load(o / "model_final.pth", weights_only=True)["model"] for o in (still, one, two)
    )
    assert start.keys() == alone.keys() == shared.keys()
    for part in ("bottom_up.conv", "stage4", "fpn_convs", "proposal", "roi_heads"):
        names = [n for n in start if part in n and "running_" not in n and "tracked" not in n]
        before, by_one, by_two = (
            torch.cat([weights[n].flatten() for n in names]) for weights in (start, alone, shared)
        )
        # a ReLU whose input is near 0 may open in one and not in the other
        assert (by_two - by_one).norm() < 0.03 * (by_one - before).norm(), part


def test_an_error_in_the_processes_is_one_message(coco, tmp_path):
    arguments = words(coco, tmp_path / "out", "--num-gpus=2", "--dist-url=auto", "--eval-only")
    outcome = train_net_process(*arguments, cwd=tmp_path)
    assert outcome.code == 2
    assert outcome.err.count("error: ") == 1
    assert "error: --eval-only without weights would evaluate random ones" in outcome.err
    assert "Traceback" not in outcome.err
