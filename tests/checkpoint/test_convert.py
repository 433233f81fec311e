"""Weights files from one project's naming into another's: tensors, metadata, refusals."""

import argparse
import json

import pytest
import timm
import torch
import yaml
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from helpers.legacy_reference import random_weights
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hrnet_det import get_cfg, model_zoo
from hrnet_det.checkpoint.convert import convert
from hrnet_det.checkpoint.formats import HRNET_OBJECT_DETECTION, MASKRCNN_BENCHMARK, MMDET, OWN
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.checkpoint.model_config import config_of, known_config
from hrnet_det.cli import main
from hrnet_det.config.files import config_folder
from hrnet_det.config.yaml import load_config
from hrnet_det.errors import InputError, MissingInputError

BODY = "backbone.bottom_up."
CLASSES = ["ant", "bee", "cat", "dog", "eel"]
IMAGENET_HEAD = ("incre_modules", "downsamp_modules", "final_layer", "classifier")
W18 = {"faster_rcnn": "1x", "cascade_mask_rcnn": "20e", "fcos": "1x"}
SMALL = ["MODEL.HRNET.VARIANT", "w18_small_v1", "MODEL.HRFPN.OUT_CHANNELS", "32"]
SMALL += ["MODEL.ROI_HEADS.NUM_CLASSES", "5", "MODEL.FCOS.NUM_CLASSES", "5", "MODEL.DEVICE", "cpu"]


def random_like(tensors, seed=0):
    """Other values in every tensor, so that none can be taken for another one."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(tensor.shape, generator=generator)
        if tensor.is_floating_point()
        else torch.randint(1, 10**6, tensor.shape, generator=generator)
        for name, tensor in tensors.items()
    }


def own(kind, *words, conventions="mmdet"):
    """Tensors of a small detector with five classes, by our names."""
    cfg = known_config(kind, conventions, [*SMALL, "MODEL.MASK_ON", str("mask" in kind), *words])
    return random_like(build_model(cfg).state_dict())


def renamed(format, weights):
    names = {name: format.to_theirs(name) for name in weights}
    assert None not in names.values()
    return {names[name]: tensor for name, tensor in weights.items()}


def equal(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def header(path):
    """What hrnet_det has written into a safetensors file beside the tensors."""
    with safe_open(path, framework="pt") as file:
        written = file.metadata()
    assert set(written) == {"format", "hrnet_det"} and written["format"] == "pt"
    metadata = json.loads(written["hrnet_det"])
    assert len(metadata.pop("sha256")) == 64
    return read(metadata)


def read(metadata):
    """With the config's YAML read."""
    return metadata | {k: yaml.safe_load(v) for k, v in metadata.items() if k == "config"}


def built_from(config):
    """Names and shapes of the detector that a written config builds."""
    cfg = get_cfg()
    cfg.merge_from_other_cfg(CfgNode(config))
    cfg.MODEL.DEVICE = "cpu"
    return {name: tensor.shape for name, tensor in build_model(cfg).state_dict().items()}


def refusal(*arguments, kind=InputError, **options):
    with pytest.raises(kind) as error:
        convert(*map(str, arguments), **options)
    return str(error.value)


@pytest.fixture(scope="module")
def faster():
    return own("faster_rcnn")


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


# --- there and back ---


@pytest.mark.parametrize("kind", W18)
def test_a_published_detector_there_and_back(kind, tmp_path):
    model = model_zoo.get(f"mmdet/{kind}_hrnetv2p_w18_{W18[kind]}")
    theirs = renamed(MMDET, random_like(model.state_dict()))
    source, middle, back = (tmp_path / name for name in ("a.pth", "b.safetensors", "c.pth"))
    try:
        torch.save({"meta": {"epoch": 12}, "state_dict": theirs}, source)
        convert(str(source), middle)
        assert load_file(middle).keys() == model.state_dict().keys()
        convert(str(middle), back, to="mmdet")
        assert equal(torch.load(back, weights_only=True)["state_dict"], theirs)
        shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
        assert built_from(header(middle)["config"]) == shapes
    finally:  # 0.7 GB for the largest
        for path in (source, middle, back):
            path.unlink(missing_ok=True)


@pytest.mark.parametrize("suffixes", [(".pth", ".safetensors"), (".safetensors", ".pth")])
@pytest.mark.parametrize("kind", ["mask_rcnn", "cascade_rcnn", "cascade_mask_rcnn", "fcos"])
def test_there_and_back_in_both_kinds_of_file(kind, suffixes, save, tmp_path):
    ours = own(kind)
    theirs = renamed(MMDET, ours)
    source = save(theirs, "source" + suffixes[0])
    middle, back = (tmp_path / (name + suffixes[1]) for name in ("middle", "back"))
    convert(str(source), middle)
    convert(str(middle), back, to="mmdet")
    assert equal(read_weights(middle).weights, ours)
    assert equal(read_weights(back).weights, theirs)


def test_names_and_wrappers_of_each_target(faster, save, tmp_path):
    source = save({"state_dict": renamed(MMDET, faster), "meta": {"CLASSES": CLASSES}})
    content = {}
    for to in ("hrnet_det", "mmdet", "imagenet"):
        path = tmp_path / f"{to}.pth"
        convert(str(source), path, to=to)
        content[to] = torch.load(path, weights_only=True)
    assert set(content["hrnet_det"]) == {"model", "hrnet_det"}
    assert set(content["mmdet"]) == {"state_dict", "meta", "hrnet_det"}
    assert content["mmdet"]["meta"] == {"dataset_meta": {"classes": CLASSES}}  # as version 3 reads
    name = "stage2.0.branches.1.0.conv2.weight"
    assert torch.equal(content["imagenet"][name], faster[BODY + name])
    assert torch.equal(content["hrnet_det"]["model"][BODY + name], faster[BODY + name])
    assert torch.equal(content["mmdet"]["state_dict"][f"backbone.{name}"], faster[BODY + name])
    fc = content["mmdet"]["state_dict"]["roi_head.bbox_head.shared_fcs.1.bias"]
    assert torch.equal(fc, faster["roi_heads.box_head.fc2.bias"])


def test_tensors_keep_their_type_and_need_not_be_contiguous(faster, save, tmp_path):
    fc1, fc2 = "roi_heads.box_head.fc1.weight", "roi_heads.box_head.fc2.weight"
    ours = faster | {fc1: faster[fc1].half(), fc2: faster[fc2].T}
    convert(str(save(renamed(MMDET, ours))), tmp_path / "ours.safetensors")
    written = load_file(tmp_path / "ours.safetensors")
    assert equal(written, ours)
    assert written[fc1].dtype == torch.float16


def test_imagenet_weights_there_and_back(save, tmp_path):
    torch.manual_seed(0)
    theirs = random_like(timm.create_model("hrnet_w18_small").state_dict())
    body = {n: t for n, t in theirs.items() if n.split(".")[0] not in IMAGENET_HEAD}
    assert (len(theirs), len(body)) == (552, 426)
    source, middle, back = save(theirs), tmp_path / "ours.pth", tmp_path / "back.pth"
    assert convert(str(source), middle) == (
        f"{middle}: 426 tensors of HRNet w18_small_v1, as hrnet_det names them\nleft out: 126 "
        "(incre_modules.0.0.conv1.weight, incre_modules.0.0.bn1.weight, "
        "incre_modules.0.0.bn1.bias, ...)"
    )
    assert equal(read_weights(middle).weights, {BODY + n: t for n, t in body.items()})
    assert convert(str(middle), back, to="imagenet") == (
        f"{back}: 426 tensors of HRNet w18_small_v1, as imagenet names them"
    )
    assert equal(torch.load(back, weights_only=True), body)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("hrnet_object_detection", "mask_rcnn"),
        ("hrnet_object_detection", "cascade_rcnn"),
        ("maskrcnn_benchmark", "mask_rcnn"),
    ],
)
def test_the_background_goes_from_first_to_last(source, kind, save, tmp_path):
    format = {"hrnet_object_detection": HRNET_OBJECT_DETECTION}.get(source, MASKRCNN_BENCHMARK)
    ours = own(kind, "MODEL.ROI_MASK_HEAD.CONV_DIM", "32", conventions=source)
    heads = random_weights(source, kind, channels=32, classes=5, fc=1024)
    body = renamed(format, {n: t for n, t in ours.items() if n.startswith("backbone.")})
    path = save({"model": body | heads})
    convert(str(path), tmp_path / "ours.safetensors")
    written = load_file(tmp_path / "ours.safetensors")
    assert {n: t.shape for n, t in written.items()} == {n: t.shape for n, t in ours.items()}
    if source == "maskrcnn_benchmark":
        box, mask = "roi_heads.box.predictor.", "roi_heads.mask.predictor.mask_fcn_logits."
        score, delta = f"{box}cls_score.", f"{box}bbox_pred."
    elif kind == "cascade_rcnn":
        score, delta = "bbox_head.2.fc_cls.", "bbox_head.2.fc_reg."
    else:
        score, delta, mask = "bbox_head.fc_cls.", "bbox_head.fc_reg.", "mask_head.conv_logits."
    stage = ".2" if kind == "cascade_rcnn" else ""
    for part in ("weight", "bias"):
        theirs = heads[score + part]
        predictor = f"roi_heads.box_predictor{stage}."
        assert torch.equal(written[f"{predictor}cls_score.{part}"], theirs[[1, 2, 3, 4, 5, 0]])
        deltas = heads[delta + part] if stage else heads[delta + part][4:24]
        assert torch.equal(written[f"{predictor}bbox_pred.{part}"], deltas)
        if kind == "mask_rcnn":
            logits = heads[mask + part][1:6]
            assert torch.equal(written[f"roi_heads.mask_head.predictor.{part}"], logits)
    metadata = header(tmp_path / "ours.safetensors")
    assert (metadata["source_format"], metadata["conventions"]) == (source, source)
    said = convert(str(tmp_path / "ours.safetensors"), tmp_path / "mmdet.pth", to="mmdet")
    assert said.splitlines()[1:] == [
        f"The detector computes boxes as {source} does; mmdetection 2 or 3 will compute them its "
        "own way"
    ]
    back = torch.load(tmp_path / "mmdet.pth", weights_only=True)["state_dict"]
    assert equal(back, renamed(MMDET, written))


# --- what is written beside the tensors ---

RGB = {"format": "RGB", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
BGR = {"format": "BGR", "mean": [103.53, 116.28, 123.675], "std": [57.375, 57.12, 58.395]}


@pytest.mark.parametrize(
    ("kind", "title", "conventions", "pixels"),
    [
        ("faster_rcnn", "Faster R-CNN", "mmdet", RGB),
        ("mask_rcnn", "Mask R-CNN", "mmdet", RGB),
        ("cascade_rcnn", "Cascade R-CNN", "mmdet", RGB),
        ("cascade_mask_rcnn", "Cascade Mask R-CNN", "mmdet", RGB),
        ("fcos", "FCOS", "mmdet", BGR),
    ],
)
def test_the_header_says_what_the_file_is(kind, title, conventions, pixels, save, tmp_path):
    ours = own(kind)
    source = save({"state_dict": renamed(MMDET, ours), "meta": {"CLASSES": tuple(CLASSES)}})
    path = tmp_path / "new" / "folder" / "ours.safetensors"  # made where it is not there
    title = f"{title}, HRNetV2p-W18-small-v1, 5 classes"
    said = f"{path}: {len(ours)} tensors of {title}, as hrnet_det names them"
    assert convert(str(source), path) == said
    metadata = header(path)
    config = metadata.pop("config")
    assert built_from(config) == {name: tensor.shape for name, tensor in ours.items()}
    assert config["MODEL"]["CONVENTIONS"] == conventions
    assert metadata == {
        "source_format": "mmdet",
        "title": title,
        "variant": "w18_small_v1",
        "kind": kind,
        "classes": CLASSES,
        "conventions": conventions,
        "pixels": pixels,
    }
    # it is handed on, and the first source remains the source
    convert(str(path), tmp_path / "again.pth")
    again = torch.load(tmp_path / "again.pth", weights_only=True)["hrnet_det"]
    assert read(again) == header(path)


@pytest.mark.parametrize(
    ("meta", "classes"),
    [
        ({"dataset_meta": {"classes": CLASSES, "palette": [(1, 2, 3)]}}, CLASSES),
        ({"dataset_meta": {"CLASSES": tuple(CLASSES)}, "CLASSES": None}, CLASSES),
        ({"CLASSES": "ant"}, ["ant"]),
        ({"epoch": 12}, []),
        (None, []),
    ],
)
def test_class_names_of_mmdetection(faster, save, tmp_path, meta, classes):
    source = save({"state_dict": renamed(MMDET, faster), "meta": meta})
    convert(str(source), tmp_path / "ours.safetensors")
    assert header(tmp_path / "ours.safetensors")["classes"] == classes


def test_our_own_files_with_and_without_a_config(faster, save, tmp_path):
    source = save({"model": faster, "iteration": 9})
    convert(str(source), tmp_path / "alone.safetensors")
    alone = header(tmp_path / "alone.safetensors")
    assert alone == {
        "source_format": "hrnet_det",
        "title": "Faster R-CNN, HRNetV2p-W18-small-v1, 5 classes",
        "variant": "w18_small_v1",
        "kind": "faster_rcnn",
        "classes": [],
    }
    cfg = load_config(config_folder() / "Base-RCNN-HRNetV2p.yaml", [*SMALL, "SEED", "7"])
    (tmp_path / "config.yaml").write_text(cfg.dump())
    convert(str(source), tmp_path / "beside.safetensors")
    beside = header(tmp_path / "beside.safetensors")
    assert beside.pop("config") == yaml.safe_load(cfg.dump())
    assert beside == alone | {"pixels": RGB, "conventions": "detectron2"}


def test_the_backbone_of_a_detector(faster, save, tmp_path):
    source, path = save(renamed(MMDET, faster)), tmp_path / "body.safetensors"
    said = convert(str(source), path, to="imagenet").splitlines()
    body = {n.removeprefix(BODY): t for n, t in faster.items() if n.startswith(BODY)}
    assert equal(load_file(path), body)
    left = [name for name in faster if not name.startswith(BODY)]
    assert (len(body), len(left)) == (426, 26)
    assert said[1:] == [f"left out: 26 ({', '.join(left[:3])}, ...)"]


def test_a_backbone_is_described_as_a_backbone(faster, save, tmp_path):
    source = save({"state_dict": renamed(MMDET, faster), "meta": {"CLASSES": CLASSES}})
    path = tmp_path / "body.safetensors"
    said = convert(str(source), path, to="imagenet").splitlines()
    assert said[0] == f"{path}: 426 tensors of HRNet w18_small_v1, as imagenet names them"
    metadata = header(path)
    assert (metadata["kind"], metadata["classes"], "config" in metadata) == ("", [], False)


def test_a_detector_that_only_its_project_computes(save, tmp_path):
    """mmdetection's RPN: its tensors are ours, what it computes from them is not."""
    ours = own("rpn", conventions="detectron2")
    source, path = save({"state_dict": renamed(MMDET, ours)}), tmp_path / "ours.safetensors"
    convert(str(source), path)
    assert equal(load_file(path), ours)
    metadata = header(path)
    assert (metadata["kind"], metadata["title"]) == ("rpn", "RPN, HRNetV2p-W18-small-v1")
    assert "config" not in metadata and "conventions" not in metadata
    with pytest.raises(InputError) as error:
        config_of(read_weights(source))
    said = "(mmdetection 2 or 3: RPN, HRNetV2p-W18-small-v1): there is no RPN here that computes"
    assert str(error.value).startswith(f"{source} {said} what mmdetection 2 or 3 does. Give a ")


def test_a_detector_without_its_pyramid_is_not_whole(faster, save, tmp_path):
    theirs = renamed(MMDET, {n: t for n, t in faster.items() if ".reduction_conv." not in n})
    said = refusal(save({"state_dict": theirs}), tmp_path / "w.pth")
    assert "(mmdetection 2 or 3) holds no whole detector" in said


def test_a_backbone_computes_no_boxes(faster, save, tmp_path):
    body = {n.removeprefix(BODY): t for n, t in faster.items() if n.startswith(BODY)}
    path = tmp_path / "body.pth"
    assert convert(str(save(body)), path, to="mmdet") == (
        f"{path}: 426 tensors of HRNet w18_small_v1, as mmdet names them"
    )


# --- what is refused ---


def test_destinations_that_are_refused(faster, save, tmp_path):
    source = save(faster)
    there = tmp_path / "there.pth"
    there.write_bytes(b"mine")
    assert refusal(source, there) == f"{there} is there already: remove it, or name another file"
    assert there.read_bytes() == b"mine"
    said = refusal(source, there / "w.pth")  # a file is no folder
    assert said.startswith(f"convert to {there / 'w.pth'}: nothing can be written to {there} (")
    for name in ("w.pkl", "w", "w.safetensors.zip"):
        message = f"{tmp_path / name} must end in .safetensors or .pth"
        assert refusal(source, tmp_path / name) == message
    assert refusal(source, tmp_path / "w.pth", to="timm") == (
        "convert to 'timm': there are hrnet_det, mmdet, imagenet"
    )
    assert refusal(tmp_path / "no.pth", tmp_path / "w.pth", kind=MissingInputError) == (
        f"weights {tmp_path / 'no.pth'} are not there: give a file, or the address of one "
        "(hrnet-det checkpoints lists those that are published)"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.pth", "weights.pth"]


def test_unknown_tensors_are_named(faster, save, tmp_path):
    theirs = renamed(MMDET, faster) | {f"neck.extra.{k}": torch.zeros(1) for k in range(4)}
    source = save({"state_dict": theirs})
    assert refusal(source, tmp_path / "ours.pth") == (
        f"{source}: 4 tensors have no name in mmdetection 2 or 3: neck.extra.0, neck.extra.1, "
        "neck.extra.2, ..."
    )
    assert not (tmp_path / "ours.pth").exists()


def test_a_file_without_a_backbone_is_no_backbone(save, tmp_path):
    source = save({"roi_heads.box_head.fc1.weight": torch.zeros(2, 2)})
    assert refusal(source, tmp_path / "w.pth", to="imagenet") == (
        f"{source} (hrnet_det or Detectron2) has no HRNet"
    )


def test_a_cascade_with_one_mask_head_has_no_place_in_mmdetection(save, tmp_path):
    words = ["MODEL.ROI_HEADS.NAME", "CascadeROIHeads", "MODEL.MASK_ON", "True"]
    source = save(own("cascade_rcnn", *words, conventions="detectron2"))
    assert refusal(source, tmp_path / "w.pth", to="mmdet") == (
        f"{source}: mmdetection's Cascade Mask R-CNN has a mask head for each of its three stages, "
        "this one has one for all"
    )
    convert(str(source), tmp_path / "ours.pth")  # ours it remains
    assert not (tmp_path / "w.pth").exists()


def test_a_shared_convolution_has_no_place_in_mmdetection(save, tmp_path):
    ours = own("faster_rcnn", "MODEL.HRFPN.SHARE_CONV", "True", conventions="detectron2")
    source = save(ours)
    assert refusal(source, tmp_path / "w.pth", to="mmdet") == (
        f"{source}: mmdetection's HRFPN has no convolution for all levels"
    )


def test_a_keypoint_head_has_no_place_in_mmdetection(save, tmp_path):
    ours = own("faster_rcnn", "MODEL.KEYPOINT_ON", "True", "MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS",
               "[16]", conventions="detectron2")  # fmt: skip
    source = save(ours)
    assert refusal(source, tmp_path / "w.pth", to="mmdet") == (
        f"{source}: 4 tensors have no name in mmdetection 2 or 3: "
        "roi_heads.keypoint_head.conv_fcn1.weight, roi_heads.keypoint_head.conv_fcn1.bias, "
        "roi_heads.keypoint_head.score_lowres.weight, ..."
    )


@pytest.mark.parametrize("to", ["hrnet_det", "mmdet", "imagenet"])
def test_what_is_not_whole_is_not_converted(faster, save, tmp_path, to):
    gone = BODY + "stage4.0.branches.1.0.conv2.weight"
    theirs = renamed(MMDET, {n: t for n, t in faster.items() if n != gone})
    said = refusal(save({"state_dict": theirs}), tmp_path / "w.pth", to=to)
    assert said.endswith(f"is not whole:\n  backbone: 1 missing: {gone}")
    assert not (tmp_path / "w.pth").exists()


# --- the command ---


def test_the_command(faster, save, tmp_path, capsys):
    source = save({"state_dict": renamed(MMDET, faster)})
    ours, back = tmp_path / "ours.safetensors", tmp_path / "back.pth"
    title = "Faster R-CNN, HRNetV2p-W18-small-v1, 5 classes"
    assert main(["convert", str(source), str(ours)]) == 0
    said = f"{ours}: {len(faster)} tensors of {title}, as hrnet_det names them\n"
    assert capsys.readouterr() == (said, "")
    assert main(["convert", str(ours), str(back), "--to", "mmdet"]) == 0
    said = f"{back}: {len(faster)} tensors of {title}, as mmdet names them\n"
    assert capsys.readouterr() == (said, "")
    assert equal(read_weights(back).weights, renamed(MMDET, faster))
    assert main(["convert", str(source), str(ours)]) == 2
    error = f"error: {ours} is there already: remove it, or name another file\n"
    assert capsys.readouterr() == ("", error)


def test_objects_are_made_only_with_permission(faster, save, tmp_path, capsys):
    options = argparse.Namespace(lr=0.1)
    source = save({"model": renamed(MMDET, faster), "args": options})
    target = tmp_path / "ours.pth"
    assert main(["convert", str(source), str(target)]) == 2
    out, error = capsys.readouterr()
    assert (out, target.exists()) == ("", False)
    start = f"error: {source} cannot be read as plain tensors: it holds"
    assert error.startswith(f"{start} argparse.Namespace, which is no tensor. ")
    assert error.endswith(
        "MODEL.WEIGHTS_ALLOW_PICKLE True, --allow-pickle, or in Python allow_pickle=True\n"
    )
    assert error.count("\n") == 1
    assert main(["convert", str(source), str(target), "--allow-pickle"]) == 0
    assert equal(torch.load(target, weights_only=True)["model"], faster)
    assert read_weights(target).metadata["source_format"] == MMDET.name != OWN.name
