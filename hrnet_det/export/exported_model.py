"""An exported file in the place of a Detectron2 model."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from detectron2.data.transforms import Augmentation
from detectron2.structures import Instances
from torch import Tensor, nn

from hrnet_det.config import settings
from hrnet_det.config.load import parse_run
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.mapper import build_test_mapper
from hrnet_det.detector.options import CANDIDATES
from hrnet_det.errors import InputError
from hrnet_det.export.formats import format_of
from hrnet_det.export.objects import in_original, into_canvas, objects_of
from hrnet_det.export.opening import open_exported
from hrnet_det.modeling.inference.finite import all_finite

logger = logging.getLogger("detectron2.hrnet_det")


class ExportedModel(nn.Module):
    """A file's detector with the interface of a Detectron2 model in evaluation mode, on the CPU.

    Input:  rows with "image" (3, H, W), as Detectron2's, in the run's INPUT.FORMAT. A file that
        resizes images itself (`resizes`) is given them as they are (`run_for_images`).
    Output: for each {"instances": Instances}, in pixels of the row's height and width; of a file
        that resizes, in pixels of the image.

    Attributes:
        run: the config of its detector. classes: their names. metadata: all that it says.
        test_score_thresh, most: the least score and the largest number of an image's objects.
    Raises: InputError if the file cannot be opened (`open_exported`), or is no whole detector.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)
        self.engine = open_exported(path)
        self.metadata = self.engine.metadata
        self.run = parse_run(str(self.metadata["config"]), str(path))
        self.classes = list(self.metadata["classes"])
        said = self.metadata["export"]
        if said.get("part") == "backbone":
            raise InputError(
                f"{path} is the backbone alone of a detector: it gives feature maps, no objects. "
                "hrnet_det.export.open_exported(FILE) runs it; for objects export --part detector"
            )
        self.precision = str(said.get("precision", "float32"))
        self.resizes = said.get("processing") == "inside"
        self.size, self.batch = tuple(said.get("size") or ()), int(said.get("batch") or 1)
        self.test_score_thresh = float(said["score"])
        self.most = int(said["max_detections"])
        self._told = False
        self.order: Tensor | None = None  # numbers of the file's classes in the data
        run = self.run
        self.test_sides = (0, 0)  # which a call with a size of its own has of its own, too
        if not run.is_lazy:
            self.test_sides = (run[settings.MIN_SIZE_TEST], run[settings.MAX_SIZE_TEST])
        self.eval()

    def forward(self, rows: Sequence[dict]) -> list[dict]:
        found: list[Instances] = []
        for _, alike in groupby(rows, lambda row: row["image"].shape):
            given = list(alike)
            for start in range(0, len(given), self.batch):
                found += self._of(given[start : start + self.batch])
        for row, objects in zip(rows, found, strict=True):
            if not all_finite(objects):
                raise InputError(
                    f"{row.get('file_name', 'an image')}: numbers of {self.path} are not finite: "
                    "export it again with --precision float32"
                )
        return [{"instances": objects} for objects in found]

    def __str__(self) -> str:
        """What it is, and what runs it."""
        title, form = self.metadata.get("title", "a detector"), format_of(self.path).title
        return f"{self.path}: {title}, {form} in {self.precision}, run by {self.engine.name}"

    def check_device(self, device: str | None) -> None:
        """Raises: InputError if a device is asked for that the file's engine does not run on."""
        if device not in (None, "cpu"):
            raise InputError(
                f"device {device!r}: {self.path} runs on the CPU here: leave the device away, or "
                "take the weights"
            )

    def check_options(
        self,
        *,
        size: int | Sequence[int] = (),
        score: float | None = None,
        most: int | None = None,
    ) -> None:
        """Raises: InputError for what the file was not exported for.

        Args:
            size: that images are to be resized to.
            score: the least of the objects that are wanted.
            most: how many of an image.
        """
        if size not in ((), []) and self.resizes:
            raise InputError(
                f"size {size}: the size of images is fixed in {self.path}: export it with another "
                "one (Detector.from_pretrained(WEIGHTS, size=...).export), or with --processing "
                "outside"
            )
        if score is not None and score < self.test_score_thresh:
            raise InputError(
                f"score {score}: {self.path} gives no objects below {self.test_score_thresh:g}: "
                f"export it with --score {score}, or ask for {self.test_score_thresh:g} or more"
            )
        if most is not None and most > self.most:
            raise InputError(
                f"max_detections {most}: {self.path} gives {self.most} objects of an image at "
                f"most: export it with --max-detections {most}"
            )

    def refuse_to_be_exported(self) -> None:
        """Raises: InputError, with what is exported in its place."""
        raise InputError(
            f"{self.path} is an exported file already, whose weights cannot be taken out again: "
            "export the weights that it was made from"
        )

    def classes_remark(self, classes: Collection[int]) -> str:
        """What is said where some classes alone are wanted; "" for nothing."""
        if not classes or self.most >= CANDIDATES:
            return ""
        return (
            f"classes are chosen from the best {self.most} objects of an image that {self.path} "
            f"gives, where its weights would give {CANDIDATES}: --max-detections of the export"
        )

    def _of(self, rows: Sequence[dict]) -> list[Instances]:
        """Objects of images of one size, which are as many as the file takes at most."""
        return [self._whole(rows[0])] if self.resizes else self._resized(rows)

    def _whole(self, row: dict) -> Instances:
        self._check_size(row)
        image = row["image"].cpu().round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
        if self.run[settings.PIXEL_FORMAT] == "BGR":
            image = image.flip(2)
        found = self.engine({"image": np.ascontiguousarray(image.numpy())})
        return self._in_order(objects_of(found, tuple(image.shape[:2])))

    def _resized(self, rows: Sequence[dict]) -> list[Instances]:
        images = torch.stack([row["image"].cpu().float() for row in rows])
        size = tuple(images.shape[2:])
        if self.size and size != self.size:
            images, size = into_canvas(images, self.size, self.run[settings.PIXEL_MEAN])
            self._tell_canvas(size)
        images = torch.cat([images, *[images[-1:]] * (self.batch - len(rows))])
        found = self.engine({"images": images.numpy()})
        numbers = found.pop("image")
        rules, made = str(self.run[settings.CONVENTIONS]), []
        for number, row in enumerate(rows):
            objects = objects_of({k: v[numbers == number] for k, v in found.items()}, size)
            made.append(self._in_order(in_original(objects, row, rules, self.test_sides)))
        return made

    def _in_order(self, objects: Instances) -> Instances:
        if self.order is not None:
            objects.pred_classes = self.order[objects.pred_classes]
        return objects

    def _check_size(self, row: dict) -> None:
        size = tuple(row["image"].shape[1:])
        if self.size and size != self.size:
            (height, width), (wanted, wide) = size, self.size
            raise InputError(
                f"{row.get('file_name', 'an image')} is {width}x{height} pixels, and {self.path} "
                f"takes images of {wide}x{wanted} alone: export it without --size, or with "
                "--processing outside, which pads smaller ones"
            )

    def _tell_canvas(self, size: tuple[int, int]) -> None:
        if not self._told:
            self._told = True
            (height, width), (wanted, wide) = size, self.size
            logger.warning(
                f"{self.path} takes images of {wide}x{wanted} alone: others are padded to that, "
                f"and resized where they are larger, such as one to {width}x{height}; scores differ"
                " a little from those without padding"
            )


def run_for_images(run: RunConfig, model: nn.Module) -> RunConfig:
    """The config that images are read and resized by for a model.

    An exported file that resizes images itself gets them as they are; all others as the run says.
    """
    if not (isinstance(model, ExportedModel) and model.resizes):
        return run
    run = run.copy()
    if run.is_lazy:
        run.cfg.dataloader.test.mapper.augmentations = []
    else:
        run[settings.MIN_SIZE_TEST] = 0  # which for Detectron2 is: not at all
    return run


def resizing_within(run: RunConfig, model: nn.Module) -> Sequence[Augmentation]:
    """What an exported file does to images that it is given as they are."""
    if run_for_images(run, model) is run:
        return ()
    return build_test_mapper(run).augmentations.augs
