"""HRNetV2p, and what changes of a Detectron2 model that gets it as its backbone."""

from detectron2.config import LazyCall as L
from omegaconf import DictConfig

from hrnet_det.modeling import HRFPN, HRNet

# ImageNet weights (official or timm) expect RGB in [0, 255] with this mean and deviation.
PIXELS = {"pixel_mean": [123.675, 116.28, 103.53], "pixel_std": [58.395, 57.12, 57.375]}

backbone = L(HRFPN)(bottom_up=L(HRNet)(variant="w18", norm="BN", norm_eval=True))


def on_hrnetv2p(model: DictConfig) -> DictConfig:
    """The model with HRNetV2p-W18 as its backbone, and the pixels that its weights expect."""
    model.backbone = backbone
    model.update(PIXELS, input_format="RGB")
    return model
