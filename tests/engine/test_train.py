"""The training program and the Trainer, on a CPU, from beginning to end."""

import json
import logging
import math
import re
import shlex
import sys
from collections import OrderedDict

import pytest
import torch
from helpers.tiny import (
    CLASSES,
    REPO,
    metrics_rows,
    train_net,
)
from helpers.training import KEYPOINT, MASK, SIGMAS, losses, trainer, words
from PIL import Image

from hrnet_det import Detector
from hrnet_det.checkpoint.convert import convert
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.config import settings
from hrnet_det.config.yaml import load_config
from hrnet_det.engine import Trainer, logs, preflight
from hrnet_det.errors import InputError


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
        "augmented_samples.png", "model_final.safetensors", "model_card.md", "report.html",
    }  # fmt: skip
    results = json.loads((output / "results.json").read_text())
    assert list(results) == ["bbox", "segm"]
    assert 0 <= results["bbox"]["AP"] <= 100
    assert set(results["segm"]) >= {"AP", "AP50", "AP-disc", "AP-bar", "AP-absent"}
    (row,) = metrics_rows(output)
    assert row["iteration"] == 2
    cfg = load_config(output / "config.yaml")
    assert (cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.INPUT.MASK_FORMAT) == (3, "bitmask")
    with Image.open(output / "predictions.png") as sheet:
        # Two lines of legend, then rows of two pairs of images of 576x384 (enlarged 6 times) and
        # 384x576, 480x480 and 448x448, 480x360 and 480x480, with two lines of caption each.
        line, gap = 18, 8
        heights = [rows + (2 * line + 2) + 2 * gap for rows in (576, 480, 480)]
        assert sheet.size == (2 * (576 + 384) + 6 * gap, 2 * line + 2 + sum(heights))
    assert (output / "last_checkpoint").read_text() == "model_final.pth"
    checkpoint = torch.load(output / "model_final.pth", weights_only=True)
    assert checkpoint["iteration"] == 2
    assert checkpoint["model"]["roi_heads.mask_head.predictor.weight"].shape[0] == 3


def test_what_a_run_prints(mask_run):
    output, outcome, _ = mask_run
    report = outcome.out[outcome.out.index("\nResults (percent)") :]
    for name, what in (
        ("model_final.pth", "weights"),
        ("model_final.safetensors", "the same, alone enough to use, evaluate, convert"),
        ("model_card.md", "what they are, were trained on and reach"),
        ("model_best.pth", "weights of the best bbox/AP"),
        ("results.json", "all metrics of the evaluation"),
        ("predictions.png", "ground truth beside prediction"),
        ("augmented_samples.png", "images as the network was trained on them"),
        ("report.html", "what is right and wrong, and what to do: open it in a browser"),
        ("config.yaml", "the config"),
        ("log.txt", "progress, results, warnings, environment and config"),
    ):
        assert f"  {name:<23} {what}\n" in report
    assert outcome.out.rstrip().endswith("MODEL.WEIGHTS timm://hrnet_w32.ms_in1k")  # what is next
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
    assert "\nMODEL.ROI_HEADS.NUM_CLASSES 3, as custom_train has.\n" in outcome.out
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


def test_the_final_model_is_one_file_and_has_a_card(mask_run, tmp_path):
    output, _, arguments = mask_run
    path = tmp_path / "alone.safetensors"
    path.write_bytes((output / "model_final.safetensors").read_bytes())
    file, checkpoint = read_weights(path), read_weights(output / "model_final.pth")
    assert file.weights.keys() == checkpoint.weights.keys()
    assert all(torch.equal(file.weights[name], x) for name, x in checkpoint.weights.items())
    own, results = checkpoint.metadata, json.loads((output / "results.json").read_text())
    assert own == {key: file.metadata[key] for key in own}
    assert file.metadata["metrics"] == results and file.metadata["iterations"] == 3
    assert file.metadata["title"].startswith("Mask R-CNN, HRNetV2p-W18-small-v1, 3 classes")
    assert file.metadata["pixels"]["format"] == "RGB"
    # it is evaluated to the same numbers, and converted to the same tensors
    again = tmp_path / "again"
    outcome = train_net(*arguments[:2], "--eval-only", *arguments[2:], "MODEL.WEIGHTS", path,
                        "OUTPUT_DIR", again)  # fmt: skip
    assert outcome.code == 0 and json.loads((again / "results.json").read_text()) == results
    assert not (again / "model_card.md").exists()
    tensors = []
    for number, source in enumerate((path, output / "model_final.pth")):
        target = tmp_path / f"{number}.pth"
        convert(source, target, to="mmdet")
        tensors.append(read_weights(target).weights)
    assert tensors[0].keys() == tensors[1].keys()
    assert all(torch.equal(tensors[0][name], x) for name, x in tensors[1].items())
    card = (output / "model_card.md").read_text()
    for text in (
        "# Mask R-CNN, HRNetV2p-W18-small-v1, 3 classes",
        "| classes | 3: disc, bar, absent |",
        "| trained on | custom_train: 6 images, ",
        "| training | 3 iterations of 2 images, from random weights |",
        "## Results on custom_test\n",
        f"{results['bbox']['AP']:.1f}",
        "hrnet-det predict model_final.safetensors image.jpg",
        'Detector.from_pretrained("model_final.safetensors")',
    ):
        assert text in card, card


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


@pytest.mark.usefixtures("without_page")
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


@pytest.mark.usefixtures("without_page")
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


@pytest.mark.usefixtures("without_page")
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
    for folder in ("inference", "TTA/inference"):
        assert (tmp_path / folder / "evaluated.json").is_file(), folder
    assert (tmp_path / "model_best.pth").is_file()


@pytest.mark.usefixtures("without_page")
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


# --- AMP ---


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


# --- detectors with other conventions ---


@pytest.mark.usefixtures("without_page")
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
        ("Base-FCOS-HRNetV2p", "maskrcnn_benchmark"),
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
