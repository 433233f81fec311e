"""int8: which layers become it, what the AP is measured on, and which loss is an error."""

import sys

import numpy as np
import onnx
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.structures import Boxes, Instances
from helpers import detectors, tiny

from hrnet_det.config import settings
from hrnet_det.config.load import as_run
from hrnet_det.errors import InputError
from hrnet_det.export import average_precision as ap
from hrnet_det.export import int8, onnx_file, openvino_file, quantize
from hrnet_det.export.average_precision import Measured
from hrnet_det.export.graph import DetectorGraph
from hrnet_det.export.options import ExportOptions
from hrnet_det.export.verify import DifferenceError

TEST_SET = "int8_test"
OPTIONS = {"processing": "outside"}


@pytest.fixture(scope="module")
def given():
    """Inputs of a file: resized images of two sizes."""
    return [{"images": row["image"][None].numpy()} for row in detectors.rows()]


@pytest.fixture(scope="module")
def graph():
    run = as_run(detectors.config("faster"))
    return DetectorGraph(detectors.detector("faster"), run, ExportOptions(**OPTIONS)).eval()


@pytest.fixture(scope="module")
def expected(graph, given):
    with torch.no_grad():
        return [graph(torch.from_numpy(arrays["images"]))[2].numpy() for arrays in given]


@pytest.fixture
def data(tmp_path):
    """A registered test set of six images, and a run that is tested on it."""
    folder = tiny.make_coco(tmp_path / "data")
    register_coco_instances(TEST_SET, {}, str(folder / "boxes.json"), str(folder / "images"))
    run = as_run(detectors.config("faster")).copy()
    run[settings.TEST_DATASETS] = (TEST_SET,)
    run[settings.TRAIN_DATASETS] = ("not_here_train",)
    run[settings.OUTPUT_DIR] = str(tmp_path / "output")
    yield run
    DatasetCatalog.remove(TEST_SET)
    MetadataCatalog.remove(TEST_SET)


@pytest.mark.parametrize(
    ("name", "quantised"),
    [
        ("/backbone/bottom_up/conv1/Conv", True),
        ("/model/backbone/reduction_conv/parts.3/Conv", True),
        ("/proposal_generator/rpn_head/conv_4/Conv", True),
        ("/proposal_generator/rpn_head/objectness_logits_4/Conv", False),
        ("/roi_heads/box_head.1/fc2/Gemm", True),
        ("/roi_heads/box_predictor.1/cls_score/Gemm", False),
        ("/roi_heads/mask_head/mask_fcn1/Conv", True),
        ("/roi_heads/mask_head/deconv/ConvTranspose", False),
        ("/head/bbox_subnet/bbox_subnet.0/Conv", True),
        ("/head/bbox_pred_1/Conv", False),
        ("/roi_heads/box_pooler/Mul", False),
        ("/MatMul_3", False),
    ],
)
def test_layers_of_the_network_but_the_last_ones_are_quantised(name, quantised):
    assert int8.in_int8(name) is quantised


def test_an_onnx_file_in_int8(graph, given, expected, tmp_path):
    path = tmp_path / "model.onnx"
    onnx_file.write(graph, path, graph.options, {})
    size = path.stat().st_size
    int8.onnx_in_int8(path, iter(given))
    nodes = onnx.load(str(path)).graph.node
    made = {output: node.op_type for node in nodes for output in node.output}
    layers = [node for node in nodes if node.op_type in ("Conv", "Gemm")]
    in_int8 = {n.name for n in layers if made.get(n.input[0]) == "DequantizeLinear"}
    assert in_int8 == {n.name for n in layers if int8.in_int8(n.name)}
    assert len(in_int8) > 80 and len(layers) - len(in_int8) == 12  # 5 levels x 2, class, box
    assert path.stat().st_size < 0.45 * size
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    _assert_near(onnx_file.open_file(path), given, expected)


def test_an_openvino_file_in_int8(graph, given, expected, tmp_path):
    path = tmp_path / "model.xml"
    openvino_file.write(graph, path, graph.options, {})
    size = path.with_suffix(".bin").stat().st_size
    int8.openvino_in_int8(path, iter(given))
    model, _ = openvino_file.read(path)
    layers = [o for o in model.get_ordered_ops() if o.get_type_name() in ("Convolution", "MatMul")]
    above = {o.get_friendly_name(): o.input_value(0).get_node().get_type_name() for o in layers}
    in_int8 = {name for name, kind in above.items() if kind == "FakeQuantize"}
    assert in_int8 == {name for name in above if int8.in_int8(name)}
    assert len(in_int8) > 80
    assert path.with_suffix(".bin").stat().st_size < 0.35 * size
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.bin", "model.xml"]
    openvino_file.label(path, {"export": {"precision": "int8"}})
    _assert_near(openvino_file.open_file(path), given, expected)


def _assert_near(engine, given, expected):
    """Scores of the best objects move, by a few hundredths; those of another image are far off."""
    for arrays, scores in zip(given, expected, strict=True):
        found = engine(arrays)["scores"]
        assert len(found) == len(scores) == 10
        assert np.abs(found - scores).mean() < 0.05


class Perfect:
    """In the place of an exported file: it finds the true boxes of some images."""

    resizes, size = False, ()

    def __init__(self, path):
        rows = DatasetCatalog.get(TEST_SET)
        self.truth = {r["image_id"]: r["annotations"] for r in rows if r["image_id"] in path}

    def __call__(self, rows):
        return [{"instances": self.objects(row)} for row in rows]

    def objects(self, row):
        objects = self.truth.get(row["image_id"], [])
        found = Instances((row["height"], row["width"]))
        boxes = torch.tensor([o["bbox"] for o in objects]).reshape(-1, 4).float()
        boxes[:, 2:] += boxes[:, :2]
        found.pred_boxes, found.scores = Boxes(boxes), torch.ones(len(boxes))
        found.pred_classes = torch.tensor([o["category_id"] for o in objects]).long()
        return found


@pytest.mark.parametrize(
    ("most", "finds", "images", "percent"),
    [
        (500, (1, 2, 3, 4, 5, 6), 6, 100),
        (2, (1, 6), 2, 100),  # the first and the last image alone are measured
        (500, (), 6, 0),
    ],
)
def test_ap_is_of_the_test_set_or_a_part_of_it(data, monkeypatch, most, finds, images, percent):
    monkeypatch.setattr(ap, "ExportedModel", Perfect)
    monkeypatch.setattr(ap, "MOST", most)
    found = ap.average_precision(data, finds)
    assert (found.dataset, found.images, found.reason) == (TEST_SET, images, "")
    assert found.values == {"bbox": pytest.approx(percent)}


def test_what_cannot_be_measured_is_said(data, monkeypatch):
    monkeypatch.setattr(ap, "ExportedModel", Perfect)
    monkeypatch.setattr(Perfect, "size", (64, 96))
    assert ap.average_precision(data, ()).reason == "the file takes images of one size alone"
    data[settings.TEST_DATASETS] = ("elsewhere",)
    assert ap.average_precision(data, ()).reason.startswith("the test set elsewhere is not here")


def _quantized(monkeypatch, run, before, after, *, images, objects=1):
    """What `quantize` returns and says, without quantising."""
    measured, said, counts = iter((before, after)), [], []
    engine = {"scores": np.ones(objects)}
    monkeypatch.setattr(onnx_file, "open_file", lambda path: lambda arrays: engine)
    monkeypatch.setattr(onnx_file, "label", lambda path, metadata: counts.append(metadata))
    monkeypatch.setattr(quantize, "average_precision", lambda run, path: next(measured))
    monkeypatch.setitem(int8.QUANTISERS, "onnx", lambda path, it: counts.append(len(list(it))))
    options = ExportOptions(precision="int8", images=images, **OPTIONS)
    found = quantize.quantize(run, "model.onnx", options, {"title": "it"}, said.append)
    assert counts == [6, {"title": "it"}]
    return found, said


def test_ap_before_and_after_is_told_and_kept(data, monkeypatch, tmp_path):
    images = tmp_path / "data" / "images"
    before, after = (Measured("set", 9, {"bbox": x, "segm": y}) for x, y in ((40, 30), (39.5, 31)))
    found, said = _quantized(monkeypatch, data, before, after, images=images)
    assert found == {
        "calibration": {"images": 6, "from": "--images"},
        "ap": {"dataset": "set", "images": 9, "float32": before.values, "int8": after.values},
    }
    assert said[0].startswith("int8: calibrated with 6 images of --images")
    assert said[1].startswith("WARNING: 6 images may not show the detector all")
    assert "AP on set, 9 images" in said[2] and "39.50" in said[2] and "WARNING" not in said[2]
    after = Measured("set", 9, {"bbox": 38.9, "segm": 31})
    _, said = _quantized(monkeypatch, data, before, after, images=images)
    assert said[-1].startswith("WARNING: int8 loses 1.1 points of box AP on set, calibrated with 6")
    after = Measured("set", 9, {"bbox": 40, "segm": 26.9})
    with pytest.raises(DifferenceError, match=r"3\.1 points of mask AP on set.*; 3 points may be"):
        _quantized(monkeypatch, data, before, after, images=images)


def test_ap_that_is_no_number_is_a_loss_after_and_none_before(data, monkeypatch, tmp_path):
    images = tmp_path / "data" / "images"
    nothing, some = (Measured("set", 9, {"bbox": value}) for value in (np.nan, 40))
    with pytest.raises(DifferenceError, match=r"int8 loses 40\.0 points of box AP on set"):
        _quantized(monkeypatch, data, some, nothing, images=images)
    _, said = _quantized(monkeypatch, data, nothing, nothing, images=images)
    assert "nan" in said[-1] and "WARNING" not in said[-1]


def test_without_a_test_set_the_reason_is_told(data, monkeypatch, tmp_path):
    nothing = Measured(reason="the test set is not here")
    images = tmp_path / "data" / "images"
    found, said = _quantized(monkeypatch, data, nothing, None, images=images)
    assert (found["ap"], found["reason"]) == (None, "the test set is not here")
    assert said[-1] == "int8: AP before and after is not known: the test set is not here"


def test_images_to_calibrate_with_are_needed(data, monkeypatch, tmp_path):
    with pytest.raises(InputError, match=r"training set \(not_here_train\) is not here: give --im"):
        _quantized(monkeypatch, data, None, None, images=())
    with pytest.raises(InputError, match=r"no object is found in --images \(6 images\)"):
        images = tmp_path / "data" / "images"
        _quantized(monkeypatch, data, None, None, images=images, objects=0)


def test_nncf_is_named_where_it_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(InputError, match=r"needs nncf.*pip install 'hrnet_det\[openvino\]'"):
        int8.openvino_in_int8(tmp_path / "model.xml", iter(()))
