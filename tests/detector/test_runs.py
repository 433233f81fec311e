"""Detectors of trainings: their weights, and their folders."""

import shutil

import torch
from helpers.foreign_weights import image, same, stated
from helpers.refusals import error_of
from helpers.tiny import CLASSES

from hrnet_det import Detector
from hrnet_det.checkpoint.io import read_weights


def test_a_run_of_this_trainer(run, tmp_path):
    expected = Detector.from_pretrained(run / "model_final.pth", device="cpu")
    assert expected.class_names == CLASSES
    assert stated(expected, "CONVENTIONS", "ROI_HEADS.NUM_CLASSES") == ["detectron2", 3]
    assert stated(expected, "MIN_SIZE_TEST", group="INPUT") == [64]
    # of model_final.safetensors, with no other file
    path = tmp_path / "alone.safetensors"
    path.write_bytes((run / "model_final.safetensors").read_bytes())
    alone = Detector.from_pretrained(path, device="cpu")
    assert same(alone(image()), expected(image()))
    assert (alone.class_names, alone._data) == (expected.class_names, expected._data)
    assert alone.run.text() == expected.run.text() and alone._data["images"] == 6
    # without the config inside, the one beside it
    content = torch.load(run / "model_final.pth", weights_only=True)
    del content["hrnet_det"]
    path = tmp_path / "model.pth"
    torch.save(content, path)
    assert error_of(lambda: Detector.from_pretrained(path)) == (
        f"{path} does not say which config it belongs to, and there is no "
        f"{tmp_path / 'config.yaml'}: give the config, config= in Python or --config-file"
    )
    (tmp_path / "config.yaml").write_text((run / "config.yaml").read_text())
    found = Detector.from_pretrained(path, device="cpu")
    assert found.class_names == ["class 0", "class 1", "class 2"]
    assert same(found(image()), expected(image()))
    given = run / "config.yaml"
    (tmp_path / "config.yaml").unlink()
    for config in (given, str(given), expected.cfg):
        again = Detector.from_pretrained(str(path), config=config, device="cpu")
        assert same(again(image()), expected(image()))


def test_weights_of_a_training_say_what_they_were_trained_on(run):
    """Images of 64 to 96 pixels."""
    data = read_weights(run / "model_final.pth").metadata["data"]
    assert 64 <= data["shorter_side"][1] <= data["longer_side"][1] <= 96
    assert data["most_objects"] >= 1 and len(data["size"]) == 2


def test_a_runs_folder(run, tmp_path, caplog):
    expected = Detector.from_pretrained(run / "model_final.pth", device="cpu")
    found = Detector.from_pretrained(run, device="cpu")
    assert same(found(image()), expected(image()))
    assert f"{run}: weights model_final.pth, of the end of the training" in caplog.text
    shutil.copy(run / "model_final.pth", tmp_path / "model_best.pth")
    assert same(Detector.from_pretrained(str(tmp_path), device="cpu")(image()), expected(image()))
    assert f"{tmp_path}: weights model_best.pth, of the best evaluation" in caplog.text
    (tmp_path / "model_best.pth").unlink()
    said = error_of(lambda: Detector.from_pretrained(tmp_path))
    assert said.startswith(f"the folder {tmp_path} has no weights of a training (model_best.pth, ")
