"""How much memory training takes, before it is tried."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from tabulate import tabulate
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hrnet_det.analysis.cases import check_size
from hrnet_det.analysis.dry_run import run_layers, semantic_head_of
from hrnet_det.analysis.memory import LiveBytes
from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.proposals import training_size
from hrnet_det.errors import InputError, shown
from hrnet_det.modeling.backbone.checkpointing import CHECKPOINTING
from hrnet_det.modeling.build_model import build_detector

# What losses and the choice of proposals take, in tensors as large as the outputs that they are of:
# copies of logits and deltas, overlaps with objects; of an RPN and of a one-stage head. Measured on
# the CPU.
COPIES_OF_PROPOSALS = 12
COPIES_OF_DETECTIONS = 8
LARGEST_SIDE = 20_000  # pixels
LARGEST_BATCH = 4096  # images on one GPU
# What a table of plans leaves out.
TENSORS_ALONE = (
    "Tensors alone: CUDA itself takes some 0.5 to 1 GB more, and images of both orientations in "
    "one batch are padded to a square."
)


@dataclass(frozen=True)
class Plan:
    """Training at a level of checkpointing.

    Args:
        level: of MODEL.HRNET.ACTIVATION_CHECKPOINTING.
        bytes: predicts what a step with so many images takes at most.
        gradients: bytes of those of all trained parameters.
    """

    level: str
    bytes: Callable[[int], int]
    gradients: int

    def largest_batch(self, memory: int) -> int:
        """The most images, up to 64, that fit into so many bytes; 0: not one."""
        return bisect.bisect_right(range(1, 65), memory, key=self.bytes)

    def parts(self, batch: int, memory: int) -> int:
        """The fewest gradient accumulation steps with which a batch fits into memory; 0: none.

        While the second part and those after it go forward, the gradients are there too.
        """
        for parts in (n for n in range(1, batch + 1) if batch % n == 0):
            if self.bytes(batch // parts) + (self.gradients if parts > 1 else 0) <= memory:
                return parts
        return 0


def plan(run: RunConfig, size: tuple[int, int]) -> list[Plan]:
    """Predict the peak memory of training a config's detector, at each level of checkpointing.

    The network is run forward and backward with tensors that have shapes but no values, in the
    type that mixed precision chooses, with as many boxes and masks as the config allows at most.

    Args:
        run: of any of the shipped detectors.
        size: height and width of the largest image after padding, pixels, multiples of 32.
    Raises: InputError if the size is of no image.
    """
    check_size(size, "plan")
    on_cpu = run.copy()
    on_cpu[settings.DEVICE] = "cpu"
    detector = build_detector(on_cpu.cfg).train()
    gradients = sum(p.nbytes for p in detector.parameters() if p.requires_grad)
    return [
        Plan(level, _Prediction(partial(_live_bytes, detector, on_cpu, size, parts)), gradients)
        for level, parts in CHECKPOINTING.items()
    ]


class _Prediction:
    """Bytes of a step at most for any batch, from the steps of one image and of two.

    What is live after each operation is a part that the images share and one that each adds.
    """

    def __init__(self, live_bytes: Callable[[int], np.ndarray]) -> None:
        self._live_bytes = cache(live_bytes)

    def __call__(self, batch: int) -> int:
        one, two = self._live_bytes(1), self._live_bytes(2)
        if len(one) != len(two):  # a network whose operations depend on the batch
            return int(self._live_bytes(batch).max())
        return int((one + (batch - 1) * (two - one)).max())


def set_checkpointed(model: nn.Module, parts: Iterable[str]) -> None:
    """Checkpoint other parts of an HRNet and its pyramid than those it was built with."""
    for module in model.modules():
        if hasattr(module, "checkpointed"):
            module.checkpointed = frozenset(parts)


def _live_bytes(
    detector: nn.Module, run: RunConfig, size: tuple[int, int], parts: Iterable[str], batch: int
) -> np.ndarray:
    """Bytes after each operation of a step with these parts checkpointed."""
    set_checkpointed(detector, parts)
    trained = [p for p in detector.parameters() if p.requires_grad]
    weights = sum(x.nbytes for x in (*detector.parameters(), *detector.buffers()))
    with FakeTensorMode(allow_non_fake_inputs=True):  # shapes without values, but for the weights
        sides = detector.padded(size) if hasattr(detector, "padded") else size
        images = torch.empty(batch, 3, *sides)
        with LiveBytes() as counted:
            with torch.autocast("cpu", torch.bfloat16, enabled=bool(run[settings.AMP])):
                outputs = _network(detector, images)
            loss = sum(x.float().square().mean() for x in outputs)
            del outputs
            loss.backward()
        detector.zero_grad()
    always = weights + _states(run) * sum(p.nbytes for p in trained)
    return always + np.array(counted.history, dtype=np.int64)


def _states(run: RunConfig) -> int:
    """Numbers that the optimizer keeps for each parameter."""
    name = str(run.cfg.optimizer._target_) if run.is_lazy else run.cfg.SOLVER.OPTIMIZER
    return 2 if "adam" in name.lower() else 1


def _network(detector: nn.Module, images: Tensor) -> list[Tensor]:
    """All outputs of the network's layers for a batch, and what stands for its losses' tensors."""
    heads = getattr(detector, "roi_heads", None)
    boxes = len(images) * getattr(heads, "batch_size_per_image", 0)
    objects = int(boxes * getattr(heads, "positive_fraction", 0))
    outputs = run_layers(detector, images, boxes=boxes, objects=objects)
    losses = []
    if outputs.dense:
        two_stage = hasattr(detector, "proposal_generator")
        copies = COPIES_OF_PROPOSALS if two_stage else COPIES_OF_DETECTIONS
        losses.append(torch.empty(sum(x.numel() for x in outputs.dense), copies))
    targets = torch.zeros(len(images), *images.shape[-2:], dtype=torch.long)
    for logits in outputs.pixels:
        losses += semantic_head_of(detector).losses(logits, targets).values()
    for predictions in outputs.centres:  # beside targets of the image's size, weighted
        enlarged = F.interpolate(predictions, images.shape[-2:], mode="bilinear")
        losses.append((enlarged - torch.empty_like(enlarged)) * torch.empty_like(enlarged))
    return [*outputs.dense, *outputs.boxes, *losses]


def parse_memory(text: str) -> int:
    """Bytes of "8GB" (10^9), "8GiB" (2^30) or "800MB". Raises: InputError if it is none."""
    found = re.fullmatch(r"\s*([0-9.]+)\s*([KMG])(i?)B?\s*", text, re.IGNORECASE)
    try:
        number, unit, binary = found.groups()
        return int(float(number) * (1024 if binary else 1000) ** (" KMG".index(unit.upper())))
    except (AttributeError, ValueError):
        raise InputError(f"memory {text!r}: give a size such as 8GB, 24GiB or 800MB") from None


def check_batches(batches: Sequence[int]) -> None:
    """Raises: InputError for a batch of no image or of more than any GPU takes."""
    for batch in batches:
        if not 1 <= batch <= LARGEST_BATCH:
            raise InputError(f"plan: batch {shown(batch)}: give 1 to {LARGEST_BATCH} images")


def plan_table(
    plans: list[Plan], *, memory: int | None, batches: tuple[int, ...], recipe: int
) -> str:
    """Predicted GB of each level and batch, and what fits into so many bytes.

    Args:
        recipe: images of the config's batch (SOLVER.IMS_PER_BATCH), for one GPU in parts.
    """
    headers = ["ACTIVATION_CHECKPOINTING", *(f"batch {batch}: GB" for batch in batches)]
    rows = [[p.level, *(f"{p.bytes(batch) / 1e9:.2f}" for batch in batches)] for p in plans]
    if memory is not None:
        headers.append(f"largest batch in {memory / 1e9:.1f} GB")
        headers.append(f"SOLVER.GRADIENT_ACCUMULATION_STEPS for {recipe} on one GPU")
        fitting = [(p.largest_batch(memory), p.parts(recipe, memory)) for p in plans]
        rows = [
            [*row, *(n or "none" for n in found)] for row, found in zip(rows, fitting, strict=True)
        ]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def largest_size(run: RunConfig) -> tuple[int, int]:
    """Height and width of the largest landscape image that the config trains on, padded.

    Raises: InputError if a LazyConfig does not resize images by their shortest edge.
    """
    crop = None if run.is_lazy else run.cfg.INPUT.CROP_TRAIN
    sides = crop or training_size(run)
    if sides is None:
        raise InputError("plan: the config does not say the size of images: give --size HxW")
    return padded(sides)


def padded(size: Iterable[int]) -> tuple[int, int]:
    """Height and width of an image in a batch: multiples of 32 pixels, as the network wants.

    Raises: InputError for an image that is too small for a pyramid, or too large for any memory.
    """
    given = tuple(size)
    if max(given) > LARGEST_SIDE:
        sides = "x".join(map(shown, given))
        raise InputError(f"plan: size {sides}: give sides of 64 to {LARGEST_SIDE} pixels")
    height, width = (-(-side // 32) * 32 for side in given)
    if min(height, width) < 64:
        raise InputError(f"plan: size {given[0]}x{given[1]}: 64 pixels or more")
    return height, width
