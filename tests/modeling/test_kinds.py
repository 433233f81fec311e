"""The table of kinds: of shipped configs, of checkpoints, and a kind that a user adds."""

import pytest
import torch
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone
from detectron2.structures import Boxes, Instances
from torch import nn

from hrnet_det import get_cfg, model_zoo
from hrnet_det.checkpoint import Checkpointer
from hrnet_det.checkpoint.infer import infer_detector
from hrnet_det.config import settings
from hrnet_det.config.load import as_run, load_run
from hrnet_det.errors import InputError
from hrnet_det.modeling.kinds import (
    KINDS,
    OBJECTS,
    SEGMENTS,
    SEMANTIC_LABELS,
    Kind,
    class_axis,
    find_kind,
    kind_of,
    recognise_kind,
    register_kind,
)

# Of shipped configs, by the start of their names: kind, title, metric, what it learns from.
SHIPPED = {
    "faster_rcnn": ("faster_rcnn", "Faster R-CNN", "bbox/AP", {OBJECTS}),
    "hrnetv2p_faster_rcnn": ("faster_rcnn", "Faster R-CNN", "bbox/AP", {OBJECTS}),
    "mask_rcnn": ("mask_rcnn", "Mask R-CNN", "bbox/AP", {OBJECTS}),
    "hrnetv2p_mask_rcnn": ("mask_rcnn", "Mask R-CNN", "bbox/AP", {OBJECTS}),
    "keypoint_rcnn": ("keypoint_rcnn", "Keypoint R-CNN", "bbox/AP", {OBJECTS}),
    "cascade_rcnn": ("cascade_rcnn", "Cascade R-CNN", "bbox/AP", {OBJECTS}),
    "cascade_mask_rcnn": ("cascade_mask_rcnn", "Cascade Mask R-CNN", "bbox/AP", {OBJECTS}),
    "htc": ("htc", "Hybrid Task Cascade", "bbox/AP", {OBJECTS}),
    "rpn": ("rpn", "RPN", "box_proposals/AR@1000", {OBJECTS}),
    "retinanet": ("retinanet", "RetinaNet", "bbox/AP", {OBJECTS}),
    "fcos": ("fcos", "FCOS", "bbox/AP", {OBJECTS}),
    "semantic": (
        "semantic_seg",
        "Semantic segmentation",
        "sem_seg/mIoU",
        {SEMANTIC_LABELS},
    ),
    "panoptic_fpn": (
        "panoptic_fpn",
        "Panoptic FPN",
        "panoptic_seg/PQ",
        {OBJECTS, SEMANTIC_LABELS},
    ),
    "panoptic_deeplab": ("panoptic_deeplab", "Panoptic-DeepLab", "panoptic_seg/PQ", {SEGMENTS}),
}
QUICKSTART = [n for n in model_zoo.names() if n.startswith("quickstart/") and "resnet" not in n]
CPU = ["MODEL.DEVICE", "cpu"]


def expected(name):
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return SHIPPED[max((start for start in SHIPPED if stem.startswith(start)), key=len)]


@pytest.mark.parametrize("name", model_zoo.names())
def test_the_kind_of_a_shipped_config(name):
    kind = kind_of(load_run(name))
    assert (kind.name, kind.title, kind.metric, kind.learns) == expected(name)
    assert kind is KINDS[kind.name]


def test_every_kind_has_a_base_that_is_of_it():
    for kind in KINDS.values():
        run = load_run(kind.base, kind.overrides())
        assert kind_of(run) is kind, kind.name
        assert all(run.has(s) for s in (kind.classes, kind.semantic_classes) if s is not None)


@pytest.mark.parametrize("name", QUICKSTART)
def test_a_detector_is_recognised_by_its_tensors(name):
    model = model_zoo.build_detector(model_zoo.get_config(name, CPU))
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    kind, title, _, learns = expected(name)
    assert recognise_kind(shapes) is KINDS[kind]
    without = "hrnetv1" in name or kind in ("semantic_seg", "panoptic_deeplab")
    network = "HRNet" if without else "HRNetV2p"
    counts = ", 80 classes" * (OBJECTS in learns and kind != "rpn")
    counts += ", 54 semantic classes" * (SEMANTIC_LABELS in learns)
    counts += ", 54 classes" * (SEGMENTS in learns)
    assert infer_detector(shapes).title == f"{title}, {network}-W18-small-v1{counts}"


def test_weights_of_no_detector():
    assert recognise_kind([]) is None
    assert recognise_kind(["backbone.bottom_up.conv1.weight", "backbone.fpn_convs.0.bias"]) is None


def test_masks_and_keypoints_together():
    kind = find_kind("GeneralizedRCNN", "StandardROIHeads", masks=True, keypoints=True)
    assert kind.title == "Mask R-CNN with keypoints" and not kind.augmentable


# --- what the table does not have ---


def test_nothing_is_checked_of_an_unknown_architecture():
    kind = find_kind("MyDetector", "MyHeads", masks=True, keypoints=False)
    assert (kind.name, kind.title, kind.learns) == ("MyDetector", "MyDetector", frozenset())
    assert (kind.conventions, kind.class_layers, kind.marks) == ((), (), ())
    assert (kind.masks, kind.keypoints, kind.augmentable) == (True, False, False)
    assert "MyDetector" not in KINDS


def test_unknown_roi_heads_of_a_known_architecture():
    kind = find_kind("PanopticFPN", "MyHeads", masks=True, keypoints=False)
    assert kind.title == "PanopticFPN with MyHeads"
    assert kind.learns == {OBJECTS, SEMANTIC_LABELS} and kind.metric == "panoptic_seg/PQ"
    assert (kind.conventions, kind.class_layers, kind.marks) == ((), (), ())


@pytest.mark.parametrize(
    ("meta_arch", "roi_heads", "flags", "name"),
    [
        ("GeneralizedRCNN", "CascadeROIHeads", (False, True), "cascade_rcnn"),
        ("HTC", "HTCROIHeads", (False, False), "htc"),
        ("PanopticFPN", "StandardROIHeads", (True, True), "panoptic_fpn"),
    ],
)
def test_known_roi_heads_that_predict_something_else(meta_arch, roi_heads, flags, name):
    masks, keypoints = flags
    kind = find_kind(meta_arch, roi_heads, masks=masks, keypoints=keypoints)
    assert (kind.name, kind.masks, kind.keypoints) == (name, *flags)
    assert not (kind.augmentable and keypoints)


# --- a kind that is added ---


class Corners(nn.Module):
    """A detector as a user may write one: a box from the middle of each image."""

    def __init__(self, cfg):
        super().__init__()
        self.backbone = build_backbone(cfg)
        channels = self.backbone.output_shape()["p3"].channels
        self.corner_head = nn.ModuleDict(
            {
                "hidden": nn.Linear(channels, 8),
                "scores": nn.Linear(8, cfg.MODEL.FCOS.NUM_CLASSES),
            }
        )

    def forward(self, rows):
        return [{"instances": self._detect(row["image"])} for row in rows]

    def _detect(self, image):
        x = self.backbone(image[None])["p3"].mean(dim=(2, 3))
        scores = self.corner_head["scores"](self.corner_head["hidden"](x)).sigmoid()[0]
        height, width = image.shape[1:]
        return Instances(
            (height, width),
            pred_boxes=Boxes(torch.tensor([[0.0, 0, width, height]])),
            scores=scores.max()[None],
            pred_classes=scores.argmax()[None],
        )


@pytest.fixture
def corners(monkeypatch):
    """The kind, with its class registered, as long as a test runs."""
    monkeypatch.setitem(META_ARCH_REGISTRY._obj_map, "Corners", Corners)
    kind = register_kind(
        Kind(
            name="corners",
            title="Corner detector",
            base="Base-FCOS-HRNetV2p.yaml",
            meta_arch="Corners",
            classes=settings.FCOS_CLASSES,
            count_classes=lambda shapes: shapes["corner_head.scores.bias"][0],
            marks=("corner_head.",),
            class_layers=(r"corner_head\.scores\..+",),
        )
    )
    yield kind
    del KINDS["corners"]


def corner_detector(classes):
    cfg = model_zoo.get_config("Base-FCOS-HRNetV2p", [*CPU, "MODEL.HRNET.VARIANT", "w18_small_v1"])
    cfg.MODEL.META_ARCHITECTURE = "Corners"
    cfg.MODEL.FCOS.NUM_CLASSES = classes
    return cfg, model_zoo.build_detector(cfg).eval()


def test_a_new_kind_is_one_row(corners, tmp_path):
    cfg, model = corner_detector(classes=3)
    assert kind_of(as_run(cfg)) is corners
    assert recognise_kind(model.state_dict()) is corners
    assert (class_axis("corner_head.scores.bias"), class_axis("corner_head.hidden.bias")) == (
        0,
        None,
    )
    (found,) = model([{"image": torch.rand(3, 64, 64)}])
    assert len(found["instances"]) == 1
    # its weights come back, and are fine-tuned to other classes
    Checkpointer(model, str(tmp_path)).save("model")
    _, other = corner_detector(classes=5)
    checkpointer = Checkpointer(other)
    checkpointer.load(str(tmp_path / "model.pth"))
    report = checkpointer.report
    assert report.title == (
        "hrnet_det or Detectron2: Corner detector, HRNetV2p-W18-small-v1, 3 classes"
    )
    assert [row[0] for row in report.mismatched] == [
        "corner_head.scores.weight",
        "corner_head.scores.bias",
    ]
    assert (report.loaded["corner_head"], report.expected["corner_head"]) == (2, 4)
    assert report.faults == [] and report.missing == []


def test_a_new_kind_follows_no_conventions_unless_its_row_says_so(corners):
    cfg, _ = corner_detector(classes=3)
    cfg.MODEL.CONVENTIONS = "mmdet"
    with pytest.raises(InputError, match=r"MODEL\.CONVENTIONS mmdet is not for Corner detector"):
        model_zoo.build_detector(cfg)


def test_a_name_is_for_one_kind(corners):
    with pytest.raises(ValueError, match="there is a kind 'corners' already: Corner detector"):
        register_kind(corners)


def test_defaults_of_detectron2_are_a_kind():
    assert kind_of(as_run(get_cfg())).title == "GeneralizedRCNN with Res5ROIHeads"
