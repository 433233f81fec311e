"""What detector a set of tensors is, told by their names and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from hrnet_det.checkpoint.formats import BODY
from hrnet_det.modeling import VARIANTS, HRNetVariant

Shapes = Mapping[str, torch.Size]
BASES = {  # the config that each kind of detector starts from
    "faster_rcnn": "Base-RCNN-HRNetV2p.yaml",
    "mask_rcnn": "Base-RCNN-HRNetV2p.yaml",
    "cascade_rcnn": "Base-Cascade-RCNN-HRNetV2p.yaml",
    "cascade_mask_rcnn": "Base-Cascade-RCNN-HRNetV2p.yaml",
    "cascade_rcnn_one_mask": "Base-Cascade-RCNN-HRNetV2p.yaml",  # Detectron2's
    "htc": "Base-HTC-HRNetV2p.yaml",
    "fcos": "Base-FCOS-HRNetV2p.yaml",
}
TITLES = {
    "faster_rcnn": "Faster R-CNN",
    "mask_rcnn": "Mask R-CNN",
    "cascade_rcnn": "Cascade R-CNN",
    "cascade_mask_rcnn": "Cascade Mask R-CNN",
    "cascade_rcnn_one_mask": "Cascade R-CNN with one mask head",
    "htc": "Hybrid Task Cascade",
    "fcos": "FCOS",
}


def hrnet_variant(shapes: Shapes, prefix: str = BODY) -> HRNetVariant | None:
    """The variant whose parameters have these shapes; None if there is no whole HRNet.

    Args:
        shapes: of tensors by our names. prefix: before the names inside HRNet.
    """

    def count(*path: object) -> int:
        start = prefix + ".".join(map(str, path)) + "."
        return len({n[len(start) :].split(".")[0] for n in shapes if n.startswith(start)})

    def width(name: str) -> int:
        return shapes[f"{prefix}{name}.weight"][0]

    try:
        last = max(s for s in range(2, 10) if count(f"stage{s}"))
        return HRNetVariant(
            widths=tuple(width(f"stage{last}.0.branches.{b}.0.conv1") for b in range(last)),
            stage1_blocks=count("layer1"),
            stage1_width=width("layer1.0.conv1"),
            blocks=count("stage2", 0, "branches", 0),
            modules=tuple(count(f"stage{s}") for s in range(2, last + 1)),
        )
    except (KeyError, ValueError):  # a layer is missing
        return None


def variant_name(variant: HRNetVariant | None) -> str:
    """The name in VARIANTS, or the numbers of a variant that is not there."""
    if variant is None:
        return "no whole HRNet"
    known = next((name for name, numbers in VARIANTS.items() if numbers == variant), None)
    widths = "/".join(map(str, variant.widths))
    modules = "/".join(map(str, variant.modules))
    return known or f"an HRNet of widths {widths} and {modules} modules"


@dataclass(frozen=True)
class Architecture:
    """A detector on HRNetV2p.

    Args:
        kind: a key of BASES.
        variant: a name in VARIANTS.
        classes: foreground classes.
        out_channels: of the pyramid.
        box_channels, mask_channels: of the layers inside the box and mask heads; 0 without them.
        shares_conv: one 3x3 convolution for all of its levels.
        semantic_classes, semantic_channels: of a Hybrid Task Cascade's semantic branch, and of the
            layers inside it; 0 without one.
    """

    kind: str
    variant: str
    classes: int
    out_channels: int
    box_channels: int
    mask_channels: int
    shares_conv: bool
    semantic_classes: int = 0
    semantic_channels: int = 0

    @property
    def title(self) -> str:
        """For messages, such as "Cascade Mask R-CNN, HRNetV2p-W32, 80 classes"."""
        width = self.variant.upper().replace("_SMALL", "-small").replace("_V", "-v")
        return f"{TITLES[self.kind]}, HRNetV2p-{width}, {self.classes} classes"

    def overrides(self) -> list[str]:
        """KEY VALUE pairs that make BASES[kind] this detector."""
        group = "FCOS" if self.kind == "fcos" else "ROI_HEADS"
        sizes = {
            "MODEL.ROI_BOX_HEAD.FC_DIM": self.box_channels,
            "MODEL.ROI_MASK_HEAD.CONV_DIM": self.mask_channels,
            "MODEL.SEM_SEG_HEAD.NUM_CLASSES": self.semantic_classes,
            "MODEL.SEM_SEG_HEAD.CONVS_DIM": self.semantic_channels,
        }
        one_mask = self.kind == "cascade_rcnn_one_mask"
        return [
            *(("MODEL.ROI_HEADS.NAME", "CascadeROIHeads") if one_mask else ()),
            *(word for key, size in sizes.items() if size for word in (key, str(size))),
            *("MODEL.HRNET.VARIANT", self.variant),
            *("MODEL.HRFPN.OUT_CHANNELS", str(self.out_channels)),
            *("MODEL.HRFPN.SHARE_CONV", str(self.shares_conv)),
            *(f"MODEL.{group}.NUM_CLASSES", str(self.classes)),
            *("MODEL.MASK_ON", str(self.mask_channels > 0)),
            *("MODEL.HTC.SEMANTIC_ON", str(self.semantic_classes > 0)),
        ]


def architecture(shapes: Shapes) -> Architecture | None:
    """The detector whose tensors, by our names, have these shapes; None if it is none of BASES."""
    variant = variant_name(hrnet_variant(shapes))
    reduction = shapes.get("backbone.reduction_conv.weight")
    if variant not in VARIANTS or reduction is None:
        return None
    masks = any(name.startswith("roi_heads.mask_head.") for name in shapes)
    for name, kind, background in (
        ("head.cls_score.weight", "fcos", 0),
        ("roi_heads.box_predictor.cls_score.weight", "rcnn", 1),
        ("roi_heads.box_predictor.0.cls_score.weight", "cascade_rcnn", 1),
    ):
        if name not in shapes:
            continue
        if kind == "fcos":
            if "head.ctrness.weight" not in shapes:  # a RetinaNet
                return None
        elif kind == "rcnn":
            kind = "mask_rcnn" if masks else "faster_rcnn"
        elif "roi_heads.mask_head.1.conv_res.weight" in shapes:
            kind = "htc"
        elif masks:
            staged = any(name.startswith("roi_heads.mask_head.0.") for name in shapes)
            kind = "cascade_mask_rcnn" if staged else "cascade_rcnn_one_mask"
        convs = {n for n in shapes if n.startswith("backbone.fpn_convs.") and n.endswith(".weight")}
        return Architecture(
            kind=kind,
            variant=variant,
            classes=shapes[name][0] - background,
            out_channels=reduction[0],
            box_channels=_outputs(shapes, "roi_heads.box_head", "fc1"),
            mask_channels=_outputs(shapes, "roi_heads.mask_head", "mask_fcn1"),
            shares_conv=len(convs) == 1,
            semantic_classes=_outputs(shapes, "roi_heads.semantic_head", "predictor"),
            semantic_channels=_outputs(shapes, "roi_heads.semantic_head", "convs.0"),
        )
    return None


def _outputs(shapes: Shapes, head: str, layer: str) -> int:
    """Output channels of a head's layer, in a cascade of its first stage's; 0 without it."""
    names = (f"{head}.{layer}.weight", f"{head}.0.{layer}.weight")
    return next((shapes[name][0] for name in names if name in shapes), 0)
