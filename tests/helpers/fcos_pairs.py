"""Our FCOS's training step beside mmdetection's, of the same weights, pixels and objects."""

from collections.abc import Sequence
from typing import NamedTuple
from unittest import mock

import helpers.mmdet_fcos as theirs
import torch
from detectron2.config import CfgNode
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from hrnet_det import model_zoo
from hrnet_det.checkpoint.formats import MMDET
from hrnet_det.checkpoint.renaming import rename

NAMES = {
    "loss_fcos_cls": "loss_cls",
    "loss_fcos_loc": "loss_bbox",
    "loss_fcos_ctr": "loss_centerness",
}
Values = dict[str, Tensor]


class Apart(NamedTuple):
    """How far two training steps are apart, relative to mmdetection's.

    Attributes:
        losses: of each term, by our names. total: of the sum, with its sign.
        gradients: by the beginning of our names of parameters, "" for all.
        cosine: of the angle between the gradients of backbone and pyramid.
    """

    losses: dict[str, float]
    total: float
    gradients: dict[str, float]
    cosine: float


def build(cfg: CfgNode, reference: nn.Module) -> nn.Module:
    """Our detector of a config with mmdetection's weights, float64 and in training mode."""
    model = model_zoo.build_detector(cfg).double().train()
    model.load_state_dict(rename(reference.state_dict(), "mmdetection's").weights)
    return model


def rows(images: Sequence[theirs.Image]) -> list[dict]:
    """What Detectron2's mapper makes of images."""
    return [
        {
            "image": image.pixels,
            "instances": Instances(
                image.pixels.shape[1:], gt_boxes=Boxes(image.boxes), gt_classes=image.classes
            ),
        }
        for image in images
    ]


def losses(
    model: nn.Module, images: Sequence[theirs.Image], pixels: ImageList | None = None
) -> Values:
    """Ours of a batch, of normalised pixels where they are given."""
    with (
        EventStorage(),
        mock.patch.object(
            model, "preprocess_image", (lambda _: pixels) if pixels else model.preprocess_image
        ),
    ):
        return model(rows(images))


def their_losses(
    reference: nn.Module, model: nn.Module, images: Sequence[theirs.Image]
) -> tuple[Values, ImageList]:
    """Mmdetection's of the pixels as our model has them, and these."""
    pixels = model.preprocess_image(rows(images))
    return theirs.losses(reference, pixels.tensor, images), pixels


def compare(
    reference: nn.Module,
    model: nn.Module,
    images: Sequence[theirs.Image],
    *,
    pixels_of: nn.Module | None = None,
) -> Apart:
    """A training step of both.

    Args:
        pixels_of: one of our models whose normalised pixels both get; None for the model's own.
    """
    wanted, pixels = their_losses(reference, pixels_of or model, images)
    found = losses(model, images, pixels)
    assert found.keys() == NAMES.keys() and wanted.keys() == set(NAMES.values())
    terms = {name: (found[name] - wanted[NAMES[name]]).abs().item() for name in NAMES}
    terms = {n: float(x / max(wanted[NAMES[n]].item(), 1e-12)) for n, x in terms.items()}
    total = (sum(found.values()) / sum(wanted.values()) - 1).item()
    ours = _gradients(model, found, lambda name: name)
    other = _gradients(reference, wanted, MMDET.to_ours)
    assert ours.keys() == other.keys()
    parts = ("backbone.bottom_up.", "backbone.", "head.", "")
    mine, whole = (_flat(g, "backbone.") for g in (ours, other))
    cosine = torch.cosine_similarity(mine, whole, dim=0).item()
    return Apart(terms, total, {part: difference(ours, other, part) for part in parts}, cosine)


def difference(ours: Values, other: Values, start: str) -> float:
    """The norm of the difference by that of theirs, over the tensors of a part."""
    mine, whole = _flat(ours, start), _flat(other, start)
    return ((mine - whole).norm() / whole.norm()).item()


def _flat(values: Values, start: str) -> Tensor:
    return torch.cat([values[n].flatten() for n in sorted(values) if n.startswith(start)])


def _gradients(model: nn.Module, computed: Values, names: object) -> Values:
    model.zero_grad()
    sum(computed.values()).backward()
    return {
        names(name): torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in model.named_parameters()
    }
