"""A training that diverges ends with one error, which names the learning rate."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from hrnet_det.config import settings
from hrnet_det.errors import InputError

if TYPE_CHECKING:
    from hrnet_det.engine.trainer import Trainer

logger = logging.getLogger("detectron2.hrnet_det")


@contextmanager
def divergence_is_told(trainer: Trainer) -> Iterator[None]:
    """Raises: InputError for what an infinite or NaN loss, box or weight has caused within."""
    try:
        yield
    except InputError:
        raise
    except (ArithmeticError, AssertionError, IndexError, ValueError) as error:
        # Detectron2 finds it in losses and proposals (FloatingPointError), in boxes (an assertion
        # that says NaN), or not at all, and then stumbles over it anywhere.
        known = isinstance(error, FloatingPointError) or "NaN" in str(error)
        if not known and is_finite(trainer.model):
            raise
        logger.debug("Iteration %d: %s", trainer.iter, error)
        raise diverged(trainer) from error


def check_weights(trainer: Trainer) -> None:
    """Raises: InputError if a weight is infinite or NaN: it is neither evaluated nor saved."""
    if not is_finite(trainer.model):
        raise diverged(trainer)


def is_finite(model: nn.Module) -> bool:
    """Whether all weights are finite."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())


def diverged(trainer: Trainer) -> InputError:
    """The error, with what to change, and the checkpoint to go on from."""
    run, checkpointer = trainer.given, trainer.checkpointer
    lower = run.shown(settings.BASE_LR, f"{float(run[settings.BASE_LR]) / 10:.2g}")
    clips = run[settings.GRADIENT_CLIP] if run.is_lazy else run.cfg.SOLVER.CLIP_GRADIENTS.ENABLED
    advice = f"lower the learning rate, such as {lower}"
    if not clips and run.is_lazy:
        advice += f", or clip gradients: {run.shown(settings.GRADIENT_CLIP, 35)}"
    elif not clips:
        advice += (
            ", or clip gradients: SOLVER.CLIP_GRADIENTS.ENABLED True "
            "SOLVER.CLIP_GRADIENTS.CLIP_TYPE full_model SOLVER.CLIP_GRADIENTS.CLIP_VALUE 35"
        )
    if run[settings.AMP] and torch.device(str(run[settings.DEVICE])).type == "cuda":
        advice += f"; float16 may be too small: {run.shown(settings.AMP, False)}"
    if checkpointer.has_checkpoint():
        last = f"The last checkpoint is {checkpointer.get_checkpoint_file()}: --resume, with the "
        last += "lower rate, goes on from it"
    else:
        last = "No checkpoint has been saved: train from the start"
    return InputError(
        f"training has diverged at iteration {trainer.iter}: with {run.shown(settings.BASE_LR)} "
        f"losses or weights became infinite or NaN. Advice: {advice}. {last}"
    )
