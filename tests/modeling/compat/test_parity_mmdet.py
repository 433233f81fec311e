"""Detectors with mmdetection's weights beside mmdetection's own code, step by step."""

from contextlib import nullcontext
from functools import cache
from typing import NamedTuple

import cv2
import helpers.mmdet_reference as reference
import numpy as np
import pytest
import torch
from helpers.detectors import ARCHITECTURES, COMPAT
from helpers.parity import distance

from hrnet_det import Detector
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.checkpoint.model_config import config_of
from hrnet_det.config.yaml import merge_overrides

REASON = reference.unavailable()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"no mmdetection: {REASON}")
# (resized, original): without padding; with padding and unequal scales.
SIZES = (((224, 320), (448, 640)), ((200, 301), (300, 451)))
# With boxes that are pooled from p5; one image alone for the slowest detectors.
MORE_SIZES = {"faster_rcnn": (*SIZES, ((512, 544), (512, 544)))}
MORE_SIZES |= dict.fromkeys(("cascade_mask_rcnn", "htc"), SIZES[1:])
MOST = dict.fromkeys(reference.KINDS, 100)  # objects in an image, as published
MOST |= dict.fromkeys(("mask_rcnn", "cascade_mask_rcnn", "htc"), 30)  # masks are slow
# Of the same resizing and pyramid as the others.
BUT_HTC = [kind for kind in reference.KINDS if kind != "htc"]
PIXELS, SCORES, MASKS = 1e-3, 1e-5, 1e-5  # masks: of the pixels that are in one
APART = {"pixels": 0.05, "scores": 1e-4, "masks": 5e-4}  # from pyramids that differ by 1e-6


class Pair(NamedTuple):
    kind: str
    theirs: torch.nn.Module
    ours: Detector
    path: str
    traces: list[tuple]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Gives mmdetection's detector of a kind, ours of its checkpoint, and traces; made once."""

    @cache
    def made(kind):
        theirs = reference.build(kind, detections=MOST[kind])
        path = str(tmp_path_factory.mktemp("mmdet") / f"{kind}.pth")
        torch.save(reference.state_dict(theirs), path)
        traces = []
        for resized, original in MORE_SIZES.get(kind, SIZES):
            pixels = image(resized)
            traces.append((pixels, original, reference.run(theirs, pixels, original)))
        return Pair(kind, theirs, plain_detector(path, kind), path, traces)

    return made


def plain_detector(path, kind, setting=""):
    """Not in the optimised form, whose sums are in another order: 1e-5 is too close for that."""
    run = config_of(read_weights(path))
    fixed = f"TEST.OPTIMIZED False TEST.DETECTIONS_PER_IMAGE {MOST[kind]}"
    merge_overrides(run.cfg, [*fixed.split(), *setting.split()])
    return Detector.from_pretrained(path, config=run, device="cpu")


@pytest.fixture
def pair(pairs, kind):
    return pairs(kind)


def image(size, seed=0):
    """Coarse noise with fine noise on it, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(30, 226, (size[0] // 16 + 1, size[1] // 16 + 1, 3))
    coarse = coarse.repeat(16, axis=0).repeat(16, axis=1)[: size[0], : size[1]]
    return (coarse + rng.integers(-30, 30, coarse.shape)).astype(np.uint8)


def model_input(cfg, pixels, original):
    pixels = pixels[:, :, ::-1] if cfg.INPUT.FORMAT == "BGR" else pixels
    image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    return {"image": image, "height": original[0], "width": original[1]}


def detections(instances):
    return instances.pred_boxes.tensor, instances.scores, instances.pred_classes


@pytest.mark.parametrize("kind", reference.KINDS)
@torch.no_grad()
def test_pixels_and_pyramid(pair):
    for pixels, original, trace in pair.traces:
        images = pair.ours.model.preprocess_image([model_input(pair.ours.cfg, pixels, original)])
        assert torch.equal(images.tensor, trace.pixels)
        levels = pair.ours.model.backbone(images.tensor)
        assert len(levels) == len(trace.features) == 5
        for name, ours, theirs in zip(levels, levels.values(), trace.features, strict=True):
            assert ours.shape == theirs.shape, name
            assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max(), name


@pytest.mark.parametrize("kind", [kind for kind in reference.KINDS if kind != "fcos"])
@torch.no_grad()
def test_proposals_of_the_same_pyramid(pair):
    model = pair.ours.model
    for pixels, original, trace in pair.traces:
        images = model.preprocess_image([model_input(pair.ours.cfg, pixels, original)])
        levels = dict(zip(model.backbone.output_shape(), trace.features, strict=True))
        (found,), _ = model.proposal_generator(images, levels, None)
        ours = (found.proposal_boxes.tensor, found.objectness_logits.sigmoid(), None)
        apart = distance(ours, (trace.proposals, trace.objectness, None))
        assert len(found) == 1000
        assert apart.boxes <= PIXELS and apart.scores <= SCORES


@pytest.mark.parametrize("kind", reference.KINDS)
@torch.no_grad()
def test_detections_of_the_same_pyramid(pair, monkeypatch):
    model = pair.ours.model
    for pixels, original, trace in pair.traces:
        levels = dict(zip(model.backbone.output_shape(), trace.features, strict=True))
        monkeypatch.setattr(model.backbone, "forward", lambda _, levels=levels: levels)
        found = model([model_input(pair.ours.cfg, pixels, original)])[0]["instances"]
        compare(pair.kind, found, trace)


def compare(kind, found, trace, pixels=PIXELS, scores=SCORES, masks=MASKS):
    apart = distance(detections(found), (trace.boxes, trace.scores, trace.labels))
    assert len(found) == MOST[kind] and len(set(found.pred_classes.tolist())) > 10
    assert apart.boxes <= pixels and apart.scores <= scores
    if trace.masks is not None:
        assert found.pred_masks.shape == trace.masks.shape
        empty = ~found.pred_boxes.nonempty()  # in them mmdetection divides by a width of zero
        assert not found.pred_masks[empty].any()
        differing = found.pred_masks[~empty] != trace.masks[apart.order][~empty]
        assert differing.sum() <= masks * trace.masks.sum()  # where a probability is all but 0.5


@pytest.mark.parametrize("kind", BUT_HTC)
def test_from_the_original_image(pair, monkeypatch):
    """Detector resizes and normalises as mmdetection; the rest gets mmdetection's own pyramid."""
    original = image((360, 481))
    trace = reference.run(pair.theirs, opencv_resized(original), (360, 481))

    def backbone(images):
        assert torch.equal(images, trace.pixels)
        return dict(zip(pair.ours.model.backbone.output_shape(), trace.features, strict=True))

    monkeypatch.setattr(pair.ours.model.backbone, "forward", backbone)
    compare(pair.kind, pair.ours(original, size=(240, 1000)), trace)


@pytest.mark.parametrize("kind", BUT_HTC)
def test_with_nothing_in_common_but_the_image(pair):
    """Pyramids that differ by 1e-6, of which random heads make up to a pixel in a cascade."""
    original = image((360, 481), seed=1)
    trace = reference.run(pair.theirs, opencv_resized(original), (360, 481))
    found = pair.ours(original, size=(240, 1000))
    cascade = pair.kind.startswith("cascade")
    limits = {"pixels": 1, "scores": 1e-3, "masks": 0.01}
    compare(pair.kind, found, trace, **(limits if cascade else APART))


def opencv_resized(original):
    """As mmdetection's Resize to (1000, 240)."""
    return cv2.resize(original, (321, 240), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("kind", reference.KINDS)
def test_what_the_file_says(pair):
    cfg = pair.ours.cfg
    assert type(pair.ours.model).__name__ == COMPAT.get(pair.kind, "CompatRCNN")
    assert ARCHITECTURES.get(pair.kind, "GeneralizedRCNN") == cfg.MODEL.META_ARCHITECTURE
    assert cfg.MODEL.CONVENTIONS == "mmdet"
    assert ("BGR" if pair.kind == "fcos" else "RGB") == cfg.INPUT.FORMAT
    assert cfg.INPUT.RESIZE == "opencv"
    assert cfg.MODEL.HRNET.VARIANT == "w18"
    assert pair.ours.class_names[:2] == ["person", "bicycle"] and len(pair.ours.class_names) == 80
    assert pair.ours.report.complete
    assert sum(pair.ours.report.loaded.values()) == len(pair.theirs.state_dict())


# One setting that differs, and the detector that it shows in.
WRONG = (
    ("faster_rcnn", ""),  # with no such setting the comparison holds
    ("mask_rcnn", ""),
    ("fcos", ""),
    ("faster_rcnn", "MODEL.ANCHOR_GENERATOR.OFFSET 0.5"),
    ("faster_rcnn", "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS [[2.0,1.0,0.5]]"),
    ("faster_rcnn", "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO 2"),
    ("faster_rcnn", "MODEL.ROI_BOX_HEAD.POOLER_TYPE ROIAlign"),
    ("faster_rcnn", "MODEL.RPN.POST_NMS_TOPK_TEST 300"),
    ("faster_rcnn", "MODEL.HRFPN.POOLING max"),
    ("mask_rcnn", "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO 2"),
    ("fcos", "MODEL.FCOS.NMS_THRESH_TEST 0.6"),
)


@pytest.mark.parametrize(("kind", "setting"), WRONG)
@torch.no_grad()
def test_a_wrong_setting_shows(pair, setting):
    """What the comparisons above would not let through."""
    detector = plain_detector(pair.path, pair.kind, setting)
    pixels, original, trace = pair.traces[0]
    found = detector.model([model_input(detector.cfg, pixels, original)])[0]["instances"]
    with pytest.raises(AssertionError) if setting else nullcontext():
        compare(pair.kind, found, trace, **APART)
