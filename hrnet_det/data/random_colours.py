"""Random changes of colour that need the order of an image's channels."""

from __future__ import annotations

import numpy as np
import torch
from detectron2.data import transforms as T
from fvcore.transforms.transform import Transform
from torchvision.transforms.v2.functional import adjust_hue

COLOUR_FORMATS = ("RGB", "BGR")


class RandomSaturation(T.RandomSaturation):
    """Detectron2's, for images of either order of channels."""

    def __init__(self, low: float, high: float, pixels: str = "RGB") -> None:
        super().__init__(low, high)
        self._init({"pixels": pixels, "low": low, "high": high})

    def get_transform(self, image: np.ndarray) -> Transform:
        blend = super().get_transform(image[:, :, ::-1] if self.pixels == "BGR" else image)
        blend.src_image = blend.src_image.astype(np.float32)
        return blend


class HueTransform(T.ColorTransform):
    """Colours turned on the colour circle, by torchvision; grey stays grey."""

    def __init__(self, degrees: float, pixels: str) -> None:
        super().__init__(self._turned)
        self._set_attributes({"degrees": degrees, "pixels": pixels})

    def _turned(self, image: np.ndarray) -> np.ndarray:
        rgb = image[:, :, ::-1] if self.pixels == "BGR" else image
        scale = 1 if image.dtype == np.uint8 else 255  # torchvision's floats lie in 0..1
        channels = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
        channels = channels if scale == 1 else (channels / scale).clip(0, 1)
        turned = adjust_hue(channels, self.degrees / 360).numpy().transpose(1, 2, 0)
        turned = turned if scale == 1 else turned * scale
        return turned[:, :, ::-1] if self.pixels == "BGR" else turned


class RandomHue(T.Augmentation):
    """Colours turned on the colour circle by up to `degrees` either way."""

    def __init__(self, degrees: float, pixels: str = "RGB") -> None:
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        return HueTransform(float(self._rand_range(-self.degrees, self.degrees)), self.pixels)
