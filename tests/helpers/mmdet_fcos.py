"""mmdetection 3.3's FCOS in training, W18 or of W18-small size: its losses and its updates.

Nothing here imports hrnet_det or Detectron2; `helpers.mmdet_reference` says what must be installed.
The networks are float64 and the boxes float32, as FCOS's head itself has them.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import helpers.mmdet_reference as reference
import torch
from torch import Tensor, nn

CONFIG = "fcos_hrnetv2p-w18-gn-head_4xb4-{schedule}_coco"
CHANNELS, CLASSES = 64, 5
# w18_small_v1: modules, block, blocks and channels of the stages.
STAGES = {
    "stage1": (1, "BOTTLENECK", (1,), (32,)),
    "stage2": (1, "BASIC", (2, 2), (16, 32)),
    "stage3": (1, "BASIC", (2, 2, 2), (16, 32, 64)),
    "stage4": (1, "BASIC", (2, 2, 2, 2), (16, 32, 64, 128)),
}


class Image(NamedTuple):
    """What an image is learned from."""

    pixels: Tensor  # (3, H, W) uint8
    boxes: Tensor  # (M, 4) float32 x1, y1, x2, y2 in pixels
    classes: Tensor  # (M,) int64


def drawn(size: tuple[int, int], *, tiny: int, seed: int, objects: int = 9) -> Image:
    """Noise with random boxes, of which `tiny` have sides under 15 pixels; the last two are one."""
    generator = torch.Generator().manual_seed(seed)
    sides = torch.rand(objects, 2, generator=generator) * 0.6 * min(size) + 20
    sides[:tiny] = torch.rand(tiny, 2, generator=generator) * 7 + 7
    most = torch.tensor([size[1], size[0]]) - sides
    first = torch.rand(objects, 2, generator=generator) * most.clamp(min=0)
    boxes = torch.cat([first, first + sides], dim=1)
    boxes[-2:] = boxes[-2:-1]
    pixels = (torch.rand(3, *size, generator=generator) * 255).byte()
    return Image(pixels, boxes, torch.randint(CLASSES, (objects,), generator=generator))


def config(schedule: str = "1x", *, small: bool = True) -> object:
    """mmdetection's whole config, without weights to download; with a small network or W18."""
    mmdet = reference._import()
    from mmengine.config import Config

    folder = Path(mmdet.__file__).parent / ".mim" / "configs" / "hrnet"
    made = Config.fromfile(folder / f"{CONFIG.format(schedule=schedule)}.py")
    model = made.model
    model.backbone.init_cfg = None
    if small:
        make_network_small(model, CHANNELS)
        model.bbox_head.update(in_channels=CHANNELS, feat_channels=CHANNELS, num_classes=CLASSES)
    return made


def make_network_small(model: object, channels: int) -> None:
    """Let a config have the stages of w18_small_v1, and a pyramid of so many channels."""
    for name, (modules, block, blocks, widths) in STAGES.items():
        model.backbone.extra[name] = {
            "num_modules": modules,
            "num_branches": len(blocks),
            "block": block,
            "num_blocks": blocks,
            "num_channels": widths,
        }
    model.neck.update(in_channels=list(STAGES["stage4"][3]), out_channels=channels)


def build(*, small: bool = True, seed: int = 0) -> nn.Module:
    """The detector with its own initial values and norm statistics of images, float64, training."""
    made = config(small=small)
    from helpers.mmdet_training import _settle  # which imports this module
    from mmdet.registry import MODELS

    before = logging.root.manager.disable
    with reference._quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MODELS.build(made.model)
        logging.disable(logging.CRITICAL)  # a line for each tensor
        model.init_weights()
        logging.disable(before)
        _settle(model, {})
    return model.double().train()


@reference._quiet()
def losses(model: nn.Module, pixels: Tensor, batch: Sequence[Image]) -> dict[str, Tensor]:
    """loss_cls, loss_bbox and loss_centerness of a batch, normalised to (N, 3, H, W)."""
    return model.loss(pixels, _samples(batch))


@reference._quiet()
def head_losses(head: nn.Module, maps: Sequence[Tensor], batch: Sequence[Image]) -> dict:
    """The same of the pyramid's maps."""
    return head.loss(tuple(maps), _samples(batch))


def _samples(batch: Sequence[Image]) -> list:
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    samples = []
    for image in batch:
        size = tuple(image.pixels.shape[1:])
        sample = DetDataSample(metainfo={"img_shape": size, "ori_shape": size})
        sample.gt_instances = InstanceData(bboxes=image.boxes, labels=image.classes)
        samples.append(sample)
    return samples


@contextmanager
def center_sampling(model: nn.Module) -> Iterator[None]:
    """While it lasts, only points near the middle of a box learn it."""
    model.bbox_head.center_sampling = True
    yield
    model.bbox_head.center_sampling = False


@contextmanager
def giou(model: nn.Module) -> Iterator[None]:
    """While it lasts, the head has GIoU for the loss of boxes."""
    from mmdet.models.losses import GIoULoss

    head, before = model.bbox_head, model.bbox_head.loss_bbox
    head.loss_bbox = GIoULoss()
    yield
    head.loss_bbox = before


class Updates:
    """mmdetection's optimizer and schedules of a config: `update` is a training step.

    Args:
        schedule: "1x" or "2x", whose warm-ups differ.
    """

    def __init__(self, model: nn.Module, schedule: str) -> None:
        made = config(schedule)
        from mmengine.optim import build_optim_wrapper
        from mmengine.registry import PARAM_SCHEDULERS

        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        self.wrapper = build_optim_wrapper(model, made.optim_wrapper)
        logging.disable(before)
        self.schedules = [
            PARAM_SCHEDULERS.build({**each, "optimizer": self.wrapper})
            for each in made.param_scheduler
            if not each.by_epoch
        ]

    def update(self, compute: Callable[[], dict[str, Tensor]]) -> None:
        self.wrapper.update_params(sum(compute().values()))
        for schedule in self.schedules:
            schedule.step()
