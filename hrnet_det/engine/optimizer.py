"""The optimizers of SOLVER.OPTIMIZER, clipping of the whole model's gradient, and schedules."""

from __future__ import annotations

from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer
from detectron2.solver import LRMultiplier, WarmupParamScheduler, get_default_optimizer_params
from detectron2.solver import build_lr_scheduler as build_detectron2_scheduler
from detectron2.solver import build_optimizer as build_sgd
from detectron2.solver.build import maybe_add_gradient_clipping
from fvcore.common.param_scheduler import PolynomialDecayParamScheduler
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.errors import InputError

NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)
SCHEDULES = ("WarmupMultiStepLR", "WarmupCosineLR", "WarmupStepWithFixedGammaLR", "WarmupPolyLR")


def build_optimizer(cfg: CfgNode, model: nn.Module) -> Optimizer:
    """SGD as Detectron2 builds it, or AdamW on the same groups of parameters.

    SOLVER.CLIP_GRADIENTS.CLIP_TYPE may be Detectron2's "value" and "norm", which clip each
    parameter's gradient by itself, or "full_model": CLIP_VALUE bounds the norm of all gradients
    together. AMP's loss scale has been taken out by then. SOLVER.BIAS_LR_FACTOR_NORM is for the
    biases of norms, where BIAS_LR_FACTOR is for all in Detectron2.

    Raises: InputError for another optimizer or type of clipping (the message lists them).
    """
    clip, name = cfg.SOLVER.CLIP_GRADIENTS, cfg.SOLVER.OPTIMIZER
    kind = clip.CLIP_TYPE if clip.ENABLED else "none"
    if kind not in ("none", "value", "norm", "full_model"):
        raise InputError(f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE {kind!r}: value, norm or full_model")
    if name not in ("SGD", "ADAMW"):
        raise InputError(f"SOLVER.OPTIMIZER {name!r}: SGD or ADAMW")
    build = build_sgd if name == "SGD" else _build_adamw
    if kind == "full_model":
        cfg = cfg.clone()
        cfg.defrost()
        cfg.SOLVER.CLIP_GRADIENTS.ENABLED = False
    optimizer = build(cfg, model)
    if (factor := cfg.SOLVER.BIAS_LR_FACTOR_NORM) is not None:
        _set_rate_of_norm_biases(optimizer, model, cfg.SOLVER.BASE_LR * factor)
    if kind == "full_model":
        clip_whole_gradient(optimizer, clip.CLIP_VALUE, clip.NORM_TYPE)
    return optimizer


def _set_rate_of_norm_biases(optimizer: Optimizer, model: nn.Module, rate: float) -> None:
    """Give the biases of norms, which stay in groups of their decay, a learning rate of their own.

    Source: mmengine's DefaultOptimWrapperConstructor, whose bias_lr_mult leaves them out.
    """
    biases = {id(layer.bias) for layer in model.modules() if isinstance(layer, NORMS)}
    for group in list(optimizer.param_groups):
        moved = [p for p in group["params"] if id(p) in biases]
        if not moved or group["lr"] == rate:
            continue
        group["params"] = [p for p in group["params"] if id(p) not in biases]
        if group["params"]:
            optimizer.add_param_group({**group, "params": moved, "lr": rate})
        else:
            group |= {"params": moved, "lr": rate}


def clip_whole_gradient(optimizer: Optimizer, most: float, norm_type: float = 2.0) -> None:
    """Before each step, scale all gradients so that their norm together is at most so much."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def clip_all(*_: object) -> None:
        clip_grad_norm_(parameters, most, norm_type)

    optimizer.register_step_pre_hook(clip_all)


def _build_adamw(cfg: CfgNode, model: nn.Module) -> Optimizer:
    options = cfg.SOLVER
    groups = get_default_optimizer_params(
        model,
        base_lr=options.BASE_LR,
        weight_decay_norm=options.WEIGHT_DECAY_NORM,
        bias_lr_factor=options.BIAS_LR_FACTOR,
        weight_decay_bias=options.WEIGHT_DECAY_BIAS,
    )
    # The fused form is faster on a CPU. On a GPU with AMP it takes the loss scale out only after
    # the gradients have been clipped.
    fused = all(p.device.type == "cpu" for group in groups for p in group["params"])
    adamw = AdamW(groups, lr=options.BASE_LR, weight_decay=options.WEIGHT_DECAY, fused=fused)
    return maybe_add_gradient_clipping(cfg, adamw)


def build_lr_scheduler(cfg: CfgNode, optimizer: Optimizer) -> LRScheduler:
    """Detectron2's schedules, and "WarmupPolyLR": the published one of semantic segmentation.

    Raises: InputError for another SOLVER.LR_SCHEDULER_NAME (the message lists them).
    """
    options, name = cfg.SOLVER, cfg.SOLVER.LR_SCHEDULER_NAME
    if name not in SCHEDULES:
        raise InputError(f"SOLVER.LR_SCHEDULER_NAME {name!r}: {', '.join(SCHEDULES)}")
    if name != "WarmupPolyLR":
        return build_detectron2_scheduler(cfg, optimizer)
    multiplier = WarmupParamScheduler(
        PolynomialDecayParamScheduler(base_value=1.0, power=options.POLY_LR_POWER),
        options.WARMUP_FACTOR,
        min(options.WARMUP_ITERS / options.MAX_ITER, 1.0),
        options.WARMUP_METHOD,
    )
    return LRMultiplier(optimizer, multiplier=multiplier, max_iter=options.MAX_ITER)


def set_base_rates(scheduler: LRScheduler, base_rates: list[float]) -> None:
    """Let a schedule that has been loaded go on from the base rates of the config."""
    scheduler.base_lrs = base_rates
    for group, rate in zip(scheduler.optimizer.param_groups, scheduler.get_lr(), strict=True):
        group["lr"] = rate


def scaled_schedule(run: RunConfig, world_size: int) -> RunConfig:
    """Detectron2's auto_scale_workers, whose rounding may make a short period 0, which is never."""
    if run.is_lazy:
        return run
    scaled = run.copy()
    scaled.cfg = DefaultTrainer.auto_scale_workers(run.cfg, world_size).clone()
    scaled.cfg.defrost()
    for setting in (settings.CHECKPOINT_PERIOD, settings.EVAL_PERIOD):
        if run[setting] > 0:
            scaled[setting] = max(1, scaled[setting])
    return scaled
