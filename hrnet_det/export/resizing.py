"""Images resized within a graph as Pillow and OpenCV resize them, level by level.

All numbers are whole, and so small that single precision holds them exactly: every engine finds the
same, whichever order it adds them in. Source: Pillow's Resample.c, OpenCV's resize.cpp.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Resize = Callable[[Tensor, tuple[Tensor, Tensor]], Tensor]

BLOCK = 32  # pixels that are computed together from a part of the image
BITS = 22  # of Pillow's weights
HALF = 2**11  # what Pillow's weights are split by, and OpenCV's are parts of
DIGIT = 16  # by which a remainder is multiplied in a long division


def pillow(image: Tensor, new: tuple[Tensor, Tensor]) -> Tensor:
    """(H, W, C) uint8 as (h, w, C) float32 of whole levels, as PIL's bilinear resize makes it.

    This is Pillow up to 12, which always begins with the width; `pillow_13` is the other one.
    """
    return _by_axes(image, new, _pillow_axis, _pillow_axis)


def pillow_13(image: Tensor, new: tuple[Tensor, Tensor]) -> Tensor:
    """The same of Pillow 13, of which levels differ by 1 here and there: it begins with the height
    where that loses more than twice the pixels of the width.
    """
    (height, width), (new_height, new_width) = sides_of(image), new
    swaps = (height > new_height) & (height - new_height > 2 * (width - new_width))
    return _by_either_axis(image, new, swaps)


def installed_pillow() -> Resize:
    """The one that resizes as the Pillow that is installed."""
    image = torch.arange(40 * 40 * 3).square().remainder(256).to(torch.uint8).reshape(40, 40, 3)
    found = np.asarray(Image.fromarray(image.numpy()).resize((39, 11), Image.BILINEAR))
    by_width = pillow(image, (torch.tensor(11), torch.tensor(39)))
    return pillow if np.array_equal(by_width.numpy(), found) else pillow_13


def opencv(image: Tensor, new: tuple[Tensor, Tensor]) -> Tensor:
    """(H, W, C) uint8 as (h, w, C) float32 of whole levels, as cv2.resize makes it."""
    return _by_axes(image, new, _opencv_width, _opencv_height)


def opencv_float(image: Tensor, new: tuple[Tensor, Tensor]) -> Tensor:
    """The same of float32 levels, which are not rounded."""
    return _by_axes(image, new, _float_axis, _float_axis)


def _by_axes(
    image: Tensor, new: tuple[Tensor, Tensor], of_width: Resize, of_height: Resize
) -> Tensor:
    """First the width, then the height; each function resizes the rows of a matrix."""
    (height, width), channels = sides_of(image), image.shape[2]
    x = of_width(image.permute(1, 0, 2).flatten(1), (width, new[1]))
    x = _with_channels(x, (new[1], height), channels).permute(1, 0, 2).flatten(1)
    return _with_channels(of_height(x, (height, new[0])), new, channels)


def _with_channels(x: Tensor, sides: tuple[Tensor, Tensor], channels: int) -> Tensor:
    """(*sides, channels) of a matrix.

    ONNX takes the sizes of unflatten for constants; torch.export cannot compare those of reshape.
    """
    if torch.jit.is_tracing():
        return x.reshape(*sides, channels)
    return x.unflatten(1, (-1, channels))


def _by_either_axis(image: Tensor, new: tuple[Tensor, Tensor], swaps: Tensor) -> Tensor:
    """`_by_axes` of Pillow's functions; first the height where `swaps`, a tensor (), is true."""
    (height, width), channels, one = sides_of(image), image.shape[2], torch.ones_like(new[0])
    swap = swaps.long()
    first, second = _swapped(width, height, swap)
    new_first, new_second = _swapped(new[1], new[0], swap)
    x = image.flatten(0, 1)[_grid((first, second), _swapped(one, width, swap))]
    x = _pillow_axis(x.flatten(1), (first, new_first))
    x = _with_channels(x, (new_first, second), channels).permute(1, 0, 2).flatten(1)
    x = _pillow_axis(x, (second, new_second))
    x = _with_channels(x, (new_second, new_first), channels).flatten(0, 1)
    return x[_grid(new, _swapped(new_first, one, swap))]


def _grid(sides: tuple[Tensor, Tensor], steps: tuple[Tensor, Tensor]) -> Tensor:
    """Numbers of pixels (sides), which grow by a step along either axis."""
    rows, columns = (torch.arange(n) * step for n, step in zip(sides, steps, strict=True))
    return rows[:, None] + columns


def _swapped(x: Tensor, y: Tensor, swap: Tensor) -> tuple[Tensor, Tensor]:
    """The two numbers, or the other way round where swap is 1."""
    return x + (y - x) * swap, y + (x - y) * swap


def sides_of(image: Tensor) -> tuple[Tensor, Tensor]:
    """Height and width of (H, W, C), as tensors () of integers."""
    height, width = image.shape[:2]
    return torch.as_tensor(height), torch.as_tensor(width)


def _pillow_axis(x: Tensor, sides: tuple[Tensor, Tensor]) -> Tensor:
    """Rows (old, M) of whole levels as (new, M): weighted sums, rounded and cut as 8 bits."""
    cells, weights = pillow_weights(*sides)
    upper = (weights / HALF + 0.5).floor()
    lower = weights - upper * HALF
    sums = torch.cat([upper, lower], dim=1) @ x[cells].float()  # (blocks, 2 * BLOCK, M)
    upper, lower = sums[:, :BLOCK] + HALF // 2, sums[:, BLOCK:]
    whole = (upper / HALF).floor()
    rest = (upper - whole * HALF) * HALF + lower
    levels = (whole + (rest / 2**BITS).floor()).clamp(0, 255)
    return levels.flatten(0, 1)[: sides[1]]


def pillow_weights(old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    """Pillow's weights of an axis, in blocks of BLOCK pixels, each of which reads a part of it.

    A pixel is the mean of those within a triangle around its place, which is as wide on either side
    as a pixel of the smaller axis. Its weights are whole numbers over their sum, of which a long
    division makes BITS bits.

    Output: cells (blocks, window) that are read; weights (blocks, BLOCK, window), whole numbers.
    """
    reach = ceil_div(torch.maximum(old, new), new)
    window = floor_div((BLOCK - 1) * old, new) + 2 * reach + 5
    middle = (2 * BLOCK * torch.arange(ceil_div(new, BLOCK)) + 1) * old  # of a block's first pixel
    first = (floor_div(middle, 2 * new) - reach - 1).clamp(min=0)
    j, i = torch.arange(window), torch.arange(BLOCK)[:, None]
    cells = first[:, None] + j
    apart = ((2 * first + 1) * new - middle)[:, None, None] + 2 * j * new - 2 * i * old
    share = (2 * torch.maximum(old, new) - apart.abs()).clamp(min=0).float()
    share = share * (cells < old).unsqueeze(1)
    weights = _long_division(share, share.sum(dim=-1, keepdim=True).clamp(min=1))
    return torch.minimum(cells, old - 1), weights


def _long_division(x: Tensor, by: Tensor) -> Tensor:
    """round(2**BITS * x / by) of whole numbers x <= by."""
    quotient, left = torch.zeros_like(x), x
    for digit in (DIGIT, DIGIT, DIGIT, DIGIT, DIGIT, 2**BITS // DIGIT**5):
        left = left * digit
        whole = (left / by).floor()
        quotient, left = quotient * digit + whole, left - whole * by
    return quotient + (2 * left >= by)


def _places(old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    """The cell before each new pixel's middle (new, 1), also beyond the axis; how far after it."""
    at = (2 * torch.arange(new)[:, None] + 1) * old + new  # from the middle of a cell before all
    cell = floor_div(at, 2 * new)
    return cell - 1, (at - cell * 2 * new).float() / (2 * new).float()


def _rounded_places(old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    """The same with the place rounded to single precision, as OpenCV does for images of 8 bits."""
    at = (2 * torch.arange(new)[:, None] + 1) * old - new
    at = at.float() / (2 * new).float()
    return at.floor().long(), at - at.floor()


def _kept(cell: Tensor, after: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
    """The same where a pixel beyond the first or last cell is that cell."""
    within = (cell >= 0) & (cell < old - 1)
    return torch.minimum(cell.clamp(min=0), old - 1), after * within


def _two_rows(x: Tensor, cell: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
    """Of (old, M) the rows (new, M) of each cell and the one after it, as float32."""
    cells = torch.minimum(torch.cat([cell, cell + 1], dim=1).clamp(min=0), old - 1)
    return tuple(x.index_select(0, rows).float() for rows in cells.unbind(dim=1))


def _float_axis(x: Tensor, sides: tuple[Tensor, Tensor]) -> Tensor:
    cell, after = _kept(*_places(*sides), sides[0])
    low, high = _two_rows(x, cell, sides[0])
    return low * (1 - after) + high * after


def _opencv_width(x: Tensor, sides: tuple[Tensor, Tensor]) -> Tensor:
    """Sums of HALF times the levels, with weights that are whole numbers."""
    cell, after = _kept(*_rounded_places(*sides), sides[0])
    low, high = _two_rows(x, cell, sides[0])
    return low * ((1 - after) * HALF).round() + high * (after * HALF).round()


def _opencv_height(x: Tensor, sides: tuple[Tensor, Tensor]) -> Tensor:
    """Levels from `_opencv_width`'s sums, which OpenCV rounds in these steps."""
    cell, after = _rounded_places(*sides)
    x = (x / 16).floor()
    low, high = _two_rows(x, cell, sides[0])
    low = _share_of(low, ((1 - after) * HALF).round())
    high = _share_of(high, (after * HALF).round())
    return ((low + high + 2) / 4).floor().clamp(0, 255)


def _share_of(x: Tensor, weight: Tensor) -> Tensor:
    """floor(x * weight / 2**16) of whole numbers, x < 2**15 and weight <= 2**11, in 24 bits."""
    upper = (x / 256).floor()
    lower = x - upper * 256
    return ((upper * weight + (lower * weight / 256).floor()) / 256).floor()


def floor_div(x: Tensor, by: Tensor | int) -> Tensor:
    """floor(x / by) of whole numbers, also where an engine divides them in single precision."""
    quotient = x.div(by, rounding_mode="trunc")
    left = x - quotient * by
    return quotient - (left < 0).to(x.dtype) + (left >= by).to(x.dtype)


def ceil_div(x: Tensor, by: Tensor | int) -> Tensor:
    """ceil(x / by), likewise."""
    return floor_div(x + (by - 1), by)
