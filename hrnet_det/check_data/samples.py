"""What a problem looks like: small images with the annotations concerned drawn on them."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFile
from pycocotools import mask as coco_mask

from hrnet_det.data import coco_values as values
from hrnet_det.data.images import DAMAGE, bits_of, load, open_image, problem_of
from hrnet_det.data.mask_shapes import encoded, mask_box
from hrnet_det.data.pixels import deep_pixels, measured, scaled
from hrnet_det.drawing.canvas import Canvas

SIDE = 400  # pixels of a sample's longer side
LINE, TEXT = 2, 15  # pixels of a sample: lines and text
LEAST_CROP = 96  # pixels of an image that a sample shows, unless the image is smaller
DRAWN = 8  # annotations of an image at most
OUTSIDE = (205, 205, 205)  # the colour of what lies beside an image
MARK, OTHER, MASK, POINT = (230, 25, 75), (245, 130, 49), (255, 225, 25), (70, 240, 240)

Area = tuple[int, int, int, int]  # left, top, right, bottom in an image's pixels; may lie outside


@dataclass(frozen=True)
class Sample:
    """A drawn image, and what is written under it."""

    jpeg: bytes
    size: tuple[int, int]  # width and height
    caption: str

    @property
    def address(self) -> str:
        """The image itself as an address, for a page without other files."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.jpeg).decode()}"


def draw_sample(
    path: str, row: Mapping, annotations: Sequence[Mapping], beside: tuple[str, str] | None = None
) -> Sample:
    """An image with what is wrong in it.

    Without annotations it is shown as a whole, with a frame of the size that the json gives where
    that is another one, and next to the image `beside`. With annotations it is cut to what is
    around the first of them, which is red and the others orange; what lies outside the image is
    drawn on grey.

    Args:
        path: the image's file. row: what the json says of it.
        beside: the file of another image, and what to call it.
    """
    page, problem = read_sample(path)
    extents = [_extent(mark) for mark in annotations[:1]]
    extents = [extent for extent in extents if extent is not None]
    width, height = page.size
    said = (row.get("width"), row.get("height"))
    frame = None
    if not annotations and not problem and said != page.size and all(map(values.is_side, said)):
        frame, extents = (0, 0, *said), [(0, 0, *said), (0, 0, width, height)]
    area = _area(extents, page.size, whole=not annotations)
    scale = SIDE / max(area[2] - area[0], area[3] - area[1])
    canvas = Canvas(np.asarray(_cut(page, area)), scale, line=LINE, text=TEXT)
    shown = [mark for mark in annotations if _is_inside(_extent(mark), area)][:DRAWN]
    for mark in shown:
        _draw_mask(canvas, mark, area, scale)
    for mark in shown[1:]:
        canvas.box(_moved(_box(mark) or _extent(mark), area), OTHER)
    for mark in shown[:1]:
        box = _moved(_box(mark) or _extent(mark), area)
        canvas.box(box, MARK)
        canvas.points([_moved(point, area) for point in _points(mark)], POINT)
        canvas.label(f"id {mark.get('id')}", box, MARK)
    if frame:
        canvas.box(_moved(frame, area), MARK)
        canvas.label(f"the json's size, {said[0]} x {said[1]}", _moved(frame, area), MARK)
    drawn = Image.fromarray(canvas.pixels())
    if beside is not None:
        drawn = _side_by_side(drawn, read_sample(beside[0])[0])
    buffer = io.BytesIO()
    drawn.save(buffer, "jpeg", quality=85, subsampling=0)  # thin lines keep their colours
    caption = _caption(row, annotations, problem)
    if beside is not None:
        caption += f"\nbeside {beside[1]}, {Path(beside[0]).name}"
    return Sample(buffer.getvalue(), drawn.size, caption)


def read_sample(path: str | Path) -> tuple[Image.Image, str]:
    """An image in RGB as far as it can be decoded, and what is wrong with it: "" if nothing.

    Of an image of more than 8 bits its own percentiles are black and white.
    """
    tolerant, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
    try:
        with open_image(path) as image:
            if bits_of(image) > 8:
                pixels = deep_pixels(image, str(path))
                return Image.fromarray(scaled(pixels, *measured(pixels))).convert("RGB"), ""
            load(image)
            return image.convert("RGB"), ""
    except DAMAGE as error:
        blank = Image.new("RGB", (240, 120), OUTSIDE)
        ImageDraw.Draw(blank).line((0, 0, 240, 120), fill=MARK)
        return blank, f"the file {problem_of(error)}"
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = tolerant


def _caption(row: Mapping, marks: Sequence[Mapping], problem: str) -> str:
    """File and ids, and the values of the first annotation."""
    lines = [f"image {row.get('id')}, {row.get('file_name')}"]
    if problem:
        lines.append(problem)
    if marks:
        box = marks[0].get("bbox")
        if values.are_numbers(box):
            box = f"[{', '.join(f'{value:.6g}' for value in box)}]"
        more = f"; {len(marks) - 1} more in this image" if len(marks) > 1 else ""
        lines.append(f"annotation {marks[0].get('id')}: bbox {box}{more}")
    return "\n".join(lines)


def _area(extents: Sequence[Sequence[float]], size: tuple[int, int], *, whole: bool) -> Area:
    """The pixels to show: what is around the extents, at most an image's size beside the image."""
    width, height = size
    if not extents:
        return 0, 0, width, height
    low = np.min(extents, axis=0)[:2]
    high = np.max(extents, axis=0)[2:]
    if whole:
        low, high = np.minimum(low, 0), np.maximum(high, size)
    around = np.maximum((high - low).max() * 0.25, 2)
    middle, reach = (low + high) / 2, (high - low) / 2 + around
    least = min(LEAST_CROP, *size) / 2
    reach = np.maximum(reach, max(least, 0.75 * reach.max()))
    # On an image where there is room, and no further than its own size from it.
    limits = np.array(size)
    first = np.clip(np.floor(middle - reach), -limits, 2 * limits - 1)
    last = np.clip(np.ceil(middle + reach), first + 1, 2 * limits)
    return (*first.astype(int).tolist(), *last.astype(int).tolist())


def _cut(page: Image.Image, area: Area) -> Image.Image:
    """A part of an image, grey where there is no image, with a line around the image."""
    cut = Image.new("RGB", (area[2] - area[0], area[3] - area[1]), OUTSIDE)
    cut.paste(page, (-area[0], -area[1]))
    return cut


def _moved(box: Sequence[float], area: Area) -> list[float]:
    return (np.asarray(box, dtype=float) - np.resize(area[:2], len(box))).tolist()


def _is_inside(extent: Sequence[float] | None, area: Area) -> bool:
    """Whether some of it is."""
    if extent is None:
        return False
    return all(extent[k] < area[k + 2] and extent[k + 2] > area[k] for k in (0, 1))


def _draw_mask(canvas: Canvas, mark: Mapping, area: Area, scale: float) -> None:
    mask = _mask(mark.get("segmentation"), area, scale)
    if mask is not None:
        canvas.mask(mask, MASK)


def _box(mark: Mapping) -> list[float] | None:
    """x0, y0, x1, y1, as a box [x, y, width, height] is read; None if it is none."""
    box = mark.get("bbox")
    if not values.are_numbers(box) or len(box) != 4:
        return None
    x, y, width, height = box
    return [x, y, x + width, y + height]


def _points(mark: Mapping) -> list[tuple[float, float]]:
    """The visible keypoints."""
    points = mark.get("keypoints")
    if not points or not values.are_keypoints(points):
        return []
    return [(x, y) for x, y, seen in zip(*[iter(points)] * 3, strict=True) if seen > 0]


def _outlines(segmentation: object) -> Iterator[list[tuple[float, float]]]:
    """The corners of polygons, one flat list of numbers being one."""
    if not isinstance(segmentation, list):
        return
    polygons = [segmentation] if values.are_numbers(segmentation) else segmentation
    for polygon in polygons:
        if values.are_numbers(polygon) and len(polygon) >= 4:
            yield list(zip(polygon[::2], polygon[1::2], strict=False))


def _extent(mark: Mapping) -> tuple[float, float, float, float] | None:
    """x0, y0, x1, y1 around all that an annotation has; None if nothing can be understood."""
    points = [point for outline in _outlines(mark.get("segmentation")) for point in outline]
    if isinstance(mark.get("segmentation"), dict):
        x, y, width, height = mask_box(mark["segmentation"]) or (0, 0, 0, 0)
        points += [(x, y), (x + width, y + height)] if width else []
    points += _points(mark)
    if (box := _box(mark)) is not None:
        points += [(box[0], box[1]), (box[2], box[3])]
    if not points:
        return None
    low, high = np.min(points, axis=0).tolist(), np.max(points, axis=0).tolist()
    return (*low, *high)


def _mask(segmentation: object, area: Area, scale: float) -> np.ndarray | None:
    """A mask of an area, (H, W) bool, polygons as fine as they are drawn; None if there is none."""
    width, height = area[2] - area[0], area[3] - area[1]
    if isinstance(segmentation, dict):
        runs = segmentation
        if not values.is_segmentation(runs) or not values.covers(runs, *runs["size"]):
            return None
        page = Image.new("1", (width, height))
        pixels = coco_mask.decode(encoded(runs)).astype(bool)
        page.paste(Image.fromarray(pixels), (-area[0], -area[1]))
        return np.asarray(page)
    page = Image.new("1", (round(width * scale), round(height * scale)))
    draw, outlines = ImageDraw.Draw(page), list(_outlines(segmentation))
    for outline in outlines:
        corners = np.subtract(outline, area[:2]) * scale
        draw.polygon([tuple(corner) for corner in corners.tolist()], fill=1, outline=1)
    return np.asarray(page) if outlines else None


def _side_by_side(left: Image.Image, right: Image.Image) -> Image.Image:
    """Two images of one height on white."""
    right = right.resize((max(1, round(right.width * left.height / right.height)), left.height))
    page = Image.new("RGB", (left.width + right.width + 8, left.height), "white")
    page.paste(left, (0, 0))
    page.paste(right, (left.width + 8, 0))
    return page
