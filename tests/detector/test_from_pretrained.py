"""Detectors of weights files: whose they are, and with what options."""

import copy
import pickle

import numpy as np
import pytest
import timm
import torch
from detectron2.data import transforms as T
from helpers.detectors import ARCHITECTURES, COMPAT, HEADS, has_masks
from helpers.foreign_weights import FIVE, KINDS, image, own, renamed, same, small, stated
from helpers.legacy_reference import random_weights
from helpers.refusals import error_of
from omegaconf import OmegaConf
from PIL import Image

from hrnet_det import Detector, model_zoo
from hrnet_det.checkpoint.convert import convert
from hrnet_det.checkpoint.formats import HRNET_OBJECT_DETECTION, MASKRCNN_BENCHMARK, MMDET
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.checkpoint.model_config import config_of
from hrnet_det.config import settings
from hrnet_det.config.load import load_run
from hrnet_det.detector.options import set_options
from hrnet_det.errors import InputError, MissingInputError
from hrnet_det.modeling.compat.boxes import ImageSize


@pytest.mark.parametrize(("kind", "classes"), [*zip(KINDS, (5, 2, 7, 5, 4, 3), strict=True)])
def test_the_config_follows_from_the_tensors(mmdet, kind, classes, monkeypatch):
    monkeypatch.setattr(model_zoo, "inference_form", lambda _, model: model)  # as it was loaded
    found = Detector.from_pretrained(mmdet(kind, classes), device="cpu")
    fcos = kind == "fcos"
    assert type(found.model).__name__ == COMPAT.get(kind, "CompatRCNN")
    assert stated(found, "META_ARCHITECTURE", "CONVENTIONS", "HRNET.VARIANT", "MASK_ON") == [
        ARCHITECTURES.get(kind, "GeneralizedRCNN"),
        "mmdet",
        "w18_small_v1",
        has_masks(kind),
    ]
    assert stated(found, "FCOS.NUM_CLASSES" if fcos else "ROI_HEADS.NUM_CLASSES") == [classes]
    heads = HEADS.get(kind, "StandardROIHeads")
    assert fcos or stated(found, "ROI_HEADS.NAME") == [heads]
    pixels = stated(found, "FORMAT", "RESIZE", "MIN_SIZE_TEST", "MAX_SIZE_TEST", group="INPUT")
    assert pixels == ["BGR" if fcos else "RGB", "opencv", 800, 1333]
    assert found.class_names == [f"class {number}" for number in range(classes)]
    assert found.report.complete and not found.model.training
    loaded = found.model.state_dict()
    assert all(torch.equal(loaded[name], t) for name, t in own(kind, classes).items())


def test_a_cascade_with_one_mask_head_is_detectron2s(tmp_path):
    words = ["MODEL.ROI_HEADS.NAME", "CascadeROIHeads", "MODEL.MASK_ON", "True"]
    file = renamed(MMDET, own("cascade_rcnn", words=words))
    torch.save({"state_dict": file}, tmp_path / "w.pth")
    found = Detector.from_pretrained(tmp_path / "w.pth", device="cpu")
    assert stated(found, "ROI_HEADS.NAME", "MASK_ON") == ["CascadeROIHeads", True]
    assert found.report.complete and "Cascade R-CNN with one mask head" in str(found.report)


def test_the_size_of_a_resized_image_can_be_copied_and_sent():
    size = ImageSize((60, 80), (0.5, 0.25))
    for made in (copy.copy(size), copy.deepcopy(size), pickle.loads(pickle.dumps(size))):
        assert made == (60, 80) and made.scale == (0.5, 0.25)


def test_class_names(mmdet, five):
    assert five.class_names == FIVE  # as the file says
    coco = small(mmdet(classes=80)).class_names
    assert (len(coco), coco[0], coco[11], coco[79]) == (80, "person", "stop sign", "toothbrush")
    odd = small(mmdet(names=[f"class {k} of another dataset" for k in range(80)]))
    assert odd.class_names == [f"class {k}" for k in range(5)]  # as many as mmdetection 1 writes
    assert small(mmdet(names=FIVE), class_names=tuple("vwxyz")).class_names == list("vwxyz")
    assert error_of(lambda: small(mmdet(), class_names=["a", "b"])) == (
        "2 class names (a, ...) for 5 classes"
    )


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("hrnet_object_detection", "faster_rcnn"),
        ("hrnet_object_detection", "cascade_rcnn"),
        ("maskrcnn_benchmark", "mask_rcnn"),
    ],
)
def test_detectors_of_the_older_code_bases(source, kind, tmp_path):
    older = source == "hrnet_object_detection"
    channels = 256 if "mask" in kind else 32  # of the mask heads, too
    body = {n: t for n, t in own(kind, channels=channels).items() if n.startswith("backbone.")}
    heads = random_weights(source, kind, channels=channels, fc=1024)
    path = tmp_path / "older.pth"
    format = HRNET_OBJECT_DETECTION if older else MASKRCNN_BENCHMARK
    torch.save({"model": renamed(format, body) | heads}, path)
    found = small(path)
    keys = ("CONVENTIONS", "META_ARCHITECTURE", "ROI_HEADS.NUM_CLASSES", "MASK_ON")
    assert stated(found, *keys) == [source, "GeneralizedRCNN", 5, "mask" in kind]
    pixels = ["RGB", "opencv_float"] if older else ["BGR", "pillow_floor"]
    assert stated(found, "FORMAT", "RESIZE", group="INPUT") == pixels
    assert found.report.complete and len(found(image())) > 0


def test_a_converted_file_detects_the_same(mmdet, five, tmp_path):
    path = tmp_path / "ours.safetensors"
    convert(str(mmdet(names=FIVE)), path)
    found = small(path)
    assert (found.class_names, stated(found, "CONVENTIONS")) == (FIVE, ["mmdet"])
    assert same(found(image()), five(image()))


def test_a_config_that_is_given_stays_as_it_was(mmdet):
    cfg = config_of(read_weights(mmdet())).cfg
    cfg.MODEL.DEVICE = "cuda"
    cfg.freeze()
    before = cfg.dump()
    Detector.from_pretrained(mmdet(), config=cfg, device="cpu")
    assert cfg.dump() == before and cfg.is_frozen()


def test_weights_that_are_no_whole_detector(mmdet, tmp_path):
    path = tmp_path / "w.pth"
    torch.save(timm.create_model("hrnet_w18_small").state_dict(), path)
    assert error_of(lambda: Detector.from_pretrained(path)) == (
        f"{path} (ImageNet classification (official or timm)) holds no whole detector of a kind "
        "that is known here. Take a file that does; this one may be a backbone's, which is "
        "MODEL.WEIGHTS of a training"
    )
    theirs = renamed(MMDET, own("faster_rcnn"))
    torch.save({n: t for n, t in theirs.items() if not n.startswith("rpn_head.")}, path)
    lines = error_of(lambda: Detector.from_pretrained(path, device="cpu")).splitlines()
    assert lines[0] == (
        f"a part of the detector is not in {path}: take the weights of a whole detector with the "
        "same classes"
    )
    (rpn,) = [line.split() for line in lines if line.startswith("RPN")]
    assert rpn[:4] == ["RPN", "0", "of", "6"]
    torch.save({n: t for n, t in theirs.items() if n != "rpn_head.rpn_conv.bias"}, path)
    assert "RPN: 1 missing: proposal_generator.rpn_head.conv.bias" in error_of(
        lambda: Detector.from_pretrained(path, device="cpu")
    )
    none = tmp_path / "none.pth"
    said = error_of(lambda: Detector.from_pretrained(none), MissingInputError)
    assert said == (
        f"weights {none} are not there: give a file, or the address of one (hrnet-det checkpoints "
        "lists those that are published)"
    )


def test_a_config_inside_a_file_that_has_unknown_keys(tmp_path):
    metadata = {"config": "MODEL: {LATER: 1}", "classes": FIVE}
    torch.save({"model": own("faster_rcnn"), "hrnet_det": metadata}, tmp_path / "w.pth")
    assert "MODEL.LATER" in error_of(lambda: Detector.from_pretrained(tmp_path / "w.pth"))


@pytest.mark.parametrize("config", ["a: [", "text", ["MODEL"], 3])
def test_a_config_inside_a_file_that_is_none(tmp_path, config):
    torch.save({"model": own("faster_rcnn"), "hrnet_det": {"config": config}}, tmp_path / "w.pth")
    said = error_of(lambda: Detector.from_pretrained(tmp_path / "w.pth"))
    assert said.startswith(f"the config in {tmp_path / 'w.pth'} cannot be used by this version")


def test_a_device_that_is_not_there(tmp_path):
    torch.save({"model": own("faster_rcnn")}, tmp_path / "w.pth")
    (tmp_path / "config.yaml").write_text("SEED: 1")
    said = error_of(lambda: Detector.from_pretrained(tmp_path / "w.pth", device="gpu"))
    assert said.startswith("device 'gpu' cannot be used here: ")


@pytest.mark.parametrize("name", ["quickstart/rpn.yaml", "quickstart/semantic.yaml"])
def test_a_model_without_objects_is_no_detector(name):
    cfg = model_zoo.get_config(name)
    with pytest.raises(InputError, match=r"^(RPN|Semantic segmentation) gives no objects; take"):
        Detector(torch.nn.Identity(), cfg, [])


def test_size_and_number_of_detections_are_the_callers(mmdet, caplog):
    detector = small(mmdet(names=FIVE), size=(64, 96), max_detections=1)
    assert detector.run[settings.MIN_SIZE_TEST] == 64
    assert detector.run[settings.MAX_SIZE_TEST] == 96
    assert len(detector(image(64, 64))) == 1
    assert "an image has 1 objects, as many as are given at most" in caplog.text
    for wrong in ((10, 20), (96, 64), (64.0, 96), (64, 80, 96)):
        with pytest.raises(InputError, match="give the shorter side in pixels, at least 32"):
            small(mmdet(names=FIVE), size=wrong)
    small(mmdet(names=FIVE), size=(60,))(image(200, 240))
    assert (
        "an image of 240x200 is resized to 72x60 (x0.30), so that objects are 3 ti" in caplog.text
    )


def test_options_of_a_lazy_config_reach_its_mapper():
    run = load_run("COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.py")
    run[settings.DEVICE], run[settings.OPTIMIZED] = "cpu", False
    set_options(run, size=(60,), max_detections=7, pixel_range=(5.0, 9.0), max_pixels=54)
    assert run.cfg.model.roi_heads.box_predictor.test_topk_per_image == 7
    detector = Detector(torch.nn.Identity(), run, FIVE)
    assert detector.read(np.full((6, 9), 7, np.uint16), "RGB").tolist() == [[[128] * 3] * 9] * 6
    (resize,) = detector._mapper.augmentations.augs
    made = resize.get_transform(np.zeros((200, 800, 3)))
    assert (made.new_w, made.new_h) == (100, 25)  # 5 / 3 of 60, at most
    with pytest.raises(InputError, match=r"9x7 pixels, more than INPUT\.MAX_PIXELS 54: raise it"):
        detector.read(Image.new("L", (9, 7)), "RGB")


def test_options_that_a_lazy_config_cannot_have_are_refused():
    run = load_run("COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.py")
    objects = OmegaConf.create([T.ResizeShortestEdge(60)], flags={"allow_objects": True})
    for steps in ([], objects):
        run.cfg.dataloader.test.mapper.augmentations = steps
        with pytest.raises(InputError, match=r"this LazyConfig has no L\(T.ResizeShortestEdge"):
            set_options(run, size=(60,))
    for mapper in (run.cfg.dataloader.test.mapper, run.cfg.dataloader.train.mapper):
        del mapper["pixel_range"], mapper["max_pixels"]
    for options in ({"pixel_range": (0, 1)}, {"max_pixels": 5}):
        with pytest.raises(InputError, match=r"the mapper of this LazyConfig has none; take hrnet"):
            set_options(run, **options)


def test_a_device_that_holds_no_numbers_and_no_detections_are_refused(mmdet):
    with pytest.raises(InputError, match="meta"):
        Detector.from_pretrained(mmdet(names=FIVE), device="meta")
    with pytest.raises(InputError, match="max_detections 0: give a whole number of at least 1"):
        small(mmdet(names=FIVE), max_detections=0)
