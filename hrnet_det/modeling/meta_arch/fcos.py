"""FCOS as mmdetection and HRNet's authors publish it, registered for Detectron2's configs."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec, batched_nms
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone
from detectron2.modeling.box_regression import Box2BoxTransformLinear
from detectron2.modeling.meta_arch import fcos as detectron2_fcos
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from hrnet_det.modeling.compat.boxes import FollowsConventions, clip_boxes, scaled
from hrnet_det.modeling.compat.conventions import get_conventions
from hrnet_det.modeling.compat.initial import set_initial_values
from hrnet_det.modeling.compat.scales import KnowsScale, postprocessed
from hrnet_det.modeling.meta_arch import fcos_training as training


class FCOSHead(detectron2_fcos.FCOSHead):
    """Two towers for all levels: classes and centerness from one, distances from the other.

    Source: mmdetection's FCOSHead with its defaults (arXiv:1904.01355).

    Args:
        input_shape: of each level.
        norm: after each 3x3 convolution of a tower, such as "GN".
        conv_bias: whether these convolutions have biases beside a norm; without one they have.
        others: as Detectron2's: conv_dims (output channels of these convolutions), num_classes,
            prior_prob (the class probability that the first predictions start from).
    Input:  maps (N, C, H_k, W_k) of the levels.
    Output: three lists over the levels: class logits (N, num_classes, H_k, W_k), distances to a
        box's left, top, right, bottom (N, 4, H_k, W_k) in pixels, centerness logits (N, 1, ...).
    Differs from Detectron2's FCOSHead: centerness comes from the classes' tower, distances are
        exp(scale * x) with a learnt scale for each level, towers with a norm have no biases.
    """

    def __init__(
        self, *, input_shape: list[ShapeSpec], norm: str, conv_bias: bool = False, **others: object
    ) -> None:
        super().__init__(input_shape=input_shape, norm=norm, **others)
        self.scales = nn.ParameterList(nn.Parameter(torch.tensor(1.0)) for _ in input_shape)
        if norm and not conv_bias:
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
class FCOS(KnowsScale, FollowsConventions, detectron2_fcos.FCOS):
    """Detectron2's FCOS, built from MODEL.FCOS, with the head and the rules of HRNet's detectors.

    Source: FCOSHead of mmdetection 1 to 3 (arXiv:1904.01355) and HRNet-FCOS.
    Args:
        box_loss, normalizer: of `fcos_training`; the defaults are Detectron2's.
        center_sampling_radius: strides from a box's middle in which points are positive, 0 for
            all in the box.
        others: as KnowsScale's, FollowsConventions's and Detectron2's.
    Input, output: as Detectron2's FCOS.
    Raises: ValueError if a loss or normalizer does not exist (the message lists the valid ones).
    Differs from Detectron2's FCOS: candidates are chosen by their class probability alone (in the
        older code bases with its product with the centerness), and ranked by that product (not its
        root); boxes are clipped before the suppression.
    """

    @configurable
    def __init__(
        self,
        *,
        box_loss: str = "giou",
        normalizer: str = "moving_average",
        center_sampling_radius: float = 1.5,
        **others: object,
    ) -> None:
        # Detectron2's matching has all points near enough at infinity.
        super().__init__(center_sampling_radius=center_sampling_radius or math.inf, **others)
        if box_loss not in training.BOX_LOSSES:
            known = ", ".join(training.BOX_LOSSES)
            raise ValueError(f"unknown FCOS box_loss {box_loss!r}; known: {known}")
        if normalizer not in training.NORMALIZERS:
            known = ", ".join(training.NORMALIZERS)
            raise ValueError(f"unknown FCOS normalizer {normalizer!r}; known: {known}")
        self.box_loss, self.normalizer = box_loss, normalizer
        set_initial_values(self, self.conventions.training.initial_values)

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
            conv_bias=options.CONV_BIAS,
            prior_prob=options.PRIOR_PROB,
        )
        return {
            "conventions": get_conventions(cfg.MODEL.CONVENTIONS),
            "test_sides": (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST),
            "backbone": backbone,
            "head": head,
            "head_in_features": options.IN_FEATURES,
            "box2box_transform": Box2BoxTransformLinear(normalize_by_size=False),
            "num_classes": options.NUM_CLASSES,
            "center_sampling_radius": options.CENTER_SAMPLING_RADIUS,
            "box_loss": options.BOX_LOSS,
            "normalizer": options.NORMALIZER,
            "test_score_thresh": options.SCORE_THRESH_TEST,
            "test_topk_candidates": options.TOPK_CANDIDATES_TEST,
            "test_nms_thresh": options.NMS_THRESH_TEST,
            "max_detections_per_image": cfg.TEST.DETECTIONS_PER_IMAGE,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
        }

    def _match_anchors(self, gt_boxes: Boxes, anchors: list[Boxes]) -> Tensor:
        rules = self.conventions
        if not rules.fcos_exact_matches:
            return super()._match_anchors(gt_boxes, anchors)
        radius = self.center_sampling_radius
        return training.match_quality(gt_boxes, anchors, radius=radius, closed=rules.closed_boxes)

    def losses(
        self,
        anchors: list[Boxes],
        pred_logits: list[Tensor],
        gt_labels: list[Tensor],
        pred_anchor_deltas: list[Tensor],
        gt_boxes: list[Tensor],
        pred_centerness: list[Tensor],
    ) -> dict[str, Tensor]:
        labels, closed = torch.stack(gt_labels), self.conventions.closed_boxes
        chosen = (labels >= 0) & (labels != self.num_classes)  # (N, R)
        count = chosen.sum()
        points = Boxes.cat(anchors).get_centers().expand(len(labels), -1, -1)[chosen]
        wanted = training.distances(points, torch.stack(gt_boxes)[chosen], closed=closed)
        found = training.Positives(
            points, torch.cat(pred_anchor_deltas, dim=1)[chosen], wanted, closed
        )
        centerness = training.centerness(wanted)
        by = training.divisors(
            self.normalizer,
            *(count, centerness.sum(), len(labels)),
            lambda value: self._ema_update("loss_normalizer", value, 300),
        )
        get_event_storage().put_scalar("num_pos_anchors", count.item() / len(labels))
        compute, weighted = training.BOX_LOSSES[self.box_loss]
        boxes = compute(found)
        boxes = (boxes * centerness).sum() / by.weights if weighted else boxes.sum() / by.centerness
        classes = training.class_loss(
            torch.cat(pred_logits, dim=1),
            labels,
            alpha=self.focal_loss_alpha,
            gamma=self.focal_loss_gamma,
        )
        learnt = torch.cat(pred_centerness, dim=1).squeeze(dim=2)[chosen]
        entropy = F.binary_cross_entropy_with_logits(learnt, centerness, reduction="sum")
        return {
            "loss_fcos_cls": classes / by.classes,
            "loss_fcos_loc": boxes,
            "loss_fcos_ctr": entropy / by.centerness,
        }

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        if self.training or not self.conventions.closed_boxes:
            return super().forward(batched_inputs)
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        features = [features[name] for name in self.head_in_features]
        results = self.forward_inference(images, features, self.head(features))
        return postprocessed(results, batched_inputs, self.conventions)

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
        if self.conventions.nms_in_original:
            boxes = scaled(boxes, torch.div, size.scale, self.conventions)
        kept = batched_nms(boxes, found.scores, found.pred_classes, self.test_nms_thresh)
        return found[kept[: self.max_detections_per_image]]

    def _candidates(self, level: tuple, size: tuple[int, int]) -> Instances:
        """The clipped boxes of one level's best points."""
        points, logits, distances, centerness = level
        probabilities, centerness = logits.sigmoid(), centerness[:, 0].sigmoid()
        cells, classes = self._best(probabilities, centerness)
        scores = probabilities[cells, classes] * centerness[cells]
        boxes = self.box2box_transform.apply_deltas(distances[cells], points.tensor[cells])
        if self.conventions.closed_boxes:
            boxes = boxes + boxes.new_tensor([0, 0, 1, 1])
        boxes = Boxes(clip_boxes(boxes, size, self.conventions))
        return Instances(size, pred_boxes=boxes, scores=scores, pred_classes=classes)

    def _best(self, probabilities: Tensor, centerness: Tensor) -> tuple[Tensor, Tensor]:
        """Points and classes of a level's candidates, from (R, K) and (R,) in 0..1."""
        rule, most = self.conventions.fcos_candidates, self.test_topk_candidates
        above = probabilities > self.test_score_thresh
        if rule == "points":
            best = (probabilities.amax(dim=1) * centerness).topk(at_most(centerness, most)).indices
            cells, classes = above[best].nonzero().unbind(dim=1)
            return best[cells], classes
        cells, classes = above.nonzero().unbind(dim=1)
        values = probabilities[cells, classes]
        if rule == "products":
            values = values * centerness[cells]
        order = values.topk(at_most(values, most)).indices
        return cells[order], classes[order]


def at_most(values: Tensor, most: int) -> int | Tensor:
    """The number of values, at most so many; in tracing a tensor, which follows the image."""
    count = values.shape[0]
    return count.clamp(max=most) if isinstance(count, Tensor) else min(count, most)
