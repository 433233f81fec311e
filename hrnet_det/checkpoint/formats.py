"""How each project names the tensors of an HRNet detector, and how that becomes our naming."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

BODY = "backbone.bottom_up."
_PLACES = {
    "body": r"(?:conv[12]|bn[12]|layer1|transition\d+|stage\d+)\..+",
    "p": r"weight|bias",
    "n": r"\d+",
}
Rules = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Format:
    """One project's naming.

    Args:
        name: as in `conventions.CONVENTIONS` for detectors.
        title: for messages.
        rules: pairs of patterns (its name, our name). {body} is a name inside HRNet, {p} weight or
            bias, {n} a number; all else is literal. A name that no rule matches is unknown.
        ignored: pairs of a pattern of names that are left out on purpose, and the reason.
        background_first: the background is the first class, here the last.
    """

    name: str
    title: str
    rules: Rules = ()
    ignored: tuple[tuple[str, str], ...] = field(default=())
    background_first: bool = False

    @cached_property
    def _to_ours(self) -> list[tuple[re.Pattern, str]]:
        return [(_compiled(theirs), ours) for theirs, ours in self.rules]

    @cached_property
    def _to_theirs(self) -> list[tuple[re.Pattern, str]]:
        return [(_compiled(ours), theirs) for theirs, ours in self.rules]

    def to_ours(self, name: str) -> str | None:
        """Our name of a tensor of theirs; None if no rule matches."""
        return _renamed(name, self._to_ours)

    def to_theirs(self, name: str) -> str | None:
        """Their name of a tensor of ours; None if they have none."""
        return _renamed(name, self._to_theirs)

    def reason_to_ignore(self, name: str) -> str | None:
        """Why a tensor is left out on purpose; None if it is not."""
        return next((why for what, why in self.ignored if re.fullmatch(what, name)), None)


def _compiled(pattern: str) -> re.Pattern:
    parts = re.split(r"\{(\w+)\}", pattern)
    return re.compile(
        "".join(
            f"(?P<{part}>{_PLACES[part]})" if i % 2 else re.escape(part)
            for i, part in enumerate(parts)
        )
    )


def _renamed(name: str, rules: list[tuple[re.Pattern, str]]) -> str | None:
    for pattern, target in rules:
        found = pattern.fullmatch(name)
        if found:
            return target.format(**found.groupdict())
    return None


def _per_stage(pairs: Rules) -> Rules:
    """Pairs whose names have a * for the stage of a cascade: without one, and with one."""
    single = tuple((a.replace("*", ""), b.replace("*", "")) for a, b in pairs)
    cascade = tuple((a.replace("*", ".{n}"), b.replace("*", ".{n}")) for a, b in pairs)
    return single + cascade


_RPN: Rules = (
    ("rpn_head.rpn_conv.{p}", "proposal_generator.rpn_head.conv.{p}"),
    ("rpn_head.rpn_cls.{p}", "proposal_generator.rpn_head.objectness_logits.{p}"),
    ("rpn_head.rpn_reg.{p}", "proposal_generator.rpn_head.anchor_deltas.{p}"),
)


def _mmdet_roi_heads(prefix: str) -> Rules:
    return _per_stage(
        (
            (prefix + "bbox_head*.shared_fcs.0.{p}", "roi_heads.box_head*.fc1.{p}"),
            (prefix + "bbox_head*.shared_fcs.1.{p}", "roi_heads.box_head*.fc2.{p}"),
            (prefix + "bbox_head*.fc_cls.{p}", "roi_heads.box_predictor*.cls_score.{p}"),
            (prefix + "bbox_head*.fc_reg.{p}", "roi_heads.box_predictor*.bbox_pred.{p}"),
            *(
                (
                    prefix + f"mask_head*.convs.{k}.conv.{{p}}",
                    f"roi_heads.mask_head*.mask_fcn{k + 1}.{{p}}",
                )
                for k in range(4)
            ),
            (prefix + "mask_head*.upsample.{p}", "roi_heads.mask_head*.deconv.{p}"),
            (prefix + "mask_head*.conv_logits.{p}", "roi_heads.mask_head*.predictor.{p}"),
            (prefix + "mask_head*.conv_res.conv.{p}", "roi_heads.mask_head*.conv_res.{p}"),
        )
    ) + tuple(
        (f"{prefix}semantic_head.{theirs}.{{p}}", f"roi_heads.semantic_head.{ours}.{{p}}")
        for theirs, ours in (
            ("lateral_convs.{n}.conv", "lateral_convs.{n}"),
            ("convs.{n}.conv", "convs.{n}"),
            ("conv_embedding.conv", "embedding"),
            ("conv_logits", "predictor"),
        )
    )


# Of a Hybrid Task Cascade of mmdetection 1.
_UNUSED_FLOW = (
    r"(roi_head\.)?mask_head\.0\.conv_res\..+",
    "the first mask head takes no features of another",
)
_FCOS: Rules = (
    *(
        (f"bbox_head.{theirs}.{k}.{part}.{{p}}", f"head.{ours}.{3 * k + i}.{{p}}")
        for theirs, ours in (("cls_convs", "cls_subnet"), ("reg_convs", "bbox_subnet"))
        for k in range(4)
        for i, part in enumerate(("conv", "gn"))
    ),
    ("bbox_head.conv_cls.{p}", "head.cls_score.{p}"),
    ("bbox_head.conv_reg.{p}", "head.bbox_pred.{p}"),
    ("bbox_head.conv_centerness.{p}", "head.ctrness.{p}"),
    ("bbox_head.scales.{n}.scale", "head.scales.{n}"),
)

OWN = Format("hrnet_det", "hrnet_det or Detectron2")
IMAGENET = Format(
    "imagenet",
    "ImageNet classification (official or timm)",
    rules=(("{body}", BODY + "{body}"),),
    ignored=(
        (
            r"(incre_modules|downsamp_modules|final_layer|classifier)\..+",
            "head of the ImageNet classifier",
        ),
    ),
)
MMDET = Format(
    "mmdet",
    "mmdetection 2 or 3",
    rules=(
        ("backbone.{body}", BODY + "{body}"),
        ("neck.reduction_conv.conv.{p}", "backbone.reduction_conv.{p}"),
        ("neck.fpn_convs.{n}.conv.{p}", "backbone.fpn_convs.{n}.{p}"),
        *_RPN,
        *_mmdet_roi_heads("roi_head."),
        *_FCOS,
    ),
    ignored=(_UNUSED_FLOW,),
)
OBJECT_DETECTION = Format(
    "hrnet_object_detection",
    "HRNet-Object-Detection or mmdetection 1",
    rules=(
        ("backbone.{body}", BODY + "{body}"),
        ("neck.reduction_conv.0.{p}", "backbone.reduction_conv.{p}"),
        ("neck.reduction_conv.conv.{p}", "backbone.reduction_conv.{p}"),
        ("neck.fpn_conv.{n}.{p}", "backbone.fpn_convs.{n}.{p}"),
        ("neck.fpn_conv.{p}", "backbone.fpn_convs.0.{p}"),  # shared by all levels
        ("neck.fpn_convs.{n}.conv.{p}", "backbone.fpn_convs.{n}.{p}"),
        *_RPN,
        *_mmdet_roi_heads(""),
    ),
    ignored=(_UNUSED_FLOW,),
    background_first=True,
)
MASKRCNN_BENCHMARK = Format(
    "maskrcnn_benchmark",
    "HRNet-MaskRCNN-Benchmark",
    rules=(
        ("backbone.body.{body}", BODY + "{body}"),
        ("backbone.neck.reduction_conv.0.{p}", "backbone.reduction_conv.{p}"),
        ("backbone.neck.fpn_conv.{n}.{p}", "backbone.fpn_convs.{n}.{p}"),
        ("rpn.head.conv.{p}", "proposal_generator.rpn_head.conv.{p}"),
        ("rpn.head.cls_logits.{p}", "proposal_generator.rpn_head.objectness_logits.{p}"),
        ("rpn.head.bbox_pred.{p}", "proposal_generator.rpn_head.anchor_deltas.{p}"),
        ("roi_heads.box.feature_extractor.fc6.{p}", "roi_heads.box_head.fc1.{p}"),
        ("roi_heads.box.feature_extractor.fc7.{p}", "roi_heads.box_head.fc2.{p}"),
        ("roi_heads.box.predictor.cls_score.{p}", "roi_heads.box_predictor.cls_score.{p}"),
        ("roi_heads.box.predictor.bbox_pred.{p}", "roi_heads.box_predictor.bbox_pred.{p}"),
        *(
            (
                f"roi_heads.mask.feature_extractor.mask_fcn{k}.{{p}}",
                f"roi_heads.mask_head.mask_fcn{k}.{{p}}",
            )
            for k in range(1, 5)
        ),
        ("roi_heads.mask.predictor.conv5_mask.{p}", "roi_heads.mask_head.deconv.{p}"),
        ("roi_heads.mask.predictor.mask_fcn_logits.{p}", "roi_heads.mask_head.predictor.{p}"),
    ),
    ignored=(
        (r".+\.eps", "constant of a norm, not a weight"),
        (r"rpn\.anchor_generator\.cell_anchors\..+", "anchors follow from the config"),
    ),
    background_first=True,
)
