"""A training that diverges ends with one error, which names the learning rate."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from detectron2.utils import comm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hrnet_det.config import settings
from hrnet_det.engine import replay
from hrnet_det.engine.finite_losses import (
    STUMBLES,
    NotFinite,
    Outcome,
    forward_again,
    says_not_finite,
)
from hrnet_det.errors import InputError
from hrnet_det.modeling.inference.finite import all_finite

if TYPE_CHECKING:
    from hrnet_det.engine.trainer import Trainer

logger = logging.getLogger("detectron2.hrnet_det")


LIMIT = 1000  # times the median of the losses so far: what has such a loss has diverged
SHOWN = 8  # image files that are named


@contextmanager
def divergence_is_told(trainer: Trainer) -> Iterator[None]:
    """Raises: InputError for what an infinite or NaN loss, box or weight has caused within."""
    try:
        yield
    except InputError:
        raise
    except NotFinite as error:
        said = f". {error}It was found before the optimizer's step{_examined(trainer)}"
        raise diverged(trainer, said) from error
    except STUMBLES as error:
        if not says_not_finite(error) and is_finite(trainer.model):
            raise
        logger.debug("Iteration %d: %s", trainer.iter, error)
        raise diverged(trainer) from error


def check_weights(trainer: Trainer) -> None:
    """Raises: InputError if a weight or a statistic is infinite or NaN: it is not evaluated."""
    if not (is_finite(trainer.model) and is_finite(trainer.average.averaged)):
        raise diverged(trainer)


def check_to_save(trainer: Trainer) -> None:
    """Weights that are saved are finite, and not blown up: the latest batch has a loss with them.

    Raises: InputError as `check_weights`, or if this loss is not finite or LIMIT times as high as
        the median of those so far, or 1 if that is higher.
    """
    check_weights(trainer)
    history = trainer.storage.histories().get("total_loss")
    batch = trainer._trainer.model.latest
    if batch is None or history is None:
        return
    model = copy.deepcopy(trainer.trained)  # its norms and counts are left alone
    for module in model.modules():
        if isinstance(module, _BatchNorm) and "Sync" in type(module).__name__:
            module.__class__ = nn.BatchNorm2d  # the other processes are not asked
    outcome = forward_again(model, batch, watch=False)
    loss, usual = sum(outcome.losses.values()), max(1.0, history.median(len(history.values())))
    if not outcome.is_finite or loss > LIMIT * usual:
        said = outcome.error or f"{loss:.3g}"
        raise diverged(
            trainer,
            f": with the weights after the step its images have a loss of {said}, where "
            f"{history.latest():.3g} was the one before. They are not saved",
        )


def is_finite(model: nn.Module) -> bool:
    """Whether all weights and statistics of norms are finite."""
    return all_finite([*model.parameters(), *model.buffers()])


def _examined(trainer: Trainer) -> str:
    """What was not finite first, in which images, and where the batch is saved to be replayed.

    In all processes together; the weights are those before the step.
    """
    guard = trainer._trainer.model
    if guard.latest is None:
        return ""
    outcome = forward_again(guard.module, guard.latest)
    finite = comm.all_gather(outcome.is_finite)
    mine = _told(trainer, outcome) if not outcome.is_finite or all(finite) else ""
    told = [text for text in comm.all_gather(mine) if text]
    more = f" (and in {len(told) - 1} more processes)" if len(told) > 1 else ""
    return told[0] + more


def _told(trainer: Trainer, outcome: Outcome) -> str:
    """Of this process, whose batch is saved."""
    batch, output = trainer._trainer.model.latest, str(trainer.run[settings.OUTPUT_DIR])
    process = f"_process{comm.get_rank()}" if comm.get_world_size() > 1 else ""
    path = Path(output, "replay", f"iteration_{trainer.iter:07d}{process}.pth")
    files = ", ".join(batch.files[:SHOWN]) + (", ..." if len(batch.files) > SHOWN else "")
    losses = ", ".join(f"{name} {value:.3g}" for name, value in outcome.losses.items())
    first = outcome.module or "in none; a forward pass alone is finite"
    try:
        replay.save(trainer, batch, path)
        saved = f"hrnet-det replay {path} repeats it"
    except (InputError, OSError) as error:
        saved = f"the batch is not saved ({error})"
    return (
        f"; first module whose output is not finite: {first}; losses: {losses or outcome.error}; "
        f"images: {files}; {saved}"
    )


def diverged(trainer: Trainer, details: str = "") -> InputError:
    """The error, with what is known, what to change, and the checkpoint to go on from."""
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
        f"losses or weights became infinite or NaN{details}. Advice: {advice}. {last}"
    )
