"""ONNX graphs: in 16 bits, and for TensorRT."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.detectors import config, detector
from onnx import TensorProto, helper, numpy_helper

from hrnet_det.config.load import as_run
from hrnet_det.errors import InputError
from hrnet_det.export import ExportOptions, tensorrt_file
from hrnet_det.export.export import quiet
from hrnet_det.export.graph import DetectorGraph
from hrnet_det.export.half import halved

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def graph_of(nodes, outputs, **weights):
    """A model of an input "x" (1, 2, 6, 6), float32."""
    made = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", FLOAT, (1, 2, 6, 6))],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [numpy_helper.from_array(w, name) for name, w in weights.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"x": x})


@pytest.fixture
def two_layers():
    """Convolution, ReLU, convolution, both added; and the first one's exponential."""
    numbers = np.random.default_rng(0)
    w = numbers.normal(size=(2, 2, 3, 3)).astype(np.float32)
    b = numbers.normal(size=2).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["first"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["first"], ["relu"]),
        helper.make_node("Conv", ["relu", "w", "b"], ["second"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["first", "second"], ["sum"]),
        helper.make_node("Exp", ["first"], ["exp"]),
        helper.make_node("Add", ["exp", "shift"], ["shifted"]),
    ]
    shift = np.float32(70_000)  # which float16 has not
    return graph_of(nodes, ["sum", "shifted"], w=w, b=b, shift=shift)


def test_layers_and_what_is_between_them_are_in_16_bits(two_layers):
    made = halved(two_layers)
    weights = {tensor.name: tensor.data_type for tensor in made.graph.initializer}
    assert weights == {"w_float16": HALF, "b_float16": HALF, "shift": FLOAT}
    casts = [(n.input[0], n.output[0]) for n in made.graph.node if n.op_type == "Cast"]
    assert casts == [
        ("x", "x_float16"),
        ("first_float16", "first"),  # for its exponential
        ("sum_float16", "sum"),  # an output
    ]
    x = np.random.default_rng(1).normal(size=(1, 2, 6, 6)).astype(np.float32)
    for found, expected in zip(run(made, x), run(two_layers, x), strict=True):
        assert found.dtype == np.float32
        assert 0 < np.abs(found - expected).max() <= 0.01 * np.abs(expected).max()
    assert run(made, x)[1].min() >= 70_000


def test_a_weight_beyond_16_bits_is_an_error(two_layers):
    (bias,) = (tensor for tensor in two_layers.graph.initializer if tensor.name == "b")
    bias.CopyFrom(numpy_helper.from_array(np.array([1, -1e5], np.float32), "b"))
    with pytest.raises(InputError, match="b has the value 100000, and float16 ends at 65504"):
        halved(two_layers)


def test_a_graph_within_takes_32_bits(two_layers):
    inner = [
        helper.make_graph(
            [helper.make_node(kind, ["first"], [f"{kind}_out"])],
            kind,
            [],
            [helper.make_tensor_value_info(f"{kind}_out", FLOAT, None)],
        )
        for kind in ("Neg", "Abs")
    ]
    graph = two_layers.graph
    graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    branches = dict(zip(("then_branch", "else_branch"), inner, strict=True))
    graph.node.append(helper.make_node("If", ["yes"], ["chosen"], **branches))
    graph.output.append(helper.make_tensor_value_info("chosen", FLOAT, None))
    del graph.node[4:6], graph.output[1]  # nothing else takes "first" in 32 bits
    made = halved(two_layers)
    x = np.ones((1, 2, 6, 6), np.float32)
    assert np.allclose(run(made, x)[1], run(two_layers, x)[1], rtol=0.01, atol=0.01)


# --- for TensorRT ---


@pytest.fixture(scope="module")
def tensorrt(tmp_path_factory):
    path = tmp_path_factory.mktemp("tensorrt") / "model.onnx"
    options = ExportOptions(format="tensorrt-onnx", size=(64, 96), precision="float16")
    graph = DetectorGraph(detector("retinanet"), as_run(config("retinanet")), options).eval()
    with quiet():
        tensorrt_file.write(graph, path, options, {"classes": ["disc"]})
    return path


def test_a_detector_for_tensorrt_has_one_size_and_operators_that_tensorrt_has(tensorrt):
    model = onnx.load(tensorrt)
    assert [o.version for o in model.opset_import if not o.domain] == [17]
    (image,) = model.graph.input
    assert [d.dim_value for d in image.type.tensor_type.shape.dim] == [1, 3, 64, 96]
    assert image.type.tensor_type.elem_type == FLOAT
    kinds = Counter(node.op_type for node in model.graph.node)
    assert not {"If", "Loop", "Scan"} & set(kinds)
    assert kinds["NonMaxSuppression"] == 1 and kinds["Conv"] > 100
    assert not kinds["Constant"]  # what follows from the size is computed already
    weights = {t.name: t.data_type for t in model.graph.initializer}
    layers = [n.input[1] for n in model.graph.node if n.op_type == "Conv"]
    assert {weights[name] for name in layers} == {HALF}
    assert TensorProto.DOUBLE not in weights.values()
    assert tensorrt_file.open_file(tensorrt).metadata == {"classes": ["disc"]}


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (helper.make_node("Unique", ["x"], ["y"]), "TensorRT does not have Unique, which"),
        (helper.make_node("If", ["x"], ["y"]), "TensorRT does not have If, which"),
        (helper.make_node("FusedConv", ["x"], ["y"], domain="ms"), "have ms.FusedConv, which"),
        (helper.make_node("Resize", ["x"], ["y"], mode="cubic"), "have Resize, which"),
    ],
)
def test_what_tensorrt_lacks_is_one_line(node, said):
    with pytest.raises(InputError, match=said) as error:
        tensorrt_file.check(graph_of([node], ["y"]))
    assert "give --part backbone, or --format onnx" in str(error.value)


def test_numbers_of_64_bits_are_not_for_tensorrt():
    model = graph_of([helper.make_node("Add", ["x", "w"], ["y"])], ["y"], w=np.ones(1))
    with pytest.raises(InputError, match="TensorRT does not have numbers of 64 bits"):
        tensorrt_file.check(model)
