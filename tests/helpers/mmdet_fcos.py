"""mmdetection 3.3's FCOS in training, on an HRNet of W18-small size: its losses and its updates.

Nothing here imports hrnet_det or Detectron2; `helpers.mmdet_reference` says what must be installed.
"""

from collections.abc import Sequence
from pathlib import Path

import helpers.mmdet_reference as reference
import torch
from torch import Tensor, nn

CONFIG = "fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco"
# The stages of w18_small_v1: modules, branches, blocks of each and their channels.
STAGES = {
    "stage1": (1, "BOTTLENECK", (1,), (32,)),
    "stage2": (1, "BASIC", (2, 2), (16, 32)),
    "stage3": (1, "BASIC", (2, 2, 2), (16, 32, 64)),
    "stage4": (1, "BASIC", (2, 2, 2, 2), (16, 32, 64, 128)),
}
Target = tuple[Tensor, Tensor]  # boxes (M, 4) in pixels, classes (M,)


def config() -> object:
    """mmdetection's whole config, with a smaller HRNet and without weights to download."""
    mmdet = reference._import()
    from mmengine.config import Config

    folder = Path(mmdet.__file__).parent / ".mim" / "configs" / "hrnet"
    made = Config.fromfile(folder / f"{CONFIG}.py")
    made.model.backbone.init_cfg = None
    for name, (modules, block, blocks, channels) in STAGES.items():
        made.model.backbone.extra[name] = {
            "num_modules": modules,
            "num_branches": len(blocks),
            "block": block,
            "num_blocks": blocks,
            "num_channels": channels,
        }
    made.model.neck.in_channels = list(STAGES["stage4"][3])
    return made


def build(*, classes: int, seed: int = 0) -> nn.Module:
    """The detector with its own initial values, in double precision and training mode."""
    cfg = config()
    from mmdet.registry import MODELS

    cfg.model.bbox_head.num_classes = classes
    with reference._quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MODELS.build(cfg.model)
        model.init_weights()
    return model.double().train()


def losses(
    model: nn.Module, pixels: Tensor, sizes: Sequence[tuple[int, int]], targets: Sequence[Target]
) -> dict[str, Tensor]:
    """loss_cls, loss_bbox and loss_centerness of normalised pixels (N, 3, H, W)."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    samples = []
    for size, (boxes, labels) in zip(sizes, targets, strict=True):
        sample = DetDataSample(metainfo={"img_shape": size, "ori_shape": size})
        sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
        samples.append(sample)
    return model.loss(pixels, samples)
