"""Plans of memory: predicted against measured, and what follows from them."""

import pytest
import torch
from detectron2.utils.events import EventStorage
from helpers.tiny import TINY

from hrnet_det import model_zoo
from hrnet_det.analysis import plan, planning
from hrnet_det.analysis.memory import peak_bytes
from hrnet_det.analysis.models import batch_of_images
from hrnet_det.analysis.planning import (
    check_batches,
    largest_size,
    padded,
    parse_memory,
    plan_table,
)
from hrnet_det.config.load import as_run
from hrnet_det.engine.accumulation import GradientAccumulation
from hrnet_det.errors import InputError
from hrnet_det.modeling.backbone.checkpointing import CHECKPOINTING

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "name", ["faster_rcnn", "rpn", "retinanet", "fcos", "semantic", "panoptic_deeplab"]
)
def test_plan_predicts_what_a_step_takes(name, monkeypatch):
    """Of the tensors in a whole step with real losses, to 15 %."""
    monkeypatch.setattr(planning, "CHECKPOINTING", {"none": CHECKPOINTING["none"]})
    words = ["MODEL.DEVICE", "cpu", "MODEL.HRNET.NORM_EVAL", "False"]
    cfg = model_zoo.get_config(f"quickstart/{name}.yaml", words)
    (none,) = plan(as_run(cfg), (256, 256))
    detector = model_zoo.build_detector(cfg).train()
    rows = batch_of_images(2, (256, 256), "cpu")
    for row in rows:
        row["instances"].gt_classes %= cfg.MODEL.ROI_HEADS.NUM_CLASSES
        row["sem_seg"] = torch.zeros(256, 256, dtype=torch.long)
        row["center"], row["sem_seg_weights"] = torch.zeros(256, 256), torch.ones(256, 256)
        row["center_weights"] = row["offset_weights"] = torch.ones(1, 256, 256)
        row["offset"] = torch.zeros(2, 256, 256)

    def step(model, rows):
        detector.zero_grad()
        with EventStorage():
            sum(model(rows).values()).backward()

    trained = sum(p.nbytes for p in detector.parameters() if p.requires_grad)
    there = sum(x.nbytes for x in (*detector.parameters(), *detector.buffers()))
    states = 2 if cfg.SOLVER.OPTIMIZER == "ADAMW" else 1
    there += states * trained
    measured = there + peak_bytes(lambda: step(detector, rows), CPU)
    assert none.bytes(2) == pytest.approx(measured, rel=0.15)
    measured = there + peak_bytes(
        lambda: step(GradientAccumulation(detector, 2), [*rows, *rows]), CPU
    )
    assert none.bytes(2) + none.gradients == pytest.approx(measured, rel=0.15)


def test_a_plan_says_which_batch_fits():
    cfg = model_zoo.get_config("hrnetv2p_mask_rcnn.yaml", [*TINY, "INPUT.MIN_SIZE_TRAIN", "(100,)"])
    assert largest_size(as_run(cfg)) == (128, 96)
    plans = plan(as_run(cfg), (64, 96))
    assert [p.level for p in plans] == ["none", "balanced", "smallest"]
    none = plans[0]
    assert none.largest_batch(none.bytes(2)) == 2 and none.largest_batch(none.bytes(2) - 1) == 1
    assert none.gradients == 4 * sum(
        p.numel() for p in model_zoo.build_detector(cfg).parameters() if p.requires_grad
    )
    assert none.parts(4, none.bytes(4)) == 1
    assert none.parts(4, none.bytes(4) - 1) == 2
    assert none.parts(4, none.bytes(2) + none.gradients - 1) == 4
    assert none.parts(4, none.bytes(1) + none.gradients - 1) == 0
    assert none.parts(10, none.bytes(4) + none.gradients) == 5  # there are no 3 parts of 10
    memory = none.bytes(2) + none.gradients
    table = plan_table(plans[:1], memory=memory, batches=(1, 2), recipe=8)
    *_, last = table.splitlines()
    cells = [cell.strip() for cell in last.strip("|").split("|")]
    gigabytes = [f"{none.bytes(batch) / 1e9:.2f}" for batch in (1, 2)]
    assert cells == ["none", *gigabytes, str(none.largest_batch(memory)), "4"]
    assert "SOLVER.GRADIENT_ACCUMULATION_STEPS for 8 on one GPU" in table


@pytest.mark.parametrize(
    ("text", "size"), [("8GB", 8e9), ("1.5 GiB", 1.5 * 2**30), ("800mb", 8e8), ("2G", 2e9)]
)
def test_memory_is_parsed(text, size):
    assert parse_memory(text) == size


def test_sides_and_batches_have_limits():
    assert padded((64, 20_000)) == (64, 20_000)
    check_batches((1, 4096))
    for size, said in (((64, 20_001), "64x20001"), ((10**400, 64), "1000")):
        with pytest.raises(InputError, match=f"^plan: size {said}.*: give sides of 64 to 20000 pi"):
            padded(size)
    for batch in (0, 4097):
        with pytest.raises(InputError, match=f"^plan: batch {batch}: give 1 to 4096 images$"):
            check_batches((2, batch))
