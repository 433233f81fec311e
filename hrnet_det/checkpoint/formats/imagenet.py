"""Classification weights: those of HRNet-Image-Classification and of timm."""

from hrnet_det.checkpoint.formats.base import BODY, Format

_HEAD = r"(incre_modules|downsamp_modules|final_layer|classifier)\..+"
IMAGENET = Format(
    name="imagenet",
    title="ImageNet classification (official or timm)",
    recognises=lambda names: {"conv1", "stage2"} <= {name.split(".")[0] for name in names},
    rules=(("{body}", BODY + "{body}"),),
    ignored=((_HEAD, "head of the ImageNet classifier"),),
    wraps=lambda weights, metadata: weights,
)
