"""TEST.LOSS: the losses on the test set, and a training that does not notice."""

import random

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.utils.events import EventStorage, get_event_storage
from helpers.quickstart_kinds import BOXES, KINDS, detector, image
from helpers.tiny import metrics_rows, train_net
from helpers.training import MASK, words
from torch import nn

from hrnet_det.config.load import load_run
from hrnet_det.data.checks import check_test_losses
from hrnet_det.engine import validation
from hrnet_det.errors import InputError

pytestmark = pytest.mark.usefixtures("without_page")


def validation_losses(model, batches):
    losses = validation.validation_losses(model, batches)
    assert all(name.startswith("validation_loss/") for name in losses)
    return {name.removeprefix("validation_loss/"): loss for name, loss in losses.items()}


class Counting(nn.Module):
    """Losses from a norm's running statistics, dropout, a random number, and a count of calls."""

    def __init__(self):
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm1d(1), nn.Dropout(0.5)
        self.norm.running_mean.fill_(1.0)
        self.calls = 3

    def forward(self, rows):
        assert self.training
        get_event_storage().put_scalar("x", 1.0)
        self.calls += 1
        self.added = 1.0
        x = self.dropout(self.norm(torch.tensor(rows)[:, None]))
        return {"loss_a": x.mean(), "loss_b": torch.rand(())}


def test_means_over_images_by_running_statistics():
    model = Counting().eval()
    model.dropout.train()
    state = {name: x.clone() for name, x in model.state_dict().items()}
    torch.manual_seed(5)
    with EventStorage() as storage:
        losses = validation_losses(model, [[3.0, 5.0], [9.0]])
        assert storage.latest() == {}
    following = torch.rand(())
    torch.manual_seed(5)
    assert torch.equal(following, torch.rand(()))
    torch.manual_seed(0)
    drawn = float(torch.rand(()))  # the same for every batch
    root = (1 + model.norm.eps) ** 0.5  # of a variance of 1; the mean is 1
    assert losses["loss_a"] == pytest.approx((2 + 4 + 8) / 3 / root)
    assert losses["loss_b"] == pytest.approx(drawn)
    assert losses["total"] == pytest.approx(losses["loss_a"] + losses["loss_b"])
    assert model.calls == 3 and not hasattr(model, "added")
    assert (model.training, model.norm.training, model.dropout.training) == (False, False, True)
    assert all(torch.equal(state[name], x) for name, x in model.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_every_detector_stays_as_it_was(kind):
    model = detector(kind)
    rows = [[image(BOXES)], [image(BOXES[:1])]]
    with EventStorage():
        model(rows[0])  # such as starts the running mean of a dense detector's positive anchors
    state = {name: x.clone() for name, x in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    counted = getattr(model, "loss_normalizer", None)
    generators = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first, second = (validation_losses(model, rows) for _ in range(2))
    assert first == second and first["total"] > 0
    assert first["total"] == pytest.approx(sum(v for k, v in first.items() if k != "total"))
    assert all(torch.equal(state[name], x) for name, x in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert getattr(model, "loss_normalizer", None) == counted
    assert (counted is not None) is (kind in ("retinanet", "fcos"))
    assert torch.equal(generators[0], torch.get_rng_state())
    assert generators[1:] == (random.getstate(), np.random.get_state()[1].tolist())
    # the losses of the same images in the same state, one after the other
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    by_hand = []
    with EventStorage(), torch.no_grad():
        for row in rows:
            torch.manual_seed(0)
            by_hand.append(float(sum(model(row).values())))
    assert first["total"] == pytest.approx(sum(by_hand) / 2, rel=1e-5)


@pytest.mark.parametrize(
    "more",
    [
        ["SOLVER.EMA_DECAY", 0.9],
        ["SOLVER.AMP.ENABLED", True],
    ],
)
def test_training_goes_on_bit_by_bit(coco, tmp_path, more):
    """As if it had been evaluated at its end alone."""
    weights = []
    for loss, period in ((False, 0), (True, 1)):
        output = tmp_path / str(loss)
        arguments = words(
            coco, output, "TEST.EVAL_PERIOD", period, "TEST.LOSS", loss, *more,
            annotations="rle.json", config=MASK,
        )  # fmt: skip
        assert train_net(*arguments).code == 0
        weights.append(torch.load(output / "model_final.pth", weights_only=True)["model"])
    assert all(torch.equal(weights[0][name], x) for name, x in weights[1].items())
    assert not metrics_rows(tmp_path / "False", "validation_loss/total")
    rows = metrics_rows(tmp_path / "True", "validation_loss/total")
    assert [row["iteration"] for row in rows] == [0, 1, 3]  # the last one after training
    terms = {name for name in rows[0] if name.startswith("validation_loss/")}
    names = ("cls", "box_reg", "mask", "rpn_cls", "rpn_loc")
    assert terms == {"validation_loss/total", *(f"validation_loss/loss_{n}" for n in names)}
    assert len({row["validation_loss/total"] for row in rows}) == 3
    assert (tmp_path / "True" / "curves.png").is_file()


def test_without_a_test_set_there_is_none(coco, tmp_path):
    arguments = words(coco, tmp_path, "TEST.LOSS", True, "TEST.EVAL_PERIOD", 1, splits=["TRAIN"])
    assert train_net(*arguments).code == 0
    assert not metrics_rows(tmp_path, "validation_loss/total")


def test_a_test_set_without_what_is_learned_is_refused():
    MetadataCatalog.get("boxes_alone").set(evaluator_type="pascal_voc")
    try:
        with pytest.raises(InputError) as error:
            check_test_losses(load_run("hrnetv2p_mask_rcnn.yaml"), ["boxes_alone"])
        assert str(error.value) == (
            "TEST.LOSS True: the losses of Mask R-CNN need masks, which the test set boxes_alone "
            "has not: set TEST.LOSS False"
        )
        check_test_losses(load_run("hrnetv2p_faster_rcnn.yaml"), ["boxes_alone"])
    finally:
        MetadataCatalog.remove("boxes_alone")
