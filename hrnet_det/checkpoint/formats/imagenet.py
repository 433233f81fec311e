"""Classification weights: those of HRNet-Image-Classification and of timm."""

from __future__ import annotations

from hrnet_det.checkpoint.formats.base import BODY, Format, Names


def _recognises(names: Names) -> bool:
    return {"conv1", "stage2"} <= {name.split(".")[0] for name in names}


IMAGENET = Format(
    name="imagenet",
    title="ImageNet classification (official or timm)",
    recognises=_recognises,
    rules=(("{body}", BODY + "{body}"),),
    ignored=(
        (
            r"(incre_modules|downsamp_modules|final_layer|classifier)\..+",
            "head of the ImageNet classifier",
        ),
    ),
    wraps=lambda weights, metadata: weights,
)
