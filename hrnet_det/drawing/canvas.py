"""What is drawn on an image: masks, boxes, points and labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from hrnet_det.data.coco_values import on_one_line
from hrnet_det.drawing.colours import Colour, ink_on
from hrnet_det.drawing.fonts import font_for, shortened
from hrnet_det.drawing.labels import Places
from hrnet_det.drawing.masks import Part, array_part

MASK_ALPHA = 0.45  # the share of a colour in what is under one mask
MOST_MASKS = 255  # over a pixel that are counted
LONGEST = 1000  # characters of a label; no image has room for more
SMALLEST_TEXT = 11  # pixels
LEGEND_ALPHA = 0.7  # of the legend's black ground
DASH = 3  # widths of a line that a dash is long


class Canvas:
    """A copy of an image, (H, W, 3) uint8 RGB, that is drawn on, in the image's pixels.

    It has `scale` pixels for a pixel of the image. `line` and `text` are the width of lines and the
    height of text in pixels; by default those that suit the size, and lines are thinner on small
    objects.
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
        self.scale = scale
        self.size = max(1, round(width * scale)), max(1, round(height * scale))  # width, height
        self._shape = height, width
        way = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
        self._page = Image.fromarray(image)
        self._page = (
            self._page.copy() if scale == 1 else self._page.resize(self.size, way, reducing_gap=3.0)
        )
        self._draw = ImageDraw.Draw(self._page)
        self._line, self._given_line = line or line_width(self.size), line is not None
        self.text = text or text_height(self.size)
        self._places = Places(self.size)
        self._masks: np.ndarray | None = None  # how many are over each pixel

    def pixels(self) -> np.ndarray:
        """The image with what has been drawn on it: (H * scale, W * scale, 3) uint8, RGB."""
        return np.array(self._page)

    def mask(
        self,
        mask: np.ndarray | Part,
        colour: Colour,
        alpha: float = MASK_ALPHA,
        *,
        outline: bool = True,
    ) -> None:
        """Blend a share `alpha` of a colour into a mask, (H, W) bool; all of it at its outline.

        Where masks are drawn over each other, each has the same share, whatever their order.
        """
        part = self._scaled_part(mask)
        if not part.inside.size:
            return
        if self._masks is None:
            self._masks = np.zeros(self.size[::-1], np.uint8)
        left, top, right, bottom = part.box
        below = self._masks[top:bottom, left:right]
        shares = alpha / (1 + alpha * np.arange(MOST_MASKS + 1))
        blended = np.round(255 * shares).astype(np.uint8)[below] * part.inside
        below += part.inside & (below < MOST_MASKS)
        self._page.paste(colour, (left, top), Image.fromarray(blended))
        if outline:
            self._paste(_edge(part.inside, 1), colour, part)

    def outline(self, mask: np.ndarray | Part, colour: Colour, gaps: Colour | None = None) -> None:
        """Draw the border of a mask inside it; with `gaps` as dashes with this colour between."""
        part = self._scaled_part(mask)
        if not part.inside.size:
            return
        width = self._width(part.box, dashes=gaps is not None)
        edge = _edge(part.inside, width)
        self._paste(edge, colour, part)
        if gaps is not None:
            self._paste(edge & _stripes(part, width), gaps, part)

    def tint(self, colours: np.ndarray, where: np.ndarray, alpha: float) -> None:
        """Blend a share `alpha` of a colour of each pixel, (H, W, 3) uint8, where it is True."""
        over = Image.fromarray(colours).resize(self.size, Image.Resampling.NEAREST)
        share = Image.fromarray(where.astype(np.uint8) * np.uint8(round(255 * alpha)))
        self._page.paste(over, (0, 0), share.resize(self.size, Image.Resampling.NEAREST))

    def box(self, box: Sequence[float], colour: Colour, gaps: Colour | None = None) -> None:
        """Draw the lines of a box, x0 y0 x1 y1, inside it; with `gaps` as dashes."""
        left, top, right, bottom = self.scaled(box)
        corners = (left, top, max(left, right - 1), max(top, bottom - 1))
        width = self._width(corners, dashes=gaps is not None)
        self._draw.rectangle(corners, outline=colour, width=width)
        if gaps is None:
            return
        left, top, right, bottom = (round(side) for side in corners)
        across, down = (right - left + 1, width), (width, bottom - top + 1)
        for x, y, (w, h) in (
            (left, top, across),
            (left, bottom - width + 1, across),
            (left, top, down),
            (right - width + 1, top, down),
        ):
            side = Part(x, y, np.ones((h, w), bool))
            self._paste(_stripes(side, width), gaps, side)

    def points(self, points: Iterable[Sequence[float]], colour: Colour) -> None:
        """Draw a disc with a black rim at each point, x y."""
        radius = self._line + 2
        for x, y in map(self.scaled, points):
            disc = (x - radius, y - radius, x + radius, y + radius)
            self._draw.ellipse(disc, fill=colour, outline="black")

    def avoid(self, boxes: Sequence[Sequence[float]]) -> None:
        """Let later labels and legends cover little of boxes, x0 y0 x1 y1."""
        self._places = Places(self.size, self.scaled(boxes))

    def label_size(self, text: object) -> tuple[float, float]:
        """Width and height of the ground of a label, pixels of the page."""
        text = on_one_line(str(text)[:LONGEST])
        return font_for(text, self.text).getlength(text) + 4, self.text + 3

    def label(self, text: object, box: Sequence[float], colour: Colour) -> None:
        """Write text on a ground of a colour at a box, where it covers no earlier label.

        At one of the box's sides (`Places.take`); a long text is cut to the page's width. Without a
        free place there is no label. Any text is taken, as names of classes come from weights and
        from users' code: control characters are spaces.
        """
        text = shortened(on_one_line(str(text)[:LONGEST]), self.size[0] - 4, self.text)
        width, height = self.label_size(text)
        place = self._places.take(width, height, self.scaled(box))
        if place is None:
            return
        self._draw.rectangle(place.tolist(), fill=colour)
        self._write(text, place[0] + 2, place[1] + height / 2, ink_on(colour))

    def legend(self, rows: Sequence[tuple[str, Colour | None]]) -> None:
        """Write rows of text, each beside its colour, in the corner with the fewest objects."""
        pad, step = round(self.text * 0.4), round(self.text * 1.35)
        mark = step if any(colour is not None for _, colour in rows) else 0
        room = self.size[0] - 2 * pad - mark
        texts = [shortened(on_one_line(text), room, self.text) for text, _ in rows]
        width = max(font_for(text, self.text).getlength(text) for text in texts) + 2 * pad + mark
        height = step * len(rows) + pad
        left, top = self._places.corner(width, height)
        ground = Image.new("L", (round(width), round(height)), round(255 * LEGEND_ALPHA))
        self._page.paste("black", (left, top), ground)
        for number, (text, (_, colour)) in enumerate(zip(texts, rows, strict=True)):
            middle = top + pad / 2 + step * (number + 0.5)
            if colour is not None:
                half = self.text * 0.4
                x = left + pad + half
                self._draw.rectangle((x - half, middle - half, x + half, middle + half), colour)
            self._write(text, left + pad + mark, middle, "white")

    def scaled(self, numbers: Sequence[float]) -> list:
        """Pixels of the image as pixels of the page."""
        return np.multiply(numbers, self.scale).tolist()

    def _write(self, text: str, left: float, middle: float, ink: str) -> None:
        letters = font_for(text, self.text)
        self._draw.text((left, middle), text, fill=ink, font=letters, anchor="lm")

    def _width(self, box: Sequence[float], *, dashes: bool) -> int:
        """Of the lines of an object with a box in pixels of the page; dashes need 2 to be seen."""
        side = min(box[2] - box[0], box[3] - box[1])
        width = self._line if self._given_line else max(1, min(self._line, round(side / 25)))
        return max(2, width) if dashes else width

    def _paste(self, where: np.ndarray, colour: Colour, part: Part) -> None:
        shares = Image.fromarray(where.astype(np.uint8) * np.uint8(255))
        self._page.paste(colour, (part.left, part.top), shares)

    def _scaled_part(self, mask: np.ndarray | Part) -> Part:
        """A mask in pixels of the page, of which each is that of the image under its middle."""
        part = mask if isinstance(mask, Part) else array_part(mask)
        if self.scale == 1 or not part.inside.size:
            return part
        (height, width), (wide, high) = self._shape, self.size
        rows = ((np.arange(high) + 0.5) * height / high).astype(int) - part.top
        columns = ((np.arange(wide) + 0.5) * width / wide).astype(int) - part.left
        rows_on, columns_on = (
            np.flatnonzero((places >= 0) & (places < side))
            for places, side in zip((rows, columns), part.inside.shape, strict=True)
        )
        if not len(rows_on) or not len(columns_on):
            return Part(0, 0, np.zeros((0, 0), bool))
        inside = part.inside[rows[rows_on]][:, columns[columns_on]]
        return Part(int(columns_on[0]), int(rows_on[0]), inside)


def line_width(size: tuple[int, int]) -> int:
    """Pixels of the lines on a page of a size, width and height."""
    return max(1, round((size[0] * size[1]) ** 0.5 / 400 + 0.5))


def text_height(size: tuple[int, int]) -> int:
    """Pixels of the text on a page of a size, width and height."""
    return max(SMALLEST_TEXT, round((size[0] * size[1]) ** 0.5 / 75))


def _edge(inside: np.ndarray, width: int) -> np.ndarray:
    """The pixels of a mask with others, or the end of the array, within `width` pixels."""
    core = np.pad(inside, width)
    for axis in (0, 1):
        shrunk = core.copy()
        for step in range(1, width + 1):
            shrunk &= np.roll(core, step, axis) & np.roll(core, -step, axis)
        core = shrunk
    return inside & ~core[width:-width, width:-width]


def _stripes(part: Part, width: int) -> np.ndarray:
    """Slanting stripes over a part of a page, which cut its lines into dashes."""
    height, across = part.inside.shape
    down = np.arange(part.top, part.top + height)[:, None]
    along = np.arange(part.left, part.left + across)
    return (down + along) // (DASH * width) % 2 == 1
