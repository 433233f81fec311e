"""mmdetection 3.3's two-stage detectors in training: losses, proposals, gradients, updates.

Nothing here imports hrnet_det or Detectron2; `helpers.mmdet_reference` says what must be installed.
Networks are float64 and boxes float32, so that rounding hides nothing. What samplers draw is chosen
by `choice` instead, which the other side can repeat.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import helpers.mmdet_reference as reference
import numpy as np
import torch
from helpers.drawn_objects import Objects
from helpers.mmdet_fcos import make_network_small
from torch import Tensor, nn
from torchvision import ops

KINDS = (*[kind for kind in reference.KINDS if kind != "fcos"], "htc_without_semantics")
SMALL_CHANNELS, SMALL_HIDDEN, SMALL_SAMPLES = 32, 48, 64
# By the end of a layer's name, factors of its initial weights.
SPREAD = {"rpn_cls": 30.0, "rpn_reg": 10.0, "fc_cls": 10.0, "fc_reg": 30.0}


class Step(NamedTuple):
    """What a training step computes.

    Attributes:
        losses: scalars by name, those of levels added up.
        proposals: boxes (R, 4) and scores (R,) of each image.
    """

    losses: dict[str, Tensor]
    proposals: list[tuple[Tensor, Tensor]]


def config(kind: str, *, small: bool, classes: int = 80) -> object:
    """mmdetection's own config, without weights to download.

    Args:
        small: with a network of the form of w18_small_v1, few channels and samples.
    """
    mmdet = reference._import()
    from mmengine.config import Config

    folder = Path(mmdet.__file__).parent / ".mim" / "configs" / "hrnet"
    made = Config.fromfile(
        folder / f"{reference._CONFIGS[kind.removesuffix('_without_semantics')]}.py"
    )
    model = made.model
    model.backbone.init_cfg = None
    for head in reference._heads(model):
        head.num_classes = classes
    if kind == "htc_without_semantics":
        del model.roi_head["semantic_head"], model.roi_head["semantic_roi_extractor"]
    if small:
        _make_small(model)
    return made


def build(
    kind: str, *, small: bool, spread: bool = True, classes: int = 80, seed: int = 0
) -> nn.Module:
    """The detector with its own initial values, in float64 and training mode.

    Args:
        spread: heads have larger weights, so that their outputs spread as in training.
    """
    made = config(kind, small=small, classes=classes)
    with reference._quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = initial(made)
        _settle(model, SPREAD if spread else {})
    return model.double().train()


def initial(made: object) -> nn.Module:
    """The detector of a config with its own initial values."""
    from mmdet.registry import MODELS

    model = MODELS.build(made.model)
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # a line for each tensor
    model.init_weights()
    logging.disable(before)
    return model


def step(model: nn.Module, batch: Sequence[Objects]) -> Step:
    """Losses of a batch, with gradients to follow, and the proposals of the RPN."""
    inputs = model.data_preprocessor(_inputs(model, batch), training=True)
    kept: list[tuple[Tensor, Tensor]] = []
    loss = model.roi_head.loss

    def noted(features: object, proposals: list, samples: list) -> dict:
        kept.extend((p.bboxes.clone(), p.scores.clone()) for p in proposals)
        return loss(features, proposals, samples)

    with float_boxes(), repeated_choice(), mock.patch.object(model.roi_head, "loss", noted):
        losses = model.loss(inputs["inputs"], inputs["data_samples"])
    added = {name: sum(x) if isinstance(x, list) else x for name, x in losses.items()}
    return Step({name: x for name, x in added.items() if "loss" in name}, kept)


def choice(among: Tensor, count: int) -> Tensor:
    """`count` of the values (N,), or all if there are not more; the same ones for the same N."""
    if len(among) <= count:
        return among
    order = torch.randperm(len(among), generator=torch.Generator().manual_seed(len(among)))
    return among[order[:count].sort().values]


@contextmanager
def repeated_choice() -> Iterator[None]:
    """While it lasts, samplers choose by `choice`."""
    from mmdet.models.task_modules.samplers import RandomSampler

    def chosen(_: object, among: Tensor, count: int) -> Tensor:
        return choice(among, count)

    with mock.patch.object(RandomSampler, "random_choice", chosen):
        yield


@contextmanager
def float_boxes() -> Iterator[None]:
    """While it lasts, boxes are float32, and RoIAlign has gradients without compiled operators."""
    from mmcv.ops import RoIAlign
    from mmdet.models.dense_heads import RPNHead
    from mmdet.models.task_modules.coders import delta_xywh_bbox_coder as coder

    decode, propose = coder.delta2bbox, RPNHead._predict_by_feat_single

    def in_float32(rois: Tensor, deltas: Tensor, *others: object, **options: object) -> Tensor:
        return decode(rois.float(), deltas.float(), *others, **options)

    def align(layer: RoIAlign, x: Tensor, rois: Tensor) -> Tensor:
        options = (layer.spatial_scale, layer.sampling_ratio, layer.aligned)
        return ops.roi_align(x, rois.to(x.dtype), layer.output_size, *options)

    def proposed(head: RPNHead, *, cls_score_list: list[Tensor], **options: object) -> object:
        return propose(head, cls_score_list=[x.float() for x in cls_score_list], **options)

    with (
        mock.patch.object(coder, "delta2bbox", in_float32),
        mock.patch.object(RoIAlign, "forward", align),
        mock.patch.object(RPNHead, "_predict_by_feat_single", proposed),
        reference._quiet(),
    ):
        yield


def _inputs(model: nn.Module, batch: Sequence[Objects]) -> dict:
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData, PixelData

    tensors, samples = [], []
    for image, boxes, classes, _, masks, labels in batch:
        size = image.shape[:2]
        sample = DetDataSample(metainfo={"img_shape": size, "ori_shape": size})
        sample.gt_instances = InstanceData(bboxes=boxes.clone(), labels=classes.clone())
        if getattr(model.roi_head, "with_mask", False):
            sample.gt_instances.masks = BitmapMasks(masks, *size)
        if hasattr(model.roi_head, "semantic_head"):
            sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(labels.astype(np.int64))[None])
        samples.append(sample)
        tensors.append(torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1))))
    return {"inputs": tensors, "data_samples": samples}


# ---- the network


def _make_small(model: object) -> None:
    make_network_small(model, SMALL_CHANNELS)
    for part in (model.rpn_head, model.roi_head):
        _fewer_channels(part)
    stages = model.train_cfg.rcnn
    for stage in stages if isinstance(stages, list) else [stages]:
        stage.sampler.num = SMALL_SAMPLES


def _fewer_channels(part: object) -> None:
    """Of a head's config and all in it."""
    if isinstance(part, list):
        for one in part:
            _fewer_channels(one)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key.endswith("channels"):
                part[key] = SMALL_HIDDEN if key == "fc_out_channels" else SMALL_CHANNELS
            else:
                _fewer_channels(value)


@torch.no_grad()
def _settle(model: nn.Module, factors: dict[str, float]) -> None:
    """Norms get statistics of images, and layers of some names larger weights."""
    for name, layer in model.named_modules():
        if factor := factors.get(name.rpartition(".")[2]):
            layer.weight *= factor
    norms = [layer for layer in model.backbone.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    inputs = reference._preprocess(
        model, reference._noise(torch.Generator().manual_seed(0)), (192, 192)
    )
    for norm in norms:
        norm.train()
        norm.momentum = 1.0  # the running statistics become this batch's
    model.extract_feat(inputs["inputs"])
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def updates(made: object, model: nn.Module, batch: Sequence[Objects], first: int) -> Iterator[Step]:
    """The training steps of a config from an iteration on; each updates the model.

    Source: mmengine's Runner: its optimiser wrapper and its schedules by iteration.
    """
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import PARAM_SCHEDULERS

    wrapper = build_optim_wrapper(model, made.optim_wrapper)
    schedules = [s for s in made.param_scheduler if not s.get("by_epoch", True)]
    built = [PARAM_SCHEDULERS.build({**s, "optimizer": wrapper}) for s in schedules]
    for _ in range(first):
        for schedule in built:
            schedule.step()
    while True:
        found = step(model, batch)
        wrapper.update_params(sum(found.losses.values()))
        for schedule in built:
            schedule.step()
        yield found
