"""HRNet, its heads and its pyramid as Detectron2 backbones, and their registered builders."""

from hrnet_det.modeling import build as _registers_the_builders  # noqa: F401
from hrnet_det.modeling import fcos as _registers_fcos  # noqa: F401
from hrnet_det.modeling import htc as _registers_htc  # noqa: F401
from hrnet_det.modeling import semantic as _registers_the_semantic_head  # noqa: F401
from hrnet_det.modeling import source_heads as _registers_source_heads  # noqa: F401
from hrnet_det.modeling import source_rcnn as _registers_source_rcnn  # noqa: F401
from hrnet_det.modeling.heads import HRNetV1, HRNetV2
from hrnet_det.modeling.hrfpn import HRFPN
from hrnet_det.modeling.hrnet import HRNet
from hrnet_det.modeling.inference import optimize_for_inference
from hrnet_det.modeling.variants import VARIANTS, HRNetVariant

__all__ = [
    "HRFPN",
    "VARIANTS",
    "HRNet",
    "HRNetV1",
    "HRNetV2",
    "HRNetVariant",
    "optimize_for_inference",
]
