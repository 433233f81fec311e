"""Files of HRNet-MaskRCNN-Benchmark."""

from hrnet_det.checkpoint.formats.base import BODY, Format, has

_BOX, _MASK = "roi_heads.box.", "roi_heads.mask."
_FCN = _MASK + "feature_extractor.mask_fcn"
MASKRCNN_BENCHMARK = Format(
    name="maskrcnn_benchmark",
    title="HRNet-MaskRCNN-Benchmark",
    recognises=lambda names: has(names, "backbone.body."),
    rules=(
        ("backbone.body.{body}", BODY + "{body}"),
        ("backbone.neck.reduction_conv.0.{p}", "backbone.reduction_conv.{p}"),
        ("backbone.neck.fpn_conv.{n}.{p}", "backbone.fpn_convs.{n}.{p}"),
        ("rpn.head.conv.{p}", "proposal_generator.rpn_head.conv.{p}"),
        ("rpn.head.cls_logits.{p}", "proposal_generator.rpn_head.objectness_logits.{p}"),
        ("rpn.head.bbox_pred.{p}", "proposal_generator.rpn_head.anchor_deltas.{p}"),
        (_BOX + "feature_extractor.fc6.{p}", "roi_heads.box_head.fc1.{p}"),
        (_BOX + "feature_extractor.fc7.{p}", "roi_heads.box_head.fc2.{p}"),
        (_BOX + "predictor.cls_score.{p}", "roi_heads.box_predictor.cls_score.{p}"),
        (_BOX + "predictor.bbox_pred.{p}", "roi_heads.box_predictor.bbox_pred.{p}"),
        *((f"{_FCN}{k}.{{p}}", f"roi_heads.mask_head.mask_fcn{k}.{{p}}") for k in range(1, 5)),
        (_MASK + "predictor.conv5_mask.{p}", "roi_heads.mask_head.deconv.{p}"),
        (_MASK + "predictor.mask_fcn_logits.{p}", "roi_heads.mask_head.predictor.{p}"),
    ),
    conventions="maskrcnn_benchmark",
    ignored=((r".+\.eps", "constant of a norm, not a weight"),),
    background_first=True,
)
