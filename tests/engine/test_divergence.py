"""A training that diverges: one line, which names the learning rate and the last checkpoint."""

import pytest
import torch
from helpers.forked import Program
from helpers.tiny import train_net
from helpers.training import trainer, words

from hrnet_det.config.load import load_run
from hrnet_det.engine import Trainer
from hrnet_det.engine.divergence import check_to_save, divergence_is_told
from hrnet_det.errors import InputError

pytestmark = pytest.mark.usefixtures("without_page")


def test_one_line_and_the_last_checkpoint_stays(coco, tmp_path):
    assert train_net(*words(coco, tmp_path, splits=["TRAIN"])).code == 0
    before = torch.load(tmp_path / "model_final.pth", weights_only=True)["model"]
    more = ["SOLVER.MAX_ITER", 40, "SOLVER.BASE_LR", 1e8, "SOLVER.CHECKPOINT_PERIOD", 1]
    outcome = train_net(*words(coco, tmp_path, "--resume", *more))
    assert outcome.code == 2
    assert "Traceback" not in outcome.out + outcome.err
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: training has diverged at iteration ")
    assert "with SOLVER.BASE_LR 100000000.0 losses or weights became infinite or NaN" in line
    assert "lower the learning rate, such as SOLVER.BASE_LR 1e+07" in line
    assert "clip gradients" not in line and "AMP" not in line  # the recipe clips, on a CPU
    assert f"The last checkpoint is {tmp_path / 'model_final.pth'}: --resume" in line
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"
    assert [path.name for path in tmp_path.glob("*.pth")] == ["model_final.pth"]
    after = torch.load(tmp_path / "model_final.pth", weights_only=True)["model"]
    assert all(torch.equal(before[name], after[name]) for name in before)
    # as advised, with the learning rate that is given and not the one of the checkpoint
    lower = ["SOLVER.MAX_ITER", 5, "SOLVER.BASE_LR", 1e-3]
    outcome = train_net(*words(coco, tmp_path, "--resume", *lower, splits=["TRAIN"]))
    assert outcome.code == 0
    changes = "SOLVER.BASE_LR 0.01 -> 0.001, SOLVER.MAX_ITER 3 -> 5"
    assert f"Going on with other settings: {changes}\n" in outcome.out
    state = torch.load(tmp_path / "model_final.pth", weights_only=True)["trainer"]["_trainer"]
    assert {group["lr"] for group in state["optimizer"]["param_groups"]} == {1e-3}


def test_weights_are_proven_before_they_are_saved(coco, tmp_path):
    """By the loss of the latest batch, which leaves the training as it is."""
    built = trainer(coco, tmp_path, "SOLVER.MAX_ITER", "1")
    built.train()
    model = built._trainer.model.module
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    random = torch.get_rng_state()
    check_to_save(built)
    assert torch.get_rng_state().equal(random)
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.bias[0] += 100  # a loss of some 50
    check_to_save(built)
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.bias[0] += 1e9  # finite
    said = (
        r"with the weights after the step its images have a loss of \d\.\d+e\+08, where 2\.\d+ was"
    )
    with pytest.raises(InputError, match=said):
        check_to_save(built)
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.bias[0] = 0
        model.backbone.bottom_up.bn1.running_var[3] = float("nan")  # which no loss depends on
    with pytest.raises(InputError, match=r"became infinite or NaN\. Advice"):
        check_to_save(built)


def test_the_last_step_is_looked_at_too(coco, tmp_path, monkeypatch):
    """Its loss is finite, its weights are not: they are neither saved nor evaluated."""

    def run_step(self):
        original(self)
        with torch.no_grad():
            next(self.model.parameters()).fill_(float("inf"))

    original = Trainer.run_step
    monkeypatch.setattr(Trainer, "run_step", run_step)
    more = ["SOLVER.MAX_ITER", 1, "SOLVER.CLIP_GRADIENTS.ENABLED", False]
    outcome = train_net(*words(coco, tmp_path, *more))
    assert outcome.code == 2
    assert "training has diverged at iteration 0: with SOLVER.BASE_LR 0.01 " in outcome.err
    assert "or clip gradients: SOLVER.CLIP_GRADIENTS.ENABLED True SOLVER." in outcome.err
    assert "No checkpoint has been saved" in outcome.err
    assert not list(tmp_path.glob("*.pth")) and "Evaluation results" not in outcome.out


@pytest.mark.parametrize("clips", [False, True])
def test_advice_where_it_helps(coco, tmp_path, clips):
    built = trainer(coco, tmp_path, "SOLVER.CLIP_GRADIENTS.ENABLED", str(clips))
    with (
        pytest.raises(InputError, match=r"SOLVER\.BASE_LR 0\.01 ") as error,
        divergence_is_told(built),
    ):
        raise AssertionError("Box tensor contains infinite or NaN!")
    assert ("or clip gradients" in str(error.value)) is not clips
    built.given = load_run("COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.py", ["train.max_iter=9"])
    with (
        pytest.raises(InputError, match=r"with optimizer\.lr=0\.02 ") as error,
        divergence_is_told(built),
    ):
        raise FloatingPointError("Loss became infinite")
    assert "such as optimizer.lr=0.002. " in str(error.value)  # shipped ones clip gradients


def test_other_errors_stay_what_they_are(coco, tmp_path):
    built = trainer(coco, tmp_path)
    with pytest.raises(AssertionError, match="another"), divergence_is_told(built):
        raise AssertionError("another")
    with torch.no_grad():
        next(built.model.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match="diverged"), divergence_is_told(built):
        raise AssertionError("another")


def test_one_error_of_two_processes(coco, tmp_path):
    arguments = words(coco, tmp_path / "out", "--num-gpus=2", "SOLVER.BASE_LR", 3e38)
    outcome = Program(*arguments, cwd=tmp_path).end()
    assert outcome.code == 2
    assert outcome.err.count("error: ") == 1 and "Traceback" not in outcome.err
    assert "error: rank " in outcome.err
    assert ": training has diverged at iteration " in outcome.err
    assert "SOLVER.BASE_LR 3e+38" in outcome.err
