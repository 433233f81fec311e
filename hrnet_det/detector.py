"""A trained detector in one line, whoever trained it."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.structures import Instances
from omegaconf import DictConfig
from torch import nn

from hrnet_det import model_zoo
from hrnet_det.checkpoint import LoadReport
from hrnet_det.checkpoint.addresses import find_weights
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.checkpoint.model_config import config_of
from hrnet_det.checkpoint.run_weights import run_weights, said_of
from hrnet_det.config import settings
from hrnet_det.config.load import as_run
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.mapper import build_test_mapper, reader_of
from hrnet_det.data.pixels import Source
from hrnet_det.detector_options import classes_of, set_options
from hrnet_det.errors import InputError
from hrnet_det.modeling.inference.finite import images_are_named
from hrnet_det.modeling.kinds import kind_of
from hrnet_det.remarks import size_remark

logger = logging.getLogger("detectron2.hrnet_det")


class Detector:
    """A detector with its weights: images in, Detectron2's Instances out.

    Args:
        model: a Detectron2 detector, in evaluation mode.
        config: its RunConfig, or Detectron2's config: the format and size of the images that it
            expects, and the form that it runs in (TEST.OPTIMIZED, TEST.DTYPE, TEST.COMPILE).
        data: what its weights say of the images that they were trained on.
    Raises: InputError if the config asks for a way to resize or to compute that cannot be had, or
        is of a model that detects no objects.
    """

    def __init__(
        self,
        model: nn.Module,
        config: RunConfig | CfgNode | DictConfig,
        class_names: Sequence[str],
        report: LoadReport | None = None,
        data: Mapping = MappingProxyType({}),
    ) -> None:
        self.run = run = as_run(config)
        self.cfg = run.cfg
        if not kind_of(run).detects:
            raise InputError(
                f"{kind_of(run).title} gives no objects; take its model, model_zoo.get(CONFIG, "
                "weights=FILE), or evaluate it with --eval-only"
            )
        self.model = model_zoo.inference_form(run, model)
        self.class_names = list(class_names)
        self.report = report
        self._data, self._said = data, set()
        self._mapper = build_test_mapper(run)
        self.read = reader_of(self._mapper)

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path,
        *,
        config: str | Path | RunConfig | CfgNode | DictConfig | None = None,
        device: str | None = None,
        class_names: Sequence[str] | None = None,
        size: Sequence[int] = (),
        max_detections: int | None = None,
        pixel_range: Sequence[float] = (),
        max_pixels: int | None = None,
        allow_pickle: bool = False,
    ) -> "Detector":
        """The detector of a weights file, computing what the code base that trained it computes.

        Args:
            weights: a file or address, as MODEL.WEIGHTS: of mmdetection, HRNet-Object-Detection,
                HRNet-MaskRCNN-Benchmark, `hrnet-det convert` or this trainer; or the folder of a
                training, of which model_best.pth is taken where there is one (`run_weights`).
            config: a file, the name of a shipped config or of a published checkpoint, or a config;
                by default what the file says, or what its tensors' names and shapes do.
            device: by default a GPU where there is one.
            class_names: by default those in the file, or COCO's where it has 80 classes.
            size: shorter side, and at most the longer one, that images are resized to, pixels; by
                default the config's.
            max_detections: of an image; by default the config's.
            pixel_range: low and high of images of more than 8 bits, which become black and white
                (`read_pixels`); by default those that the detector was trained with.
            max_pixels: of larger images none is decoded; by default the config's.
            allow_pickle: permit a file that runs code when it is loaded.
        Raises: InputError if the file cannot be read, lacks a tensor of the detector, or says too
            little; MissingInputError if it is not there.
        """
        if os.path.isdir(weights):
            folder, weights = weights, run_weights(weights)
            logger.warning("%s: weights %s, %s", folder, weights.name, said_of(weights))
        path = find_weights(str(weights))
        file = read_weights(path, allow_pickle=allow_pickle)
        run = (config_of(file) if config is None else model_zoo.named_run(config)).copy()
        names, in_file = list(class_names or ()), list(file.classes)
        data = file.metadata.get("data") or {}
        del file  # its tensors are read again into the model
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        model_zoo.check_device(device)
        run[settings.DEVICE] = device
        set_options(
            run,
            size=size,
            max_detections=max_detections,
            pixel_range=pixel_range,
            max_pixels=max_pixels,
        )
        model, report = model_zoo.build_with_weights(run, path, allow_pickle=allow_pickle)
        return cls(model, run, classes_of(run, names, in_file), report, data)

    def __call__(self, images: Source | Sequence[Source]) -> Instances | list[Instances]:
        """Detect the objects of an image, or of each image of a list.

        Args:
            images: a path; a PIL image; an array (H, W) or, in RGB, (H, W, 3); or a list of these.
        Returns: for each image its Instances on the CPU, best first: pred_boxes in pixels of the
            image, scores, pred_classes (numbers in class_names), where the detector predicts
            them pred_masks (N, H, W) bool and pred_keypoints.
        Raises: InputError if an image is none of these, or the detector's numbers are not finite;
            MissingInputError if it is not there.
        """
        if isinstance(images, (list, tuple)):
            return [self._detect(image) for image in images]
        return self._detect(images)

    @torch.no_grad()
    def _detect(self, image: Source) -> Instances:
        pixels = self.read(image, self._mapper.image_format)
        height, width = pixels.shape[:2]
        given = T.AugInput(pixels)
        self._mapper.augmentations(given)
        channels = np.ascontiguousarray(given.image.transpose(2, 0, 1))
        row = {"image": torch.as_tensor(channels.astype("float32"))}
        row["height"], row["width"] = height, width
        row["file_name"] = str(image) if isinstance(image, (str, Path)) else "the image"
        with images_are_named(self.model):
            objects = self.model([row])[0]["instances"].to("cpu")
        self._remark("size", size_remark(self._data, (height, width), given.image.shape[:2]))
        if len(objects) >= self.run.detections_per_image:
            text = (
                f"an image has {len(objects)} objects, as many as are given at most: there may be "
                "more (--max-detections, or Detector.from_pretrained(max_detections=...))"
            )
            self._remark("detections", text)
        return objects

    def _remark(self, kind: str, text: str) -> None:
        """Say something of an image, the first time that there is such a thing to say."""
        if text and kind not in self._said:
            self._said.add(kind)
            logger.warning(text)
