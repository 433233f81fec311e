"""Panoptic-DeepLab on HRNet: classes, centres and offsets of pixels, from the bottom up."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone, build_sem_seg_head
from detectron2.modeling.postprocessing import sem_seg_postprocess
from torch import Tensor, nn

from hrnet_det.modeling.meta_arch import panoptic_fusion as fusion
from hrnet_det.modeling.meta_arch.panoptic_project import panoptic_project

HEADS = ("detectron2", "original")
# Of the pixels of a row, in the losses of classes, centres and offsets.
WEIGHTS = ("sem_seg_weights", "center_weights", "offset_weights")


@META_ARCH_REGISTRY.register()
class HRNetPanopticDeepLab(nn.Module):
    """Panoptic-DeepLab, with the heads of Detectron2's project on the branches of HRNet.

    Source: arXiv:1911.10194; Detectron2's PanopticDeepLab, and for W48
    github.com/bowenc0221/panoptic-deeplab.
    Differs from source: images of any size are padded to what the image pooling of the heads
    takes; offsets are scaled with an image that is resized; "panoptic_seg" has its segments beside
    it; which classes are things is the model's own, not of a registered dataset.

    Args:
        sem_seg_head, ins_embed_head: of the project, or of `panoptic_original`.
        thing_classes: numbers of the classes whose segments are objects.
        pooled: height and width in pixels of the windows that the heads' image pooling averages
            over, the size of training crops; None for the whole image.
        aligned: the corners of maps and images are at the same place: images are padded to
            multiples of 32 and one pixel more.
        stuff_area, center_threshold, nms_kernel, top_k: as MODEL.PANOPTIC_DEEPLAB has them.
    Input:  rows of Detectron2's mappers; in training with the targets of
        `hrnet_det.data.panoptic_mapper`.
    Output: in training losses; else for each image "sem_seg" (classes, H, W) logits,
        "panoptic_seg" (ids, segments) and "instances".
    """

    @configurable
    def __init__(
        self,
        *,
        backbone: nn.Module,
        sem_seg_head: nn.Module,
        ins_embed_head: nn.Module,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        thing_classes: Sequence[int],
        pooled: tuple[int, int] | None = None,
        aligned: bool = False,
        stuff_area: int = 2048,
        center_threshold: float = 0.1,
        nms_kernel: int = 7,
        top_k: int = 200,
    ) -> None:
        super().__init__()
        self.backbone, self.sem_seg_head = backbone, sem_seg_head
        self.ins_embed_head = ins_embed_head
        for name, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)
        self.thing_classes = list(thing_classes)
        self.pooled, self.aligned = pooled, aligned
        self.stuff_area = stuff_area
        self.centres = {"threshold": center_threshold, "kernel": nms_kernel, "most": top_k}

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        panoptic_project()  # which registers the heads
        options = cfg.MODEL.PANOPTIC_DEEPLAB
        if options.HEADS not in HEADS:
            raise ValueError(
                f"MODEL.PANOPTIC_DEEPLAB.HEADS {options.HEADS!r}: must be one of {', '.join(HEADS)}"
            )
        _check_levels(cfg)
        backbone = build_backbone(cfg)
        aligned = options.HEADS == "original"
        pooled = tuple(cfg.INPUT.CROP_TRAIN) if cfg.INPUT.CROP_TRAIN and not aligned else None
        return {
            "backbone": backbone,
            **_heads(cfg, backbone.output_shape(), pooled),
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "thing_classes": options.THING_CLASSES,
            "pooled": pooled,
            "aligned": aligned,
            "stuff_area": options.STUFF_AREA,
            "center_threshold": options.CENTER_THRESHOLD,
            "nms_kernel": options.NMS_KERNEL,
            "top_k": options.TOP_K_INSTANCE,
        }

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    def forward(self, rows: list[dict]) -> dict[str, Tensor] | list[dict]:
        images = self._batch(rows)
        features = self.backbone(images)
        if self.training:
            return self._losses(rows, features, images.shape[-2:])
        labels, _ = self.sem_seg_head(features)
        centres, offsets, *_ = self.ins_embed_head(features)
        found = zip(labels, centres, offsets, rows, strict=True)
        return [self._segments(*of_image) for of_image in found]

    def _batch(self, rows: list[dict]) -> Tensor:
        """Normalised images of a batch, padded to one size that the network takes."""
        images = [row["image"].to(self.device) for row in rows]
        images = [(image - self.pixel_mean) / self.pixel_std for image in images]
        sides = torch.tensor([image.shape[-2:] for image in images]).amax(dim=0).tolist()
        size = self.padded(sides)
        fill = (self.pixel_mean.floor() - self.pixel_mean) / self.pixel_std
        batch = (fill if self.aligned else 0 * fill).expand(len(images), -1, *size).clone()
        for place, image in zip(batch, images, strict=True):
            place[:, : image.shape[-2], : image.shape[-1]] = image
        return batch

    def padded(self, sides: Sequence[int]) -> tuple[int, int]:
        """Height and width of a batch whose largest sides are these."""
        if self.aligned:
            height, width = (-(-(side - 1) // 32) * 32 + 1 for side in sides)
            return max(height, 33), max(width, 33)
        steps = self.pooled or [self.backbone.size_divisibility] * 2
        height, width = (-(-side // step) * step for side, step in zip(sides, steps, strict=True))
        return height, width

    def _losses(
        self, rows: list[dict], features: dict[str, Tensor], size: Sequence[int]
    ) -> dict[str, Tensor]:
        ignored = self.sem_seg_head.ignore_value

        def batch(name: str, fill: float = 0) -> Tensor:
            """A target of all images, padded."""
            maps = [row[name].to(self.device) for row in rows]
            whole = maps[0].new_full((len(maps), *maps[0].shape[:-2], *size), fill)
            for place, target in zip(whole, maps, strict=True):
                place[..., : target.shape[-2], : target.shape[-1]] = target
            return whole

        semantic, centre, offset = map(batch, WEIGHTS)
        _, losses = self.sem_seg_head(features, batch("sem_seg", ignored), semantic)
        targets = batch("center")[:, None], centre, batch("offset"), offset
        _, _, of_centres, of_offsets = self.ins_embed_head(features, *targets)
        return losses | of_centres | of_offsets

    def _segments(self, logits: Tensor, heat: Tensor, offsets: Tensor, row: dict) -> dict:
        """What is found in an image, in the size that is asked for."""
        size = row["image"].shape[-2:]
        height, width = row.get("height", size[0]), row.get("width", size[1])
        logits, heat, offsets = (
            sem_seg_postprocess(x.float(), size, height, width) for x in (logits, heat, offsets)
        )
        offsets = offsets * offsets.new_tensor([height / size[0], width / size[1]]).view(2, 1, 1)
        labels = logits.argmax(dim=0)
        centres = fusion.find_centres(heat[0], **self.centres)
        things = torch.isin(labels, labels.new_tensor(self.thing_classes))
        numbers = torch.zeros_like(labels)
        if len(centres):
            numbers = fusion.nearest_centres(centres, offsets) * things
        ids, segments = fusion.join(labels, numbers, self.thing_classes, self.stuff_area)
        objects = fusion.objects_of(ids, segments, F.softmax(logits, dim=0), heat[0])
        return {"sem_seg": logits, "panoptic_seg": (ids, segments), "instances": objects}


def _check_levels(cfg: CfgNode) -> None:
    """Raises: ValueError for what Detectron2's heads refuse without the key."""
    for part in ("SEM_SEG_HEAD", "INS_EMBED_HEAD"):
        channels, levels = cfg.MODEL[part].PROJECT_CHANNELS, cfg.MODEL[part].IN_FEATURES
        if len(levels) != len(channels) + 1:
            raise ValueError(
                f"MODEL.{part}.PROJECT_CHANNELS {channels} has {len(channels)} values for the "
                f"{len(levels)} levels of MODEL.{part}.IN_FEATURES {levels}: give one for each "
                "level but the coarsest"
            )


def _heads(cfg: CfgNode, shapes: dict, pooled: tuple[int, int] | None) -> dict[str, nn.Module]:
    """Both heads. Detectron2's read the size of training crops from INPUT.CROP."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.INPUT.CROP.ENABLED = pooled is not None
    if pooled is not None:
        cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE = "absolute", list(pooled)
    if cfg.MODEL.PANOPTIC_DEEPLAB.HEADS == "original":
        from hrnet_det.modeling.meta_arch import panoptic_original as original

        return original.build_heads(cfg, shapes)
    return {
        "sem_seg_head": build_sem_seg_head(cfg, shapes),
        "ins_embed_head": panoptic_project().build_ins_embed_branch(cfg, shapes),
    }
