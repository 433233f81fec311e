"""`Detector.export` and `hrnet-det export`: what is written, what is told, what is refused."""

import dataclasses
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from helpers.detectors import config, detector
from helpers.refusals import message
from helpers.tiny import make_coco
from onnx import helper, numpy_helper

from hrnet_det import Detector, cli
from hrnet_det.config import settings
from hrnet_det.config.load import as_run
from hrnet_det.errors import InputError
from hrnet_det.export import ExportOptions, checking, onnx_file, samples
from hrnet_det.export.export import staged
from hrnet_det.export.options import set_form_to_export
from hrnet_det.modeling.inference.borrowed import least_score

NAMES = ["disc", "bar", "absent"]
STATIC = {"processing": "outside", "size": (64, 96)}


@pytest.fixture(scope="module")
def dense():
    return Detector(detector("retinanet"), config("retinanet"), NAMES, data={"size": [64, 96]})


@pytest.fixture(scope="module")
def told(dense, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "new" / "model.onnx"
    path.parent.mkdir()
    path.with_suffix(".bin").write_bytes(bytes(1000))  # of another file, which is not counted
    lines = []
    exported = _export(dense, path, lines.append, **STATIC)
    return exported, "\n".join(lines).splitlines()


def _export(of, path, say, **options):
    from hrnet_det.export import export

    return export(of.model, of.run, of.class_names, path, ExportOptions(**options), say=say)


# --- what is written, and what is told ---


def test_the_file_alone_is_left_and_says_what_it_is(told, dense):
    exported, _ = told
    assert {file.name for file in exported.path.parent.iterdir()} == {"model.onnx", "model.bin"}
    assert exported.size == exported.path.stat().st_size > 1e6
    metadata = onnx_file.open_file(exported.path).metadata
    assert metadata == json.loads(json.dumps(exported.metadata))
    assert metadata["classes"] == NAMES and metadata["kind"] == "retinanet"
    assert metadata["title"] == "RetinaNet w18_small_v1"
    assert metadata["config"] == dense.run.text()
    made = metadata["export"]
    check = made.pop("check")
    assert made == {
        "version": made["version"],
        "format": "onnx",
        "precision": "float32",
        "processing": "outside",
        "part": "detector",
        "inputs": ["images"],
        "outputs": ["image", "boxes", "scores", "classes"],
        "size": [64, 96],
        "batch": 1,
        "score": least_score(dense.model),
        "max_detections": 10,
    }
    assert check["engine"].startswith("onnxruntime ") and check["against"].startswith("PyTorch ")
    assert check["objects"] >= 40 and check["without_objects"] >= 2
    assert 0 < check["box"] < 0.01 and 0 < check["score"] < 1e-4
    assert (check["ties"], check["only_one_has"]) == (0, 0)
    assert check["images"] == len(check["rows"])
    assert {row["size"] for row in check["rows"]} == {"64x96"}


def test_the_differences_are_a_table(told):
    exported, (first, *lines) = told
    assert first == (
        f"writing {exported.path}: RetinaNet as ONNX, float32, processing outside, images of "
        "64x96; then it is run and compared"
    )
    assert lines[0] == (
        "in every image something is found: a file with a least score of 1 is checked as well"
    )
    assert lines[1].startswith(
        "compared with PyTorch on drawn images (the run's test set is not here: --images FOLDER), "
        "by onnxruntime "
    )
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells[0] == ["image", "size", "objects", "box, pixels", "score", "only one has"]
    assert [row[0] for row in cells[2:]] == [
        *(f"drawn {n}" for n in (0, 1, 2, 5)),
        "grey",
        "drawn 0, score 1",
        "drawn 1, score 1",
    ]
    rows = exported.metadata["export"]["check"]["rows"]
    assert [row[2] for row in cells[2:]] == [str(row["objects"]) for row in rows]
    assert cells[-1][2:] == ["0", "", "", ""]
    assert float(cells[2][3]) == pytest.approx(rows[0]["box"], rel=0.05)


def test_what_can_be_done_next_is_told(told):
    exported, _ = told
    written, following, *commands = str(exported).splitlines()
    assert written == f"written: {exported.path} ({exported.size / 1e6:.1f} MB, float32)"
    assert following == "next:"
    assert commands == [
        f"  hrnet-det predict {exported.path} IMAGES",
        f"  hrnet-det train --config-file CONFIG --eval-only MODEL.WEIGHTS {exported.path}",
        f'  Detector.from_pretrained("{exported.path}")  # in Python',
    ]


def test_the_file_computes_what_the_detector_does(told, dense):
    exported, _ = told
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(5)) * 255
    found = onnx_file.open_file(exported.path)({"images": images.numpy()})
    row = {"image": images[0], "height": 64, "width": 96}
    with torch.no_grad():
        expected = dense.model([row])[0]["instances"]
    assert found["image"].tolist() == [0] * len(expected)
    assert np.allclose(found["boxes"], expected.pred_boxes.tensor, atol=1e-3)
    assert np.allclose(found["scores"], expected.scores, atol=1e-5)
    assert found["classes"].tolist() == expected.pred_classes.tolist()


def test_where_nothing_is_found_a_least_score_of_0_is_checked(dense, tmp_path):
    lines = []
    exported = _export(dense, tmp_path / "sure.onnx", lines.append, score=0.999, **STATIC)
    assert lines[1] == (
        "in no image is anything found: a file with a least score of 0 is checked as well"
    )
    made = exported.metadata["export"]
    assert made["score"] == 0.999 and made["check"]["without_objects"] == 5
    assert [row["objects"] for row in made["check"]["rows"]] == [0, 0, 0, 0, 0, 10, 10]
    images = {"images": np.full((1, 3, 64, 96), 99, np.float32)}
    assert len(onnx_file.open_file(exported.path)(images)["scores"]) == 0
    assert least_score(dense.model) == 0.05  # the detector is as it was


# --- what is not kept ---


def test_a_file_that_differs_is_not_kept_and_an_earlier_one_stays(dense, tmp_path, monkeypatch):
    write = onnx_file.write

    def wrong(graph, path, options, metadata):
        write(graph, path, options, metadata)
        model = onnx.load(path)
        for node in model.graph.node:
            node.output[:] = ["old" if name == "boxes" else name for name in node.output]
        model.graph.initializer.append(numpy_helper.from_array(np.float32(1), "one"))
        model.graph.node.append(helper.make_node("Add", ["old", "one"], ["boxes"]))
        onnx.save(model, path)

    monkeypatch.setattr(onnx_file, "write", wrong)
    path = tmp_path / "model.onnx"
    path.write_text("an earlier one")
    lines = []
    with pytest.raises(InputError) as error:
        _export(dense, path, lines.append, **STATIC)
    said = str(error.value).splitlines()
    assert said[0].startswith(f"{path} is not written: in float32 by onnxruntime ")
    assert said[0].endswith(" it does not compute what PyTorch does:")
    assert said[1].startswith("  drawn 0, 64x96: ")
    assert " of 10 objects of PyTorch are not among the 10 of the file; the first: " in said[1]
    assert "the nearest is 1 pixels and " in said[1]
    assert "| drawn 0 " in lines[-1]  # the numbers are shown all the same
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_text() == "an earlier one"


# --- the images that a file is checked with ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing(number, tmp_path):
    (tmp_path / "model.onnx").write_text("earlier")
    before = signal.getsignal(number)
    with pytest.raises((SystemExit, KeyboardInterrupt)), staged(tmp_path / "model.onnx") as aside:
        aside.write_text("half")
        os.kill(os.getpid(), number)
        time.sleep(10)
    assert signal.getsignal(number) is before
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_text() == "earlier"


def test_commands_to_be_copied_hold_a_name_with_a_space(told):
    exported = dataclasses.replace(told[0], path=Path("my models/a.onnx"))
    assert "  hrnet-det predict 'my models/a.onnx' IMAGES" in str(exported).splitlines()


def test_images_are_those_of_a_folder_of_the_test_set_or_drawn(tmp_path):
    folder = make_coco(tmp_path / "data") / "images"
    assert [path.name for path in samples.paths_in(folder)] == [f"{n}.png" for n in range(1, 7)]
    assert [path.name for path in samples.spread(samples.paths_in(folder), 4)] == [
        "1.png",
        "3.png",
        "4.png",
        "6.png",
    ]
    run = as_run(config("retinanet")).copy()
    run.cfg.DATASETS.CUSTOM.TEST_IMAGES = str(folder)
    assert samples.split_paths(run, "test") == samples.paths_in(folder)
    run.cfg.DATASETS.CUSTOM.TEST_IMAGES = str(tmp_path / "gone")
    assert samples.split_paths(run, "test") == []
    (one,) = samples.read_all([folder / "1.png"], run)
    assert one.name == "1.png" and one.pixels.shape == (64, 96, 3)
    shapes = [sample.pixels.shape for sample in samples.drawn()]
    assert shapes == [(480, 640, 3), (600, 400, 3), (333, 500, 3), (427, 427, 3)]


# --- options ---

REFUSED = {
    "format": ({"format": "onxx"}, "--format 'onxx': give one of onnx, openvino, .* mean onnx?"),
    "precision": ({"precision": "int4"}, "--precision 'int4': give one of float32, float16"),
    "no such precision": (
        {"precision": "bfloat16"},
        "--format onnx has no --precision bfloat16 .*: give float32 or float16 or int8",
    ),
    "quantised for TensorRT": (
        {"format": "tensorrt-onnx", "precision": "int8"},
        "has no --precision int8 .TensorRT quantises a float32 file itself: trtexec --int8.",
    ),
    "processing": ({"processing": "in"}, "--processing 'in': give one of inside, outside"),
    "part": ({"part": "head"}, "--part 'head': give one of detector, backbone"),
    "a backbone inside": (
        {"part": "backbone", "processing": "inside"},
        "a backbone takes images that are resized already: leave --processing out",
    ),
    "a batch inside": ({"batch": 2}, "--batch 2: a file that resizes images itself takes one"),
    "batch": ({"batch": 0}, "--batch 0: give a whole number of at least 1"),
    "size": ({"size": (64,)}, "--size 64: give height and width in pixels, each from 32 to 16384"),
    "a small size": ({"size": (16, 64)}, "--size 16x64: give height and width in pixels"),
    "a size between cells": (
        {"part": "backbone", "size": (100, 64)},
        "--size 100x64: a backbone takes sides that are multiples of 32: such as 128x64",
    ),
    "a static format without a size": (
        {"format": "tensorrt-onnx", "processing": "inside"},
        "--format tensorrt-onnx --processing inside: a file takes images of one size, .* give",
    ),
    "score": ({"score": 2}, "score 2: give a number from 0 to 1"),
    "detections": ({"max_detections": 0}, "--max-detections 0: give a whole number of at least 1"),
    "a backbone's score": (
        {"part": "backbone", "score": 0.5},
        "--score 0.5: a backbone detects nothing: leave it out",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_options_that_cannot_be_had(name):
    options, said = REFUSED[name]
    with pytest.raises(InputError, match=said) as error:
        ExportOptions(**options)
    assert "\n" not in str(error.value)


def test_processing_is_the_format_s_unless_it_is_given():
    assert ExportOptions().processing == "inside"
    assert ExportOptions(part="backbone").processing == "outside"
    assert ExportOptions(format="tensorrt-onnx").processing == "outside"
    given = ExportOptions(format="tensorrt-onnx", processing="inside", size=(64, 96))
    assert given.processing == "inside"


def test_a_static_format_has_the_size_of_the_config(dense):
    options, (note,) = ExportOptions(format="tensorrt-onnx").for_run(dense.run)
    assert options.size == (64, 96)  # 57.6 x 96, in whole cells of 32
    assert "take images of one size: 64x96" in note
    assert ExportOptions().for_run(dense.run) == (ExportOptions(), [])


@pytest.mark.parametrize(
    ("setting", "value"),
    [(settings.DTYPE, "bfloat16"), (settings.COMPILE, True), (settings.ENGINE, "openvino")],
)
def test_a_detector_in_another_form_is_not_exported(setting, value, tmp_path):
    run = as_run(config("retinanet")).copy()
    run[setting] = value
    said = f"{setting.yaml} {value}: only a detector in float32 by engine torch, not compiled, is"
    with pytest.raises(InputError, match=said):
        _export_of(detector("retinanet"), run, tmp_path)
    set_form_to_export(run)
    assert run.text() == as_run(config("retinanet")).text()


def test_a_detector_is_exported_from_the_cpu(tmp_path):
    model, run = detector("retinanet").to("meta"), as_run(config("retinanet"))
    with pytest.raises(InputError, match="the detector is on meta, and is exported from the CPU"):
        _export_of(model, run, tmp_path)


def _export_of(model, run, folder):
    from hrnet_det.export import export

    return export(model, run, NAMES, folder / "a.onnx", ExportOptions())


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("a.pt", {}, "a.pt: a file of --format onnx ends in .onnx: such as a.onnx$"),
        ("a.xml", {}, "ends in .onnx: such as a.onnx, or --format openvino$"),
        ("a", {"format": "openvino"}, "a file of --format openvino ends in .xml: such as a.xml$"),
        ("folder.onnx", {}, "folder.onnx is a folder: give the name of a file$"),
        ("file/a.onnx", {}, "file/a.onnx: nothing can be written to .*file .*: give another place"),
    ],
)
def test_names_that_nothing_is_written_to(name, options, said, tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=said):
        ExportOptions(**options).check_path(tmp_path / name)


# --- the command ---


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights beside its config."""
    folder = tmp_path_factory.mktemp("weights")
    model = detector("faster")
    torch.save({"model": model.state_dict()}, folder / "model.pth")
    cfg = config("faster").clone()
    cfg.TEST.DTYPE = "bfloat16"  # which an export does not take from the config
    (folder / "config.yaml").write_text(cfg.dump())
    return folder / "model.pth"


def test_the_command_writes_a_backbone(weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(checking, "split_paths", lambda *_: [])  # the quickstart may be here
    out = tmp_path / "pyramid.onnx"
    words = ["export", str(weights), str(out), "--part", "backbone", "--size", "64x96"]
    assert cli.main(words) == 0
    told = capsys.readouterr()
    lines = told.out.partition("compared with PyTorch on ")[2].splitlines()
    assert lines[0].startswith("drawn images (the run's test set is not here")
    assert [cell.strip() for cell in lines[1].split("|")][1:8] == [
        *("image", "size", "p2", "p3", "p4", "p5", "p6")
    ]
    assert lines[-1] == f"written: {out} ({out.stat().st_size / 1e6:.1f} MB, float32)"
    assert "Warning" not in told.err and "[E:onnx" not in told.err
    maps = onnx_file.open_file(out)({"images": np.zeros((1, 3, 64, 96), np.float32)})
    assert [maps[f"p{k}"].shape for k in range(2, 7)] == [
        (1, 64, 64 // 2**k, 96 // 2**k) for k in range(2, 7)
    ]


def test_the_command_says_what_it_cannot_do_before_it_reads_weights(tmp_path, capsys):
    out = str(tmp_path / "model.onnx")
    assert cli.main(["export", "no.pth", out, "--precision", "bfloat16"]) == 2
    assert message(capsys.readouterr().err) == (
        "--format onnx has no --precision bfloat16 (onnxruntime has no convolution in bfloat16 for "
        "CPUs): give float32 or float16 or int8"
    )
    assert cli.main(["export", "no.pth", out]) == 2
    assert "no.pth" in message(capsys.readouterr().err)
