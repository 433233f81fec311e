"""Exchange units, and the transitions that begin a stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from hrnet_det.modeling.backbone.blocks import BasicBlock, ConvNorm, Norm
from hrnet_det.modeling.backbone.checkpointing import run_checkpointed

# How coarser branches are brought to a finer one's size: MODEL.HRNET.UPSAMPLING.
UPSAMPLING = ("nearest", "bilinear")


def add_upsampled(fine: Tensor, coarse: Tensor) -> Tensor:
    """fine (N, C, 2H, 2W) + coarse (N, C, H, W) upsampled by 2 (nearest), as a new tensor."""
    return F.interpolate(coarse, scale_factor=2.0, mode="nearest").add_(fine)


class HRModule(nn.Module):
    """One exchange unit: basic blocks in each branch, then every branch fused into every target.

    Target i is ReLU of the sum over all sources j: a finer source comes through i - j strided 3x3
    convolutions, the branch itself as it is, a coarser one through a 1x1 convolution and nearest
    upsampling. The coarser sources are summed up from the coarsest, each sum upsampled by 2:
    up4(a) + up2(b) = up2(up2(a) + b), at a fraction of the additions.

    With "bilinear" upsampling each coarser source is brought to the target's size on its own
    (corners aligned), whatever the two sizes are. Source: HRNet-Semantic-Segmentation, which
    Panoptic-DeepLab has its HRNet from.

    Args:
        widths: channels of each branch, finest first. blocks: basic blocks per branch.
        targets: branches to fuse into; the others' fusion is not built and not returned.
        checkpointed: a row of `checkpointing.CHECKPOINTING`.
        upsampling: one of UPSAMPLING.
    Input: one (N, C_b, H / 2^b, W / 2^b) map per branch. Output: a list, one map per target.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int],
        blocks: int,
        norm: Norm,
        targets: Sequence[int],
        checkpointed: frozenset[str],
        upsampling: str = "nearest",
    ) -> None:
        super().__init__()
        self.upsampling = upsampling
        self.targets = tuple(targets)
        self.checkpointed = checkpointed
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width, norm) for _ in range(blocks))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_fuse_layer(widths, i, j, norm) for j in range(len(widths)))
            if i in self.targets
            else nn.ModuleList()
            for i in range(len(widths))
        )

    def forward(self, *branches: Tensor) -> list[Tensor]:
        wanted = "modules" in self.checkpointed
        return run_checkpointed(wanted, self._exchange, *branches, module=self)

    def _exchange(self, *branches: Tensor) -> list[Tensor]:
        maps = [
            run_checkpointed(f"branch{b}" in self.checkpointed, blocks, x)
            for b, (blocks, x) in enumerate(zip(self.branches, branches, strict=True))
        ]
        return self._fuse(maps)

    def _fuse(self, maps: list[Tensor]) -> list[Tensor]:
        """Each target's sum; coarsest target first, since `conv_norm` may overwrite its map.

        Target i reads the maps of finer branches, which are whole until their turn, and of coarser
        ones through their 1x1 convolutions, which therefore come before everything else.
        """
        coarser_maps = {
            i: [self.fuse_layers[i][j](maps[j]) for j in range(i + 1, len(maps))]
            for i in self.targets
        }
        fused = {}
        for i in reversed(self.targets):
            y = maps[i]
            for j in range(i):
                *chain, last = self.fuse_layers[i][j]
                x = maps[j]
                for layer in chain:
                    x = layer(x)
                y = last(x, add=y)
            fused[i] = F.relu_(self._with_coarser(y, coarser_maps[i]))
        return [fused[i] for i in self.targets]

    def _with_coarser(self, y: Tensor, coarser_maps: list[Tensor]) -> Tensor:
        """A target's sum with those of its coarser sources, finest first; y is overwritten."""
        if self.upsampling == "bilinear":
            for z in coarser_maps:
                y = y + F.interpolate(z, size=y.shape[-2:], mode="bilinear", align_corners=True)
            return y
        coarser = None
        for z in reversed(coarser_maps):
            coarser = z if coarser is None else add_upsampled(z, coarser)
        return y if coarser is None else add_upsampled(y, coarser)


def _fuse_layer(widths: Sequence[int], i: int, j: int, norm: Norm) -> nn.Module:
    """What brings source j to target i's channels and, from a finer source, to its resolution."""
    if j == i:
        return nn.Identity()
    if j > i:
        return ConvNorm(widths[j], widths[i], 1, 1, norm, relu=False)
    return nn.Sequential(
        *(ConvNorm(widths[j], widths[j], 3, 2, norm, relu=True) for _ in range(i - j - 1)),
        ConvNorm(widths[j], widths[i], 3, 2, norm, relu=False),
    )


class Transition(nn.ModuleList):
    """From the branches of one stage to those of the next, which has one more.

    A branch whose channels stay is passed on, one whose channels change goes through a 3x3
    convolution of its own, and the new branch comes from the coarsest by one of stride 2.
    """

    def __init__(self, *, before: Sequence[int], after: Sequence[int], norm: Norm) -> None:
        kept = [
            nn.Identity() if old == new else ConvNorm(old, new, 3, 1, norm, relu=True)
            for old, new in zip(before, after, strict=False)
        ]
        new = nn.Sequential(ConvNorm(before[-1], after[-1], 3, 2, norm, relu=True))
        super().__init__([*kept, new])

    def forward(self, branches: Sequence[Tensor]) -> list[Tensor]:
        return [layer(x) for layer, x in zip(self, [*branches, branches[-1]], strict=True)]
