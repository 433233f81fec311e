"""A saved run for what else reads Detectron2's configs: DefaultPredictor, and what wraps it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from hrnet_det.checkpoint.io import read_weights, some
from hrnet_det.checkpoint.model_config import config_of
from hrnet_det.checkpoint.run_weights import run_weights, said_of
from hrnet_det.config import settings
from hrnet_det.errors import InputError

logger = logging.getLogger("detectron2.hrnet_det")
# Of a dataset's metadata: what belongs to the names of its classes.
_OF_CLASSES = ("thing_classes", "thing_colors", "thing_dataset_id_to_contiguous_id")


def saved_config(
    run: str | Path, *, device: str | None = None, allow_pickle: bool = False
) -> CfgNode:
    """The config with which plain Detectron2 opens a saved run: `DefaultPredictor(cfg)`.

    MODEL.WEIGHTS are the weights of the run's best evaluation or, where there was none, those of
    its end; MODEL.DEVICE is what is here. The names of the classes are in MetadataCatalog, under
    the names of the run's datasets, which need not be there themselves.

    Differs from Detector: DefaultPredictor takes BGR arrays of 8 bits (INPUT.PIXEL_RANGE is for
    Detector alone) and resizes as Detectron2 does, whatever INPUT.RESIZE says: of a run that
    follows Detectron2's conventions it gives what Detector does, of others boxes that lie a little
    elsewhere. The model is not in the form of TEST.OPTIMIZED, so it takes more time.

    Args:
        run: OUTPUT_DIR of a training, or one of its .pth files.
        device: by default a GPU where there is one.
        allow_pickle: permit a file that runs code when it is loaded.
    Raises: MissingInputError if it is not there; InputError if it has no .pth file, which is all
        that Detectron2 reads, or is of a LazyConfig, which DefaultPredictor does not take.
    """
    path = Path(run)
    if not os.path.isfile(path):
        path = run_weights(path, suffixes=(".pth",))
        logger.warning("%s: weights %s, %s", run, path.name, said_of(path))
    if path.suffix != ".pth":
        raise InputError(
            f"{path}: Detectron2 reads .pth files alone: hrnet-det convert {path} "
            f"{path.with_suffix('.pth')} writes one"
        )
    file = read_weights(path, allow_pickle=allow_pickle)
    found = config_of(file)
    if found.is_lazy:
        raise InputError(
            f"{path} is of a run of a LazyConfig, and DefaultPredictor takes YAML configs: take "
            f"hrnet_det.Detector.from_pretrained({str(run)!r})"
        )
    found[settings.WEIGHTS] = str(path)
    found[settings.DEVICE] = device or ("cuda" if torch.cuda.is_available() else "cpu")
    names = dict.fromkeys((*found[settings.TRAIN_DATASETS], *found[settings.TEST_DATASETS]))
    for name in names if file.classes else ():
        _name_classes(name, file.classes)
    return found.cfg


def _name_classes(dataset: str, classes: Sequence[str]) -> None:
    """Let the metadata of a dataset have these classes, and say so where it had others."""
    metadata = MetadataCatalog.get(dataset)
    had = list(metadata.get("thing_classes", []))
    if had == list(classes):
        return
    if had:
        text = "%s: its classes are now those of the weights, %s; they were %s"
        logger.warning(text, dataset, some(classes), some(had))
        kept = {key: value for key, value in metadata.as_dict().items() if key not in _OF_CLASSES}
        MetadataCatalog.pop(dataset)  # who holds the earlier one keeps it as it is
        metadata = MetadataCatalog.get(dataset).set(**kept)
    metadata.thing_classes = list(classes)
