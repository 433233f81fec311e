"""The training program and the Trainer, on a CPU."""

import itertools
import json
import logging
import math
import re
import shlex
import sys
from collections import OrderedDict

import pytest
import timm
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from detectron2.engine import HookBase, default_argument_parser
from helpers.tiny import (
    CLASSES,
    REPO,
    TINY,
    custom,
    forget_loggers,
    metrics_rows,
    train_net,
    train_net_process,
    write_json,
)
from PIL import Image
from torch import nn

from hrnet_det import Detector, get_cfg, model_zoo
from hrnet_det.config import settings
from hrnet_det.config.load import as_run
from hrnet_det.config.yaml import load_config, merge_overrides
from hrnet_det.data import prepare_datasets
from hrnet_det.engine import Trainer, logs, preflight
from hrnet_det.engine.optimizer import build_optimizer, scaled_schedule
from hrnet_det.engine.train import load_job
from hrnet_det.errors import InputError

FASTER, MASK = "hrnetv2p_faster_rcnn.yaml", "hrnetv2p_mask_rcnn.yaml"
KEYPOINT = "quickstart/keypoint_rcnn.yaml"
SIGMAS = ["TEST.KEYPOINT_OKS_SIGMAS", "[0.05, 0.05, 0.05]"]


def words(data, output, *more, annotations="boxes.json", config=FASTER, splits=("TRAIN", "TEST")):
    """Arguments of a tiny training; options that begin with -- come first."""
    options = [w for w in more if str(w).startswith("--")]
    overrides = [w for w in more if not str(w).startswith("--")]
    data = custom(data, annotations, splits)
    return ["--config-file", config, *options, *TINY, *data, "OUTPUT_DIR", output, *overrides]


def trainer(data, output, *more, annotations="boxes.json", config=FASTER):
    """A tiny Trainer, without the program around it, that only trains."""
    cfg = model_zoo.get_config(config)
    merge_overrides(cfg, [*TINY, *custom(data, annotations, ["TRAIN"]), "OUTPUT_DIR", str(output)])
    merge_overrides(cfg, [*more, "MODEL.HRNET.NORM_EVAL", "False"])
    prepare_datasets(cfg)
    output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    return Trainer(cfg)


@pytest.fixture(autouse=True)
def fresh_loggers():
    forget_loggers()
    yield
    forget_loggers()


def losses(built):
    """The loss of every iteration, after training."""
    with _Losses() as hook:
        built.register_hooks([hook])
        built.train()
    return hook.values


class _Losses(HookBase):
    def __enter__(self):
        self.values = []
        return self

    def __exit__(self, *_):
        pass

    def after_step(self):
        self.values.append(self.trainer.storage.latest()["total_loss"][0])


# --- a run from beginning to end ---


@pytest.fixture(scope="module")
def mask_run(coco, tmp_path_factory):
    """Mask R-CNN trained on your own data; where it is, and what was printed."""
    output = tmp_path_factory.mktemp("runs") / "mask"
    arguments = words(coco, output, annotations="rle.json", config=MASK)
    return output, train_net(*arguments), arguments


def test_own_data_trains_and_is_evaluated(mask_run):
    output, outcome, _ = mask_run
    assert (outcome.code, "Traceback" in outcome.out + outcome.err) == (0, False)
    written = {path.name.split(".tfevents")[0] for path in output.iterdir()}
    assert written == {
        "model_final.pth", "model_best.pth", "last_checkpoint", "metrics.json", "config.yaml",
        "results.json", "predictions.png", "events.out", "log.txt", "inference",
    }  # fmt: skip
    results = json.loads((output / "results.json").read_text())
    assert list(results) == ["bbox", "segm"]
    assert 0 <= results["bbox"]["AP"] <= 100
    assert set(results["segm"]) >= {"AP", "AP50", "AP-disc", "AP-bar", "AP-absent"}
    (row,) = metrics_rows(output)
    assert row["iteration"] == 2
    assert row["total_loss"] == pytest.approx(sum(v for k, v in row.items() if k[:5] == "loss_"))
    cfg = load_config(output / "config.yaml")
    assert (cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.INPUT.MASK_FORMAT) == (3, "bitmask")
    with Image.open(output / "predictions.png") as sheet:
        # two pairs in a row, of images enlarged to about 480 pixels, 20 of caption, gaps of 8
        assert sheet.size == (2 * (2 * (480 + 8) + 8) + 2 * (512 - 480), 516 + 548 + 516)
    assert (output / "last_checkpoint").read_text() == "model_final.pth"
    checkpoint = torch.load(output / "model_final.pth", weights_only=True)
    assert checkpoint["iteration"] == 2
    assert checkpoint["model"]["roi_heads.mask_head.predictor.weight"].shape[0] == 3


def test_what_a_run_prints(mask_run):
    output, outcome, _ = mask_run
    report = outcome.out[outcome.out.index("\nResults (percent)") :]
    for name, what in (
        ("model_final.pth", "weights"),
        ("model_best.pth", "weights of the best bbox/AP"),
        ("results.json", "all metrics of the evaluation"),
        ("predictions.png", "ground truth beside prediction"),
        ("config.yaml", "the config"),
        ("log.txt", "progress, results, warnings, environment and config"),
    ):
        assert f"  {name:<18} {what}\n" in report
    assert "curves.png" not in report  # one row of metrics is no curve
    assert outcome.out.count("Augmentations used in inference") == 2  # evaluation, and drawing
    # the console has the run, the log has the environment and the config as well
    log = (output / "log.txt").read_text()
    for text in ("Environment:", "Config:\n", "Command line arguments"):
        assert text not in outcome.out
        assert text in log
    # and what was printed
    assert report.strip() in log and outcome.out.splitlines()[0] in log
    assert f"Log, config and environment are in {output}/log.txt" in outcome.out
    assert outcome.out.count("Evaluation results for bbox") == 1


def test_scratch_training_says_that_norm_eval_is_off(mask_run, coco, tmp_path):
    output, outcome, _ = mask_run
    assert outcome.out.startswith("MODEL.ROI_HEADS.NUM_CLASSES 3, as custom_train has.\n")
    assert (
        "MODEL.WEIGHTS is empty: training from random weights, so norm statistics are trained too "
        "(MODEL.HRNET.NORM_EVAL False).\n" in outcome.out
    )
    assert load_config(output / "config.yaml").MODEL.HRNET.NORM_EVAL is False
    final = torch.load(output / "model_final.pth", weights_only=True)["model"]
    assert final["backbone.bottom_up.bn1.num_batches_tracked"] == 3
    # with weights it stays on, and statistics stay as they are
    again = tmp_path / "again"
    outcome = train_net(*words(coco, again, "MODEL.WEIGHTS", output / "model_final.pth",
                               "SOLVER.MAX_ITER", 1, splits=["TRAIN"]))  # fmt: skip
    assert outcome.code == 0
    assert "NORM_EVAL" not in outcome.out
    assert load_config(again / "config.yaml").MODEL.HRNET.NORM_EVAL is True
    kept = torch.load(again / "model_final.pth", weights_only=True)["model"]
    name = "backbone.bottom_up.bn1.running_mean"
    assert torch.equal(kept[name], final[name])
    assert not torch.equal(kept[name.replace("running_mean", "weight")],
                           final[name.replace("running_mean", "weight")])  # fmt: skip


def test_the_printed_command_evaluates_to_the_same_numbers(mask_run):
    output, outcome, _ = mask_run
    trained = (output / "results.json").read_text()
    (output / "results.json").unlink()
    command = next(line for line in outcome.out.splitlines() if "--eval-only" in line)
    _, script, *arguments = shlex.split(command)
    assert script == "train_net.py"
    again = train_net(*arguments)
    assert again.code == 0
    assert (output / "results.json").read_text() == trained
    assert again.out.count("Evaluation results for bbox") == 1
    assert "Starting training" not in again.out


def test_a_run_with_the_same_seed_is_the_same(mask_run, coco, tmp_path):
    (first,) = metrics_rows(mask_run[0])
    values = []
    for seed in (1, 2):
        arguments = words(coco, tmp_path / str(seed), "SEED", seed, annotations="rle.json",
                          config=MASK, splits=["TRAIN"])  # fmt: skip
        assert train_net(*arguments).code == 0
        (row,) = metrics_rows(tmp_path / str(seed))
        values.append([v for k, v in row.items() if "loss" in k])
    expected = [v for k, v in first.items() if "loss" in k]
    assert values[0] == expected
    assert values[1] != expected


def test_resume_goes_on_where_it_stopped(coco, tmp_path):
    arguments = words(coco, tmp_path, annotations="boxes.json", splits=["TRAIN"])
    assert train_net(*arguments, "SOLVER.MAX_ITER", 2).code == 0
    first = torch.load(tmp_path / "model_final.pth", weights_only=True)
    # a second, longer run; before its first step it has what the first one had at its end
    built = trainer(coco, tmp_path, "SOLVER.MAX_ITER", "4")
    built.resume_or_load(resume=True)
    assert built.start_iter == 2
    state = built._trainer.optimizer.state_dict()["state"]
    saved = first["trainer"]["_trainer"]["optimizer"]["state"]
    assert len(state) == len(saved) > 100
    for number, buffers in saved.items():
        assert torch.equal(state[number]["momentum_buffer"], buffers["momentum_buffer"])
    assert any(buffers["momentum_buffer"].abs().max() > 0 for buffers in saved.values())
    assert built.scheduler.last_epoch == 2
    outcome = train_net(*arguments[:2], "--resume", *arguments[2:], "SOLVER.MAX_ITER", 4)
    assert outcome.code == 0
    assert "Starting training from iteration 2" in outcome.out
    assert [row["iteration"] for row in metrics_rows(tmp_path)] == [1, 3]
    assert torch.load(tmp_path / "model_final.pth", weights_only=True)["iteration"] == 3
    with Image.open(tmp_path / "curves.png") as curves:  # two rows make a curve
        assert curves.size == (960, 720)
    assert "curves.png" in outcome.out
    # norms are trained on as they were, from scratch
    assert "NORM_EVAL False" in outcome.out
    assert load_config(tmp_path / "config.yaml").MODEL.HRNET.NORM_EVAL is False


def test_a_resumed_run_that_had_weights_keeps_norm_eval(mask_run, coco, tmp_path):
    weights = mask_run[0] / "model_final.pth"
    arguments = words(coco, tmp_path, "SOLVER.MAX_ITER", 1, splits=["TRAIN"])
    assert train_net(*arguments, "MODEL.WEIGHTS", weights).code == 0
    outcome = train_net(*arguments[:2], "--resume", *arguments[2:], "SOLVER.MAX_ITER", 2)
    assert outcome.code == 0
    assert "NORM_EVAL" not in outcome.out
    assert load_config(tmp_path / "config.yaml").MODEL.HRNET.NORM_EVAL is True


def test_the_best_checkpoint_is_that_of_the_best_box_ap(coco, tmp_path, monkeypatch):
    def aps(*values):
        rest = iter(values)

        def test(cls, run, model):
            return OrderedDict(bbox={"AP": next(rest)})

        monkeypatch.setattr(Trainer, "test", classmethod(test))

    def best():
        content = torch.load(tmp_path / "model_best.pth", weights_only=True)
        return {key: content[key] for key in ("iteration", "bbox/AP")}

    arguments = words(coco, tmp_path, "TEST.EVAL_PERIOD", 1)
    aps(float("nan"), 30.0, 20.0)
    assert train_net(*arguments).code == 0
    assert best() == {"iteration": 1, "bbox/AP": 30.0}
    # a resumed run knows of the 30 before it
    resumed = [*arguments[:2], "--resume", *arguments[2:], "SOLVER.MAX_ITER"]
    aps(25.0)
    assert train_net(*resumed, 4).code == 0
    assert best() == {"iteration": 1, "bbox/AP": 30.0}
    aps(35.0)
    assert train_net(*resumed, 5).code == 0
    assert best() == {"iteration": 4, "bbox/AP": 35.0}
    # one that was cut off while it was written is replaced
    path = tmp_path / "model_best.pth"
    path.write_bytes(path.read_bytes()[:1000])
    aps(5.0)
    assert train_net(*resumed, 6).code == 0
    assert best() == {"iteration": 5, "bbox/AP": 5.0}
    # a run that starts anew is compared with nothing
    aps(1.0)
    assert train_net(*arguments, "SOLVER.MAX_ITER", 1).code == 0
    assert best() == {"iteration": 0, "bbox/AP": 1.0}


def test_several_test_sets_and_the_best_of_the_first(coco, tmp_path, monkeypatch):
    results = {"custom_test": {"bbox": {"AP": 12.0}}, "custom_train": {"bbox": {"AP": 40.0}}}
    monkeypatch.setattr(Trainer, "test", classmethod(lambda *_: OrderedDict(results)))
    prepare = preflight.prepare_datasets

    def two_sets(run, *, trains):
        splits = prepare(run, trains=trains)
        run[settings.TEST_DATASETS] = ("custom_test", "custom_train")
        return splits._replace(test=("custom_test", "custom_train"))

    monkeypatch.setattr(preflight, "prepare_datasets", two_sets)
    outcome = train_net(*words(coco, tmp_path, "SOLVER.MAX_ITER", 1))
    assert outcome.code == 0
    assert "model_best.pth has custom_test/bbox/AP 12.00, the best so far" in outcome.out
    assert "Results custom_train (percent)" in outcome.out


def test_keypoint_rcnn(coco, tmp_path):
    outcome = train_net(*words(coco, tmp_path, *SIGMAS, annotations="keypoints.json",
                               config=KEYPOINT))  # fmt: skip
    assert outcome.code == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results) == ["bbox", "keypoints"]
    assert 0 <= results["keypoints"]["AP"] <= 100
    assert metrics_rows(tmp_path)[0]["loss_keypoint"] > 0
    assert "slow" not in outcome.err


def test_test_time_augmentation(coco, tmp_path):
    outcome = train_net(*words(
        coco, tmp_path, "TEST.AUG.ENABLED", True, "TEST.AUG.MIN_SIZES", "(64, 80)",
        "TEST.AUG.MAX_SIZE", 96, "SOLVER.MAX_ITER", 1, annotations="polygons.json", config=MASK,
    ))  # fmt: skip
    assert outcome.code == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results) == ["bbox", "segm", "bbox_TTA", "segm_TTA"]
    assert set(results["bbox_TTA"]) == set(results["bbox"])
    assert results["bbox_TTA"] != results["bbox"]
    assert "box TTA" in outcome.out
    assert (tmp_path / "model_best.pth").is_file()


def test_test_time_augmentation_has_no_keypoints(coco, tmp_path):
    outcome = train_net(*words(coco, tmp_path, *SIGMAS, "TEST.AUG.ENABLED", True,
                               annotations="keypoints.json", config=KEYPOINT))  # fmt: skip
    assert outcome.code == 2
    assert outcome.err.startswith("error: TEST.AUG.ENABLED: Detectron2's test-time augmentation")
    assert "Keypoint R-CNN" in outcome.err


def test_the_loss_falls_on_one_batch(twins, tmp_path):
    values = losses(trainer(twins, tmp_path, "SOLVER.MAX_ITER", "16", "INPUT.RANDOM_FLIP", "none"))
    assert len(values) == 16
    assert sum(values[-3:]) / 3 < 0.7 * values[0]


# --- what is refused before anything runs ---


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--num-gpus=2", "SOLVER.IMS_PER_BATCH", 3], "SOLVER.IMS_PER_BATCH 3: so many images "
         "cannot be shared equally among 2 processes: take a positive multiple of 2"),
        (["SOLVER.IMS_PER_BATCH", 0], "SOLVER.IMS_PER_BATCH 0: so many images cannot be shared"),
        (["--num-gpus=0"], "--num-gpus 0: give at least 1 (without GPUs: processes on the CPU)"),
        (["--num-gpus=2", "MODEL.HRNET.NORM", "SyncBN"], "MODEL.HRNET.NORM SyncBN: torch's SyncBN "
         "needs GPUs; on the CPU take MODEL.HRNET.NORM naiveSyncBN"),
        (["--num-gpus=2", "MODEL.HRFPN.NORM", "SyncBN"], "MODEL.HRFPN.NORM SyncBN: torch's SyncBN "
         "needs GPUs"),
        (["MODEL.HRNET.NORM", "SyncBN", "MODEL.WEIGHTS", "w.pth"], "MODEL.HRNET.NORM SyncBN with "
         "MODEL.HRNET.NORM_EVAL True has fixed statistics"),
        (["SOLVER.REFERENCE_WORLD_SIZE", -1], "SOLVER.REFERENCE_WORLD_SIZE -1: must be the "
         "GPUs of the recipe, or 0 for no scaling"),
        (["SOLVER.MAX_ITER", "None"], "command line: SOLVER.MAX_ITER needs a value, not None"),
        (["TEST.AUG.ENABLED", "True", "INPUT.RESIZE", "opencv"], "TEST.AUG.ENABLED: Detectron2's "
         "test-time augmentation resizes with INPUT.RESIZE pillow, not opencv"),
        (["MODEL.DEVICE", "gpu"], "MODEL.DEVICE 'gpu' is no device of torch: cuda, cpu, ..."),
        (["MODEL.BACKBONE.FREEZE_AT", 2], "MODEL.BACKBONE.FREEZE_AT 2 without MODEL.WEIGHTS would "
         "freeze random weights: give weights, or set it to 0"),
        (["--eval-only"], "--eval-only without weights would evaluate random ones: add "
         "MODEL.WEIGHTS path/to/model_final.pth, or --resume for the last checkpoint of"),
        (["--eval-only", "MODEL.WEIGHTS", "no.pth"], "weights no.pth are not there"),
        (["MODEL.WEIGHTS", "no.pth"], "weights no.pth are not there"),
        (["MODEL.HRNET.VARIANT", "w33"], "the model of this config cannot be built: unknown HRNet "
         "variant 'w33'; known: w18_small_v1"),
        (["SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "all"], "SOLVER.CLIP_GRADIENTS.CLIP_TYPE 'all': "
         "value, norm or full_model"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(coco, tmp_path, more, message):
    outcome = train_net(*words(coco, tmp_path / "out", *more))
    assert outcome.code == 2
    assert outcome.err.count("error: ") == 1
    assert f"error: {message}" in outcome.err
    assert not list((tmp_path / "out").glob("*.pth"))


def test_a_side_of_the_data_that_is_not_there(coco, tmp_path):
    outcome = train_net(*words(coco, tmp_path, splits=["TEST"]))
    assert outcome.err == "error: DATASETS.TRAIN is empty: name a dataset to train on\n"
    outcome = train_net(*words(coco, tmp_path, "--eval-only", splits=["TRAIN"]))
    assert outcome.err == ("error: DATASETS.TEST is empty: name a dataset to test on\n")


def test_an_evaluator_that_is_not_here_is_refused_before_training(coco, tmp_path):
    DatasetCatalog.register("tiny_own", list)
    MetadataCatalog.get("tiny_own").set(evaluator_type="own", thing_classes=["a"])
    try:
        sets = ["DATASETS.TRAIN", "('tiny_own',)", "DATASETS.TEST", "('tiny_own',)"]
        outcome = train_net("--config-file", FASTER, *TINY, "OUTPUT_DIR", tmp_path, *sets)
    finally:
        DatasetCatalog.remove("tiny_own")
        MetadataCatalog.remove("tiny_own")
    assert (outcome.code, outcome.err) == (
        2, "error: dataset tiny_own wants the evaluator 'own'; there are coco, lvis, pascal_voc, "
        "sem_seg, coco_panoptic_seg, cityscapes_instance, cityscapes_sem_seg (its metadata's "
        "evaluator_type)\n"
    )  # fmt: skip


def test_no_gpu_is_one_line(coco, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    outcome = train_net(*words(coco, tmp_path, "MODEL.DEVICE", "cuda", "SOLVER.MAX_ITER", 1,
                               splits=["TRAIN"]))  # fmt: skip
    assert outcome.code == 0
    line = "No GPU here: running on the CPU instead of MODEL.DEVICE cuda."
    assert [text for text in outcome.out.splitlines() if "GPU" in text][:1] == [line]
    assert outcome.out.count(line) == 1
    assert load_config(tmp_path / "config.yaml").MODEL.DEVICE == "cpu"


# --- progress ---


def test_a_terminal_gets_a_bar(coco, tmp_path):
    once = ["SOLVER.MAX_ITER", 1]
    outcome = train_net(*words(coco, tmp_path, *once, splits=["TRAIN"]), terminal=True)
    assert outcome.code == 0
    bar = [part for part in outcome.out.split("\r") if part.startswith("training:")][-1]
    assert "100%" in bar
    assert "1/1" in bar
    (row,) = metrics_rows(tmp_path)
    assert f"loss {row['total_loss']:.3f}, lr 0.01, " in bar
    assert 0.1 < float(re.search(r"lr 0\.01, (\d+\.\d) GB\]", bar)[1]) < 100
    assert "eta:" not in outcome.out


def test_elsewhere_there_are_plain_lines(mask_run):
    _, outcome, _ = mask_run
    assert "training:   0%" not in outcome.out + outcome.err
    assert "it/s" not in outcome.out + outcome.err
    (line,) = [text for text in outcome.out.splitlines() if "eta:" in text]
    assert "iter: 2" in line
    assert "total_loss:" in line


def test_an_error_leaves_the_console_as_it_was(capsys):
    logs.setup_logger()
    handlers = [h for h in logging.getLogger("detectron2").handlers if h.level == logging.DEBUG]
    (handler,) = [h for h in handlers if getattr(h, "stream", None) is sys.stdout]
    with pytest.raises(InputError), logs.console_level(logging.ERROR):
        assert handler.level == logging.ERROR
        raise InputError("x")
    assert handler.level == logging.DEBUG


# --- AMP and gradient clipping ---


def test_amp_on_the_cpu_trains_in_bfloat16_and_evaluates_in_float32(coco, tmp_path):
    built = trainer(coco, tmp_path, "SOLVER.AMP.ENABLED", "True", annotations="polygons.json",
                    config=MASK)  # fmt: skip
    seen = {True: set(), False: set()}
    layer = built.model.backbone.bottom_up.stage4[0].branches[0][0].conv1
    layer.register_forward_hook(lambda m, _, y: seen[m.training].add(y.dtype))
    pooled = set()  # what RoIAlign would cast its boxes to: bfloat16 pixels are up to 4 wide
    pooler = built.model.roi_heads.box_pooler
    pooler.register_forward_hook(lambda _, inputs, __: pooled.update(x.dtype for x in inputs[0]))
    values = losses(built)
    assert len(values) == 3
    assert all(torch.isfinite(torch.tensor(values)))
    assert seen == {True: {torch.bfloat16}, False: set()}
    assert pooled == {torch.float32}
    assert {p.dtype for p in built.model.parameters()} == {torch.float32}
    built.model.eval()
    with torch.no_grad():
        built.model([{"image": torch.zeros(3, 64, 64)}])
    assert seen[False] == {torch.float32}


def clipping(clip_type, clip_value):
    cfg = get_cfg()
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = clip_type
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = clip_value
    cfg.SOLVER.BASE_LR, cfg.SOLVER.MOMENTUM, cfg.SOLVER.WEIGHT_DECAY = 0.5, 0.0, 0.0
    return cfg


def step(cfg):
    """One step from zeros with gradients of 3 and 4; the parameters after it."""
    model = nn.ModuleList([nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)])
    parameters = list(model.parameters())
    for parameter, gradient in zip(parameters, (3.0, 4.0), strict=True):
        nn.init.zeros_(parameter)
        parameter.grad = torch.full_like(parameter, gradient)
    build_optimizer(cfg, model).step()
    return [p.item() for p in parameters], [p.grad.item() for p in parameters]


@pytest.mark.parametrize(
    ("clip_type", "value", "gradients"),
    [
        ("full_model", 1.0, (0.6, 0.8)),  # the norm of both is 5
        ("full_model", 2.5, (1.5, 2.0)),
        ("norm", 1.0, (1.0, 1.0)),  # each parameter on its own
        ("norm", 3.5, (3.0, 3.5)),
        ("value", 2.0, (2.0, 2.0)),
    ],
)
def test_gradients_are_clipped(clip_type, value, gradients):
    after, clipped = step(clipping(clip_type, value))
    assert clipped == pytest.approx(gradients, abs=1e-5)
    assert after == pytest.approx([-0.5 * g for g in gradients], abs=1e-5)


@pytest.mark.parametrize("clip_type", ["full_model", "norm", "value"])
def test_small_gradients_are_left_alone(clip_type):
    assert step(clipping(clip_type, 5.001)) == ([-1.5, -2.0], [3.0, 4.0])


def test_clipping_can_be_off():
    cfg = clipping("full_model", 1.0)
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = False
    assert step(cfg) == ([-1.5, -2.0], [3.0, 4.0])


def test_adamw_is_adamw_on_detectron2s_groups():
    cfg = clipping("full_model", 100.0)
    cfg.SOLVER.OPTIMIZER = "ADAMW"
    # the first step of Adam is the learning rate against the sign, whatever the gradient
    after, gradients = step(cfg)
    assert after == pytest.approx([-0.5, -0.5], abs=1e-5)
    assert gradients == [3.0, 4.0]
    cfg.SOLVER.WEIGHT_DECAY, cfg.SOLVER.WEIGHT_DECAY_NORM = 0.1, 0.025
    optimizer = build_optimizer(cfg, nn.Sequential(nn.Linear(1, 1), nn.BatchNorm2d(1)))
    decays = [g["weight_decay"] for g in optimizer.param_groups for _ in g["params"]]
    assert sorted(decays) == [0.025, 0.025, 0.1, 0.1]


def test_an_unknown_optimizer_lists_the_known_ones():
    cfg = clipping("norm", 1.0)
    cfg.SOLVER.OPTIMIZER = "LION"
    with pytest.raises(InputError, match=r"SOLVER.OPTIMIZER 'LION': SGD or ADAMW"):
        step(cfg)


# --- what an earlier run has left ---


def test_an_earlier_run_is_set_aside_and_evaluation_keeps_the_config(coco, tmp_path):
    output = tmp_path / "output"
    assert train_net(*words(coco, output, "SOLVER.MAX_ITER", 1)).code == 0
    before = {
        name: (output / name).read_bytes()
        for name in ("metrics.json", "results.json", "last_checkpoint", "model_final.pth")
    }
    own = ["MODEL.WEIGHTS", output / "model_final.pth"]
    outcome = train_net(*words(coco, output, *own))  # which it would rename before it reads them
    assert outcome.code == 2 and "model_final.pth is of an earlier run in OUTPUT_DIR" in outcome.err
    assert not (output / "model_final.pth.previous").exists()
    outcome = train_net(*words(coco, output, "SOLVER.MAX_ITER", 2, splits=["TRAIN"]))
    assert outcome.code == 0
    assert "DATASETS.TEST is empty: the detector is trained, but never evaluated" in outcome.out
    for name, content in before.items():
        assert (output / f"{name}.previous").read_bytes() == content
    assert not (output / "results.json").exists() and not (output / "model_best.pth").exists()
    assert [row["iteration"] for row in metrics_rows(output)] == [1]
    config = (output / "config.yaml").read_text()
    weights = ["MODEL.WEIGHTS", output / "model_final.pth"]
    outcome = train_net(
        *words(coco, output, "--eval-only", *weights, "TEST.DETECTIONS_PER_IMAGE", 5)
    )
    assert outcome.code == 0
    assert (output / "config.yaml").read_text() == config


def test_evaluating_an_imagenet_backbone_is_refused(coco, tmp_path):
    weights = tmp_path / "imagenet.pth"
    torch.save(timm.create_model("hrnet_w18_small").state_dict(), weights)
    outcome = train_net(*words(coco, tmp_path / "o", "--eval-only", "MODEL.WEIGHTS", weights))
    assert outcome.code == 2
    assert "--eval-only, but a part of the detector would be random" in outcome.err
    assert (
        f"{weights}: ImageNet classification (official or timm): HRNet w18_small_v1" in outcome.err
    )
    assert re.search(r"^box head +0 of 8 +missing in the file: random$", outcome.err, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--num-gpus=2", "MODEL.DEVICE", "cuda:1"],
            "MODEL.DEVICE cuda:1 is one GPU, but there are 2",
        ),
        (
            ["MODEL.DEVICE", "cuda:2"],
            "MODEL.DEVICE cuda:2, but this machine's GPUs are cuda:0 to cuda:1",
        ),
        (["--num-gpus=3", "MODEL.DEVICE", "cuda"], "--num-gpus 3, but this machine has 2"),
        (["--num-machines=2", "MODEL.DEVICE", "cpu"], "the processes would be started for GPUs"),
        (
            ["MODEL.DEVICE", "mps", "SOLVER.AMP.ENABLED", "True"],
            "SOLVER.AMP.ENABLED True is for cuda and",
        ),
    ],
)
def test_devices_that_do_not_fit(coco, tmp_path, monkeypatch, words, message):
    """As on a machine of two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    options = [word for word in words if word.startswith("--")]
    data = custom(coco, "boxes.json")
    overrides = [*TINY, *data, "OUTPUT_DIR", str(tmp_path), *words[len(options) :]]
    args = default_argument_parser().parse_args(["--config-file", FASTER, *options, *overrides])
    with pytest.raises(InputError) as error:
        preflight.preflight(load_job(args))
    assert message in str(error.value)


def test_a_short_period_is_not_scaled_to_never():
    cfg = get_cfg()
    cfg.SOLVER.REFERENCE_WORLD_SIZE, cfg.SOLVER.CHECKPOINT_PERIOD = 1, 3
    cfg.SOLVER.IMS_PER_BATCH, cfg.TEST.EVAL_PERIOD = 2, 0
    scaled = scaled_schedule(as_run(cfg), 8).cfg
    found = (scaled.SOLVER.IMS_PER_BATCH, scaled.SOLVER.CHECKPOINT_PERIOD, scaled.TEST.EVAL_PERIOD)
    assert found == (16, 1, 0)


# --- detectors with other conventions ---


@pytest.mark.parametrize(
    ("base", "conventions"),
    [
        ("Base-RCNN-HRNetV2p", "mmdet"),
        ("Base-RCNN-HRNetV2p", "hrnet_object_detection"),
        ("Base-RCNN-HRNetV2p", "maskrcnn_benchmark"),
        ("Base-Cascade-RCNN-HRNetV2p", "detectron2"),
        ("Base-Cascade-RCNN-HRNetV2p", "mmdet"),
        ("Base-FCOS-HRNetV2p", "detectron2"),
        ("Base-FCOS-HRNetV2p", "mmdet"),
    ],
)
def test_training_with_other_conventions(coco, tmp_path, base, conventions):
    output = tmp_path / "output"
    path = REPO / f"configs/{base}.yaml"
    masks = "Cascade" in base
    more = (
        "MODEL.CONVENTIONS",
        conventions,
        "MODEL.HRFPN.OUT_CHANNELS",
        64,
        "MODEL.MASK_ON",
        masks,
    )
    annotations = "polygons.json" if masks else "boxes.json"
    arguments = words(coco, output, *more, annotations=annotations, config=path)
    outcome = train_net(*arguments)
    assert outcome.code == 0, outcome.err
    rows = metrics_rows(output)
    assert rows and all(math.isfinite(row["total_loss"]) for row in rows)
    expected = {"bbox", "segm"} if masks else {"bbox"}
    assert set(json.loads((output / "results.json").read_text())) == expected
    cfg = load_config(output / "config.yaml")
    assert conventions == cfg.MODEL.CONVENTIONS
    detector = Detector.from_pretrained(output / "model_final.pth", device="cpu")
    assert detector.class_names == CLASSES
    assert conventions == detector.cfg.MODEL.CONVENTIONS


# --- processes ---


@pytest.mark.slow
def test_the_quickstart_config_trains_in_two_processes(coco, tmp_path):
    arguments = words(
        coco,
        tmp_path / "output",
        *("--num-gpus=2", "--dist-url=auto", "SOLVER.IMS_PER_BATCH", 4),
        annotations="rle.json",
        config="quickstart/mask_rcnn.yaml",
    )
    outcome = train_net_process(*arguments, cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    assert "Traceback" not in outcome.err
    results = json.loads((tmp_path / "output" / "results.json").read_text())
    assert set(results) == {"bbox", "segm"}
    (row,) = metrics_rows(tmp_path / "output")
    assert row["iteration"] == 2 and row["loss_mask"] > 0


def test_coco_is_found_and_trained_on_as_typed(tmp_path):
    things = [c for c in COCO_CATEGORIES if c["isthing"]]
    categories = [{"id": c["id"], "name": c["name"]} for c in things]
    assert len(categories) == 80
    root = tmp_path / "sets" / "coco"
    ids = itertools.count(1)
    for split, count in (("train", 4), ("val", 2)):
        (root / f"{split}2017").mkdir(parents=True)
        images, objects = [], []
        for i in range(1, count + 1):
            name = f"{i:012d}.jpg"
            Image.new("RGB", (80, 64), (60 * i, 90, 120)).save(root / f"{split}2017" / name)
            images.append({"id": i, "file_name": name, "height": 64, "width": 80})
            box = {"bbox": [10, 12, 30, 20], "area": 600, "iscrowd": 0, "category_id": 90}
            polygon = {"segmentation": [[10, 12, 40, 12, 40, 32, 10, 32]]}
            objects.append({"id": next(ids), "image_id": i, **box, **polygon})
        content = {"images": images, "annotations": objects, "categories": categories}
        write_json(root / "annotations" / f"instances_{split}2017.json", content)
    small = list(TINY)
    variant = small.index("MODEL.HRNET.VARIANT")
    del small[variant : variant + 2]  # w32, as the config says
    outcome = train_net_process(
        "--config-file", FASTER, *small, "SOLVER.MAX_ITER", 2, "SOLVER.BASE_LR", 1e-4,
        cwd=tmp_path, DETECTRON2_DATASETS=str(root.parent),
    )  # fmt: skip
    assert (outcome.code, "Traceback" in outcome.err) == (0, False), outcome.err
    output = tmp_path / "output"
    results = json.loads((output / "results.json").read_text())["bbox"]
    assert sum(name.startswith("AP-") for name in results) == 80
    assert results["AP-toothbrush"] >= 0  # category 90, the only one with objects
    assert metrics_rows(output)[-1]["iteration"] == 1
    weights = torch.load(output / "model_final.pth", weights_only=True)["model"]
    assert weights["roi_heads.box_predictor.cls_score.weight"].shape[0] == 81
    assert weights["backbone.bottom_up.stage4.0.branches.0.0.conv1.weight"].shape[0] == 32


def test_two_processes_train_as_one(twins, tmp_path):
    """Every proposal takes part, so that nothing is drawn at random but images and weights."""
    same = """
        MODEL.HRNET.NORM naiveSyncBN INPUT.RANDOM_FLIP none SOLVER.MAX_ITER 1
        MODEL.RPN.BATCH_SIZE_PER_IMAGE 100000 MODEL.RPN.POSITIVE_FRACTION 1.0
        MODEL.RPN.NMS_THRESH 1.0 MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE 1000
        MODEL.ROI_HEADS.POSITIVE_FRACTION 1.0
    """.split()  # noqa: SIM905
    one, two = tmp_path / "one", tmp_path / "two"
    assert train_net(*words(twins, one, *same, splits=["TRAIN"])).code == 0
    options = ["--num-gpus=2", "--dist-url=auto"]
    outcome = train_net_process(*words(twins, two, *same, *options), cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out.count("Evaluation results for bbox") == 1
    assert (two / "log.txt.rank1").is_file()
    (alone,), (shared,) = metrics_rows(one), metrics_rows(two)
    for name in alone:
        if "loss" in name:
            assert shared[name] == pytest.approx(alone[name], rel=1e-3), name
    still = tmp_path / "still"
    assert (
        train_net(*words(twins, still, *same, "SOLVER.BASE_LR", "0.0", splits=["TRAIN"])).code == 0
    )
    start, alone, shared = (
        torch.load(o / "model_final.pth", weights_only=True)["model"] for o in (still, one, two)
    )
    assert start.keys() == alone.keys() == shared.keys()
    for part in ("bottom_up.conv", "stage4", "fpn_convs", "proposal", "roi_heads"):
        names = [n for n in start if part in n and "running_" not in n and "tracked" not in n]
        before, by_one, by_two = (
            torch.cat([weights[n].flatten() for n in names]) for weights in (start, alone, shared)
        )
        # a ReLU whose input is near 0 may open in one and not in the other
        assert (by_two - by_one).norm() < 0.03 * (by_one - before).norm(), part


def test_an_error_in_the_processes_is_one_message(coco, tmp_path):
    arguments = words(coco, tmp_path / "out", "--num-gpus=2", "--dist-url=auto", "--eval-only")
    outcome = train_net_process(*arguments, cwd=tmp_path)
    assert outcome.code == 2
    assert outcome.err.count("error: ") == 1
    assert "error: --eval-only without weights would evaluate random ones" in outcome.err
    assert "Traceback" not in outcome.err
