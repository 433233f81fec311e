"""A sheet of images of a dataset: ground truth beside prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.catalog import Metadata
from detectron2.data.detection_utils import read_image
from detectron2.evaluation.evaluator import inference_context
from PIL import Image, ImageDraw
from torch import nn

from hrnet_det.report.annotate import SMALL_SIDE, annotate, enlargement
from hrnet_det.report.canvas import font
from hrnet_det.report.views import View, ground_truth, prediction, with_colours_of

IMAGES = 8
PAIRS_IN_A_ROW = 2
GAP = 8  # pixels between images
CAPTION = 20  # pixels: the height of the line above an image


def draw_predictions(
    dataset: str, model: nn.Module, mapper: Callable[[dict], dict], path: Path
) -> None:
    """A sheet of images spread over a dataset: ground truth left, prediction right.

    Its size follows the images, each of which is enlarged or shrunk to about SMALL_SIDE pixels.

    Args:
        mapper: makes of a row of the dataset what the model takes.
    """
    rows, metadata = DatasetCatalog.get(dataset), MetadataCatalog.get(dataset)
    count = min(IMAGES, len(rows))
    pairs = []
    for row in (rows[i * len(rows) // count] for i in range(count)):
        image = read_image(row["file_name"], format="RGB")
        truth = ground_truth(row, image.shape[:2], metadata)
        with inference_context(model), torch.no_grad():
            found, shown = prediction(model([mapper(row)])[0])
        name = Path(row["file_name"]).name
        left = _tile(image, truth, metadata, f"ground truth, {name}")
        found = with_colours_of(truth, found)
        right = _tile(image, found, metadata, f"prediction, {shown}")
        pairs.append(in_rows([left, right], columns=2))
    in_rows(pairs, columns=min(PAIRS_IN_A_ROW, count)).save(path)


def _tile(image: np.ndarray, view: View, metadata: Metadata, caption: str) -> Image.Image:
    """An image with what is known of it, under a caption."""
    side = max(image.shape[:2])
    objects, labels = view
    drawn = annotate(
        image,
        objects=objects,
        classes=metadata.get("thing_classes", ()),
        labels=labels,
        label_names=metadata.get("stuff_classes", ()),
        scale=enlargement(image) if side <= SMALL_SIDE else SMALL_SIDE / side,
    )
    height, width = drawn.shape[:2]
    tile = Image.new("RGB", (width, CAPTION + height), "white")
    ImageDraw.Draw(tile).text((2, CAPTION / 2), caption, fill="black", font=font(13), anchor="lm")
    tile.paste(Image.fromarray(drawn), (0, CAPTION))
    return tile


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
