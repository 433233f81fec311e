"""How a detector is exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hrnet_det.errors import InputError
from hrnet_det.export.formats import FORMATS, Format

PROCESSING = ("inside", "outside")
PARTS = ("detector", "backbone")


@dataclass(frozen=True)
class ExportOptions:
    """What a file is to be.

    Args:
        format: a name in FORMATS.
        precision: of its numbers: "float32", "float16", "bfloat16" or "int8".
        processing: "inside": the file takes an image (H, W, 3) uint8 in RGB, resizes it, and gives
            objects in its pixels. "outside": it takes resized images (N, 3, H, W) float32 of 0 to
            255 in the detector's order of channels, and gives boxes in their pixels.
        part: "detector", or "backbone" with its pyramid, which is always "outside".
        size: height and width of the only images that it takes; () for all sizes.
        batch: images that it takes at once, with "outside".
        images: a folder of images to calibrate int8 with, and to check the file with.
    Raises: InputError if a name is not known, or the format has no such form.
    """

    format: str = "onnx"
    precision: str = "float32"
    processing: str = "inside"
    part: str = "detector"
    size: tuple[int, ...] = ()
    batch: int = 1
    images: str | Path | Sequence[Path] = ()

    def __post_init__(self) -> None:
        for name, known in (
            ("format", tuple(FORMATS)),
            ("processing", PROCESSING),
            ("part", PARTS),
            ("precision", self.row.precisions if self.format in FORMATS else ()),
        ):
            given = getattr(self, name)
            if given not in known:
                raise InputError(f"--{name} {given!r}: give one of {', '.join(known)}")

    @property
    def row(self) -> Format:
        return FORMATS[self.format]
