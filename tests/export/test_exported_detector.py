"""Exported files in the place of weights: Detector, predict and what is refused."""

import json

import numpy as np
import onnx
import pytest
import torch
from helpers.detectors import assert_same
from helpers.exported import exported
from helpers.tiny import CLASSES
from PIL import Image

from hrnet_det import Detector
from hrnet_det.cli import main
from hrnet_det.config import settings
from hrnet_det.errors import InputError, MissingInputError
from hrnet_det.export import onnx_file, open_exported
from hrnet_det.export.exported_model import ExportedModel


@pytest.fixture(scope="module")
def detectors(files):
    return {name: Detector.from_pretrained(path, device="cpu") for name, path in files.items()}


both = pytest.mark.parametrize("form", ["inside", "outside"])


@both
def test_images_are_detected_as_by_the_weights(detectors, coco, form):
    ours, theirs = detectors[form], detectors["weights"]
    assert (ours.class_names, ours.report) == (CLASSES, None)
    images = sorted((coco / "images").iterdir())  # of four sizes, of which two are resized
    images += [np.asarray(Image.open(images[0])), Image.open(images[1])]
    expected = theirs(images, batch=1)
    for batch in (1, 3):
        for found, right in zip(ours(images, batch=batch), expected, strict=True):
            assert len(right) == 10
            assert_same(found, right)
    assert found.image is images[-1] and found.names == right.names


@both
def test_options_of_a_call(detectors, coco, form):
    ours, theirs = detectors[form], detectors["weights"]
    image = coco / "images" / "3.png"
    scores = theirs(image).scores
    for options, count in (
        ({"score": float(scores[4] + scores[5]) / 2}, 5),
        ({"max_detections": 3}, 3),
        ({"tile": 48, "overlap": 0.25}, 50),  # 10 of each of four tiles, and of the whole
        ({"tile": 48, "max_detections": 8}, 8),
    ):
        right = theirs(image, **options)
        assert len(right) == count
        assert_same(ours(image, **options), right)


def test_a_tile_has_no_more_objects_than_the_file_gives(files, coco, caplog):
    made = Detector.from_pretrained(files["outside"])
    assert len(made(coco / "images" / "3.png", tile=48, max_detections=15)) == 15
    assert "a tile has 10 objects, as many as are given at most" in caplog.text


def test_classes_are_chosen_from_what_the_file_gives(detectors, coco, caplog):
    image = coco / "images" / "3.png"
    every = detectors["inside"](image)
    wanted = every[every.pred_classes == 1]
    assert 0 < len(wanted) < 10
    assert_same(detectors["inside"](image, classes=["bar"]), wanted)
    assert "classes are chosen from the best 10 objects of an image that" in caplog.text


def test_another_size_reaches_a_file_that_is_given_resized_images(detectors, files, coco):
    image = coco / "images" / "3.png"
    right = detectors["weights"](image, size=(48, 96))
    assert_same(detectors["outside"](image, size=(48, 96)), right)
    fixed = Detector.from_pretrained(files["outside"], size=(48, 96))
    assert_same(fixed(image), right)
    assert fixed.run[settings.MIN_SIZE_TEST] == 48


def test_the_size_that_a_file_gives_images_is_known(detectors, caplog):
    detectors["inside"](np.zeros((250, 500, 3), np.uint8))
    assert "an image of 500x250 is resized to 96x48 (x0.19), so that objects are 5" in caplog.text
    assert "--size" not in caplog.text


def test_objects_are_drawn(detectors, coco, tmp_path):
    path = detectors["inside"](coco / "images" / "1.png").save(tmp_path / "drawn.png")
    drawn, image = (np.asarray(Image.open(p).convert("RGB")) for p in (path, coco / "images/1.png"))
    assert drawn.shape[1] % image.shape[1] == 0 and drawn.std() > image.std()


def test_predict_writes_what_it_writes_with_weights(files, coco, tmp_path, capsys):
    rows = {}
    for name in ("weights", "inside"):
        output = tmp_path / name
        words = ["--output", str(output), "--score", "0.1"]
        assert main(["predict", str(files[name]), str(coco / "images"), *words]) == 0
        rows[name] = json.loads((output / "predictions.json").read_text())
    assert len(rows["weights"]) > 6
    for found, right in zip(rows["inside"], rows["weights"], strict=True):
        assert found.keys() == right.keys()
        assert found["bbox"] == pytest.approx(right["bbox"], abs=1e-2)
        assert found["score"] == pytest.approx(right["score"], abs=1e-4)
        assert [found[k] for k in ("file_name", "category")] == [
            right[k] for k in ("file_name", "category")
        ]
    assert "6 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 64}, "size 64: the size of images is fixed in "),
        ({"score": 0.01}, "score 0.01: {} gives no objects below 0.05: export it with --score 0.0"),
        ({"max_detections": 11}, "max_detections 11: {} gives 10 objects of an image at most: exp"),
    ],
)
def test_what_a_file_cannot_do_is_said(detectors, files, coco, options, said):
    with pytest.raises(InputError) as error:
        detectors["inside"](coco / "images" / "1.png", **options)
    assert str(error.value).startswith(said.format(files["inside"]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "cuda"}, "device 'cuda': {} runs on the CPU here: leave the device away, or"),
        ({"size": (64, 96)}, "size (64, 96): the size of images is fixed in {}: export it with an"),
        ({"max_detections": 11}, "max_detections 11: {} gives 10 objects of an image at most"),
        ({"to_export": True}, "{} is an exported file already, whose weights cannot be taken out"),
        (
            {"config": "quickstart/faster_rcnn.yaml"},
            "{} is a Mask R-CNN, and the config describes a Faster R-CNN: give the config that it",
        ),
        (
            {"config": "quickstart/mask_rcnn.yaml"},
            "{} is of other classes: the file has 3 classes (disc, bar, absent), the config 80 (",
        ),
        ({"class_names": ["a", "b"]}, "2 class names (a, ...) for 3 classes"),
    ],
)
def test_what_it_cannot_be_opened_for_is_said(files, options, said):
    with pytest.raises(InputError) as error:
        Detector.from_pretrained(files["inside"], **options)
    assert str(error.value).startswith(said.format(files["inside"]))


def test_fewer_objects_and_other_names(files, coco):
    made = Detector.from_pretrained(files["inside"], max_detections=2, class_names=["x", "y", "z"])
    found = made(coco / "images" / "1.png")
    assert len(found) == 2 and set(found.names) <= {"x", "y", "z"}


def foreign(path):
    """An ONNX file of another project: y = x + x."""
    value = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "x"], ["y"])], "g", value[:1], value[1:]
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"",
            "{} is an empty file, not a file of ONNX: export it again (hrnet-det export WEIGHTS ",
        ),
        (b"\x89PNG\r\n", "{} is a PNG image, not a file of ONNX: "),
        (b"version https://git-lfs", "{} is a Git LFS pointer, which stands for the file: git lf"),
        (b"\x08\x08nothing", "{} cannot be opened as ONNX ("),
        ("cut", "{} cannot be opened as ONNX ("),
        ("foreign", "{} is a file of ONNX that hrnet-det export has not written: it does not say"),
    ],
    ids=str,
)
def test_damaged_and_foreign_files(files, tmp_path, capfd, content, said):
    path = tmp_path / "model.onnx"
    if content == "foreign":
        foreign(path)
    elif content == "cut":
        whole = files["inside"].read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    else:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        Detector.from_pretrained(path)
    assert str(error.value).startswith(said.format(path)) and "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"score": None}, "(export.score None)"),
        ({"score": float("nan"), "batch": 0}, "(export.batch 0, export.score nan)"),
        ({"max_detections": -1}, "(export.max_detections -1)"),
        ({"size": [10]}, "(export.size [10])"),
        ({"processing": "outside"}, "(export.inputs ['image'])"),
    ],
    ids=str,
)
def test_what_a_file_says_of_itself_is_looked_at(files, tmp_path, changed, said):
    metadata = ExportedModel(files["inside"]).metadata
    path = relabelled(files, tmp_path, {**metadata, "export": {**metadata["export"], **changed}})
    expected = f"{path} says of itself what hrnet-det export does not write {said}: export it again"
    with pytest.raises(InputError) as error:
        open_exported(path)
    assert str(error.value).startswith(expected)


@pytest.mark.parametrize("metadata", [[1], "x", {"export": "x", "config": "x", "classes": ["a"]}])
def test_a_file_that_says_nothing_usable(files, tmp_path, metadata):
    with pytest.raises(InputError, match=r"model.onnx (is a file of ONNX that|says of itself)"):
        open_exported(relabelled(files, tmp_path, metadata))


def relabelled(files, folder, metadata):
    path = folder / "model.onnx"
    path.write_bytes(files["inside"].read_bytes())
    onnx_file.label(path, metadata)
    return path


def test_a_file_that_is_not_there_and_one_as_weights(files, tmp_path, capsys):
    with pytest.raises(MissingInputError, match=r"weights \S+model.onnx are not there"):
        Detector.from_pretrained(tmp_path / "model.onnx")
    assert main(["convert", str(files["inside"]), str(tmp_path / "w.safetensors")]) == 2
    assert capsys.readouterr().err.startswith(
        f"error: {files['inside']} is not a file of weights but an exported detector, whose weights"
    )


def test_a_backbone_gives_no_objects(files, tmp_path):
    path = exported(files["weights"], tmp_path / "backbone.onnx", part="backbone")
    with pytest.raises(InputError, match=r"is the backbone alone of a detector: it gives feature"):
        Detector.from_pretrained(path)
    maps = open_exported(path)({"images": np.zeros((1, 3, 64, 96), np.float32)})
    assert {name: map.shape[2:] for name, map in maps.items()} == {
        "p2": (16, 24), "p3": (8, 12), "p4": (4, 6), "p5": (2, 3), "p6": (1, 1),
    }  # fmt: skip


def test_numbers_that_are_not_finite_name_the_image(files):
    model = ExportedModel(files["inside"])
    boxes = {"boxes": np.full((1, 4), np.nan, np.float32), "scores": np.ones(1, np.float32)}
    model.engine = lambda arrays: {**boxes, "classes": np.zeros(1, np.int64)}
    row = {"image": torch.zeros(3, 8, 8), "height": 8, "width": 8, "file_name": "street.jpg"}
    with pytest.raises(InputError, match=r"^street.jpg: numbers of \S+ are not finite: export"):
        model([row])


def test_a_file_of_one_size_takes_no_other(files):
    model = ExportedModel(files["inside"])
    model.size = (8, 9)
    row = {"image": torch.zeros(3, 8, 8), "file_name": "street.jpg"}
    with pytest.raises(InputError, match=r"^street.jpg is 8x8 pixels, and \S+ takes images of 9x8"):
        model([row])


@pytest.mark.parametrize(
    ("height", "width", "inside"),
    [(40, 60, (40, 60)), (128, 96, (64, 48)), (64, 192, (32, 96))],
)
def test_images_get_into_the_only_size_of_a_file(files, caplog, height, width, inside):
    """Smaller ones are padded with the mean colour, larger ones resized."""
    model, given = ExportedModel(files["outside"]), []
    model.size = (64, 96)
    image = torch.full((3, height, width), 7.0)
    row = {
        "image": image,
        "height": 2 * height,
        "width": 2 * width,
    }  # of an original twice as large

    def engine(arrays):
        given.append(arrays["images"])
        box = np.array([[8, 8, inside[1] + 9, inside[0]]], np.float32)  # a part is in the padding
        found = {"image": np.zeros(1, np.int64), "boxes": box, "scores": np.ones(1, np.float32)}
        masks = np.ones((1, 28, 28), np.float32)
        return {**found, "classes": np.zeros(1, np.int64), "masks": masks}

    model.engine = engine
    objects = model([row])[0]["instances"]
    (images,) = given
    assert images.shape == (2, 3, 64, 96)  # the file takes two images
    assert (images[:, :, : inside[0], : inside[1]] == 7).all()
    mean = np.array(model.run[settings.PIXEL_MEAN], np.float32).reshape(3, 1)
    assert (images[0, :, inside[0] :, 0] == mean).all() and (
        images[0, :, 0, inside[1] :] == mean
    ).all()
    scale = 2 * height / inside[0]
    assert objects.image_size == (2 * height, 2 * width)
    assert objects.pred_boxes.tensor[0].tolist() == [8 * scale, 8 * scale, 2 * width, 2 * height]
    assert caplog.text.count("takes images of 96x64 alone: others are padded to that") == 1
