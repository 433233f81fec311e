"""Published checkpoints by name, MODEL.CONVENTIONS, and the evaluation of others' weights."""

import json
import re
from collections import Counter

import pytest
import timm
import torch
from helpers.detectors import ARCHITECTURES, HEADS, has_masks
from helpers.tiny import CLASSES, TINY, custom, train_net

from hrnet_det import model_zoo
from hrnet_det.checkpoint.formats import MMDET, MMDET_1
from hrnet_det.cli import main
from hrnet_det.config import settings
from hrnet_det.config.files import config_folder
from hrnet_det.config.yaml import load_config, merge_overrides
from hrnet_det.detector import Detector
from hrnet_det.errors import InputError

FCOS = "mmdet/fcos_hrnetv2p_w18_1x"
FASTER = "hrnetv2p_faster_rcnn.yaml"
NEWER = ("mmdet1", "pedestron", "cascadetabnet")  # whose code is mmdetection 1


def refusal(call):
    with pytest.raises(InputError) as error:
        call()
    return str(error.value)


def as_mmdet(model, path, **meta):
    weights = {MMDET.to_theirs(name): tensor for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": weights, "meta": meta}, path)
    return path


# --- the table ---


SOURCES = {  # and how many checkpoints each has
    "mmdet": 28,
    "mmdet1": 29,
    "hrnet_object_detection": 16,
    "maskrcnn_benchmark": 10,
    "hrnet_fcos": 8,
    "bdd100k": 10,
    "pedestron": 4,
    "cascadetabnet": 7,
    "panoptic_deeplab": 2,
}


def test_the_table_of_checkpoints():
    rows = model_zoo.checkpoints()
    assert len({row.name for row in rows}) == len(rows)
    assert Counter(row.source for row in rows) == SOURCES
    licences = {row.source: row.licence for row in rows}
    assert licences["hrnet_fcos"] == "BSD-2-Clause, academic"
    assert [s for s, licence in licences.items() if licence == "MIT"] == [
        "maskrcnn_benchmark",
        "cascadetabnet",
    ]
    assert len(set(licences.values())) == 3  # Apache-2.0 of the others
    for row in rows:
        with_masks = has_masks(row.kind)
        if row.data in ("COCO", "BDD100K"):
            assert (row.mask_ap is not None, row.result) == (with_masks, ""), row.name
            assert 20 < row.box_ap < 50
        else:
            assert (row.box_ap, row.mask_ap) == (None, None)
    assert [row.name for row in rows if not row.ap] == [
        "cascadetabnet/cascade_mask_rcnn_hrnetv2p_w32_general"  # of which its README says nothing
    ]
    downloadable = Counter(row.source for row in rows if row.downloadable)
    assert downloadable == {name: SOURCES[name] for name in ("mmdet", "mmdet1", "bdd100k")}
    files = [row.file for row in rows if row.file]
    addresses = [row.address for row in rows if row.address]
    assert len(set(files)) == len(files) and len(set(addresses)) == len(addresses)
    assert all(row.address.endswith("/" + row.file) for row in rows if row.downloadable)
    assert all(row.address.startswith("https://") for row in rows if row.address)


@pytest.mark.parametrize(
    ("name", "box_ap", "mask_ap"),
    [
        ("mmdet/faster_rcnn_hrnetv2p_w18_1x", 36.9, None),
        ("mmdet/faster_rcnn_hrnetv2p_w40_2x", 42.1, None),
        ("mmdet/mask_rcnn_hrnetv2p_w32_2x", 42.5, 37.8),
        ("mmdet/cascade_rcnn_hrnetv2p_w32_20e", 43.3, None),
        ("mmdet/cascade_mask_rcnn_hrnetv2p_w40_20e", 45.1, 39.3),
        ("mmdet/htc_hrnetv2p_w40_20e", 46.4, 40.8),
        ("mmdet/fcos_hrnetv2p_w32_ms_2x", 41.9, None),
        ("hrnet_object_detection/faster_rcnn_hrnetv2p_w32_2x_syncbn_default", 42.6, None),
        ("mmdet1/faster_rcnn_hrnetv2p_w18_2x", 38.3, None),
        ("mmdet1/faster_rcnn_hrnetv2p_w48_2x", 41.5, None),
        ("mmdet1/mask_rcnn_hrnetv2p_w48_1x", 42.4, 38.1),  # not 38.1, 42.4
        ("mmdet1/cascade_mask_rcnn_hrnetv2p_w48_20e", 46.0, 39.5),
        ("mmdet1/htc_hrnetv2p_w48_28e", 47.0, 41.0),
        ("maskrcnn_benchmark/faster_rcnn_hrnetv2p_w18_2x", 38.4, None),
        ("maskrcnn_benchmark/faster_rcnn_hrnetv2p_w48_1x", 41.3, None),
        ("mmdet1/fcos_hrnetv2p_w48_ms_2x", 42.9, None),
        ("hrnet_fcos/fcos_hrnetv2p_w32_6l_ms_2x_syncbn", 42.9, None),
        ("bdd100k/faster_rcnn_hrnetv2p_w32_3x", 33.97, None),
        ("bdd100k/mask_rcnn_hrnetv2p_w40_3x", 28.17, 22.57),
    ],
)
def test_published_ap(name, box_ap, mask_ap):
    (row,) = [row for row in model_zoo.checkpoints() if row.name == name]
    assert (row.box_ap, row.mask_ap) == (box_ap, mask_ap)


def test_every_checkpoint_has_its_config():
    conventions = {"bdd100k": "mmdet", "hrnet_fcos": "maskrcnn_benchmark"}
    conventions |= dict.fromkeys(NEWER, "hrnet_object_detection")
    classes = {"pedestron": 1, "bdd100k/f": 10, "bdd100k/m": 8}
    for row in model_zoo.checkpoints():
        cfg = row.config()
        model = cfg.MODEL
        if row.kind == "panoptic_deeplab":
            continue
        expected = [ARCHITECTURES.get(row.kind, "GeneralizedRCNN")]
        expected += [conventions.get(row.source, row.source)]
        assert expected == [model.META_ARCHITECTURE, model.CONVENTIONS], row.name
        heads = HEADS.get(row.kind, "StandardROIHeads")
        found = [model.HRNET.VARIANT, model.MASK_ON, model.ROI_HEADS.NAME]
        assert found == [row.variant, has_masks(row.kind), heads], row.name
        assert (model.SEM_SEG_HEAD.NUM_CLASSES == 183) == (row.kind == "htc")
        soft = row.source == "pedestron"
        threshold = 0.001 if row.kind == "htc" or soft else 0.05
        assert threshold == model.ROI_HEADS.SCORE_THRESH_TEST
        assert soft == model.ROI_HEADS.SOFT_NMS
        known = [number for start, number in classes.items() if row.name.startswith(start)]
        found = model.FCOS.NUM_CLASSES if row.kind == "fcos" else model.ROI_HEADS.NUM_CLASSES
        assert [found] == (known or [80]), row.name
        if row.source in NEWER:  # from HRNet-Object-Detection, which resizes floating-point numbers
            assert cfg.INPUT.RESIZE == "opencv"
            assert (model.RPN.PRE_NMS_TOPK_TEST, model.RPN.POST_NMS_TOPK_TEST) == (1000, 1000)


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("mmdet1/faster_rcnn_hrnetv2p_w18_1x", (800, 1333)),
        ("bdd100k/mask_rcnn_hrnetv2p_w18_3x", (720, 1280)),
        ("pedestron/cascade_mask_rcnn_hrnetv2p_w32_citypersons", (1024, 2048)),
        ("pedestron/cascade_mask_rcnn_hrnetv2p_w32_caltech", (480, 640)),
        ("pedestron/cascade_mask_rcnn_hrnetv2p_w32_eurocity", (1024, 1920)),
        ("cascadetabnet/cascade_mask_rcnn_hrnetv2p_w32_icdar13", (800, 1333)),
    ],
)
def test_the_sizes_that_a_checkpoint_was_tested_at(name, sides):
    cfg = model_zoo.named_run(name).cfg
    assert sides == (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)


@pytest.mark.parametrize(("name", "heads"), [("dsconv", "detectron2"), ("os4", "original")])
def test_both_forms_of_panoptic_deeplab(name, heads):
    (row,) = [row for row in model_zoo.checkpoints() if row.schedule == f"90k_{name}"]
    assert row.name == f"panoptic_deeplab/panoptic_deeplab_hrnetv2_w48_90k_{name}"
    model = row.config().MODEL
    found = (model.META_ARCHITECTURE, model.HRNET.VARIANT, model.SEM_SEG_HEAD.NUM_CLASSES)
    assert found == ("HRNetPanopticDeepLab", "w48", 19)
    assert (heads, "detectron2") == (model.PANOPTIC_DEEPLAB.HEADS, model.CONVENTIONS)
    assert row.ap.startswith("PQ 63.4, mask AP ")


@pytest.mark.parametrize(("levels", "first", "last"), [("5l", 3, 7), ("6l", 2, 7)])
def test_levels_of_hrnets_own_fcos(levels, first, last):
    model = model_zoo.named_run(f"hrnet_fcos/fcos_hrnetv2p_w18_{levels}_2x").cfg.MODEL
    names = [f"p{k}" for k in range(first, last + 1)]
    assert names == model.FCOS.IN_FEATURES
    assert (len(names), first) == (model.HRFPN.NUM_LEVELS, model.HRFPN.MIN_LEVEL)
    assert model.FCOS.CONV_BIAS


def listed(capsys, *words):
    assert main(["checkpoints", *words]) == 0
    return capsys.readouterr().out


def test_the_command_lists_them(capsys):
    lines = listed(capsys).splitlines()
    assert lines[0].split() == ["name", "trained", "on", "published", "licence", "weights"]
    assert len(lines) == 2 + sum(SOURCES.values()) + 2 and max(map(len, lines)) < 175
    assert lines[-2].startswith(f"{sum(SOURCES.values())} of {sum(SOURCES.values())} checkpoints,")
    assert lines[-1].endswith("--json all that is known.")
    rows = {line.split()[0]: re.split("  +", line)[1:] for line in lines[2:-2]}
    assert [rows["mmdet/mask_rcnn_hrnetv2p_w18_1x"], rows[f"{TABLES}_icdar13"]] == [
        ["COCO", "37.7/34.2 box/mask AP", "Apache-2.0", "fetched"],
        ["ICDAR 13 tables", "F1 100.0 %", "MIT", "on a page"],
    ]
    assert rows["bdd100k/faster_rcnn_hrnetv2p_w18_1x"][1] == "31.74 box AP"
    assert rows["hrnet_object_detection/faster_rcnn_hrnetv2p_w40_1x"][-1] == "no address"


TABLES = "cascadetabnet/cascade_mask_rcnn_hrnetv2p_w32"


def test_words_choose_of_the_list(capsys):
    lines = listed(capsys, "W32", "citypersons").splitlines()
    assert lines[0].split()[-1] == "address" and len(lines) == 4
    assert lines[2].split()[0] == "pedestron/cascade_mask_rcnn_hrnetv2p_w32_citypersons"
    address = "https://drive.google.com/file/d/12mWjmWBv-4wra8hCNF71Wq0U2va0Ai8e/view?usp=sharing"
    assert lines[2].split()[-1] == address
    assert lines[3].startswith(f"1 of {sum(SOURCES.values())} checkpoints, with the licence of ")
    for words, count in ((["mit"], 17), (["htc", "mmdet1/"], 4), (["20190810-d70072af"], 1)):
        assert len(listed(capsys, *words).splitlines()) == count + 3
    assert main(["checkpoints", "htc", "bdd100k"]) == 2
    said = capsys.readouterr().err
    assert "no published checkpoint has 'htc' and 'bdd100k' in its name, data, file" in said
    assert (
        "mmdet, mmdet1, hrnet_object_detection" in said
        and "CrowdHuman, ICDAR 19 and other tables" in said
    )


def test_the_list_as_json(capsys):
    (row,) = json.loads(listed(capsys, "--json", "bdd100k", "w40_1x"))
    file = "mask_rcnn_hrnetv2p_w40_1x_ins_seg_bdd100k.pth"
    assert row == {
        "name": "bdd100k/mask_rcnn_hrnetv2p_w40_1x",
        "conventions": "mmdet",
        "source": "bdd100k",
        "form": "mmdet",
        "kind": "mask_rcnn",
        "variant": "w40",
        "schedule": "1x",
        "data": "BDD100K",
        "classes": 8,
        "box_ap": 25.46,
        "mask_ap": 19.65,
        "result": "",
        "licence": "Apache-2.0",
        "settings": ["INPUT.MIN_SIZE_TEST", "720", "INPUT.MAX_SIZE_TEST", "1280"],
        "file": file,
        "address": f"https://dl.cv.ethz.ch/bdd100k/ins_seg/models/{file}",
    }
    assert len(json.loads(listed(capsys, "--json"))) == sum(SOURCES.values())


# --- detectors by name ---


@pytest.fixture(scope="module")
def fcos(tmp_path_factory):
    """The FCOS of W18, and a file of it as mmdetection names it."""
    model = model_zoo.get(FCOS)
    return model, as_mmdet(model, tmp_path_factory.mktemp("published") / "fcos.pth")


def test_a_published_name_with_weights(fcos):
    model, path = fcos
    loaded = model_zoo.get(FCOS, weights=path)
    assert not loaded.training
    loaded = loaded.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in model.state_dict().items())
    found = Detector.from_pretrained(path, config=FCOS, device="cpu")
    assert found.report.complete and found.cfg.MODEL.CONVENTIONS == "mmdet"
    assert refusal(lambda: model_zoo.get("mmdet/fcos_hrnetv2p_w32_1x", weights=path)) == (
        f"{path} has the weights of w18, but MODEL.HRNET.VARIANT is w32: set MODEL.HRNET.VARIANT "
        "w18, or take weights of w32"
    )


def test_a_config_with_weights(tmp_path):
    name, path = "quickstart/faster_rcnn", tmp_path / "w.pth"
    weights = model_zoo.get(name).state_dict()
    torch.save({"model": weights}, path)
    loaded = model_zoo.get(name, weights=str(path)).state_dict()
    assert all(torch.equal(loaded[n], tensor) for n, tensor in weights.items())
    for part in ("weight", "bias"):
        for layer, rows in (("cls_score", 1), ("bbox_pred", 4)):
            key = f"roi_heads.box_predictor.{layer}.{part}"
            weights[key] = weights[key][:-rows]
    torch.save({"model": weights}, path)
    lines = refusal(lambda: model_zoo.get(name, weights=path)).splitlines()
    assert lines[0] == (
        f"a part of the detector is not in {path}: take the weights of a whole detector with the "
        "same classes"
    )
    classes = model_zoo.get_config(name).MODEL.ROI_HEADS.NUM_CLASSES
    assert lines[1].endswith(f", {classes - 1} classes")


def test_a_config_with_weights_of_other_conventions(tmp_path):
    path = as_mmdet(model_zoo.get("quickstart/faster_rcnn"), tmp_path / "w.pth")
    said = refusal(lambda: model_zoo.get("quickstart/faster_rcnn", weights=path))
    assert said.startswith(f"{path} is mmdetection 2 or 3: Faster R-CNN, HRNetV2p-W18-small-v1, ")
    assert "MODEL.CONVENTIONS mmdet" in said and "the config has detectron2" in said


@pytest.mark.parametrize(
    "name",
    [
        "hrnet_object_detection/faster_rcnn_hrnetv2p_w18_1x",  # no address
        "maskrcnn_benchmark/faster_rcnn_hrnetv2p_w18_1x",  # a page with a button
        "quickstart/faster_rcnn",
    ],
)
def test_trained_weights_that_cannot_be_fetched(name):
    assert refusal(lambda: model_zoo.get(name, trained=True)) == (
        f"no trained weights can be fetched for {name}: give weights=FILE. They can be for "
        "mmdet/faster_rcnn_hrnetv2p_w18_1x, mmdet/faster_rcnn_hrnetv2p_w18_2x, "
        "mmdet/faster_rcnn_hrnetv2p_w32_1x, ... (hrnet-det checkpoints)"
    )


def test_trained_weights_are_fetched_from_their_address(fcos, monkeypatch):
    asked = []

    def build(run, weights, **_):
        asked.append((run[settings.CONVENTIONS], weights))
        return "model", None

    monkeypatch.setattr(model_zoo, "build_with_weights", build)
    (row,) = [row for row in model_zoo.checkpoints() if row.name == FCOS]
    assert model_zoo.get(FCOS, trained=True) == "model"
    assert model_zoo.get(FCOS, trained=True, weights=fcos[1]) == "model"  # your own come first
    assert asked == [("mmdet", row.address), ("mmdet", str(fcos[1]))]
    assert row.address.startswith("https://download.openmmlab.com/mmdetection/v2.0/hrnet/fcos_")


# --- MODEL.CONVENTIONS ---


def base(name):
    return config_folder() / f"Base-{name}-HRNetV2p.yaml"


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("RCNN", "mmdet"),
        ("Cascade-RCNN", "mmdet"),
        ("RCNN", "hrnet_object_detection"),
        ("Cascade-RCNN", "hrnet_object_detection"),
        ("RCNN", "maskrcnn_benchmark"),
        ("FCOS", "mmdet"),
    ],
)
def test_conventions_on_the_command_line_are_the_whole_file(config, name, tmp_path):
    path = tmp_path / "both.yaml"
    kind = ".fcos" if config == "FCOS" else ""
    conventions = config_folder() / "conventions" / f"{name}{kind}.yaml"
    path.write_text(f'_BASE_: ["{base(config)}", "{conventions}"]\n')
    cfg = load_config(base(config), ["MODEL.CONVENTIONS", name])
    assert cfg == load_config(path)
    assert name == cfg.MODEL.CONVENTIONS
    older = {"hrnet_object_detection": "opencv_float", "maskrcnn_benchmark": "pillow_floor"}
    resize = cfg.INPUT.RESIZE
    assert resize == older.get(name, "opencv")


def test_what_else_is_on_the_command_line_comes_after_the_conventions():
    for words in (["INPUT.RESIZE", "pillow", "MODEL.CONVENTIONS", "mmdet"],
                  ["MODEL.CONVENTIONS", "mmdet", "INPUT.RESIZE", "pillow"]):  # fmt: skip
        cfg = load_config(base("RCNN"), words)
        assert (cfg.INPUT.RESIZE, cfg.MODEL.ANCHOR_GENERATOR.OFFSET) == ("pillow", 0.0)
    plain = load_config(base("RCNN"))
    assert load_config(base("RCNN"), ["MODEL.CONVENTIONS", "detectron2"]) == plain


def test_unknown_conventions_on_the_command_line():
    said = refusal(lambda: load_config(base("RCNN"), ["MODEL.CONVENTIONS", "mmdet2"]))
    assert said.startswith("command line: unknown MODEL.CONVENTIONS 'mmdet2'; known: detectron2, ")


# --- evaluation of others' weights ---


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file as mmdetection names it, of the detector of TINY with three classes."""
    cfg = model_zoo.get_config(FASTER)
    merge_overrides(cfg, [*TINY, "MODEL.ROI_HEADS.NUM_CLASSES", "3"])
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "faster.pth"

    def make(classes=()):
        return as_mmdet(model_zoo.build_detector(cfg), path, CLASSES=classes)

    return make


@pytest.fixture
def evaluate(coco, tmp_path):
    def run(weights, *more):
        words = [*custom(coco, "boxes.json", ["TEST"]), "OUTPUT_DIR", tmp_path / "out"]
        words += ["MODEL.WEIGHTS", weights, *more]
        return train_net("--config-file", FASTER, "--eval-only", *TINY, *words)

    return run


def test_evaluation_with_other_conventions_than_the_weights_is_refused(weights, evaluate, tmp_path):
    path = weights()
    outcome = evaluate(path)
    assert (outcome.code, outcome.err) == (2, (
        f"error: --eval-only: {path} is mmdetection 2 or 3: Faster R-CNN, HRNetV2p-W18-small-v1, "
        "3 classes, whose AP belongs to MODEL.CONVENTIONS mmdet (pixels, resizing, boxes); the "
        "config has detectron2. Add MODEL.CONVENTIONS mmdet, or MODEL.CONVENTIONS detectron2 if "
        "that is what you want to measure\n"
    ))  # fmt: skip
    assert not (tmp_path / "out" / "results.json").exists()


@pytest.mark.parametrize("name", ["mmdet", "detectron2", "hrnet_object_detection"])
def test_evaluation_with_conventions_that_are_named(weights, evaluate, tmp_path, name):
    outcome = evaluate(weights(CLASSES), "MODEL.CONVENTIONS", name)
    assert (outcome.code, outcome.err) == (0, "")
    cfg = load_config(tmp_path / "out" / "config.yaml")
    assert name == cfg.MODEL.CONVENTIONS
    assert (tmp_path / "out" / "results.json").is_file()
    assert outcome.out.count("Evaluation results for bbox") == 1
    assert "was trained for other classes" not in outcome.out


def test_evaluation_with_as_many_other_classes_warns(weights, evaluate):
    path = weights(["disc", "bar", "star"])
    outcome = evaluate(path, "MODEL.CONVENTIONS", "mmdet")
    assert outcome.code == 0
    assert (
        f"{path} was trained for other classes than those of the data (star in place of absent); "
        "its class layers are used all the same"
    ) in outcome.out


def test_evaluation_of_what_a_version_of_its_conventions_computes(evaluate, tmp_path):
    """mmdetection 1 resizes whole numbers, and has half of HRNet-Object-Detection's proposals."""
    cfg = model_zoo.get_config(FASTER)
    merge_overrides(cfg, [*TINY, "MODEL.ROI_HEADS.NUM_CLASSES", "3"])
    weights = model_zoo.build_detector(cfg).state_dict()
    head = "roi_heads.box_predictor."
    for part in ("weight", "bias"):  # the background first
        weights[f"{head}cls_score.{part}"] = weights[f"{head}cls_score.{part}"].roll(1, 0)
        boxes = weights[f"{head}bbox_pred.{part}"]
        weights[f"{head}bbox_pred.{part}"] = torch.cat([boxes[:4], boxes])
    path = tmp_path / "one.pth"
    torch.save({"state_dict": {MMDET_1.to_theirs(n): t for n, t in weights.items()}}, path)
    outcome = evaluate(path, "MODEL.CONVENTIONS", "hrnet_object_detection")
    said = "3 classes, which has INPUT.RESIZE opencv MODEL.RPN.PRE_NMS_TOPK_TEST 1000 "
    assert outcome.code == 0 and said in outcome.out and outcome.out.count("; add that for") == 1
    words = ["MODEL.CONVENTIONS", "hrnet_object_detection", *MMDET_1.overrides]
    assert "; add that for" not in evaluate(path, *words).out


def test_evaluation_of_an_imagenet_backbone_is_refused(evaluate, tmp_path):
    path = tmp_path / "imagenet.pth"
    torch.save(timm.create_model("hrnet_w18_small").state_dict(), path)
    outcome = evaluate(path)
    lines = outcome.err.splitlines()
    assert (outcome.code, lines[0]) == (
        2,
        "error: --eval-only, but a part of the detector would be random: take the weights of a "
        "whole detector with the same classes",
    )
    assert lines[1] == f"{path}: ImageNet classification (official or timm): HRNet w18_small_v1"


def test_evaluation_of_weights_with_other_classes_is_refused(evaluate, tmp_path):
    cfg = model_zoo.get_config(FASTER)
    merge_overrides(cfg, [*TINY, "MODEL.ROI_HEADS.NUM_CLASSES", "4"])
    path = as_mmdet(model_zoo.build_detector(cfg), tmp_path / "four.pth")
    outcome = evaluate(path, "MODEL.CONVENTIONS", "mmdet")
    assert (outcome.code, outcome.err.splitlines()[0]) == (
        2,
        "error: --eval-only, but a part of the detector would be random: take the weights of a "
        "whole detector with the same classes",
    )


def test_a_config_with_overrides():
    cfg = model_zoo.get_config("Base-Cascade-RCNN-HRNetV2p.yaml", ["MODEL.CONVENTIONS", "mmdet"])
    assert (cfg.MODEL.META_ARCHITECTURE, cfg.INPUT.RESIZE) == ("GeneralizedRCNN", "opencv")
    assert cfg.MODEL.ROI_HEADS.NAME == "ResamplingCascadeROIHeads"


@pytest.mark.parametrize(
    ("base", "conventions"),
    [("Base-RCNN-HRNetV2p", "mmdet"), ("Base-FCOS-HRNetV2p", "detectron2")],
)
def test_test_time_augmentation_is_for_detectron2s_own(coco, tmp_path, base, conventions):
    words = [*TINY, *custom(coco, "boxes.json"), "OUTPUT_DIR", tmp_path / "out"]
    words += ["MODEL.CONVENTIONS", conventions, "TEST.AUG.ENABLED", "True"]
    outcome = train_net("--config-file", f"{base}.yaml", "--eval-only", *words)
    assert outcome.code == 2
    assert "error: TEST.AUG.ENABLED: Detectron2's test-time augmentation is for" in outcome.err
