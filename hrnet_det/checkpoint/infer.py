"""What detector a set of tensors is, told by their names and shapes."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from hrnet_det.checkpoint.formats import BODY
from hrnet_det.modeling import VARIANTS, HRNetVariant
from hrnet_det.modeling.kind import SEMANTIC_LABELS, Kind, Shapes, outputs
from hrnet_det.modeling.kinds import recognise_kind

# Keys of a YAML config whose values are the output channels of a layer, the first that is there.
_CHANNELS = {
    "MODEL.HRFPN.OUT_CHANNELS": ["backbone.reduction_conv"],
    "MODEL.ROI_BOX_HEAD.FC_DIM": ["roi_heads.box_head.fc1", "roi_heads.box_head.0.fc1"],
    "MODEL.ROI_MASK_HEAD.CONV_DIM": [
        "roi_heads.mask_head.mask_fcn1",
        "roi_heads.mask_head.0.mask_fcn1",
    ],
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": ["roi_heads.semantic_head.convs.0"],
}
# Of networks that are no HRNets: what is in names of their tensors.
_OTHERS = {
    "a ResNet": r"(^|\.)(layer[234]|res[2345])\.\d+\.",
    "a transformer": r"(^|\.)patch_embed\.",
    "a ConvNeXt": r"(^|\.)downsample_layers\.",
}


def other_network(names: Collection[str]) -> str:
    """What tensors with these names, whosever they are, belong to if to no HRNet; "" if unknown."""
    if any(re.search(r"(^|\.)stage2\.", name) for name in names):
        return ""
    found = (what for what, how in _OTHERS.items() if any(re.search(how, n) for n in names))
    return next(found, "")


def hrnet_variant(shapes: Shapes) -> HRNetVariant | None:
    """The variant whose parameters have these shapes; None if there is no whole HRNet."""

    def count(path: str) -> int:
        start = f"{BODY}{path}."
        return len({n[len(start) :].split(".")[0] for n in shapes if n.startswith(start)})

    def width(name: str) -> int:
        return shapes[f"{BODY}{name}.weight"][0]

    try:
        last = max(s for s in range(2, 10) if count(f"stage{s}"))
        return HRNetVariant(
            widths=tuple(width(f"stage{last}.0.branches.{b}.0.conv1") for b in range(last)),
            stage1_blocks=count("layer1"),
            stage1_width=width("layer1.0.conv1"),
            blocks=count("stage2.0.branches.0"),
            modules=tuple(count(f"stage{s}") for s in range(2, last + 1)),
        )
    except (KeyError, ValueError):  # a layer is missing
        return None


def variant_name(variant: HRNetVariant | None) -> str:
    """The name in VARIANTS, or the numbers of a variant that is not there."""
    if variant is None:
        return "no whole HRNet"
    for name, known in VARIANTS.items():
        if known == variant:
            return name
    widths, modules = "/".join(map(str, variant.widths)), "/".join(map(str, variant.modules))
    return f"an HRNet of widths {widths} and {modules} modules"


@dataclass(frozen=True)
class InferredDetector:
    """A detector on HRNet."""

    kind: Kind
    variant: str  # a name in VARIANTS
    pyramid: bool  # whether it has HRFPN's layers
    shares_conv: bool  # one 3x3 convolution for all levels of the pyramid
    classes: int  # 0 without any
    semantic_classes: int
    channels: dict[str, int]  # of the layers that differ between detectors of a kind, by config key
    layers: dict[str, object]  # what only this kind has of levels and layers, by config key

    @property
    def title(self) -> str:
        """Such as "Cascade Mask R-CNN, HRNetV2p-W32, 80 classes"."""
        variant = self.variant.upper().replace("_SMALL", "-small").replace("_V", "-v")
        parts = [self.kind.title, f"HRNet{'V2p' if self.pyramid else ''}-{variant}"]
        if self.classes:
            parts.append(f"{self.classes} classes")
        if self.semantic_classes and SEMANTIC_LABELS in self.kind.learns:
            parts.append(f"{self.semantic_classes} semantic classes")
        return ", ".join(parts)

    def overrides(self) -> list[str]:
        """KEY VALUE pairs that make a config of the kind this detector."""
        values = {
            "MODEL.HRNET.VARIANT": self.variant,
            "MODEL.HRFPN.SHARE_CONV": self.shares_conv,
            "MODEL.HTC.SEMANTIC_ON": self.semantic_classes > 0,
            **self.channels,
            **self.layers,
        }
        if self.classes:
            values[self.kind.classes.yaml] = self.classes
        if self.semantic_classes:
            values[self.kind.semantic_classes.yaml] = self.semantic_classes
        return [str(word) for pair in values.items() for word in pair]


def infer_detector(shapes: Shapes) -> InferredDetector | None:
    """The detector whose tensors, by our names, have these shapes; None if it is none of KINDS."""
    kind, variant = recognise_kind(shapes), variant_name(hrnet_variant(shapes))
    if kind is None or variant not in VARIANTS:
        return None
    convs = [n for n in shapes if n.startswith("backbone.fpn_convs.") and n.endswith(".weight")]
    channels = {key: outputs(shapes, *layers) for key, layers in _CHANNELS.items()}
    return InferredDetector(
        kind=kind,
        variant=variant,
        pyramid=channels["MODEL.HRFPN.OUT_CHANNELS"] > 0,
        shares_conv=len(convs) == 1,
        classes=kind.count_classes(shapes) if kind.classes else 0,
        semantic_classes=kind.count_semantic_classes(shapes) if kind.semantic_classes else 0,
        channels={key: count for key, count in channels.items() if count},
        layers=kind.read_layers(shapes),
    )


def title_of(shapes: Shapes) -> str:
    """What the tensors are, for messages: a detector, an HRNet, or a part of one."""
    if found := infer_detector(shapes):
        return found.title
    variant = hrnet_variant(shapes)
    return f"HRNet {variant_name(variant)}" if variant else "an HRNet that is not whole"
