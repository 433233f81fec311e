"""FCOS with weights of mmdetection 1 and of HRNet-FCOS beside their formulas."""

from dataclasses import replace
from functools import cache

import helpers.legacy_fcos as reference
import pytest
import torch
from helpers.legacy_reference import od_scale_factor
from helpers.parity import distance

from hrnet_det import model_zoo
from hrnet_det.checkpoint.convert import convert
from hrnet_det.checkpoint.formats import HRNET_FCOS, MMDET_1, recognise
from hrnet_det.checkpoint.infer import infer_detector
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.checkpoint.model_config import config_of, known_config
from hrnet_det.checkpoint.renaming import rename
from hrnet_det.errors import InputError
from hrnet_det.modeling.compat import conventions
from hrnet_det.modeling.read_layers import fcos_levels

CLASSES, CHANNELS = 5, 64
CANDIDATES = 60  # of a level, for how they are chosen to count in small images; 1000 as published
FORMATS = {"hrnet_object_detection": MMDET_1, "maskrcnn_benchmark": HRNET_FCOS}
CASES = [("hrnet_object_detection", 5), ("maskrcnn_benchmark", 5), ("maskrcnn_benchmark", 6)]
# (resized, original): with padding and two slightly different scales; enlarged, so that a pixel
# more or less in the original counts.
SIZES = (((200, 301), (300, 451)), ((224, 320), (28, 40)))
CLOSED = torch.tensor([0, 0, 1, 1])  # ours are half-open


def levels_of(count):
    """The keys that say which levels there are, and that a tower has biases."""
    first = 8 - count
    return f"""
    MODEL.HRFPN.NUM_LEVELS {count}
    MODEL.HRFPN.MIN_LEVEL {first}
    MODEL.FCOS.IN_FEATURES {[f"p{k}" for k in range(first, 8)]!r}
    """.replace(", ", ",").split()


def config(source, count, variant="w18_small_v1"):
    biases = str(source == "maskrcnn_benchmark")
    words = ["MODEL.DEVICE", "cpu", "MODEL.HRNET.VARIANT", variant, *levels_of(count)]
    words += ["MODEL.HRFPN.OUT_CHANNELS", str(CHANNELS), "MODEL.FCOS.NUM_CLASSES", str(CLASSES)]
    return known_config("fcos", source, [*words, "MODEL.FCOS.CONV_BIAS", biases])


def pyramid(size, count):
    generator, maps = torch.Generator().manual_seed(1), []
    for stride in reference.STRIDES[count]:
        sides = [-(-side // 32) * 32 for side in size]
        # The convolutions of stride 2, of five levels, round up.
        cells = [-(-side // stride) if count == 5 else max(side // stride, 1) for side in sides]
        maps.append(torch.randn(1, CHANNELS, *cells, generator=generator))
    return maps


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """A whole file of a source, and (resized, original, pyramid, what it makes of it); once."""

    @cache
    def made(source, count):
        heads = reference.random_weights(source, channels=CHANNELS, classes=CLASSES, levels=count)
        torch.manual_seed(0)
        plain = model_zoo.build_detector(config(source, count)).state_dict()
        names = {name: FORMATS[source].to_theirs(name) for name in plain}
        file = {names[n]: t for n, t in plain.items() if n.startswith("backbone.")} | heads
        assert file.keys() == set(names.values())
        path = tmp_path_factory.mktemp(source) / "model.pth"
        wrapper = "state_dict" if source == "hrnet_object_detection" else "model"
        torch.save({wrapper: {f"module.{n}": t for n, t in file.items()}}, path)
        traces = []
        for resized, original in SIZES:
            maps = pyramid(resized, count)
            factor = od_scale_factor(original, resized[0], 1333)
            sizes = {
                "candidates": CANDIDATES,
                "input_size": resized,
                "original_size": original,
                "scale_factor": factor,
            }
            traces.append((resized, original, maps, reference.detect(source, heads, maps, **sizes)))
        return str(path), traces

    return made


@torch.no_grad()
def run(model, resized, original, maps):
    model.test_sides, model.test_topk_candidates = (resized[0], 1333), CANDIDATES
    names = list(model.backbone.output_shape())
    model.backbone.forward = lambda _: dict(zip(names, maps, strict=True))
    row = {"image": torch.zeros(3, *resized), "height": original[0], "width": original[1]}
    return model([row])[0]["instances"]


def compare(found, trace, boxes=1e-3, scores=1e-5):
    ours = (found.pred_boxes.tensor, found.scores, found.pred_classes)
    assert len(found) == len(trace.boxes) == 100
    apart = distance(ours, (trace.boxes + CLOSED, trace.scores, trace.labels))
    assert apart.boxes <= boxes and apart.scores <= scores


def build(path):
    run = config_of(read_weights(path))
    run.cfg.MODEL.DEVICE = "cpu"
    return model_zoo.build_with_weights(run, path)


@pytest.mark.parametrize(("source", "count"), CASES)
def test_detections_of_the_same_pyramid(cases, source, count):
    path, traces = cases(source, count)
    model = build(path)[0]
    for resized, original, maps, trace in traces:
        compare(run(model, resized, original, maps), trace)


# A row of the table with one rule as Detectron2 or another source has it.
RULES = [
    ("hrnet_object_detection", "closed_boxes", False),
    ("hrnet_object_detection", "one_scale", False),
    ("hrnet_object_detection", "nms_in_original", False),
    ("hrnet_object_detection", "fcos_candidates", "classes"),
    ("maskrcnn_benchmark", "closed_boxes", False),
    ("maskrcnn_benchmark", "fcos_candidates", "classes"),
    ("maskrcnn_benchmark", "fcos_candidates", "points"),
]


@pytest.mark.parametrize(("source", "rule", "other"), RULES)
def test_each_rule_shows(cases, source, rule, other, monkeypatch):
    """With any of its rules as others have it, a source's results are not met."""
    path, traces = cases(source, 5)
    row = conventions.CONVENTIONS[source]
    monkeypatch.setitem(conventions.CONVENTIONS, source, replace(row, **{rule: other}))
    model = build(path)[0]
    with pytest.raises(AssertionError):
        for resized, original, maps, trace in traces:
            compare(run(model, resized, original, maps), trace, boxes=5e-3, scores=1e-4)


@pytest.mark.parametrize(("source", "count"), CASES)
def test_a_file_tells_its_detector(cases, source, count):
    """Its pixels, levels and layers; every tensor is loaded."""
    path, _ = cases(source, count)
    cfg = config_of(read_weights(path)).cfg
    model, report = build(path)[:2]
    assert report.complete and not report.unexpected
    assert (source, "FCOS") == (cfg.MODEL.CONVENTIONS, cfg.MODEL.META_ARCHITECTURE)
    assert (cfg.INPUT.FORMAT, list(cfg.MODEL.PIXEL_STD)) == ("BGR", [1.0, 1.0, 1.0])
    assert list(cfg.MODEL.PIXEL_MEAN) == [102.9801, 115.9465, 122.7717]
    older = source == "hrnet_object_detection"
    assert ("opencv" if older else "pillow_floor") == cfg.INPUT.RESIZE
    options = cfg.MODEL.FCOS
    assert (options.SCORE_THRESH_TEST, options.TOPK_CANDIDATES_TEST) == (0.05, 1000)
    assert (0.5 if older else 0.6) == options.NMS_THRESH_TEST
    assert (CLASSES, 4, not older) == (options.NUM_CLASSES, options.NUM_CONVS, options.CONV_BIAS)
    strides = [shape.stride for shape in model.backbone.output_shape().values()]
    assert tuple(strides) == reference.STRIDES[count]
    assert [f"p{k}" for k in range(8 - count, 8)] == options.IN_FEATURES


def test_a_file_with_six_levels_is_converted(cases, tmp_path):
    """Into ours, which computes the same; mmdetection has no biases in the towers."""
    path, traces = cases("maskrcnn_benchmark", 6)
    said = convert(path, tmp_path / "ours.pth")
    assert "tensors of FCOS, HRNetV2p-W18-small-v1, 5 classes, as hrnet_det names them" in said
    resized, original, maps, trace = traces[0]
    compare(run(build(str(tmp_path / "ours.pth"))[0], resized, original, maps), trace)
    with pytest.raises(InputError, match="mmdetection's FCOS has no biases beside its norms"):
        convert(path, tmp_path / "theirs.pth", to="mmdet")


# The forms that HRNet-FCOS publishes, and those of mmdetection 1: README.md and configs/fcos
# (those of the same source and levels differ in the variant alone).
PUBLISHED = [
    *(("maskrcnn_benchmark", *form) for form in (("w18", 5), ("w18", 6), ("w40", 6))),
    *(("hrnet_object_detection", variant, 5) for variant in ("w18", "w48")),
]


def on_meta(cfg):
    """The shapes of a detector, whose values need no memory."""
    cfg = cfg.clone()
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        return model_zoo.build_detector(cfg).state_dict()


@pytest.mark.parametrize(("source", "variant", "count"), PUBLISHED)
def test_names_of_the_published_detectors(source, variant, count):
    format, cfg = FORMATS[source], config(source, count, variant)
    ours = on_meta(cfg)
    names = [format.to_theirs(name) for name in ours]
    assert None not in names and len(set(names)) == len(ours)
    assert recognise(names, "file") is format
    renamed = rename(dict(zip(names, ours.values(), strict=True)), "file")
    assert renamed.conventions == source and not renamed.unknown
    assert list(renamed.weights) == list(ours)
    found = infer_detector(renamed.shapes)
    assert found.title == f"FCOS, HRNetV2p-{variant.upper()}, {CLASSES} classes"
    cfg.MODEL.HTC.SEMANTIC_ON = False
    inferred = known_config("fcos", source, ["MODEL.DEVICE", "cpu", *found.overrides()])
    assert inferred == cfg


def test_levels_that_tensors_do_not_tell():
    shapes = {"head.scales.0": (), "head.cls_subnet.0.weight": (8, 8, 3, 3)}
    assert fcos_levels({}) == {}
    assert fcos_levels(shapes) == {
        "MODEL.HRFPN.NUM_LEVELS": 1,
        "MODEL.HRFPN.MIN_LEVEL": 3,
        "MODEL.FCOS.IN_FEATURES": ["p3"],
        "MODEL.FCOS.NUM_CONVS": 1,
        "MODEL.FCOS.CONV_BIAS": False,
        "MODEL.FCOS.NORM": "",
    }
