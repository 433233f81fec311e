"""FCOS as mmdetection and HRNet's authors publish it, registered for Detectron2's configs."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec, batched_nms
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone
from detectron2.modeling.box_regression import Box2BoxTransformLinear
from detectron2.modeling.meta_arch import fcos as detectron2_fcos
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor, nn

from hrnet_det.modeling.compat.boxes import FollowsConventions, clip_boxes
from hrnet_det.modeling.compat.conventions import get_conventions


class FCOSHead(detectron2_fcos.FCOSHead):
    """Two towers for all levels: classes and centerness from one, distances from the other.

    Source: mmdetection's FCOSHead with its defaults (arXiv:1904.01355).

    Args:
        input_shape: of each level.
        norm: after each 3x3 convolution of a tower, such as "GN"; with a norm they have no bias.
        others: as Detectron2's: conv_dims (output channels of these convolutions), num_classes,
            prior_prob (the class probability that the first predictions start from).
    Input:  maps (N, C, H_k, W_k) of the levels.
    Output: three lists over the levels: class logits (N, num_classes, H_k, W_k), distances to a
        box's left, top, right, bottom (N, 4, H_k, W_k) in pixels, centerness logits (N, 1, ...).
    Differs from Detectron2's FCOSHead: centerness comes from the classes' tower, distances are
        exp(scale * x) with a learnt scale for each level, towers with a norm have no biases.
    """

    def __init__(self, *, input_shape: list[ShapeSpec], norm: str, **others: object) -> None:
        super().__init__(input_shape=input_shape, norm=norm, **others)
        self.scales = nn.ParameterList(nn.Parameter(torch.tensor(1.0)) for _ in input_shape)
        if norm:
            for layer in [*self.cls_subnet, *self.bbox_subnet]:
                if isinstance(layer, nn.Conv2d):
                    layer.bias = None

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        logits, distances, centerness = [], [], []
        for x, scale in zip(features, self.scales, strict=True):
            classes = self.cls_subnet(x)
            logits.append(self.cls_score(classes))
            centerness.append(self.ctrness(classes))
            distances.append((self.bbox_pred(self.bbox_subnet(x)) * scale).float().exp())
        return logits, distances, centerness


@META_ARCH_REGISTRY.register()
class FCOS(FollowsConventions, detectron2_fcos.FCOS):
    """Detectron2's FCOS, built from MODEL.FCOS, with mmdetection's head and test-time rules.

    Source: mmdetection's FCOSHead (arXiv:1904.01355).
    Differs from Detectron2's FCOS: candidates are chosen by their class probability alone, and
        ranked by its product with the centerness (not its root); boxes are clipped before the
        suppression.
    """

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        options = cfg.MODEL.FCOS
        backbone = build_backbone(cfg)
        shapes = [backbone.output_shape()[name] for name in options.IN_FEATURES]
        head = FCOSHead(
            input_shape=shapes,
            conv_dims=[shapes[0].channels] * options.NUM_CONVS,
            num_classes=options.NUM_CLASSES,
            norm=options.NORM,
            prior_prob=options.PRIOR_PROB,
        )
        return {
            "conventions": get_conventions(cfg.MODEL.CONVENTIONS),
            "backbone": backbone,
            "head": head,
            "head_in_features": options.IN_FEATURES,
            "box2box_transform": Box2BoxTransformLinear(normalize_by_size=False),
            "num_classes": options.NUM_CLASSES,
            "center_sampling_radius": options.CENTER_SAMPLING_RADIUS,
            "test_score_thresh": options.SCORE_THRESH_TEST,
            "test_topk_candidates": options.TOPK_CANDIDATES_TEST,
            "test_nms_thresh": options.NMS_THRESH_TEST,
            "max_detections_per_image": cfg.TEST.DETECTIONS_PER_IMAGE,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
        }

    def forward_inference(
        self, images: ImageList, features: list[Tensor], predictions: list[list[Tensor]]
    ) -> list[Instances]:
        outputs = self._transpose_dense_predictions(predictions, [self.num_classes, 4, 1])
        levels = list(zip(self.anchor_generator(features), *outputs, strict=True))
        return [
            self._detect([(points, *(x[n] for x in rest)) for points, *rest in levels], size)
            for n, size in enumerate(images.image_sizes)
        ]

    def _detect(self, levels: list[tuple], size: tuple[int, int]) -> Instances:
        """One image's detections from its points, class logits, distances and centerness."""
        found = Instances.cat([self._candidates(level, size) for level in levels])
        found = found[found.pred_boxes.nonempty()]
        boxes = found.pred_boxes.tensor
        kept = batched_nms(boxes, found.scores, found.pred_classes, self.test_nms_thresh)
        return found[kept[: self.max_detections_per_image]]

    def _candidates(self, level: tuple, size: tuple[int, int]) -> Instances:
        """The clipped boxes of one level's best class probabilities."""
        points, logits, distances, centerness = level
        probabilities = logits.sigmoid()
        places = (probabilities > self.test_score_thresh).nonzero()
        values = probabilities[places[:, 0], places[:, 1]]
        values, order = values.topk(min(self.test_topk_candidates, len(values)))
        cells, classes = places[order].unbind(dim=1)
        boxes = self.box2box_transform.apply_deltas(distances[cells], points.tensor[cells])
        boxes = Boxes(clip_boxes(boxes, size, self.conventions))
        scores = values * centerness[cells, 0].sigmoid()
        return Instances(size, pred_boxes=boxes, scores=scores, pred_classes=classes)
