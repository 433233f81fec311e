"""Learning rate and iterations that follow from the batch and the number of images."""

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.tiny import TINY, custom

from hrnet_det.config import settings
from hrnet_det.config.load import load_run
from hrnet_det.engine.optimizer import build_lr_scheduler, build_optimizer, scaled_schedule
from hrnet_det.engine.preflight import Job, preflight
from hrnet_det.engine.schedule import follow_epochs, scale_learning_rate
from hrnet_det.errors import InputError

CUSTOM = "custom/faster_rcnn.yaml"


@pytest.fixture
def hundred():
    """A dataset of 100 images, of which 60 have objects and one has a crowd alone."""
    objects = [{"bbox": [0, 0, 9, 9], "bbox_mode": 0, "category_id": 0, "iscrowd": 0}]
    crowd = [objects[0] | {"iscrowd": 1}]
    rows = [{"annotations": objects}] * 60 + [{"annotations": crowd}] + [{"annotations": []}] * 39
    DatasetCatalog.register("hundred", lambda: [dict(row) for row in rows])
    MetadataCatalog.get("hundred").set(thing_classes=["thing"])
    yield ["hundred"]
    DatasetCatalog.remove("hundred")
    MetadataCatalog.pop("hundred")


def run_of(*overrides, config=CUSTOM):
    return load_run(config, [str(word) for word in overrides])


def schedule(run):
    """MAX_ITER, STEPS, WARMUP_ITERS, EVAL_PERIOD, CHECKPOINT_PERIOD."""
    options = run.cfg.SOLVER
    times = (options.MAX_ITER, options.STEPS, options.WARMUP_ITERS)
    return (*times, run.cfg.TEST.EVAL_PERIOD, options.CHECKPOINT_PERIOD)


def test_epochs_become_iterations(hundred):
    run = run_of("SOLVER.EPOCHS", 24, "SOLVER.IMS_PER_BATCH", 4)
    follow_epochs(run, hundred)
    # 24 * 60 / 4 = 360; 2/3 and 11/12 of it; a tenth; 360 / 20; 360 / 5
    assert schedule(run) == (360, (240, 330), 36, 18, 72)
    assert run.notes == [
        "SOLVER.MAX_ITER 360, SOLVER.STEPS (240, 330), SOLVER.WARMUP_ITERS 36, TEST.EVAL_PERIOD "
        "18, SOLVER.CHECKPOINT_PERIOD 72: SOLVER.EPOCHS 24 of 60 images with objects, 4 in a step."
    ]
    follow_epochs(run, hundred)  # once alone
    assert schedule(run)[0] == 360 and len(run.notes) == 1


def test_a_few_epochs_are_evaluated_each_and_a_long_warm_up_is_500(hundred):
    run = run_of("SOLVER.EPOCHS", 3, "SOLVER.IMS_PER_BATCH", 4)
    follow_epochs(run, hundred)
    assert schedule(run) == (45, (30, 41), 4, 15, 9)
    run = run_of("SOLVER.EPOCHS", 1000, "SOLVER.IMS_PER_BATCH", 7)
    follow_epochs(run, hundred)
    assert schedule(run) == (8572, (5714, 7857), 500, 429, 1715)  # 1000 * 60 / 7, rounded up


@pytest.mark.parametrize(("batch", "steps"), [(60, ()), (30, (1,)), (10, (4, 5))])
def test_a_training_of_a_few_iterations_can_be_scheduled(hundred, batch, steps):
    run = run_of("SOLVER.EPOCHS", 1, "SOLVER.IMS_PER_BATCH", batch)
    follow_epochs(run, hundred)
    assert (run[settings.MAX_ITER], run[settings.STEPS]) == (60 // batch, steps)
    layer = torch.nn.Linear(1, 1)
    build_lr_scheduler(run.cfg, build_optimizer(run.cfg, layer))


def test_what_is_stated_is_kept(hundred):
    run = run_of("SOLVER.MAX_ITER", 90, "TEST.EVAL_PERIOD", 7, "SOLVER.IMS_PER_BATCH", 4)
    follow_epochs(run, hundred)
    assert schedule(run) == (90, (60, 82), 9, 7, 18)
    assert "SOLVER.MAX_ITER" not in run.notes[0] and ": 6 epochs of 60 images" in run.notes[0]


def test_epochs_and_iterations_are_one_too_many(hundred):
    with pytest.raises(InputError, match=r"^SOLVER.EPOCHS 5 and SOLVER.MAX_ITER 9: give one"):
        follow_epochs(run_of("SOLVER.EPOCHS", 5, "SOLVER.MAX_ITER", 9), hundred)


def test_the_config_of_a_run_goes_on_as_it_was_unless_epochs_are_typed(hundred, tmp_path):
    run = run_of("SOLVER.EPOCHS", 24)
    follow_epochs(run, hundred)
    scale_learning_rate(run)
    path = tmp_path / "config.yaml"
    path.write_text(run.text())
    again = load_run(path)
    follow_epochs(again, hundred)
    scale_learning_rate(again)
    assert schedule(again) == schedule(run) and not again.notes
    assert again[settings.BASE_LR] == 0.005
    longer = load_run(path, ["SOLVER.EPOCHS", "48", "TEST.EVAL_PERIOD", "99"])
    follow_epochs(longer, hundred)
    assert schedule(longer) == (720, (480, 660), 72, 99, 144)


def test_without_epochs_nothing_follows(hundred):
    run = run_of(config="hrnetv2p_faster_rcnn.yaml")
    before = schedule(run)
    follow_epochs(run, hundred)
    scale_learning_rate(run)
    assert schedule(run) == before == (90000, (60000, 80000), 500, 7330, 5000)
    assert run[settings.BASE_LR] == 0.02 and not run.notes


@pytest.mark.parametrize(("batch", "rate"), [(4, 0.005), (2, 0.0025), (16, 0.02), (32, 0.04)])
def test_the_learning_rate_follows_the_batch(batch, rate):
    run = run_of("SOLVER.IMS_PER_BATCH", batch)
    for _ in range(2):  # once alone
        scale_learning_rate(run)
        assert run[settings.BASE_LR] == rate
    said = [f"SOLVER.BASE_LR {rate}: in proportion to SOLVER.IMS_PER_BATCH {batch}, as 0.02 is for "
            "16."]  # fmt: skip
    assert run.notes == (said if batch != 16 else [])


def test_a_learning_rate_that_is_stated_is_kept():
    run = run_of("SOLVER.BASE_LR", 0.003)
    scale_learning_rate(run)
    assert run[settings.BASE_LR] == 0.003 and not run.notes


def test_detectron2s_scaling_to_processes_comes_on_top_once(hundred):
    """For 4 processes, on 2: half of the batch and of the rate, twice the iterations."""
    run = run_of("SOLVER.EPOCHS", 24, "SOLVER.REFERENCE_WORLD_SIZE", 4, "SOLVER.IMS_PER_BATCH", 8)
    scale_learning_rate(run)
    follow_epochs(run, hundred)
    assert (run[settings.BASE_LR], run[settings.MAX_ITER]) == (0.01, 180)
    scaled = scaled_schedule(run, 2)
    assert (scaled[settings.BATCH_SIZE], scaled[settings.BASE_LR]) == (4, 0.005)
    assert scaled[settings.MAX_ITER] == 360  # 24 epochs of 60 images as before
    assert scaled[settings.STEPS] == (240, 330)


def test_a_whole_preflight_of_own_data(coco, tmp_path):
    """5 of the 6 tiny images have objects: 4 epochs by 2 are 10 iterations."""
    drop = ("SOLVER.MAX_ITER", "SOLVER.STEPS", "SOLVER.WARMUP_ITERS", "SOLVER.BASE_LR")
    pairs = zip(TINY[::2], TINY[1::2], strict=True)
    tiny = [word for key, value in pairs if key not in drop for word in (key, value)]
    run = run_of(*tiny, *custom(coco, "boxes.json"), "SOLVER.EPOCHS", 4, "OUTPUT_DIR", tmp_path)
    preflight(Job(run))
    assert (run[settings.MAX_ITER], run[settings.STEPS]) == (10, (6, 9))
    assert run[settings.WARMUP_ITERS] == 1 and run[settings.BASE_LR] == 0.0025
