"""Published checkpoints by name, MODEL.CONVENTIONS, and the evaluation of others' weights."""

import pytest
import timm
import torch
from helpers.detectors import ARCHITECTURES, HEADS, has_masks
from helpers.tiny import CLASSES, TINY, custom, train_net

from hrnet_det import model_zoo
from hrnet_det.checkpoint.formats import MMDET
from hrnet_det.cli import main
from hrnet_det.config import settings
from hrnet_det.config.files import config_folder
from hrnet_det.config.yaml import load_config, merge_overrides
from hrnet_det.errors import InputError
from hrnet_det.modeling.compat.conventions import CONVENTIONS

FCOS = "mmdet/fcos_hrnetv2p_w18_1x"
FASTER = "hrnetv2p_faster_rcnn.yaml"


def refusal(call):
    with pytest.raises(InputError) as error:
        call()
    return str(error.value)


def as_mmdet(model, path, **meta):
    weights = {MMDET.to_theirs(name): tensor for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": weights, "meta": meta}, path)
    return path


# --- the table ---


def test_the_table_of_checkpoints():
    rows = model_zoo.checkpoints()
    names = [row.name for row in rows]
    assert len(rows) == len(set(names)) == 67
    sources = [row.source for row in rows]
    assert [sources.count(source) for source in list(CONVENTIONS)[1:]] == [28, 29, 10]
    assert all((row.mask_ap is not None) == has_masks(row.kind) for row in rows)
    assert all(30 < row.box_ap < 50 for row in rows)
    downloadable = [row.source for row in rows if row.downloadable]
    assert downloadable.count("mmdet") == 28 and "maskrcnn_benchmark" not in downloadable
    files = [row.file for row in rows if row.file]
    addresses = [row.address for row in rows if row.address]
    assert len(set(files)) == len(files) and len(set(addresses)) == len(addresses)
    assert all(row.address.endswith("/" + row.file) for row in rows if row.downloadable)


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
        ("hrnet_object_detection/faster_rcnn_hrnetv2p_w48_2x", 41.5, None),
        ("hrnet_object_detection/mask_rcnn_hrnetv2p_w48_1x", 42.4, 38.1),  # not 38.1, 42.4
        ("hrnet_object_detection/cascade_mask_rcnn_hrnetv2p_w48_20e", 46.0, 39.5),
        ("hrnet_object_detection/htc_hrnetv2p_w48_28e", 47.0, 41.0),
        ("maskrcnn_benchmark/faster_rcnn_hrnetv2p_w18_2x", 38.4, None),
        ("maskrcnn_benchmark/faster_rcnn_hrnetv2p_w48_1x", 41.3, None),
    ],
)
def test_published_ap(name, box_ap, mask_ap):
    (row,) = [row for row in model_zoo.checkpoints() if row.name == name]
    assert (row.box_ap, row.mask_ap) == (box_ap, mask_ap)


def test_every_checkpoint_has_its_config():
    for row in model_zoo.checkpoints():
        cfg = row.config().MODEL
        expected = (ARCHITECTURES.get(row.kind, "GeneralizedRCNN"), row.source)
        assert expected == (cfg.META_ARCHITECTURE, cfg.CONVENTIONS), row.name
        heads = HEADS.get(row.kind, "StandardROIHeads")
        found = [cfg.HRNET.VARIANT, cfg.MASK_ON, cfg.ROI_HEADS.NAME]
        assert found == [row.variant, has_masks(row.kind), heads], row.name
        assert (cfg.SEM_SEG_HEAD.NUM_CLASSES == 183) == (row.kind == "htc")
        assert (0.001 if row.kind == "htc" else 0.05) == cfg.ROI_HEADS.SCORE_THRESH_TEST
        found = [cfg.ROI_HEADS.NUM_CLASSES, cfg.FCOS.NUM_CLASSES]
        assert found == [80, 80]


def test_the_command_lists_them(capsys):
    assert main(["checkpoints"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "box", "AP", "mask", "AP", "file", "address"]
    assert len(lines) == 2 + 67 + 1
    assert lines[-1] == "AP on COCO val2017, as their authors published it."
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:-1]}
    name = "mask_rcnn_hrnetv2p_w18_1x_coco_20200205-1c3d78ed.pth"
    assert rows["mmdet/mask_rcnn_hrnetv2p_w18_1x"] == [
        "37.7", "34.2", name,
        f"https://download.openmmlab.com/mmdetection/v2.0/hrnet/mask_rcnn_hrnetv2p_w18_1x_coco/{name}",
    ]  # fmt: skip
    assert rows["hrnet_object_detection/faster_rcnn_hrnetv2p_w32_2x"][:2] == ["40.8", "(unnamed)"]


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
