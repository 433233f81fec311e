"""A detector from the file of its weights, or from a file that it was exported to."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from detectron2.config import CfgNode
from omegaconf import DictConfig
from torch import nn

from hrnet_det import model_zoo
from hrnet_det.checkpoint import LoadReport
from hrnet_det.checkpoint.addresses import find_weights
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.checkpoint.model_config import config_of
from hrnet_det.checkpoint.run_weights import run_weights, said_of
from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.detector.options import classes_of, set_options
from hrnet_det.export.agreement import check_agreement
from hrnet_det.export.exported_model import ExportedModel
from hrnet_det.export.opening import is_exported
from hrnet_det.export.options import set_form_to_export

logger = logging.getLogger("detectron2.hrnet_det")


class Loaded(NamedTuple):
    """What a `Detector` is made of; without a report where no tensors were loaded."""

    model: nn.Module
    run: RunConfig
    class_names: list[str]
    report: LoadReport | None
    data: Mapping


def load(
    weights: str | Path,
    *,
    config: str | Path | RunConfig | CfgNode | DictConfig | None,
    device: str | None,
    class_names: Sequence[str] | None,
    allow_pickle: bool,
    to_export: bool,
    **options: object,
) -> Loaded:
    """The model of a file, and what is known of it.

    Args: as `Detector.from_pretrained`; options are those of `set_options`.
    Raises: as `Detector.from_pretrained`.
    """
    if os.path.isdir(weights):
        folder, weights = weights, run_weights(weights)
        logger.warning("%s: weights %s, %s", folder, weights.name, said_of(weights))
    path = find_weights(str(weights))
    if is_exported(path):
        model = ExportedModel(path)
        if to_export:
            model.refuse_to_be_exported()
        return _exported(model, config, device, class_names, options)
    file = read_weights(path, allow_pickle=allow_pickle)
    run = (config_of(file) if config is None else model_zoo.named_run(config)).copy()
    names, in_file = list(class_names or ()), list(file.classes)
    data = file.metadata.get("data") or {}
    del file  # its tensors are read again into the model
    if device is None:
        device = "cuda" if torch.cuda.is_available() and not to_export else "cpu"
    model_zoo.check_device(device)
    run[settings.DEVICE] = device
    set_options(run, **options)
    if to_export:
        set_form_to_export(run)
    model, report = model_zoo.build_with_weights(run, path, allow_pickle=allow_pickle)
    return Loaded(model, run, classes_of(run, names, in_file), report, data)


def _exported(
    model: ExportedModel,
    config: str | Path | RunConfig | CfgNode | DictConfig | None,
    device: str | None,
    class_names: Sequence[str] | None,
    options: Mapping,
) -> Loaded:
    model.check_device(device)
    model.check_options(size=options["size"], most=options["max_detections"])
    run = model.run.copy()
    if config is not None:
        run = model_zoo.named_run(config).copy()
        check_agreement(model, run)
    run[settings.DEVICE] = "cpu"
    run[run.detections_setting] = model.most
    set_options(run, **options)
    names = classes_of(run, list(class_names or ()), model.classes)
    return Loaded(model, run, names, None, model.metadata.get("data") or {})
