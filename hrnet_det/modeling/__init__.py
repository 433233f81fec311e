"""HRNet, its heads and its pyramid as Detectron2 backbones, and their registered builders."""

from hrnet_det.modeling.backbone import build as _registers_the_builders  # noqa: F401
from hrnet_det.modeling.backbone.hrfpn import HRFPN
from hrnet_det.modeling.backbone.hrnet import HRNet
from hrnet_det.modeling.backbone.hrnetv2 import HRNetV1, HRNetV2
from hrnet_det.modeling.backbone.variants import VARIANTS, HRNetVariant
from hrnet_det.modeling.compat import rcnn as _registers_compat_rcnn  # noqa: F401
from hrnet_det.modeling.compat import roi_heads as _registers_compat_heads  # noqa: F401
from hrnet_det.modeling.inference.optimize import optimize_for_inference
from hrnet_det.modeling.meta_arch import fcos as _registers_fcos  # noqa: F401
from hrnet_det.modeling.meta_arch import htc as _registers_htc  # noqa: F401
from hrnet_det.modeling.meta_arch import panoptic_deeplab as _registers_panoptic  # noqa: F401
from hrnet_det.modeling.meta_arch import semantic_seg as _registers_the_semantic_head  # noqa: F401

__all__ = [
    "HRFPN",
    "VARIANTS",
    "HRNet",
    "HRNetV1",
    "HRNetV2",
    "HRNetVariant",
    "optimize_for_inference",
]
