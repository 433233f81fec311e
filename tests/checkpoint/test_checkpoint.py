"""Weights into models: what arrives, what the report says of it, and what is refused."""

import logging
import pickle
import re

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from helpers.timm_names import HEAD, TIMM
from safetensors.torch import save_file

from hrnet_det import HRFPN, HRNet, model_zoo
from hrnet_det.checkpoint import Checkpointer, LoadReport
from hrnet_det.checkpoint.formats import (
    BODY,
    HRNET_OBJECT_DETECTION,
    IMAGENET,
    MASKRCNN_BENCHMARK,
    MMDET,
)
from hrnet_det.config.yaml import merge_overrides
from hrnet_det.engine import Trainer
from hrnet_det.errors import InputError, MissingInputError

SMALL = """
MODEL.DEVICE cpu MODEL.HRFPN.OUT_CHANNELS 16 MODEL.RPN.CONV_DIMS [-1] MODEL.ROI_BOX_HEAD.FC_DIM 16
MODEL.ROI_MASK_HEAD.CONV_DIM 8 MODEL.ROI_HEADS.NUM_CLASSES 5
""".split()  # noqa: SIM905
MASK = "quickstart/mask_rcnn"
TITLE = "HRNetV2p-W18-small-v1, 5 classes"
COUNTS = {"backbone": 426, "pyramid": 12, "RPN": 6, "box head": 8, "mask head": 8}


def detector(*words, config="quickstart/faster_rcnn"):
    """Of w18_small_v1 with few channels and five classes, if the words say nothing else."""
    cfg = model_zoo.get_config(config)
    merge_overrides(cfg, [*SMALL, *words])
    return Trainer.build_model(cfg)


def hrnet():
    return HRNet(variant="w18_small_v1")


def hrfpn():
    return HRFPN(bottom_up=hrnet(), out_channels=16)


def copy(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(model, before):
    """Names of the tensors that are not as they were."""
    return {n for n, tensor in model.state_dict().items() if not torch.equal(tensor, before[n])}


def load(model, path, **options):
    checkpointer = Checkpointer(model, **options)
    checkpointer.load(str(path))
    return checkpointer.report


def refusal(model, path, kind=InputError, **options):
    """The message with which weights are refused, which leaves the model as it was."""
    before = copy(model)
    with pytest.raises(kind) as error:
        load(model, path, **options)
    assert changed(model, before) == set()
    return str(error.value)


def unfit(path, title, *faults):
    lines = "".join(f"  {fault}\n" for fault in faults)
    return (
        f"{path} ({title}) does not fit the model:\n{lines}Take another file, or a config that "
        "fits. MODEL.WEIGHTS_STRICT False takes what fits"
    )


def noise(weights):
    """Random values, other for each tensor, of norms' statistics too."""
    torch.manual_seed(5)
    return {
        name: torch.rand(tensor.shape) if tensor.is_floating_point() else tensor + 3
        for name, tensor in weights.items()
    }


def renamed(weights, format):
    """A detector's tensors, or those that the format has, under its names."""
    names = {name: format.to_theirs(name) for name in weights}
    return {theirs: weights[name] for name, theirs in names.items() if theirs}


@pytest.fixture(scope="module")
def imagenet():
    """timm's HRNet-W18-small-v1, which is w18_small_v1."""
    return noise(timm.create_model(TIMM["w18_small_v1"]).state_dict())


@pytest.fixture(scope="module")
def mask_rcnn():
    """A Mask R-CNN's tensors by our names."""
    return noise(detector(config=MASK).state_dict())


@pytest.fixture
def save(tmp_path):
    """Saves something as a file and returns its path."""

    def write(content, name="weights.pth"):
        path = tmp_path / name
        save_file(content, path) if path.suffix == ".safetensors" else torch.save(content, path)
        return path

    return write


# --- ImageNet weights ---


@pytest.mark.parametrize("form", ["bare", "state_dict", "model", "module.", "safetensors"])
def test_imagenet_weights_arrive_in_the_backbone(imagenet, save, form):
    if form == "module.":
        path = save({"state_dict": {f"module.{n}": t for n, t in imagenet.items()}, "epoch": 3})
    elif form == "safetensors":
        path = save(imagenet, "weights.safetensors")
    else:
        path = save(imagenet if form == "bare" else {form: imagenet})
    model = detector(config=MASK)
    before = copy(model)
    report = load(model, path)
    weights = model.backbone.bottom_up.state_dict()
    assert all(torch.equal(tensor, imagenet[name]) for name, tensor in weights.items())
    assert changed(model, before) == {BODY + name for name in weights}  # all else is as it was
    assert report.expected == COUNTS
    assert report.loaded == {"backbone": 426}
    assert report.missing == ["pyramid", "RPN", "box head", "mask head"]
    head = [name for name in imagenet if name.split(".")[0] in HEAD]
    dropped = report.dropped.pop("head of the ImageNet classifier")
    assert sorted(dropped) == sorted(head) and len(head) == 126
    assert report.dropped == {} and report.mismatched == [] and report.faults == []
    assert report.conventions == "" and not report.complete


def test_the_report_is_logged_as_a_table(imagenet, save, caplog):
    path = save(imagenet)
    checkpointer = Checkpointer(detector())
    assert checkpointer.report is None
    with caplog.at_level(logging.INFO, "detectron2.hrnet_det"):
        checkpointer.load(str(path))
    head, columns, rule, *rows = str(checkpointer.report).splitlines()
    assert head == f"{path}: ImageNet classification (official or timm): HRNet w18_small_v1"
    assert columns.split() == ["part", "tensors"] and set(rule) == {"-", " "}
    assert [re.split(r"\s{2,}", row.strip()) for row in rows] == [
        ["backbone", "426 of 426"],
        ["pyramid", "0 of 12", "missing in the file: random"],
        ["RPN", "0 of 6", "missing in the file: random"],
        ["box head", "0 of 8", "missing in the file: random"],
        ["left out", "126", "head of the ImageNet classifier"],
    ]
    logged = [r for r in caplog.records if r.name == "detectron2.hrnet_det"]
    assert [r.getMessage() for r in logged] == [f"Weights of {checkpointer.report}"]


@pytest.mark.parametrize(
    ("counters", "norm", "expected", "dropped"),
    [(False, "BN", 355, 0), (False, "FrozenBN", 355, 0), (True, "FrozenBN", 355, 71)],
)
def test_norms_without_counters(imagenet, save, counters, norm, expected, dropped):
    file = {n: t for n, t in imagenet.items() if counters or "num_batches" not in n}
    model = detector("MODEL.HRNET.NORM", norm, "MODEL.BACKBONE.FREEZE_AT", "2")
    report = load(model, save(file))
    assert report.expected["backbone"] == report.loaded["backbone"] == expected
    assert len(report.dropped.get("counters, which frozen norms have not", [])) == dropped
    weights = model.backbone.bottom_up.state_dict()
    arrived = [name for name in weights if "num_batches" not in name]
    assert len(arrived) == 355
    assert all(torch.equal(weights[name], imagenet[name]) for name in arrived)


def test_imagenet_weights_for_some_branches(imagenet, save):
    model = detector("MODEL.HRFPN.IN_FEATURES", "['hr2', 'hr3']")
    report = load(model, save(imagenet))
    weights = model.backbone.bottom_up.state_dict()
    assert report.loaded["backbone"] == report.expected["backbone"] == len(weights) == 366
    assert all(torch.equal(tensor, imagenet[name]) for name, tensor in weights.items())
    unused = [BODY + f"stage4.0.fuse_layers.{i}." for i in (2, 3)]
    left = [n for names in report.dropped.values() for n in names if n.startswith(tuple(unused))]
    assert len(left) == 60 and report.faults == []


def test_the_fusion_of_unused_branches_is_dropped_for_one_reason(imagenet, save):
    report = load(detector("MODEL.HRFPN.IN_FEATURES", "['hr2', 'hr3']"), save(imagenet))
    assert len(report.dropped["fusion into branches that are not used"]) == 60


def test_another_norm_is_not_called_another_variant(imagenet, save):
    path = save(imagenet)
    gone = [BODY + name for name in ("bn1.running_mean", "bn1.running_var", "bn2.running_mean")]
    assert refusal(detector("MODEL.HRNET.NORM", "LN"), path) == unfit(
        path,
        "ImageNet classification (official or timm): HRNet w18_small_v1",
        "backbone: the norms are of another kind (MODEL.HRNET.NORM)",
        f"backbone: 92 unexpected: {', '.join(gone)}, ...",
    )


# --- other variants ---


@pytest.fixture(scope="module")
def faster_rcnns():
    """Tensors of detectors of three variants."""
    return {
        variant: detector("MODEL.HRNET.VARIANT", variant).state_dict()
        for variant in ("w18_small_v1", "w18_small_v2", "w18")
    }


@pytest.mark.parametrize("format", [None, MMDET, IMAGENET])
@pytest.mark.parametrize(
    ("file", "model"),
    [
        ("w18_small_v2", "w18_small_v1"),
        ("w18_small_v1", "w18_small_v2"),
        ("w18_small_v2", "w18"),
        # All that w18_small_v2 wants is in w18, in the same shapes: a part of another network.
        ("w18", "w18_small_v2"),
    ],
)
def test_another_variant_is_refused(faster_rcnns, save, format, file, model):
    weights = faster_rcnns[file]
    path = save({"model": weights} if format is None else renamed(weights, format))
    said = refusal(detector("MODEL.HRNET.VARIANT", model), path, strict=format is not MMDET)
    assert said == (
        f"{path} has the weights of {file}, but MODEL.HRNET.VARIANT is {model}: "
        f"set MODEL.HRNET.VARIANT {file}, or take weights of {model}"
    )


# --- files that are not whole ---


@pytest.mark.parametrize("damage", ["deleted", "renamed", "reshaped"])
@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("backbone", "backbone.bottom_up.stage3.0.branches.1.0.conv2.weight"),
        ("pyramid", "backbone.fpn_convs.1.bias"),
        ("RPN", "proposal_generator.rpn_head.anchor_deltas.bias"),
        ("box head", "roi_heads.box_head.fc1.weight"),
        ("box head", "roi_heads.box_predictor.cls_score.weight"),
        ("mask head", "roi_heads.mask_head.deconv.weight"),
    ],
)
def test_a_changed_tensor_is_refused_or_left_out(mask_rcnn, save, part, name, damage):
    file = dict(mask_rcnn)
    tensor = file.pop(name)
    faults = [f"{part}: 1 missing: {name}"]
    if damage == "renamed":
        file[name + "s"] = tensor
        faults.append(f"{part}: 1 unexpected: {name}s")
    elif damage == "reshaped":
        file[name] = tensor[..., :-1]
        shapes = f"{list(file[name].shape)} for {list(tensor.shape)}"
        faults = [f"{part}: 1 mismatched (file's shape for the model's): {name} {shapes}"]
    path = save({"model": file})
    model = detector(config=MASK)
    title = f"hrnet_det or Detectron2: Mask R-CNN, {TITLE}"
    assert refusal(model, path) == unfit(path, title, *faults)
    before = copy(model)
    report = load(model, path, strict=False)
    assert report.faults == faults and not report.complete
    assert report.loaded == COUNTS | {part: COUNTS[part] - 1}
    assert report.expected == COUNTS and report.missing == []
    weights = model.state_dict()
    assert torch.equal(weights.pop(name), before[name])
    assert all(torch.equal(weight, mask_rcnn[n]) for n, weight in weights.items())
    rows = [re.split(r"\s{2,}", line) for line in str(report).splitlines()]
    assert rows[-len(faults) :] == [["does not fit", fault] for fault in faults]


def test_names_that_a_project_does_not_have(mask_rcnn, save):
    file = renamed(mask_rcnn, MMDET) | {"roi_head.bbox_head.fc_iou.bias": torch.zeros(1)}
    path = save({"state_dict": file})
    fault = "1 unexpected, which mmdetection 2 or 3 does not have: roi_head.bbox_head.fc_iou.bias"
    title = f"mmdetection 2 or 3: Mask R-CNN, {TITLE}"
    model = detector(config=MASK)
    assert refusal(model, path) == unfit(path, title, fault)
    assert load(model, path, strict=False).faults == [fault]
    assert changed(model, mask_rcnn) == set()


def test_detectors_of_another_kind_are_refused(mask_rcnn, save):
    path = save({"model": mask_rcnn})
    words = ["MODEL.ROI_HEADS.NAME", "CascadeROIHeads"]
    model = detector(*words, "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", "True", config=MASK)
    fc = [f"fc1.{p}" for p in ("weight", "bias")] + ["fc2.weight"]
    assert refusal(model, path) == unfit(
        path,
        f"hrnet_det or Detectron2: Mask R-CNN, {TITLE}",
        f"box head: 24 missing: {', '.join('roi_heads.box_head.0.' + n for n in fc)}, ...",
        f"box head: 8 unexpected: {', '.join('roi_heads.box_head.' + n for n in fc)}, ...",
    )


# --- detectors ---


@pytest.mark.parametrize("format", [None, MMDET])
def test_a_detector_with_other_classes_keeps_the_rest_and_says_so(mask_rcnn, save, format):
    path = save(mask_rcnn if format is None else {"state_dict": renamed(mask_rcnn, format)})
    model = detector("MODEL.ROI_HEADS.NUM_CLASSES", "2", config=MASK)
    before = copy(model)
    report = load(model, path)
    box, mask = "roi_heads.box_predictor.", "roi_heads.mask_head.predictor."
    assert report.mismatched == [
        (box + "cls_score.weight", (6, 16), (3, 16)),
        (box + "cls_score.bias", (6,), (3,)),
        (box + "bbox_pred.weight", (20, 16), (8, 16)),
        (box + "bbox_pred.bias", (20,), (8,)),
        (mask + "weight", (5, 8, 1, 1), (2, 8, 1, 1)),
        (mask + "bias", (5,), (2,)),
    ]
    assert report.loaded == COUNTS | {"box head": 4, "mask head": 6}
    assert report.faults == [] and report.missing == [] and not report.complete
    for name, tensor in model.state_dict().items():
        random = name.startswith((box, mask))
        assert torch.equal(tensor, (before if random else mask_rcnn)[name]), name
    rows = [re.split(r"\s{2,}", line.strip()) for line in str(report).splitlines()[-8:]]
    assert rows == [
        ["box head", "4 of 8", "mismatched: random where the number of classes differs"],
        ["- cls_score.weight", "[6, 16] in the file, [3, 16] in the model"],
        ["- cls_score.bias", "[6] in the file, [3] in the model"],
        ["- bbox_pred.weight", "[20, 16] in the file, [8, 16] in the model"],
        ["- bbox_pred.bias", "[20] in the file, [8] in the model"],
        ["mask head", "6 of 8", "mismatched: random where the number of classes differs"],
        ["- predictor.weight", "[5, 8, 1, 1] in the file, [2, 8, 1, 1] in the model"],
        ["- predictor.bias", "[5] in the file, [2] in the model"],
    ]


@pytest.mark.parametrize(
    ("config", "key", "part", "layers", "title"),
    [
        (
            "quickstart/semantic",
            "MODEL.SEM_SEG_HEAD.NUM_CLASSES",
            "semantic head",
            ["sem_seg_head.predictor.weight", "sem_seg_head.predictor.bias"],
            "Semantic segmentation, HRNet-W18-small-v1, 4 semantic classes",
        ),
        (
            "quickstart/panoptic_fpn",
            "MODEL.SEM_SEG_HEAD.NUM_CLASSES",
            "semantic head",
            ["sem_seg_head.predictor.weight", "sem_seg_head.predictor.bias"],
            "Panoptic FPN, HRNetV2p-W18-small-v1, 5 classes, 4 semantic classes",
        ),
        (
            "quickstart/htc",
            "MODEL.SEM_SEG_HEAD.NUM_CLASSES",
            "semantic head",
            [f"roi_heads.semantic_head.predictor.{p}" for p in ("weight", "bias")],
            "Hybrid Task Cascade, HRNetV2p-W18-small-v1, 5 classes",
        ),
        (
            "quickstart/keypoint_rcnn",
            "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS",
            "keypoint head",
            [f"roi_heads.keypoint_head.score_lowres.{p}" for p in ("weight", "bias")],
            "Keypoint R-CNN, HRNetV2p-W18-small-v1, 5 classes",
        ),
        (
            "quickstart/retinanet",
            "MODEL.RETINANET.NUM_CLASSES",
            "dense head",
            ["head.cls_score.weight", "head.cls_score.bias"],
            "RetinaNet, HRNetV2p-W18-small-v1, 4 classes",
        ),
        (
            "quickstart/fcos",
            "MODEL.FCOS.NUM_CLASSES",
            "dense head",
            ["head.cls_score.weight", "head.cls_score.bias"],
            "FCOS, HRNetV2p-W18-small-v1, 4 classes",
        ),
    ],
)
def test_each_kind_of_head_is_tuned_to_other_classes(tmp_path, config, key, part, layers, title):
    words = ["MODEL.SEM_SEG_HEAD.CONVS_DIM", "32", "MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS", "[16]"]
    words += ["MODEL.FCOS.NORM", ""]  # 16 channels are too few for its groups
    model = detector(*words, key, "4", config=config)
    Checkpointer(model, str(tmp_path)).save("four")
    other = detector(*words, key, "7", config=config)
    before, saved = copy(other), copy(model)
    report = load(other, tmp_path / "four.pth")
    assert report.title == f"hrnet_det or Detectron2: {title}"
    assert [name for name, _, _ in report.mismatched] == layers
    assert report.missing == report.unexpected == report.faults == []
    assert report.loaded[part] == report.expected[part] - len(layers)
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, (before if name in layers else saved)[name]), name


def test_another_width_is_no_other_number_of_keypoints(tmp_path):
    words = ["MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS"]
    model = detector(*words, "[16]", config="quickstart/keypoint_rcnn")
    Checkpointer(model, str(tmp_path)).save("narrow")
    other = detector(*words, "[24]", config="quickstart/keypoint_rcnn")
    said = refusal(other, tmp_path / "narrow.pth")
    assert "keypoint head: 3 mismatched (file's shape for the model's): " in said


def test_the_layers_of_a_part_stand_below_it_as_a_list():
    name = "roi_heads.box_predictor.cls_score.bias"
    report = LoadReport("a.pth", "title", expected={"box head": 8}, mismatched=[(name, (6,), (3,))])
    assert str(report).splitlines()[-1].startswith("- cls_score.bias ")


def test_a_mask_head_without_a_place_is_left_out(mask_rcnn, save):
    path = save({"state_dict": renamed(mask_rcnn, MMDET), "meta": {"CLASSES": ("a", "b")}})
    model = detector()
    checkpointer = Checkpointer(model)
    checkpointer.load(str(path))
    report = checkpointer.report
    masks = [name for name in mask_rcnn if name.startswith("roi_heads.mask_head.")]
    assert report.dropped == {"the model has no mask head": masks}
    assert report.complete and report.loaded == {n: c for n, c in COUNTS.items() if "mask" not in n}
    assert changed(model, mask_rcnn) == set()
    assert report.title == f"mmdetection 2 or 3: Mask R-CNN, {TITLE}"
    assert report.conventions == "mmdet" and checkpointer.file_classes == ["a", "b"]


@pytest.mark.parametrize("format", [HRNET_OBJECT_DETECTION, MASKRCNN_BENCHMARK])
def test_classes_after_the_background_come_before_it(mask_rcnn, save, format):
    file = dict(mask_rcnn)
    for p in ("weight", "bias"):
        scores, boxes, masks = (
            f"roi_heads.{layer}.{p}"
            for layer in (
                "box_predictor.cls_score",
                "box_predictor.bbox_pred",
                "mask_head.predictor",
            )
        )
        file[scores] = torch.cat([file[scores][-1:], file[scores][:-1]])
        file[boxes] = torch.cat([torch.full_like(file[boxes][:4], 9.0), file[boxes]])
        file[masks] = torch.cat([torch.full_like(file[masks][:1], 9.0), file[masks]])
    model = detector(config=MASK)
    report = load(model, save({"model": renamed(file, format)}))
    assert report.complete and report.conventions == format.name
    assert report.title == f"{format.title}: Mask R-CNN, {TITLE}"
    assert changed(model, mask_rcnn) == set()


@pytest.mark.parametrize("metadata", [None, {"classes": ["a", "b"], "conventions": "mmdet"}])
def test_a_checkpoint_comes_back_exactly(tmp_path, metadata):
    model, other = detector(), detector()
    Checkpointer(model, str(tmp_path), metadata=metadata).save("model_final", iteration=7)
    checkpointer = Checkpointer(other)
    rest = checkpointer.load(str(tmp_path / "model_final.pth"))
    written = {} if metadata is None else {"hrnet_det": metadata}
    assert rest == {"iteration": 7, "matching_heuristics": False, **written}
    assert changed(other, model.state_dict()) == set()
    assert checkpointer.report.complete
    assert checkpointer.report.title == f"hrnet_det or Detectron2: Faster R-CNN, {TITLE}"
    assert checkpointer.report.conventions == ("mmdet" if metadata else "")
    assert checkpointer.file_classes == (["a", "b"] if metadata else [])


def test_a_checkpoint_of_a_detector_on_branches_comes_back(tmp_path):
    words = ["MODEL.BACKBONE.NAME", "build_hrnet_backbone", "MODEL.RPN.IN_FEATURES", "['hr2']"]
    words += ["MODEL.ROI_HEADS.IN_FEATURES", "['hr2']", "MODEL.ANCHOR_GENERATOR.SIZES", "[[32]]"]
    model, other = detector(*words), detector(*words)
    Checkpointer(model, str(tmp_path)).save("model_final")
    assert load(other, tmp_path / "model_final.pth").complete
    assert changed(other, model.state_dict()) == set()


@pytest.mark.parametrize(
    ("words", "config", "row"),
    [
        (
            ["MODEL.ROI_HEADS.NUM_CLASSES", "4"],
            "quickstart/faster_rcnn",
            ["- bbox_pred.bias", "[20] in the file, [16] in the model"],
        ),
        ([], MASK, ["mask head", "0 of 8", "missing in the file: random"]),
    ],
)
def test_a_run_of_another_model_is_not_resumed(tmp_path, words, config, row):
    Checkpointer(detector(), str(tmp_path)).save("model_0000003", iteration=3)
    checkpointer = Checkpointer(detector(*words, config=config), str(tmp_path))
    with pytest.raises(InputError) as error:
        checkpointer.resume_or_load("", resume=True)
    path = tmp_path / "model_0000003.pth"
    first, table = str(error.value).split("\n", 1)
    assert first == f"--resume: {path} is a checkpoint of another model"
    assert table == str(checkpointer.report)
    assert table.startswith(f"{path}: hrnet_det or Detectron2: Faster R-CNN, {TITLE}\n")
    assert re.split(r"\s{2,}", table.splitlines()[-1].strip()) == row


def test_a_state_that_would_be_left_out_is_not_resumed(tmp_path):
    Checkpointer(detector(), str(tmp_path)).save("model", trainer={"best": np.float64(41.2)})
    with pytest.raises(InputError) as error:
        Checkpointer(detector(), str(tmp_path)).resume_or_load("", resume=True)
    start = f"--resume: {tmp_path / 'model.pth'} holds more than tensors and numbers (numpy"
    assert str(error.value).startswith(start)


def test_a_load_prints_its_report_where_nobody_logs(imagenet, save, monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger("detectron2.hrnet_det"), "level", logging.WARNING)
    model, path = detector(), save(imagenet)
    checkpointer = Checkpointer(model)
    checkpointer.load(str(path))
    assert f"{checkpointer.report}\n" in capsys.readouterr().out


def test_a_run_is_resumed_and_without_one_weights_are_loaded(tmp_path, imagenet, save):
    path, model = save(imagenet), detector()
    checkpointer = Checkpointer(model, str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    assert checkpointer.resume_or_load(str(path)) == {"matching_heuristics": False}
    assert checkpointer.report.loaded == {"backbone": 426}
    assert checkpointer.resume_or_load("") == {} and checkpointer.report is None
    checkpointer.save("model_0000003", iteration=3)
    again = Checkpointer(detector(), str(tmp_path / "run"))
    assert again.resume_or_load(str(path))["iteration"] == 3
    assert again.report.complete and changed(again.model, model.state_dict()) == set()


# --- models that are no detectors ---


@pytest.mark.parametrize(
    ("build", "parts"), [(hrnet, ["backbone"]), (hrfpn, ["backbone", "pyramid"])]
)
@pytest.mark.parametrize("format", [IMAGENET, MMDET, None])
def test_bare_backbones(mask_rcnn, save, build, parts, format):
    model = build()
    before = copy(model)
    path = save({"model": mask_rcnn if format is None else renamed(mask_rcnn, format)})
    report = load(model, path)
    has = parts[:1] if format is IMAGENET else parts
    assert report.loaded == {part: COUNTS[part] for part in has}
    assert report.expected == {part: COUNTS[part] for part in parts}
    assert report.missing == [part for part in parts if part not in has] and report.faults == []
    others = [] if format is IMAGENET else [part for part in COUNTS if part not in parts]
    assert {reason: len(names) for reason, names in report.dropped.items()} == {
        f"the model has no {part}": COUNTS[part] for part in others
    }
    start = BODY if build is hrnet else "backbone."
    for name, tensor in model.state_dict().items():
        random = format is IMAGENET and not (start + name).startswith(BODY)
        assert torch.equal(tensor, before[name] if random else mask_rcnn[start + name]), name


@pytest.mark.parametrize("build", [hrnet, hrfpn])
def test_checkpoints_of_bare_backbones_come_back(tmp_path, build):
    model, other = build(), build()
    Checkpointer(model, str(tmp_path)).save("model_final")
    assert load(other, tmp_path / "model_final.pth").complete
    assert changed(other, model.state_dict()) == set()


def test_a_model_without_hrnet(imagenet, mask_rcnn, save):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    path = save(imagenet)
    title = "ImageNet classification (official or timm): HRNet w18_small_v1"
    assert refusal(model, path) == f"{path} is {title}, but this model has no HRNet"
    resnet = model_zoo.get("quickstart/faster_rcnn_resnet_fpn")
    said = refusal(resnet, save({"state_dict": renamed(mask_rcnn, MMDET)}))
    assert said.endswith(f"Mask R-CNN, {TITLE}, but this model has no HRNet")
    weights = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    assert load(model, save(weights)).complete and changed(model, weights) == set()


# --- other files ---


def test_foreign_content_is_named(save):
    path = save({"stem.conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(2)})
    first = ", ".join(BODY + name for name in ("conv1.weight", "bn1.weight", "bn1.bias"))
    assert refusal(detector(), path) == (
        f"{path}: none of its 2 tensors belongs to this model (the file has stem.conv1.weight, "
        f"fc.bias; the model {first}, ...)"
    )


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "none.pth"
    said = refusal(hrnet(), path, MissingInputError)
    assert said.startswith(f"weights {path} are not there: give a file, or")


def test_a_checkpointer_can_be_used_again_after_a_refusal(tmp_path, save):
    checkpointer = Checkpointer(detector(), str(tmp_path))
    checkpointer.save("good")
    good = str(tmp_path / "good.pth")
    assert checkpointer.load(good) == {"matching_heuristics": False}
    with pytest.raises(InputError):
        checkpointer.load(str(save({"x": torch.zeros(1)})))
    assert checkpointer.report is None
    assert checkpointer.load(good) == {"matching_heuristics": False}
    assert checkpointer.report.complete


def test_objects_that_were_left_out_are_in_the_report(imagenet, save):
    report = load(hrnet(), save({"state_dict": imagenet, "meta": {"loss": np.float64(3.5)}}))
    kinds = [f"{np.float64(0).__reduce__()[0].__module__}.scalar", "numpy.dtype"]
    assert sorted(report.dropped["Python objects beside the weights"]) == kinds
    assert report.complete


def test_permission_for_pickled_objects(imagenet, tmp_path):
    path = tmp_path / "zoo.pkl"
    arrays = {name: tensor.numpy() for name, tensor in imagenet.items()}
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "someone"}))
    model = hrnet()
    assert refusal(model, path).startswith(f"{path} cannot be read as plain tensors: ")
    assert load(model, path, allow_pickle=True).complete
    assert changed(model, imagenet) == set()


def test_timms_address_is_fetched_and_loaded(imagenet, save, monkeypatch):
    path, asked = save(imagenet, "model.safetensors"), []
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda *words: asked.append(words) or str(path)
    )
    model = hrnet()
    assert load(model, "timm://hrnet_w18.ms_in1k").loaded == {"backbone": 426}
    assert asked == [("timm/hrnet_w18.ms_in1k", "model.safetensors")]
    assert changed(model, imagenet) == set()


def test_a_path_with_a_question_mark(imagenet, save):
    assert load(hrnet(), save(imagenet, "why?.pth")).complete
