"""What makes the steps of a training: Detectron2's trainers of single steps, guarded."""

from __future__ import annotations

from collections.abc import Iterable

from detectron2.engine.train_loop import AMPTrainer, SimpleTrainer
from torch import nn
from torch.optim import Optimizer

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.engine.accumulation import GradientAccumulation
from hrnet_det.engine.autocast import autocast_training
from hrnet_det.engine.finite_losses import FiniteGradients, FiniteLosses


def build_steps(
    run: RunConfig, model: nn.Module, loader: Iterable, optimizer: Optimizer, device: str
) -> SimpleTrainer:
    """The trainer of single steps: in parts, in mixed precision, and of finite numbers alone.

    Args:
        model: the detector, wrapped by DistributedDataParallel or not.
        device: its type.
    """
    amp, parts = run[settings.AMP], run[settings.ACCUMULATION_STEPS]
    if amp and device == "cpu":
        autocast_training(model)
        amp = False
    trained = model if parts == 1 else GradientAccumulation(model, parts)
    checked = FiniteLosses(trained, parts=parts, autocast="float16" if amp else "")
    # Before the forward pass: the last step's gradients are no longer there at its peak.
    options = {"zero_grad_before_forward": True}
    steps = (AMPTrainer if amp else SimpleTrainer)(checked, loader, optimizer, **options)
    if not amp:
        steps.register_hooks([FiniteGradients(checked.module)])
    elif trained is not model:
        trained.scale = steps.grad_scaler.scale
    return steps
