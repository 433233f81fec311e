"""A sheet of images as a detector is trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from detectron2.data.catalog import Metadata
from detectron2.data.detection_utils import convert_image_to_rgb
from detectron2.structures import (
    BitMasks,
    Boxes,
    Instances,
    Keypoints,
    PolygonMasks,
    polygons_to_bitmask,
)
from PIL import Image

from hrnet_det.report.image_views import stuff_labels
from hrnet_det.report.sheet import in_rows, scale_of, tile

COLUMNS = 4


def draw_samples(
    samples: Sequence[dict], metadata: Metadata, pixel_format: str, path: Path
) -> None:
    """Draw mapped images with their boxes, masks, keypoints and semantic labels to a file.

    Args:
        samples: of a mapper of training: "file_name", "image" (C, H, W), and where there are any
            "instances" and "sem_seg" (H, W).
        pixel_format: INPUT.FORMAT of the images.
    """
    tiles = [_sample_tile(sample, metadata, pixel_format) for sample in samples]
    in_rows(tiles, columns=min(COLUMNS, len(tiles))).save(path)


def _sample_tile(sample: dict, metadata: Metadata, pixel_format: str) -> Image.Image:
    """A mapped image under its name and size."""
    channels = sample["image"].numpy().transpose(1, 2, 0)
    if pixel_format in ("RGB", "BGR", "L"):
        channels = channels.clip(0, 255).round().astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(convert_image_to_rgb(channels, pixel_format)))
    caption = f"{Path(sample['file_name']).name}, {image.width}x{image.height}"
    scale = scale_of((image.height, image.width))
    small = min(1.0, scale)
    size = max(1, round(image.height * small)), max(1, round(image.width * small))
    objects, labels = sample.get("instances"), sample.get("sem_seg")
    if objects is not None:
        objects = _resized(objects, size)
    if labels is not None:
        labels = stuff_labels(_nearest(labels, size).numpy(), metadata)
    drawn = np.asarray(image.resize(size[::-1]))
    return tile(drawn, (objects, labels), metadata, [caption], scale=max(1, scale))


def _resized(objects: Instances, size: tuple[int, int]) -> Instances:
    """Objects in their image at another size (height, width), with bitmasks."""
    height, width = objects.image_size
    x, y = size[1] / width, size[0] / height
    small = Instances(size, **objects.get_fields())
    small.gt_boxes = Boxes(objects.gt_boxes.tensor * torch.tensor([x, y, x, y]))
    if objects.has("gt_keypoints"):
        small.gt_keypoints = Keypoints(objects.gt_keypoints.tensor * torch.tensor([x, y, 1]))
    masks = objects.gt_masks if objects.has("gt_masks") else None
    if isinstance(masks, PolygonMasks):
        scaled = [[shape * np.resize((x, y), shape.size) for shape in m] for m in masks.polygons]
        drawn = np.zeros((len(scaled), *size), bool)  # torch.stack is slow where CPUs are busy
        for mask, shapes in zip(drawn, scaled, strict=True):
            mask[:] = polygons_to_bitmask(shapes, *size)
        small.gt_masks = BitMasks(torch.from_numpy(drawn))
    elif masks is not None:
        small.gt_masks = BitMasks(_nearest(masks.tensor, size))
    return small


def _nearest(values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Values of pixels, (..., H, W), of the nearest ones at another size."""
    rows, columns = (
        ((torch.arange(new) + 0.5) * old / new).long()
        for old, new in zip(values.shape[-2:], size, strict=True)
    )
    return values[..., rows, :][..., columns]
