"""Loading of weights: ImageNet HRNets, checkpoints of detectors, and files that are refused."""

import logging
import os
import pickle
import sys

import pytest
import timm
import torch
from safetensors.torch import save_file

from hrnet_det import model_zoo
from hrnet_det.checkpoint import Checkpointer
from hrnet_det.config import merge_overrides
from hrnet_det.engine import Trainer
from hrnet_det.errors import InputError, MissingInputError

BACKBONE = "backbone.bottom_up."


HEAD = ("incre_modules", "downsamp_modules", "final_layer", "classifier")


def detector(*words, config="quickstart/faster_rcnn"):
    cfg = model_zoo.get_config(config)
    merge_overrides(cfg, ["MODEL.DEVICE", "cpu", *words])
    return Trainer.build_model(cfg)


def load(path, *words, **kwargs):
    model = detector(*words, **kwargs)
    Checkpointer(model).load(str(path))
    return model


def refusal(path, *words, kind=InputError, **kwargs):
    """The message with which weights are refused, which leaves the model as it was."""
    model = detector(*words, **kwargs)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(kind) as error:
        Checkpointer(model).load(str(path))
    message = str(error.value)
    assert str(path) in message or "detector's with another" in message
    if "detector's with another" not in message:
        assert all(torch.equal(tensor, before[n]) for n, tensor in model.state_dict().items())
    return message


@pytest.fixture(scope="module")
def imagenet():
    """timm's HRNet-W18-small-v1, which is w18_small_v1, with random weights and statistics."""
    torch.manual_seed(0)
    network = timm.create_model("hrnet_w18_small")
    weights = network.state_dict()
    return {
        name: torch.rand(tensor.shape) if tensor.is_floating_point() else tensor + 3
        for name, tensor in weights.items()
    }


@pytest.fixture
def save(tmp_path):
    """Saves something as a file and returns its path."""

    def write(content, name="weights.pth"):
        path = tmp_path / name
        if name.endswith(".safetensors"):
            save_file(content, path)
        else:
            torch.save(content, path)
        return path

    return write


# --- ImageNet weights ---


@pytest.mark.parametrize("form", ["bare", "state_dict", "model", "module.", "safetensors"])
def test_imagenet_weights_arrive_in_the_backbone(imagenet, save, form, caplog):
    if form == "module.":
        path = save({"state_dict": {f"module.{n}": t for n, t in imagenet.items()}, "epoch": 3})
    elif form == "safetensors":
        path = save(imagenet, "weights.safetensors")
    else:
        path = save(imagenet if form == "bare" else {form: imagenet})
    torch.manual_seed(1)
    plain = detector()
    torch.manual_seed(1)
    with caplog.at_level(logging.INFO, "detectron2.hrnet_det"):
        model = load(path)
    loaded = model.state_dict()
    names = [name.removeprefix(BACKBONE) for name in loaded if name.startswith(BACKBONE)]
    assert len(names) == len(plain.backbone.bottom_up.state_dict()) == 426
    for name in names:
        assert torch.equal(loaded[BACKBONE + name], imagenet[name]), name
    for name, tensor in plain.state_dict().items():  # everything else is as it was
        if not name.startswith(BACKBONE):
            assert torch.equal(loaded[name], tensor), name
    others = len(imagenet) - len(names)
    assert others == len([n for n in imagenet if n.split(".")[0] in HEAD]) == 126
    assert "all 426 backbone tensors loaded, 126 others" in caplog.text
    assert "classification head) left out on purpose" in caplog.text
    assert "everything behind the backbone starts from random weights" in caplog.text


def test_imagenet_weights_without_counters_and_for_frozen_norms(imagenet, save):
    old = {n: t for n, t in imagenet.items() if not n.endswith("num_batches_tracked")}
    model = load(save(old), "MODEL.HRNET.NORM", "FrozenBN")
    assert torch.equal(model.backbone.bottom_up.bn1.running_mean, imagenet["bn1.running_mean"])
    model = load(save(imagenet), "MODEL.HRNET.NORM", "FrozenBN", "MODEL.BACKBONE.FREEZE_AT", "2")
    assert torch.equal(model.backbone.bottom_up.bn2.weight, imagenet["bn2.weight"])
    assert torch.equal(
        model.backbone.bottom_up.layer1[0].bn3.running_var, imagenet["layer1.0.bn3.running_var"]
    )


def test_imagenet_weights_for_some_branches(imagenet, save):
    path = save(imagenet)
    words = ["MODEL.HRFPN.IN_FEATURES", "['hr2', 'hr3']"]
    model = load(path, *words)
    loaded = model.backbone.bottom_up.state_dict()
    assert not any(n.startswith("stage4.0.fuse_layers.3") for n in loaded)
    assert all(torch.equal(tensor, imagenet[name]) for name, tensor in loaded.items())


@pytest.mark.parametrize(
    ("network", "variant", "model_has", "file_has"),
    [
        ("hrnet_w18_small_v2", "w18_small_v1", "16/32/64/128 and 1/1/1", "18/36/72/144 and 1/3/2"),
        ("hrnet_w18_small_v2", "w18", "18/36/72/144 and 1/4/3", "18/36/72/144 and 1/3/2"),
        # All that w18_small_v2 wants is in w18, in the same shapes: a part of another network.
        ("hrnet_w18", "w18_small_v2", "18/36/72/144 and 1/3/2", "18/36/72/144 and 1/4/3"),
    ],
)
def test_another_variant_is_refused(save, network, variant, model_has, file_has):
    path = save(timm.create_model(network).state_dict())
    message = refusal(path, "MODEL.HRNET.VARIANT", variant)
    assert (
        f"{path} does not fit MODEL.HRNET.VARIANT, which has widths {model_has} modules" in message
    )
    assert f"the file has widths {file_has} modules" in message


def test_a_changed_tensor_is_refused(imagenet, save):
    name = "stage3.0.branches.1.0.conv2.weight"
    renamed = {
        n.replace("stage3.0.branches.1.0.conv2", "stage3.0.x"): t for n, t in imagenet.items()
    }
    message = refusal(save(renamed))
    assert f"1 of 426 tensors are missing ({name}), 0 have another shape (none)" in message
    assert "1 are too many (stage3.0.x.weight)" in message
    deleted = {n: t for n, t in imagenet.items() if n != name}
    assert f"tensors are missing ({name}), 0 have another shape (none), 0 are too many" in refusal(
        save(deleted)
    )
    reshaped = imagenet | {name: imagenet[name][:, :-1]}
    assert f"tensors are missing (none), 1 have another shape ({name}), 0 are" in refusal(
        save(reshaped)
    )


# --- detectors' checkpoints ---


def test_a_detector_comes_back_exactly(tmp_path):
    torch.manual_seed(0)
    model = detector()
    Checkpointer(model, str(tmp_path)).save("model_final", iteration=7)
    torch.manual_seed(1)
    other = detector()
    rest = Checkpointer(other).load(str(tmp_path / "model_final.pth"))
    assert rest == {"iteration": 7, "matching_heuristics": False}
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_a_detector_with_other_classes_keeps_the_rest_and_says_so(tmp_path, caplog):
    model = detector("MODEL.ROI_HEADS.NUM_CLASSES", "5")
    Checkpointer(model, str(tmp_path)).save("five")
    with caplog.at_level(logging.WARNING, "fvcore"):
        other = load(tmp_path / "five.pth", "MODEL.ROI_HEADS.NUM_CLASSES", "2")
    assert torch.equal(other.backbone.fpn_convs[0].weight, model.backbone.fpn_convs[0].weight)
    assert "roi_heads.box_predictor.cls_score.weight" in caplog.text
    assert other.roi_heads.box_predictor.cls_score.weight.shape[0] == 3


def test_a_detector_of_another_variant_is_refused(tmp_path):
    Checkpointer(detector("MODEL.HRNET.VARIANT", "w18_small_v2"), str(tmp_path)).save("v2")
    message = refusal(tmp_path / "v2.pth")
    assert message.startswith("these weights are a detector's with another MODEL.HRNET.VARIANT or")
    assert "have another shape (backbone.bottom_up." in message


def test_a_detector_with_fewer_modules_of_the_same_widths_is_refused(tmp_path):
    for file, net, said in (
        ("w18_small_v2", "w18", "are missing"),
        ("w18", "w18_small_v2", "are too many"),
    ):
        path = tmp_path / f"{file}.pth"
        torch.save({"model": detector("MODEL.HRNET.VARIANT", file).state_dict()}, path)
        message = refusal(path, "MODEL.HRNET.VARIANT", net)
        assert said in message and "have another shape" not in message
        assert "backbone.bottom_up." in message


def test_another_norm_is_not_called_another_variant(imagenet, save):
    message = refusal(save(imagenet), "MODEL.HRNET.NORM", "LN")
    assert "does not fit MODEL.HRNET.NORM" in message and "VARIANT" not in message


def test_a_checkpointer_can_be_used_again_after_a_refusal(tmp_path, save):
    checkpointer = Checkpointer(detector(), str(tmp_path))
    checkpointer.save("good")
    with pytest.raises(InputError):
        checkpointer.load(str(save({"x": torch.zeros(1)})))
    assert checkpointer.load(str(tmp_path / "good.pth")) == {"matching_heuristics": False}


# --- files that are refused ---


class Runs:
    """An object whose unpickling makes a file."""

    def __init__(self, sentinel):
        self.sentinel = sentinel

    def __reduce__(self):
        return os.system, (f"touch {self.sentinel}",)


@pytest.mark.parametrize("name", ["evil.pth", "evil.pkl"])
def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path, save, imagenet, name):
    sentinel = tmp_path / "executed"
    path = tmp_path / name
    content = {"model": imagenet, "author": Runs(sentinel)}
    if name.endswith(".pkl"):
        path.write_bytes(pickle.dumps(content))
    else:
        save(content, name)
    message = refusal(path)
    assert message.startswith(f"{path} cannot be read as plain tensors: ")
    assert "Files that run code when they are unpickled are not loaded." in message
    assert "save the state_dict alone, with torch.save as .pth, or as .safetensors" in message
    assert "weights_only" not in message  # torch's advice is to switch the check off
    if name.endswith(".pth"):
        assert "it holds posix.system, which is no tensor" in message
    assert not sentinel.exists()


@pytest.mark.parametrize("share", [0, 0.1, 0.9])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file_is_refused(imagenet, save, share, suffix):
    path = save(imagenet, "weights" + suffix)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    message = refusal(path)
    if suffix == ".pth":
        assert "cannot be read as plain tensors: damaged" in message
        assert "Fetch a damaged file again" in message
    else:
        assert f"{path} is no whole safetensors file: " in message


@pytest.mark.parametrize(
    "text", ["<html>404</html>", "version https://git-lfs", "a\nb", "t", "(.", "S'"]
)
def test_text_in_place_of_weights_is_refused(tmp_path, text):
    path = tmp_path / "weights.pth"
    path.write_text(text)
    assert f"{path} cannot be read as plain tensors: damaged" in refusal(path)


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "none.pth"
    assert refusal(path, kind=MissingInputError) == f"weights {path} are not there"


def test_foreign_content_is_named(save):
    resnet = {"stem.conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(2)}
    message = refusal(save(resnet))
    assert (
        "none of its 2 tensors belongs to this model (the file has stem.conv1.weight, fc.bias; "
        in message
    )
    assert "has no dictionary of tensors, but a list" in refusal(save([torch.zeros(1)]))
    message = refusal(save({"state_dict": {"conv1.weight": torch.zeros(1), "lr": 0.1, 5: 6}}))
    assert "is no state_dict: 2 of its 3 entries are no named tensors (lr, 5)" in message


def test_imagenet_weights_for_a_model_without_hrnet(imagenet, save):
    message = refusal(
        save(imagenet), "MODEL.BACKBONE.NAME", "build_resnet_backbone",
        "MODEL.RESNETS.OUT_FEATURES", "['res2']", "MODEL.RPN.IN_FEATURES", "['res2']",
        "MODEL.ROI_HEADS.IN_FEATURES", "['res2']", "MODEL.ANCHOR_GENERATOR.SIZES", "[[32]]",
    )  # fmt: skip
    assert "is an ImageNet HRNet, but this model has no HRNet" in message


def test_safetensors_missing_says_what_to_install(imagenet, save, monkeypatch):
    path = save(imagenet, "weights.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    assert refusal(path) == f"{path} needs a package: pip install safetensors"
