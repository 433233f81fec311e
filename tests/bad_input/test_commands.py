"""Arguments of every command that it cannot follow, before any work is done."""

import re

import pytest
import torch
from helpers.refusals import message
from helpers.tiny import TINY, custom, forget_loggers

from hrnet_det import cli
from hrnet_det.errors import InputError, tell

FASTER = "hrnetv2p_faster_rcnn.yaml"
# The words of a command, and what is said; in them {out} is a new folder, {coco} a dataset, and
# {file} a text. What argparse refuses begins with "usage: ".
COMMANDS = {
    "no command": ("", "the following arguments are required: COMMAND"),
    "an unknown command": ("trian", "invalid choice: 'trian'"),
    "an unknown option": ("configs --all", "unrecognized arguments: --all"),
    "an option without its value": ("plan --config-file", "expected one argument"),
    "predict without images": ("predict a.pth", "required: images"),
    "predict a missing image": ("predict a.pth {out}/no.png", "no.png: there is no such file"),
    "predict a folder without any": ("predict a.pth {empty}", "there are no images in the folder"),
    "predict --score 2": ("predict a.pth {image} --score 2", "score 2.0: give a number from 0"),
    "predict --score -1": ("predict a.pth {image} --score -1", "score -1.0: give a number from 0"),
    "predict --score nan": ("predict a.pth {image} --score nan", "score nan: give a number from 0"),
    "predict --score inf": ("predict a.pth {image} --score inf", "score inf: give a number from 0"),
    "predict --score text": ("predict a.pth {image} --score high", "invalid float value: 'high'"),
    "predict --output a file": (
        "predict a.pth {image} --output {file}", "--output {file}: nothing can be written to"),
    "predict --output below a file": (
        "predict a.pth {image} --output {file}/x", "--output {file}/x: nothing can be written to"),
    "predict --output in /proc": (
        "predict a.pth {image} --output /proc/x", "--output /proc/x: nothing can be written"),
    "predict --output ''": ("predict a.pth {image} --output ''", "no folder to write to"),
    "predict over the images": (
        "predict a.pth {image} --output {coco}/images", "would overwrite {image}: give"),
    "predict without weights": ("predict {out}/a.pth {image}", "weights {out}/a.pth are not there"),
    "predict a text": ("predict {file} {image}", "{file} is not a file of weights but a text file"),
    "predict --device gpu": ("predict {ready} --device gpu", "device 'gpu' cannot be used"),
    "predict --device meta": ("predict {ready} --device meta", "device 'meta' cannot be"),
    "predict --size 0": ("predict {ready} --size 0", "size 0: give the shorter side"),
    "predict --size falling": ("predict {ready} --size 800,600", "size 800 600: give the"),
    "predict --size -5": ("predict {ready} --size=-5", "size -5: give the shorter side"),
    "predict --size text": ("predict a.pth {image} --size large", "'large': give pixels: 800 or"),
    "predict --size 99999": (
        "predict {ready} --size 99999", "size 99999 166665: images would have more than"),
    "predict --max-detections 0": (
        "predict a.pth {image} --max-detections 0", "'0': give a whole number of at least 1"),
    "predict --max-pixels -1": (
        "predict a.pth {image} --max-pixels=-1", "'-1': give a whole number of at least 1"),
    "predict --pixel-range falling": (
        "predict {ready} --pixel-range 5 1", "[5.0, 1.0]: give the values that become"),
    "predict --pixel-range nan": (
        "predict {ready} --pixel-range nan 1", "give the values that become black"),
    "predict --config-file": (
        "predict {weights} {image} --config-file no.yaml", "config no.yaml is neither a file nor"),
    "convert nothing": ("convert {out}/a.pth {out}/b.pth", "weights {out}/a.pth are not there"),
    "convert to a text": ("convert a.pth {out}/b.txt", "must end in .safetensors or .pth"),
    "convert over a file": ("convert {weights} {weights}", "{weights} "),
    "convert --to": ("convert a.pth b.pth --to yolo", "invalid choice: 'yolo'"),
    "convert below a file": ("convert {weights} {file}/b.pth", "nothing can be written to {file}"),
    "benchmark --variant": ("benchmark --variant w33 --output {out}", "variant 'w33'; known: w18"),
    "benchmark --part": ("benchmark --part neck --output {out}", "part 'neck'; known: backbone"),
    "benchmark --mode": ("benchmark --mode fast --output {out}", "mode 'fast'; known: inference"),
    "benchmark --size 5x5": ("benchmark --size 5x5 --output {out}", "size 5x5: multiples of 32"),
    "benchmark --size text": ("benchmark --size large --output {out}", "'large'"),
    "benchmark --batch 0": ("benchmark --batch 0", "'0': give a whole number of at least 1"),
    "benchmark --batch 10^12": ("benchmark --batch 1000000000000", "give a whole number of at lea"),
    "benchmark --rounds 0": ("benchmark --rounds 0", "'0': give a whole number of at least 1"),
    "benchmark --device": ("benchmark --device gpu --output {out}", "device 'gpu' cannot be used"),
    "benchmark --output a file": (
        "benchmark --output {file}", "--output {file}: nothing can be written to"),
    "plan without a config": ("plan", "required: --config-file"),
    "plan of no config": ("plan --config-file no.yaml", "config no.yaml is neither a file nor"),
    "plan --memory text": (
        "plan --config-file {faster} --memory much", "memory 'much': give a size such as 8GB"),
    "plan --memory nan": ("plan --config-file {faster} --memory nanGB", "memory 'nanGB': give a"),
    "plan --memory two dots": ("plan --config-file {faster} --memory 1..2GB", "memory '1..2GB'"),
    "plan --size 1x1": ("plan --config-file {faster} --size 1x1", "plan: size 1x1: 64 pixels"),
    "plan --size 10^8 x 10^8": (
        "plan --config-file {faster} --size 99999999x99999999",
        "plan: size 99999999x99999999: give sides of 64 to 20000 pixels"),
    "plan --size 10^6 x 64": (
        "plan --config-file {faster} --size 1000000x64", "plan: size 1000000x64: give sides of"),
    "plan --batch 10^9": (
        "plan --config-file {faster} --batch 2 --batch 1000000000",
        "plan: batch 1000000000: give 1 to 4096 images"),
    "plan --size text": ("plan --config-file {faster} --size big", "'big'"),
    "plan --batch 0": ("plan --config-file {faster} --batch 0", "'0': give a whole number of at"),
    "plan with half an override": ("plan --config-file {faster} SEED", "got an odd number: SEED"),
    "check-data of nothing": ("check-data --output {out}", "give a json and the folder of its"),
    "check-data of three": ("check-data a b c --output {out}", "check-data a b c: give a folder"),
    "check-data of no folder": ("check-data {out}/no --output {out}", "{out}/no"),
    "check-data of an empty folder": ("check-data {out} --output {out}", "{out}"),
    "check-data of no json": ("check-data {out}/a.json {out} --output {out}", "is not there"),
    "check-data --workers 0": ("check-data a --workers 0", "'0': give a whole number of at least"),
    "check-data --workers -1": ("check-data a --workers=-1", "'-1': give a whole number of at"),
    "check-data --output a file": (
        "check-data {coco}/boxes.json {coco}/images --output {file}", "nothing can be written to"),
    "check-data of no dataset": (
        "check-data --config-file {faster} DATASETS.TRAIN ('x',) --output {out}",
        "there is no dataset 'x'"),
    "export to no format": ("export a.pth {out}.onnx --format tflite", "invalid choice: 'tflite'"),
    "export with no precision": ("export a.pth {out}.onnx --precision int4", "choice: 'int4'"),
    "export what the format lacks": (
        "export a.pth {out}.onnx --precision bfloat16",
        "--format onnx has no --precision bfloat16"),
    "export to another name": (
        "export a.pth {out}.pt", "a file of --format onnx ends in .onnx: such as out.onnx"),
    "export to a folder": ("export a.pth {coco}", "{coco}: a file of --format onnx ends in .onnx"),
    "export into a file": ("export a.pth {file}/a.onnx", "{file}/a.onnx: nothing can be written"),
    "export into a loop of links": ("export a.pth {loop}/a.onnx", "nothing can be written to"),
    "export to nothing": ("export a.pth ''", "a file of --format onnx ends in .onnx: give a name"),
    "export of size 0x0": ("export a.pth {out}.onnx --size 0x0", "--size 0x0: give height and"),
    "export of size 800": ("export a.pth {out}.onnx --size 800", "'800': give height and width in"),
    "export of a size beyond all": (
        "export a.pth {out}.onnx --size 99999x64", "each from 32 to 16384, such as 800x1344"),
    "export --batch 0": ("export a.pth {out}.onnx --batch 0", "'0': give a whole number of"),
    "export a batch of images to be resized": (
        "export a.pth {out}.onnx --batch 2", "--batch 2: a file that resizes images itself"),
    "export --score 2": ("export a.pth {out}.onnx --score 2", "score 2.0: give a number from 0"),
    "export a backbone with a score": (
        "export a.pth {out}.onnx --part backbone --score 0.5", "a backbone detects nothing"),
    "export a backbone that resizes": (
        "export a.pth {out}.onnx --part backbone --processing inside", "leave --processing out"),
    "export for TensorRT without a size": (
        "export a.pth {out}.onnx --format tensorrt-onnx --processing inside",
        "give --size HEIGHTxWIDTH"),
    "export checked with no folder": (
        "export a.pth {out}.onnx --images {out}/no", "'{out}/no': there is no such folder"),
    "export checked with no images": (
        "export a.pth {out}.onnx --images {empty}", "{empty}: the folder has no images"),
    "export nothing": ("export {out}/no.pth {out}.onnx", "{out}/no.pth"),
    "export a text": ("export {file} {out}.onnx", "{file}"),
    "export weights without a config": ("export {weights} {out}.onnx", "{weights}"),
    "replay nothing": ("replay {out}/a.pth", "{out}/a.pth"),
    "replay a text": ("replay {file}", "{file}"),
    "replay weights": ("replay {weights}", "{weights}"),
    "replay a folder": ("replay {coco}", "{coco}"),
    "plan of a loop of links": ("plan --config-file {loop}", "neither a file nor a shipped"),
    "check-data of a loop of links": ("check-data {loop} --output {out}", "{loop}"),
    "predict a loop of links": ("predict a.pth {loop}", "{loop}: there is no such file or folder"),
    "train on a loop of links": ("train --data {loop} {tiny}", "{loop}"),
    "write to a loop of links": (
        "predict a.pth {image} --output {loop}", "--output {loop}: nothing can be written"),
    "install nothing": ("install-detectron2 --from ''", "is empty: give a URL, folder or wheel"),
    "train without a config": ("train", "no --config-file was given"),
    "train with no config": ("train --config-file no.yaml", "config no.yaml is neither a file"),
    "train with an unknown option": ("train --fast", "unrecognized arguments: --fast"),
    "train with half an override": ("train --config-file {faster} SEED", "got an odd number: SEED"),
    "train --data nothing": ("train --data {out}/no {tiny}", "{out}/no"),
    "train with an option at the end": (
        "train {tiny} --data {out}", "--data comes after KEY VALUE pairs: write options before"),
    "train on no dataset": ("train {tiny} DATASETS.TRAIN ('x',)", "there is no dataset 'x'"),
    "train on meta": ("train {data} MODEL.DEVICE meta", "MODEL.DEVICE meta: device 'meta' cannot"),
    "train with proposals of no file": (
        "train {data} MODEL.LOAD_PROPOSALS True MODEL.WEIGHTS_ALLOW_PICKLE True",
        "DATASETS.PROPOSAL_FILES_TRAIN (): give one file"),
    "train with pickled proposals": ("train {data} MODEL.LOAD_PROPOSALS True", "are pickles"),
    "train on crops of twice the size": (
        "train {data} INPUT.CROP.ENABLED True INPUT.CROP.SIZE [2,2]", "shares of the image"),
    "train on crops of half a pixel": (
        "train {data} INPUT.CROP.ENABLED True INPUT.CROP.TYPE absolute INPUT.CROP.SIZE [0.5,9]",
        "height and width in pixels, at least 1"),
    "train on a json of 5,000 letters": (
        "train {tiny} DATASETS.CUSTOM.TRAIN_JSON {long} DATASETS.CUSTOM.TRAIN_IMAGES {out}",
        "is not there"),
    "train on a json that is a folder": (
        "train {tiny} DATASETS.CUSTOM.TRAIN_JSON {coco} DATASETS.CUSTOM.TRAIN_IMAGES {coco}/images",
        "COCO json {coco} is a folder: give the json file"),
    "train on images that are a file": (
        "train {tiny} DATASETS.CUSTOM.TRAIN_JSON {coco}/boxes.json "
        "DATASETS.CUSTOM.TRAIN_IMAGES {image}",
        "image folder {image} (of {coco}/boxes.json) is a file: give the folder"),
    "train with unused keypoints": (
        "train --config-file quickstart/keypoint_rcnn.yaml {points} "
        "MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE 1000000",
        "no image has an object with 1000000 visible keypoints"),
    "evaluate without weights": ("train --eval-only {data}", "--eval-only without weights would"),
}  # fmt: skip
TABLE = COMMANDS


@pytest.fixture(scope="module")
def places(coco, tmp_path_factory):
    """What stands in the braces."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "file.txt").write_text("a text")
    (folder / "empty").mkdir()
    (folder / "loop").symlink_to("pool")
    (folder / "pool").symlink_to("loop")
    torch.save({"a": torch.ones(1)}, folder / "weights.pth")
    sigmas = ["TEST.KEYPOINT_OKS_SIGMAS", "[0.1,0.1,0.1]"]
    tiny = ["--config-file", FASTER, *TINY, "OUTPUT_DIR", f"{folder}/run"]
    points = [*TINY, "OUTPUT_DIR", f"{folder}/run", *custom(coco, "keypoints.json"), *sigmas]
    return {
        "{out}": [str(folder / "out")],
        "{file}": [str(folder / "file.txt")],
        "{empty}": [str(folder / "empty")],
        "{weights}": [str(folder / "weights.pth")],
        "{ready}": [f"{folder}/weights.pth", f"{coco}/images/1.png", "--config-file", FASTER],
        "{image}": [str(coco / "images" / "1.png")],
        "{coco}": [str(coco)],
        "{faster}": [FASTER],
        "{tiny}": tiny,
        "{data}": [*tiny, *custom(coco, "boxes.json")],
        "{points}": points,
        "{long}": ["x" * 5000],
        "{loop}": [str(folder / "loop")],
    }


def words_of(text, places):
    """The words of a command."""
    for word in text.split():
        if word in places:
            yield from places[word]
            continue
        for name, (value, *_) in places.items():
            word = word.replace(name, value)
        yield "" if word == "''" else word


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_cannot_be_followed(name, places, tmp_path, monkeypatch, capsys):
    text, said = COMMANDS[name]
    monkeypatch.chdir(tmp_path)
    forget_loggers()
    try:
        status = cli.main([*words_of(text, places)])
    except SystemExit as end:  # of argparse
        status = end.code
    assert status == 2
    stderr = capsys.readouterr().err
    if stderr.startswith("usage: "):
        assert stderr.count("error: ") == 1 and "Traceback" not in stderr
    else:
        stderr = message(stderr)
    assert " ".join(words_of(said, places)) in " ".join(stderr.split())
    assert not list(tmp_path.iterdir())  # nothing has been written


# --- what is no one's input ---


def fail(_):
    raise KeyError("hidden")


def test_an_unexpected_error_is_one_line_and_debug_shows_the_traceback(monkeypatch, capsys):
    monkeypatch.setitem(cli.COMMANDS, "configs", fail)
    assert cli.main(["configs"]) == 1
    said = message(capsys.readouterr().err)
    assert said.startswith("KeyError in test_commands.py, line ") and said.endswith(
        ": 'hidden'. This is a fault of hrnet_det or of a library, not of your input: the same "
        "command with --debug shows the traceback"
    )
    for words in (["--debug", "configs"], ["configs", "--debug"]):
        assert cli.main(words) == 1
        stderr = capsys.readouterr().err
        assert stderr.startswith("Traceback (most recent call last)")
        assert stderr.endswith(f"error: {said}\n")


@pytest.mark.parametrize(
    ("end", "status", "said"), [(BrokenPipeError, 1, ""), (KeyboardInterrupt, 130, "interrupted\n")]
)
def test_a_command_that_is_ended(end, status, said, monkeypatch, capsys):
    def stop(_):
        raise end

    monkeypatch.setitem(cli.COMMANDS, "configs", stop)
    assert cli.main(["configs"]) == status
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("words", [["plan", "--config-file", "no.yaml"], ["train"]])
def test_debug_shows_the_traceback_of_bad_input_too(words, capsys):
    for debug in ([], ["--debug"]):
        assert cli.main([*words, *debug]) == 2
        stderr = capsys.readouterr().err
        assert ("Traceback" in stderr) == bool(debug) and "\nerror: " in f"\n{stderr}"


def test_a_fault_of_a_training_is_in_its_log(places, tmp_path, monkeypatch, capsys):
    def stumble(*_, **__):
        raise TypeError("stumbled")

    monkeypatch.setattr("hrnet_det.engine.train.write_report", stumble)
    monkeypatch.setattr("hrnet_det.engine.train._train", lambda *_, **__: (None, "", {}))
    forget_loggers()
    output = tmp_path / "run"
    assert cli.main(["train", *places["{data}"], "OUTPUT_DIR", str(output)]) == 1
    forget_loggers()
    out, stderr = capsys.readouterr()
    assert message(stderr).endswith(f": {output}/log.txt has the traceback")
    assert "Traceback" not in out
    log = (output / "log.txt").read_text()
    assert re.search(r"ended by an error:\nTraceback .*\nTypeError: stumbled\n", log, re.DOTALL)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InputError("a: give b"), 2, "a: give b"),
        (PermissionError(13, "Permission denied", "/x/y"), 2, "/x/y: Permission denied"),
        (OSError(28, "No space left on device", "/x/y"), 2, "/x/y: No space left on device"),
        (OSError(28, "No space left on device"), 2, "No space left on device: make room where "),
        (OSError("of no file"), 1, "OSError: of no file. This is a fault of"),
        (MemoryError(), 1, "the memory does not suffice (MemoryError): a smaller batch, SOLVER."),
        (RuntimeError("CUDA out of memory. Tried"), 1, "the memory does not suffice (CUDA out of"),
        (ValueError("a\nb " * 1000), 1, "ValueError: a b a b a b"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_told_of_an_error(error, status, said, capsys):
    assert tell(error) == status
    assert message(capsys.readouterr().err).startswith(said)
