"""OpenVINO files: what they compute, in which precision, and what cannot be read."""

from xml.etree import ElementTree

import numpy as np
import openvino as ov
import pytest
import torch
from helpers import detectors

from hrnet_det.config.load import as_run
from hrnet_det.errors import InputError, MissingInputError
from hrnet_det.export import openvino_file
from hrnet_det.export.graph import DetectorGraph
from hrnet_det.export.options import ExportOptions
from hrnet_det.modeling.inference.openvino_form import core

SIZES = ((64, 96), (96, 64), (72, 48))  # height, width; pixels
SAID = {"classes": ['a "<b>"\n', "ü"], "export": {"precision": "float32"}}


def image(height, width):
    torch.manual_seed(height)
    coarse = torch.rand(1, 3, height // 8, width // 8) * 255
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]
    return fine.permute(1, 2, 0).round().to(torch.uint8)


@pytest.fixture(scope="module")
def graph():
    run = as_run(detectors.config("faster"))
    options = ExportOptions(format="openvino")
    return DetectorGraph(detectors.detector("faster"), run, options).eval()


@pytest.fixture(scope="module")
def file(graph, tmp_path_factory):
    path = tmp_path_factory.mktemp("openvino") / "model.xml"
    openvino_file.write(graph, path, graph.options, SAID)
    return path


@pytest.fixture(scope="module")
def engine(file):
    return openvino_file.open_file(file)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_file_computes_what_the_detector_does(graph, engine, size):
    given = image(*size)
    with torch.no_grad():
        boxes, scores, classes = (tensor.numpy() for tensor in graph(given))
    found = engine({"image": given.numpy()})
    assert list(found) == ["boxes", "scores", "classes"] and len(boxes) == 10
    np.testing.assert_allclose(found["boxes"], boxes, atol=1e-3)
    np.testing.assert_allclose(found["scores"], scores, atol=1e-5)
    assert found["classes"].dtype == np.int64 and found["classes"].tolist() == classes.tolist()


def test_metadata_comes_back_letter_by_letter(engine):
    assert engine.metadata == SAID


def test_a_shape_that_comes_often_gets_a_network_of_its_own(engine, monkeypatch):
    monkeypatch.setattr(openvino_file, "SEEN", 2)
    monkeypatch.setattr(openvino_file, "KEPT", 1)
    for size in ((40, 56), (56, 40)):
        given = {"image": image(*size).numpy()}
        first = engine(given)
        assert (given["image"].shape,) not in engine._own
        second = engine(given)
        assert list(engine._own) == [(given["image"].shape,)]  # no more than KEPT
        for name, value in first.items():
            np.testing.assert_allclose(second[name], value, atol=1e-3)


def test_precisions_are_asked_for_whatever_the_cpu_would_take(engine):
    hint = engine._any.get_property("INFERENCE_PRECISION_HINT")
    assert hint.to_string() == "f32"
    assert openvino_file.HINTS["bfloat16"] == "bf16"


def test_boxes_stay_in_float32_where_layers_do_not(file, engine):
    marked = {}
    for layer in ElementTree.parse(file).iter("layer"):
        names = [a.get("name") for a in layer.iterfind("rt_info/attribute")]
        marked.setdefault(layer.get("type"), set()).add("precise" in names)
    for kind in ("ROIAlign", "NonMaxSuppression", "TopK", "NonZero"):
        assert marked[kind] == {True}, kind
    assert marked["Convolution"] == {False}
    if "BF16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return  # of what can be seen on this CPU, that was all
    config = {"INFERENCE_PRECISION_HINT": "bf16"}
    nodes = core().compile_model(engine.model, "CPU", config).get_runtime_model().get_ordered_ops()
    types = {}
    for node in nodes:
        said = {k: node.get_rt_info()[k].astype(str) for k in ("layerType", "outputPrecisions")}
        types.setdefault(said["layerType"], set()).add(said["outputPrecisions"])
    assert types["Convolution"] >= {"bf16"} and types["ROIAlign"] == {"f32"}


def test_sixteen_bits_take_half_the_room(graph, file, tmp_path):
    path = tmp_path / "half.xml"
    openvino_file.save(openvino_file.read(file)[0], path, "float16", SAID)
    whole, half = (p.with_suffix(".bin").stat().st_size for p in (file, path))
    assert 0.5 <= half / whole < 0.51
    found = openvino_file.open_file(path)({"image": image(64, 96).numpy()})
    with torch.no_grad():
        scores = graph(image(64, 96))[1].numpy()
    np.testing.assert_allclose(found["scores"], scores, atol=5e-3)


def test_what_cannot_be_read_is_said(file, tmp_path):
    with pytest.raises(MissingInputError, match=r"none\.xml: there is no such file"):
        openvino_file.read(tmp_path / "none.xml")
    alone = tmp_path / "alone.xml"
    alone.write_bytes(file.read_bytes())
    with pytest.raises(MissingInputError, match=r"alone\.bin: alone\.xml has its weights"):
        openvino_file.read(alone)


def test_weights_of_another_export_are_refused(file, tmp_path):
    """OpenVINO takes any .bin of the same length, and finds other objects with it."""
    path = tmp_path / "other.xml"
    path.write_bytes(file.read_bytes())
    content = bytearray(file.with_suffix(".bin").read_bytes())
    content[len(content) // 2] ^= 1
    path.with_suffix(".bin").write_bytes(content)
    with pytest.raises(
        InputError, match=r"other\.bin is not what was written with other\.xml, but"
    ):
        openvino_file.open_file(path)


def test_a_full_disk_is_said(tmp_path):
    given = ov.opset13.parameter([1, 64], np.float32)
    weights = ov.opset13.constant(np.ones((64, 64), np.float32))
    model = ov.Model([ov.opset13.matmul(given, weights, False, False)], [given])
    (tmp_path / "model.bin").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"OpenVINO cannot write model\.xml and its \.bin \("):
        openvino_file.save(model, tmp_path / "model.xml", "float32", SAID)


@pytest.mark.parametrize("damage", ["xml", "bin"])
def test_a_damaged_file_prints_nothing(file, tmp_path, capfd, damage):
    path = tmp_path / "damaged.xml"
    for suffix in (".xml", ".bin"):
        content = file.with_suffix(suffix).read_bytes()
        kept = len(content) // 2 if suffix[1:] == damage else len(content)
        path.with_suffix(suffix).write_bytes(content[:kept])
    with pytest.raises(openvino_file.UNREADABLE):
        openvino_file.open_file(path)
    assert capfd.readouterr() == ("", "")


def test_a_file_of_another_program_has_no_metadata(file, tmp_path):
    path = tmp_path / "foreign.xml"
    path.write_text(file.read_text().replace(f"<{openvino_file.METADATA} ", "<another "))
    path.with_suffix(".bin").write_bytes(file.with_suffix(".bin").read_bytes())
    assert openvino_file.read(path)[1] == {}


def test_a_label_changes_the_metadata_alone(file, tmp_path):
    path = tmp_path / "labelled.xml"
    for suffix in (".xml", ".bin"):
        path.with_suffix(suffix).write_bytes(file.with_suffix(suffix).read_bytes())
    said = {"export": {"precision": "float32", "check": 'é\n"<'}}
    openvino_file.label(path, said)
    (model, metadata), (before, _) = openvino_file.read(path), openvino_file.read(file)
    assert metadata == said
    ours, theirs = ([op.get_friendly_name() for op in m.get_ops()] for m in (model, before))
    assert ours == theirs and len(ours) > 1000
    assert path.with_suffix(".bin").read_bytes() == file.with_suffix(".bin").read_bytes()
