"""A file that is not as PyTorch's detector is refused: by how much, and what may differ."""

from functools import partial

import numpy as np
import onnx
import pytest
from helpers.detectors import config, detector
from onnx import TensorProto, helper, numpy_helper

from hrnet_det.config.load import as_run
from hrnet_det.export import onnx_file
from hrnet_det.export.cases import Cases
from hrnet_det.export.compare import TOLERANCES, Found, compare, edge_pixels
from hrnet_det.export.graph import DetectorGraph
from hrnet_det.export.options import ExportOptions
from hrnet_det.export.samples import Sample, drawn, resized
from hrnet_det.export.verify import DifferenceError, Verification
from hrnet_det.modeling.inference.borrowed import least_score

SIZE = (100, 200)
BOXES = np.array([[10, 10, 50, 60], [80, 5, 120, 90], [12, 12, 50, 60]], np.float32)
SCORES = np.array([0.9, 0.6, 0.3], np.float32)
CLASSES = np.array([0, 1, 1])


def found(boxes=BOXES, scores=SCORES, classes=CLASSES, **more):
    return Found(np.asarray(boxes, np.float32), np.asarray(scores, np.float32), classes, **more)


def compared(theirs, ours=None, *, precision="float32", least=0.05, most=100):
    limits = {"tolerance": TOLERANCES[precision], "least": least, "most": most}
    return compare(ours or found(), theirs, size=SIZE, **limits)


# --- objects of one image ---


def test_equal_objects_are_paired_one_to_one_in_any_order():
    order = [2, 0, 1]
    result = compared(found(BOXES[order], SCORES[order], CLASSES[order]))
    assert result.pairs == [(0, 1), (1, 2), (2, 0)]
    assert (result.missing, result.extra, result.border) == ([], [], 0)
    assert result.box.tolist() == result.score.tolist() == [0, 0, 0]


def test_an_object_that_is_there_twice_has_one_partner():
    twice = [0, 0, 1, 2]
    result = compared(found(BOXES[twice], SCORES[twice], CLASSES[twice]))
    assert len(result.pairs) == 3 and result.extra == [1] and not result.missing


def test_differences_are_those_of_the_worst_corner():
    boxes = BOXES.copy()
    boxes[1, 3] += 0.015
    result = compared(found(boxes, SCORES - np.float32(1e-4)))
    assert result.box == pytest.approx([0, 0.015, 0], abs=1e-5)
    assert result.score == pytest.approx([1e-4] * 3, rel=1e-2)


@pytest.mark.parametrize(
    ("boxes", "scores", "classes", "alone"),
    [
        (np.add(BOXES, [1, 0, 0, 0]), SCORES, CLASSES, [0, 1, 2]),  # off by one pixel
        (BOXES, SCORES * [1, 1, 0.99], CLASSES, [2]),
        (BOXES, SCORES, np.array([0, 1, 0]), [2]),
        (BOXES[:, [1, 0, 3, 2]], SCORES, CLASSES, [1]),  # the others are squares at the diagonal
    ],
)
def test_what_differs_by_more_is_alone(boxes, scores, classes, alone):
    if alone == [1]:
        ours = found([[10, 10, 50, 50], [80, 5, 120, 90], [12, 12, 50, 50]])
        boxes = ours.boxes[:, [1, 0, 3, 2]]
    else:
        ours = found()
    result = compared(found(boxes, scores, classes), ours)
    assert result.missing == result.extra == alone and result.border == 0


def test_the_tolerance_of_boxes_grows_with_the_image():
    moved = found(BOXES + 0.03)
    limits = {"tolerance": TOLERANCES["float32"], "least": 0.05, "most": 100}
    assert compare(found(), moved, size=(100, 200), **limits).missing == [0, 1, 2]
    assert compare(found(), moved, size=(800, 1333), **limits).missing == []


def test_what_lies_at_the_least_score_may_be_left_out():
    scores = np.array([0.9, 0.6, 0.0501], np.float32)
    result = compared(found(BOXES[:2], scores[:2], CLASSES[:2]), found(scores=scores))
    assert (result.missing, result.border) == ([], 1)
    result = compared(found(BOXES[:2], SCORES[:2], CLASSES[:2]))  # 0.3 is far from 0.05
    assert (result.missing, result.border) == ([2], 0)


def test_of_as_many_objects_as_there_may_be_the_last_ones_may_be_others():
    ours = found(scores=[0.9, 0.6, 0.5])
    theirs = found(np.add(BOXES, [[0], [0], [9]]), [0.9, 0.6, 0.50001])
    result = compared(theirs, ours, most=3)
    assert (result.missing, result.extra, result.border) == ([], [], 2)
    result = compared(theirs, ours, most=4)
    assert (result.missing, result.extra, result.border) == ([2], [2], 0)


def test_masks_are_compared_at_their_edges():
    masks = np.zeros((3, *SIZE), bool)
    masks[:, 20:40, 30:50] = True
    assert edge_pixels(masks[0]) == 76 + 80  # of the square inside, and around it
    moved = np.roll(masks, 1, axis=2)
    result = compared(found(masks=moved), found(masks=masks))
    assert result.pixels.tolist() == [40] * 3 and result.edge.tolist() == [156] * 3


def test_keypoints_that_are_elsewhere_are_counted():
    points = np.random.default_rng(0).uniform(0, 90, (3, 4, 3)).astype(np.float32)
    points[..., 2] = 0.5
    others = points.copy()
    others[1, 2, 0] += 5
    others[2, 3, 2] = 0.9
    result = compared(found(points=others), found(points=points))
    assert (result.moved, result.points) == (2, 12)


def test_objects_in_16_bits_are_paired_by_overlap():
    boxes, scores = np.add(BOXES, [0.5, 0, 0.7, 0]), np.add(SCORES, [0.01, -0.02, 0])
    result = compared(found(boxes, scores), precision="float16")
    assert result.pairs == [(0, 0), (1, 1), (2, 2)]
    assert result.box.tolist() == pytest.approx([0.7] * 3, rel=1e-4)
    result = compared(found(np.add(BOXES, [40, 0, 40, 0])), precision="float16")
    assert result.missing == result.extra == [0, 1, 2]


# --- a file beside the detector it was written from ---


class Run:
    """A detector, and its file."""

    def __init__(self, kind, folder):
        self.run, self.model = as_run(config(kind)), detector(kind)
        self.options = ExportOptions(processing="outside", size=(64, 96))
        self.graph = DetectorGraph(self.model, self.run, self.options).eval()
        onnx_file.write(self.graph, folder / "whole.onnx", self.options, {})
        self.whole = onnx.load(folder / "whole.onnx")
        self.folder = folder
        self.samples = [Sample(s.name, resized(s.pixels, (64, 96))) for s in drawn()[:2]]

    def verification(self, model, *, options=None):
        path = self.folder / "changed.onnx"
        onnx.save(model, path)
        return Verification(
            onnx_file.open_file(path),
            Cases(self.model, self.run, options or self.options),
            outputs=self.graph.outputs,
            least=least_score(self.model),
            most=self.run.detections_per_image,
            errors=onnx_file.UNREADABLE,
        )

    def check(self, model, **options):
        verification = self.verification(model, **options)
        for sample in self.samples:
            verification.check(verification.cases.of(sample))
        verification.finish()
        return verification


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Run("mask", tmp_path_factory.mktemp("made"))


def behind(model, output, *nodes, **constants):
    """Compute an output once more: nodes that make "new" of "old"."""
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["old" if name == output else name for name in node.output]
        node.input[:] = ["old" if name == output else name for name in node.input]
    named = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    graph.initializer.extend(named)
    graph.node.extend([*nodes, helper.make_node("Identity", ["new"], [output])])


def weight(model):
    """One row of the last layer is larger by a hundredth."""
    names = [t for t in model.graph.initializer if t.name.endswith("cls_score.weight")]
    (tensor,) = names
    values = numpy_helper.to_array(tensor).copy()
    values[0] *= 1.01
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def added(model, output, value):
    behind(model, output, helper.make_node("Add", ["old", "by"], ["new"]), by=value)


def times(model, output, value):
    behind(model, output, helper.make_node("Mul", ["old", "by"], ["new"]), by=value)


def gathered(model, output, numbers, axis):
    node = helper.make_node("Gather", ["old", "by"], ["new"], axis=axis)
    behind(model, output, node, by=np.array(numbers))


def sliced(model, first):
    for n, output in enumerate(model.graph.output):
        ends = [numpy_helper.from_array(np.array([e]), f"{n}{e}") for e in (first, 1000)]
        model.graph.initializer.extend(ends)
        name = output.name
        for node in model.graph.node:
            node.output[:] = [f"all_{name}" if o == name else o for o in node.output]
            node.input[:] = [f"all_{name}" if o == name else o for o in node.input]
        words = [f"all_{name}", ends[0].name, ends[1].name]
        model.graph.node.append(helper.make_node("Slice", words, [name]))


def blue_first(model):
    for node in model.graph.node:
        node.input[:] = ["turned" if name == "images" else name for name in node.input]
    by = numpy_helper.from_array(np.array([2, 1, 0]), "by")
    model.graph.initializer.append(by)
    node = helper.make_node("Gather", ["images", "by"], ["turned"], axis=1)
    model.graph.node.insert(0, node)


def cast(model, output, to):
    behind(model, output, helper.make_node("Cast", ["old"], ["new"], to=to))
    (info,) = (o for o in model.graph.output if o.name == output)
    info.type.tensor_type.elem_type = to


def renamed(model, output):
    (info,) = (o for o in model.graph.output if o.name == output)
    for node in model.graph.node:
        node.output[:] = ["other" if name == output else name for name in node.output]
        node.input[:] = ["other" if name == output else name for name in node.input]
    info.name = "other"


def swapped(model):
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [{"boxes": "scores", "scores": "boxes"}.get(n, n) for n in names]


DAMAGES = {
    "a weight": (weight, "objects of PyTorch are not among the"),
    "boxes off by one": (
        partial(added, output="boxes", value=np.float32(1)),
        "the nearest is 1 pixels and ",
    ),
    "x for y": (
        partial(gathered, output="boxes", numbers=[1, 0, 3, 2], axis=1),
        "masks cannot be drawn at its boxes",
    ),
    "corners in the wrong order": (
        partial(gathered, output="boxes", numbers=[2, 3, 0, 1], axis=1),
        "boxes are not x0, y0, x1, y1",
    ),
    "classes from 1": (partial(added, output="classes", value=np.int64(1)), "not among the"),
    "scores smaller by a hundredth": (
        partial(times, output="scores", value=np.float32(0.99)),
        " pixels and 0.00",
    ),
    "BGR for RGB": (blue_first, "are not among the"),
    "the best object left out": (partial(sliced, first=1), "1 of 10 objects of PyTorch are not"),
    "boxes that are nan": (
        partial(times, output="boxes", value=np.float32(np.nan)),
        "boxes has numbers that are not finite",
    ),
    "worst first": (partial(times, output="scores", value=np.float32(-1)), "order of their scores"),
    "masks upside down": (
        partial(gathered, output="masks", numbers=range(27, -1, -1), axis=1),
        "pixels of a mask differ",
    ),
    "masks one cell to the side": (
        partial(gathered, output="masks", numbers=[*range(1, 28), 27], axis=2),
        "pixels of a mask differ",
    ),
    "classes of 32 bits": (
        partial(cast, output="classes", to=TensorProto.INT32),
        "classes is (10,) int32 for 10 scores",
    ),
    "another name": (partial(renamed, output="masks"), "other instead of image, boxes, scores"),
    "boxes and scores swapped": (swapped, "boxes is (10,) float32 for 10 scores"),
}  # fmt: skip


def test_a_whole_file_is_as_pytorch(made):
    verification = made.check(made.whole)
    differences = [d for row in verification.rows for d in row.differences]
    assert [d.expected for d in differences] == [10, 10]
    for d in differences:
        assert len(d.pairs) == 10 and d.box.max() < 1e-3 and d.score.max() < 1e-5
        assert d.pixels.max() <= 1 and d.edge.sum() > 300


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_refused(name, made):
    damage, said = DAMAGES[name]
    model = onnx.ModelProto()
    model.CopyFrom(made.whole)
    damage(model)
    with pytest.raises(DifferenceError) as error:
        made.check(model)
    message = str(error.value)
    assert said in message
    assert message.startswith("in float32 by onnxruntime ") and "\n  drawn 0, 64x96: " in message


@pytest.mark.parametrize(
    ("precision", "name"),
    [
        *(
            ("float16", n)
            for n in ("boxes off by one", "x for y", "BGR for RGB", "masks upside down")
        ),
        *(("int8", name) for name in ("boxes off by one", "x for y", "classes from 1")),
    ],
)
def test_a_damaged_file_is_refused_in_fewer_bits_too(precision, name, made):
    damage, _ = DAMAGES[name]
    if name == "boxes off by one":  # a pixel is within what rounding does
        damage = partial(added, output="boxes", value=np.float32(20))
    model = onnx.ModelProto()
    model.CopyFrom(made.whole)
    damage(model)
    options = ExportOptions(processing="outside", size=(64, 96), precision=precision)
    made.check(made.whole, options=options)
    with pytest.raises(DifferenceError, match="Give --precision float32"):
        made.check(model, options=options)


def test_a_file_that_does_not_run_is_refused(made):
    verification = made.verification(made.whole)
    sample = Sample("small", resized(made.samples[0].pixels, (32, 64)))
    cases = Cases(made.model, made.run, ExportOptions(processing="outside"))
    verification.check(cases.of(sample))
    with pytest.raises(DifferenceError, match=r"small, .*: it cannot be run: .*imension"):
        verification.finish()
