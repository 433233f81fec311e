"""Anchors, box decoding, clipping and scaling as the code bases in `conventions` have them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import ANCHOR_GENERATOR_REGISTRY
from detectron2.modeling.anchor_generator import BufferList, DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from torch import Tensor

from hrnet_det.modeling.compat.conventions import Conventions, get_conventions


class ImageSize(tuple):
    """(height, width) of a resized image in pixels, Detectron2's tuple, that knows its scale.

    Attributes:
        scale: (x, y), resized pixels per original pixel.
    """

    scale: tuple[float, float] = (1.0, 1.0)

    def __new__(cls, size: tuple[int, int], scale: tuple[float, float]) -> ImageSize:
        made = super().__new__(cls, size)
        made.scale = scale
        return made

    def __getnewargs__(self) -> tuple[tuple[int, int], tuple[float, float]]:  # copies, pickles
        return tuple(self), self.scale


class SymmetricBox2BoxTransform(Box2BoxTransform):
    """Detectron2's, with the limit on growing applied to shrinking, too.

    Source: mmdetection's DeltaXYWHBBoxCoder with wh_ratio_clip 16/1000. The order of the operations
    is its own: a cascade makes much of a rounding.
    """

    def apply_deltas(self, deltas: Tensor, boxes: Tensor) -> Tensor:
        inverse = [1 / weight for weight in self.weights]
        deltas = deltas.float().unflatten(1, (-1, 4))  # (N, K, 4)
        deltas = deltas * deltas.new_tensor(inverse)
        first, last = boxes.to(deltas.dtype)[:, None].split(2, dim=-1)
        sides = last - first
        middle = (first + last) * 0.5 + sides * deltas[..., :2]
        sides = sides * deltas[..., 2:].clamp(-self.scale_clamp, self.scale_clamp).exp()
        return torch.cat([middle - sides * 0.5, middle + sides * 0.5], dim=-1).flatten(1)


def box_transform(weights: tuple[float, ...], conventions: Conventions) -> Box2BoxTransform:
    """The box coder of a code base with the weights (x, y, width, height)."""
    coder = SymmetricBox2BoxTransform if conventions.clamps_shrinking else Box2BoxTransform
    return coder(weights=tuple(weights))


class FollowsConventions:
    """Base of the parts of a detector that follow conventions, before Detectron2's class.

    Args:
        conventions: a row of CONVENTIONS; built from a config, the one that it names, with its box
            coder where the part has one.
    """

    @configurable
    def __init__(self, *shapes: object, conventions: Conventions, **others: object) -> None:
        self.conventions = conventions
        super().__init__(*shapes, **others)

    @classmethod
    def from_config(cls, cfg: CfgNode, *shapes: object, **given: object) -> dict:
        parts = super().from_config(cfg, *shapes)
        conventions = get_conventions(cfg.MODEL.CONVENTIONS)
        if "box2box_transform" in parts:
            coder = parts["box2box_transform"]
            parts["box2box_transform"] = box_transform(coder.weights, conventions)
        return {**parts, "conventions": conventions, **given}


def clip_boxes(boxes: Tensor, size: tuple[int, int], conventions: Conventions) -> Tensor:
    """Boxes (..., 4 * K), clipped to an image of size (height, width), as a new tensor."""
    margin = 1 if conventions.closed_boxes else 0
    height, width = size
    x1, y1, x2, y2 = boxes.unflatten(-1, (boxes.shape[-1] // 4, 4)).unbind(-1)
    first = x1.clamp(0, width - margin), y1.clamp(0, height - margin)
    last = x2.clamp(margin, width), y2.clamp(margin, height)
    return torch.stack([*first, *last], dim=-1).reshape(boxes.shape)


def clip_each(
    boxes: Iterable[Tensor], sizes: Iterable[tuple[int, int]], conventions: Conventions
) -> list[Tensor]:
    """`clip_boxes` of each image."""
    return [clip_boxes(b, size, conventions) for b, size in zip(boxes, sizes, strict=True)]


def scaled(
    boxes: Tensor,
    operation: Callable[[Tensor, Tensor], Tensor],
    scale: tuple[float, float],
    conventions: Conventions,
) -> Tensor:
    """Half-open boxes (..., 4 * K), scaled as closed ones where the code base's are.

    Args:
        operation: torch.div from a resized image to the original one, torch.mul back.
        scale: (x, y), resized pixels per original pixel.
    """
    end = boxes.new_tensor([0, 0, 1, 1] if conventions.closed_boxes else [0, 0, 0, 0])
    closed = boxes.unflatten(-1, (boxes.shape[-1] // 4, 4)) - end
    by = torch.stack([torch.as_tensor(side).to(boxes) for side in (*scale, *scale)])
    return (operation(closed, by) + end).reshape(boxes.shape)


@ANCHOR_GENERATOR_REGISTRY.register()
class CompatAnchorGenerator(FollowsConventions, DefaultAnchorGenerator):
    """Detectron2's anchors, or the rounded ones of the code bases with closed boxes.

    Source: AnchorGenerator of mmdetection 1.x ("corners") and generate_anchors of
    maskrcnn-benchmark ("sides"): around the middle of a closed box of stride x stride pixels.
    """

    def _calculate_anchors(self, sizes: list, aspect_ratios: list) -> BufferList:
        rounding = self.conventions.anchor_rounding
        if rounding == "none":
            return super()._calculate_anchors(sizes, aspect_ratios)
        levels = zip(self.strides, sizes, aspect_ratios, strict=True)
        return BufferList([_whole_pixel_anchors(*level, rounding) for level in levels])


def _whole_pixel_anchors(stride: int, sizes: list, ratios: list, rounding: str) -> Tensor:
    """Half-open anchors (ratios x sizes, 4) of one cell, in pixels from the cell's corner."""
    roots = torch.tensor(ratios, dtype=torch.float64).sqrt()
    widths, heights = stride / roots, stride * roots
    if rounding == "sides":
        widths = widths.round()
        heights = (widths * torch.tensor(ratios, dtype=torch.float64)).round()
    scales = torch.tensor(sizes, dtype=torch.float64) / stride
    sides = torch.stack([widths, heights], dim=1)[:, None] * scales[None, :, None]
    middle, reach = (stride - 1) / 2, (sides.flatten(0, 1) - 1) / 2
    first, last = middle - reach, middle + reach
    if rounding == "corners":
        first, last = first.round(), last.round()
    return torch.cat([first, last + 1], dim=1).float()
