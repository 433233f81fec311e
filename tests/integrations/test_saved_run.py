"""A saved run in Detectron2's DefaultPredictor, in SAHI and in supervision, as they stand."""

import os
import re
import sys

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.engine import DefaultPredictor
from helpers.tiny import CLASSES, REPO, TINY, custom, train_net
from PIL import Image

import hrnet_det
from hrnet_det.errors import InputError, MissingInputError, SetupError

NAMES = ("custom_train", "custom_test")


@pytest.fixture(scope="module")
def run(coco, tmp_path_factory):
    """The folder of a training of Mask R-CNN on three classes, with an evaluation at its end."""
    output = tmp_path_factory.mktemp("runs") / "mask"
    words = ["--config-file", "hrnetv2p_mask_rcnn.yaml", *TINY, "OUTPUT_DIR", output]
    done = train_net(*words, *custom(coco, "polygons.json"), "SOLVER.MAX_ITER", "1")
    assert done.code == 0, done.err
    return output


@pytest.fixture
def forgotten():
    """As in a new process: nothing is known of the run's datasets."""
    for name in NAMES:
        if name in MetadataCatalog:
            MetadataCatalog.pop(name)


@pytest.fixture
def sahi(monkeypatch):
    """SAHI, whose models change the environment's GPUs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    pytest.importorskip("sahi.predict")
    return pytest.importorskip("sahi")


@pytest.fixture(scope="module")
def detector(run):
    return hrnet_det.Detector.from_pretrained(run, device="cpu")


@pytest.fixture(scope="module")
def image(coco):
    """(64, 96, 3) uint8, RGB."""
    return np.array(Image.open(coco / "images" / "1.png"))


def test_default_predictor_finds_what_detector_finds(run, detector, image, forgotten, caplog):
    cfg = hrnet_det.saved_config(run, device="cpu")
    assert caplog.messages == [f"{run}: weights model_best.pth, of the best evaluation"]
    assert str(run / "model_best.pth") == cfg.MODEL.WEIGHTS
    assert (cfg.DATASETS.TRAIN, cfg.DATASETS.TEST) == (("custom_train",), ("custom_test",))
    predictor = DefaultPredictor(cfg)
    assert predictor.metadata.thing_classes == CLASSES
    assert MetadataCatalog.get("custom_train").thing_classes == CLASSES
    theirs = predictor(image[:, :, ::-1])["instances"]
    ours = detector(image)
    assert len(ours) == len(theirs) == 10
    torch.testing.assert_close(theirs.scores, ours.scores, atol=1e-5, rtol=0)
    boxes = theirs.pred_boxes.tensor, ours.pred_boxes.tensor
    torch.testing.assert_close(*boxes, atol=1e-3, rtol=0)  # pixels
    assert torch.equal(theirs.pred_classes, ours.pred_classes)
    assert (theirs.pred_masks != ours.pred_masks).float().mean() < 1e-3


def test_the_device_is_what_is_here_or_given(run, forgotten):
    here = "cuda" if torch.cuda.is_available() else "cpu"
    assert here == hrnet_det.saved_config(run).MODEL.DEVICE
    cfg = hrnet_det.saved_config(str(run / "model_final.pth"), device="cuda:1")
    assert ("cuda:1", str(run / "model_final.pth")) == (cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS)


def test_classes_of_another_run_give_way_and_it_is_said(run, forgotten, caplog):
    earlier = MetadataCatalog.get("custom_test").set(thing_classes=["cat"], image_root="cats")
    hrnet_det.saved_config(run)
    found = MetadataCatalog.get("custom_test")
    assert (found.thing_classes, found.image_root) == (CLASSES, "cats")
    assert earlier.thing_classes == ["cat"]
    assert caplog.messages[1:] == [
        "custom_test: its classes are now those of the weights, disc, bar, absent; they were cat"
    ]
    hrnet_det.saved_config(run)
    assert len(caplog.messages) == 3


def test_what_plain_detectron2_cannot_open_is_said(run, tmp_path):
    with pytest.raises(MissingInputError, match=r"^the folder .*/no of a training is not there$"):
        hrnet_det.saved_config(tmp_path / "no")
    file = run / "model_final.safetensors"
    with pytest.raises(
        InputError, match=rf"^{file}: Detectron2 reads \.pth files alone: hrnet-det"
    ):
        hrnet_det.saved_config(file)


def test_a_run_of_a_lazy_config_is_told_to_take_detector(tmp_path, run):
    content = torch.load(run / "model_final.pth", weights_only=True)
    lazy = hrnet_det.model_zoo.named_run("COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.py")
    content["hrnet_det"]["config"] = lazy.text()
    torch.save(content, tmp_path / "model_final.pth")
    with pytest.raises(
        InputError, match=r"Config, and DefaultPredictor takes YAML configs: take h"
    ):
        hrnet_det.saved_config(tmp_path)


def values(found):
    """Boxes, scores and classes of SAHI's predictions of an image."""
    return [(*one.bbox.to_xyxy(), one.score.value, one.category.name) for one in found]


def test_sahi_finds_with_a_slice_that_is_the_image_what_detector_finds(detector, image, sahi):
    model = hrnet_det.sahi_model(detector, confidence_threshold=0)
    objects = detector(image)
    found = sahi.predict.get_prediction(image, model).object_prediction_list
    assert [one.score.value for one in found] == objects.scores.tolist()
    assert [one.category.name for one in found] == [CLASSES[k] for k in objects.pred_classes]
    for one, mask in zip(found, objects.pred_masks.numpy(), strict=True):
        assert (one.mask.bool_mask != mask).mean() < 0.05  # SAHI keeps the polygons of their rims


def test_sahi_finds_objects_in_every_slice(detector, image, sahi):
    model = hrnet_det.sahi_model(detector, confidence_threshold=0)
    found = sahi.predict.get_sliced_prediction(
        image,
        model,
        slice_height=40,  # of 64, with an overlap of 16: two
        slice_width=56,  # of 96, likewise
        overlap_height_ratio=0.4,
        overlap_width_ratio=2 / 7,
        postprocess_type="NMS",
        postprocess_match_metric="IOU",
        perform_standard_pred=False,
        verbose=0,
    ).object_prediction_list
    boxes = [one.bbox.to_xyxy() for one in found]
    assert len({((x0 + x1) / 2 > 48, (y0 + y1) / 2 > 32) for x0, y0, x1, y1 in boxes}) == 4
    assert all(one.category.name == CLASSES[one.category.id] for one in found)
    assert all(one.mask.bool_mask.shape == (64, 96) for one in found)


def test_without_sahi_it_is_said_what_to_do(detector, monkeypatch):
    monkeypatch.setitem(sys.modules, "sahi.models.detectron2", None)
    with pytest.raises(SetupError, match=r"^sahi_model needs SAHI \(.*\): pip install sahi, which"):
        hrnet_det.sahi_model(detector)


def test_sahis_own_wrapper_opens_a_run_and_the_line_of_the_docs_gives_it_the_colours(
    run, image, sahi, forgotten
):
    cfg = hrnet_det.saved_config(run, device="cpu")
    model = sahi.AutoDetectionModel.from_pretrained(
        model_type="detectron2",
        model_path=cfg.MODEL.WEIGHTS,
        config_path=str(run / "config.yaml"),
        confidence_threshold=0.1,
        device="cpu",
    )
    assert model.category_mapping == {"0": "disc", "1": "bar", "2": "absent"}
    model.model.input_format = "unchanged"
    found = sahi.predict.get_prediction(image, model).object_prediction_list
    expected = DefaultPredictor(cfg)(image[:, :, ::-1])["instances"]
    assert [one.score.value for one in found] == expected.scores.tolist()
    assert [one.category.name for one in found] == [CLASSES[k] for k in expected.pred_classes]


def test_supervision_has_the_objects_and_draws_them_with_their_names(detector, image):
    supervision = pytest.importorskip("supervision")
    objects = detector(image)
    found = objects.to_supervision()
    assert np.array_equal(found.xyxy, objects.pred_boxes.tensor.numpy())
    assert np.array_equal(found.mask, objects.pred_masks.numpy())
    assert found.confidence.tolist() == objects.scores.tolist()
    assert found.class_id.tolist() == objects.pred_classes.tolist()
    names = [CLASSES[k] for k in objects.pred_classes]
    assert found["class_name"].tolist() == names == objects.names
    theirs = supervision.Detections.from_detectron2({"instances": objects})
    assert np.array_equal(theirs.xyxy, found.xyxy) and np.array_equal(theirs.mask, found.mask)
    disc = found[found["class_name"] == "disc"]
    assert len(disc) == names.count("disc") > 0
    drawn = image.copy()
    for annotator in (supervision.MaskAnnotator(), supervision.BoxAnnotator()):
        before, drawn = drawn, annotator.annotate(drawn.copy(), disc)
        assert not np.array_equal(before, drawn)
    # Without labels= it writes the class names, as it does the same texts.
    wide = np.zeros((400, 600, 3), np.uint8)
    label = supervision.LabelAnnotator()
    written = label.annotate(wide.copy(), disc)
    assert np.array_equal(written, label.annotate(wide.copy(), disc, labels=["disc"] * len(disc)))
    assert not np.array_equal(written, label.annotate(wide.copy(), disc, labels=["0"] * len(disc)))
    none = objects[[]].to_supervision()
    assert (len(none), none.mask.shape, none["class_name"].tolist()) == (0, (0, 64, 96), [])


def test_without_supervision_it_is_said_what_to_do(detector, image, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(SetupError, match=r"needs supervision \(.*\): pip install 'hrnet_det\[sup"):
        detector(image).to_supervision()


def test_the_blocks_of_the_docs_run_as_they_stand(run, image, tmp_path, monkeypatch, sahi):
    """Those that begin with a training's folder, as if it were output/mine."""
    pytest.importorskip("supervision")
    page = (REPO / "docs" / "python-api.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    blocks = [block for block in blocks if '"output/mine"' in block]
    assert len(blocks) == 5
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "mine").symlink_to(run)
    Image.fromarray(image).save(tmp_path / "street.jpg")
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(compile(block, "python-api.md", "exec"), {})
    assert Image.open("drawn.jpg").size[0] >= image.shape[1]
