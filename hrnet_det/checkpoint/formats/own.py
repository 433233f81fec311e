"""Files of hrnet_det and of Detectron2, whose names are ours."""

from __future__ import annotations

from hrnet_det.checkpoint.formats.base import BODY, Format, Names, has
from hrnet_det.checkpoint.io import METADATA_KEY


def _refuses(names: Names) -> str:
    if has(names, "backbone.interp_conv.", "backbone.reduction_pooling_conv."):
        return (
            "a DensePose HRFPN: a pyramid of other layers (transposed convolutions), whose weights "
            "fit no HRNetV2p; its HRNet alone may be saved under the names conv1, ..."
        )
    return ""


OWN = Format(
    name="hrnet_det",
    title="hrnet_det or Detectron2",
    recognises=lambda names: has(names, BODY),
    rules=None,
    refuses=_refuses,
    wraps=lambda weights, metadata: {"model": weights, METADATA_KEY: metadata},
)
