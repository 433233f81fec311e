"""What a graph does before and after the detector: resizing, and objects in the image's pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from detectron2.data import transforms as T
from detectron2.structures import Boxes, Instances
from PIL import Image
from torch import Tensor

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data import transforms
from hrnet_det.data.mapper import build_test_mapper
from hrnet_det.errors import InputError
from hrnet_det.export import resizing
from hrnet_det.export.pasting import Number, paste
from hrnet_det.export.resizing import floor_div
from hrnet_det.modeling.compat.boxes import scaled
from hrnet_det.modeling.compat.conventions import Conventions, get_conventions

Scale = tuple[Number | float, Number | float]  # (x, y), resized pixels per original pixel
Sides = tuple[Tensor, Tensor]  # height and width, tensors ()
MOST_SIDE = 2**15  # pixels, of a resized image


@dataclass(frozen=True)
class Resizing:
    """How images are resized for a detector, as its test mapper does.

    Args:
        sides: (height, width, shortest, longest) of tensors () to those of the resized image; None
            to leave images as they are.
        resize: a function of `resizing`.
        shortest, longest: limits of the sides, in pixels.
        one_scale: both axes are taken to be resized by the same number.
    Input:  image (H, W, 3) uint8.
    Output: (h, w, 3) float32 of 0 to 255, and (x, y), resized pixels per original pixel.
    """

    sides: Callable[..., tuple[Tensor, Tensor]] | None = None
    resize: resizing.Resize = resizing.pillow
    shortest: int = 0
    longest: int = 0
    one_scale: bool = False

    def __call__(self, image: Tensor) -> tuple[Tensor, Scale]:
        if self.sides is None:
            return image.float(), (1.0, 1.0)
        height, width = resizing.sides_of(image)
        new = self.sides(height, width, self.shortest, self.longest)
        scale = tuple(n.float() / old.float() for n, old in zip(new, (height, width), strict=True))
        if self.one_scale:
            scale = self._one_scale((height, width), new, scale)
        return self.resize(image, new), (scale[1], scale[0])

    def _one_scale(self, old: Sides, new: Sides, scale: Sides) -> Sides:
        """As KnowsScale: the scale that both sides were rounded with, where that can be told."""
        limits = self.shortest, self.longest
        same = torch.stack(nearest_sides(*old, *limits)) == torch.stack(list(new))
        over, under = _scale(*old, *limits)
        one = over.float() / under.float()
        return tuple(torch.where(same.all(), one, each) for each in scale)


def shortest_edge_sides(height: Tensor, width: Tensor, shortest: int, longest: int) -> Sides:
    """Detectron2's ResizeShortestEdge: the shorter side, or where that is too long, the longer one.

    Differs from source: what lies exactly between two whole numbers is rounded up; Detectron2's
    rounding of its scale may bring it below.
    """
    low, high = torch.minimum(height, width), torch.maximum(height, width)
    limited = shortest * high > longest * low
    other = nearest(shortest * high, low)
    new_high = torch.where(limited, longest, other)
    new_low = torch.where(limited, nearest(longest * low, high), shortest).clamp(min=1)
    first = height <= width
    return torch.where(first, new_low, new_high), torch.where(first, new_high, new_low)


def nearest_sides(height: Tensor, width: Tensor, shortest: int, longest: int) -> Sides:
    """`data.transforms.nearest_sides` of tensors."""
    over, under = _scale(height, width, shortest, longest)
    return tuple(nearest(side * over, under).clamp(min=1) for side in (height, width))


def floored_sides(height: Tensor, width: Tensor, shortest: int, longest: int) -> Sides:
    """`data.transforms.floored_sides` of tensors."""
    low, high = torch.minimum(height, width), torch.maximum(height, width)
    limited = shortest * high > longest * low
    side = nearest(longest * low, high)
    between = 2 * longest * low == (2 * side - 1) * high  # which Python rounds to even numbers
    side = side - (between & (side % 2 == 1)).to(side.dtype)
    side = torch.where(limited, side.clamp(min=1), shortest)
    other = floor_div(side * high, low)
    first = height <= width
    return torch.where(first, side, other), torch.where(first, other, side)


def nearest(x: Tensor, by: Tensor) -> Tensor:
    """x / by of whole numbers, rounded to the nearest one, halves up."""
    return floor_div(2 * x + by, 2 * by)


def _scale(height: Tensor, width: Tensor, shortest: int, longest: int) -> tuple[Tensor, Tensor]:
    """largest_scale as a fraction."""
    low, high = torch.minimum(height, width), torch.maximum(height, width)
    limited = shortest * high > longest * low
    return torch.where(limited, longest, shortest), torch.where(limited, high, low)


_RESIZES = {
    transforms.nearest_sides: nearest_sides,
    transforms.floored_sides: floored_sides,
}


def resizing_of(run: RunConfig) -> Resizing:
    """The resizing of a run's test mapper. Raises: InputError if that does something else."""
    augmentations = build_test_mapper(run).augmentations.augs
    if not augmentations:
        return Resizing()
    made = augmentations[0]
    rule = made.rule if isinstance(made, transforms.CompatResize) else None
    plain = made.plain if rule else made
    known = isinstance(plain, T.ResizeShortestEdge) and len(augmentations) == 1
    if not known or len(set(plain.short_edge_length)) > 1 or plain.interp != Image.BILINEAR:
        names = ", ".join(type(each).__name__ for each in augmentations)
        raise InputError(
            f"the config's images are tested with {names}: a file can only resize images to one "
            "shortest edge; give --processing outside"
        )
    shortest, longest = int(plain.short_edge_length[0]), min(int(plain.max_size), MOST_SIDE)
    if not shortest:
        return Resizing()
    conventions = get_conventions(run[settings.CONVENTIONS])
    return Resizing(
        shortest_edge_sides if rule is None else _RESIZES[rule.sides],
        _resize_of(rule),
        shortest,
        longest,
        one_scale=conventions.one_scale,
    )


def _resize_of(rule: transforms.ResizeRule | None) -> resizing.Resize:
    if rule is None or rule.transform is T.ResizeTransform:
        return resizing.installed_pillow()
    as_float = getattr(rule.transform, "keywords", {}).get("as_float", False)
    return resizing.opencv_float if as_float else resizing.opencv


def in_given(
    objects: Instances, size: tuple[Number, Number], conventions: Conventions
) -> dict[str, Tensor]:
    """Objects in the pixels of the images that the detector was given.

    Args:
        objects: of the detector, before they are brought into an original image.
        size: height and width of an image.
    Output: boxes, scores, classes, and where there are any masks (K, M, M) of their cells and
        keypoints (K, J, 3), without those of empty boxes where the conventions leave these out.
    """
    boxes = objects.pred_boxes
    found = {"scores": objects.scores, "classes": objects.pred_classes}
    if objects.has("pred_masks"):
        found["masks"] = objects.pred_masks[:, 0]
    if objects.has("pred_keypoints"):
        found["keypoints"] = objects.pred_keypoints
    if conventions.keeps_empty_boxes:
        return found | {"boxes": boxes.tensor}
    boxes.clip(size)
    full = boxes.nonempty().nonzero()[:, 0]
    found["boxes"] = boxes.tensor
    return {name: values[full] for name, values in found.items()}


def in_original(
    objects: Instances, size: tuple[Number, Number], conventions: Conventions, *, most: int
) -> dict[str, Tensor]:
    """Objects of a resized image in the original one's pixels, as the model postprocesses them.

    Args:
        objects: their image_size is an ImageSize.
        size: height and width of the original image.
        most: of objects; 0 if that is not known.
    Output: as in_given's, but with masks (K, height, width) bool.
    """
    x, y = objects.image_size.scale
    objects.pred_boxes = Boxes(scaled(objects.pred_boxes.tensor, torch.div, (x, y), conventions))
    found = in_given(objects, size, conventions)
    if "masks" in found:
        rule = conventions.mask_paste
        found["masks"] = paste(found["masks"], found["boxes"], size, method=rule, most=most)
    if "keypoints" in found:
        columns, rows, scores = found["keypoints"].unbind(dim=-1)
        found["keypoints"] = torch.stack([columns / x, rows / y, scores], dim=-1)
    return found
