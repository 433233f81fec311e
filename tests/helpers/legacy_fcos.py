"""What FCOS of two older code bases does after the feature pyramid: a naive reference for tests.

Sources: FCOSHead of mmdetection 1 ("hrnet_object_detection", whose conventions it has) and
HRNet-FCOS ("maskrcnn_benchmark", which it is a fork of), read and written anew from their
definitions in plain torch; nothing here knows hrnet_det or Detectron2. Boxes are closed: a width is
x2 - x1 + 1, but a point's distances end at x2 and y2.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from helpers.legacy_reference import Size, Trace, Weights, _nms
from torch import Tensor

STRIDES = {5: (8, 16, 32, 64, 128), 6: (4, 8, 16, 32, 64, 128)}  # input pixels, by levels
CONVS, GROUPS = 4, 32
RANGES = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8))  # of the farthest side, pixels
THRESHOLD, DETECTIONS = 0.05, 100
NMS = {"hrnet_object_detection": 0.5, "maskrcnn_benchmark": 0.6}


def _tower(source: str, tower: str, k: int) -> tuple[str, str]:
    """The names of a tower's convolution and norm; tower is "cls" or "reg"."""
    if source == "hrnet_object_detection":
        return f"bbox_head.{tower}_convs.{k}.conv", f"bbox_head.{tower}_convs.{k}.gn"
    start = f"rpn.head.{tower.replace('reg', 'bbox')}_tower"
    return f"{start}.{3 * k}", f"{start}.{3 * k + 1}"


def _last(source: str) -> tuple[str, str, str]:
    """The names of the layers for classes, distances and centerness."""
    if source == "hrnet_object_detection":
        return "bbox_head.fcos_cls", "bbox_head.fcos_reg", "bbox_head.fcos_centerness"
    return "rpn.head.cls_logits", "rpn.head.bbox_pred", "rpn.head.centerness"


def _scale(source: str, level: int) -> str:
    start = "bbox_head" if source == "hrnet_object_detection" else "rpn.head"
    return f"{start}.scales.{level}.scale"


def random_weights(source: str, *, channels: int, classes: int, levels: int) -> Weights:
    """A head under the source's names and with its shapes; equal arguments give equal values.

    HRNet-FCOS has biases in its towers, and one value in a list for the scale of a level.
    """
    generator, weights = torch.Generator().manual_seed(0), {}

    def add(name: str, outputs: int, gain: float, bias: float | None) -> None:
        weight = torch.randn(outputs, channels, 3, 3, generator=generator)
        weights[f"{name}.weight"] = gain * weight / (9 * channels) ** 0.5
        if bias is not None:
            offset = torch.rand(outputs, generator=generator) - 0.5
            weights[f"{name}.bias"] = bias + offset

    for tower in ("cls", "reg"):
        for k in range(CONVS):
            conv, norm = _tower(source, tower, k)
            add(conv, channels, 1.0, 0.0 if source == "maskrcnn_benchmark" else None)
            weights[f"{norm}.weight"] = 0.5 + torch.rand(channels, generator=generator)
            weights[f"{norm}.bias"] = torch.rand(channels, generator=generator) - 0.5
    for name, outputs, gain, bias in zip(
        _last(source), (classes, 4, 1), (2.0, 0.8, 2.0), (-1.0, 3.4, 0.0), strict=True
    ):
        add(name, outputs, gain, bias)
    for level in range(levels):
        value = torch.tensor(0.9 + 0.1 * level)
        weights[_scale(source, level)] = value[None] if source == "maskrcnn_benchmark" else value
    return weights


def _outputs(
    source: str, weights: Weights, feature: Tensor, level: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Of a level's R points, rows first: probabilities (R, classes), distances (R, 4) in pixels,
    centerness (R,) in 0..1."""
    towers = {}
    for tower in ("cls", "reg"):
        x = feature
        for k in range(CONVS):
            conv, norm = _tower(source, tower, k)
            x = F.conv2d(x, weights[f"{conv}.weight"], weights.get(f"{conv}.bias"), padding=1)
            x = F.group_norm(x, GROUPS, weights[f"{norm}.weight"], weights[f"{norm}.bias"]).relu()
        towers[tower] = x
    maps = [
        F.conv2d(towers[tower], weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)
        for name, tower in zip(_last(source), ("cls", "reg", "cls"), strict=True)
    ]
    classes, sides, centerness = (x[0].permute(1, 2, 0).flatten(0, 1) for x in maps)
    sides = (weights[_scale(source, level)] * sides).exp()
    return classes.sigmoid(), sides, centerness[:, 0].sigmoid()


def _decode(sides: Tensor, stride: int, columns: int, size: Size) -> Tensor:
    """Closed boxes (R, 4) within an image of `size`."""
    cell = torch.arange(len(sides))
    x, y = cell % columns * stride + stride // 2, cell // columns * stride + stride // 2
    boxes = torch.stack([x - sides[:, 0], y - sides[:, 1], x + sides[:, 2], y + sides[:, 3]], dim=1)
    end = boxes.new_tensor([size[1] - 1, size[0] - 1] * 2)
    return boxes.clamp(min=0).minimum(end)


def _chosen(
    source: str, probabilities: Tensor, centerness: Tensor, most: int
) -> tuple[Tensor, Tensor]:
    """Points and classes that stay of a level."""
    products = probabilities * centerness[:, None]
    if source == "hrnet_object_detection":  # the best points, then each class by its threshold
        kept = torch.arange(len(products))
        if len(products) > most:
            kept = products.amax(dim=1).topk(most).indices
        pairs = [
            (p, c) for p in kept.tolist() for c in (probabilities[p] > THRESHOLD).nonzero()[:, 0]
        ]
        return torch.tensor([p for p, _ in pairs]), torch.tensor([int(c) for _, c in pairs])
    points, classes = (probabilities > THRESHOLD).nonzero(as_tuple=True)
    if len(points) > most:
        best = products[points, classes].topk(most).indices
        points, classes = points[best], classes[best]
    return points, classes


@torch.no_grad()
def detect(
    source: str,
    weights: Weights,
    features: Sequence[Tensor],
    *,
    input_size: Size,
    original_size: Size,
    scale_factor: float,
    candidates: int = 1000,
) -> Trace:
    """Run the source's inference from the feature pyramid to boxes.

    Args:
        features: five or six (1, C, h, w); they may cover padding right and below.
        input_size: (H, W) of the resized image without padding, pixels.
        original_size: (H0, W0) of the image before resizing, pixels.
        scale_factor: of mmdetection 1, for both axes; unused in the other source.
        candidates: of a level, 1000 in the sources' configs.
    """
    parts = []
    for level, (stride, feature) in enumerate(zip(STRIDES[len(features)], features, strict=True)):
        probabilities, sides, centerness = _outputs(source, weights, feature, level)
        points, classes = _chosen(source, probabilities, centerness, candidates)
        boxes = _decode(sides, stride, feature.shape[-1], input_size)[points]
        parts.append((boxes, probabilities[points, classes] * centerness[points], classes))
    boxes, scores, labels = (torch.cat(x) for x in zip(*parts, strict=True))
    if source == "hrnet_object_detection":  # the suppression is in original pixels
        boxes = boxes / scale_factor
    kept = []
    for label in labels.unique():
        of_class = (labels == label).nonzero()[:, 0]
        kept.append(of_class[_nms(boxes[of_class], scores[of_class], NMS[source])])
    kept = torch.cat(kept)
    kept = kept[scores[kept].argsort(descending=True)][:DETECTIONS]
    boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
    if source == "maskrcnn_benchmark":
        ratio_y, ratio_x = (o / i for o, i in zip(original_size, input_size, strict=True))
        boxes = boxes * boxes.new_tensor([ratio_x, ratio_y, ratio_x, ratio_y])
    return Trace(boxes, boxes, scores, labels, None)


# ---- training


class Losses(NamedTuple):
    """What HRNet-FCOS learns from a batch."""

    cls: float
    loc: float
    ctr: float
    positives: int  # points of objects


def _match(
    point: Tensor, span: tuple[float, float], boxes: Tensor
) -> tuple[int | None, Tensor | None]:
    """The object of a point, and its distances (4,) to the object's sides; None for none."""
    if not len(boxes):
        return None, None
    sides = torch.cat([point - boxes[:, :2], boxes[:, 2:] - point], dim=1)
    farthest = sides.amax(dim=1)
    its = (sides.amin(dim=1) > 0) & (farthest >= span[0]) & (farthest <= span[1])
    if not its.any():
        return None, None
    best = int(torch.where(its, (boxes[:, 2:] - boxes[:, :2] + 1).prod(dim=1), torch.inf).argmin())
    return best, sides[best].double()


def hrnet_fcos_losses(
    logits: Sequence[Tensor],
    distances: Sequence[Tensor],
    centerness: Sequence[Tensor],
    objects: Sequence[tuple[Tensor, Tensor]],
) -> Losses:
    """By FCOSLossComputation and IOULoss of HRNet-FCOS, point by point in double precision.

    Args:
        logits, distances, centerness: of five levels from p3 on, (N, C, h, w) each.
        objects: of each image closed boxes (M, 4) in pixels and classes (M,).
    """
    focal = boxes_sum = entropy = weights = 0.0
    count = 0
    for stride, span, *maps in zip(STRIDES[5], RANGES, logits, distances, centerness, strict=True):
        for n, (boxes, classes) in enumerate(objects):
            _, rows, columns = maps[0][n].shape
            for y in range(rows):
                for x in range(columns):
                    scores, sides, middle = (m[n, :, y, x].double() for m in maps)
                    point = torch.tensor([x, y]) * stride + stride // 2
                    match, wanted = _match(point, span, boxes)
                    p = scores.sigmoid()
                    terms = -0.75 * p**2 * (1 - p).log()
                    if match is not None:
                        k = classes[match]
                        terms[k] = -0.25 * (1 - p[k]) ** 2 * p[k].log()
                        both = torch.minimum(sides, wanted)
                        common = (both[0] + both[2]) * (both[1] + both[3])
                        areas = [(s[0] + s[2]) * (s[1] + s[3]) for s in (sides, wanted)]
                        union = areas[0] + areas[1] - common
                        ratios = [wanted[i::2].min() / wanted[i::2].max() for i in (0, 1)]
                        weight = (ratios[0] * ratios[1]).sqrt()
                        boxes_sum -= float(weight * ((common + 1) / (union + 1)).log())
                        q = middle[0].sigmoid()
                        entropy -= float(weight * q.log() + (1 - weight) * (1 - q).log())
                        weights += float(weight)
                        count += 1
                    focal += float(terms.sum())
    return Losses(focal / (count + len(objects)), boxes_sum / weights, entropy / count, count)
