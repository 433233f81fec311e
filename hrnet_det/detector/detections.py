"""The objects of an image as `Detector` gives them: Instances that can be shown and saved."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from detectron2.structures import Instances
from PIL import Image

from hrnet_det.data.images import MOST_PIXELS
from hrnet_det.data.pixels import Source, read_pixels
from hrnet_det.detector.run_lengths import RunLengthMasks
from hrnet_det.drawing.annotate import annotate
from hrnet_det.errors import InputError, SetupError

if TYPE_CHECKING:
    import supervision

QUALITY = 90  # of drawings as JPEG or WebP


class Detections(Instances):
    """The objects of an image, the best first, with their class names and where the image is.

    They are Detectron2's Instances wherever Instances are asked for, and what is chosen from them
    is of the same kind: `objects[objects.scores > 0.8].save("street.jpg")`. Of a file only its
    path is kept, and it is read again to be drawn on; of an array or a PIL image, which are not
    copied, what it shows by then is drawn on.

    Fields: pred_boxes (pixels of the image), scores, pred_classes (numbers in class_names), where
        the detector has them pred_masks ((N, H, W) bool or, where that would be large,
        RunLengthMasks) and pred_keypoints (N, K, 3).
    """

    _image: Source | None = None
    _class_names: tuple[str, ...] = ()
    _reading: dict = {"pixel_range": (), "max_pixels": MOST_PIXELS}  # noqa: RUF012, never changed

    @classmethod
    def of(
        cls,
        objects: Instances,
        image: Source | None,
        class_names: Sequence[str],
        *,
        pixel_range: Sequence[float] = (),
        max_pixels: int = MOST_PIXELS,
    ) -> Detections:
        """Objects, of which these share the fields, that know their image and its class names.

        Args:
            image: as `Detector` is given it.
            pixel_range, max_pixels: by which `read_pixels` reads it.
        """
        made = cls(objects.image_size, **objects.get_fields())
        made._image, made._class_names = image, tuple(class_names)
        made._reading = {"pixel_range": tuple(pixel_range), "max_pixels": max_pixels}
        return made

    @property
    def image(self) -> Source | None:
        """The image: its path, or the array or PIL image that was given."""
        return self._image

    @property
    def class_names(self) -> list[str]:
        """The names of all classes of the detector, by pred_classes."""
        return list(self._class_names)

    @property
    def names(self) -> list[str]:
        """The class name of each object."""
        known = self._class_names
        return [known[k] if k < len(known) else f"class {k}" for k in self.pred_classes.tolist()]

    def drawn(self) -> np.ndarray:
        """The image with its objects drawn, (H * scale, W * scale, 3) uint8, RGB.

        Small images are enlarged by a whole number. Raises: InputError if the image is not known,
        not there any more, or another one by now.
        """
        if self._image is None:
            raise InputError("these objects have no image to be drawn on: take a Detector's own")
        rgb = read_pixels(self._image, "RGB", **self._reading)
        if rgb.shape[:2] != tuple(self.image_size):
            (height, width), (now, now_wide) = self.image_size, rgb.shape[:2]
            raise InputError(
                f"the objects are of an image of {width}x{height} pixels, which is {now_wide}x{now}"
                " by now: detect them again"
            )
        return annotate(rgb, objects=self.to("cpu"), classes=self._class_names)

    def save(self, path: str | Path) -> Path:
        """Write the image with its objects drawn; the file's suffix says its format.

        Raises: InputError if there is no such format or folder, the image itself would be
            overwritten, or as `drawn`.
        """
        path = Path(path)
        _check_file(path, self._image)
        options = {"quality": QUALITY} if path.suffix.lower() in (".jpg", ".jpeg", ".webp") else {}
        try:
            Image.fromarray(self.drawn()).save(path, **options)
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
        return path

    def show(self) -> None:
        """Show the image with its objects drawn: in a notebook below its cell, else in a window."""
        image = Image.fromarray(self.drawn())
        if not _shown_in_notebook(image):
            image.show()

    def _repr_png_(self) -> bytes | None:
        """What notebooks show of it as a cell's value; None without an image."""
        if self._image is None:
            return None
        file = io.BytesIO()
        Image.fromarray(self.drawn()).save(file, format="PNG")
        return file.getvalue()

    def to_supervision(self) -> supervision.Detections:
        """The same as supervision has them, with their class names in data["class_name"].

        Masks become an array of N * H * W bytes; supervision's Detections have no keypoints.

        Raises: SetupError without supervision.
        """
        try:
            import supervision
        except ImportError as error:
            advice = "pip install 'hrnet_det[supervision]'"
            raise SetupError(f"to_supervision needs supervision ({error}): {advice}") from error
        masks = self.pred_masks if self.has("pred_masks") else None
        if isinstance(masks, RunLengthMasks):
            masks = masks.tensor()
        return supervision.Detections(
            xyxy=self.pred_boxes.tensor.cpu().numpy(),
            mask=None if masks is None else masks.cpu().numpy(),
            confidence=self.scores.cpu().numpy(),
            class_id=self.pred_classes.cpu().numpy(),
            data={"class_name": np.array(self.names, dtype=str)},
        )

    def to(self, *args: object, **kwargs: object) -> Detections:
        """The same with its fields on another device."""
        return self._like(super().to(*args, **kwargs))

    def __getitem__(self, item: object) -> Detections:
        return self._like(super().__getitem__(item))

    @staticmethod
    def cat(several: Sequence[Instances]) -> Instances:
        """All objects of several; Detections, if these are of one image."""
        joined = Instances.cat(several)
        first = several[0]
        alike = all(isinstance(x, Detections) and x._image is first._image for x in several)
        return first._like(joined) if alike else Instances(joined.image_size, **joined.get_fields())

    def _like(self, objects: Instances) -> Detections:
        return Detections.of(objects, self._image, self._class_names, **self._reading)


def _check_file(path: Path, image: Source | None) -> None:
    known = Image.registered_extensions()  # which loads Pillow's plugins
    kinds = sorted(end for end, kind in known.items() if kind in Image.SAVE)
    if path.suffix.lower() not in kinds:
        raise InputError(
            f"{path}: the suffix says the format of a drawing; give .png, .jpg, .webp or another "
            "one that Pillow writes"
        )
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}: make it, or name another one")
    is_file = isinstance(image, (str, Path)) and os.path.isfile(image) and path.exists()
    if is_file and os.path.samefile(path, image):
        raise InputError(f"{path} is the image itself: name another file")


def _shown_in_notebook(image: Image.Image) -> bool:
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return False
    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return False
    display(image)
    return True
