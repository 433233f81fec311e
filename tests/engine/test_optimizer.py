"""Optimizers, clipping of gradients, and a schedule for more GPUs."""

import pytest
import torch
from torch import nn

from hrnet_det import get_cfg
from hrnet_det.config.load import as_run
from hrnet_det.engine.optimizer import build_optimizer, scaled_schedule
from hrnet_det.errors import InputError


def clipping(clip_type, clip_value):
    cfg = get_cfg()
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = clip_type
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = clip_value
    cfg.SOLVER.BASE_LR, cfg.SOLVER.MOMENTUM, cfg.SOLVER.WEIGHT_DECAY = 0.5, 0.0, 0.0
    return cfg


def step(cfg):
    """One step from zeros with gradients of 3 and 4; the parameters after it."""
    model = nn.ModuleList([nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)])
    parameters = list(model.parameters())
    for parameter, gradient in zip(parameters, (3.0, 4.0), strict=True):
        nn.init.zeros_(parameter)
        parameter.grad = torch.full_like(parameter, gradient)
    build_optimizer(cfg, model).step()
    return [p.item() for p in parameters], [p.grad.item() for p in parameters]


@pytest.mark.parametrize(
    ("clip_type", "value", "gradients"),
    [
        ("full_model", 1.0, (0.6, 0.8)),  # the norm of both is 5
        ("full_model", 2.5, (1.5, 2.0)),
        ("norm", 1.0, (1.0, 1.0)),  # each parameter on its own
        ("norm", 3.5, (3.0, 3.5)),
        ("value", 2.0, (2.0, 2.0)),
    ],
)
def test_gradients_are_clipped(clip_type, value, gradients):
    after, clipped = step(clipping(clip_type, value))
    assert clipped == pytest.approx(gradients, abs=1e-5)
    assert after == pytest.approx([-0.5 * g for g in gradients], abs=1e-5)


@pytest.mark.parametrize("clip_type", ["full_model", "norm", "value"])
def test_small_gradients_are_left_alone(clip_type):
    assert step(clipping(clip_type, 5.001)) == ([-1.5, -2.0], [3.0, 4.0])


def test_clipping_can_be_off():
    cfg = clipping("full_model", 1.0)
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = False
    assert step(cfg) == ([-1.5, -2.0], [3.0, 4.0])


def test_adamw_is_adamw_on_detectron2s_groups():
    cfg = clipping("full_model", 100.0)
    cfg.SOLVER.OPTIMIZER = "ADAMW"
    # the first step of Adam is the learning rate against the sign, whatever the gradient
    after, gradients = step(cfg)
    assert after == pytest.approx([-0.5, -0.5], abs=1e-5)
    assert gradients == [3.0, 4.0]
    cfg.SOLVER.WEIGHT_DECAY, cfg.SOLVER.WEIGHT_DECAY_NORM = 0.1, 0.025
    optimizer = build_optimizer(cfg, nn.Sequential(nn.Linear(1, 1), nn.BatchNorm2d(1)))
    decays = [g["weight_decay"] for g in optimizer.param_groups for _ in g["params"]]
    assert sorted(decays) == [0.025, 0.025, 0.1, 0.1]


def test_an_unknown_optimizer_lists_the_known_ones():
    cfg = clipping("norm", 1.0)
    cfg.SOLVER.OPTIMIZER = "LION"
    with pytest.raises(InputError, match=r"SOLVER.OPTIMIZER 'LION': SGD or ADAMW"):
        step(cfg)


def test_a_short_period_is_not_scaled_to_never():
    cfg = get_cfg()
    cfg.SOLVER.REFERENCE_WORLD_SIZE, cfg.SOLVER.CHECKPOINT_PERIOD = 1, 3
    cfg.SOLVER.IMS_PER_BATCH, cfg.TEST.EVAL_PERIOD = 2, 0
    scaled = scaled_schedule(as_run(cfg), 8).cfg
    found = (scaled.SOLVER.IMS_PER_BATCH, scaled.SOLVER.CHECKPOINT_PERIOD, scaled.TEST.EVAL_PERIOD)
    assert found == (16, 1, 0)
