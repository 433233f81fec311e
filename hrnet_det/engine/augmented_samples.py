"""What a detector is trained on, drawn before its training starts."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from detectron2.data import MapDataset, MetadataCatalog

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.random_numbers import random_numbers_apart
from hrnet_det.report.samples import draw_samples

logger = logging.getLogger("detectron2.hrnet_det")
IMAGES = 8
FILE = "augmented_samples.png"


def draw_augmented_samples(run: RunConfig, loader: Iterable) -> None:
    """Draw some images as the network sees them to OUTPUT_DIR, and say so in one line.

    The images are spread over the dataset. Random numbers of the training stay as they are.
    """
    dataset = _mapped_images(loader)
    if dataset is None:
        logger.info("No %s: the loader of training images is not one of Detectron2's", FILE)
        return
    count = min(IMAGES, len(dataset))
    with random_numbers_apart():
        samples = [dataset[i * len(dataset) // count] for i in range(count)]
    metadata = MetadataCatalog.get(run[settings.TRAIN_DATASETS][0])
    path = Path(str(run[settings.OUTPUT_DIR]), FILE)
    draw_samples(samples, metadata, str(run[settings.PIXEL_FORMAT]), path)
    logger.info("%d augmented images, as the network is trained on them: %s", count, path)


def _mapped_images(loader: object) -> MapDataset | None:
    """The dataset inside of Detectron2's loaders, which are wrapped around each other."""
    while loader is not None and not isinstance(loader, MapDataset):
        loader = getattr(loader, "dataset", None)
    return loader
