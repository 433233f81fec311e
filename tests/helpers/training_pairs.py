"""Our detectors' training step with mmdetection's weights, images, objects and choices."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from unittest import mock

import helpers.mmdet_training as theirs
import torch
from detectron2.config import CfgNode
from detectron2.modeling.proposal_generator import rpn as detectron2_rpn
from detectron2.modeling.roi_heads import roi_heads as detectron2_heads
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks
from detectron2.utils.events import EventStorage
from helpers.drawn_objects import Objects
from torch import Tensor, nn

from hrnet_det import model_zoo
from hrnet_det.checkpoint.renaming import rename
from hrnet_det.config.yaml import merge_overrides
from hrnet_det.modeling.build_model import build_detector

# mmdetection's config, and ours of the same detector.
CONFIGS = {
    "faster_rcnn": "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x",
    "mask_rcnn": "COCO-InstanceSegmentation/mask_rcnn_hrnetv2p_w18_1x",
    "cascade_rcnn": "COCO-Detection/cascade_rcnn_hrnetv2p_w18_20e",
    "cascade_mask_rcnn": "COCO-InstanceSegmentation/cascade_mask_rcnn_hrnetv2p_w18_20e",
    "htc": "COCO-InstanceSegmentation/htc_hrnetv2p_w18_20e",
}
CONFIGS["htc_without_semantics"] = CONFIGS["htc"]
TITLES = {
    "faster_rcnn": "Faster R-CNN",
    "mask_rcnn": "Mask R-CNN",
    "cascade_rcnn": "Cascade R-CNN",
    "cascade_mask_rcnn": "Cascade Mask R-CNN",
    "htc": "HTC, 183 classes of pixels",
    "htc_without_semantics": "HTC without semantics",
}
MMDET = ("MODEL.CONVENTIONS", "mmdet")
_SMALL = f"""
MODEL.HRNET.VARIANT w18_small_v1
MODEL.HRFPN.OUT_CHANNELS {theirs.SMALL_CHANNELS}
MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE {theirs.SMALL_SAMPLES}
MODEL.ROI_BOX_HEAD.FC_DIM {theirs.SMALL_HIDDEN}
MODEL.ROI_MASK_HEAD.CONV_DIM {theirs.SMALL_CHANNELS}
MODEL.SEM_SEG_HEAD.CONVS_DIM {theirs.SMALL_CHANNELS}
""".split()
# Our names of losses by mmdetection's, without the stage.
LOSSES = {
    "loss_rpn_cls": "loss_rpn_cls",
    "loss_rpn_bbox": "loss_rpn_loc",
    "loss_cls": "loss_cls",
    "loss_bbox": "loss_box_reg",
    "loss_mask": "loss_mask",
    "loss_semantic_seg": "loss_sem_seg",
}


class Apart(NamedTuple):
    """How far two training steps are apart; relative to mmdetection's.

    Attributes:
        losses: of each term, by our names. total: of the sum, with its sign.
        gradient: norm of the difference of the gradients of backbone and pyramid.
        cosine: of the angle between them.
        proposals: boxes in pixels, and objectness, of the detectors' own.
    """

    losses: dict[str, float]
    total: float
    gradient: float
    cosine: float
    proposals: list[tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]


def config(kind: str, *, small: bool, overrides: Sequence[str] = ()) -> CfgNode:
    """The shipped config of a kind."""
    cfg = model_zoo.get_config(CONFIGS[kind])
    more = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", ""]
    if kind == "htc_without_semantics":
        more += ["MODEL.HTC.SEMANTIC_ON", "False"]
    merge_overrides(cfg, [*overrides, *more, *(_SMALL if small else ())])
    return cfg


def build(cfg: CfgNode, reference: nn.Module) -> nn.Module:
    """Our detector with mmdetection's weights, in float64 with float32 anchors."""
    model = build_detector(cfg)
    renamed = rename(dict(reference.state_dict()), "mmdetection's detector")
    missing, extra = model.load_state_dict(renamed.weights, strict=False)
    assert not extra and all(name.endswith("num_batches_tracked") for name in missing)
    model = model.double().train()
    model.proposal_generator.anchor_generator.float()
    return model


def step(
    model: nn.Module, batch: Sequence[Objects], proposals: list | None, *, bitmaps: bool
) -> theirs.Step:
    """Losses of a batch, with gradients to follow, and the proposals of our own RPN.

    Args:
        proposals: boxes and scores of each image that the RoI heads get instead; None for our own.
        bitmaps: whether masks are bitmaps, or polygons as Detectron2's.
    """
    generator, kept = model.proposal_generator, []
    predict = generator.predict_proposals

    def proposed(anchors: list, logits: list[Tensor], *others: object) -> list[Instances]:
        own = predict(anchors, [x.float() for x in logits], *others)
        kept.extend((p.proposal_boxes.tensor, p.objectness_logits.sigmoid()) for p in own)
        if proposals is None:
            return own
        pairs = zip(own, proposals, strict=True)
        return [
            Instances(
                p.image_size, proposal_boxes=Boxes(boxes.clone()), objectness_logits=scores.logit()
            )
            for p, (boxes, scores) in pairs
        ]

    with (
        repeated_choice(),
        EventStorage(),
        mock.patch.object(generator, "predict_proposals", proposed),
    ):
        losses = model([_row(objects, bitmaps=bitmaps) for objects in batch])
    return theirs.Step(losses, kept)


@contextmanager
def repeated_choice() -> Iterator[None]:
    """While it lasts, Detectron2's sampling chooses as `theirs.choice`."""

    def chosen(labels: Tensor, count: int, share: float, background: int) -> tuple[Tensor, Tensor]:
        positive = ((labels != -1) & (labels != background)).nonzero()[:, 0]
        positive = theirs.choice(positive, int(count * share))
        negative = (labels == background).nonzero()[:, 0]
        return positive, theirs.choice(negative, count - len(positive))

    with (
        mock.patch.object(detectron2_rpn, "subsample_labels", chosen),
        mock.patch.object(detectron2_heads, "subsample_labels", chosen),
    ):
        yield


class Expected(NamedTuple):
    """mmdetection's training step.

    Attributes:
        gradients: of all parameters, by our names; weights where there is none.
    """

    step: theirs.Step
    gradients: dict[str, Tensor]


def expected(reference: nn.Module, batch: Sequence[Objects]) -> Expected:
    """mmdetection's training step, and its gradients."""
    reference.zero_grad()
    found = theirs.step(reference, batch)
    sum(found.losses.values()).backward()
    given = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    given |= {name: x.grad for name, x in reference.named_parameters() if x.grad is not None}
    return Expected(found, rename(given, "mmdetection's gradients").weights)


def compare(
    reference: Expected,
    model: nn.Module,
    batch: Sequence[Objects],
    *,
    bitmaps: bool = True,
    injected: bool = True,
) -> Apart:
    """Our training step of the same batch beside mmdetection's.

    Args:
        injected: whether our RoI heads get mmdetection's proposals.
    """
    model.zero_grad()
    goal = reference.step
    found = step(model, batch, goal.proposals if injected else None, bitmaps=bitmaps)
    losses = {}
    for name, loss in goal.losses.items():
        stage, _, term = name.rpartition(".")
        ours = f"{LOSSES[term]}_stage{stage[1:]}" if stage else LOSSES[term]
        losses[ours] = ((found.losses[ours] - loss).abs() / loss).item()
    assert set(losses) == set(found.losses)
    total = sum(found.losses.values())
    total.backward()
    own = {f"backbone.{n}": x.grad for n, x in model.backbone.named_parameters()}
    names = [name for name, gradient in own.items() if gradient is not None]
    assert len(names) > 100
    mine, other = (
        torch.cat([g[name].flatten() for name in names]) for g in (own, reference.gradients)
    )
    return Apart(
        losses,
        (total / sum(goal.losses.values()) - 1).item(),
        ((mine - other).norm() / other.norm()).item(),
        torch.cosine_similarity(mine, other, dim=0).item(),
        list(zip(found.proposals, goal.proposals, strict=True)),
    )


def _row(objects: Objects, *, bitmaps: bool) -> dict:
    """What Detectron2's mapper makes of an image."""
    size = objects.image.shape[:2]
    found = Instances(size, gt_boxes=Boxes(objects.boxes.clone()), gt_classes=objects.classes)
    polygons = [[polygon.flatten()] for polygon in objects.polygons]
    found.gt_masks = (
        BitMasks(torch.from_numpy(objects.masks).bool()) if bitmaps else PolygonMasks(polygons)
    )
    image = torch.from_numpy(objects.image.transpose(2, 0, 1).copy())
    labels = torch.from_numpy(objects.labels).long()
    return {"image": image, "instances": found, "sem_seg": labels}
