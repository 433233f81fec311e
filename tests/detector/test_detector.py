"""Detectors of weights files, and images through them."""

import copy
import functools
import pickle
import shutil
import sys

import cv2
import numpy as np
import pytest
import timm
import torch
from detectron2.data import transforms as T
from detectron2.modeling import build_model
from detectron2.structures import Instances
from helpers.detectors import ARCHITECTURES, COMPAT, HEADS, has_masks
from helpers.legacy_reference import random_weights
from helpers.tiny import CLASSES, TINY, custom, train_net
from omegaconf import OmegaConf
from PIL import Image
from torch import nn

from hrnet_det import Detector, model_zoo
from hrnet_det.checkpoint.convert import convert
from hrnet_det.checkpoint.formats import HRNET_OBJECT_DETECTION, MASKRCNN_BENCHMARK, MMDET
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.checkpoint.model_config import config_of, known_config
from hrnet_det.config import settings
from hrnet_det.config.load import load_run
from hrnet_det.config.yaml import merge_overrides
from hrnet_det.detector.detections import Detections
from hrnet_det.detector.options import set_options
from hrnet_det.errors import InputError, MissingInputError
from hrnet_det.modeling.compat.boxes import ImageSize

KINDS = ("faster_rcnn", "mask_rcnn", "cascade_rcnn", "cascade_mask_rcnn", "htc", "fcos")
FIVE = ["ant", "bee", "cat", "dog", "eel"]
RUN = ["--config-file", "hrnetv2p_faster_rcnn.yaml", *TINY]


def own(kind, classes=5, channels=64, conventions="mmdet", words=()):
    """Random weights of a small detector, by our names, that detect something everywhere."""
    cfg = known_config(kind, conventions, [
        "MODEL.HRNET.VARIANT", "w18_small_v1", "MODEL.HRFPN.OUT_CHANNELS", str(channels),
        "MODEL.ROI_HEADS.NUM_CLASSES", str(classes), "MODEL.FCOS.NUM_CLASSES", str(classes),
        "MODEL.MASK_ON", str(has_masks(kind)), "MODEL.DEVICE", "cpu", *words,
    ])  # fmt: skip
    torch.manual_seed(0)
    model = build_model(cfg)
    if kind == "fcos":
        torch.nn.init.zeros_(model.head.cls_score.bias)
    return model.state_dict()


def renamed(format, weights):
    return {format.to_theirs(name): tensor for name, tensor in weights.items()}


def small(path, **options):
    """The detector of a file, for images of 96 to 160 pixels."""
    run = config_of(read_weights(path))
    run[settings.MIN_SIZE_TEST], run[settings.MAX_SIZE_TEST] = 96, 160
    return Detector.from_pretrained(path, config=run, device="cpu", **options)


def stated(found, *keys, group="MODEL"):
    """Values of a detector's config."""
    return [functools.reduce(getattr, key.split("."), found.cfg[group]) for key in keys]


def image(height=60, width=100):
    """Noise that is finer than pixels of a resized image. (H, W, 3) uint8, RGB."""
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def same(found, expected):
    assert found.image_size == expected.image_size
    assert list(found.get_fields()) == list(expected.get_fields())
    for name, value in found.get_fields().items():
        other = expected.get(name)
        assert torch.equal(getattr(value, "tensor", value), getattr(other, "tensor", other)), name
    return len(found) > 0


def message(call, kind=InputError):
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


@pytest.fixture(scope="module")
def mmdet(tmp_path_factory):
    """Files as mmdetection names them; of each kind, made once."""
    folder = tmp_path_factory.mktemp("mmdet")

    def file(kind="faster_rcnn", classes=5, names=None):
        path = folder / f"{kind}_{classes}_{len(names or ())}.pth"
        if not path.exists():
            meta = {"dataset_meta": {"classes": tuple(names)}} if names else {"epoch": 12}
            torch.save({"state_dict": renamed(MMDET, own(kind, classes)), "meta": meta}, path)
        return path

    return file


@pytest.fixture(scope="module")
def five(mmdet):
    """A detector of five classes that have names."""
    return small(mmdet(names=FIVE))


@pytest.fixture(scope="module")
def run(coco, tmp_path_factory):
    """The folder of a training run on three classes."""
    output = tmp_path_factory.mktemp("runs") / "faster"
    assert train_net(*RUN, *custom(coco, "boxes.json", ["TRAIN"]), "OUTPUT_DIR", output).code == 0
    return output


# --- whose detector it is ---


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
    assert message(lambda: small(mmdet(), class_names=["a", "b"])) == (
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
    assert message(lambda: Detector.from_pretrained(path)) == (
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
    assert message(lambda: Detector.from_pretrained(path)) == (
        f"{path} (ImageNet classification (official or timm)) holds no whole detector of a kind "
        "that is known here. Take a file that does; this one may be a backbone's, which is "
        "MODEL.WEIGHTS of a training"
    )
    theirs = renamed(MMDET, own("faster_rcnn"))
    torch.save({n: t for n, t in theirs.items() if not n.startswith("rpn_head.")}, path)
    lines = message(lambda: Detector.from_pretrained(path, device="cpu")).splitlines()
    assert lines[0] == (
        f"a part of the detector is not in {path}: take the weights of a whole detector with the "
        "same classes"
    )
    (rpn,) = [line.split() for line in lines if line.startswith("RPN")]
    assert rpn[:4] == ["RPN", "0", "of", "6"]
    torch.save({n: t for n, t in theirs.items() if n != "rpn_head.rpn_conv.bias"}, path)
    assert "RPN: 1 missing: proposal_generator.rpn_head.conv.bias" in message(
        lambda: Detector.from_pretrained(path, device="cpu")
    )
    none = tmp_path / "none.pth"
    said = message(lambda: Detector.from_pretrained(none), MissingInputError)
    assert said == f"weights {none} are not there"


def test_a_config_inside_a_file_that_has_unknown_keys(tmp_path):
    metadata = {"config": "MODEL: {LATER: 1}", "classes": FIVE}
    torch.save({"model": own("faster_rcnn"), "hrnet_det": metadata}, tmp_path / "w.pth")
    assert "MODEL.LATER" in message(lambda: Detector.from_pretrained(tmp_path / "w.pth"))


@pytest.mark.parametrize("config", ["a: [", "text", ["MODEL"], 3])
def test_a_config_inside_a_file_that_is_none(tmp_path, config):
    torch.save({"model": own("faster_rcnn"), "hrnet_det": {"config": config}}, tmp_path / "w.pth")
    said = message(lambda: Detector.from_pretrained(tmp_path / "w.pth"))
    assert said.startswith(f"the config in {tmp_path / 'w.pth'} cannot be used by this version")


def test_a_device_that_is_not_there(tmp_path):
    torch.save({"model": own("faster_rcnn")}, tmp_path / "w.pth")
    (tmp_path / "config.yaml").write_text("SEED: 1")
    said = message(lambda: Detector.from_pretrained(tmp_path / "w.pth", device="gpu"))
    assert said.startswith("device 'gpu' cannot be used here: ")


# --- images ---


@pytest.mark.parametrize("kind", KINDS)
def test_instances(mmdet, kind):
    found = small(mmdet(kind))(image())
    assert type(found) is Detections and found.image_size == (60, 100)
    fields = ["pred_boxes", "scores", "pred_classes"] + ["pred_masks"] * has_masks(kind)
    assert sorted(found.get_fields()) == sorted(fields)
    boxes, scores = found.pred_boxes.tensor, found.scores
    assert boxes.shape == (len(found), 4) and 0 < len(found) <= 100
    assert {value.device.type for value in (boxes, scores, found.pred_classes)} == {"cpu"}
    assert torch.equal(scores, scores.sort(descending=True).values)
    assert set(found.pred_classes.tolist()) <= set(range(5))
    assert boxes.min() >= 0 and boxes[:, 2].max() <= 100 and boxes[:, 3].max() <= 60
    if has_masks(kind):
        assert found.pred_masks.shape == (len(found), 60, 100)
        assert found.pred_masks.dtype == torch.bool
    assert not scores.requires_grad


def test_every_form_of_a_image(five, tmp_path):
    rgb, path = image(), tmp_path / "a.png"
    Image.fromarray(rgb).save(path)
    expected = five(rgb)
    for form in (path, str(path), Image.open(path), Image.fromarray(rgb).convert("RGBA")):
        assert same(five(form), expected)
    assert same(five(np.asfortranarray(rgb)), expected)
    several = five([path, rgb, Image.fromarray(rgb)])
    assert type(several) is list and len(several) == 3
    assert all(same(found, expected) for found in several)
    assert [len(found) for found in five((rgb,))] == [len(expected)]
    assert five([]) == []


def test_grey_images_and_exif(five, tmp_path):
    rgb = image()
    grey = Image.fromarray(rgb[:, :, 0])
    expected = five(np.repeat(rgb[:, :, :1], 3, axis=2))
    grey.save(tmp_path / "grey.png")
    assert same(five(grey), expected) and same(five(tmp_path / "grey.png"), expected)
    turned, exif = tmp_path / "turned.png", Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(rgb).save(turned, exif=exif)
    expected = five(np.rot90(rgb, k=-1))
    assert expected.image_size == (100, 60)
    assert same(five(turned), expected) and same(five(Image.open(turned)), expected)


def test_boxes_are_in_the_images_own_pixels(five):
    resized = cv2.resize(image(), (160, 96))  # 1.6 times
    tensor = torch.from_numpy(resized.transpose(2, 0, 1).astype("float32"))
    with torch.no_grad():
        found = five.model([{"image": tensor, "height": 96, "width": 160}])[0]["instances"]
    ours = five(image())
    torch.testing.assert_close(ours.pred_boxes.tensor * 1.6, found.pred_boxes.tensor)
    assert torch.equal(ours.scores, found.scores) and len(ours) > 0


class Given(nn.Module):
    """In place of a detector: keeps what it is given, and finds nothing."""

    def forward(self, rows):
        self.rows = rows
        return [{"instances": Instances((60, 100), scores=torch.zeros(0))}]


@pytest.mark.parametrize(
    ("kind", "words", "bgr"),
    [
        ("faster_rcnn", [], False),
        ("faster_rcnn", ["INPUT.FORMAT", "BGR"], True),
        ("fcos", [], True),
        ("fcos", ["INPUT.FORMAT", "RGB"], False),
    ],
)
def test_the_model_gets_the_pixels_that_its_config_wants(mmdet, kind, words, bgr):
    cfg = config_of(read_weights(mmdet(kind))).cfg
    merge_overrides(cfg, [*words, "INPUT.MIN_SIZE_TEST", "30", "INPUT.MAX_SIZE_TEST", "50"])
    cfg.TEST.OPTIMIZED = False  # the model has no parts
    given = Given()
    Detector(given, cfg, FIVE)(image())
    (row,) = given.rows
    assert (row["height"], row["width"], row["image"].dtype) == (60, 100, torch.float32)
    expected = cv2.resize(image(), (50, 30))
    expected = expected[:, :, ::-1] if bgr else expected
    assert np.array_equal(row["image"].permute(1, 2, 0).numpy(), expected)


def test_the_model_gets_luma_and_chroma_where_its_config_wants_them(mmdet):
    """INPUT.FORMAT YUV-BT.601, by the matrix of the standard."""
    run = config_of(read_weights(mmdet("faster_rcnn")))
    words = ["INPUT.FORMAT", "YUV-BT.601", "INPUT.RESIZE", "pillow", "TEST.OPTIMIZED", "False"]
    merge_overrides(run.cfg, [*words, "INPUT.MIN_SIZE_TEST", "0"])
    given = Given()
    Detector(given, run, FIVE)(image())
    red, green, blue = image().astype(float).transpose(2, 0, 1) / 255
    expected = [
        0.299 * red + 0.587 * green + 0.114 * blue,
        -0.14713 * red - 0.28886 * green + 0.436 * blue,
        0.615 * red - 0.51499 * green - 0.10001 * blue,
    ]
    np.testing.assert_allclose(given.rows[0]["image"].numpy(), expected, atol=2e-3)


def test_what_is_no_image(five, tmp_path):
    path, text = tmp_path / "no.jpg", tmp_path / "text.jpg"
    said = message(lambda: five(path), MissingInputError)
    assert said == f"image {path} is not there"
    text.write_text("GIF? no")
    assert message(lambda: five(str(text))).startswith(
        f"{text} is not an image that Pillow can read"
    )
    Image.fromarray(image()).save(tmp_path / "half.png")
    half = (tmp_path / "half.png").read_bytes()[:1000]
    (tmp_path / "half.png").write_bytes(half)
    said = message(lambda: five(tmp_path / "half.png"))
    assert said == f"{tmp_path / 'half.png'} is truncated"
    assert message(lambda: five(tmp_path)) == f"{tmp_path} is a folder, not an image"
    for array, what in (
        (np.zeros((3, 5, 6), np.uint8), "(3, 5, 6) uint8"),
        (np.zeros((5, 6, 4), np.uint8), "(5, 6, 4) uint8"),
        (np.zeros((5, 6, 3), complex), "(5, 6, 3) complex128"),
        (np.zeros((0, 6, 3), np.uint8), "(0, 6, 3) uint8"),
    ):
        start = "an image as an array is (H, W) or, in RGB, (H, W, 3), of numbers; this one is "
        assert message(lambda array=array: five(array)) == start + what
    for wrong, name in ((torch.zeros(3, 5, 6), "Tensor"), (None, "NoneType"), (b"a.jpg", "bytes")):
        said = f"an image is a path, a PIL image or an RGB array (H, W, 3), not a {name}"
        assert message(lambda wrong=wrong: five(wrong)) == said


def test_a_missing_opencv_is_said_before_the_first_image(five, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    cfg = five.cfg.clone()
    merge_overrides(cfg, ["TEST.OPTIMIZED", "False"])  # the model is optimised already
    assert message(lambda: Detector(five.model, cfg, FIVE)) == (
        "INPUT.RESIZE opencv needs OpenCV: pip install opencv-python-headless (or, where images "
        "are shown in windows, opencv-python)"
    )


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


def test_weights_of_a_training_say_what_they_were_trained_on(run):
    """Images of 64 to 96 pixels."""
    data = read_weights(run / "model_final.pth").metadata["data"]
    assert 64 <= data["shorter_side"][1] <= data["longer_side"][1] <= 96
    assert data["most_objects"] >= 1 and len(data["size"]) == 2


def test_a_device_that_holds_no_numbers_and_no_detections_are_refused(mmdet):
    with pytest.raises(InputError, match="meta"):
        Detector.from_pretrained(mmdet(names=FIVE), device="meta")
    with pytest.raises(InputError, match="max_detections 0: give a whole number of at least 1"):
        small(mmdet(names=FIVE), max_detections=0)


def test_a_runs_folder(run, tmp_path, caplog):
    expected = Detector.from_pretrained(run / "model_final.pth", device="cpu")
    found = Detector.from_pretrained(run, device="cpu")
    assert same(found(image()), expected(image()))
    assert f"{run}: weights model_final.pth, of the end of the training" in caplog.text
    shutil.copy(run / "model_final.pth", tmp_path / "model_best.pth")
    assert same(Detector.from_pretrained(str(tmp_path), device="cpu")(image()), expected(image()))
    assert f"{tmp_path}: weights model_best.pth, of the best evaluation" in caplog.text
    (tmp_path / "model_best.pth").unlink()
    said = message(lambda: Detector.from_pretrained(tmp_path))
    assert said.startswith(f"the folder {tmp_path} has no weights of a training (model_best.pth, ")
