"""What a file is checked with: its inputs, and what PyTorch's detector makes of the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.mapper import build_test_mapper, reader_of
from hrnet_det.detector.inference import Pixels, row_of
from hrnet_det.export.compare import Found
from hrnet_det.export.options import CELL, ExportOptions
from hrnet_det.export.samples import Sample, resized
from hrnet_det.modeling.compat.conventions import get_conventions
from hrnet_det.modeling.compat.masks import paste_masks

NOISE = 0.001  # grey levels: far more than rounding does, and far less than what is tolerated


@dataclass(frozen=True)
class Case:
    """One input of a file.

    Args:
        name: of its image.
        arrays: the input, by its name.
        rows: the same images as a Detectron2 model takes them.
        sizes: height and width of each image that objects are found in.
    """

    name: str
    arrays: dict[str, np.ndarray]
    rows: list[dict]
    sizes: list[tuple[int, int]]


class Cases:
    """Makes inputs of images, and tells what PyTorch's detector finds in them.

    Args:
        model: in evaluation mode.
        run: its config.
        options: of the file.
    """

    def __init__(self, model: nn.Module, run: RunConfig, options: ExportOptions) -> None:
        self.model, self.options = model, options
        self.mapper = build_test_mapper(run)
        self.read = reader_of(self.mapper)
        self.mask_paste = get_conventions(run[settings.CONVENTIONS]).mask_paste

    def of(self, sample: Sample) -> Case:
        """An input of an image, which takes the size that the file asks for, where it does."""
        inside, size = self.options.processing == "inside", self.options.size
        if not inside:
            return self._outside(sample)
        pixels = resized(sample.pixels, size) if size else sample.pixels
        row = self._row(sample.name, pixels)
        return Case(sample.name, {"image": pixels}, [row], [pixels.shape[:2]])

    def _row(self, name: str, pixels: np.ndarray) -> dict:
        return row_of(Pixels(name, self.read(pixels, self.mapper.image_format)), self.mapper)

    def _outside(self, sample: Sample) -> Case:
        """Resized images as a caller would; those of a batch are moved to the side in turn."""
        size = self.options.size
        if size:
            pixels = self.read(resized(sample.pixels, size), self.mapper.image_format)
            image = torch.from_numpy(pixels.astype(np.float32).transpose(2, 0, 1).copy())
        else:
            image = self._row(sample.name, sample.pixels)["image"]
        if self.options.part == "backbone":
            height, width = (max(side // CELL, 1) * CELL for side in image.shape[1:])
            image = torch.nn.functional.interpolate(image[None], (height, width))[0]
        any_batch = self.options.part == "backbone" and not size
        steps = range(2 if any_batch else self.options.batch)
        images = torch.stack([image.roll(k * image.shape[2] // len(steps), 2) for k in steps])
        height, width = images.shape[2:]
        rows = [
            {"image": one, "height": height, "width": width, "file_name": sample.name}
            for one in images
        ]
        return Case(sample.name, {"images": images.numpy()}, rows, [(height, width)] * len(rows))

    @torch.no_grad()
    def expected(self, case: Case, *, noise: int | None = None) -> list[Found]:
        """What PyTorch finds in each image.

        Args:
            noise: a number to draw NOISE with, which is added to the resized images.
        """
        rows = case.rows
        if noise is not None:
            drawn = torch.Generator().manual_seed(noise)
            rows = [row | {"image": _with_noise(row["image"], drawn)} for row in rows]
        return [Found.of(result["instances"]) for result in self.model(rows)]

    @torch.no_grad()
    def maps(self, case: Case) -> dict[str, np.ndarray]:
        """The maps of the backbone with its pyramid."""
        model = self.model
        images = torch.stack([row["image"] for row in case.rows])
        maps = model.backbone((images - model.pixel_mean) / model.pixel_std)
        return {name: x.float().cpu().numpy() for name, x in maps.items()}

    def found(self, case: Case, outputs: dict[str, np.ndarray]) -> list[Found]:
        """A file's outputs as the objects of each image."""
        if self.options.processing == "inside":
            rows = [np.arange(len(outputs["scores"]))]
        else:
            rows = [np.flatnonzero(outputs["image"] == n) for n in range(len(case.rows))]
        return [self._found(outputs, r, size) for r, size in zip(rows, case.sizes, strict=True)]

    def _found(self, outputs: dict, rows: np.ndarray, size: tuple[int, int]) -> Found:
        boxes, scores, classes = (outputs[name][rows] for name in ("boxes", "scores", "classes"))
        masks, points = (outputs.get(name) for name in ("masks", "keypoints"))
        masks = None if masks is None else masks[rows]
        if masks is not None and self.options.processing == "outside":
            given = (torch.from_numpy(x) for x in (masks, boxes))
            masks = paste_masks(*given, *size, self.mask_paste).numpy()
        return Found(boxes, scores, classes, masks, None if points is None else points[rows])


def _with_noise(image: Tensor, drawn: torch.Generator) -> Tensor:
    return image + NOISE * torch.randn(image.shape, generator=drawn)
