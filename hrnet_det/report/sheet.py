"""A sheet of images of a dataset: ground truth beside prediction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.catalog import Metadata
from detectron2.evaluation.evaluator import inference_context
from PIL import Image, ImageDraw
from torch import nn

from hrnet_det.data.coco_values import on_one_line
from hrnet_det.data.mapper import reader_of
from hrnet_det.drawing.annotate import annotate, name_of
from hrnet_det.drawing.fonts import font_for, shortened
from hrnet_det.report.agreement import SAME_IOU, agreement
from hrnet_det.report.image_views import View, ground_truth, prediction

IMAGES = 8
AREA = 440 * 440  # pixels of a drawn image, about
WIDEST, HIGHEST = 1900, 1200  # pixels of one at most
STACKED = 2.5  # times as wide as high: ground truth above prediction
SHEET = 2400  # pixels: the width of a sheet, unless a pair is wider
GAP = 8  # pixels between images
LINE = 18  # pixels: the height of a line of text
TEXT = 13  # pixels: of the letters
LEAST = 220  # pixels: the width of captions at least
TRUE_FILL, FOUND_FILL = 0.0, 0.3  # of the colours of masks
CLASSES = 4  # that a caption names
LEGEND = (
    "An object and the prediction that finds it have the same colour.",
    "Black and white dashes: on the left objects that are missed, on the right predictions that "
    f"find nothing (of the same class, at an IoU of {SAME_IOU} at least).",
)


def draw_predictions(
    dataset: str, model: nn.Module, mapper: Callable[[dict], dict], path: Path
) -> None:
    """Ground truth beside prediction of images spread over a dataset, each of about AREA."""
    rows, metadata = DatasetCatalog.get(dataset), MetadataCatalog.get(dataset)
    count = min(IMAGES, len(rows))
    pairs, have_objects = [], False
    for i in range(count):
        row = rows[i * len(rows) // count]
        image = reader_of(mapper)(row["file_name"], "RGB")
        truth = ground_truth(row, image.shape[:2], metadata)
        with inference_context(model), torch.no_grad():
            found, shown = prediction(model([mapper(row)])[0])
        have_objects |= truth[0] is not None and found[0] is not None
        pairs.append(_pair(image, truth, found, metadata, Path(row["file_name"]).name, shown))
    sheet = in_flow(pairs, SHEET)
    if have_objects:
        sheet = _under(LEGEND, sheet)
    sheet.save(path)


def _pair(
    image: np.ndarray, truth: View, found: View, metadata: Metadata, name: str, shown: str
) -> Image.Image:
    """Ground truth and prediction, beside each other or, of a wide image, below each other."""
    both, scale = agreement(truth, found, image), scale_of(image.shape[:2])
    true, said = [f"ground truth, {name}"], [f"prediction, {shown}"]
    if truth[0] is not None:
        missed = f"{both.missed} missed; " if both.missed else ""
        true.append(missed + _counts(truth, metadata))
    if truth[0] is not None and found[0] is not None:
        said.append(f"{both.right} right, {both.wrong} wrong")
    tiles = [
        tile(image, both.truth, metadata, true, scale=scale, fill=TRUE_FILL),
        tile(image, both.found, metadata, said, scale=scale),
    ]
    wide = image.shape[1] > STACKED * image.shape[0]
    return in_rows(tiles, columns=1 if wide else 2)


def _counts(truth: View, metadata: Metadata) -> str:
    """How many objects of each class there are, such as "3 dog, 1 cat"."""
    names = metadata.get("thing_classes", ())
    counts = Counter(truth[0].gt_classes.tolist() if truth[0].has("gt_classes") else ())
    parts = [f"{n} {name_of(names, k)}" for k, n in counts.most_common(CLASSES)]
    if rest := counts.total() - sum(n for _, n in counts.most_common(CLASSES)):
        parts.append(f"{rest} of other classes")
    return ", ".join(parts) or "no objects"


def tile(
    image: np.ndarray,
    view: View,
    metadata: Metadata,
    caption: Sequence[str],
    *,
    scale: float,
    fill: float = FOUND_FILL,
) -> Image.Image:
    """An image with what is known of it, at a scale, under the lines of a caption."""
    drawn = annotate(
        image,
        objects=view[0],
        classes=metadata.get("thing_classes", ()),
        labels=view[1],
        label_names=metadata.get("stuff_classes", ()),
        scale=scale,
        legend=False,
        fill=fill,
    )
    height, width = drawn.shape[:2]
    page = Image.new("RGB", (max(LEAST, width), height), "white")
    page.paste(Image.fromarray(drawn))
    return _under(caption, page)


def scale_of(size: tuple[int, int], *, widest: int = WIDEST, highest: int = HIGHEST) -> float:
    """Drawn pixels for one of an image of a size (height, width): a whole number, or below 1."""
    height, width = size
    scale = min((AREA / (height * width)) ** 0.5, widest / width, highest / height)
    return max(1, round(scale)) if scale >= 1 else scale


def _under(lines: Sequence[str], image: Image.Image) -> Image.Image:
    """An image under lines of text, which are cut to its width."""
    height = LINE * len(lines) + 2
    page = Image.new("RGB", (image.width, height + image.height), "white")
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        text = shortened(on_one_line(line), image.width - 4, TEXT)
        middle = LINE * (number + 0.5)
        draw.text((2, middle), text, fill="black", font=font_for(text, TEXT), anchor="lm")
    page.paste(image, (0, height))
    return page


def in_rows(tiles: Sequence[Image.Image], columns: int) -> Image.Image:
    """Images on a white sheet, so many in a row: columns and rows as large as their largest."""
    widths = [max(tile.width for tile in tiles[j::columns]) + GAP for j in range(columns)]
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    heights = [max(tile.height for tile in row) + GAP for row in rows]
    sheet = Image.new("RGB", (sum(widths), sum(heights)), "white")
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            sheet.paste(tile, (sum(widths[:j]), sum(heights[:i])))
    return sheet


def in_flow(tiles: Sequence[Image.Image], width: int) -> Image.Image:
    """Images on a white sheet, as many in a row as fit into a width, and at least one."""
    rows: list[list[Image.Image]] = []
    for tile in tiles:
        if rows and sum(other.width for other in rows[-1]) + tile.width <= width:
            rows[-1].append(tile)
        else:
            rows.append([tile])
    sheets = [in_rows(row, columns=len(row)) for row in rows]
    sheet = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), "white")
    top = 0
    for row in sheets:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet
