"""All layers of a detector run once, for a number of boxes that its images do not decide."""

from __future__ import annotations

from dataclasses import dataclass, field

from detectron2.modeling.poolers import ROIPooler
from torch import Tensor, nn

from hrnet_det.modeling.roi_heads.cascade import StageMaskHeads
from hrnet_det.modeling.roi_heads.htc import EMBEDDING
from hrnet_det.modeling.roi_heads.htc_layers import SemanticPooler


@dataclass(frozen=True)
class Outputs:
    """What the layers of a detector give, each a list of maps or rows.

    Args:
        features: of the backbone.
        dense: of the heads that look at every cell: scores and deltas of anchors or points.
        pixels: logits of a semantic head, before they are brought to the images' size.
        boxes: of the heads that look at boxes: scores, deltas, masks, heatmaps.
        centres: of a head that points at objects' centres: heat and offsets.
    """

    features: list[Tensor]
    dense: list[Tensor]
    pixels: list[Tensor]
    boxes: list[Tensor]
    centres: list[Tensor] = field(default_factory=list)


def run_layers(model: nn.Module, images: Tensor, *, boxes: int, objects: int) -> Outputs:
    """Run backbone and heads of any of the shipped detectors, without what lies between them.

    Nothing depends on the values of tensors: they may be on the meta device.

    Args:
        images: (N, 3, H, W).
        boxes: how many go through each box head, of all images together.
        objects: how many go through each mask and keypoint head.
    """
    features = model.backbone(images)
    dense: list[Tensor] = []
    if hasattr(model, "proposal_generator"):
        part = model.proposal_generator
        scores, deltas = part.rpn_head([features[name] for name in part.in_features])
        dense += [*scores, *deltas]
    if hasattr(model, "head_in_features"):
        for maps in model.head([features[name] for name in model.head_in_features]):
            dense += maps
    pixels, maps = [], features
    if hasattr(model, "sem_seg_head"):
        pixels.append(model.sem_seg_head.layers(features))
    elif semantic_head_of(model) is not None:
        logits, embedding = semantic_head_of(model)(features)
        pixels.append(logits)
        maps = {**features, EMBEDDING: embedding}
    heads = getattr(model, "roi_heads", None)
    found = [] if heads is None else _box_outputs(heads, maps, boxes, objects)
    centres = model.ins_embed_head.layers(features) if hasattr(model, "ins_embed_head") else ()
    return Outputs(list(features.values()), dense, pixels, found, list(centres))


def semantic_head_of(model: nn.Module) -> nn.Module | None:
    """The head that `pixels` are of, which may be a part of the RoI heads; None without one."""
    own = getattr(model, "sem_seg_head", None)
    return own or getattr(getattr(model, "roi_heads", None), "semantic_head", None)


def _box_outputs(
    heads: nn.Module, maps: dict[str, Tensor], boxes: int, objects: int
) -> list[Tensor]:
    finest = maps[heads.box_in_features[0]]
    embedding = maps.get(EMBEDDING)
    outputs: list[Tensor] = []
    cascade = isinstance(heads.box_head, nn.ModuleList)
    box_heads = heads.box_head if cascade else [heads.box_head]
    predictors = heads.box_predictor if cascade else [heads.box_predictor]
    for head, predictor in zip(box_heads, predictors, strict=True):
        outputs += predictor(head(_pooled(heads.box_pooler, finest, embedding, boxes)))
    for kind in ("mask", "keypoint"):
        if not getattr(heads, f"{kind}_on"):
            continue
        pooler, head = getattr(heads, f"{kind}_pooler"), getattr(heads, f"{kind}_head")
        if isinstance(head, StageMaskHeads) and head.training:  # each stage has boxes of its own
            for stage in range(len(head)):
                x = _pooled(pooler, finest, embedding, objects)
                outputs.append(head.stage_logits(x, stage))
            continue
        found = head.layers(_pooled(pooler, finest, embedding, objects))
        outputs += found if isinstance(found, list) else [found]
    return outputs


def _pooled(
    pooler: ROIPooler | SemanticPooler, finest: Tensor, embedding: Tensor | None, boxes: int
) -> Tensor:
    """Features of this many boxes, all from the finest level."""
    rois = finest.new_zeros(boxes, 5)
    if isinstance(pooler, SemanticPooler):
        parts = ((pooler.pyramid, finest), (pooler.embedding, embedding))
        return pooler.joined(*(part.level_poolers[0](x, rois) for part, x in parts))
    return pooler.level_poolers[0](finest, rois)
