"""Masks and keypoints from the maps of their boxes, by products of matrices alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

Number = int | Tensor  # an integer; in tracing a tensor () of one

MASKS = 8  # pasted at once: each takes 4 bytes for a pixel of the image before it is bool
HEATMAPS = 5  # objects whose keypoints are located at once


def paste(
    probabilities: Tensor,
    boxes: Tensor,
    size: tuple[Number, Number],
    *,
    method: str = "grid",
    threshold: float = 0.5,
    most: int = 0,
) -> Tensor:
    """Masks in the image from masks in their boxes, as `compat.masks.paste_masks`.

    Each row and column of an image reads at most two of a mask, so that the mask is multiplied by a
    matrix of weights from either side.

    Args:
        probabilities: (K, M, M), of the cells of each box's grid.
        boxes: (K, 4), half-open, in the image's pixels, whose height and width is size.
        method: `Conventions.mask_paste`: "grid", "box" or "padded_box".
        threshold: of the probability of a pixel, that belongs to the mask at it and above; with
            other methods than "grid" only above.
        most: of K; 0 if that is not known. They are pasted MASKS at once.
    Output: (K, height, width) bool.
    """
    if method == "padded_box":
        boxes, probabilities = _with_border(boxes, probabilities)
    cells = probabilities.shape[-1]
    x = _positions(boxes[:, 0::2], size[1], cells, method)
    y = _positions(boxes[:, 1::2], size[0], cells, method)
    parts = []
    for of_part in _slices(most, MASKS):
        rows, columns = weights(y[of_part], cells), weights(x[of_part], cells).transpose(1, 2)
        pixels = rows @ (probabilities[of_part] @ columns)
        parts.append(pixels >= threshold if method == "grid" else pixels > threshold)
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _slices(most: int, step: int) -> Iterator[slice]:
    """All of at most so many, in parts; all at once where the number is not known."""
    if most <= 0:
        yield slice(None)
    for first in range(0, most, step):
        yield slice(first, first + step)


def _positions(ends: Tensor, side: Number, cells: int, method: str) -> Tensor:
    """Where pixels lie in boxes, in cells: 0 is the first cell's middle; far off is outside.

    Args:
        ends: (K, 2), first and last of each box along this axis, half-open.
    Output: (K, side).
    """
    pixels = torch.arange(side, dtype=torch.float32, device=ends.device) + 0.5
    first, last = ends[:, :1], ends[:, 1:]
    if method == "grid":  # the operations in the order of Detectron2's and grid_sample's
        at = (pixels - first) / (last - first) * 2 - 1
        return ((at + 1) * cells - 1) / 2
    first, last = first.trunc(), (last - 1).trunc()  # the closed box's whole pixels
    count = (last - first + 1).clamp(min=1)
    at = ((pixels - first) * (cells / count) - 0.5).clamp(0, cells - 1)
    inside = (pixels > first) & (pixels < first + count)
    return torch.where(inside, at, torch.full_like(at, -2))


def weights(at: Tensor, cells: int) -> Tensor:
    """Linear interpolation at positions (K, P) between cells, and 0 beyond: (K, P, cells)."""
    cell = torch.arange(cells, dtype=at.dtype, device=at.device)
    return (1 - (at.unsqueeze(-1) - cell).abs()).clamp(min=0)


def _with_border(boxes: Tensor, probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Masks with a border of one cell of zeros, and closed boxes enlarged by it, half-open."""
    cells = probabilities.shape[-1]
    closed = boxes - boxes.new_tensor([0, 0, 1, 1])
    middle = (closed[:, 2:] + closed[:, :2]) / 2
    reach = (closed[:, 2:] - closed[:, :2]) / 2 * ((cells + 2) / cells)
    end = middle + reach
    return torch.cat([middle - reach, end + 1], dim=1), F.pad(probabilities, (1, 1, 1, 1))


def keypoints_of(maps: Tensor, boxes: Tensor, *, most: int = 0) -> Tensor:
    """Detectron2's heatmaps_to_keypoints: the highest place of each map, brought to its box's size.

    Args:
        maps: (K, J, S, S), logits.
        boxes: (K, 4) in pixels.
        most: of K; 0 if that is not known. HEATMAPS are computed at once.
    Output: (K, J, 4): x, y in pixels, logit and probability of the place.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    pixels = sides.ceil()
    largest = torch.cat([pixels, pixels.new_ones(1, 2)])
    columns, rows = (_cubic(pixels[:, i], largest[:, i].max(), maps.shape[-1]) for i in (0, 1))
    padded = F.pad(maps, (2, 2, 2, 2), mode="replicate")
    found = []
    for part in _slices(most, HEATMAPS):
        ends = torch.cat([pixels[part], pixels.new_ones(1, 2)]).amax(dim=0).to(torch.int64)
        found.append(_highest(padded[part], columns[part, :, : ends[0]], rows[part, :, : ends[1]]))
    at, logit = (torch.cat(each) for each in zip(*found, strict=True))
    at = torch.minimum(at, pixels[:, None] - 1)
    place = (at + 0.5) * (sides / pixels)[:, None] + boxes[:, None, :2]
    logit = logit.unsqueeze(-1)
    cells = (maps - logit.unsqueeze(-1)).exp().sum(dim=(-2, -1))
    return torch.cat([place, logit, 1 / cells.unsqueeze(-1)], dim=-1)


def _highest(maps: Tensor, columns: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The highest pixel (K, J, 2) of maps (K, J, S, S) brought to a size, and its value (K, J)."""
    values = rows.transpose(1, 2).unsqueeze(1) @ (maps @ columns.unsqueeze(1))
    of_rows, x = values.max(dim=-1)  # (K, J, height)
    best, y = of_rows.max(dim=-1)
    x = x.gather(-1, y.unsqueeze(-1)).squeeze(-1)
    return torch.stack([x, y], dim=-1).to(maps.dtype), best


def _cubic(sides: Tensor, largest: Tensor, cells: int) -> Tensor:
    """Weights of the cells, and of 2 more at either end, for each pixel of a box's side.

    Source: Keys' kernel with a = -0.75, as torch's bicubic interpolation.

    Args:
        sides: (K,) whole pixels; largest: of the sides; what lies beyond a side is its last pixel.
    Output: (K, cells + 4, largest).
    """
    pixel = torch.arange(largest, dtype=sides.dtype, device=sides.device)
    pixel = torch.minimum(pixel, sides[:, None] - 1) + 0.5
    at = (cells / sides)[:, None] * pixel - 0.5
    cell = torch.arange(-2, cells + 2, dtype=sides.dtype, device=sides.device)
    d = (at.unsqueeze(1) - cell[:, None]).abs()
    a = -0.75
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))
