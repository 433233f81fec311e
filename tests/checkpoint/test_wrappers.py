"""What other tools leave around and beside a detector's tensors: taken off, left out, and told."""

import pytest
import torch
import torchvision
from helpers.tiny import TINY

from hrnet_det import HRNet, model_zoo
from hrnet_det.checkpoint import Checkpointer
from hrnet_det.checkpoint.convert import convert
from hrnet_det.checkpoint.formats import IMAGENET, MMDET
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.checkpoint.wrappers import FIRST_SET, TWO_SETS, unwrap
from hrnet_det.cli import main
from hrnet_det.config.yaml import merge_overrides
from hrnet_det.detector import Detector
from hrnet_det.errors import InputError

ONE = torch.ones(1)


@pytest.fixture(scope="module")
def detector():
    cfg = model_zoo.get_config("quickstart/faster_rcnn")
    merge_overrides(cfg, [*TINY, "MODEL.RPN.CONV_DIMS", "[-1]"])
    torch.manual_seed(0)
    return model_zoo.build_detector(cfg)


def loaded(model, path):
    """The report of a load that changes every tensor."""
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.zero_()
    checkpointer = Checkpointer(model)
    checkpointer.load(str(path))
    assert checkpointer.report.complete
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    return checkpointer.report


def mmdet(model):
    return {MMDET.to_theirs(name): tensor for name, tensor in model.state_dict().items()}


def test_the_buffers_of_an_ema_hook_are_left_out_and_told(detector, tmp_path):
    weights = mmdet(detector)
    copies = {f"ema_{name.replace('.', '_')}": tensor + 1 for name, tensor in weights.items()}
    assert "ema_backbone_conv1_weight" in copies
    torch.save({"state_dict": weights | copies, "meta": {}}, tmp_path / "ema.pth")
    reason = TWO_SETS
    assert loaded(detector, tmp_path / "ema.pth").dropped == {reason: list(copies)}
    said = convert(tmp_path / "ema.pth", tmp_path / "plain.pth")
    assert f"left out: {len(copies)} (ema_backbone_conv1_weight, " in said
    assert loaded(detector, tmp_path / "plain.pth").dropped == {}


def two_sets(model, form):
    """A file's content, and the names of the second set: the model's parameters; the first's are
    others. mmcv's hook keeps the parameters twice, mmengine's a whole model."""
    parameters = {MMDET.to_theirs(name) for name, _ in model.named_parameters()}
    weights = mmdet(model)
    first = {name: t + 1 if name in parameters else t for name, t in weights.items()}
    if form == "mmengine":
        second = {f"module.{name}": tensor for name, tensor in weights.items()}
        second["steps"] = torch.tensor(7)
        return {"state_dict": first, "ema_state_dict": second, "meta": {}}, list(second)
    second = {
        f"ema_{name.replace('.', '_')}": weights[name] for name in first if name in parameters
    }
    return {"meta": {}, "state_dict": first | second}, list(second)


@pytest.mark.parametrize("form", ["mmcv", "mmengine"])
def test_the_second_set_is_taken_where_it_is_asked_for(detector, tmp_path, form):
    content, second = two_sets(detector, form)
    path = tmp_path / "two.pth"
    torch.save(content, path)
    (reason, left) = loaded(detector, f"{path}#ema").dropped.popitem()
    if form == "mmcv":
        first = {MMDET.to_theirs(name) for name, _ in detector.named_parameters()}
        assert (reason, set(left)) == (FIRST_SET, first)
    else:
        assert (reason, left) == ("beside the tensors in module.", ["steps"])
    with pytest.raises(AssertionError):  # the first set is another one
        loaded(detector, path)
    file = read_weights(path)
    assert file.leftovers == {TWO_SETS: second}
    assert "(#ema after the file's name: it)" in TWO_SETS


def test_a_second_set_that_lacks_a_parameter_is_not_completed_with_the_first(detector, tmp_path):
    content, _ = two_sets(detector, "mmcv")
    path = tmp_path / "two.pth"
    del content["state_dict"]["ema_backbone_conv1_weight"]
    torch.save(content, path)
    with pytest.raises(InputError) as error:
        Checkpointer(detector).load(f"{path}#ema")
    assert str(error.value) == (
        f"{path}#ema: 1 of {len(mmdet(detector))} tensors are not in the second set "
        "(backbone.conv1.weight): the file is damaged; leave #ema away for the first set"
    )


def test_the_second_set_in_every_command(detector, tmp_path, capsys):
    content, _ = two_sets(detector, "mmcv")
    path = tmp_path / "two.pth"
    torch.save(content, path)
    assert main(["convert", f"{path}#ema", str(tmp_path / "second.pth")]) == 0
    assert loaded(detector, tmp_path / "second.pth").dropped == {}
    found = Detector.from_pretrained(f"{path}#ema", device="cpu").report
    assert found.complete and found.path == f"{path}#ema"


def test_a_file_without_a_second_set(detector, tmp_path):
    path = tmp_path / "one.pth"
    torch.save({"state_dict": mmdet(detector)}, path)
    with pytest.raises(InputError) as error:
        Checkpointer(detector).load(f"{path}#ema")
    assert str(error.value) == (
        f"{path}#ema: the file has one set of parameters, no second one as EMA hooks of "
        "mmdetection keep it (ema_..., ema_state_dict): leave #ema away"
    )
    named = tmp_path / "odd.pth#ema"
    path.rename(named)  # a file that has such a name is meant
    assert loaded(detector, named).complete
    with pytest.raises(InputError, match="are not there"):
        Checkpointer(detector).load(f"{path}#ema")


@pytest.mark.parametrize(
    ("prefix", "beside", "dropped"),
    [
        ("module.", {}, {}),
        ("module.", {"n_averaged": ONE}, {"beside the tensors in module.": ["n_averaged"]}),
        ("_orig_mod.", {}, {}),
        ("module._orig_mod.", {}, {}),
        ("model.", {"loss.weight": ONE}, {"beside the tensors in model.": ["loss.weight"]}),
        ("detector.", {}, {}),
    ],
)
def test_wrappers_are_taken_off(detector, tmp_path, prefix, beside, dropped):
    weights = {prefix + name: tensor for name, tensor in detector.state_dict().items()}
    torch.save({"state_dict": weights | beside}, tmp_path / "wrapped.pth")
    assert loaded(detector, tmp_path / "wrapped.pth").dropped == dropped


def test_of_teacher_and_student_the_teacher_is_taken(detector, tmp_path):
    weights = mmdet(detector)
    both = {f"student.{name}": tensor + 1 for name, tensor in weights.items()}
    teacher = {f"teacher.{name}": tensor for name, tensor in weights.items()}
    torch.save({"state_dict": both | teacher}, tmp_path / "both.pth")
    report = loaded(detector, tmp_path / "both.pth")
    assert report.dropped == {"beside the tensors in teacher.": list(both)}
    assert str(len(both)) in str(report) and "beside the tensors in teacher." in str(report)


@pytest.mark.parametrize(
    "key", ["model", "state_dict", "model_state_dict", "ema_state_dict", "net", "weights"]
)
def test_keys_under_which_tensors_are(tmp_path, key):
    torch.save({"epoch": 3, key: {"a.weight": ONE}, "optimizer": {}}, tmp_path / "a.pth")
    file = read_weights(tmp_path / "a.pth")
    assert list(file.weights) == ["a.weight"] and set(file.rest) == {"epoch", "optimizer"}


def test_tensors_may_be_deeper(tmp_path):
    inside = {"module": {"a.weight": ONE}, "updates": 7}
    torch.save({"epoch": 3, "ema": inside}, tmp_path / "a.pth")
    file = read_weights(tmp_path / "a.pth")
    assert list(file.weights) == ["a.weight"] and file.rest == {"epoch": 3, "updates": 7}


def test_what_is_not_around_all_is_no_wrapper():
    weights = {"model.a": ONE, "backbone.b": ONE}
    assert unwrap(weights) == (weights, {})
    assert unwrap({"ema_other": ONE, "a.b": ONE}) == ({"ema_other": ONE, "a.b": ONE}, {})


def test_an_hrnet_of_a_segmentation_is_found(tmp_path):
    """HRNet-Semantic-Segmentation's files: model., and the weights of its loss."""
    body = HRNet(variant="w18_small_v1").state_dict()
    weights = {f"model.{name}": tensor for name, tensor in body.items()}
    torch.save(weights | {"loss.criterion.weight": torch.ones(19)}, tmp_path / "a.pth")
    file = read_weights(tmp_path / "a.pth")
    assert list(file.weights) == list(body) and IMAGENET.recognises(file.weights)
    assert file.leftovers == {"beside the tensors in model.": ["loss.criterion.weight"]}


# --- other networks ---


@pytest.fixture(scope="module")
def resnets():
    plain = torchvision.models.resnet18().state_dict()
    return {
        "torchvision": plain,
        "mmdetection": {f"backbone.{name}": tensor for name, tensor in plain.items()},
        "detectron2": {
            "backbone.bottom_up.res2.0.conv1.weight": torch.ones(64, 64, 1, 1),
            "backbone.fpn_lateral2.weight": torch.ones(256, 256, 1, 1),
        },
    }


@pytest.mark.parametrize("project", ["torchvision", "mmdetection", "detectron2"])
def test_a_resnet_is_called_one(detector, resnets, tmp_path, project):
    path = tmp_path / "resnet.pth"
    torch.save(resnets[project], path)
    with pytest.raises(InputError) as error:
        Checkpointer(detector).load(str(path))
    said = str(error.value).splitlines()[0]
    assert "a ResNet" in said and "not whole" not in said
    with pytest.raises(InputError, match="is of a ResNet, and has no HRNet"):
        convert(path, tmp_path / "out.pth")
