"""LazyConfigs: the same models and recipes as the YAML configs, and training with them."""

import json

import pytest
import torch
from detectron2.config import LazyCall as L
from detectron2.config import instantiate
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.solver import LRMultiplier
from fvcore.common.param_scheduler import ParamScheduler
from helpers.tiny import train_net
from omegaconf import ListConfig, OmegaConf
from torch import nn

from hrnet_det import model_zoo
from hrnet_det.analysis.complexity import on_meta
from hrnet_det.cli import main
from hrnet_det.config.files import config_folder
from hrnet_det.config.lazy import load_lazy_config
from hrnet_det.data.registration import register_coco
from hrnet_det.engine import lazy as lazy_module
from hrnet_det.engine.lazy import lazy_trainer, prepare_lazy_datasets, settings_of
from hrnet_det.engine.optimizer import build_lr_scheduler, build_optimizer
from hrnet_det.engine.preflight import _check_semantic_branch
from hrnet_det.errors import InputError

LAZY = [name for name in model_zoo.names() if name.endswith(".py")]
FASTER = "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.py"


def load(name, *overrides):
    return load_lazy_config(model_zoo.find_config(name), overrides)


def lazy_on_meta(lazy):
    with torch.device("meta"):
        return instantiate(lazy.model).eval()


def test_every_kind_of_model_has_a_config():
    kinds = {load(name).model._target_ for name in LAZY}
    kinds = {kind if isinstance(kind, str) else kind.__name__ for kind in kinds}
    assert {kind.rsplit(".", 1)[-1] for kind in kinds} == {
        "FCOS",
        "GeneralizedRCNN",
        "HTC",
        "PanopticFPN",
        "ProposalNetwork",
        "RetinaNet",
        "SemanticSegmentor",
    }
    assert all(name.replace(".py", ".yaml") in model_zoo.names() for name in LAZY)


def plain_values(model):
    """Every number, word and sequence of them that a module has as an attribute, by its place."""
    found = {}
    for place, module in model.named_modules(remove_duplicate=False):
        for name, value in vars(module).items():
            if name.startswith("_") or name in ("training", "vis_period", "input_format"):
                continue
            if isinstance(value, (list, tuple, ListConfig)):
                value = tuple(tuple(v) if isinstance(v, (list, tuple)) else v for v in value)
            plain = value if isinstance(value, tuple) else (value,)
            if all(isinstance(v, (bool, int, float, str, tuple)) for v in plain):
                found[f"{place}.{name}"] = value
    return found


@pytest.mark.parametrize("name", LAZY)
def test_a_lazy_config_builds_the_model_of_the_yaml_config(name):
    lazy, cfg = load(name), model_zoo.get_config(name.replace(".py", ".yaml"))
    ours, theirs = lazy_on_meta(lazy), on_meta(cfg)
    assert type(ours) is type(theirs)
    shapes = [{k: v.shape for k, v in model.state_dict().items()} for model in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert plain_values(ours) == plain_values(theirs)


def test_a_number_of_classes_reaches_all_heads():
    folder = "COCO-InstanceSegmentation"
    for name in ("mask_rcnn_hrnetv2p_w18_1x", "cascade_mask_rcnn_hrnetv2p_w32_20e",
                 "htc_hrnetv2p_w18_20e"):  # fmt: skip
        heads = lazy_on_meta(load(f"{folder}/{name}.py", "model.roi_heads.num_classes=3")).roi_heads
        found = {n: m.out_features for n, m in heads.named_modules() if n.endswith("cls_score")}
        assert found and set(found.values()) == {4}
        masks = [m for n, m in heads.mask_head.named_modules() if n.endswith("predictor")]
        assert [m.out_channels for m in masks] == [3] * (1 if name.startswith("mask") else 3)


@pytest.mark.parametrize("name", LAZY)
def test_a_lazy_config_trains_by_the_recipe_of_the_yaml_config(name):
    lazy, cfg = load(name), model_zoo.get_config(name.replace(".py", ".yaml"))
    ours = settings_of(lazy)
    for group, keys in (
        (
            "SOLVER",
            ["IMS_PER_BATCH", "MAX_ITER", "CHECKPOINT_PERIOD", "GRADIENT_ACCUMULATION_STEPS"],
        ),
        ("TEST", ["EVAL_PERIOD", "OPTIMIZED", "DTYPE"]),
        ("DATASETS", ["TRAIN", "TEST"]),
        ("MODEL", ["META_ARCHITECTURE", "KEYPOINT_ON"]),
    ):
        for key in keys:
            assert ours[group][key] == cfg[group][key], key
    assert (ours.MODEL.HRNET.NORM, ours.MODEL.HRNET.NORM_EVAL) == (
        cfg.MODEL.HRNET.NORM,
        cfg.MODEL.HRNET.NORM_EVAL,
    )
    clip = cfg.SOLVER.CLIP_GRADIENTS
    assert lazy.train.clip_gradient_norm == (clip.CLIP_VALUE if clip.ENABLED else 0)
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    optimizers = [lazy_trainer(lazy).build_optimizer(ours, model), build_optimizer(cfg, model)]
    groups = []
    for optimizer in optimizers:
        rows = [
            (id(p), group["lr"], group["weight_decay"], group["momentum"])
            for group in optimizer.param_groups
            for p in group["params"]
        ]
        groups.append(sorted(rows))
    assert groups[0] == groups[1]
    rates = [lazy_trainer(lazy).build_lr_scheduler(ours, optimizers[0]),
             build_lr_scheduler(cfg, optimizers[1])]  # fmt: skip
    for part in (0, 0.001, 0.003, 0.3, 0.68, 0.7, 0.85, 0.9, 0.96, 0.999):
        values = [rate._multiplier(part) for rate in rates]
        assert all(isinstance(rate, LRMultiplier) for rate in rates)
        assert values[0] == pytest.approx(values[1], rel=1e-5), part
    assert isinstance(instantiate(lazy.lr_multiplier), ParamScheduler)


@pytest.mark.parametrize("name", LAZY)
def test_a_lazy_config_prepares_images_as_the_yaml_config(name):
    lazy, cfg = load(name), model_zoo.get_config(name.replace(".py", ".yaml"))
    mapper = lazy.dataloader.train.mapper
    assert mapper.image_format == lazy.dataloader.test.mapper.image_format == cfg.INPUT.FORMAT
    assert mapper.use_instance_mask == cfg.MODEL.MASK_ON
    assert bool(mapper.get("use_keypoint", False)) == cfg.MODEL.KEYPOINT_ON
    resize = mapper.augmentations[0]
    if cfg.INPUT.SCALES_TRAIN:
        pairs = [[one.short_edge_length, one.max_size] for one in resize.augmentations]
        assert pairs == cfg.INPUT.SCALES_TRAIN
        assert list(mapper.augmentations[1].crop_size) == cfg.INPUT.CROP_TRAIN
    else:
        assert (resize.short_edge_length, resize.max_size) == (800, 1333)
        assert cfg.INPUT.MIN_SIZE_TRAIN == (800,) and cfg.INPUT.MAX_SIZE_TRAIN == 1333
    resize = lazy.dataloader.test.mapper.augmentations[0]
    sides = (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)
    assert (resize.short_edge_length, resize.max_size) == sides
    empty_too = not lazy.dataloader.train.dataset.get("filter_empty", True)
    semantic = cfg.MODEL.META_ARCHITECTURE == "SemanticSegmentor"  # without objects to filter by
    assert empty_too == (not cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS or semantic)


def test_a_leaf_is_at_most_twelve_lines_and_begins_with_its_command():
    for name in LAZY:
        lines = (config_folder() / name).read_text().splitlines()
        assert len(lines) <= 12, name
        assert lines[0].startswith(f"# python train_net.py --config-file {name} "), name


def test_the_zoo_gives_lazy_configs_and_their_models():
    assert OmegaConf.is_dict(model_zoo.get_config(FASTER).model)
    lazy = model_zoo.get_config(FASTER, ["model.roi_heads.num_classes=3"])
    assert lazy.model.roi_heads.box_predictor.num_classes == 3


# --- training ---


@pytest.fixture
def tiny(coco, write_lazy):
    """Overrides for three iterations on a tiny dataset."""
    for name in ("tiny_train", "tiny_val"):
        register_coco(
            name,
            json_file=coco / "boxes.json",
            image_root=coco / "images",
            classes=["disc", "bar", "absent"],
            keypoint_names=[],
        )
    yield write_lazy
    for name in ("tiny_train", "tiny_val"):
        DatasetCatalog.remove(name)
        MetadataCatalog.pop(name)


@pytest.fixture
def write_lazy(tmp_path):
    """A tiny config of your own, on the shipped parts."""
    path = tmp_path / "mine.py"
    path.write_text(
        f"""
from detectron2.config import LazyConfig
_shipped = LazyConfig.load({str(config_folder() / FASTER)!r})
model, dataloader, optimizer = _shipped.model, _shipped.dataloader, _shipped.optimizer
lr_multiplier, train = _shipped.lr_multiplier, _shipped.train
model.backbone.update(out_channels=32)
model.backbone.bottom_up.update(variant="w18_small_v1", norm_eval=False)
model.proposal_generator.update(pre_nms_topk=(50, 50), post_nms_topk=(20, 20))
model.proposal_generator.head.in_channels = 32
model.roi_heads.update(num_classes=3, batch_size_per_image=16)
model.roi_heads.box_head.input_shape.channels = 32
model.roi_heads.box_head.fc_dims = [32]
model.roi_heads.box_predictor.input_shape.channels = 32
for _loader, _name in ((dataloader.train, "tiny_train"), (dataloader.test, "tiny_val")):
    _loader.dataset.names = _name
    _loader.num_workers = 0
    _loader.mapper.augmentations[0].update(short_edge_length=64, max_size=96)
dataloader.train.total_batch_size = 2
train.update(max_iter=3, device="cpu", eval_period=0)
"""
    )
    return path


def test_training_evaluation_and_resuming(tiny, tmp_path):
    output = tmp_path / "run"
    words = ["--config-file", tiny, f"train.output_dir={output}"]
    outcome = train_net(*words)
    assert outcome.code in (None, 0), outcome.err
    assert "Results (percent)" in outcome.out
    assert {"model_final.pth", "results.json", "predictions.png", "config.yaml", "log.txt"} <= {
        path.name for path in output.iterdir()
    }
    content = torch.load(output / "model_final.pth", weights_only=True)
    assert content["iteration"] == 2 and content["hrnet_det"]["classes"] == [
        "disc",
        "bar",
        "absent",
    ]
    assert "max_iter: 3" in (output / "lazy_config.yaml").read_text()
    again = f"--config-file {tiny} --eval-only train.init_checkpoint={output}/model_final.pth"
    assert f"{again} train.output_dir={output}\n" in outcome.out
    first = json.loads((output / "results.json").read_text())["bbox"]

    again = train_net("--eval-only", *words, f"train.init_checkpoint={output}/model_final.pth")
    assert again.code in (None, 0), again.err
    assert json.loads((output / "results.json").read_text())["bbox"] == first
    assert "init_checkpoint: ''" in (output / "lazy_config.yaml").read_text()  # the training's

    longer = train_net("--resume", *words, "train.max_iter=5")
    assert longer.code in (None, 0), longer.err
    assert torch.load(output / "model_final.pth", weights_only=True)["iteration"] == 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.rl=1"], "no config key optimizer.rl; did you mean optimizer.lr"),
        (["SOLVER.BASE_LR", "0.1"], "'SOLVER.BASE_LR': a Python config takes KEY=VALUE, such as"),
        (["model.roi_heads.num_classes=7"], "num_classes is 7, but tiny_train has 3 classes"),
        (
            ["train.gradient_accumulation_steps=4"],
            "train.gradient_accumulation_steps=4: each process has 2 of dataloader.train.tot",
        ),
        (["train.max_iter=abc"], "train.max_iter is 'abc': "),
        (["train.max_iter=[1,"], "command line: "),
        (["train=3"], "train is 3, not a group of keys"),
        (["+train.seed.x=1"], "command line: "),
        (["+model.foo=1"], "the model of this config cannot be built: "),
        (
            ["+train.ddp.find_unused_parameters=1"],
            "train has what this trainer has not: ddp.find_un",
        ),
        (["+train.accumulat=4"], "train has what this trainer has not: accumulat; its options are"),
        (["~train.amp"], "a Python config takes KEY=VALUE"),
        (["model.backbone.bottom_up.freeze_at=2"], "there is no config key"),
        (
            ["+model.backbone.bottom_up.freeze_at=2"],
            "freeze_at=2 without train.init_check",
        ),
        (["model.backbone.bottom_up.variant=w99"], "unknown HRNet variant 'w99'; known: w18"),
    ],
)
def test_what_does_not_fit_is_one_error(tiny, tmp_path, overrides, message):
    words = ["--config-file", tiny]
    if overrides != ["train=3"]:
        words.append(f"train.output_dir={tmp_path / 'run'}")
    outcome = train_net(*words, *overrides)
    assert outcome.code == 2
    assert message in outcome.err and outcome.err.startswith("error: ")


def test_an_error_in_the_run_has_the_places_of_a_lazy_config(tiny, tmp_path):
    outcome = train_net("--eval-only", "--config-file", tiny, f"train.output_dir={tmp_path}")
    assert outcome.code == 2
    assert "add train.init_checkpoint=path/to/model_final.pth" in outcome.err


def test_a_yaml_config_does_not_take_words_of_a_lazy_one():
    outcome = train_net("--config-file", "hrnetv2p_faster_rcnn.yaml", "optimizer.lr=0.1")
    assert outcome.code == 2 and "KEY VALUE" in outcome.err


def test_a_file_that_is_no_config_is_refused(tmp_path):
    (tmp_path / "half.py").write_text("train = {'seed': 1}\n")
    with pytest.raises(InputError, match="it has no model, dataloader, optimizer, lr_multiplier"):
        load_lazy_config(tmp_path / "half.py")
    (tmp_path / "wrong.py").write_text("train = (\n")
    with pytest.raises(InputError, match=r"wrong.py cannot be loaded"):
        load_lazy_config(tmp_path / "wrong.py")


def test_the_zoo_builds_the_model_of_a_lazy_config(write_lazy):
    model = model_zoo.get(str(write_lazy))
    assert not model.training and model.device == torch.device("cpu")
    with torch.no_grad():
        found = model([{"image": torch.zeros(3, 64, 64)}])[0]["instances"]
    assert found.image_size == (64, 64)


def test_what_needs_the_keys_of_a_yaml_config_says_so(capsys):
    assert main(["plan", "--config-file", FASTER]) == 1
    assert f"{FASTER} is a Python config; this takes one in YAML" in capsys.readouterr().err


def test_the_semantic_branch_of_htc_is_checked_before_the_start(capsys):
    lazy = load("htc_hrnetv2p_w18_20e.py", "dataloader.train.dataset.names=coco_2017_train")
    with pytest.raises(InputError, match="coco_2017_train has no semantic labels"):
        _check_semantic_branch(settings_of(lazy))


def test_resuming_from_random_weights_keeps_the_norms_of_the_first_run(tiny, tmp_path):
    words = ["--config-file", tiny, f"train.output_dir={tmp_path / 'run'}"]
    words += ["model.backbone.bottom_up.norm_eval=true"]
    first = train_net(*words)
    assert first.code in (None, 0), first.err
    assert "norm statistics are trained" in first.out
    longer = train_net("--resume", *words, "train.max_iter=4")
    assert longer.code in (None, 0), longer.err
    assert "norm statistics are trained" in longer.out


KEYPOINTS = "COCO-Keypoints/keypoint_rcnn_hrnetv2p_w18_1x.py"


def test_keypoints_of_ones_own(monkeypatch):
    lazy = load(KEYPOINTS, "train.test.keypoint_oks_sigmas=[0.05,0.1]",
                "model.roi_heads.keypoint_head.num_keypoints=2")  # fmt: skip
    cfg = settings_of(lazy)
    assert cfg.TEST.KEYPOINT_OKS_SIGMAS == [0.05, 0.1]
    monkeypatch.setattr(lazy_module, "prepare_datasets", lambda cfg, stated: None)
    with pytest.raises(InputError) as error:
        prepare_lazy_datasets(cfg, lazy)
    assert str(error.value) == (
        "model.roi_heads.keypoint_head.num_keypoints is 2, but keypoints_coco_2017_train has 17 "
        "keypoints: set model.roi_heads.keypoint_head.num_keypoints=17"
    )


def test_the_flip_of_keypoints_is_that_of_the_data_set():
    name = "two_points"
    MetadataCatalog.get(name).set(
        keypoint_names=("left", "right"), keypoint_flip_map=(("left", "right"),)
    )
    lazy = load(KEYPOINTS, f"dataloader.train.dataset.names={name}")
    mapper = instantiate(lazy.dataloader.train.mapper)
    assert list(mapper.keypoint_hflip_indices) == [1, 0]
    MetadataCatalog.pop(name)


class _Recorded(DatasetEvaluator):
    def __init__(self, dataset_name):
        self.dataset_name = dataset_name


def test_a_config_of_detectron2s_form():
    """Datasets without names are refused; an evaluator is given each test set's name."""
    lazy = load(FASTER)
    del lazy.dataloader.train.dataset["names"]
    with pytest.raises(InputError, match=r"dataloader.train.dataset.names is not there: name reg"):
        settings_of(lazy)
    lazy = load(FASTER, "dataloader.test.dataset.names=[coco_2017_val,coco_2017_val_100]")
    lazy.dataloader.evaluator = L(_Recorded)(dataset_name="${..test.dataset.names}")
    del lazy.train["clip_gradient_norm"]
    trainer, cfg = lazy_trainer(lazy), settings_of(lazy)
    assert cfg.DATASETS.TEST == ("coco_2017_val", "coco_2017_val_100")
    optimizer = trainer.build_optimizer(cfg, nn.Conv2d(1, 1, 1))
    assert type(optimizer) is torch.optim.SGD
    for name in cfg.DATASETS.TEST:
        assert trainer.build_evaluator(cfg, name).dataset_name == name


def test_a_config_without_a_test_set_trains(tiny, tmp_path):
    tiny.write_text(tiny.read_text() + "dataloader.pop('test')\n")
    outcome = train_net("--config-file", tiny, f"train.output_dir={tmp_path / 'run'}")
    assert outcome.code in (None, 0), outcome.err
    assert "is trained, but never evaluated" in outcome.out
