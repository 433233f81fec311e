"""The batch, and how iterations follow from epochs."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from hrnet_det.convert_config.classes import images_of
from hrnet_det.convert_config.conversion import Conversion, Row, rows_of

# Learning rates for 16 images; of other detectors 0.02.
USUAL_RATES = {"fcos": 0.01, "retinanet": 0.01}


class Pace(NamedTuple):
    """How iterations follow from epochs.

    Args:
        batch: images of an optimiser's step; gpus they are on; accumulated batches of a step.
        epoch: steps of an epoch; None where the number of images is not known.
    """

    batch: int
    gpus: int
    accumulated: int
    epoch: float | None

    def steps(self, count: float, *, by_epoch: bool) -> int | None:
        """Epochs or iterations as the optimiser's steps."""
        if not by_epoch:
            return round(count / self.accumulated)
        return None if self.epoch is None else math.ceil(count * self.epoch)


def pace_of(conversion: Conversion) -> Pace:
    """Batch and epoch."""
    loader = conversion.find("train_dataloader.batch_size")
    each = 2 if loader is None else loader.value
    gpus = conversion.gpus or _gpus(conversion, each)[0]
    accumulated = conversion.value("optim_wrapper.accumulative_counts", 1)
    images = images_of(conversion)
    epoch = None
    if images is not None:
        epoch = math.ceil(math.ceil(images / gpus) / each) / accumulated
    return Pace(each * gpus * accumulated, gpus, accumulated, epoch)


def _gpus(conversion: Conversion, each: int) -> tuple[int, str]:
    """How many, and what says so, where the user does not."""
    stem = conversion.root.place.path.stem
    if (found := re.search(r"_(\d+)xb?(\d+)[-_]", f"{stem}_")) and int(found[2]) == each:
        return int(found[1]), "the file's name"
    base = conversion.find("auto_scale_lr.base_batch_size")
    total = 16 if base is None else base.value
    usual = conversion.find("optim_wrapper.optimizer.lr")
    rate = USUAL_RATES.get(conversion.kind, 0.02)
    scaled = conversion.find("auto_scale_lr.enable")
    known = usual is not None and isinstance(usual.value, (int, float))
    if known and not (scaled is not None and scaled.value):
        batch = total * usual.value / rate
        count = round(batch / each)
        if count >= 1 and abs(count * each - batch) < 1e-6 * batch:
            return count, f"its learning rate, where {rate:g} is for {total} images"
    return max(1, total // each), f"the usual {total} images"


@rows_of(
    "train_dataloader.batch_size optim_wrapper.accumulative_counts",
    "SOLVER.IMS_PER_BATCH SOLVER.GRADIENT_ACCUMULATION_STEPS",
    "of all GPUs together, where mmdetection has the images of one",
)
def _batch(conversion: Conversion) -> None:
    pace, node = pace_of(conversion), conversion.take("train_dataloader.batch_size")
    each = pace.batch // pace.gpus // pace.accumulated
    parts = [f"{pace.gpus} GPU{'s' if pace.gpus > 1 else ''}", f"{each} images"]
    parts += [f"{pace.accumulated} accumulated batches"] if pace.accumulated > 1 else []
    why = " x ".join(parts)
    if conversion.gpus is None:
        reason = _gpus(conversion, each)[1]
        conversion.remarks.append(
            f"A batch of {pace.batch}: {why}, taken by {reason}, as the config does not say how "
            "many GPUs; --gpus N does."
        )
    conversion.set("SOLVER.IMS_PER_BATCH", pace.batch, node, why=why)
    count = conversion.take("optim_wrapper.accumulative_counts")
    conversion.set("SOLVER.GRADIENT_ACCUMULATION_STEPS", pace.accumulated, count)


ROWS: list[Row] = [_batch]
