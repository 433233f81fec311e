"""What FCOS learns from: which points are an object's, and its losses by the rules of a source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from detectron2.structures import Boxes
from detectron2.utils import comm
from fvcore.nn import giou_loss
from torch import Tensor, distributed

_MOST_AREA = 1e8  # pixels; larger objects get no points (mmdetection's INF)
_LEAST = 1e-6  # of an IoU, an area in pixels, a sum of weights


def match_quality(boxes: Boxes, levels: Sequence[Boxes], *, radius: float, closed: bool) -> Tensor:
    """How well points fit objects; an object of less area is the better one.

    A point is inside the box, at most `radius` strides from its middle, and the farthest side lies
    4 to 8 strides away: nearer on the finest level, farther on the coarsest one.

    Source: FCOSHead of mmdetection 1 to 3, FCOSLossComputation of HRNet-FCOS. Detectron2's own
    leaves the ends of these ranges out, and takes areas that are 8 pixels apart for equal.

    Args:
        boxes: of M objects.
        levels: a box of stride x stride pixels around each point of a level, R in all.
        radius: inf for all points in a box.
        closed: the boxes' last pixel, one less than x2 and y2, is where distances end.
    Returns: (M, R) float64, 0 where a point is not the object's.
    """
    points = Boxes.cat(list(levels)).get_centers()
    strides = torch.cat([b.tensor[:, 2] - b.tensor[:, 0] for b in levels])
    nearest, farthest = 4 * strides, 8 * strides
    nearest[: len(levels[0])] = 0
    farthest[len(farthest) - len(levels[-1]) :] = torch.inf
    sides = distances(points[None], boxes.tensor[:, None], closed=closed)  # (M, R, 4)
    farthest_side = sides.amax(dim=-1)
    fits = (sides.amin(dim=-1) > 0) & (nearest <= farthest_side) & (farthest_side <= farthest)
    if radius < torch.inf:
        from_middle = (sides[..., :2] - sides[..., 2:]).abs().amax(dim=-1) / 2
        fits &= from_middle < radius * strides
    return fits * (_MOST_AREA - boxes.area().double())[:, None]


def distances(points: Tensor, boxes: Tensor, *, closed: bool) -> Tensor:
    """Pixels from points (..., 2) to the left, top, right, bottom of boxes (..., 4)."""
    last = boxes[..., 2:] - int(closed)
    return torch.cat([points - boxes[..., :2], last - points], dim=-1)


def centerness(sides: Tensor) -> Tensor:
    """(P,) 1 in the middle of a box, less towards its sides, from distances (P, 4) above 0."""
    across, down = sides[:, 0::2], sides[:, 1::2]
    ratios = across.amin(1) / across.amax(1), down.amin(1) / down.amax(1)
    return (ratios[0] * ratios[1]).sqrt()


class Positives(NamedTuple):
    """The P points of a batch that are an object's."""

    points: Tensor  # (P, 2) in pixels
    predicted: Tensor  # (P, 4) distances in pixels
    wanted: Tensor  # (P, 4) likewise, of the object
    closed: bool  # whether distances end at a box's last pixel

    def corners(self, sides: Tensor) -> Tensor:
        """Half-open boxes (P, 4) from distances."""
        first, last = self.points - sides[:, :2], self.points + sides[:, 2:]
        return torch.cat([first, last + int(self.closed)], dim=1)


def _giou(found: Positives) -> Tensor:
    """1 - generalised IoU; Detectron2's, and mmdetection's GIoULoss."""
    return giou_loss(found.corners(found.predicted), found.corners(found.wanted))


def _iou_log(found: Positives) -> Tensor:
    """-log IoU; mmdetection's IoULoss."""
    ours, theirs = found.corners(found.predicted), found.corners(found.wanted)
    common, union = _areas(ours, theirs)
    return -(common / union.clamp(min=_LEAST)).clamp(min=_LEAST).log()


def _iou_log_smooth(found: Positives) -> Tensor:
    """-log IoU with a pixel more in the intersection and the union; HRNet-FCOS's IOULoss."""
    found = found._replace(closed=False)
    ours, theirs = found.corners(found.predicted), found.corners(found.wanted)
    common, union = _areas(ours, theirs)
    return -((common + 1) / (union + 1)).log()


def _areas(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """(P,) of the intersection and the union of boxes (P, 4), in square pixels."""
    first = torch.maximum(ours[:, :2], theirs[:, :2])
    last = torch.minimum(ours[:, 2:], theirs[:, 2:])
    common = (last - first).clamp(min=0).prod(dim=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (ours, theirs)]
    return common, areas[0] + areas[1] - common


# MODEL.FCOS.BOX_LOSS: a loss for each point, and whether points count by their centerness.
BOX_LOSSES: dict[str, tuple[Callable[[Positives], Tensor], bool]] = {
    "giou": (_giou, False),
    "giou_weighted": (_giou, True),
    "iou_log": (_iou_log, True),
    "iou_log_smooth": (_iou_log_smooth, True),
}


class Divisors(NamedTuple):
    """What the sums of losses are divided by."""

    classes: Tensor | float
    centerness: Tensor | float
    weights: Tensor | float  # where points count by their centerness


def divisors(
    rule: str, count: Tensor, weights: Tensor, images: int, average: Callable[[float], float]
) -> Divisors:
    """What a rule of NORMALIZERS divides by.

    Args:
        count, weights: scalars: positive points of the batch, and the sum of their centerness.
        images: in the batch.
        average: updates and gives the moving average of the number of positive points.
    """
    if rule == "moving_average":
        mean = average(max(count.item(), 1))
        return Divisors(mean, mean, weights.clamp(min=_LEAST))
    if rule == "batch":
        count, weights = mean_of_processes(torch.stack([count.to(weights), weights]))
        return Divisors(count.clamp(min=1), count.clamp(min=1), weights.clamp(min=_LEAST))
    return Divisors(count + images, count.clamp(min=1), weights.clamp(min=_LEAST))


# MODEL.FCOS.NORMALIZER. "moving_average": Detectron2's, positive points, from 300 on, of each
# process; "batch": mmdetection 2's and 3's, positive points and their centerness, averaged over the
# processes; "images": mmdetection 1's and HRNet-FCOS's, positive points and images of the process.
NORMALIZERS = ("moving_average", "batch", "images")


def mean_of_processes(values: Tensor) -> Tensor:
    """The mean of what each process of the training has; of a validation its own alone.

    Its processes may have different numbers of batches.
    """
    if comm.get_world_size() == 1 or not torch.is_grad_enabled():
        return values
    values = values / comm.get_world_size()
    distributed.all_reduce(values)
    return values


def class_loss(logits: Tensor, labels: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """The sum of the focal loss of logits (N, R, K); labels (N, R), K for the background.

    Source: arXiv:1708.02002. Its factor (1 - p)^gamma is computed without a difference, which is
    rounded where p is near 1.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # from AMP's half
    wanted = labels[..., None] == torch.arange(logits.shape[-1], device=labels.device)
    against = torch.where(wanted, -logits, logits)  # the logit of what is not wanted
    losses = against.sigmoid() ** gamma * F.softplus(against)
    return (losses * torch.where(wanted, alpha, 1 - alpha)).sum()
