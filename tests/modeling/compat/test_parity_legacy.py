"""Detectors with weights of the two older code bases beside their formulas, step by step."""

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import helpers.legacy_reference as reference
import pytest
import torch
from detectron2.structures import Boxes, Instances
from helpers.parity import distance

from hrnet_det import model_zoo
from hrnet_det.checkpoint.formats import HRNET_OBJECT_DETECTION, MASKRCNN_BENCHMARK
from hrnet_det.checkpoint.model_config import known_config
from hrnet_det.config.load import as_run
from hrnet_det.modeling.compat import conventions
from hrnet_det.modeling.compat.scales import postprocess

CASES = [(source, kind) for source, kinds in reference.SOURCES.items() for kind in kinds]
# (resized, original): without padding; with padding and two slightly different scales; enlarged,
# so that a pixel more or less in the original counts.
SIZES = (((224, 320), (448, 640)), ((200, 301), (300, 451)), ((224, 320), (56, 80)))
CLASSES, CHANNELS, FC = 5, 32, 64
FORMATS = {format.name: format for format in (HRNET_OBJECT_DETECTION, MASKRCNN_BENCHMARK)}
PROPOSALS = {"hrnet_object_detection": 2000, "maskrcnn_benchmark": 1000}
CLOSED = torch.tensor([0, 0, 1, 1])  # ours are half-open
MASKS = 1e-5  # of the pixels that are in one


class Case(NamedTuple):
    source: str
    kind: str
    path: str
    traces: list[tuple]


def config(source, kind):
    overrides = f"""
    MODEL.DEVICE cpu
    MODEL.HRNET.VARIANT w18_small_v1
    MODEL.HRFPN.OUT_CHANNELS {CHANNELS}
    MODEL.ROI_BOX_HEAD.FC_DIM {FC}
    MODEL.ROI_MASK_HEAD.CONV_DIM {CHANNELS}
    MODEL.ROI_HEADS.NUM_CLASSES {CLASSES}
    MODEL.MASK_ON {"mask" in kind}
    """
    return known_config(kind, source, overrides.split())


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Gives the Case of a source and kind, made once."""

    @cache
    def made(source, kind):
        heads = reference.random_weights(source, kind, channels=CHANNELS, classes=CLASSES, fc=FC)
        path = tmp_path_factory.mktemp(source) / f"{kind}.pth"
        save(path, source, kind, heads)
        return Case(source, kind, str(path), traces(source, kind, heads))

    return made


def save(path, source, kind, heads):
    """A whole file of the source: the heads, and a body and pyramid under its names."""
    torch.manual_seed(0)
    plain = model_zoo.build_detector(config(source, kind))
    backbone = {
        FORMATS[source].to_theirs(name): tensor
        for name, tensor in plain.state_dict().items()
        if name.startswith("backbone.")
    }
    wrapper = "state_dict" if source == "hrnet_object_detection" else "model"
    torch.save({wrapper: {f"module.{n}": t for n, t in (backbone | heads).items()}}, path)


def traces(source, kind, heads):
    """(resized, original, pyramid, what the source makes of it) for each size."""
    generator = torch.Generator().manual_seed(1)
    made = []
    for resized, original in SIZES[1:] if kind == "cascade_mask_rcnn" else SIZES:  # it is slow
        padded = [-(-side // 32) * 32 for side in resized]
        pyramid = [
            torch.randn(1, CHANNELS, *(max(side // s, 1) for side in padded), generator=generator)
            for s in reference.STRIDES
        ]
        trace = reference.detect(
            source,
            kind,
            heads,
            pyramid,
            input_size=resized,
            original_size=original,
            scale_factor=reference.od_scale_factor(original, *sides(resized)),
        )
        made.append((resized, original, pyramid, trace))
    return made


def sides(resized):
    """The shortest and longest side that make an image of SIZES as large as it is."""
    return resized[0], 1333


@torch.no_grad()
def run(model, resized, original, pyramid):
    """Proposals and detections of ours, half-open, from a pyramid."""
    model.test_sides = sides(resized)
    names = list(model.backbone.output_shape())
    model.backbone.forward = lambda _: dict(zip(names, pyramid, strict=True))
    row = {"image": torch.zeros(3, *resized), "height": original[0], "width": original[1]}
    images = model.preprocess_image([row])
    (proposals,), _ = model.proposal_generator(images, model.backbone(images.tensor), None)
    return proposals.proposal_boxes.tensor, model([row])[0]["instances"]


def build(case):
    return model_zoo.build_with_weights(as_run(config(case.source, case.kind)), case.path)[0]


def compare(found, trace, tolerance):
    ours = (found.pred_boxes.tensor, found.scores, found.pred_classes)
    assert len(found) == len(trace.boxes) == 100
    apart = distance(ours, (trace.boxes + CLOSED, trace.scores, trace.labels))
    assert apart.boxes <= tolerance and apart.scores <= 1e-5
    if trace.masks is not None:
        differing = found.pred_masks != trace.masks[apart.order]
        assert differing.sum() <= MASKS * trace.masks.sum()  # where a probability is all but 0.5


@pytest.mark.parametrize(("source", "kind"), CASES)
def test_every_step(cases, source, kind):
    case = cases(source, kind)
    model = build(case)
    # A cascade makes more of the rounding of RoIs: as much as between a source and its reference.
    tolerance = 5e-3 if case.kind.startswith("cascade") else 1e-3
    for resized, original, pyramid, trace in case.traces:
        proposals, found = run(model, resized, original, pyramid)
        # Equal objectness leaves their order open.
        theirs = trace.proposals + CLOSED
        apart = torch.cdist(proposals, theirs, p=float("inf"))
        assert len(proposals) == len(theirs) == PROPOSALS[case.source]
        assert apart.min(dim=0).values.max() <= 1e-3 and apart.min(dim=1).values.max() <= 1e-3
        compare(found, trace, tolerance)


@pytest.mark.parametrize("source", reference.SOURCES)
@pytest.mark.parametrize("stride", reference.STRIDES)
def test_anchors(source, stride):
    model = model_zoo.build_detector(config(source, "faster_rcnn"))
    generator = model.proposal_generator.anchor_generator
    level = list(generator.cell_anchors.buffers())[reference.STRIDES.index(stride)]
    assert torch.equal(level, reference.cell_anchors(source, stride) + CLOSED)


# A row of the table with one rule as Detectron2 has it, and a detector that it shows in.
RULES = [
    ("hrnet_object_detection", "faster_rcnn", "clamps_shrinking"),
    ("hrnet_object_detection", "cascade_rcnn", "averages_logits"),
    ("hrnet_object_detection", "cascade_rcnn", "keeps_empty_boxes"),
    ("hrnet_object_detection", "faster_rcnn", "closed_boxes"),
    ("hrnet_object_detection", "faster_rcnn", "anchor_rounding"),
    ("hrnet_object_detection", "faster_rcnn", "roi_align"),
    ("hrnet_object_detection", "faster_rcnn", "one_scale"),
    ("hrnet_object_detection", "faster_rcnn", "nms_in_original"),
    ("hrnet_object_detection", "mask_rcnn", "mask_paste"),
    ("maskrcnn_benchmark", "faster_rcnn", "closed_boxes"),
    ("maskrcnn_benchmark", "faster_rcnn", "anchor_rounding"),
    ("maskrcnn_benchmark", "faster_rcnn", "roi_align"),
    ("maskrcnn_benchmark", "mask_rcnn", "mask_paste"),
]


@pytest.mark.parametrize(("source", "kind", "rule"), RULES)
def test_each_rule_shows(cases, source, kind, rule, monkeypatch):
    """With any of its rules left out, a source's results are not met."""
    case = cases(source, kind)
    plain = {rule: getattr(conventions.Conventions(), rule)}
    row = conventions.CONVENTIONS[source]
    monkeypatch.setitem(conventions.CONVENTIONS, source, replace(row, **plain))
    model = build(case)
    with pytest.raises(AssertionError):
        for resized, original, pyramid, trace in case.traces:
            compare(run(model, resized, original, pyramid)[1], trace, tolerance=5e-3)


def test_an_empty_box_stays_where_its_source_keeps_it():
    """One of 0 x 4 px beside a whole one; mmdetection returns both."""
    boxes = torch.tensor([[8.0, 2, 8, 6], [0, 0, 4, 4]])
    for name, kept in (("detectron2", [1]), ("mmdet", [0, 1])):
        found = Instances(
            (8, 16),
            pred_boxes=Boxes(boxes.clone()),
            scores=torch.tensor([0.9, 0.8]),
            pred_masks=torch.ones(2, 1, 28, 28),
        )
        result = postprocess(found, 16, 32, conventions.CONVENTIONS[name])
        assert torch.equal(result.pred_boxes.tensor, 2 * boxes[kept])
        assert result.pred_masks.sum(dim=(1, 2)).tolist() == [64 * k for k in kept]
