"""HRNet: parallel branches of four resolutions that exchange information after every module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling import Backbone
from fvcore.nn.weight_init import c2_msra_fill
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hrnet_det.modeling.backbone.blocks import Bottleneck, Norm, conv, conv_norm, norm_layer
from hrnet_det.modeling.backbone.checkpointing import checkpointed_parts, run_checkpointed
from hrnet_det.modeling.backbone.exchange import UPSAMPLING, HRModule, Transition
from hrnet_det.modeling.backbone.variants import HRNetVariant, get_variant

STEM_CHANNELS = 64


def branch_names(variant: HRNetVariant) -> tuple[str, ...]:
    """("hr2", "hr3", ...): the number is log2 of the branch's stride."""
    return tuple(f"hr{b + 2}" for b in range(len(variant.widths)))


class HRNet(Backbone):
    """High-Resolution Network: every branch's map, at strides 4, 8, 16, 32.

    Source: arXiv:1908.07919 section 3. Parameters are named as in every public HRNet checkpoint.

    Args:
        variant: a name in VARIANTS or an HRNetVariant.
        norm: Detectron2 norm name, "" for none, or a callable that takes the channels.
        norm_eval: batch norms use their running statistics in training too, while their weights
            train; for pretrained statistics and few images per GPU.
        out_features: which of "hr2", ... to return, None for all.
        freeze_at: 0 trains everything, k freezes the stem and stages 1 to k - 1: their parameters
            get no gradient and their batch norms become FrozenBN.
        activation_checkpointing: "none", "balanced" or "smallest": what is computed again in the
            backward pass, instead of being kept (`checkpointing.CHECKPOINTING`).
        upsampling: of coarser branches, "nearest" (as published, also the ImageNet weights) or
            "bilinear" (as semantic and panoptic networks are published).
    Input:  images, (N, 3, H, W) float, normalised pixels; H and W multiples of
        `size_divisibility` (up to 3 pixels less is the same to the strided stem), with bilinear
        upsampling of any size.
    Output: {"hr2": (N, C, H/4, W/4), ..., "hr5": (N, 8C, H/32, W/32)}.
    Raises: ValueError if a name or number is unknown (the message lists the valid ones), or if
        the branches of an image of this size would not fit together.
    Differs from source: nothing.
    """

    def __init__(
        self,
        *,
        variant: str | HRNetVariant,
        norm: Norm = "BN",
        norm_eval: bool = False,
        out_features: Sequence[str] | None = None,
        freeze_at: int = 0,
        activation_checkpointing: str = "none",
        upsampling: str = "nearest",
    ) -> None:
        super().__init__()
        if upsampling not in UPSAMPLING:
            raise ValueError(
                f"MODEL.HRNET.UPSAMPLING {upsampling!r}: must be one of {', '.join(UPSAMPLING)}"
            )
        self.upsampling = upsampling
        self.variant = get_variant(variant)
        names = branch_names(self.variant)
        asked = names if out_features is None else out_features
        if not asked or any(name not in names for name in asked):
            raise ValueError(f"HRNet out_features {list(asked)}: must be some of {list(names)}")
        self._out_features = tuple(name for name in names if name in asked)
        self._out_feature_channels = dict(zip(names, self.variant.widths, strict=True))
        self._out_feature_strides = {name: 4 * 2**b for b, name in enumerate(names)}
        if norm_eval and norm in ("", "GN", "LN"):
            raise ValueError(
                f"norm_eval=True with norm {norm!r}, which has no running statistics to use: "
                "set MODEL.HRNET.NORM_EVAL False"
            )
        self.norm_eval = norm_eval
        self.checkpointed = checkpointed_parts(activation_checkpointing)

        self.conv1 = conv(3, STEM_CHANNELS, 3, 2, norm)
        self.bn1 = norm_layer(norm, STEM_CHANNELS)
        self.conv2 = conv(STEM_CHANNELS, STEM_CHANNELS, 3, 2, norm)
        self.bn2 = norm_layer(norm, STEM_CHANNELS)
        self._build_stages(norm)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                c2_msra_fill(module)
        self._freeze(freeze_at)

    def _build_stages(self, norm: Norm) -> None:
        width, out_width = self.variant.stage1_width, self.variant.stage1_width * 4
        blocks = range(self.variant.stage1_blocks)
        self.layer1 = nn.Sequential(
            *(Bottleneck(out_width if b else STEM_CHANNELS, width, norm) for b in blocks)
        )
        names = enumerate(branch_names(self.variant))
        asked = [b for b, name in names if name in self._out_features]
        very_last = len(self.variant.widths), self.variant.modules[-1] - 1  # stage and module
        before: tuple[int, ...] = (out_width,)
        for s, modules in enumerate(self.variant.modules, start=2):
            widths = self.variant.widths[:s]
            transition = Transition(before=before, after=widths, norm=norm)
            self.add_module(f"transition{s - 1}", transition)
            stage = nn.ModuleList(
                HRModule(
                    widths=widths,
                    blocks=self.variant.blocks,
                    norm=norm,
                    targets=asked if (s, m) == very_last else range(s),
                    checkpointed=self.checkpointed,
                    upsampling=self.upsampling,
                )
                for m in range(modules)
            )
            self.add_module(f"stage{s}", stage)
            before = widths

    def stages(self) -> list[list[nn.Module]]:
        """The modules of [stem, stage 1, stage 2, ...], a transition with the stage it leads to."""
        later = range(2, len(self.variant.widths) + 1)
        return [
            [self.conv1, self.bn1, self.conv2, self.bn2],
            [self.layer1],
            *([getattr(self, f"transition{s - 1}"), getattr(self, f"stage{s}")] for s in later),
        ]

    def _freeze(self, freeze_at: int) -> None:
        stages = self.stages()
        if freeze_at not in range(len(stages) + 1):
            raise ValueError(
                f"FREEZE_AT {freeze_at}: 0 trains everything, 1 freezes the stem, up to "
                f"{len(stages)} the whole network"
            )
        frozen = nn.ModuleList(module for stage in stages[:freeze_at] for module in stage)
        frozen.requires_grad_(False)
        FrozenBatchNorm2d.convert_frozen_batchnorm(frozen)
        if freeze_at:  # the stem's norms are our own attributes, converted only in the list
            self.bn1, self.bn2 = frozen[1], frozen[3]

    @property
    def size_divisibility(self) -> int:
        return 4 * 2 ** (len(self.variant.widths) - 1)

    def train(self, mode: bool = True) -> HRNet:
        super().train(mode)
        if self.norm_eval:
            for norm in self._batch_norms():
                norm.eval()
        return self

    def _batch_norms(self) -> list[nn.Module]:
        return [module for module in self.modules() if isinstance(module, _BatchNorm)]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        if not (torch.jit.is_tracing() or torch.compiler.is_exporting()):
            self.check_size(images)
        x = conv_norm(self.conv1, self.bn1, images, relu=True)
        x = conv_norm(self.conv2, self.bn2, x, relu=True)
        wanted = "stage1" in self.checkpointed
        branches = [run_checkpointed(wanted, self._stage1, x, module=self.layer1)]
        for transition, stage in self.stages()[2:]:
            branches = transition(branches)
            for module in stage:
                branches = module(*branches)
        return dict(zip(self._out_features, branches, strict=True))

    def _stage1(self, x: Tensor) -> Tensor:
        for block in self.layer1:
            x = run_checkpointed("bottlenecks" in self.checkpointed, block, x)
        return x

    def check_size(self, images: Tensor) -> None:
        """Raises: ValueError if branches of these images do not fit together, or cannot train."""
        if images.dim() != 4 or images.shape[1] != 3:
            raise ValueError(f"HRNet takes images (N, 3, H, W), got {tuple(images.shape)}")
        d = self.size_divisibility
        n, _, h, w = images.shape
        rows, columns = -(-h // d), -(-w // d)  # of the coarsest map
        fits = self.upsampling == "bilinear" or (-h % d <= 3 and -w % d <= 3)
        if min(h, w) == 0 or not fits:
            raise ValueError(
                f"HRNet: an image of {h}x{w} pixels (height x width) gives branches that do not "
                f"fit together; pad it to {max(rows, 1) * d}x{max(columns, 1) * d}, multiples of "
                f"{d} (Detectron2 does, by `size_divisibility`)"
            )
        if n * rows * columns == 1 and any(norm.training for norm in self._batch_norms()):
            raise ValueError(
                f"HRNet: one image of {h}x{w} pixels leaves batch norm a single value per channel "
                f"at stride {d}, which has no variance: train on larger images, on more than one, "
                "or with norm_eval=True"
            )
