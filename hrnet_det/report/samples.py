"""A sheet of images as a detector is trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from detectron2.data.catalog import Metadata
from detectron2.data.detection_utils import convert_image_to_rgb
from detectron2.structures import BitMasks, Instances, PolygonMasks

from hrnet_det.report.sheet import in_rows, stuff_labels, tile

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
    tiles = []
    for sample in samples:
        channels = sample["image"].numpy().transpose(1, 2, 0)
        if pixel_format in ("RGB", "BGR", "L"):
            channels = channels.clip(0, 255).round().astype(np.uint8)
        image = np.ascontiguousarray(convert_image_to_rgb(channels, pixel_format))
        labels = stuff_labels(sample["sem_seg"].numpy(), metadata) if "sem_seg" in sample else None
        height, width = image.shape[:2]
        caption = f"{Path(sample['file_name']).name}, {width}x{height}"
        tiles.append(
            tile(image, (_with_bitmasks(sample.get("instances")), labels), metadata, caption)
        )
    in_rows(tiles, columns=min(COLUMNS, len(tiles))).save(path)


def _with_bitmasks(objects: Instances | None) -> Instances | None:
    if objects is None or not isinstance(getattr(objects, "gt_masks", None), PolygonMasks):
        return objects
    drawn = Instances(objects.image_size, **objects.get_fields())
    drawn.gt_masks = BitMasks.from_polygon_masks(objects.gt_masks, *objects.image_size)
    return drawn
