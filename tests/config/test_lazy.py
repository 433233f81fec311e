"""LazyConfigs: the same models and recipes as the YAML configs, and training with them."""

import json
from collections import OrderedDict

import pytest
import torch
import yaml
from detectron2.config import LazyCall as L
from detectron2.config import instantiate
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.solver import LRMultiplier
from fvcore.common.param_scheduler import ParamScheduler
from helpers.forked import srun
from helpers.tiny import metrics_rows, train_net
from helpers.training import TINY_LAZY
from omegaconf import ListConfig, OmegaConf
from torch import nn

from hrnet_det import Detector, model_zoo
from hrnet_det.analysis import planning
from hrnet_det.analysis.planning import largest_size
from hrnet_det.cli import main
from hrnet_det.config import settings
from hrnet_det.config.files import config_folder
from hrnet_det.config.lazy import is_saved, lazy_text, load_lazy_config, parse_saved
from hrnet_det.config.lazy_run import LazyRun
from hrnet_det.config.load import load_run, parse_run
from hrnet_det.data.datasets import follow_keypoints, used_splits
from hrnet_det.data.registration import register_coco
from hrnet_det.engine import LazyTrainer
from hrnet_det.engine.job import Job
from hrnet_det.engine.optimizer import build_lr_scheduler, build_optimizer
from hrnet_det.engine.preflight import check_datasets, check_learning
from hrnet_det.errors import InputError
from hrnet_det.modeling.backbone.checkpointing import CHECKPOINTING
from hrnet_det.modeling.kinds import kind_of
from tools.complexity import on_meta

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
    ours, theirs = load_run(name), load_run(name.replace(".py", ".yaml"))
    lazy, cfg = ours.cfg, theirs.cfg
    for setting in (
        settings.MAX_ITER,
        settings.BATCH_SIZE,
        settings.BASE_LR,
        settings.ACCUMULATION_STEPS,
        settings.CHECKPOINT_PERIOD,
        settings.EVAL_PERIOD,
        settings.TRAIN_DATASETS,
        settings.TEST_DATASETS,
        settings.VARIANT,
        settings.NORM,
        settings.NORM_EVAL,
        settings.OPTIMIZED,
        settings.DTYPE,
        settings.COCO_EVAL,
        settings.WEIGHTS_STRICT,
    ):
        assert ours[setting] == theirs[setting], setting
    assert kind_of(ours) is kind_of(theirs)
    clip = cfg.SOLVER.CLIP_GRADIENTS
    assert lazy.train.clip_gradient_norm == (clip.CLIP_VALUE if clip.ENABLED else 0)
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    optimizers = [LazyTrainer.build_optimizer(ours, model), build_optimizer(cfg, model)]
    groups = []
    for optimizer in optimizers:
        rows = [
            (id(p), group["lr"], group["weight_decay"], group["momentum"])
            for group in optimizer.param_groups
            for p in group["params"]
        ]
        groups.append(sorted(rows))
    assert groups[0] == groups[1]
    rates = [LazyTrainer.build_lr_scheduler(ours, optimizers[0]),
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


def test_a_leaf_is_at_most_nine_lines_beside_its_header_and_begins_with_its_command():
    for name in LAZY:
        lines = (config_folder() / name).read_text().splitlines()
        assert len([line for line in lines if not line.startswith("#")]) <= 9, name
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
{TINY_LAZY}
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
    files = {"model_final.pth", "results.json", "predictions.png", "config.yaml", "log.txt"}
    assert files | {"augmented_samples.png"} <= {path.name for path in output.iterdir()}
    content = torch.load(output / "model_final.pth", weights_only=True)
    assert content["iteration"] == 2 and content["hrnet_det"]["classes"] == [
        "disc",
        "bar",
        "absent",
    ]
    saved = load_run(output / "config.yaml")
    assert isinstance(saved, LazyRun) and saved[settings.MAX_ITER] == 3
    again = f"--config-file {output}/config.yaml --eval-only train.init_checkpoint={output}/model"
    assert again in outcome.out
    first = json.loads((output / "results.json").read_text())["bbox"]

    again = train_net("--eval-only", *words, f"train.init_checkpoint={output}/model_final.pth")
    assert again.code in (None, 0), again.err
    assert json.loads((output / "results.json").read_text())["bbox"] == first
    assert load_run(output / "config.yaml")[settings.WEIGHTS] == ""  # it is the training's

    longer = train_net("--resume", *words, "train.max_iter=5")
    assert longer.code in (None, 0), longer.err
    assert torch.load(output / "model_final.pth", weights_only=True)["iteration"] == 4


def test_early_stopping_averaged_weights_and_losses_on_the_test_set(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(
        LazyTrainer, "test", classmethod(lambda cls, run, model: OrderedDict(bbox={"AP": 5.0}))
    )
    outcome = train_net(
        "--config-file", tiny, f"train.output_dir={tmp_path}", "train.max_iter=5",
        "train.eval_period=1", "train.patience=1", "train.ema_decay=0.9", "train.test.loss=True",
    )  # fmt: skip
    assert outcome.code in (None, 0), outcome.err
    assert "Early stopping after 2 of 5 iterations" in outcome.out
    assert "(train.patience 1)" in outcome.out
    hooks = torch.load(tmp_path / "model_final.pth", weights_only=True)["trainer"]["hooks"]
    assert hooks["WeightAverage"]["updates"] == 2
    rows = metrics_rows(tmp_path, "validation_loss/total")
    assert [row["iteration"] for row in rows] == [0, 1]
    assert rows[0]["validation_loss/loss_rpn_cls"] > 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.rl=1"], "no config key optimizer.rl; did you mean optimizer.lr"),
        (["SOLVER.BASE_LR", "0.1"], "'SOLVER.BASE_LR': a LazyConfig takes KEY=VALUE, such as"),
        (["model.roi_heads.num_classes=7"], "num_classes is 7, but tiny_train has 3 classes"),
        (
            ["train.gradient_accumulation_steps=4"],
            "train.gradient_accumulation_steps=4: each process has 2 of dataloader.train.tot",
        ),
        (["train.max_iter=abc"], "train.max_iter is 'abc'; it must be of type int"),
        (["train.max_iter=[1,"], "command line: "),
        (["train=3"], "train is 3, not a group of keys"),
        (["+train.seed.x=1"], "command line: "),
        (["+model.foo=1"], "the model of this config cannot be built: "),
        (
            ["+train.ddp.find_unused_parameters=1"],
            "train has options that this trainer has not: ddp.find_un",
        ),
        (["+train.accumulat=4"], "train has options that this trainer has not: accumulat; it has"),
        (["optimizer._target_=torch.optim.Nope"], "optimizer (torch.optim.Nope) cannot be built: "),
        (["+optimizer.learning_rate=0.1"], "argument 'learning_rate'"),
        (["~train.amp"], "a LazyConfig takes KEY=VALUE"),
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


def test_plan_takes_a_lazy_config(capsys, monkeypatch):
    monkeypatch.setattr(planning, "CHECKPOINTING", {"balanced": CHECKPOINTING["balanced"]})
    yaml = FASTER.replace(".py", ".yaml")
    small = {
        FASTER: ["model.backbone.bottom_up.variant=w18_small_v1"],
        yaml: ["MODEL.HRNET.VARIANT", "w18_small_v1"],
    }
    tables = []
    for config, words in small.items():
        options = ["--config-file", config, "--size", "64x64", "--batch", "1"]
        assert main(["plan", *options, *words]) == 0
        tables.append(capsys.readouterr().out.splitlines()[1:])
    assert tables[0] == tables[1]
    with pytest.raises(SystemExit, match="2"):
        main(["plan", "--config-file", FASTER, "--size", "64x64", "--batch", "0"])
    assert largest_size(load_run(FASTER)) == largest_size(load_run(yaml)) == (800, 1344)


def test_the_semantic_branch_of_htc_is_checked_before_the_start():
    name = "dataloader.train.dataset.names=coco_2017_train"
    job = Job(load_run("htc_hrnetv2p_w18_20e.py", [name]))
    job.splits = used_splits(job.run, trains=True)
    with pytest.raises(InputError, match="but coco_2017_train has no semantic labels"):
        check_learning(job)


def test_resuming_from_random_weights_keeps_the_norms_of_the_first_run(tiny, tmp_path):
    output = tmp_path / "run"
    words = ["--config-file", tiny, f"train.output_dir={output}"]
    words += ["model.backbone.bottom_up.norm_eval=true"]
    for resume, iterations in (([], 3), (["--resume"], 5)):
        outcome = train_net(*resume, *words, f"train.max_iter={iterations}")
        assert outcome.code in (None, 0), outcome.err
        assert "norm statistics are trained" in outcome.out
        weights = torch.load(output / "model_final.pth", weights_only=True)["model"]
        # the statistics move in each part of the run, once in each iteration
        assert weights["backbone.bottom_up.bn1.num_batches_tracked"] == iterations


KEYPOINTS = "COCO-Keypoints/keypoint_rcnn_hrnetv2p_w18_1x.py"


def test_keypoints_of_your_own():
    words = ["train.test.keypoint_oks_sigmas=[0.05,0.1]",
             "model.roi_heads.keypoint_head.num_keypoints=2"]  # fmt: skip
    run = load_run(KEYPOINTS, words)
    assert run[settings.KEYPOINT_OKS_SIGMAS] == (0.05, 0.1)
    with pytest.raises(InputError) as error:
        follow_keypoints(run, used_splits(run, trains=True))
    message = str(error.value)
    assert "num_keypoints is 2, but keypoints_coco_2017_train has 17 keypoints" in message
    assert "set model.roi_heads.keypoint_head.num_keypoints=17" in message


def test_the_flip_of_keypoints_is_that_of_the_dataset():
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
    with pytest.raises(InputError, match=r"dataloader.train.dataset.names is empty: name a data"):
        check_datasets(Job(LazyRun(lazy), trains=True))
    lazy = load(FASTER, "dataloader.test.dataset.names=[coco_2017_val,coco_2017_val_100]")
    lazy.dataloader.evaluator = L(_Recorded)(dataset_name="${..test.dataset.names}")
    del lazy.train["clip_gradient_norm"]
    run = LazyRun(lazy)
    assert run[settings.TEST_DATASETS] == ("coco_2017_val", "coco_2017_val_100")
    optimizer = LazyTrainer.build_optimizer(run, nn.Conv2d(1, 1, 1))
    assert type(optimizer) is torch.optim.SGD
    for name in run[settings.TEST_DATASETS]:
        assert LazyTrainer.build_evaluator(run, name).dataset_name == name


def test_a_config_without_a_test_set_trains(tiny, tmp_path):
    tiny.write_text(tiny.read_text() + "dataloader.pop('test')\n")
    outcome = train_net("--config-file", tiny, f"train.output_dir={tmp_path / 'run'}")
    assert outcome.code in (None, 0), outcome.err
    assert "is trained, but never evaluated" in outcome.out


def test_a_key_that_the_file_lacks_is_shown_with_the_plus_that_adds_it():
    run = load_run("COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.py")
    assert run.words(settings.TRAIN_JSON, "a.json") == ["train.custom.train_json=a.json"]
    assert run.words(settings.WEIGHTS_STRICT, False) == ["+train.weights_strict=False"]


def test_custom_data(coco, write_lazy, tmp_path):
    given = {"json": coco / "boxes.json", "images": coco / "images"}
    words = [
        f"train.custom.{split}_{what}={path}"
        for split in ("train", "test")
        for what, path in given.items()
    ]
    output = tmp_path / "run"
    outcome = train_net("--config-file", write_lazy, f"train.output_dir={output}", *words)
    assert outcome.code == 0, outcome.err
    saved = torch.load(output / "model_final.pth", weights_only=True)["hrnet_det"]
    assert saved["classes"] == ["disc", "bar", "absent"]


def test_a_file_that_registers_its_own_data_trains_in_two_processes(coco, write_lazy, tmp_path):
    write_lazy.write_text(
        write_lazy.read_text()
        + f"""
from detectron2.data.datasets import register_coco_instances
for _name in ("tiny_train", "tiny_val"):
    register_coco_instances(_name, {{}}, {str(coco / "boxes.json")!r}, {str(coco / "images")!r})
    MetadataCatalog.get(_name).set(thing_classes=["disc", "bar", "absent"])
dataloader.train.total_batch_size = 2
""".replace("for _name", "from detectron2.data import MetadataCatalog\nfor _name", 1)
    )
    arguments = ("--config-file", write_lazy, f"train.output_dir={tmp_path / 'run'}")
    first, second = srun(*arguments, cwd=tmp_path)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert (tmp_path / "run" / "results.json").is_file()


# --- what a run saves of it ---


@pytest.mark.parametrize("name", LAZY)
def test_a_saved_config_is_the_config(name):
    run = load_run(name, ["train.max_iter=7"])
    text = run.text()
    saved = parse_run(text, "config.yaml")
    assert isinstance(saved, LazyRun) and saved[settings.MAX_ITER] == 7
    assert saved.text() == text
    assert plain_values(lazy_on_meta(saved.cfg)) == plain_values(lazy_on_meta(run.cfg))
    loaders = [instantiate(r.cfg.dataloader.test.mapper) for r in (run, saved)]
    assert str(loaders[0].augmentations) == str(loaders[1].augmentations)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "torch.load",
        "detectron2.config.LazyConfig.load",
        "hrnet_det.modeling.build_model.instantiate",
        "detectron2.data.build.os.system",
        "hrnet_det.data.quickstart.make_quickstart",
        3,
    ],
)
@pytest.mark.parametrize("place", ["model", "optimizer", "dataloader"])
def test_a_saved_config_calls_no_code(tmp_path, target, place):
    sentinel = tmp_path / "executed"
    content = yaml.safe_load(load_run(FASTER).text())
    content[place] = {"_target_": target, "command": f"touch {sentinel}", **(
        {"model": {"_target_": "x"}} if place == "model" else {})}  # fmt: skip
    assert is_saved(content)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=f"config.yaml calls .*{target}"):
        load_run(path)
    outcome = train_net("--config-file", path)
    assert outcome.code == 2 and not sentinel.exists()


def test_what_has_no_name_is_not_saved():
    lazy = load(FASTER)
    lazy.train = {**lazy.train}
    lazy.model.hook = lambda x: x
    with pytest.raises(ValueError, match="has no name that it can be found by again"):
        lazy_text(lazy)
    with pytest.raises(InputError, match=r"x\.yaml is not a saved LazyConfig"):
        parse_saved("{", "x.yaml")


def test_the_detector_of_a_lazy_run(tiny, tmp_path, coco):
    output = tmp_path / "run"
    assert train_net("--config-file", tiny, f"train.output_dir={output}").code == 0
    detector = Detector.from_pretrained(output / "model_final.pth")
    assert detector.class_names == ["disc", "bar", "absent"]
    image = coco / "images" / "1.png"
    with torch.no_grad():
        mapper = LazyTrainer.build_test_mapper(load_run(output / "config.yaml"))
        row = mapper({"file_name": str(image), "height": 64, "width": 96})
        assert row["image"].shape == (3, 64, 96)
        expected = detector.model([row])[0]["instances"]
    assert torch.equal(detector(image).pred_boxes.tensor, expected.pred_boxes.tensor)
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((output / "model_final.safetensors").read_bytes())
    assert torch.equal(Detector.from_pretrained(alone)(image).scores, expected.scores)
    given = Detector.from_pretrained(output / "model_final.pth", config=output / "config.yaml")
    assert torch.equal(given(image).scores, expected.scores)
    words = ["predict", output / "model_final.pth", image, "--output", tmp_path / "p", "--score", 0]
    assert main([str(word) for word in words]) == 0
    converted = tmp_path / "converted.safetensors"
    assert main(["convert", str(output / "model_final.pth"), str(converted)]) == 0
    assert torch.equal(Detector.from_pretrained(converted)(image).scores, expected.scores)
