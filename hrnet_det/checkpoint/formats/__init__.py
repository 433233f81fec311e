"""Weights files of other projects; docs/development.md says how to add one."""

from hrnet_det.checkpoint.formats.base import BODY, Format, Names, has
from hrnet_det.checkpoint.formats.fcos import HRNET_FCOS
from hrnet_det.checkpoint.formats.hrnet_object_detection import HRNET_OBJECT_DETECTION
from hrnet_det.checkpoint.formats.imagenet import IMAGENET
from hrnet_det.checkpoint.formats.maskrcnn_benchmark import MASKRCNN_BENCHMARK
from hrnet_det.checkpoint.formats.mmdet import MMDET
from hrnet_det.checkpoint.formats.mmdet1 import MMDET_1
from hrnet_det.checkpoint.formats.panoptic_deeplab import (
    PANOPTIC_DEEPLAB,
    PANOPTIC_DEEPLAB_D2,
)
from hrnet_det.checkpoint.io import METADATA_KEY
from hrnet_det.errors import InputError


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
    rules=(("{name}", "{name}"),),
    refuses=_refuses,
    wraps=lambda weights, metadata: {"model": weights, METADATA_KEY: metadata},
)
FORMATS = (
    OWN,
    PANOPTIC_DEEPLAB,
    PANOPTIC_DEEPLAB_D2,
    MMDET,
    MMDET_1,
    HRNET_OBJECT_DETECTION,
    HRNET_FCOS,
    MASKRCNN_BENCHMARK,
    IMAGENET,
)


def recognise(names: Names, path: str) -> Format:
    """The format of a file, told by the names of its tensors alone; `OWN` if no other has them.

    Raises: InputError for a file that cannot be loaded here (the message says what it is).
    """
    format = next((format for format in FORMATS if format.recognises(names)), OWN)
    if reason := format.refuses(names):
        raise InputError(f"{path} is {reason}")
    return format
