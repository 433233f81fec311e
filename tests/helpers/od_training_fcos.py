"""What FCOS of mmdetection 1 learns from a batch: a naive reference for tests.

Source: FCOSHead of mmdetection 1.0, read and written anew from its definition in plain torch;
nothing here knows hrnet_det or Detectron2. Boxes are closed, (x1, y1, x2, y2) with their last
pixel: a width is x2 - x1 + 1, but a point's distances are to x2 and y2.
"""

import math
from collections.abc import Sequence

import helpers.legacy_reference as reference
import torch
import torch.nn.functional as F
from helpers.legacy_reference import Weights
from helpers.od_training import Objects
from torch import Tensor

STRIDES = (8, 16, 32, 64, 128)  # input pixels
RANGES = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8))  # of the farthest side, pixels
ALPHA, GAMMA, GROUPS, CONVS = 0.25, 2.0, 32, 4
LEAST_IOU = 1e-6


def random_weights(*, channels: int, classes: int, seed: int = 0) -> Weights:
    """The head, under the source's names: towers with GroupNorm, no bias of a layer is 0."""
    generator, weights = torch.Generator().manual_seed(seed), {}
    outputs = {"fcos_cls": classes, "fcos_reg": 4, "fcos_centerness": 1}
    towers = [f"{tower}_convs.{k}" for tower in ("cls", "reg") for k in range(CONVS)]
    for name in [*towers, *outputs]:
        rows = outputs.get(name, channels)
        ending = "" if name in outputs else ".conv"
        weight = torch.randn(rows, channels, 3, 3, generator=generator)
        weights[f"bbox_head.{name}{ending}.weight"] = weight / (3 * math.sqrt(channels))
        if name in outputs:
            weights[f"bbox_head.{name}.bias"] = torch.rand(rows, generator=generator) - 0.5
        else:
            weights[f"bbox_head.{name}.gn.weight"] = 1 + torch.rand(rows, generator=generator)
            weights[f"bbox_head.{name}.gn.bias"] = torch.rand(rows, generator=generator) - 0.5
    weights["bbox_head.fcos_cls.bias"] -= 3
    weights["bbox_head.fcos_reg.bias"] += 3
    for level in range(len(STRIDES)):
        weights[f"bbox_head.scales.{level}.scale"] = torch.tensor(1 + 0.1 * level)
    return weights


def outputs(weights: Weights, feature: Tensor, level: int) -> list[Tensor]:
    """Class logits (N, R, classes), distances (N, R, 4) in pixels and centerness logits (N, R, 1)
    of a level's R points, rows first."""
    towers = []
    for tower in ("cls_convs", "reg_convs"):
        x = feature
        for k in range(CONVS):
            name = f"bbox_head.{tower}.{k}"
            x = F.conv2d(x, weights[f"{name}.conv.weight"], padding=1)
            gn = [weights[f"{name}.gn.{part}"] for part in ("weight", "bias")]
            x = F.group_norm(x, GROUPS, *gn).relu()
        towers.append(x)
    scale = weights[f"bbox_head.scales.{level}.scale"]
    logits = reference._layer(weights, "bbox_head.fcos_cls", towers[0])
    sides = (scale * reference._layer(weights, "bbox_head.fcos_reg", towers[1])).exp()
    centerness = reference._layer(weights, "bbox_head.fcos_centerness", towers[0])
    return [x.flatten(2).transpose(1, 2) for x in (logits, sides, centerness)]


def points_of(stride: int, cells: tuple[int, int]) -> Tensor:
    """(rows * columns, 2) x, y in pixels."""
    y, x = torch.meshgrid(*(torch.arange(n) * stride + stride // 2 for n in cells), indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2).float()


def targets(points: Tensor, ranges: Tensor, objects: Objects) -> tuple[Tensor, Tensor]:
    """Of R points: the object (-1 for none) and the distances (R, 4) to its sides.

    A point is an object's that it lies inside of, and whose farthest side is in the range of its
    level; of several objects the one of the smallest area has it, the first of equal ones.
    """
    matches, sides = [], []
    areas = (objects.boxes[:, 2:] - objects.boxes[:, :2] + 1).prod(1)
    for point, (low, high) in zip(points, ranges, strict=True):
        to_all = torch.cat([point - objects.boxes[:, :2], objects.boxes[:, 2:] - point], dim=1)
        farthest = to_all.amax(1)
        its = (to_all.amin(1) > 0) & (farthest >= low) & (farthest <= high)
        best = torch.where(its, areas, torch.inf).argmin()
        matches.append(int(best) if its.any() else -1)
        sides.append(to_all[best])
    return torch.tensor(matches), torch.stack(sides)


def losses(
    weights: Weights, features: Sequence[Tensor], objects: Sequence[Objects]
) -> dict[str, Tensor]:
    """All losses of a batch, by the names that hrnet_det gives them."""
    levels = list(zip(STRIDES, RANGES, features, strict=True))
    points = [points_of(stride, f.shape[-2:]) for stride, _, f in levels]
    ranges = [torch.tensor([r] * len(p)) for (_, r, _), p in zip(levels, points, strict=True)]
    points, ranges = torch.cat(points), torch.cat(ranges)
    of_levels = [outputs(weights, f, number) for number, f in enumerate(features)]
    logits, sides, centerness = (torch.cat(parts, dim=1) for parts in zip(*of_levels, strict=True))
    found = [targets(points, ranges, each) for each in objects]
    matches = torch.stack([match for match, _ in found])
    known = matches >= 0
    wanted = torch.zeros_like(logits)
    for image, point in known.nonzero().tolist():
        wanted[image, point, objects[image].labels[matches[image, point]]] = 1
    right = wanted * logits.sigmoid() + (1 - wanted) * (1 - logits.sigmoid())
    factors = (wanted * ALPHA + (1 - wanted) * (1 - ALPHA)) * (1 - right) ** GAMMA
    focal = -(factors * right.log()).sum() / (known.sum() + len(objects))
    to_sides = torch.stack([to_all for _, to_all in found])[known]
    middle = (
        (to_sides[:, 0::2].amin(1) / to_sides[:, 0::2].amax(1))
        * (to_sides[:, 1::2].amin(1) / to_sides[:, 1::2].amax(1))
    ).sqrt()
    at = points.expand(len(objects), -1, -1)[known]
    ours, theirs = (torch.cat([at - s[:, :2], at + s[:, 2:]], 1) for s in (sides[known], to_sides))
    common = torch.minimum(ours[:, 2:], theirs[:, 2:]) - torch.maximum(ours[:, :2], theirs[:, :2])
    common = (common + 1).clamp(min=0).prod(1)
    areas = [(b[:, 2:] - b[:, :2] + 1).prod(1) for b in (ours, theirs)]
    iou = (common / (areas[0] + areas[1] - common)).clamp(min=LEAST_IOU)
    return {
        "loss_fcos_cls": focal,
        "loss_fcos_loc": -(iou.log() * middle).sum() / middle.sum(),
        "loss_fcos_ctr": F.binary_cross_entropy_with_logits(centerness[known][:, 0], middle),
    }
