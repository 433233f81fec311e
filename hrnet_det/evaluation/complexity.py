"""Parameters and multiply-adds of whole detectors, beside the published ones.

`python -m hrnet_det.evaluation.complexity` prints the README's table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from detectron2.modeling import GeneralizedRCNN
from fvcore.nn import FlopCountAnalysis
from tabulate import tabulate
from torch import nn

from hrnet_det import model_zoo

# arXiv:1908.07919 Table VII, Faster R-CNN: (parameters, GFLOPs). Counting shows its units: "M" is
# 2^20 parameters, and a "GFLOP" is 2^30 multiply-adds of convolutions and linear layers, at
# 800x1200 padded to 800x1216, with 500 proposals, reducing the concatenated maps.
PUBLISHED = {
    "w18": (26.2, 159.1),
    "w32": (45.0, 245.3),
    "w40": (60.5, 314.9),
    "w48": (79.4, 399.1),
}
PADDED_SIZE = (800, 1216)  # height, width, pixels
PUBLISHED_PROPOSALS = 500


@dataclass(frozen=True)
class Complexity:
    """Of one detector: parameters, and multiply-adds as published and as this project runs it."""

    parameters: int
    published_form: float  # MACs: reduction after concatenation
    run_form: float  # MACs: reduction before upsampling


def faster_rcnn_complexity(
    detector: GeneralizedRCNN, *, proposals: int = PUBLISHED_PROPOSALS
) -> Complexity:
    """Count a Faster R-CNN's parameters and the MACs of its convolutions and linear layers.

    Args:
        detector: a Faster R-CNN with an HRFPN backbone, on the CPU, in evaluation mode.
        proposals: boxes that go through the box head.
    """
    pyramid = detector.backbone
    images = torch.zeros(1, 3, *PADDED_SIZE)
    with torch.no_grad():
        levels = list(pyramid(images).values())
    rois = torch.zeros(proposals, levels[0].shape[1], 7, 7)
    heads = nn.Sequential(detector.roi_heads.box_head, _Predictor(detector.roi_heads.box_predictor))
    run = (
        macs(pyramid, images)
        + macs(detector.proposal_generator.rpn_head, levels)
        + macs(heads, rois)
    )
    cells = math.prod(PADDED_SIZE) / 16  # of hr2, stride 4
    out_channels = pyramid.reduction_conv.out_channels
    saved = sum(
        channels * out_channels * cells * (1 - 0.25**b)
        for b, channels in enumerate(pyramid.channels)
    )
    parameters = sum(p.numel() for p in detector.parameters())
    return Complexity(parameters=parameters, published_form=run + saved, run_form=run)


class _Predictor(nn.Module):
    """The box predictor with one tensor as its result, which the counter can trace."""

    def __init__(self, predictor: nn.Module) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat(self.predictor(x), dim=1)


def macs(module: nn.Module, inputs: torch.Tensor | list[torch.Tensor]) -> float:
    """Multiply-adds of the convolutions and linear layers of module(inputs)."""
    analysis = FlopCountAnalysis(module, (inputs,))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_operator = analysis.by_operator()
    return by_operator["conv"] + by_operator["linear"] + by_operator["addmm"]


def complexity_table() -> str:
    """Markdown: Faster R-CNN of each published width, counted here beside the published numbers."""
    rows = []
    for variant, (parameters, gflops) in PUBLISHED.items():
        name = f"COCO-Detection/faster_rcnn_hrnetv2p_{variant}_1x.yaml"
        counted = faster_rcnn_complexity(model_zoo.get(name))
        rows.append(
            [
                f"Faster {variant.upper()}",
                f"{counted.parameters:,}",
                f"{counted.parameters / 2**20:.1f}",
                f"{parameters}",
                f"{counted.published_form / 2**30:.1f}",
                f"{gflops}",
                f"{counted.run_form / 1e9:.1f}",
            ]
        )
    headers = [
        "detector",
        "parameters (counted)",
        "/ 2^20",
        "published M",
        "multiply-adds / 2^30 (counted)",
        "published GFLOPs",
        "GMAC as run here (10^9)",
    ]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


if __name__ == "__main__":
    print(complexity_table())
