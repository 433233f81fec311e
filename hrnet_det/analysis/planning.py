"""How much memory training takes, before it is tried."""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from detectron2.config import CfgNode
from tabulate import tabulate
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hrnet_det import model_zoo
from hrnet_det.analysis.dry_run import run_layers, semantic_head_of
from hrnet_det.analysis.memory import LiveBytes
from hrnet_det.errors import InputError
from hrnet_det.modeling.backbone.checkpointing import CHECKPOINTING

# What losses and the choice of proposals take, in tensors as large as the outputs that they are of:
# copies of logits and deltas, overlaps with objects; of an RPN and of a one-stage head. Measured on
# the CPU.
COPIES_OF_PROPOSALS = 12
COPIES_OF_DETECTIONS = 8


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


def plan(cfg: CfgNode, size: tuple[int, int]) -> list[Plan]:
    """Predict the peak memory of training a config's detector, at each level of checkpointing.

    The network is run forward and backward with tensors that have shapes but no values, in the
    type that SOLVER.AMP chooses, with as many boxes and masks as the config allows at most.

    Args:
        cfg: of any of the shipped detectors.
        size: height and width of the largest image after padding, pixels, multiples of 32.
    Raises: InputError if the size is of no image.
    """
    if min(size) < 64 or any(side % 32 for side in size):
        raise InputError(f"plan: size {size[0]}x{size[1]}: multiples of 32, 64 or more")
    plans = []
    for level in CHECKPOINTING:
        chosen = cfg.clone()
        chosen.defrost()
        chosen.MODEL.DEVICE = "cpu"
        chosen.MODEL.HRNET.ACTIVATION_CHECKPOINTING = level
        detector = model_zoo.build_detector(chosen).train()
        gradients = sum(p.nbytes for p in detector.parameters() if p.requires_grad)
        plans.append(Plan(level, cache(partial(_peak, detector, chosen, size)), gradients))
    return plans


def _peak(detector: nn.Module, cfg: CfgNode, size: tuple[int, int], batch: int) -> int:
    trained = [p for p in detector.parameters() if p.requires_grad]
    weights = sum(x.nbytes for x in (*detector.parameters(), *detector.buffers()))
    with FakeTensorMode(allow_non_fake_inputs=True):  # shapes without values, but for the weights
        images = torch.empty(batch, 3, *size)
        with LiveBytes() as counted:
            with torch.autocast("cpu", torch.bfloat16, enabled=cfg.SOLVER.AMP.ENABLED):
                outputs = _network(detector, cfg, images)
            loss = sum(x.float().square().mean() for x in outputs)
            del outputs
            loss.backward()
        detector.zero_grad()
    states = 2 if cfg.SOLVER.OPTIMIZER == "ADAMW" else 1
    return weights + states * sum(p.nbytes for p in trained) + counted.peak


def _network(detector: nn.Module, cfg: CfgNode, images: Tensor) -> list[Tensor]:
    """All outputs of the network's layers for a batch, and what stands for its losses' tensors."""
    boxes = len(images) * cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE
    objects = int(boxes * cfg.MODEL.ROI_HEADS.POSITIVE_FRACTION)
    outputs = run_layers(detector, images, boxes=boxes, objects=objects)
    losses = []
    if outputs.dense:
        two_stage = hasattr(detector, "proposal_generator")
        copies = COPIES_OF_PROPOSALS if two_stage else COPIES_OF_DETECTIONS
        losses.append(torch.empty(sum(x.numel() for x in outputs.dense), copies))
    targets = torch.zeros(len(images), *images.shape[-2:], dtype=torch.long)
    for logits in outputs.pixels:
        losses += semantic_head_of(detector).losses(logits, targets).values()
    return [*outputs.dense, *outputs.boxes, *losses]


def parse_memory(text: str) -> int:
    """Bytes of "8GB" (10^9), "8GiB" (2^30) or "800MB". Raises: InputError if it is none."""
    found = re.fullmatch(r"\s*([0-9.]+)\s*([KMG])(i?)B?\s*", text, re.IGNORECASE)
    try:
        number, unit, binary = found.groups()
        return int(float(number) * (1024 if binary else 1000) ** (" KMG".index(unit.upper())))
    except (AttributeError, ValueError):
        raise InputError(f"memory {text!r}: give a size such as 8GB, 24GiB or 800MB") from None


def plan_table(
    plans: list[Plan], *, memory: int | None, batches: tuple[int, ...], recipe: int
) -> str:
    """Predicted GB of each level and batch, and what fits into so many bytes.

    Args:
        recipe: images of the config's batch (SOLVER.IMS_PER_BATCH), for one GPU in parts.
    """
    if min(batches) < 1:
        raise InputError(f"plan: batch {min(batches)}: 1 or more")
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


def largest_size(cfg: CfgNode) -> tuple[int, int]:
    """Height and width of the largest landscape image that the config trains on, padded."""
    sides = cfg.INPUT.CROP_TRAIN or max(
        cfg.INPUT.SCALES_TRAIN or [(max(cfg.INPUT.MIN_SIZE_TRAIN), cfg.INPUT.MAX_SIZE_TRAIN)],
        key=math.prod,
    )
    return tuple(-(-side // 32) * 32 for side in sides)
