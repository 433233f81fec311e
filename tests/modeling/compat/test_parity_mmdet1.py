"""Detectors with weights of mmdetection 1 beside its formulas: HTC, and Pedestron's cascade.

The files have the names of the source's code, and everything but the image sizes, thresholds and
the soft suppression is told by them.
"""

from functools import cache

import helpers.mmdet1_reference as reference
import pytest
import torch
from detectron2.structures import Boxes, Instances
from helpers import legacy_reference as legacy
from helpers.parity import distance

from hrnet_det import model_zoo
from hrnet_det.checkpoint.formats import MMDET_1
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.checkpoint.model_config import config_of, known_config
from hrnet_det.modeling.compat.suppression import soft_nms, soft_nms_inference

RESIZED, ORIGINAL = (88, 125), (132, 188)  # with padding and two slightly different scales
CHANNELS, FC = 32, 64
CLOSED = torch.tensor([0, 0, 1, 1])  # ours are half-open
# Semantic classes, object classes, whether suppression is soft, and the most detections: so many
# that there are some among them which soft suppression alone keeps.
CASES = {"htc": (7, 5, False, 100), "cascade_mask_rcnn": (0, 1, True, 300)}


def saved(path, kind):
    """A file of the source, its weights, and a pyramid."""
    semantic, classes, *_ = CASES[kind]
    sizes = {"channels": CHANNELS, "classes": classes, "fc": FC}
    heads = reference.random_weights(semantic=semantic, **sizes)
    words = f"""
    MODEL.HRNET.VARIANT w18_small_v1
    MODEL.HRFPN.OUT_CHANNELS {CHANNELS}
    MODEL.DEVICE cpu
    """
    torch.manual_seed(0)
    plain = model_zoo.build_detector(known_config(kind, "hrnet_object_detection", words.split()))
    body = {
        MMDET_1.to_theirs(name): tensor
        for name, tensor in plain.state_dict().items()
        if name.startswith("backbone.")
    }
    unused = {f"mask_head.0.conv_res.conv.{p}": torch.ones(1) for p in ("weight", "bias")}
    meta = {"mmdet_version": "1.2.0", "CLASSES": tuple(map(str, range(80)))}
    torch.save({"state_dict": body | heads | (unused if semantic else {}), "meta": meta}, path)
    generator = torch.Generator().manual_seed(1)
    padded = [-(-side // 32) * 32 for side in RESIZED]
    pyramid = [
        torch.randn(1, CHANNELS, *(max(side // s, 1) for side in padded), generator=generator)
        for s in legacy.STRIDES
    ]
    return heads, pyramid


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Gives the file of a kind, a pyramid, and what the source makes of it; made once."""

    @cache
    def made(kind):
        path = tmp_path_factory.mktemp("mmdet1") / f"{kind}.pth.stu"
        heads, pyramid = saved(path, kind)
        scale = legacy.od_scale_factor(ORIGINAL, RESIZED[0], 1333)
        sizes = {"input_size": RESIZED, "original_size": ORIGINAL, "scale_factor": scale}
        rules = dict(zip(("soft", "limit"), CASES[kind][2:], strict=True))
        return path, pyramid, reference.detect(heads, pyramid, **rules, **sizes)

    return made


@torch.no_grad()
def detections(path, pyramid, *words):
    """Proposals (R, 4) and Instances of ours, half-open, and the report of the load."""
    run = config_of(read_weights(path))
    run.cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = reference.SCORE
    run.cfg.TEST.DETECTIONS_PER_IMAGE = CASES[path.name.partition(".")[0]][3]
    run.cfg.merge_from_list(["MODEL.DEVICE", "cpu", *words])
    model, report = model_zoo.build_with_weights(run, str(path))
    model.test_sides = RESIZED[0], 1333
    names = list(model.backbone.output_shape())
    model.backbone.forward = lambda _: dict(zip(names, pyramid, strict=True))
    row = {"image": torch.zeros(3, *RESIZED), "height": ORIGINAL[0], "width": ORIGINAL[1]}
    images = model.preprocess_image([row])
    (proposals,), _ = model.proposal_generator(images, model.backbone(images.tensor), None)
    return proposals.proposal_boxes.tensor, model([row])[0]["instances"], report, run


def check(found, trace, kind):
    """Soft scores are products of IoUs, which are of boxes within the tolerance."""
    pixels, scores = (1e-3, 1e-5) if kind == "htc" else (5e-3, 5e-5)
    ours = (found.pred_boxes.tensor, found.scores, found.pred_classes)
    assert len(found) == len(trace.boxes) >= 100
    apart = distance(ours, (trace.boxes + CLOSED, trace.scores, trace.labels))
    assert apart.boxes <= pixels and apart.scores <= scores
    differing = found.pred_masks != trace.masks[apart.order]
    assert differing.sum() <= 1e-5 * trace.masks.sum()


@pytest.mark.parametrize("kind", CASES)
def test_every_step(cases, kind):
    path, pyramid, trace = cases(kind)
    semantic, classes, soft, _ = CASES[kind]
    proposals, found, report, run = detections(path, pyramid, "MODEL.ROI_HEADS.SOFT_NMS", str(soft))
    theirs = trace.proposals + CLOSED
    apart = torch.cdist(proposals, theirs, p=float("inf"))
    assert len(proposals) == len(theirs) == 1000
    assert apart.min(dim=0).values.max() <= 1e-3 and apart.min(dim=1).values.max() <= 1e-3
    check(found, trace, kind)
    assert run.cfg.INPUT.RESIZE == "opencv"  # not the floating-point one of HRNet-Object-Detection
    assert report.conventions == "hrnet_object_detection"
    assert report.title.startswith(f"mmdetection 1: {'Hybrid' if semantic else 'Cascade Mask'}")
    assert report.title.endswith(f", {classes} classes")
    said = "INPUT.RESIZE opencv, MODEL.RPN.PRE_NMS_TOPK_TEST 1000"
    assert f"MODEL.CONVENTIONS hrnet_object_detection, {said}" in str(report)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("cascade_mask_rcnn", ["MODEL.ROI_HEADS.SOFT_NMS", "False"]),
        ("htc", ["MODEL.RPN.PRE_NMS_TOPK_TEST", "2000", "MODEL.RPN.POST_NMS_TOPK_TEST", "2000"]),
    ],
)
def test_each_setting_shows(cases, kind, words):
    path, pyramid, trace = cases(kind)
    with pytest.raises(AssertionError):
        check(detections(path, pyramid, *words)[1], trace, kind)


def test_soft_suppression_beside_its_formula():
    generator = torch.Generator().manual_seed(0)
    first = 30 * torch.rand(200, 2, generator=generator)
    boxes = torch.cat([first, first + 20 + 10 * torch.rand(200, 2, generator=generator)], dim=1)
    scores = 0.01 * torch.rand(200, generator=generator) + 0.001
    theirs, left = reference.soft_nms(boxes, scores)
    assert 20 < len(left) < 150  # some have fallen below the least score
    order, ours = soft_nms(boxes + CLOSED, scores, reference.OVERLAP)
    assert torch.equal(boxes[order], theirs) and torch.allclose(ours, left, rtol=1e-5, atol=0)
    assert len(soft_nms(boxes[:0], scores[:0], 0.5)[0]) == 0


def test_soft_suppression_of_classes():
    """By hand: IoU 0.6 leaves 0.4 of a score; another class and another box are left alone."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 6, 10], [20, 0, 30, 10]])
    scores = torch.tensor([[0.9, 0.1, 0.0], [0.5, 0.3, 0.2], [0.0, 0.25, 0.75]])
    (found,), (rows,) = soft_nms_inference([boxes], [scores], [(50, 50)], 0.05, 0.5, 4)
    assert isinstance(found, Instances) and found.image_size == (50, 50)
    assert torch.allclose(found.scores, torch.tensor([0.9, 0.3, 0.25, 0.2]))
    assert found.pred_classes.tolist() == [0, 1, 1, 0] and rows.tolist() == [0, 1, 2, 1]
    assert torch.equal(found.pred_boxes.tensor, Boxes(boxes[rows]).tensor)


def test_detectron2s_heads_have_no_soft_suppression():
    words = ["MODEL.ROI_HEADS.SOFT_NMS", "True"]
    with pytest.raises(model_zoo.InputError, match="SOFT_NMS True: Detectron2's RoI heads drop"):
        model_zoo.build_detector(model_zoo.get_config("hrnetv2p_faster_rcnn.yaml", words))
