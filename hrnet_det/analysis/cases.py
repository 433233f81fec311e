"""What is measured: a case, its images, and the work that a network does in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hrnet_det.analysis.models import batch_of_images
from hrnet_det.errors import InputError
from hrnet_det.modeling.backbone.variants import VARIANTS

Inputs = torch.Tensor | list[dict]  # images (N, 3, H, W), or Detectron2's rows of images

PARTS = ("backbone", "pyramid", "detector")
MODES = ("inference", "training", "training with trained norms")


@dataclass(frozen=True)
class Case:
    """What is measured: a part of a network of a width, at a size and batch, in a mode.

    Args:
        part: "backbone" (HRNet), "pyramid" (HRNetV2p) or "detector" (Faster R-CNN).
        mode: "inference"; "training" (forward and backward, norms with fixed statistics as in the
            published recipes) or "training with trained norms".
        size: height and width in pixels, multiples of 32.
    Raises: InputError if a name or size is none of these.
    """

    part: str
    mode: str
    variant: str
    size: tuple[int, int]
    batch: int = 1

    def __post_init__(self) -> None:
        for what, known in {"part": PARTS, "mode": MODES, "variant": VARIANTS}.items():
            given = getattr(self, what)
            if given not in known:
                raise InputError(f"benchmark: {what} {given!r}; known: {', '.join(known)}")
        check_size(self.size, "benchmark")
        if self.batch < 1:
            raise InputError(f"benchmark: batch {self.batch}: 1 or more")


def cases_of(
    parts: Sequence[str],
    modes: Sequence[str],
    variants: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    *,
    batch: int,
) -> list[Case]:
    """Each part in each mode, of each variant at each size. Raises: InputError as Case does."""
    return [Case(*words, batch) for words in product(parts, modes, variants, sizes)]


def check_size(size: tuple[int, int], command: str) -> None:
    """Raises: InputError if a command cannot take images of this height and width in pixels."""
    if min(size) < 64 or any(side % 32 for side in size):
        raise InputError(f"{command}: size {size[0]}x{size[1]}: multiples of 32, 64 or more")


def build_inputs(case: Case, device: str) -> Inputs:
    """Images of noise, as the part of the case takes them."""
    if case.part == "detector":
        return batch_of_images(case.batch, case.size, device)
    return torch.randn(case.batch, 3, *case.size, device=device)


def gmac_of(case: Case, model: nn.Module, inputs: Inputs) -> float | None:
    """Multiply-adds of a form's convolutions, the backward pass counted as twice the forward's."""
    if case.part == "detector":
        return None
    with torch.no_grad():
        return macs(model, inputs) / 1e9 * (1 if case.mode == "inference" else 3)


def macs(function: Callable, *inputs: object) -> float:
    """Multiply-adds of the convolutions and matrix products of function(*inputs)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        function(*inputs)
    return counter.get_total_flops() / 2
