"""The registered builders: the only ones that build from MODEL.HRNET and MODEL.HRFPN."""

from __future__ import annotations

from collections.abc import Sequence

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone

from hrnet_det.modeling.backbone.hrfpn import HRFPN
from hrnet_det.modeling.backbone.hrnet import HRNet
from hrnet_det.modeling.backbone.hrnetv2 import HRNetBranches, HRNetV1, HRNetV2


def _hrnet(cfg: CfgNode, input_shape: ShapeSpec, out_features: Sequence[str]) -> HRNet:
    if input_shape.channels != 3:
        raise ValueError(
            f"HRNet takes images of 3 channels; MODEL.PIXEL_MEAN has {input_shape.channels} values"
        )
    return HRNet(
        variant=cfg.MODEL.HRNET.VARIANT,
        norm=cfg.MODEL.HRNET.NORM,
        norm_eval=cfg.MODEL.HRNET.NORM_EVAL,
        out_features=out_features,
        freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT,
        activation_checkpointing=cfg.MODEL.HRNET.ACTIVATION_CHECKPOINTING,
        upsampling=cfg.MODEL.HRNET.UPSAMPLING,
    )


@BACKBONE_REGISTRY.register()
def build_hrnet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> Backbone:
    """The branches hr2..hr5 that MODEL.HRNET.OUT_FEATURES names."""
    return _hrnet(cfg, input_shape, cfg.MODEL.HRNET.OUT_FEATURES)


@BACKBONE_REGISTRY.register()
def build_hrnet_branches_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> Backbone:
    """The same branches, for heads that take them as they are."""
    return HRNetBranches(bottom_up=_hrnet(cfg, input_shape, cfg.MODEL.HRNET.OUT_FEATURES))


@BACKBONE_REGISTRY.register()
def build_hrnetv1_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> Backbone:
    """One map, hr2: the finest branch."""
    return HRNetV1(bottom_up=_hrnet(cfg, input_shape, ("hr2",)))


@BACKBONE_REGISTRY.register()
def build_hrnetv2_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> Backbone:
    """One map, hrv2: the branches of MODEL.HRNET.OUT_FEATURES at stride 4, concatenated."""
    return HRNetV2(bottom_up=_hrnet(cfg, input_shape, cfg.MODEL.HRNET.OUT_FEATURES))


@BACKBONE_REGISTRY.register()
def build_hrnetv2p_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> Backbone:
    """The pyramid p2..p6, or p3..p7 for one-stage detectors, of MODEL.HRFPN.IN_FEATURES."""
    return HRFPN(
        bottom_up=_hrnet(cfg, input_shape, cfg.MODEL.HRFPN.IN_FEATURES),
        in_features=cfg.MODEL.HRFPN.IN_FEATURES,
        out_channels=cfg.MODEL.HRFPN.OUT_CHANNELS,
        num_levels=cfg.MODEL.HRFPN.NUM_LEVELS,
        min_level=cfg.MODEL.HRFPN.MIN_LEVEL,
        pooling=cfg.MODEL.HRFPN.POOLING,
        norm=cfg.MODEL.HRFPN.NORM,
        share_conv=cfg.MODEL.HRFPN.SHARE_CONV,
        activation_checkpointing=cfg.MODEL.HRNET.ACTIVATION_CHECKPOINTING,
    )
