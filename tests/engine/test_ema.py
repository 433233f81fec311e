"""The average of the weights against its formula; what is evaluated, saved and resumed."""

import json

import pytest
import torch
from detectron2.engine import HookBase
from helpers.tiny import train_net
from helpers.training import FASTER, trainer, words
from torch import nn

from hrnet_det import Detector
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.engine.ema import WeightAverage

pytestmark = pytest.mark.usefixtures("without_page")

NORM = "backbone.bottom_up.bn1"
CONV = "backbone.bottom_up.conv1.weight"


class Kept(HookBase):
    """The trained weights after every step."""

    def __init__(self):
        self.states = []

    def after_step(self):
        model = self.trainer.model
        state = getattr(model, "module", model).state_dict()  # of gradient accumulation
        self.states.append({name: x.clone() for name, x in state.items()})


def averaged(values, decay):
    """Of the formula, in double precision."""
    average = values[0].double()
    for n, value in enumerate(values[1:], start=1):
        d = min(decay, (1 + n) / (10 + n))
        average = d * average + (1 - d) * value.double()
    return average


def ema_run(coco, output, decay, *more):
    built = trainer(coco, output, "SOLVER.EMA_DECAY", str(decay), *more)
    built.resume_or_load(resume=False)
    kept = Kept()
    built.register_hooks([kept])
    built.train()
    return built, kept.states


@pytest.mark.parametrize(
    "more",
    [
        ["SOLVER.GRADIENT_ACCUMULATION_STEPS", "2"],
        ["SOLVER.AMP.ENABLED", "True"],
    ],
)
@pytest.mark.parametrize("decay", [0.2, 0.999])
def test_the_average_is_that_of_the_formula(coco, tmp_path, decay, more):
    built, states = ema_run(coco, tmp_path, decay, "SOLVER.MAX_ITER", "4", *more)
    file = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert len(states) == 4 and file["model"].keys() == states[0].keys()
    for name, average in file["model"].items():
        if average.is_floating_point():
            expected = averaged([state[name] for state in states], decay)
            assert (average - expected).abs().max() <= 1e-6 * expected.abs().max() + 1e-8, name
    assert not torch.equal(states[0][CONV], states[3][CONV])
    assert not torch.equal(states[0][f"{NORM}.running_var"], states[3][f"{NORM}.running_var"])
    assert file["model"][f"{NORM}.num_batches_tracked"] == (8 if "ACCUM" in more[0] else 4)
    state = file["trainer"]["hooks"]["WeightAverage"]
    assert state["updates"] == 4
    assert all(torch.equal(state["trained"][name], x) for name, x in states[3].items())
    parameters = sum(p.numel() for p in built.model.parameters())
    assert sum(p.numel() for p in built.average.averaged.parameters()) == parameters  # one copy


def test_evaluation_and_use_take_the_average(coco, tmp_path):
    arguments = words(coco, tmp_path, "SOLVER.EMA_DECAY", 0.9, "MODEL.WEIGHTS", "")
    outcome = train_net(*arguments)
    assert outcome.code == 0, outcome.err
    file = torch.load(tmp_path / "model_final.pth", weights_only=True)
    best = torch.load(tmp_path / "model_best.pth", weights_only=True)
    assert all(torch.equal(best["model"][name], x) for name, x in file["model"].items())
    assert not torch.equal(
        file["model"][CONV], file["trainer"]["hooks"]["WeightAverage"]["trained"][CONV]
    )
    detector = Detector.from_pretrained(tmp_path / "model_final.pth", device="cpu")
    last = "roi_heads.box_predictor.cls_score.weight"  # not folded into another
    assert torch.equal(dict(detector.model.named_parameters())[last], file["model"][last])
    results = (tmp_path / "results.json").read_text()
    (tmp_path / "results.json").unlink()
    again = train_net(*arguments[:2], "--eval-only", *arguments[2:], "MODEL.WEIGHTS",
                      tmp_path / "model_final.pth")  # fmt: skip
    assert again.code == 0 and json.loads(results)
    assert (tmp_path / "results.json").read_text() == results
    alone = read_weights(tmp_path / "model_final.safetensors").weights
    assert alone.keys() == file["model"].keys() and same(file["model"], alone)
    assert "moving average (EMA, decay 0.9)" in (tmp_path / "model_card.md").read_text()


def same(state, expected):
    return all(torch.equal(state[name], x) for name, x in expected.items())


def test_a_resumed_run_goes_on_exactly(coco, tmp_path):
    first, states = ema_run(coco, tmp_path, 0.9)
    average = {n: x.clone() for n, x in first.average.averaged.state_dict().items()}
    built = trainer(coco, tmp_path, "SOLVER.EMA_DECAY", "0.9", "SOLVER.MAX_ITER", "4")
    built.resume_or_load(resume=True)
    built.average.before_train()
    assert same(built.model.state_dict(), states[-1])
    assert same(built.average.averaged.state_dict(), average)
    assert (built.average.updates, built.start_iter) == (3, 3)


def test_turned_off_and_on_by_a_resumed_run(coco, tmp_path, caplog):
    _, states = ema_run(coco, tmp_path, 0.9, "SOLVER.MAX_ITER", "2")
    built = trainer(coco, tmp_path)
    built.resume_or_load(resume=True)
    assert same(built.model.state_dict(), states[-1])  # the trained weights, not the average
    built.train()
    plain = {name: x.clone() for name, x in built.model.state_dict().items()}
    again = trainer(coco, tmp_path, "SOLVER.EMA_DECAY", "0.9")
    again.resume_or_load(resume=True)
    again.average.before_train()
    assert same(again.model.state_dict(), plain)
    assert same(again.average.averaged.state_dict(), plain) and again.average.updates == 0


def test_weights_to_start_from_are_trained(coco, tmp_path):
    ema_run(coco, tmp_path / "first", 0.0)
    weights = tmp_path / "first" / "model_final.pth"
    built = trainer(
        coco, tmp_path / "second", "SOLVER.EMA_DECAY", "0.9", "MODEL.WEIGHTS", str(weights)
    )
    built.resume_or_load(resume=False)
    built.average.before_train()
    expected = torch.load(weights, weights_only=True)["model"]
    assert same(built.model.state_dict(), expected)
    assert same(built.average.averaged.state_dict(), expected)


def test_a_decay_of_0_is_no_second_model():
    model = nn.Linear(2, 1)
    hook = WeightAverage(model, 0.0)
    hook.after_step()
    assert hook.averaged is model and hook.state_dict() == {}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["SOLVER.EMA_DECAY", 1.0], "SOLVER.EMA_DECAY 1.0: must be below 1, such as 0.999"),
        (["SOLVER.EMA_DECAY", -0.1], "SOLVER.EMA_DECAY -0.1: must be below 1"),
        (["SOLVER.EMA_DECAY", 0.9, "TEST.PRECISE_BN.ENABLED", True],
         "SOLVER.EMA_DECAY 0.9 with TEST.PRECISE_BN.ENABLED True: statistics of norms"),
    ],
)  # fmt: skip
def test_what_cannot_be(coco, tmp_path, more, message):
    outcome = train_net(*words(coco, tmp_path / "out", *more, config=FASTER))
    assert outcome.code == 2 and f"error: {message}" in outcome.err
