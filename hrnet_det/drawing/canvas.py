"""What is drawn on an image: masks, boxes, points and labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from hrnet_det.data.coco_values import on_one_line

Colour = tuple[int, int, int]  # red, green, blue in 0..255
# Twenty colours that are easy to tell apart, without black and white, which images are full of.
_RGB = bytes.fromhex(
    "e6194b 3cb44b ffe119 4363d8 f58231 911eb4 46f0f0 f032e6 bcf60c fabebe "
    "008080 e6beff 9a6324 fffac8 800000 aaffc3 808000 ffd8b1 000075 808080"
)
PALETTE: tuple[Colour, ...] = tuple(zip(_RGB[::3], _RGB[1::3], _RGB[2::3], strict=True))
MASK_ALPHA = 0.45
LONGEST = 1000  # characters of a label; no image has room for more
# Pillow's own font has ASCII alone; this one has the letters of Europe as well.
FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


def font(size: int) -> ImageFont.FreeTypeFont:
    """The font of labels and captions, `size` pixels high."""
    return ImageFont.truetype(FONT, size)


class Canvas:
    """A copy of an image, (H, W, 3) uint8 RGB, that is drawn on, in the image's pixels.

    It has `scale` pixels for a pixel of the image. `line` and `text` are the width of lines and the
    height of text in pixels; by default those that suit the size.
    """

    def __init__(
        self,
        image: np.ndarray,
        scale: float = 1,
        *,
        line: int | None = None,
        text: int | None = None,
    ) -> None:
        height, width = image.shape[:2]
        self._scale = scale
        self._size = max(1, round(width * scale)), max(1, round(height * scale))
        way = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
        self._page = Image.fromarray(image).resize(self._size, way)
        self._draw = ImageDraw.Draw(self._page)
        self._line = line or max(1, round(max(self._size) / 400))
        self._font = font(text or max(11, round(max(self._size) / 70)))
        self._labels: list[tuple[float, float, float, float]] = []

    def pixels(self) -> np.ndarray:
        """The image with what has been drawn on it: (H * scale, W * scale, 3) uint8, RGB."""
        return np.array(self._page)

    def mask(
        self, mask: np.ndarray, colour: Colour, alpha: float = MASK_ALPHA, *, outline: bool = True
    ) -> None:
        """Blend a share `alpha` of a colour into a mask, (H, W) bool; all of it at its outline."""
        whole = Image.fromarray(mask.astype(np.uint8) * 255)
        whole = whole.resize(self._size, Image.Resampling.NEAREST)
        box = whole.getbbox()
        if box is None:
            return
        left, top = box[0] - 1, box[1] - 1  # a free pixel on each side, for the outline
        part = whole.crop((left, top, box[2] + 1, box[3] + 1))
        self._page.paste(colour, (left, top), part.point(lambda inside: round(inside * alpha)))
        if outline:
            edge = ImageChops.subtract(part, part.filter(ImageFilter.MinFilter(3)))
            self._page.paste(colour, (left, top), edge)

    def box(self, box: Sequence[float], colour: Colour) -> None:
        """Draw the lines of a box, x0 y0 x1 y1, inside it."""
        left, top, right, bottom = self._scaled(box)
        corners = (left, top, max(left, right - 1), max(top, bottom - 1))
        self._draw.rectangle(corners, outline=colour, width=self._line)

    def points(self, points: Iterable[Sequence[float]], colour: Colour) -> None:
        """Draw a disc with a black rim at each point, x y."""
        radius = self._line + 2
        for x, y in map(self._scaled, points):
            disc = (x - radius, y - radius, x + radius, y + radius)
            self._draw.ellipse(disc, fill=colour, outline="black")

    def label(self, text: object, box: Sequence[float], colour: Colour) -> None:
        """Write text on a ground of a colour at a box, where it covers no earlier label.

        Above the box, inside it at its top, below it, or inside at its bottom, from the box's left
        side or else from its right. Without a free place there is no label. Any text is taken, as
        names of classes come from weights and from users' code: control characters are spaces.
        """
        text = on_one_line(str(text)[:LONGEST])
        left, top, right, bottom = self._scaled(box)
        width, height = self._font.getlength(text) + 4, self._font.size + 3
        lefts = [min(max(x, 0), self._size[0] - width) for x in (left, right - width)]
        tops = (top - height, top, bottom, bottom - height)
        places = ((x, y, x + width, y + height) for x in lefts for y in tops)
        place = next(filter(self._is_free, places), None)
        if place is None:
            return
        self._labels.append(place)
        self._draw.rectangle(place, fill=colour)
        ink = "black" if np.dot(colour, (0.299, 0.587, 0.114)) > 120 else "white"  # ITU-R BT.601
        middle = (place[0] + 2, place[1] + height / 2)
        self._draw.text(middle, text, fill=ink, font=self._font, anchor="lm")

    def _is_free(self, place: tuple[float, float, float, float]) -> bool:
        """Whether a label fits there: on the image, and clear of the others."""
        left, top, right, bottom = place
        inside = left >= 0 and top >= 0 and right <= self._size[0] and bottom <= self._size[1]
        return inside and not any(
            left < right2 and left2 < right and top < bottom2 and top2 < bottom
            for left2, top2, right2, bottom2 in self._labels
        )

    def _scaled(self, numbers: Sequence[float]) -> list[float]:
        return np.multiply(numbers, self._scale).tolist()
