"""Which weights of a run's folder are used."""

import re

import pytest

from hrnet_det.checkpoint.run_weights import run_weights, said_of
from hrnet_det.errors import InputError, MissingInputError


def test_the_best_weights_come_first_then_the_final_then_the_last(tmp_path):
    for name, said in (
        ("model_0000009.pth", "of the last checkpoint of a training that has not ended"),
        ("model_0000019.pth", "of the last checkpoint of a training that has not ended"),
        ("model_final.safetensors", "of the end of the training"),
        ("model_final.pth", "of the end of the training"),
        ("model_best.pth", "of the best evaluation"),
    ):
        (tmp_path / name).touch()
        assert run_weights(tmp_path) == run_weights(str(tmp_path)) == tmp_path / name
        assert said_of(tmp_path / name) == said


def test_only_files_of_the_forms_that_can_be_used_are_named(tmp_path):
    (tmp_path / "model_final.safetensors").touch()
    with pytest.raises(
        InputError, match=rf"^the folder {tmp_path} has no weights of a training \("
    ):
        run_weights(tmp_path, suffixes=(".pth",))
    (tmp_path / "model_0000009.pth").touch()
    assert run_weights(tmp_path, suffixes=(".pth",)).name == "model_0000009.pth"
    assert run_weights(tmp_path, suffixes=(".safetensors",)).name == "model_final.safetensors"


def test_a_folder_that_is_not_there_or_has_no_weights_is_said(tmp_path):
    absent = tmp_path / "no"
    said = rf"^the folder {re.escape(str(absent))} of a training is not there$"
    with pytest.raises(MissingInputError, match=said):
        run_weights(absent)
    (tmp_path / "model_best.pth").mkdir()  # no file
    with pytest.raises(InputError, match=r"model_final\.safetensors, model_0000999\.pth, \.\.\.\)"):
        run_weights(tmp_path)
