"""The HRNet variants: one table, from which everything else is derived."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HRNetVariant:
    """The numbers that tell one HRNet from another.

    Source: arXiv:1908.07919 section 3; the small ones are HRNet-Image-Classification's.

    Args:
        widths: channels of the branches hr2, hr3, ..., finest first, of stride 4 * 2^b; as many as
            stages, any positive numbers.
        stage1_blocks, stage1_width: bottlenecks in stage 1 (`layer1`), and their inner channels, a
            quarter of their output's.
        blocks: basic blocks per branch in one module.
        modules: modules (exchange units) in stages 2, 3, ...; one number less than widths.
    Raises: ValueError if a number is not positive or the lengths do not fit.
    """

    widths: tuple[int, ...]
    stage1_blocks: int = 4
    stage1_width: int = 64
    blocks: int = 4
    modules: tuple[int, ...] = (1, 4, 3)

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or len(self.modules) != len(self.widths) - 1:
            raise ValueError(
                f"HRNetVariant: {len(self.widths)} widths {self.widths} need at least 2, and one "
                f"number of modules for each stage after the first, got {self.modules}"
            )
        numbers = (*self.widths, *self.modules, self.stage1_blocks, self.stage1_width, self.blocks)
        if any(not isinstance(number, int) or number < 1 for number in numbers):
            raise ValueError(f"HRNetVariant: every number must be a positive integer, got {self}")


def _doubling(width: int, **others: object) -> HRNetVariant:
    return HRNetVariant(widths=tuple(width * 2**b for b in range(4)), **others)


VARIANTS: dict[str, HRNetVariant] = {
    "w18_small_v1": _doubling(16, stage1_blocks=1, stage1_width=32, blocks=2, modules=(1, 1, 1)),
    "w18_small_v2": _doubling(18, stage1_blocks=2, blocks=2, modules=(1, 3, 2)),
    "w18": _doubling(18),
    "w30": _doubling(30),
    "w32": _doubling(32),
    "w40": _doubling(40),
    "w44": _doubling(44),
    "w48": _doubling(48),
    "w64": _doubling(64),
}

# ImageNet weights to start a training from, as MODEL.WEIGHTS takes them: those of the authors.
IMAGENET_WEIGHTS: dict[str, str] = {
    name: f"timm://hrnet_{name.removesuffix('_v1')}.ms_in1k" for name in VARIANTS
}


def get_variant(variant: str | HRNetVariant) -> HRNetVariant:
    """The variant of a name in VARIANTS; an HRNetVariant is returned as it is.

    Raises: ValueError if the name is unknown (the message lists the valid ones).
    """
    if isinstance(variant, HRNetVariant):
        return variant
    if variant not in VARIANTS:
        raise ValueError(f"unknown HRNet variant {variant!r}; known: {', '.join(VARIANTS)}")
    return VARIANTS[variant]
