"""A batch in parts against the whole batch."""

import pytest
import torch
from detectron2.utils.events import EventStorage
from helpers.quickstart_kinds import BOXES, config, detector, image
from helpers.tiny import TINY, train_net
from torch import nn

from hrnet_det import model_zoo
from hrnet_det.engine import Trainer
from hrnet_det.engine.accumulation import GradientAccumulation

pytestmark = pytest.mark.usefixtures("without_page")


class Squares(nn.Module):
    """Two losses that are means over images."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0]))

    def forward(self, rows):
        x = torch.stack(rows)
        return {"a": (x @ self.weight).square().mean(), "b": 3 * (x @ self.weight).mean()}


def rows(n):
    return list(torch.randn(n, 2, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_gradients_and_losses_are_those_of_the_whole_batch(parts):
    whole, divided = Squares(), Squares()
    expected = whole(rows(6))
    sum(expected.values()).backward()
    losses = GradientAccumulation(divided, parts)(rows(6))
    sum(losses.values()).backward()
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(divided.weight.grad, whole.weight.grad)


def test_every_part_is_scaled():
    """As by a GradScaler: the trainer scales the last part itself."""
    model = Squares()
    divided = GradientAccumulation(model, 2)
    divided.scale = lambda loss: 8 * loss
    (8 * sum(divided(rows(4)).values())).backward()
    whole = Squares()
    sum(whole(rows(4)).values()).backward()
    torch.testing.assert_close(model.weight.grad, 8 * whole.weight.grad)


def test_what_cannot_be_divided_is_refused():
    for number in (3, 0, 1):
        with pytest.raises(ValueError, match=f"{number} images cannot be divided into 2 parts"):
            GradientAccumulation(Squares(), 2)(rows(number))


@torch.no_grad()
def test_without_gradients_the_batch_stays_whole():
    """As where statistics of norms are computed anew, by passes in training mode."""
    model = Squares()
    assert GradientAccumulation(model, 2)(rows(4)) == model(rows(4))
    assert GradientAccumulation(model, 2)(rows(3)) == model(rows(3))


def test_a_detector_with_fixed_norms_learns_the_same_in_parts(monkeypatch):
    """Every image fills its samples; which ones are drawn does not depend on the order."""
    monkeypatch.setattr(torch, "randperm", lambda n, **options: torch.arange(n, **options))
    batch = [image(BOXES), image(BOXES[:1]), image(BOXES[1:]), image(BOXES)]
    gradients = []
    for parts in (1, 2, 4):
        model = detector("faster_rcnn")
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        model.roi_heads.batch_size_per_image = 8
        with EventStorage():
            losses = GradientAccumulation(model, parts)(batch)
        sum(losses.values()).backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
    for divided in gradients[1:]:
        for name, expected in gradients[0].items():
            scale = expected.abs().max().clamp(min=1e-4)
            assert (divided[name] - expected).abs().max() <= 1e-4 * scale, name


# --- in the trainer ---


def words(coco, output, *more):
    data = ["DATASETS.CUSTOM.TRAIN_JSON", coco / "boxes.json", "OUTPUT_DIR", output]
    data += ["DATASETS.CUSTOM.TRAIN_IMAGES", coco / "images"]
    return ["--config-file", "hrnetv2p_faster_rcnn.yaml", *TINY, *data, *more]


@pytest.mark.parametrize("amp", [False, True])
def test_training_in_parts_ends_with_a_plain_checkpoint(coco, tmp_path, amp):
    more = [
        "SOLVER.GRADIENT_ACCUMULATION_STEPS",
        "2",
        "SOLVER.IMS_PER_BATCH",
        "4",
        "SOLVER.AMP.ENABLED",
        amp,
    ]
    outcome = train_net(*words(coco, tmp_path / "run", *more))
    assert outcome.code in (None, 0), outcome.err
    content = torch.load(tmp_path / "run" / "model_final.pth", weights_only=True)
    plain = model_zoo.build_detector(model_zoo.get_config("hrnetv2p_faster_rcnn.yaml", TINY))
    assert set(content["model"]) == set(plain.state_dict())
    assert content["iteration"] == 2  # of three steps, not six


@pytest.mark.parametrize(
    ("batch", "parts", "message"),
    [
        (
            2,
            4,
            "SOLVER.GRADIENT_ACCUMULATION_STEPS 4: each process has 2 of SOLVER.",
        ),
        (
            2,
            0,
            "SOLVER.GRADIENT_ACCUMULATION_STEPS 0: each process has 2 of SOLVER.",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(coco, tmp_path, batch, parts, message):
    more = ["SOLVER.GRADIENT_ACCUMULATION_STEPS", parts, "SOLVER.IMS_PER_BATCH", batch]
    outcome = train_net(*words(coco, tmp_path / "run", *more))
    assert outcome.code == 2 and f"error: {message}" in outcome.err


def test_fewer_gpus_train_the_same_recipe():
    """Two of the eight that a recipe is written for, each with its two images, in two parts."""
    cfg = config("faster_rcnn")
    cfg.merge_from_other_cfg(model_zoo.get_config("faster_rcnn_hrnetv2p_w18_1x"))
    cfg.SOLVER.REFERENCE_WORLD_SIZE, cfg.SOLVER.GRADIENT_ACCUMULATION_STEPS = 8, 2
    scaled = Trainer.auto_scale_workers(cfg, 2).SOLVER
    assert (scaled.IMS_PER_BATCH, scaled.BASE_LR, scaled.GRADIENT_ACCUMULATION_STEPS) == (
        4,
        0.005,
        2,
    )
    assert (scaled.MAX_ITER, scaled.STEPS) == (360_000, (240_000, 320_000))
    assert scaled.WARMUP_ITERS == 2_000
    assert Trainer.auto_scale_workers(cfg, 2).TEST.EVAL_PERIOD == 4 * 7_330
