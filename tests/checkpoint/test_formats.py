"""Whose naming a weights file has, its tensors under ours, and what detector they are."""

import pytest
import timm
import torch
from helpers.timm_names import HEAD, TIMM

from hrnet_det import VARIANTS, HRNet, HRNetVariant, model_zoo
from hrnet_det.checkpoint.formats import (
    BODY,
    HRNET_FCOS,
    HRNET_OBJECT_DETECTION,
    IMAGENET,
    MASKRCNN_BENCHMARK,
    MMDET,
    MMDET_1,
    OWN,
    recognise,
)
from hrnet_det.checkpoint.infer import hrnet_variant, infer_detector, variant_name
from hrnet_det.checkpoint.renaming import rename
from hrnet_det.errors import InputError
from hrnet_det.modeling import kinds

# --- names ---

BODY_NAMES = """
conv1.weight bn1.weight conv2.weight bn2.num_batches_tracked layer1.0.conv1.weight
layer1.3.bn3.running_mean layer1.0.downsample.0.weight layer1.0.downsample.1.bias
transition1.0.0.weight transition1.1.0.1.bias transition2.2.0.0.weight transition3.3.0.1.running_var
stage2.0.branches.0.0.conv1.weight stage3.3.branches.2.3.bn2.bias stage2.0.fuse_layers.0.1.0.weight
stage4.2.fuse_layers.3.0.2.1.running_mean stage4.0.fuse_layers.0.3.1.num_batches_tracked
""".split()  # noqa: SIM905
RPN = "proposal_generator.rpn_head."
# Theirs and ours, written out from the projects' own detectors.
MMDET_PAIRS = [
    ("neck.reduction_conv.conv.weight", "backbone.reduction_conv.weight"),
    ("neck.fpn_convs.0.conv.weight", "backbone.fpn_convs.0.weight"),
    ("neck.fpn_convs.4.conv.bias", "backbone.fpn_convs.4.bias"),
    ("rpn_head.rpn_conv.weight", RPN + "conv.weight"),
    ("rpn_head.rpn_cls.bias", RPN + "objectness_logits.bias"),
    ("rpn_head.rpn_reg.weight", RPN + "anchor_deltas.weight"),
    ("roi_head.bbox_head.shared_fcs.0.weight", "roi_heads.box_head.fc1.weight"),
    ("roi_head.bbox_head.shared_fcs.1.bias", "roi_heads.box_head.fc2.bias"),
    ("roi_head.bbox_head.fc_cls.weight", "roi_heads.box_predictor.cls_score.weight"),
    ("roi_head.bbox_head.fc_reg.bias", "roi_heads.box_predictor.bbox_pred.bias"),
    ("roi_head.bbox_head.0.shared_fcs.0.bias", "roi_heads.box_head.0.fc1.bias"),
    ("roi_head.bbox_head.1.shared_fcs.1.weight", "roi_heads.box_head.1.fc2.weight"),
    ("roi_head.bbox_head.1.fc_cls.bias", "roi_heads.box_predictor.1.cls_score.bias"),
    ("roi_head.bbox_head.2.fc_reg.weight", "roi_heads.box_predictor.2.bbox_pred.weight"),
    ("roi_head.mask_head.convs.0.conv.weight", "roi_heads.mask_head.mask_fcn1.weight"),
    ("roi_head.mask_head.convs.1.conv.bias", "roi_heads.mask_head.mask_fcn2.bias"),
    ("roi_head.mask_head.convs.2.conv.weight", "roi_heads.mask_head.mask_fcn3.weight"),
    ("roi_head.mask_head.convs.3.conv.bias", "roi_heads.mask_head.mask_fcn4.bias"),
    ("roi_head.mask_head.upsample.weight", "roi_heads.mask_head.deconv.weight"),
    ("roi_head.mask_head.conv_logits.bias", "roi_heads.mask_head.predictor.bias"),
    ("roi_head.mask_head.2.convs.3.conv.weight", "roi_heads.mask_head.2.mask_fcn4.weight"),
    ("roi_head.mask_head.0.upsample.bias", "roi_heads.mask_head.0.deconv.bias"),
    ("roi_head.mask_head.1.conv_logits.weight", "roi_heads.mask_head.1.predictor.weight"),
]
FCOS_PAIRS = [
    ("bbox_head.cls_convs.0.conv.weight", "head.cls_subnet.0.weight"),
    ("bbox_head.cls_convs.0.gn.bias", "head.cls_subnet.1.bias"),
    ("bbox_head.cls_convs.3.conv.weight", "head.cls_subnet.9.weight"),
    ("bbox_head.reg_convs.1.conv.weight", "head.bbox_subnet.3.weight"),
    ("bbox_head.reg_convs.3.gn.weight", "head.bbox_subnet.10.weight"),
    ("bbox_head.conv_cls.weight", "head.cls_score.weight"),
    ("bbox_head.conv_reg.bias", "head.bbox_pred.bias"),
    ("bbox_head.conv_centerness.weight", "head.ctrness.weight"),
    ("bbox_head.scales.4.scale", "head.scales.4"),
]
MMDET_1_FCOS_PAIRS = [
    *FCOS_PAIRS[:5],
    ("bbox_head.fcos_cls.weight", "head.cls_score.weight"),
    ("bbox_head.fcos_reg.bias", "head.bbox_pred.bias"),
    ("bbox_head.fcos_centerness.weight", "head.ctrness.weight"),
    ("bbox_head.scales.4.scale", "head.scales.4"),
]
HRNET_FCOS_PAIRS = [
    ("backbone.fpn.reduction_conv.0.weight", "backbone.reduction_conv.weight"),
    ("backbone.fpn.fpn_conv.5.bias", "backbone.fpn_convs.5.bias"),
    ("rpn.head.cls_tower.0.bias", "head.cls_subnet.0.bias"),
    ("rpn.head.cls_tower.1.weight", "head.cls_subnet.1.weight"),
    ("rpn.head.bbox_tower.9.weight", "head.bbox_subnet.9.weight"),
    ("rpn.head.cls_logits.weight", "head.cls_score.weight"),
    ("rpn.head.bbox_pred.bias", "head.bbox_pred.bias"),
    ("rpn.head.centerness.weight", "head.ctrness.weight"),
    ("rpn.head.scales.5.scale", "head.scales.5"),
]
OBJECT_DETECTION_PAIRS = [
    ("neck.reduction_conv.0.weight", "backbone.reduction_conv.weight"),
    ("neck.fpn_conv.0.bias", "backbone.fpn_convs.0.bias"),
    ("neck.fpn_conv.4.weight", "backbone.fpn_convs.4.weight"),
    *(pair for pair in MMDET_PAIRS if pair[0].startswith("rpn_head.")),
    *((theirs[9:], ours) for theirs, ours in MMDET_PAIRS if theirs.startswith("roi_head.")),
]
MMDET_1_PAIRS = [
    *(pair for pair in MMDET_PAIRS if pair[0].startswith("neck.")),
    *OBJECT_DETECTION_PAIRS[3:],
    ("mask_head.1.conv_res.conv.weight", "roi_heads.mask_head.1.conv_res.weight"),
    ("semantic_head.lateral_convs.4.conv.bias", "roi_heads.semantic_head.lateral_convs.4.bias"),
    ("semantic_head.convs.3.conv.weight", "roi_heads.semantic_head.convs.3.weight"),
    ("semantic_head.conv_embedding.conv.bias", "roi_heads.semantic_head.embedding.bias"),
    ("semantic_head.conv_logits.weight", "roi_heads.semantic_head.predictor.weight"),
]
BENCHMARK_PAIRS = [
    ("backbone.neck.reduction_conv.0.bias", "backbone.reduction_conv.bias"),
    ("backbone.neck.fpn_conv.2.weight", "backbone.fpn_convs.2.weight"),
    ("rpn.head.conv.weight", RPN + "conv.weight"),
    ("rpn.head.cls_logits.bias", RPN + "objectness_logits.bias"),
    ("rpn.head.bbox_pred.weight", RPN + "anchor_deltas.weight"),
    ("roi_heads.box.feature_extractor.fc6.weight", "roi_heads.box_head.fc1.weight"),
    ("roi_heads.box.feature_extractor.fc7.bias", "roi_heads.box_head.fc2.bias"),
    ("roi_heads.box.predictor.cls_score.weight", "roi_heads.box_predictor.cls_score.weight"),
    ("roi_heads.box.predictor.bbox_pred.bias", "roi_heads.box_predictor.bbox_pred.bias"),
    ("roi_heads.mask.feature_extractor.mask_fcn1.weight", "roi_heads.mask_head.mask_fcn1.weight"),
    ("roi_heads.mask.feature_extractor.mask_fcn4.bias", "roi_heads.mask_head.mask_fcn4.bias"),
    ("roi_heads.mask.predictor.conv5_mask.weight", "roi_heads.mask_head.deconv.weight"),
    ("roi_heads.mask.predictor.mask_fcn_logits.bias", "roi_heads.mask_head.predictor.bias"),
]


@pytest.mark.parametrize(
    ("format", "prefix", "pairs"),
    [
        (IMAGENET, "", []),
        (MMDET, "backbone.", MMDET_PAIRS + FCOS_PAIRS),
        (MMDET_1, "backbone.", MMDET_1_PAIRS + MMDET_1_FCOS_PAIRS),
        (HRNET_OBJECT_DETECTION, "backbone.", OBJECT_DETECTION_PAIRS),
        (HRNET_FCOS, "backbone.body.", HRNET_FCOS_PAIRS),
        (MASKRCNN_BENCHMARK, "backbone.body.", BENCHMARK_PAIRS),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_names_both_ways(format, prefix, pairs):
    pairs = [(prefix + name, "backbone.bottom_up." + name) for name in BODY_NAMES] + pairs
    assert [format.to_ours(theirs) for theirs, _ in pairs] == [ours for _, ours in pairs]
    assert [format.to_theirs(ours) for _, ours in pairs] == [theirs for theirs, _ in pairs]
    assert not [theirs for theirs, _ in pairs if format.reason_to_ignore(theirs)]


def test_one_convolution_of_all_levels():
    theirs, ours = "neck.fpn_conv.weight", "backbone.fpn_convs.0.weight"
    assert HRNET_OBJECT_DETECTION.to_ours(theirs) == ours


@pytest.mark.parametrize(
    ("format", "names"),
    [
        (IMAGENET, "head.fc.weight layer2.0.conv1.weight backbone.conv1.weight conv1 conv3.bias"),
        (
            MMDET,
            "backbone.layer2.0.conv1.weight backbone.body.conv1.weight neck.fpn_conv.0.weight "
            "neck.lateral_convs.0.conv.weight rpn_head.rpn_cls.running_mean bbox_head.fc_cls.bias "
            "roi_head.bbox_head.shared_fcs.2.weight roi_head.mask_head.convs.4.conv.weight "
            "bbox_head.retina_cls.weight bbox_head.cls_convs.0.conv.extra.weight conv1.weight",
        ),
        (
            HRNET_OBJECT_DETECTION,
            "roi_head.bbox_head.fc_cls.weight bbox_head.conv_cls.weight neck.x.bias "
            "neck.fpn_convs.0.conv.bias neck.reduction_conv.conv.bias",
        ),
        (MMDET_1, "neck.fpn_conv.0.bias neck.reduction_conv.0.bias roi_head.bbox_head.fc_cls.bias"),
        (MASKRCNN_BENCHMARK, "backbone.conv1.weight roi_heads.box.feature_extractor.fc8.weight"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_unknown_names_have_none_of_ours(format, names):
    assert [name for name in names.split() if format.to_ours(name) is not None] == []
    ours = "backbone.fpn_lateral2.weight", "roi_heads.keypoint_head.conv_fcn1.weight", "head.x.bias"
    assert [name for name in ours if format.to_theirs(name) is not None] == []


def test_what_is_left_out_on_purpose():
    why, anchors = MASKRCNN_BENCHMARK.reason_to_ignore, "anchors follow from the config"
    norm = "backbone.body.stage2.0.branches.0.0.bn1"
    assert why(f"{norm}.eps") == "constant of a norm, not a weight"
    for format in (OWN, MMDET, MASKRCNN_BENCHMARK):
        assert format.reason_to_ignore("rpn.anchor_generator.cell_anchors.0") == anchors
        assert format.reason_to_ignore(f"{norm}.total_ops") == "counts of a profiler"
        assert format.reason_to_ignore("total_params") == "counts of a profiler"
        assert "pixel mean" in format.reason_to_ignore("pixel_mean")
        assert format.reason_to_ignore(f"{norm}.weight") is None
    assert why("backbone.body.bn1.weight") is None
    assert IMAGENET.reason_to_ignore("classifier.bias") == "head of the ImageNet classifier"


@pytest.mark.parametrize("variant", VARIANTS)
def test_timms_names_are_ours_one_to_one(variant):
    with torch.device("meta"):
        ours, theirs = HRNet(variant=variant), timm.create_model(TIMM[variant])
    theirs = theirs.state_dict()
    renamed = rename(theirs, "file")
    assert renamed.format is IMAGENET and renamed.unknown == []
    shapes = {name: tensor.shape for name, tensor in renamed.weights.items()}
    assert shapes == {BODY + name: tensor.shape for name, tensor in ours.state_dict().items()}
    head = [name for name in theirs if name.split(".")[0] in HEAD]
    assert renamed.dropped == {"head of the ImageNet classifier": head}
    assert len(head) == 126
    kept = [name for name in theirs if name not in head]
    assert [IMAGENET.to_theirs(IMAGENET.to_ours(name)) for name in kept] == kept


KINDS = {  # the name of a published detector, and its title
    "faster_rcnn": ("faster_rcnn_hrnetv2p_w18_1x", "Faster R-CNN"),
    "mask_rcnn": ("mask_rcnn_hrnetv2p_w18_1x", "Mask R-CNN"),
    "cascade_rcnn": ("cascade_rcnn_hrnetv2p_w18_20e", "Cascade R-CNN"),
    "cascade_mask_rcnn": ("cascade_mask_rcnn_hrnetv2p_w18_20e", "Cascade Mask R-CNN"),
    "htc": ("htc_hrnetv2p_w18_20e", "Hybrid Task Cascade"),
    "fcos": ("fcos_hrnetv2p_w18_1x", "FCOS"),
}
DETECTORS = [
    *((MMDET, kind) for kind in KINDS),
    *((MMDET_1, kind) for kind in KINDS if kind != "fcos"),
    (HRNET_OBJECT_DETECTION, "faster_rcnn"),
    (HRNET_OBJECT_DETECTION, "mask_rcnn"),
    (MASKRCNN_BENCHMARK, "faster_rcnn"),
]


@pytest.fixture(scope="module", params=DETECTORS, ids=lambda param: f"{param[0].name}/{param[1]}")
def detector(request):
    """A format, a kind of detector, and the shapes of our detector with its conventions."""
    format, kind = request.param
    model = model_zoo.get(f"{format.name}/{KINDS[kind][0]}")
    return format, kind, {name: tensor.shape for name, tensor in model.state_dict().items()}


def test_a_whole_detectors_names_are_one_to_one(detector):
    format, _, shapes = detector
    theirs = [format.to_theirs(name) for name in shapes]
    assert None not in theirs and len(set(theirs)) == len(shapes) > 1800
    assert [format.to_ours(name) for name in theirs] == list(shapes)
    assert recognise(theirs, "file") is format
    assert recognise(shapes, "file") is OWN


# --- formats ---


@pytest.mark.parametrize(
    ("format", "names"),
    [
        (IMAGENET, "conv1.weight stage2.0.branches.0.0.conv1.weight"),
        (MMDET, "backbone.conv1.weight"),
        (MMDET, "backbone.stage2.0.branches.0.0.conv1.weight roi_head.bbox_head.fc_cls.bias"),
        (MMDET, "backbone.conv1.weight bbox_head.conv_cls.weight"),
        (HRNET_OBJECT_DETECTION, "backbone.conv1.weight bbox_head.fcos_cls.weight"),
        (HRNET_FCOS, "backbone.body.conv1.weight rpn.head.centerness.bias"),
        (HRNET_OBJECT_DETECTION, "backbone.conv1.weight bbox_head.fc_cls.weight"),
        (
            HRNET_OBJECT_DETECTION,
            "backbone.conv1.weight bbox_head.0.fc_cls.weight mask_head.0.x.bias",
        ),
        (MMDET_1, "backbone.conv1.weight bbox_head.fc_cls.bias neck.reduction_conv.conv.bias"),
        (MMDET_1, "backbone.stage2.0.x mask_head.0.upsample.bias neck.fpn_convs.0.conv.bias"),
        (MMDET, "backbone.conv1.weight roi_head.bbox_head.fc_cls.bias neck.fpn_convs.0.conv.bias"),
        (HRNET_OBJECT_DETECTION, "backbone.conv1.x bbox_head.fc_cls.bias neck.fpn_conv.0.bias"),
        (MASKRCNN_BENCHMARK, "backbone.body.conv1.weight"),
        (OWN, "backbone.bottom_up.conv1.weight"),
        (OWN, "conv1.weight layer2.0.conv1.weight"),
        (OWN, "anything"),
        (OWN, ""),
    ],
)
def test_a_format_is_recognised_by_few_names(format, names):
    assert recognise(names.split(), "file") is format


@pytest.mark.parametrize(
    ("names", "said"),
    [
        *(
            (
                f"backbone.bottom_up.conv1.weight backbone.{layer}.0.weight",
                "a DensePose HRFPN: a pyramid of other layers (transposed convolutions), whose "
                "weights fit no HRNetV2p; its HRNet alone may be saved under the names conv1, ...",
            )
            for layer in ("interp_conv", "reduction_pooling_conv")
        ),
        (
            "backbone.conv1.weight bbox_head.retina_cls.weight",
            "a detector of mmdetection whose heads are not known here "
            "(bbox_head.retina_cls.weight, ...)",
        ),
    ],
)
def test_detectors_that_cannot_be_loaded_are_named(names, said):
    with pytest.raises(InputError) as error:
        recognise(names.split(), "some.pth")
    assert str(error.value) == f"some.pth is {said}"


@pytest.mark.parametrize("start", ["", "roi_head."])
def test_what_the_first_mask_head_has_no_use_for_is_left_out(start):
    names = [f"{start}mask_head.{n}.conv_res.conv.weight" for n in range(3)]
    others = ["backbone.conv1.weight", f"{start}bbox_head.0.fc_cls.weight"]
    found = rename(dict.fromkeys([*names, *others], torch.zeros(1, 1)), "file")
    assert found.dropped == {"the first mask head takes no features of another": names[:1]}
    assert found.unknown == []
    flows = [name for name in found.weights if "conv_res" in name]
    assert flows == [f"roi_heads.mask_head.{n}.conv_res.weight" for n in (1, 2)]


def rows(*numbers, width=2):
    """A weight whose rows have these numbers, and a bias of them."""
    bias = torch.tensor(numbers, dtype=torch.float)
    return {"weight": bias[:, None].expand(-1, width), "bias": bias}


BOX = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("prefix", "layer", "given", "expected"),
    [
        (prefix + stage, layer, given, expected)
        for prefix, stages in (
            ("bbox_head", ("", ".0", ".2")),
            ("roi_heads.box.predictor", ("",)),
        )
        for stage in stages
        for layer, given, expected in (
            ("fc_cls", [0, 1, 2, 3], [1, 2, 3, 0]),
            ("fc_reg", BOX, BOX[4:]),
            ("fc_reg", [7, 8, 9, 10], [7, 8, 9, 10]),  # for all classes together
        )
    ]
    + [
        (prefix, "conv_logits", [0, 1, 2, 3], [1, 2, 3])
        for prefix in ("mask_head", "mask_head.1", "roi_heads.mask.predictor")
    ],
)
def test_the_background_goes_last(prefix, layer, given, expected):
    benchmark = prefix.startswith("roi_heads.")
    names = {"fc_cls": "cls_score", "fc_reg": "bbox_pred", "conv_logits": "mask_fcn_logits"}
    layer = names[layer] if benchmark else layer
    body = "backbone.body.conv1.weight" if benchmark else "backbone.conv1.weight"
    also = {"bbox_head.shared_fcs.0.bias": torch.arange(5.0)} if not benchmark else {}
    file = {f"{prefix}.{layer}.{p}": tensor for p, tensor in rows(*given).items()}
    renamed = rename({body: torch.arange(5.0), **file, **also}, "file")
    assert renamed.unknown == []
    tensors = list(renamed.weights.values())
    assert tensors[0].tolist() == [0, 1, 2, 3, 4]  # no class layer
    for tensor, whole in zip(tensors[1:3], rows(*expected).values(), strict=True):
        assert torch.equal(tensor, whole)
    assert [tensor.tolist() for tensor in tensors[3:]] == [[0, 1, 2, 3, 4] for _ in also]


def test_a_mask_for_all_classes_together_stays():
    file = {"backbone.conv1.weight": torch.zeros(1)}
    file |= {f"mask_head.conv_logits.{p}": tensor for p, tensor in rows(7).items()}
    renamed = rename(file, "file").weights
    assert renamed["roi_heads.mask_head.predictor.bias"].tolist() == [7]


def test_mmdetections_classes_stay_as_they_are():
    file = {"backbone.conv1.weight": torch.zeros(1)}
    file |= {f"roi_head.bbox_head.fc_cls.{p}": tensor for p, tensor in rows(0, 1, 2).items()}
    renamed = rename(file, "file")
    assert renamed.weights["roi_heads.box_predictor.cls_score.bias"].tolist() == [0, 1, 2]


def test_unknown_names_are_kept_apart_and_doubled_ones_refused():
    file = {"backbone.conv1.weight": torch.zeros(1), "roi_head.new.weight": torch.zeros(1)}
    assert rename(file, "file").unknown == ["roi_head.new.weight"]
    file = {n: torch.zeros(1) for n in ("backbone.conv1.weight", "bbox_head.fc_cls.bias")}
    file |= {n: torch.zeros(1) for n in ("neck.fpn_conv.0.bias", "neck.fpn_conv.bias")}
    with pytest.raises(InputError) as error:
        rename(file, "some.pth")
    twice = "two tensors are backbone.fpn_convs.0.bias, one of them is neck.fpn_conv.bias"
    assert str(error.value) == f"some.pth: {twice}"


# --- detectors ---


def test_what_detector_the_tensors_are(detector):
    _, kind, shapes = detector
    found = infer_detector(shapes)
    fcos, masks = kind == "fcos", "mask" in kind or kind == "htc"
    assert found.kind is kinds.KINDS[kind]
    assert (found.variant, found.pyramid, found.shares_conv) == ("w18", True, False)
    assert (found.classes, found.semantic_classes) == (80, 183 if kind == "htc" else 0)
    assert dict(found.channels) == {
        "MODEL.HRFPN.OUT_CHANNELS": 256,
        **({} if fcos else {"MODEL.ROI_BOX_HEAD.FC_DIM": 1024}),
        **({"MODEL.ROI_MASK_HEAD.CONV_DIM": 256} if masks else {}),
        **({"MODEL.SEM_SEG_HEAD.CONVS_DIM": 256} if kind == "htc" else {}),
    }
    assert found.title == f"{KINDS[kind][1]}, HRNetV2p-W18, 80 classes"
    if kind in ("faster_rcnn", "mask_rcnn"):
        convs = [n for n in shapes if n.startswith("backbone.fpn_convs.") and ".0." not in n]
        others = {name: shape for name, shape in shapes.items() if name not in convs}
        others["roi_heads.box_predictor.cls_score.weight"] = torch.Size([4, 1024])
        others["backbone.reduction_conv.weight"] = torch.Size([64, 270, 1, 1])
        found = infer_detector(others)
        assert (found.classes, found.shares_conv) == (3, True)
        assert dict(found.channels)["MODEL.HRFPN.OUT_CHANNELS"] == 64


def test_a_detector_without_a_pyramid_or_with_a_part_of_hrnet(detector):
    _, _, shapes = detector
    without = {n: s for n, s in shapes.items() if not n.startswith("backbone.reduction_conv.")}
    found = infer_detector(without)
    assert not found.pyramid and ", HRNet-W18, 80 classes" in found.title
    lacking = "backbone.bottom_up.layer1.0.conv1.weight"
    assert infer_detector({n: s for n, s in shapes.items() if n != lacking}) is None


def body(variant):
    with torch.device("meta"):
        weights = HRNet(variant=variant).state_dict()
    return {BODY + name: tensor.shape for name, tensor in weights.items()}


@pytest.mark.parametrize(
    ("heads", "kind", "counts"),
    [
        ({}, None, None),
        ({"roi_heads.keypoint_head.x.weight": (17,)}, None, None),
        ({"proposal_generator.rpn_head.conv.weight": (256,)}, "rpn", (0, 0)),
        # RetinaNet has scores and a box for each of its anchors
        ({"head.cls_score.weight": (720,), "head.bbox_pred.weight": (36,)}, "retinanet", (80, 0)),
        ({"head.cls_score.weight": (3,), "head.bbox_pred.bias": (4,)}, "retinanet", (3, 0)),
        (
            {
                "head.cls_score.bias": (80,),
                "head.bbox_pred.bias": (4,),
                "head.ctrness.bias": (1,),
            },
            "fcos",
            (80, 0),
        ),
        ({"sem_seg_head.predictor.bias": (19,)}, "semantic_seg", (0, 19)),
    ],
)
def test_few_tensors_tell_the_kind(heads, kind, counts):
    """A backbone, a pyramid, an unknown head, and the detectors with few of their tensors."""
    shapes = body("w18_small_v1")
    assert infer_detector(shapes) is None
    shapes |= {"backbone.reduction_conv.weight": torch.Size([256, 240, 1, 1])}
    found = infer_detector(shapes | heads)
    assert (found and found.kind.name) == kind
    assert counts is None or (found.classes, found.semantic_classes) == counts


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_variant_follows_from_the_shapes(variant):
    found = hrnet_variant(body(variant))
    assert found == VARIANTS[variant]
    assert variant_name(found) == variant


def test_a_part_of_a_variant():
    shapes = body("w18")
    whole = {n: s for n, s in shapes.items() if not n.startswith(BODY + "stage4.")}
    three = hrnet_variant(whole)
    assert three == HRNetVariant(widths=(18, 36, 72), modules=(1, 4))
    assert variant_name(three) == "an HRNet of widths 18/36/72 and 1/4 modules"
    for lacking in ("layer1.0.conv1.weight", "stage4.0.branches.3.0.conv1.weight"):
        assert hrnet_variant({n: s for n, s in shapes.items() if n != BODY + lacking}) is None
    assert hrnet_variant({}) is None and variant_name(None) == "no whole HRNet"
