"""How far training by our rules is from HRNet-Object-Detection's training: a Markdown table.

    python -m tools.training_parity_od [KIND ...]

As tools.training_parity, beside the formulas of tests/helpers/od_training.py, because the source
runs on CUDA with PyTorch 1.0 only: a training step of the published W18 detectors on the same two
images and objects, with the initial values of MODEL.CONVENTIONS hrnet_object_detection, proposals
of each side's own, networks in float64 and boxes in float32; the mean of DRAWS draws of the
samplers. FCOS, which has none, is compared in tests/modeling/compat/test_training_od_fcos.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # whose helpers have the formulas

import helpers.drawn_objects as scenes
import helpers.od_training_heads as formulas
import helpers.training_pairs as ours
from helpers.od_training import Batch, Objects

from hrnet_det.checkpoint.formats import HRNET_OBJECT_DETECTION
from hrnet_det.modeling.build_model import build_detector

OD = ("MODEL.CONVENTIONS", HRNET_OBJECT_DETECTION.name)
SIZES, PADDED = ((250, 320), (200, 301)), (256, 320)  # height, width in pixels
DRAWS = 3
LAST_PIXEL = torch.tensor([0, 0, 1, 1])  # from a half-open box to a closed one


class Step(NamedTuple):
    """Losses by name, and their gradient in backbone and pyramid, (P,); means of the draws."""

    losses: dict[str, float]
    gradient: Tensor


def build(cfg: CfgNode, state: dict[str, Tensor] | None = None) -> nn.Module:
    """A detector in float64, boxes in float32; with its own initial values unless given others."""
    torch.manual_seed(0)
    model = build_detector(cfg)
    if state is not None:
        model.load_state_dict(state)
    model = model.double().train()
    generator = model.proposal_generator
    generator.anchor_generator.float()
    predict = generator.predict_proposals
    generator.predict_proposals = lambda anchors, logits, *others: predict(
        anchors, [x.float() for x in logits], *others
    )
    return model


@torch.no_grad()
def settle(model: nn.Module, pixels: Tensor) -> None:
    """Give the backbone's norms the statistics of a batch."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    model.backbone(pixels)
    model.train()  # in which norms keep them


def under_their_names(model: nn.Module) -> dict[str, Tensor]:
    """The heads' weights as the source has them, with the background in row 0."""
    found = {}
    for name, tensor in model.state_dict().items():
        theirs = HRNET_OBJECT_DETECTION.to_theirs(name)
        if name.startswith("backbone.") or theirs is None:
            continue
        if "fc_cls" in theirs:
            tensor = torch.cat([tensor[-1:], tensor[:-1]])
        elif ("fc_reg" in theirs and len(tensor) > 4) or "mask_head" in theirs:
            rows = 4 if "fc_reg" in theirs else int("conv_logits" in theirs)
            tensor = torch.cat([torch.zeros_like(tensor[:rows]), tensor])
        found[theirs] = tensor
    return found


def our_step(model: nn.Module, scene: Sequence[scenes.Objects], *, bitmaps: bool) -> Step:
    """Ours by the rules of the model."""
    rows = [ours._row(objects, bitmaps=bitmaps) for objects in scene]
    return _mean(model, lambda: model(rows))


def their_step(kind: str, model: nn.Module, scene: Sequence[scenes.Objects]) -> Step:
    """The source's, of the pyramid that our backbone gives."""
    images = model.preprocess_image([ours._row(objects, bitmaps=True) for objects in scene])
    weights, objects = under_their_names(model), []
    for each in scene:
        masks = torch.zeros(len(each.boxes), *PADDED, dtype=torch.uint8)
        masks[:, : each.masks.shape[1], : each.masks.shape[2]] = torch.from_numpy(each.masks)
        objects.append(Objects(each.boxes - LAST_PIXEL, each.classes, masks))
    labels = [torch.from_numpy(each.labels).long() for each in scene]
    cells = formulas.semantic_cells(labels, PADDED) if kind == "htc" else None

    def losses() -> dict[str, Tensor]:
        features = list(model.backbone(images.tensor).values())
        name = kind.removesuffix("_without_semantics")
        return formulas.losses(name, weights, Batch(features, SIZES, objects, cells))

    return _mean(model, losses)


def _mean(model: nn.Module, losses: Callable[[], dict[str, Tensor]]) -> Step:
    parameters = [p for p in model.backbone.parameters() if p.requires_grad]
    values, gradient = {}, 0
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        with EventStorage():
            found = losses()
        parts = torch.autograd.grad(sum(found.values()), parameters)
        gradient = gradient + torch.cat([part.flatten() for part in parts]) / DRAWS
        for name, value in found.items():
            values[name] = values.get(name, 0) + value.item() / DRAWS
    return Step(values, gradient)


def line(kind: str, overrides: Sequence[str] = ()) -> str:
    """The row of a detector, one of helpers' TITLES; overrides: KEY, VALUE, ... of its config."""
    make = partial(ours.config, kind, small=False)
    same = build(make(overrides=(*OD, *overrides)))
    scene = [scenes.drawn(size, seed=n) for n, size in enumerate(SIZES)]
    settle(same, same.preprocess_image([ours._row(o, bitmaps=True) for o in scene]).tensor)
    shipped = build(make(overrides=overrides), same.state_dict())
    theirs = their_step(kind, same, scene)
    after = our_step(same, scene, bitmaps=True)
    before = our_step(shipped, scene, bitmaps=False)
    total = sum(before.losses.values()) / sum(theirs.losses.values()) - 1
    apart = {name: abs(after.losses[name] / value - 1) for name, value in theirs.losses.items()}
    worst = max(apart, key=apart.get)
    norm = theirs.gradient.norm()
    differences = [((step.gradient - theirs.gradient).norm() / norm) for step in (before, after)]
    cosine = before.gradient @ theirs.gradient / before.gradient.norm() / norm
    return (
        f"| {ours.TITLES[kind]} | {total:+.1%} | {differences[0]:.2f} ({cosine:.3f}) | "
        f"{apart[worst]:.1e} ({worst}) | {differences[1]:.1e} |"
    )


HEAD = """\
| detector | total loss, shipped rules | gradient (cosine) | with `hrnet_object_detection`: worst \
loss term | gradient |
|---|---|---|---|---|"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(ours.TITLES)}")
    kinds = parser.parse_args(arguments).kinds or list(ours.TITLES)
    if unknown := [kind for kind in kinds if kind not in ours.TITLES]:
        parser.error(f"unknown {', '.join(unknown)}; known: {', '.join(ours.TITLES)}")
    print(HEAD)
    for kind in kinds:
        print(line(kind), flush=True)


if __name__ == "__main__":
    main()
