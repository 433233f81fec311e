"""Config keys, the loading of configs, the shipped configs and the model zoo."""

import re

import pytest
import torch
from detectron2.modeling import (
    GeneralizedRCNN,
    PanopticFPN,
    ProposalNetwork,
    build_backbone,
    build_model,
)
from detectron2.modeling.meta_arch.retinanet import RetinaNet
from detectron2.modeling.roi_heads import CascadeROIHeads
from helpers.tiny import train_net

from hrnet_det import model_zoo
from hrnet_det.config.keys import get_cfg
from hrnet_det.config.load import load_run
from hrnet_det.config.yaml import load_config, merge_overrides
from hrnet_det.engine import Trainer
from hrnet_det.errors import InputError, MissingInputError
from hrnet_det.modeling import HRFPN, HRNetV1, HRNetV2
from hrnet_det.modeling.backbone.checkpointing import CHECKPOINTING
from hrnet_det.modeling.meta_arch.fcos import FCOS
from hrnet_det.modeling.meta_arch.htc import HTC
from hrnet_det.modeling.meta_arch.panoptic_deeplab import HRNetPanopticDeepLab

SCHEDULES = {
    "1x": (90_000, (60_000, 80_000)),
    "2x": (180_000, (120_000, 160_000)),
    "mstrain_2x": (180_000, (120_000, 160_000)),
    **dict.fromkeys(
        ("syncbn_1x", "syncbn_mstrain_1x", "syncbn_resizecrop_1x"), (90_000, (60_000, 80_000))
    ),
    **dict.fromkeys(  # published drops after 20 and 23 of 24 epochs
        ("syncbn_mstrain_2x", "syncbn_resizecrop_2x"), (180_000, (150_000, 172_500))
    ),
    "20e": (20 * 7_329, (16 * 7_329, 19 * 7_329)),
    "28e": (28 * 7_329, (24 * 7_329, 27 * 7_329)),
}
ALL, SMALL = ("w18", "w32", "w40", "w48"), ("w18", "w32")
LEAVES = {
    f"{folder}/{kind}_hrnetv2p_{width}_{schedule}.yaml": (kind, width, schedule)
    for folder, kind, widths, schedules in (
        ("COCO-Detection", "faster_rcnn", ALL, ("1x", "2x")),
        ("COCO-InstanceSegmentation", "mask_rcnn", ALL, ("1x", "2x")),
        ("COCO-Detection", "cascade_rcnn", ALL, ("20e",)),
        ("COCO-InstanceSegmentation", "cascade_mask_rcnn", ALL, ("20e",)),
        ("COCO-InstanceSegmentation", "htc", ALL, ("20e",)),
        ("COCO-InstanceSegmentation", "htc", ("w48",), ("28e",)),
        ("COCO-Detection", "fcos", SMALL, ("1x", "2x")),
        ("COCO-Detection", "fcos", ALL, ("mstrain_2x",)),
        ("COCO-Detection", "faster_rcnn", SMALL, ("syncbn_mstrain_1x", "syncbn_mstrain_2x")),
        ("COCO-Detection", "faster_rcnn", ("w18",), ("syncbn_1x",)),
        ("COCO-Detection", "faster_rcnn", ("w18",), ("syncbn_resizecrop_1x",)),
        ("COCO-Detection", "faster_rcnn", ("w18",), ("syncbn_resizecrop_2x",)),
        ("COCO-Detection", "retinanet", SMALL, ("1x",)),
        ("COCO-Detection", "rpn", SMALL, ("1x",)),
        ("COCO-Keypoints", "keypoint_rcnn", SMALL, ("1x",)),
        ("COCO-PanopticSegmentation", "panoptic_fpn", SMALL, ("1x",)),
    )
    for width in widths
    for schedule in schedules
}
# Of other backbones than the pyramid.
OTHERS = [
    "COCO-Detection/faster_rcnn_hrnetv1_w32_1x.yaml",
    "Cityscapes/panoptic_deeplab_hrnetv2_w48.yaml",
    "Cityscapes/semantic_hrnetv2_w40.yaml",
    "Cityscapes/semantic_hrnetv2_w48.yaml",
]
KINDS = {
    "faster_rcnn": GeneralizedRCNN,
    "mask_rcnn": GeneralizedRCNN,
    "cascade_rcnn": GeneralizedRCNN,
    "cascade_mask_rcnn": GeneralizedRCNN,
    "keypoint_rcnn": GeneralizedRCNN,
    "fcos": FCOS,
    "retinanet": RetinaNet,
    "rpn": ProposalNetwork,
    "panoptic_fpn": PanopticFPN,
    "htc": HTC,
}
DATA = {
    "keypoint_rcnn": ("keypoints_coco_2017_train", "keypoints_coco_2017_val"),
    "panoptic_fpn": ("coco_2017_train_panoptic_separated", "coco_2017_val_panoptic_separated"),
    "htc": ("coco_2017_train_stuffthing", "coco_2017_val"),
}
HEADLINES = {
    "hrnetv2p_faster_rcnn.yaml": "COCO-Detection/faster_rcnn_hrnetv2p_w32_1x.yaml",
    "hrnetv2p_mask_rcnn.yaml": "COCO-InstanceSegmentation/mask_rcnn_hrnetv2p_w32_1x.yaml",
}
QUICKSTART = [f"quickstart/{kind}_rcnn.yaml" for kind in ("faster", "keypoint", "mask")]
FASTER = "hrnetv2p_faster_rcnn.yaml"


@pytest.fixture
def write_config(tmp_path):
    """Writes a YAML file and returns its path."""

    def write(text, name="my.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def on_meta(cfg):
    """The model without memory for its weights: what is built, but not the numbers."""
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        return build_model(cfg)


# --- the shipped configs ---


def test_names_are_the_leaves_the_headlines_the_quickstart_and_own_data():
    names = model_zoo.names()
    assert names == sorted(names)
    names = [name for name in names if name.endswith(".yaml")]  # the others: test_lazy.py
    assert [n for n in names if not n.startswith("quickstart/")] == sorted(
        [*LEAVES, *HEADLINES, *OTHERS, "custom/faster_rcnn.yaml", "custom/mask_rcnn.yaml"]
    )
    assert {n for n in names if n.startswith("quickstart/")} >= set(QUICKSTART)


@pytest.mark.parametrize("name", [*LEAVES, *QUICKSTART])
def test_every_shipped_config_builds_the_detector_that_its_name_says(name):
    cfg = model_zoo.get_config(name)
    model = on_meta(cfg)
    backbone = model.backbone
    assert isinstance(backbone, HRFPN)
    width = int(LEAVES[name][1].removeprefix("w")) if name in LEAVES else 16
    assert [s.channels for s in backbone.bottom_up.output_shape().values()] == [
        width,
        2 * width,
        4 * width,
        8 * width,
    ]
    one_stage = "fcos" in name or "retinanet" in name
    levels = range(3, 8) if one_stage else range(2, 7)
    assert {n: s.stride for n, s in backbone.output_shape().items()} == {
        f"p{level}": 2**level for level in levels
    }
    if hasattr(model, "roi_heads"):
        assert model.roi_heads.mask_on == any(part in name for part in ("mask", "panoptic", "htc"))
        assert model.roi_heads.keypoint_on == ("keypoint" in name)
        assert isinstance(model.roi_heads, CascadeROIHeads) == ("cascade" in name or "htc" in name)
    assert cfg.MODEL.BACKBONE.NAME == "build_hrnetv2p_backbone"
    if name in LEAVES:
        assert type(model) is KINDS[LEAVES[name][0]]


@pytest.mark.parametrize("name", OTHERS)
def test_the_configs_of_other_backbones_build_what_their_names_say(name):
    model = on_meta(model_zoo.get_config(name))
    if "hrnetv1" in name:
        assert type(model.backbone) is HRNetV1
        anchors = model.proposal_generator.anchor_generator
        assert (anchors.num_anchors, anchors.strides) == ([15], [4])
        return
    width = int(re.search(r"_w(\d+)", name)[1])
    head = model.sem_seg_head
    if "panoptic_deeplab" in name:
        assert type(model) is HRNetPanopticDeepLab
        projected = [head.decoder[b].project_conv.weight.shape for b in ("hr2", "hr3", "hr4")]
        assert projected == [(n, k * width, 1, 1) for n, k in ((32, 1), (64, 2), (128, 4))]
        assert head.predictor.weight.shape == (19, 256, 1, 1)
        assert head.decoder.hr5.project_conv.pool_kernel_size == (16, 32)
        return
    assert type(model.backbone) is HRNetV2
    assert head.conv.weight.shape == (15 * width, 15 * width, 1, 1)
    assert head.predictor.weight.shape == (19, 15 * width, 1, 1)
    assert head.class_weights.shape == (19,)


def test_the_anchors_of_the_one_stage_detectors_are_those_of_their_paper():
    model = on_meta(model_zoo.get_config("retinanet_hrnetv2p_w18_1x"))
    assert model.anchor_generator.num_anchors == [9] * 5
    sizes = model_zoo.get_config("retinanet_hrnetv2p_w18_1x").MODEL.ANCHOR_GENERATOR.SIZES
    for level, row in zip(range(3, 8), sizes, strict=True):
        assert row == pytest.approx([4 * 2**level * 2 ** (k / 3) for k in range(3)], abs=1e-4)


def test_a_leaf_is_at_most_nine_lines_beside_its_header():
    folder = model_zoo.find_config(FASTER).parent
    for name in [*LEAVES, *OTHERS, *HEADLINES]:
        lines = (folder / name).read_text().splitlines()
        assert len([line for line in lines if not line.startswith("#")]) <= 9, name


@pytest.mark.parametrize("name", LEAVES)
def test_schedules_of_the_leaves(name):
    width, schedule = LEAVES[name][1], SCHEDULES[LEAVES[name][2]]
    cfg = model_zoo.get_config(name)
    assert schedule == (cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS)
    assert width == cfg.MODEL.HRNET.VARIANT
    train, test = DATA.get(LEAVES[name][0], ("coco_2017_train", "coco_2017_val"))
    assert ((train,), (test,)) == (cfg.DATASETS.TRAIN, cfg.DATASETS.TEST)
    one_stage = LEAVES[name][0] in ("fcos", "retinanet")
    assert (0.01 if one_stage else 0.02) == cfg.SOLVER.BASE_LR
    several = LEAVES[name][0] == "fcos" and "mstrain" in name
    assert ((640, 800) if several else (800,)) == cfg.INPUT.MIN_SIZE_TRAIN


@pytest.mark.parametrize("name", [name for name in LEAVES if "syncbn" in name])
def test_recipes_of_several_scales_are_those_of_the_official_code(name):
    cfg = model_zoo.get_config(name)
    assert (cfg.MODEL.HRNET.NORM, cfg.MODEL.HRNET.NORM_EVAL) == ("SyncBN", False)
    scales, crop = [], []
    if "mstrain" in name:
        scales = [[1000, 1600], [600, 1000], [800, 1333]]
    if "resizecrop" in name:
        scales, crop = [[600, 1400], [800, 1400], [1000, 1400]], [800, 1200]
    assert (scales, crop) == (cfg.INPUT.SCALES_TRAIN, cfg.INPUT.CROP_TRAIN)


@pytest.mark.parametrize("name", HEADLINES)
def test_headline_is_its_leaf(name):
    assert model_zoo.get_config(name) == model_zoo.get_config(HEADLINES[name])


def test_published_recipe():
    cfg = model_zoo.get_config(FASTER)
    solver, model = cfg.SOLVER, cfg.MODEL
    assert (solver.IMS_PER_BATCH, solver.BASE_LR, solver.WEIGHT_DECAY) == (16, 0.02, 1e-4)
    assert (solver.MOMENTUM, solver.GAMMA, solver.WARMUP_ITERS) == (0.9, 0.1, 500)
    assert abs(solver.WARMUP_FACTOR - 1 / 3) < 1e-6
    clip = solver.CLIP_GRADIENTS
    assert (clip.ENABLED, clip.CLIP_TYPE, clip.CLIP_VALUE, clip.NORM_TYPE) == (
        True,
        "full_model",
        35.0,
        2.0,
    )
    assert cfg.INPUT.FORMAT == "RGB"
    assert model.PIXEL_MEAN == [123.675, 116.28, 103.53]
    assert model.PIXEL_STD == [58.395, 57.12, 57.375]
    assert model.ANCHOR_GENERATOR.SIZES == [[32], [64], [128], [256], [512]]
    assert model.ANCHOR_GENERATOR.ASPECT_RATIOS == [[0.5, 1.0, 2.0]]
    rpn = model.RPN
    assert (rpn.PRE_NMS_TOPK_TRAIN, rpn.POST_NMS_TOPK_TRAIN) == (2000, 1000)
    assert (rpn.PRE_NMS_TOPK_TEST, rpn.POST_NMS_TOPK_TEST) == (1000, 1000)
    assert (cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN) == ((800,), 1333)
    assert (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST) == (800, 1333)
    assert (model.HRNET.NORM, model.HRNET.NORM_EVAL, model.BACKBONE.FREEZE_AT) == ("BN", True, 0)
    hrfpn = model.HRFPN
    assert (hrfpn.OUT_CHANNELS, hrfpn.NUM_LEVELS, hrfpn.POOLING, hrfpn.NORM) == (256, 5, "avg", "")


def test_commands_in_the_headers_name_their_own_config():
    folder = model_zoo.find_config(FASTER).parent
    for name in model_zoo.names():
        command = (folder / name).read_text().splitlines()[0]
        assert command.startswith(f"# python train_net.py --config-file {name}"), name


# --- finding a config ---


@pytest.mark.parametrize(
    "written",
    [
        "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.yaml",
        "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x",
        "faster_rcnn_hrnetv2p_w18_1x.yaml",
        "faster_rcnn_hrnetv2p_w18_1x",
        "configs/COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.yaml",
        "./configs/COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.yaml",
        "./faster_rcnn_hrnetv2p_w18_1x.yaml",
    ],
)
def test_a_config_is_found_by_every_way_of_writing_its_name(written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no such file is
    found = model_zoo.find_config(written)
    assert found.is_file()
    assert found.as_posix().endswith("configs/COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.yaml")


def test_an_existing_file_wins(tmp_path, monkeypatch, write_config):
    write_config("SEED: 77\n", FASTER)
    monkeypatch.chdir(tmp_path)
    assert model_zoo.get_config(FASTER).SEED == 77


def test_an_unknown_config_names_the_nearest():
    with pytest.raises(MissingInputError) as error:
        model_zoo.find_config("faster_rcnn_hrnetv2p_w33_1x")
    assert "config faster_rcnn_hrnetv2p_w33_1x is neither a file nor a shipped config" in str(
        error.value
    )
    title, *nearest = str(error.value).split("\n  ")
    assert title.endswith("; nearest:") and len(nearest) <= 3
    assert "COCO-Detection/faster_rcnn_hrnetv2p_w32_1x.yaml" in nearest
    with pytest.raises(MissingInputError) as error:
        model_zoo.find_config("tsop")
    title, *shipped = str(error.value).split("\n  ")
    assert title == "config tsop is neither a file nor a shipped config; shipped:"
    assert sorted(shipped) == model_zoo.names() != shipped
    with pytest.raises(FileNotFoundError):
        model_zoo.find_config("zzz")


def test_without_config_file_the_shipped_ones_are_listed():
    outcome = train_net()
    assert outcome.code == 2
    assert outcome.err == (
        "error: no --config-file was given; shipped are\n  " + "\n  ".join(model_zoo.names()) + "\n"
    )


def test_get_builds_in_evaluation_mode_and_has_no_trained_weights():
    model = model_zoo.get("quickstart/faster_rcnn")
    assert not model.training
    assert model.device == torch.device("cpu")
    with torch.no_grad():
        found = model([{"image": torch.zeros(3, 64, 64)}])[0]["instances"]
    assert found.image_size == (64, 64)
    with pytest.raises(InputError, match="no trained weights can be fetched for quickstart/mask_"):
        model_zoo.get("quickstart/mask_rcnn", trained=True)


# --- YAML ---


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!!python/object/new:os.system"]
)
@pytest.mark.parametrize("through_base", [False, True])
def test_yaml_tags_that_run_code_are_refused_and_not_run(tmp_path, write_config, tag, through_base):
    sentinel = tmp_path / "executed"
    path = named = write_config(f"OUTPUT_DIR: {tag} ['touch {sentinel}']\n")
    if through_base:
        path = write_config("_BASE_: my.yaml\nSEED: 1\n", "child.yaml")
    with pytest.raises(InputError, match="YAML tags that run code are not loaded"):
        load_config(path)
    outcome = train_net("--config-file", path)
    assert outcome.code == 2
    assert f"{named}: YAML tags that run code are not loaded" in outcome.err
    assert "Traceback" not in outcome.err
    assert not sentinel.exists()


def test_yaml_errors_say_what_is_wrong(tmp_path, write_config):
    with pytest.raises(MissingInputError, match=r"config .*/none\.yaml is not there"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(MissingInputError, match=r"my\.yaml: its _BASE_ .*gone\.yaml is not there"):
        load_config(write_config("_BASE_: gone.yaml\n"))
    with pytest.raises(InputError, match=r"my\.yaml is not valid YAML: "):
        load_config(write_config("MODEL: [1,\n"))
    with pytest.raises(InputError, match=r"my\.yaml has no KEY: VALUE lines"):
        load_config(write_config("just words\n"))
    with pytest.raises(InputError, match=r"my\.yaml: VERSION 1; only 2 can be read"):
        load_config(write_config("VERSION: 1\n"))
    with pytest.raises(
        InputError, match=r"MODEL\.HRFPN is a group of keys, which are MODEL\.HRFPN\."
    ):
        load_config(write_config("MODEL:\n  HRFPN: 3\n"))


def test_a_mistyped_key_names_the_right_one(write_config):
    path = write_config("MODEL:\n  HRNET:\n    VARIENT: w32\n")
    message = "there is no config key MODEL.HRNET.VARIENT; did you mean MODEL.HRNET.VARIANT"
    with pytest.raises(InputError, match=re.escape(f"{path}: {message}")):
        load_config(path)
    with pytest.raises(InputError, match=re.escape(f"command line: {message}")):
        merge_overrides(get_cfg(), ["MODEL.HRNET.VARIENT", "w32"])
    # right at its end, wrong in its group
    with pytest.raises(
        InputError, match=r"MODEL\.WIDTH\.VARIANT; did you mean MODEL\.HRNET\.VARIANT"
    ):
        merge_overrides(get_cfg(), ["MODEL.WIDTH.VARIANT", "w32"])
    outcome = train_net("--config-file", FASTER, "SOLVER.IMS_PER_BACTH", 2)
    assert outcome.code == 2
    assert "did you mean SOLVER.IMS_PER_BATCH" in outcome.err
    with pytest.raises(InputError, match=r"there is no config key XYZZY\.QQ$"):
        merge_overrides(get_cfg(), ["XYZZY.QQ", "1"])


def test_overrides_come_in_pairs():
    with pytest.raises(InputError) as error:
        merge_overrides(get_cfg(), ["SEED", "1", "OUTPUT_DIR"])
    assert "pairs of KEY VALUE" in str(error.value)
    assert str(error.value).endswith("got an odd number: SEED 1 OUTPUT_DIR")


def test_an_override_of_a_lazy_config_says_which_it_is_for():
    with pytest.raises(InputError, match=r"'SEED=1': a YAML config takes KEY VALUE, such as"):
        load_run("hrnetv2p_faster_rcnn.yaml", ["SEED=1"])


def test_anchor_sizes_for_other_levels_are_one_error():
    sizes = ["MODEL.ANCHOR_GENERATOR.SIZES", "[[12], [24]]", "MODEL.DEVICE", "cpu"]
    with pytest.raises(InputError, match=r"built: MODEL\.ANCHOR_GENERATOR\.SIZES has 2 lists"):
        model_zoo.build_detector(model_zoo.get_config("quickstart/retinanet.yaml", sizes))


def test_a_whole_number_may_stand_for_a_float(write_config):
    cfg = load_config(
        write_config("SOLVER:\n  BASE_LR: 1\n"), ["SOLVER.EMA_DECAY", "0", "SOLVER.GAMMA", 2]
    )
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.EMA_DECAY, cfg.SOLVER.GAMMA) == (1.0, 0.0, 2.0)
    assert {type(cfg.SOLVER[key]) for key in ("BASE_LR", "EMA_DECAY", "GAMMA")} == {float}
    with pytest.raises(InputError, match=r"SOLVER\.BASE_LR 'True': must be a number"):
        merge_overrides(cfg, ["SOLVER.BASE_LR", "True"])
    with pytest.raises(InputError, match=r"SOLVER\.MAX_ITER '1\.5': must be a whole"):
        merge_overrides(cfg, ["SOLVER.MAX_ITER", "1.5"])


def test_a_value_of_the_wrong_type_names_key_types_and_source(write_config):
    with pytest.raises(InputError) as error:
        merge_overrides(get_cfg(), ["SOLVER.MAX_ITER", "many"])
    said = "SOLVER.MAX_ITER 'many': must be a whole number, such as"
    assert str(error.value).startswith(f"command line: {said} ")
    path = write_config("SOLVER: {MAX_ITER: many}")
    with pytest.raises(InputError, match=re.escape(f"{path}: {said}")):
        load_config(path)
    with pytest.raises(InputError, match=r"""one "\('a',\)\""""):
        merge_overrides(get_cfg(), ["DATASETS.TRAIN", "coco_2017_train"])


def test_overrides_win_over_yaml_and_yaml_over_base(write_config):
    write_config("SEED: 1\nSOLVER:\n  MAX_ITER: 10\n  BASE_LR: 0.5\n", "base.yaml")
    path = write_config("_BASE_: base.yaml\nSOLVER:\n  MAX_ITER: 20\n")
    cfg = load_config(path, ["SEED", "3"])
    assert (cfg.SEED, cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR) == (3, 20, 0.5)
    assert load_run(path, ["OUTPUT_DIR", "x"]).stated == {
        "SEED",
        "SOLVER.MAX_ITER",
        "SOLVER.BASE_LR",
        "OUTPUT_DIR",
    }


# --- every key that hrnet_det adds is read, and says what it accepts ---


def backbone(**changes):
    cfg = model_zoo.get_config("quickstart/faster_rcnn")
    merge_overrides(cfg, [word for key, value in changes.items() for word in (key, value)])
    with torch.device("meta"):
        return build_backbone(cfg)


def key(name, value, builder="build_hrnetv2p_backbone"):
    return backbone(**{f"MODEL.{name}": value, "MODEL.BACKBONE.NAME": builder})


def test_hrnet_keys_change_the_network():
    assert key("HRNET.VARIANT", "w30").bottom_up.output_shape()["hr2"].channels == 30
    norms = {type(m).__name__ for m in key("HRNET.NORM", "FrozenBN").bottom_up.modules()}
    assert "FrozenBatchNorm2d" in norms
    assert "BatchNorm2d" not in norms
    assert key("HRNET.NORM_EVAL", "True").train().bottom_up.bn1.training is False
    assert key("HRNET.NORM_EVAL", "False").train().bottom_up.bn1.training is True
    some = "['hr2', 'hr4']"
    assert list(key("HRNET.OUT_FEATURES", some, "build_hrnet_backbone").output_shape()) == [
        "hr2",
        "hr4",
    ]
    v2 = key("HRNET.OUT_FEATURES", some, "build_hrnetv2_backbone")
    assert isinstance(v2, HRNetV2)
    assert v2.output_shape()["hrv2"].channels == 16 + 64
    for level in ("balanced", "smallest"):
        built = key("HRNET.ACTIVATION_CHECKPOINTING", level)
        assert built.checkpointed == CHECKPOINTING[level]
        assert built.bottom_up.stage3[0].checkpointed == CHECKPOINTING[level]
    assert key("HRNET.UPSAMPLING", "bilinear").bottom_up.stage3[0].upsampling == "bilinear"
    assert key("HRNET.UPSAMPLING", "nearest").bottom_up.stage3[0].upsampling == "nearest"
    assert not key("BACKBONE.FREEZE_AT", "2").bottom_up.layer1[0].conv1.weight.requires_grad


def test_hrfpn_keys_change_the_pyramid():
    assert key("HRFPN.IN_FEATURES", "['hr2', 'hr3']").channels == [16, 32]
    assert key("HRFPN.OUT_CHANNELS", "24").output_shape()["p4"].channels == 24
    assert list(key("HRFPN.NUM_LEVELS", "3").output_shape()) == ["p2", "p3", "p4"]
    assert list(key("HRFPN.MIN_LEVEL", "3").output_shape()) == ["p3", "p4", "p5", "p6", "p7"]
    assert key("HRFPN.POOLING", "max").pool is torch.nn.functional.max_pool2d
    assert key("HRFPN.POOLING", "avg").pool is torch.nn.functional.avg_pool2d
    assert isinstance(key("HRFPN.NORM", "GN").fpn_convs[0].norm, torch.nn.GroupNorm)
    assert key("HRFPN.NORM", "''").fpn_convs[0].norm is None
    assert len(key("HRFPN.SHARE_CONV", "True").fpn_convs) == 1
    assert len(key("HRFPN.SHARE_CONV", "False").fpn_convs) == 5


def test_no_key_of_hrnet_det_is_left_out_here():
    """A new key has to be added to the two tests above (or, for CUSTOM, to test_data.py)."""
    cfg = get_cfg()
    assert set(cfg.MODEL.HRNET) == {
        "VARIANT",
        "NORM",
        "NORM_EVAL",
        "OUT_FEATURES",
        "ACTIVATION_CHECKPOINTING",
        "UPSAMPLING",
    }
    assert set(cfg.MODEL.HRFPN) == {
        "IN_FEATURES",
        "OUT_CHANNELS",
        "NUM_LEVELS",
        "MIN_LEVEL",
        "POOLING",
        "NORM",
        "SHARE_CONV",
    }
    files = {"TRAIN_JSON", "TRAIN_IMAGES", "TEST_JSON", "TEST_IMAGES"}
    assert set(cfg.DATASETS.CUSTOM) == {"FOLDER", "FIT", *files}


@pytest.mark.parametrize(
    ("name", "value", "listed"),
    [
        ("HRNET.VARIANT", "w33", "unknown HRNet variant 'w33'; known: w18_small_v1, w18_small_v2, "
         "w18, w30, w32, w40, w44, w48, w64"),
        ("HRNET.NORM", "XN", "unknown norm 'XN'; Detectron2 has BN, SyncBN, FrozenBN, GN, LN, "),
        ("HRNET.NORM", "GN", "norm 'GN' has 32 groups, which do not divide 16 channels"),
        ("HRFPN.NORM", "XN", "unknown norm 'XN'; Detectron2 has BN, SyncBN, FrozenBN, GN, LN, "),
        ("HRFPN.POOLING", "mean", "unknown HRFPN pooling 'mean'; known: avg, max"),
        ("HRFPN.MIN_LEVEL", "5", "HRFPN min_level 5: 2 or 3 from hr2, which has stride 4"),
        ("HRFPN.NUM_LEVELS", "0", "HRFPN num_levels 0: at least 1"),
        ("HRFPN.IN_FEATURES", "['hr9']", "['hr9']: must be some of ['hr2', 'hr3', 'hr4', 'hr5']"),
        ("HRNET.ACTIVATION_CHECKPOINTING", "all", "unknown ACTIVATION_CHECKPOINTING 'all'; known: "
         "none, balanced, smallest"),
        ("BACKBONE.FREEZE_AT", "6", "FREEZE_AT 6: 0 trains everything, 1 freezes the stem, up to"),
        ("BACKBONE.NAME", "build_x", "BACKBONE.NAME 'build_x' is not in the registry BACKBONE"),
        ("PIXEL_MEAN", "[1.0]", "HRNet takes images of 3 channels; MODEL.PIXEL_MEAN has 1 values"),
        ("HRFPN.MIN_LEVEL", "3", "IN_FEATURES 'p2': the backbone makes no level of that name"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_exist_lists_the_valid_ones(name, value, listed):
    cfg = model_zoo.get_config("quickstart/faster_rcnn")
    cfg.MODEL.DEVICE = "cpu"
    merge_overrides(cfg, [f"MODEL.{name}", value])
    with pytest.raises(InputError) as error:
        Trainer.build_model(cfg)
    assert str(error.value).startswith("the model of this config cannot be built: ")
    assert listed in str(error.value)
