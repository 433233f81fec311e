"""HRNet and its feature pyramid (HRNetV2p, arXiv:1908.07919) as backbones for Detectron2."""

import sys
from pathlib import Path

from hrnet_det.environment import detectron2_error, require_detectron2

__version__ = "0.1.0"

# `hrnet-det doctor` and `hrnet-det install-detectron2` have to work without Detectron2.
_IS_CONSOLE_SCRIPT = Path((sys.argv or [""])[0]).stem == "hrnet-det"
if not _IS_CONSOLE_SCRIPT:
    require_detectron2()

if detectron2_error() is None:
    from hrnet_det import model_zoo
    from hrnet_det.config import add_hrnet_config, get_cfg
    from hrnet_det.data import register_quickstart
    from hrnet_det.detector import Detector
    from hrnet_det.modeling import HRFPN, VARIANTS, HRNet, HRNetV1, HRNetV2, HRNetVariant

    register_quickstart()

    __all__ = [
        "HRFPN",
        "VARIANTS",
        "Detector",
        "HRNet",
        "HRNetV1",
        "HRNetV2",
        "HRNetVariant",
        "add_hrnet_config",
        "get_cfg",
        "model_zoo",
    ]
