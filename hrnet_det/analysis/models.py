"""The models that are compared, all with the same weights."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hrnet_det import model_zoo
from hrnet_det.config.load import load_run
from hrnet_det.config.run_config import RunConfig
from hrnet_det.errors import InputError
from hrnet_det.modeling import HRFPN, HRNet
from hrnet_det.modeling.backbone.variants import IMAGENET_WEIGHTS


class NaivePyramid(Backbone):
    """timm's HRNet, with HRFPN's formula on it as it is written down: what mmdetection computes.

    All branches are upsampled to the finest one's size, concatenated and reduced, and the result
    is pooled from the finest level for each of the coarser ones.

    Args:
        ours: an HRFPN with the published settings, whose weights are taken.
        variant: the name of its HRNet.
    Input, output: as HRFPN's.
    """

    def __init__(self, ours: HRFPN, variant: str) -> None:
        super().__init__()
        import timm

        network = ours.bottom_up
        self.bottom_up = timm.create_model(
            IMAGENET_WEIGHTS[variant].removeprefix("timm://"),
            pretrained=False,
            features_only=True,
            out_indices=(1, 2, 3, 4),
            feature_location="",
        )
        missing, _ = self.bottom_up.load_state_dict(network.state_dict(), strict=False)
        if missing:
            raise RuntimeError(f"timm's {variant} has other weights: {missing}")
        self.reduction_conv = copy.deepcopy(ours.reduction_conv)
        self.fpn_convs = copy.deepcopy(ours.fpn_convs)
        self.shapes = ours.output_shape()
        self.norm_eval = network.norm_eval
        self.train(ours.training)

    def output_shape(self) -> dict[str, ShapeSpec]:
        return self.shapes

    @property
    def size_divisibility(self) -> int:
        return 32

    def train(self, mode: bool = True) -> NaivePyramid:
        super().train(mode)
        for module in self.modules():
            if self.norm_eval and isinstance(module, _BatchNorm):
                module.eval()
        return self

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.bottom_up(images)
        size = maps[0].shape[-2:]
        maps = [F.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in maps]
        y = F.conv2d(torch.cat(maps, 1), self.reduction_conv.weight, self.reduction_conv.bias)
        levels = [F.avg_pool2d(y, 2**k) if k else y for k in range(len(self.fpn_convs))]
        made = [conv(x) for conv, x in zip(self.fpn_convs, levels, strict=True)]
        return dict(zip(self.shapes, made, strict=True))


def build_pyramid(variant: str, device: str, *, norm_eval: bool, level: str = "none") -> HRFPN:
    """HRNetV2p with random weights, whose maps have the scale of a trained one's."""
    torch.manual_seed(0)
    network = HRNet(variant=variant, norm_eval=norm_eval, activation_checkpointing=level)
    pyramid = HRFPN(bottom_up=network, activation_checkpointing=level)
    _calibrate(pyramid, torch.randn(1, 3, 256, 256))
    return pyramid.to(device)


def build_detector(variant: str, device: str, *, norm_eval: bool) -> nn.Module:
    """The Faster R-CNN of the shipped config, with random weights as `build_pyramid`'s.

    Raises: InputError if no config is shipped for the variant.
    """
    torch.manual_seed(0)
    detector = model_zoo.build_detector(detector_run(variant, norm_eval=norm_eval).cfg)
    _calibrate(detector.backbone, images_for(detector))
    return detector.to(device)


def detector_run(variant: str, *, norm_eval: bool = True) -> RunConfig:
    """The shipped config of a variant's Faster R-CNN, on the CPU.

    Raises: InputError if there is none.
    """
    name = f"COCO-Detection/faster_rcnn_hrnetv2p_{variant}_1x.yaml"
    if name not in model_zoo.names():
        raise InputError(f"there is no config {name}: measure the pyramid of {variant}")
    return load_run(name, ["MODEL.DEVICE", "cpu", "MODEL.HRNET.NORM_EVAL", str(norm_eval)])


def images_for(detector: nn.Module) -> Tensor:
    """An image as `batch_of_images` has them, normalised as the detector does, (1, 3, H, W).

    With the statistics of other images features grow out of bounds, and with them the boxes: a
    detector that proposes none would be quick.
    """
    return detector.preprocess_image(batch_of_images(1, (256, 256), "cpu")).tensor


def _calibrate(pyramid: HRFPN, images: Tensor) -> None:
    """Set the norms' statistics to those of images."""
    norms = [m for m in pyramid.modules() if isinstance(m, _BatchNorm)]
    pyramid.train()
    for norm in norms:
        norm.train()
        norm.momentum = None  # the statistics are those of the next image
    with torch.no_grad():
        pyramid(images)
    for norm in norms:
        norm.momentum = 0.1
    pyramid.train()


def with_naive_pyramid(model: nn.Module, variant: str) -> nn.Module:
    """The NaivePyramid of an HRFPN's weights, or a copy of a detector with that pyramid."""
    if isinstance(model, HRFPN):
        return NaivePyramid(model, variant)
    detector = copy.deepcopy(model)
    detector.backbone = NaivePyramid(model.backbone, variant)
    return detector


OBJECTS = 8


def batch_of_images(batch: int, size: tuple[int, int], device: str) -> list[dict]:
    """Detectron2's rows of images of noise with OBJECTS boxes, for training and inference.

    Args:
        size: height and width in pixels.
    """
    generator = torch.Generator().manual_seed(0)
    height, width = size
    rows = []
    for _ in range(batch):
        coarse = torch.rand(1, 3, height // 16, width // 16, generator=generator) * 255
        corner = torch.rand(OBJECTS, 2, generator=generator) * torch.tensor([width, height]) * 0.7
        side = torch.rand(OBJECTS, 2, generator=generator) * min(size) * 0.3 + 8
        instances = Instances(
            size,
            gt_boxes=Boxes(torch.cat([corner, corner + side], dim=1)),
            gt_classes=torch.randint(80, (OBJECTS,), generator=generator),
        )
        image = F.interpolate(coarse, size=size)[0].to(device)
        rows.append({"image": image, "height": height, "width": width, "instances": instances})
    return rows
