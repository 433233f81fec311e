"""Detectors as functions of tensors, beside the detectors that they are made of."""

import collections
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from detectron2.structures import Boxes, Instances
from helpers.detectors import assert_same, config, detector
from helpers.networks import hrfpn

from hrnet_det.config.load import as_run
from hrnet_det.data.mapper import build_test_mapper
from hrnet_det.detector.inference import Pixels, row_of
from hrnet_det.errors import InputError
from hrnet_det.export.graph import DetectorGraph
from hrnet_det.export.options import ExportOptions
from hrnet_det.modeling.inference.borrowed import SCORE, borrowed
from hrnet_det.modeling.inference.optimize import optimize_for_inference

# Mask and Keypoint R-CNN and a cascade are tested as files, below and where files are used.
KINDS = ("htc", "retinanet", "fcos", "mmdet", "hrnet_object_detection")
# Height and width of images: such as those of training, tall, wide, small.
SIZES = ((96, 128), (150, 60), (20, 90), (24, 17))
FIELDS = {"scores": "scores", "classes": "pred_classes", "masks": "pred_masks",
          "keypoints": "pred_keypoints"}  # fmt: skip


def graph_of(kind, *overrides, optimized=True, **options):
    model = detector(kind, *overrides)
    form = optimize_for_inference(model) if optimized else model
    run = as_run(config(kind, *overrides))
    return DetectorGraph(form, run, ExportOptions(**options)).eval(), model, run


def photo(height, width):
    """(H, W, 3) uint8: noise of several sizes."""
    generator = torch.Generator().manual_seed(height)
    image = torch.zeros(3, height, width)
    for side in (3, 9, 27):
        coarse = torch.rand(1, 3, side, side, generator=generator)
        image += torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]
    return (image.permute(1, 2, 0) * 85).to(torch.uint8)


def row_for(image, run):
    """What PyTorch's detector is given of an image, by the run's own mapper."""
    array = image.numpy()
    array = array[..., ::-1] if run.cfg.INPUT.FORMAT == "BGR" else array
    return row_of(Pixels("an image", array), build_test_mapper(run))


@torch.no_grad()
def expected_of(model, rows):
    found = [row["instances"] for row in model(rows)]
    for each in found:
        if each.has("pred_keypoint_heatmaps"):
            each.remove("pred_keypoint_heatmaps")
    return found


def as_instances(size, found):
    """A graph's outputs as Detectron2's Instances."""
    objects = Instances(size, pred_boxes=Boxes(torch.as_tensor(found["boxes"])))
    for name, field in FIELDS.items():
        if name in found:
            objects.set(field, torch.as_tensor(found[name]))
    return objects


@pytest.mark.parametrize("kind", KINDS)
def test_objects_are_the_detector_s(kind):
    """By way of torch.jit: traced with an image of one size, run on images of others."""
    graph, model, run = graph_of(kind)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(graph, graph.example(), check_trace=False)
    for size in SIZES:
        image = photo(*size)
        (expected,) = expected_of(model, [row_for(image, run)])
        assert len(expected) == 10
        with torch.no_grad():
            found = dict(zip(graph.outputs, traced(image), strict=True))
        assert_same(as_instances(size, found), expected)


@pytest.mark.parametrize("kind", ["mask", "keypoint", "fcos", "retinanet"])
def test_batches_outside_are_the_detector_s(kind):
    graph, model, run = graph_of(kind, processing="outside", batch=2)
    assert graph.inputs == ("images",) and graph.outputs[0] == "image"
    rows = [row_for(photo(70, 90), run), row_for(photo(72, 92).flip(1), run)]
    images = torch.stack([row["image"][:, :64, :80] for row in rows])
    expected = expected_of(model, [{"image": image} for image in images])
    with torch.no_grad():
        found = dict(zip(graph.outputs, graph(images), strict=True))
    if "masks" in found:
        assert found["masks"].shape == (len(found["boxes"]), 28, 28)
        assert found["masks"].min() >= 0 and found["masks"].max() <= 1
    for number, objects in enumerate(expected):
        its = {name: values[found["image"] == number] for name, values in found.items()}
        its.pop("masks", None)
        if objects.has("pred_masks"):
            objects.remove("pred_masks")
        assert_same(as_instances((64, 80), its), objects)
    assert sum(map(len, expected)) == len(found["image"])


def exported(graph, path):
    """The graph as an ONNX file, and what runs it: an array in, arrays by their names out."""
    names = {"input_names": list(graph.inputs), "output_names": list(graph.outputs)}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            (graph.example(),),
            str(path),
            dynamo=False,
            opset_version=18,
            dynamic_axes={graph.inputs[0]: graph.axes},
            **names,
        )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return onnx.load(str(path)), lambda x: dict(
        zip(graph.outputs, session.run(list(graph.outputs), {graph.inputs[0]: x}), strict=True)
    )


def test_a_file_has_no_branches_and_no_norms(tmp_path):
    graph, model, run = graph_of("keypoint")
    file, call = exported(graph, tmp_path / "keypoint.onnx")
    operators = collections.Counter(node.op_type for node in file.graph.node)
    assert operators["Conv"] > 50
    assert not {"If", "Loop", "Scan", "BatchNormalization", "SplitToSequence"} & set(operators)
    for size in SIZES[1:]:
        image = photo(*size)
        (expected,) = expected_of(model, [row_for(image, run)])
        assert_same(as_instances(size, call(image.numpy())), expected)


def test_a_file_without_objects_gives_empty_arrays(tmp_path):
    graph, _, _ = graph_of("cascade mask", optimized=False)
    with borrowed(graph, dict.fromkeys(SCORE, 1.0)):
        _, call = exported(graph, tmp_path / "cascade.onnx")
    found = call(photo(50, 70).numpy())
    shapes = {name: values.shape for name, values in found.items()}
    assert shapes == {"boxes": (0, 4), "scores": (0,), "classes": (0,), "masks": (0, 50, 70)}
    types = [found[name].dtype for name in graph.outputs]
    assert types == [np.float32, np.float32, np.int64, bool]


def test_a_backbone_s_maps_are_those_of_pytorch(tmp_path):
    """Also of the smallest images, whose coarsest maps cannot be halved again, and of batches."""
    graph, _, _ = graph_of("faster", part="backbone")
    assert graph.axes == {0: "batch", 2: "height", 3: "width"}
    _, call = exported(graph, tmp_path / "backbone.onnx")
    for shape in ((1, 3, 64, 96), (2, 3, 32, 160), (1, 3, 32, 32)):
        images = torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 255
        model = graph.model
        with torch.no_grad():
            expected = model.backbone((images - model.pixel_mean) / model.pixel_std)
        found = call(images.numpy())
        assert list(found) == list(expected) == ["p2", "p3", "p4", "p5", "p6"]
        for name, values in expected.items():
            assert found[name].shape == values.shape
            assert np.abs(found[name] - values.numpy()).max() <= 1e-4 * values.abs().max()


def test_pyramids_of_small_images_are_traced():
    model = hrfpn(pooling="max")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, torch.rand(1, 3, 128, 160), strict=False)
        for side in (32, 64, 96):
            images = torch.rand(1, 3, 32, side)
            expected, found = model(images), traced(images)
            for name, values in expected.items():
                assert torch.allclose(found[name], values, atol=1e-5)


def test_one_size_is_no_axis():
    graph, _, _ = graph_of("faster", size=(64, 96))
    assert graph.axes == {} and graph.example().shape == (64, 96, 3)
    graph, _, _ = graph_of("faster", processing="outside", size=(64, 96), batch=3)
    assert graph.axes == {} and graph.example().shape == (3, 3, 64, 96)


def test_soft_suppression_is_refused():
    with pytest.raises(InputError, match=r"SOFT_NMS True cannot be exported.*SOFT_NMS False"):
        graph_of("mmdet", "MODEL.ROI_HEADS.SOFT_NMS", "True")


def test_what_is_no_detector_of_objects_is_refused():
    with pytest.raises(InputError, match=r"Panoptic FPN cannot be exported.*--part backbone"):
        graph_of("panoptic")
    graph, _, _ = graph_of("panoptic", part="backbone")
    assert graph.outputs == ("p2", "p3", "p4", "p5", "p6")


def test_an_optimised_form_stays_unsaved_by_itself():
    graph, _, _ = graph_of("faster")
    named = graph.state_dict()
    assert len(named) == len({**dict(graph.named_parameters()), **dict(graph.named_buffers())})
    with pytest.raises(RuntimeError, match="cannot be saved"):
        graph.model.state_dict()
