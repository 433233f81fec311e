"""Parameters and multiply-adds of whole detectors, beside the published ones.

`python -m tools.complexity` prints the documentation's table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from tabulate import tabulate
from torch import nn
from torch.overrides import TorchFunctionMode

from hrnet_det import model_zoo
from hrnet_det.analysis.cases import macs
from hrnet_det.analysis.dry_run import run_layers
from hrnet_det.modeling import HRFPN

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


def complexity(
    model: nn.Module,
    *,
    size: tuple[int, int] = PADDED_SIZE,
    proposals: int = 1000,
    detections: int = 100,
) -> Complexity:
    """Count a detector's parameters and the MACs of its convolutions and linear layers.

    Args:
        model: any of the shipped configs' models, in evaluation mode; on the meta device nothing
            is computed.
        size: height and width of its one image, in pixels.
        proposals: boxes that go through each box head.
        detections: boxes that go through each mask and keypoint head.
    """
    images = torch.zeros(1, 3, *size, device=model.device)
    with _ShapesAlone():
        counted = macs(partial(run_layers, model, images, boxes=proposals, objects=detections))
    saved = _spared_by_reducing_first(model.backbone, size)
    parameters = sum(p.numel() for p in model.parameters())
    return Complexity(parameters=parameters, published_form=counted + saved, run_form=counted)


class _ShapesAlone(TorchFunctionMode):
    """Leaves out norms and random values: no multiply-adds, but half of the time on "meta"."""

    def __torch_function__(
        self, function: Callable, _: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        return args[0] if function in _VALUES_ALONE else function(*args, **(kwargs or {}))


_VALUES_ALONE = {F.batch_norm, F.group_norm, F.relu}
_VALUES_ALONE |= {torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.fill_}


def _spared_by_reducing_first(backbone: nn.Module, size: tuple[int, int]) -> float:
    """MACs that HRFPN's 1x1 convolution would have more on the concatenated maps, at stride 4."""
    if not isinstance(backbone, HRFPN):
        return 0.0
    cells, out_channels = math.prod(size) / 16, backbone.reduction_conv.out_channels
    return sum(
        channels * out_channels * cells * (1 - 0.25**b)
        for b, channels in enumerate(backbone.channels)
    )


def on_meta(cfg: CfgNode) -> nn.Module:
    """A config's model in evaluation mode, without memory for its weights."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"), _ShapesAlone():
        return model_zoo.build_detector(cfg).eval()


def complexity_table() -> str:
    """Markdown: Faster R-CNN of each published width, counted here beside the published numbers."""
    rows = []
    for variant, (parameters, gflops) in PUBLISHED.items():
        name = f"COCO-Detection/faster_rcnn_hrnetv2p_{variant}_1x.yaml"
        model = on_meta(model_zoo.get_config(name))
        counted = complexity(model, proposals=PUBLISHED_PROPOSALS)
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
