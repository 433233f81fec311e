"""A run that is killed and resumed is the uninterrupted one."""

import json
import os
import random
import shutil
import signal
import time

import pytest
import torch
from helpers.tiny import metrics_rows, train_net, write_json
from helpers.training import MASK, TINY_LAZY, assert_same, words
from torch import nn

from hrnet_det.engine.optimizer_state import described, fitted_state
from hrnet_det.engine.resume import TIMES
from hrnet_det.engine.writers import MetricsFile
from hrnet_det.errors import InputError

pytestmark = pytest.mark.usefixtures("without_page")

RUN = ["SOLVER.MAX_ITER", 6, "SOLVER.CHECKPOINT_PERIOD", 1]
LAZY = f"""{TINY_LAZY}
dataloader.train.mapper.augmentations[0].update(short_edge_length=64, max_size=96)
dataloader.train.total_batch_size = 2
dataloader.test.dataset.names = ()
train.update(max_iter=6, device="cpu", eval_period=0, checkpoint_period=1, seed=1)
"""


def arguments(kind, coco, output, workers, folder):
    if kind == "yaml":
        more = [*RUN, "DATALOADER.NUM_WORKERS", workers]
        return words(coco, output, *more, splits=["TRAIN"])
    path = folder / "mine.py"
    path.write_text(LAZY)
    data = {"train_json": coco / "boxes.json", "train_images": coco / "images"}
    places = [f"+train.custom.{key}={value}" for key, value in data.items()]
    more = [f"train.output_dir={output}", f"dataloader.train.num_workers={workers}"]
    return ["--config-file", path, *more, *places]


def start(given):
    """The training program in a process of its own, which has all modules already."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        code = train_net(*given).code
    finally:
        os._exit(code)


def status(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def losses(output):
    rows = metrics_rows(output, "iteration")
    return [{key: row[key] for key in row if key not in TIMES} for row in rows]


def assert_same_run(one, other):
    contents = [torch.load(o / "model_final.pth", weights_only=True) for o in (one, other)]
    for content in contents:
        content.pop("hrnet_det")  # the config, with its folder
    assert_same(*contents, nan=True)
    assert_same(losses(one), losses(other), nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["yaml", "lazy"])
def test_a_run_killed_five_times_is_the_uninterrupted_one(coco, tmp_path, kind, workers):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    began = time.monotonic()
    assert status(start(arguments(kind, coco, whole, workers, tmp_path))) == 0
    lasted, moments = time.monotonic() - began, random.Random(f"{kind} {workers}")
    given = arguments(kind, coco, killed, workers, tmp_path)
    given.insert(2, "--resume")
    for _ in range(5):
        child = start(given)
        time.sleep(moments.uniform(0, lasted))
        os.kill(child, signal.SIGKILL)
        status(child)
    assert status(start(given)) == 0
    assert_same_run(whole, killed)
    assert [row["iteration"] for row in metrics_rows(killed)] == [5]


@pytest.fixture(scope="module")
def half(coco, tmp_path_factory):
    """A run of 4 iterations with all that has a state, and its folder as after 2 of them."""
    whole, stopped = (tmp_path_factory.mktemp("half") / name for name in ("whole", "stopped"))
    outcome = train_net(*words(coco, whole, *STATEFUL, annotations="polygons.json", config=MASK))
    assert outcome.code == 0, outcome.err
    shutil.copytree(whole, stopped)
    for name in ("model_final.pth", "model_final.safetensors", "model_0000003.pth"):
        (stopped / name).unlink(missing_ok=True)
    (stopped / "last_checkpoint").write_text("model_0000001.pth")
    return whole, stopped


STATEFUL = """
SOLVER.MAX_ITER 4 SOLVER.CHECKPOINT_PERIOD 2 SOLVER.EMA_DECAY 0.9 SEED -1
SOLVER.GRADIENT_ACCUMULATION_STEPS 2 TEST.EVAL_PERIOD 1 SOLVER.PATIENCE 9
DATALOADER.SAMPLER_TRAIN RepeatFactorTrainingSampler DATALOADER.REPEAT_THRESHOLD 0.9
""".split()  # noqa: SIM905


def go_on(half, tmp_path, coco, *more, annotations="polygons.json"):
    """The folder of the half run, gone on with."""
    folder = tmp_path / "resumed"
    shutil.copytree(half[1], folder)
    given = words(coco, folder, "--resume", *STATEFUL, *more, annotations=annotations, config=MASK)
    return folder, train_net(*given)


def test_with_averaged_weights_parts_evaluations_and_a_drawn_seed(half, tmp_path, coco):
    folder, outcome = go_on(half, tmp_path, coco, "DATALOADER.NUM_WORKERS", 1)
    assert outcome.code == 0, outcome.err
    assert "Going on with other settings" not in outcome.out
    assert_same_run(half[0], folder)
    assert [row["iteration"] for row in losses(folder)] == [0, 1, 2, 3, 4]


def test_changed_settings_are_followed_and_said(half, tmp_path, coco):
    changes = ["SOLVER.BASE_LR", 0.002, "SOLVER.MOMENTUM", 0.5, "SOLVER.WEIGHT_DECAY", 0.25]
    norms = ["SOLVER.WEIGHT_DECAY_NORM", 0.125]  # which makes two groups of parameters of one
    folder, outcome = go_on(half, tmp_path, coco, *changes, *norms)
    assert outcome.code == 0, outcome.err
    said = (
        "Going on with other settings: SOLVER.BASE_LR 0.01 -> 0.002, SOLVER.MOMENTUM 0.9 -> 0.5, "
        "SOLVER.WEIGHT_DECAY 0.0001 -> 0.25, SOLVER.WEIGHT_DECAY_NORM 0.0001 -> 0.125"
    )
    assert said in outcome.out
    state = torch.load(folder / "model_final.pth", weights_only=True)["trainer"]["_trainer"]
    groups = state["optimizer"]["param_groups"]
    assert {(g["lr"], g["momentum"]) for g in groups} == {(0.002, 0.5)}
    assert {g["weight_decay"] for g in groups} == {0.25, 0.125}


def test_another_optimizer_is_refused(half, tmp_path, coco):
    _, outcome = go_on(half, tmp_path, coco, "SOLVER.OPTIMIZER", "ADAMW")
    assert outcome.code == 2
    assert outcome.err.startswith(
        "error: --resume: the checkpoint was trained with SGD, the config has AdamW, which cannot "
        "go on with its state: keep that optimizer, or start a new run"
    )


def test_another_seed_and_other_images_are_said(half, tmp_path, coco):
    content = json.loads((coco / "polygons.json").read_text())
    fewer = write_json(
        tmp_path / "fewer.json", content | {"annotations": content["annotations"][1:]}
    )
    _, outcome = go_on(half, tmp_path, coco, "SEED", 4, annotations=fewer)
    assert outcome.code == 0, outcome.err
    assert "SEED 4, where the checkpoint's run had" in outcome.out
    assert (
        "The images to train on, or their objects, are not those of the checkpoint" in outcome.out
    )


@pytest.mark.parametrize("content", [{}, {"trainer": 3}, {"trainer": {"_trainer": {}}}])
def test_the_state_of_another_program_is_refused(half, tmp_path, coco, content):
    folder = tmp_path / "foreign"
    folder.mkdir()
    weights = torch.load(half[1] / "model_0000001.pth", weights_only=True)["model"]
    torch.save({"model": weights, "iteration": 1, **content}, folder / "model_0000001.pth")
    given = words(coco, folder, "--resume", *STATEFUL, annotations="polygons.json", config=MASK)
    outcome = train_net(*given)
    assert (outcome.code, outcome.err.count("error: ")) == (2, 1)
    assert "does not have the state of this kind of training" in outcome.err


def small(groups):
    """A model of two layers with SGD on groups of their parameters, one step on."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.Linear(2, 3)})
    named = dict(model.named_parameters())
    parameters = [{"params": [named[name] for name in group]} for group in groups]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    sum((p * (n + 1)).sum() for n, p in enumerate(named.values())).backward()
    optimizer.step()
    return model, optimizer


def test_what_is_kept_of_a_parameter_follows_its_name():
    model, optimizer = small([["a.weight", "b.weight"], ["a.bias", "b.bias"]])
    saved, description = optimizer.state_dict(), described(optimizer, model)
    other, one_group = small([["b.bias", "a.weight", "a.bias"]])  # b.weight is frozen
    one_group.load_state_dict(fitted_state(saved, description, one_group, other))
    buffers = [one_group.state[p]["momentum_buffer"].unique().tolist() for p in other.parameters()
               if p in one_group.state]  # fmt: skip
    # gradients are 1, 2, 3, 4 in the order of named_parameters: a.weight, a.bias, b.weight, b.bias
    assert buffers == [[1.0], [2.0], [4.0]]
    assert one_group.param_groups[0]["momentum"] == 0.9


def test_a_state_of_too_many_parameters_is_none_of_this_model():
    model, optimizer = small([["a.weight", "b.weight"], ["a.bias", "b.bias"]])
    other, fewer = small([["a.weight"]])
    with pytest.raises(ValueError, match="an optimizer of 4 parameters, where the model has 1"):
        fitted_state(optimizer.state_dict(), {}, fewer, other)
    adam = torch.optim.AdamW(model.parameters())
    with pytest.raises(InputError, match="an optimizer with other options, the config has AdamW"):
        fitted_state(optimizer.state_dict(), {}, adam, model)


def test_rows_that_will_be_written_again_and_half_rows_are_dropped(tmp_path):
    path = tmp_path / "metrics.json"
    rows = b'{"iteration": 19}\n{"iteration": 39}\n{"iteration": 59}\n'
    path.write_bytes(b'{"iteration": "x"}\n\xff\xfe{{\n' + rows + b'{"iterat')
    file = MetricsFile(path, 40)
    file.close()
    assert path.read_text() == '{"iteration": 19}\n{"iteration": 39}\n'
    assert file.last == 39


def test_the_running_normalizer_of_dense_detectors_is_kept(coco, tmp_path):
    sizes = ["MODEL.ANCHOR_GENERATOR.SIZES", "[[12],[24],[36],[48]]"]
    more = ["SOLVER.MAX_ITER", 3, "SOLVER.CHECKPOINT_PERIOD", 1, *sizes]
    config = "quickstart/retinanet.yaml"
    outcome = train_net(*words(coco, tmp_path, *more, config=config, splits=["TRAIN"]))
    assert outcome.code == 0, outcome.err
    kept = [
        torch.load(tmp_path / f"model_000000{n}.pth", weights_only=True)["trainer"]["hooks"]
        for n in range(3)
    ]
    numbers = [hooks["Continuation"]["numbers"][""] for hooks in kept]
    # 100 to begin with, of which each step keeps 9 tenths
    positives = [
        metric["values"][-1][0]
        for metric in (hooks["Continuation"]["metrics"]["num_pos_anchors"] for hooks in kept)
    ]
    assert numbers[1] == pytest.approx(0.9 * numbers[0] + 0.1 * max(2 * positives[1], 1))
