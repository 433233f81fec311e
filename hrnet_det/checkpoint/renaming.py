"""Whose naming a file has, and its tensors under ours."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hrnet_det.checkpoint.formats import (
    IMAGENET,
    MASKRCNN_BENCHMARK,
    MMDET,
    OBJECT_DETECTION,
    OWN,
    Format,
)
from hrnet_det.errors import InputError


def recognise(names: Iterable[str], path: str) -> Format:
    """The format of a file, told by the names of its tensors alone.

    Raises: InputError for an HRNet detector that cannot be loaded here (the message says which).
    """
    names = list(names)
    parts = {name.split(".")[0] for name in names}

    def has(*prefixes: str) -> bool:
        return any(name.startswith(prefixes) for name in names)

    if has("backbone.interp_conv.", "backbone.reduction_pooling_conv."):
        raise InputError(
            f"{path} is a DensePose HRFPN: a pyramid of other layers (transposed convolutions), "
            "whose weights fit no HRNetV2p; its HRNet alone may be saved under the names conv1, ..."
        )
    if has("backbone.body."):
        return MASKRCNN_BENCHMARK
    if has("backbone.conv1.", "backbone.stage2."):
        if has("bbox_head.fcos_"):
            raise InputError(
                f"{path} is an FCOS of mmdetection 1, whose heads are not known here; FCOS of "
                "mmdetection 2 and 3 can be loaded"
            )
        if has("roi_head.", "bbox_head.conv_cls."):
            return MMDET
        heads = {name for name in names if name.startswith(("bbox_head.", "mask_head."))}
        if heads and not any(OBJECT_DETECTION.to_ours(name) for name in heads):
            raise InputError(
                f"{path} is a detector of mmdetection whose heads are not known here "
                f"({min(heads)}, ...)"
            )
        return OBJECT_DETECTION if heads else MMDET
    if "conv1" in parts and "stage2" in parts:
        return IMAGENET
    return OWN


@dataclass
class Renamed:
    """A file's tensors under our names.

    Args:
        format: the naming that the file has.
        weights: tensors by our names, classes in our order.
        dropped: names of what was left out on purpose, by reason.
        unknown: names that the format does not have.
    """

    format: Format
    weights: dict[str, Tensor]
    dropped: dict[str, list[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def rename(weights: dict[str, Tensor], path: str, *, own_names: Collection[str] = ()) -> Renamed:
    """Bring a file's tensors under our names, exactly, and their classes in our order.

    Args:
        weights: by the file's names. path: for messages.
        own_names: of the model to load them into: a file that has only such names has ours.
    Raises: InputError as `recognise`, and if two tensors would get the same name.
    """
    own = own_names and weights.keys() <= set(own_names)
    format = OWN if own else recognise(weights, path)
    if format is OWN:
        return Renamed(format, dict(weights))
    renamed = Renamed(format, {})
    for name, tensor in weights.items():
        reason = format.reason_to_ignore(name)
        ours = format.to_ours(name)
        if reason is not None:
            renamed.dropped.setdefault(reason, []).append(name)
        elif ours is None:
            renamed.unknown.append(name)
        elif ours in renamed.weights:
            raise InputError(f"{path}: two tensors are {ours}, one of them is {name}")
        else:
            if format.background_first:
                tensor = _background_last(ours, tensor)
            renamed.weights[ours] = tensor
    return renamed


def _background_last(name: str, tensor: Tensor) -> Tensor:
    """Rows of a class layer, weight or bias, from background first to last, or to none."""
    if name.startswith("roi_heads.box_predictor.") and ".cls_score." in name:
        return torch.cat([tensor[1:], tensor[:1]])
    if name.startswith("roi_heads.box_predictor.") and ".bbox_pred." in name:
        return tensor[4:] if len(tensor) > 4 else tensor  # 4: for all classes together
    if name.startswith("roi_heads.mask_head.") and ".predictor." in name:
        return tensor[1:] if len(tensor) > 1 else tensor  # 1: for all classes together
    return tensor
