"""Learning rate and iterations that follow from the batch and the number of images."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.config.settings import Setting
from hrnet_det.data.rows import rows_to_learn_from
from hrnet_det.errors import InputError

DROPS = (8, 11)  # twelfths of a training, after which the learning rate falls to a tenth
WARMUP = (500, 0.1)  # iterations, at most so much of a training
EVALUATIONS, CHECKPOINTS = 20, 5  # of a training, at most


def scale_learning_rate(run: RunConfig) -> None:
    """The linear rule: BASE_LR, for BASE_LR_BATCH images, follows IMS_PER_BATCH unless stated.

    Source: arXiv:1706.02677 section 2.1.
    """
    reference, batch = run[settings.BASE_LR_BATCH], run[settings.BATCH_SIZE]
    if not reference or reference == batch or run.states(settings.BASE_LR):
        return
    before = run[settings.BASE_LR]
    run[settings.BASE_LR] = float(f"{before * batch / reference:.6g}")
    run[settings.BASE_LR_BATCH] = batch  # what it is for now
    run.note(
        f"{run.shown(settings.BASE_LR)}: in proportion to {run.shown(settings.BATCH_SIZE)}, as "
        f"{before:g} is for {reference}."
    )


def follow_epochs(run: RunConfig, datasets: Sequence[str]) -> None:
    """Let SOLVER.EPOCHS become iterations of these datasets; what the user states is kept.

    Raises: InputError if epochs and iterations are both given.
    """
    epochs, batch = run[settings.EPOCHS], run[settings.BATCH_SIZE]
    if not epochs:
        return
    typed = run.types(settings.EPOCHS)

    def is_kept(setting: Setting) -> bool:
        """What is typed wins over a file, in which a run has stated everything."""
        return run.types(setting) or (run.states(setting) and not typed)

    if is_kept(settings.MAX_ITER) and (typed or run.states(settings.EPOCHS)):
        raise InputError(
            f"{run.shown(settings.EPOCHS)} and {run.shown(settings.MAX_ITER)}: give one of them"
        )
    images = len(rows_to_learn_from(run.cfg, datasets))
    if is_kept(settings.MAX_ITER):
        last = run[settings.MAX_ITER]
        why = f"{last * batch / images:.3g} epochs"
    else:
        last = math.ceil(epochs * images / batch)
        why = run.shown(settings.EPOCHS)
    evaluations = max(1, min(EVALUATIONS, round(last * batch / images)))
    values = {
        settings.MAX_ITER: last,
        settings.STEPS: tuple(sorted({last * drop // 12 for drop in DROPS} - {0})),
        settings.WARMUP_ITERS: min(WARMUP[0], int(last * WARMUP[1])),
        settings.EVAL_PERIOD: math.ceil(last / evaluations),
        settings.CHECKPOINT_PERIOD: math.ceil(last / CHECKPOINTS),
    }
    followed = [setting for setting in values if not is_kept(setting)]
    for setting in followed:
        run[setting] = values[setting]
    run[settings.EPOCHS] = 0  # iterations count from here on
    if followed:
        run.note(
            f"{', '.join(map(run.shown, followed))}: {why} of {images} images with objects, "
            f"{batch} in a step."
        )
