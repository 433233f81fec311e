"""AMP on a GPU: steps that are skipped, since float16 cannot hold their gradients."""

from __future__ import annotations

import logging

from detectron2.engine import HookBase
from torch.amp import GradScaler

logger = logging.getLogger("detectron2.hrnet_det")


class SkippedSteps(HookBase):
    """Counts the steps that GradScaler skips: metric amp_skipped_steps, and one line at the end.

    The first few are how it finds the loss's scale: each halves it. Its state is in checkpoints.

    Args:
        scaler: of the training, which lowers its scale when, and only when, it skips a step.
    """

    def __init__(self, scaler: GradScaler) -> None:
        self._scaler = scaler
        self.skipped, self._scale = 0, 0.0

    def state_dict(self) -> dict:
        return {"skipped": self.skipped}

    def load_state_dict(self, state: dict) -> None:
        self.skipped = int(state["skipped"])

    def before_step(self) -> None:
        self._scale = self._scaler.get_scale()

    def after_step(self) -> None:
        self.skipped += self._scaler.get_scale() < self._scale
        self.trainer.storage.put_scalar("amp_skipped_steps", self.skipped, smoothing_hint=False)

    def after_train(self) -> None:
        logger.info(
            "AMP skipped %d of %d steps, whose gradients were infinite in float16; the loss is "
            "scaled by %g now",
            *(self.skipped, self.trainer.iter, self._scaler.get_scale()),
        )
