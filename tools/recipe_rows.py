"""What configs of mmdetection and ours say of the same number: one row each, read from both.

A reader gets a whole config: mmdetection's as mmengine reads it, ours with SOLVER.RECIPE mmdet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from detectron2.config import CfgNode

from hrnet_det.config.recipes import EPOCH
from hrnet_det.modeling.backbone.variants import IMAGENET_WEIGHTS, VARIANTS
from hrnet_det.modeling.compat.conventions import get_conventions
from hrnet_det.modeling.compat.training_rules import TrainingRules

Reader = Callable[[object], object]


@dataclass(frozen=True)
class Row:
    """A number, or several, of a training: its name, and where each side has it."""

    name: str
    theirs: Reader
    ours: Reader


def rules_of(cfg: CfgNode) -> TrainingRules:
    return get_conventions(cfg.MODEL.CONVENTIONS).training


# --- optimiser and schedule


def _warmup(config: object) -> tuple:
    first = config.param_scheduler[0]
    linear = first["type"] == "LinearLR"
    factor = first["start_factor" if linear else "factor"]
    # mmengine counts `end - begin - 1` steps from the first factor to the last one.
    return ("linear" if linear else "constant", factor, first["end"] - first["begin"] - 1)


def _their_biases(config: object) -> tuple:
    """Factors of biases' learning rate, of their decay, and of the rate of norms' biases."""
    options = config.optim_wrapper.get("paramwise_cfg", {})
    return (options.get("bias_lr_mult", 1.0), options.get("bias_decay_mult", 1.0), 1.0)


def _our_biases(cfg: CfgNode) -> tuple:
    solver = cfg.SOLVER
    decay = solver.WEIGHT_DECAY if solver.WEIGHT_DECAY_BIAS is None else solver.WEIGHT_DECAY_BIAS
    norms = solver.BIAS_LR_FACTOR_NORM
    rate = solver.BIAS_LR_FACTOR
    return (rate, decay / solver.WEIGHT_DECAY, rate if norms is None else norms)


def _their_clipping(config: object) -> tuple | None:
    clip = config.optim_wrapper.get("clip_grad")
    return clip and (clip["max_norm"], clip["norm_type"])


def _our_clipping(cfg: CfgNode) -> tuple | None:
    clip = cfg.SOLVER.CLIP_GRADIENTS
    whole = clip.CLIP_TYPE == "full_model"
    found = (clip.CLIP_VALUE, clip.NORM_TYPE) if whole else (clip.CLIP_TYPE, clip.CLIP_VALUE)
    return found if clip.ENABLED else None


SOLVER = (
    Row("images in a step", lambda c: c.auto_scale_lr.base_batch_size,
        lambda o: o.SOLVER.IMS_PER_BATCH),
    Row("optimiser", lambda c: c.optim_wrapper.optimizer.type, lambda o: o.SOLVER.OPTIMIZER),
    Row("learning rate", lambda c: c.optim_wrapper.optimizer.lr, lambda o: o.SOLVER.BASE_LR),
    Row("momentum", lambda c: c.optim_wrapper.optimizer.momentum, lambda o: o.SOLVER.MOMENTUM),
    Row("decay of weights, of norms", lambda c: (c.optim_wrapper.optimizer.weight_decay,) * 2,
        lambda o: (o.SOLVER.WEIGHT_DECAY, o.SOLVER.WEIGHT_DECAY_NORM)),
    Row("biases: factors of rate, of decay, of norms' rate", _their_biases, _our_biases),
    Row("gradient clipping: norm, its power", _their_clipping, _our_clipping),
    Row("iterations", lambda c: c.train_cfg.max_epochs * EPOCH, lambda o: o.SOLVER.MAX_ITER),
    Row("drops", lambda c: [e * EPOCH for e in c.param_scheduler[1].milestones],
        lambda o: o.SOLVER.STEPS),
    Row("factor of a drop", lambda c: c.param_scheduler[1].gamma, lambda o: o.SOLVER.GAMMA),
    Row("warm-up: form, first factor, iteration of 1", _warmup,
        lambda o: (o.SOLVER.WARMUP_METHOD, o.SOLVER.WARMUP_FACTOR, o.SOLVER.WARMUP_ITERS)),
)  # fmt: skip


# --- data and network


def _pipeline(config: object) -> Mapping[str, object]:
    return {step["type"]: step for step in config.train_dataloader.dataset.pipeline}


def _their_sizes(config: object) -> list:
    steps = _pipeline(config)
    drawn = steps.get("RandomChoiceResize")
    scales = drawn["scales"] if drawn else [steps["Resize"]["scale"]]
    return sorted((min(scale), max(scale)) for scale in scales)


def _our_sizes(cfg: CfgNode) -> list:
    if cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING != "choice":
        return [cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING]
    plain = [(side, cfg.INPUT.MAX_SIZE_TRAIN) for side in cfg.INPUT.MIN_SIZE_TRAIN]
    return sorted(cfg.INPUT.SCALES_TRAIN or plain)


def _weights(cfg: CfgNode) -> str:
    address = cfg.MODEL.WEIGHTS
    if address == "imagenet":
        address = IMAGENET_WEIGHTS[cfg.MODEL.HRNET.VARIANT]
    return re.sub(r"^timm://hrnet_(w\d+)\.ms_in1k$", r"\1", address)


def _first_level(config: object) -> int:
    return {1: 2, 2: 3}[config.model.neck.get("stride", 1)]


DATA = (
    Row("sizes: shorter, longer side", _their_sizes, _our_sizes),
    Row("probability of a flip", lambda c: _pipeline(c)["RandomFlip"]["prob"],
        lambda o: {"horizontal": 0.5, "none": 0.0}.get(o.INPUT.RANDOM_FLIP)),
    Row("images without objects are left out",
        lambda c: c.train_dataloader.dataset.filter_cfg.filter_empty_gt,
        lambda o: o.DATALOADER.FILTER_EMPTY_ANNOTATIONS),
    Row("least side of an image", lambda c: c.train_dataloader.dataset.filter_cfg.min_size,
        lambda o: rules_of(o).least_image_side),
    Row("order of colours", lambda c: "RGB" if c.model.data_preprocessor.bgr_to_rgb else "BGR",
        lambda o: o.INPUT.FORMAT),
    Row("mean of pixels", lambda c: c.model.data_preprocessor.mean, lambda o: o.MODEL.PIXEL_MEAN),
    Row("deviation of pixels", lambda c: c.model.data_preprocessor.std,
        lambda o: o.MODEL.PIXEL_STD),
)  # fmt: skip
NETWORK = (
    Row("widths of the branches", lambda c: c.model.backbone.extra.stage4.num_channels,
        lambda o: VARIANTS[o.MODEL.HRNET.VARIANT].widths),
    Row("ImageNet weights of", lambda c: c.model.backbone.init_cfg.checkpoint.rpartition("_")[2],
        _weights),
    # the defaults are those of mmdetection's class
    Row("norms keep their statistics", lambda c: c.model.backbone.get("norm_eval", True),
        lambda o: o.MODEL.HRNET.NORM_EVAL),
    Row("stages that are frozen", lambda c: c.model.backbone.get("frozen_stages", -1) + 1,
        lambda o: o.MODEL.BACKBONE.FREEZE_AT),
    Row("pyramid: channels, levels, first level",
        lambda c: (c.model.neck.out_channels, c.model.neck.get("num_outs", 5), _first_level(c)),
        lambda o: (o.MODEL.HRFPN.OUT_CHANNELS, o.MODEL.HRFPN.NUM_LEVELS, o.MODEL.HRFPN.MIN_LEVEL)),
)  # fmt: skip
