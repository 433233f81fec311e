"""Ends a training after a signal, with a checkpoint to go on from."""

from __future__ import annotations

import logging

from detectron2.engine import HookBase
from detectron2.utils import comm

from hrnet_det.engine import signals

logger = logging.getLogger("detectron2.hrnet_det")


class StopOnSignal(HookBase):
    """Stops all processes after the same iteration when one of them has got a signal.

    It comes before the hook that saves checkpoints, which saves one then.
    """

    def after_step(self) -> None:
        self.trainer.stopped = signals.agreed() != 0

    def after_train(self) -> None:
        trainer = self.trainer
        if not trainer.stopped:
            return
        if comm.is_main_process():
            logger.warning(
                "%s: stopped after %d of %d iterations; the same command with --resume goes on "
                "from %s",
                *(signals.name(signals.asked()), trainer.iter, trainer.max_iter),
                trainer.checkpointer.get_checkpoint_file(),
            )
        comm.synchronize()  # no process ends, and is missed, while the main one still saves
