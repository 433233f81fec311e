"""A file's tensors under our names, with their classes in our order."""

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hrnet_det.checkpoint.formats import OWN, Format, recognise
from hrnet_det.checkpoint.infer import InferredDetector, infer_detector
from hrnet_det.errors import InputError
from hrnet_det.modeling.compat.conventions import DETECTRON2


@dataclass
class Renamed:
    """A file's tensors under our names, with their classes in our order."""

    path: str
    format: Format
    weights: dict[str, Tensor] = field(default_factory=dict)
    dropped: dict[str, list[str]] = field(default_factory=dict)  # left out on purpose, by reason
    unknown: list[str] = field(default_factory=list)  # names that the format does not have

    @property
    def shapes(self) -> dict[str, torch.Size]:
        return {name: tensor.shape for name, tensor in self.weights.items()}

    @property
    def detector(self) -> InferredDetector | None:
        return infer_detector(self.shapes)

    @property
    def conventions(self) -> str:
        """Those of the format where there is a detector that follows them, otherwise ""."""
        found = self.detector
        known = (DETECTRON2, *found.kind.conventions) if found else ()
        return self.format.conventions if self.format.conventions in known else ""


def rename(weights: dict[str, Tensor], path: str, *, own_names: Collection[str] = ()) -> Renamed:
    """Bring a file's tensors under our names, exactly, and their classes in our order.

    A file that has only `own_names`, those of the model to load it into, has ours.
    Raises: InputError as `recognise`, and if two tensors would get the same name.
    """
    format = OWN if weights.keys() <= set(own_names) else recognise(weights, path)
    renamed = Renamed(path, format)
    for name, tensor in weights.items():
        ours = format.to_ours(name)
        if reason := format.reason_to_ignore(name):
            renamed.dropped.setdefault(reason, []).append(name)
        elif ours is None:
            renamed.unknown.append(name)
        elif ours in renamed.weights:
            raise InputError(f"{path}: two tensors are {ours}, one of them is {name}")
        else:
            moved = _background_last(ours, tensor) if format.background_first else tensor
            renamed.weights[ours] = _scalar(ours, moved)
    return renamed


def _scalar(name: str, tensor: Tensor) -> Tensor:
    """FCOS's scale of a level without an axis, which some files give it."""
    return tensor.reshape(()) if name.startswith("head.scales.") and tensor.numel() == 1 else tensor


def _background_last(name: str, tensor: Tensor) -> Tensor:
    """Rows of a class layer, weight or bias, from background first to last, or to none."""
    if not name.startswith(("roi_heads.box_predictor.", "roi_heads.mask_head.")):
        return tensor
    layer = name.split(".")[-2]
    if layer == "cls_score":
        return torch.cat([tensor[1:], tensor[:1]])
    rows = {"bbox_pred": 4, "predictor": 1}.get(layer, 0)
    return tensor[rows:] if len(tensor) > rows else tensor  # not more: of all classes together
