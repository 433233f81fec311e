"""How a detector is exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from detectron2.data.transforms import AugInput

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.checks import SMALLEST
from hrnet_det.data.mapper import build_test_mapper
from hrnet_det.detector.options import check_score, checked_count
from hrnet_det.errors import InputError, did_you_mean, shown
from hrnet_det.export.formats import FORMATS, Format
from hrnet_det.export.samples import paths_in
from hrnet_det.modeling.inference.borrowed import MOST, SCORE
from hrnet_det.modeling.kinds import kind_of
from hrnet_det.outputs import check_folder

PROCESSING = ("inside", "outside")
PARTS = ("detector", "backbone")
PRECISIONS = tuple(dict.fromkeys(p for row in FORMATS.values() for p in row.precisions))
CELL = 32  # pixels: the stride of the coarsest branch
LARGEST = 16_384  # pixels, of a side
# Of a detector that is exported as by default: a file has its own precision, and is compared with
# what torch computes in float32.
FORM = (settings.DTYPE, settings.COMPILE, settings.ENGINE)


@dataclass(frozen=True)
class ExportOptions:
    """What a file is to be.

    Args:
        format: a name in FORMATS.
        precision: of its numbers: "float32", "float16", "bfloat16" or "int8".
        processing: "inside": the file takes an image (H, W, 3) uint8 in RGB, resizes it, and gives
            objects in its pixels. "outside": it takes resized images (N, 3, H, W) float32 of 0 to
            255 in the detector's order of channels, and gives boxes in their pixels. None: as the
            format's row says; a backbone is always "outside".
        part: "detector", or "backbone" with its pyramid.
        size: height and width of the only images that it takes; () for all sizes.
        batch: images that it takes at once, with "outside".
        images: a folder of images to calibrate int8 with, and to check the file with.
        score: objects of a lower one are left out; None for the config's.
        max_detections: of an image; None for the config's.
    Raises: InputError if a value is not known, or the format has no such form.
    """

    format: str = "onnx"
    precision: str = "float32"
    processing: str | None = None
    part: str = "detector"
    size: tuple[int, ...] = ()
    batch: int = 1
    images: str | Path | Sequence[str | Path] = ()
    score: float | None = None
    max_detections: int | None = None

    def __post_init__(self) -> None:
        _check_word("format", self.format, tuple(FORMATS))
        _check_word("precision", self.precision, PRECISIONS)
        _check_word("part", self.part, PARTS)
        if self.processing is None:
            outside = self.part == "backbone" or self.row.processing == "outside"
            object.__setattr__(self, "processing", "outside" if outside else "inside")
        _check_word("processing", self.processing, PROCESSING)
        object.__setattr__(self, "size", tuple(self.size or ()))
        self._check_format()
        self._check_numbers()

    def _check_format(self) -> None:
        row = self.row
        if self.precision not in row.precisions:
            reason = f" ({row.others})" if row.others else ""
            raise InputError(
                f"--format {row.name} has no --precision {self.precision}{reason}: give "
                f"{' or '.join(row.precisions)}"
            )
        if self.part == "backbone" and self.processing == "inside":
            raise InputError(
                "--part backbone --processing inside: a backbone takes images that are resized "
                "already: leave --processing out"
            )
        if self.processing == "inside" and not row.dynamic and not self.size:
            raise InputError(
                f"--format {row.name} --processing inside: a file takes images of one size, as "
                "they are before they are resized: give --size HEIGHTxWIDTH"
            )

    def _check_numbers(self) -> None:
        checked_count("--batch", self.batch)
        if self.batch > 1 and self.processing == "inside":
            raise InputError(
                f"--batch {self.batch}: a file that resizes images itself takes one at a time: "
                "give --processing outside"
            )
        if self.size:
            _check_size(self.size, self.part)
        limits = {"--score": self.score, "--max-detections": self.max_detections}
        given = [f"{name} {value}" for name, value in limits.items() if value is not None]
        if given and self.part == "backbone":
            raise InputError(f"{given[0]}: a backbone detects nothing: leave it out")
        if self.score is not None:
            check_score(self.score)
        if self.max_detections is not None:
            checked_count("--max-detections", self.max_detections)

    @property
    def row(self) -> Format:
        return FORMATS[self.format]

    def check_path(self, path: str | Path) -> Path:
        """A file's name, before the work is done that leads to it.

        Raises: InputError if it is of another format, nothing can be written there, or there are no
            images to check it with.
        """
        path, row = Path(path), self.row
        end = path.suffix.lower()
        if end != row.suffix:
            advice = f"such as {path.with_suffix(row.suffix).name}" if path.name else "give a name"
            others = [other.name for other in FORMATS.values() if other.suffix == end]
            also = f", or --format {others[0]}" if others else ""
            raise InputError(
                f"{path}: a file of --format {row.name} ends in {row.suffix}: {advice}{also}"
            )
        if path.is_dir():
            raise InputError(f"{path} is a folder: give the name of a file")
        check_folder(path.parent, shown=str(path), advice="give another place")
        if self.images:
            paths_in(self.images)
        return path

    def of_model(self) -> dict[str, object]:
        """Attributes of the detector's modules, by name, that have these values in the file."""
        values: dict[str, object] = {}
        if self.score is not None:
            values |= dict.fromkeys(SCORE, self.score)
        if self.max_detections is not None:
            values |= dict.fromkeys(MOST, self.max_detections)
        return values

    def for_run(self, run: RunConfig) -> tuple[ExportOptions, list[str]]:
        """The same for a run's detector, and a line of each thing that was decided for it.

        Raises: InputError if it is no detector that can be exported.
        """
        kind = kind_of(run)
        if self.part == "detector" and kind.output != "instances":
            raise InputError(
                f"{kind.title} cannot be exported as a whole: give --part backbone for its network "
                "with the pyramid"
            )
        if self.row.dynamic or self.size:
            return self, []
        size = _padded_size(run)
        note = (
            f"{self.row.title} files take images of one size: {size[0]}x{size[1]}, a landscape of "
            "the config's sides; give --size HEIGHTxWIDTH for another"
        )
        return replace(self, size=size), [note]


def _check_word(name: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        near = did_you_mean(given, known) if isinstance(given, str) else ""
        raise InputError(f"--{name} {shown(given)}: give one of {', '.join(known)}{near}")


def _check_size(size: tuple[int, ...], part: str) -> None:
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in size)
    if len(size) != 2 or not whole or not all(SMALLEST <= side <= LARGEST for side in size):
        raise InputError(
            f"--size {'x'.join(map(str, size))}: give height and width in pixels, each from "
            f"{SMALLEST} to {LARGEST}, such as 800x1344"
        )
    if part == "backbone" and any(side % CELL for side in size):
        near = "x".join(str(-(-side // CELL) * CELL) for side in size)
        raise InputError(
            f"--size {size[0]}x{size[1]}: a backbone takes sides that are multiples of {CELL}: "
            f"such as {near}"
        )


def _padded_size(run: RunConfig) -> tuple[int, int]:
    """Height and width of an image of 3:5 as the config resizes it, in whole cells."""
    given = AugInput(np.zeros((600, 1000, 3), np.uint8))
    build_test_mapper(run).augmentations(given)
    height, width = (-(-side // CELL) * CELL for side in given.image.shape[:2])
    return height, width


def set_form_to_export(run: RunConfig) -> None:
    """Let a detector be built in the form that can be written."""
    for setting in FORM:
        run[setting] = setting.default


def check_form_to_export(run: RunConfig, device: torch.device) -> None:
    """Raises: InputError if a detector is in another form, or not on the CPU."""
    if device.type != "cpu":
        raise InputError(
            f"the detector is on {device}, and is exported from the CPU: "
            "Detector.from_pretrained(..., device='cpu', to_export=True)"
        )
    for setting in FORM:
        if run[setting] != setting.default:
            raise InputError(
                f"{run.shown(setting)}: only a detector in float32 by engine torch, not compiled, "
                "is exported: Detector.from_pretrained(..., to_export=True); --precision is that "
                "of the file"
            )
