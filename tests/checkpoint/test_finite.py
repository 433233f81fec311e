"""Tensors that no network computes with are refused wherever weights are loaded, by name."""

import json

import pytest
import torch
from helpers.tiny import TINY
from safetensors.torch import save_file

from hrnet_det import Detector, model_zoo
from hrnet_det.checkpoint import Checkpointer
from hrnet_det.checkpoint.convert import convert
from hrnet_det.checkpoint.finite import check_state, check_values
from hrnet_det.cli import main
from hrnet_det.errors import InputError

NAN, INF = float("nan"), float("inf")
END = (
    ". The file is damaged, or of a training that has diverged: take an earlier checkpoint or "
    "another copy"
)


def refusal(check, content):
    with pytest.raises(InputError) as error:
        check(content, "a.pth")
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "tensor", "fault"),
    [
        ("w", torch.tensor([1.0, NAN, INF, -INF]), "of 4 values 1 are NaN and 2 infinite"),
        ("w", torch.tensor(NAN, dtype=torch.bfloat16), "of 1 values 1 are NaN and 0 infinite"),
        ("w", torch.tensor([1e39, 1.0]).double() * 1e10, "of 2 values 0 are NaN and 1 infinite"),
        ("bn.running_mean", torch.tensor([NAN]), "of 1 values 1 are NaN and 0 infinite"),
        ("bn.running_var", torch.tensor([1.0, -0.5, 0]), "1 of 3 variances are negative"),
        ("bn.num_batches_tracked", torch.tensor(NAN), "of 1 values 1 are NaN and 0 infinite"),
        ("bn.num_batches_tracked", torch.tensor(1j), "complex64, not floating-point numbers"),
        ("w", torch.ones(2, dtype=torch.complex64), "complex64, not floating-point numbers"),
        ("w", torch.ones(2, dtype=torch.int64), "int64, not floating-point numbers"),
        ("w", torch.ones(2, dtype=torch.uint8), "uint8, not floating-point numbers"),
        ("w", torch.ones(2, dtype=torch.bool), "bool, not floating-point numbers"),
        ("w", torch.ones(2, device="meta"), "meta, not dense numbers"),
        ("w", torch.eye(2).to_sparse(), "sparse_coo, not dense numbers"),
    ],
    ids=lambda x: x if isinstance(x, str) else str(x.dtype),
)
def test_what_is_refused(name, tensor, fault):
    weights = {"fine": torch.ones(3), name: tensor}
    said = refusal(check_values, weights)
    assert said == f"a.pth: 1 of 2 tensors cannot be weights: {name} ({fault}){END}"


def test_what_is_taken():
    check_values(
        {
            "largest": torch.tensor([torch.finfo(torch.float32).max, -3e38, 1e-45]),
            "double": torch.ones(2, dtype=torch.float64),
            "half": torch.tensor([65504.0], dtype=torch.float16),
            "empty": torch.zeros(0),
            "bn.running_var": torch.zeros(2),
            "bn.num_batches_tracked": torch.tensor(7),
        },
        "a.pth",
    )


def test_state_of_a_training():
    momentum = {"state": {0: {"momentum_buffer": torch.tensor([1.0, INF])}, 1: {"step": 3}}}
    state = {"trainer": {"optimizer": momentum, "hooks": [{"n": torch.tensor(3)}, (NAN, "text")]}}
    assert refusal(check_state, state) == (
        "a.pth: 1 tensors of its training state are unusable: "
        "trainer.optimizer.state.0.momentum_buffer (of 2 values 0 are NaN and 1 infinite)" + END
    )
    del momentum["state"][0]
    check_state(state, "a.pth")


@pytest.fixture(scope="module")
def weights():
    """A tiny detector's, of which one value of a statistic is not finite; and its config."""
    cfg = model_zoo.get_config("quickstart/faster_rcnn.yaml", TINY)
    weights = model_zoo.build_detector(cfg).state_dict()
    weights[NAME][1] = NAN
    return weights, cfg.dump()


NAME = "backbone.bottom_up.bn1.running_mean"
SAID = f"tensors cannot be weights: {NAME} (of 64 values 1 are NaN and 0 infinite){END}"


def test_every_place_that_loads_weights(weights, tmp_path, capsys):
    tensors, config = weights
    path = tmp_path / "a.safetensors"
    save_file(tensors, path, {"hrnet_det": json.dumps({"config": config, "classes": []})})
    said = f"{path}: 1 of {len(tensors)} {SAID}"
    with pytest.raises(InputError) as error:
        Detector.from_pretrained(path, device="cpu")
    assert str(error.value) == said
    with pytest.raises(InputError) as error:
        convert(path, tmp_path / "b.pth")
    assert str(error.value) == said and not (tmp_path / "b.pth").exists()
    assert main(["convert", str(path), str(tmp_path / "b.pth")]) == 2
    assert capsys.readouterr().err == f"error: {said}\n"
    cfg = model_zoo.get_config("quickstart/faster_rcnn.yaml", TINY)
    model = model_zoo.build_detector(cfg)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(InputError) as error:  # of a training and of --eval-only
        Checkpointer(model).load(str(path))
    assert str(error.value) == said
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_momentum_of_a_run_that_is_gone_on_with(tmp_path, caplog):
    model = torch.nn.Conv2d(1, 1, 1)
    sound = Checkpointer(model, str(tmp_path))
    sound.save("model_0000009", iteration=9, optimizer={"momentum": torch.tensor([1.0])})
    sound.save("last", optimizer={"momentum": torch.tensor([NAN])})
    assert sound.resume_or_load("", resume=True)["iteration"] == 9
    assert f"skips what cannot be used: {tmp_path / 'last.pth'}: 1 tensors of its" in caplog.text
    assert "optimizer.momentum (of 1 values 1 are NaN" in caplog.text
    sound.load(str(tmp_path / "last.pth"))  # its weights alone can be started from
