"""The head of HRNetV2 and its recipe, against the formulas written out."""

import pytest
import torch
from detectron2.layers import ShapeSpec
from torch import nn

from hrnet_det import get_cfg, model_zoo
from hrnet_det.engine.optimizer import build_lr_scheduler
from hrnet_det.errors import InputError
from hrnet_det.modeling.meta_arch.semantic_seg import HRNetV2SemSegHead

SHAPE = {"hrv2": ShapeSpec(channels=6, stride=4)}
IGNORED = 255


def head(**options):
    torch.manual_seed(0)
    return HRNetV2SemSegHead(input_shape=SHAPE, num_classes=3, norm="BN", **options)


def features(n=2):
    return {"hrv2": torch.randn(n, 6, 3, 5, generator=torch.Generator().manual_seed(1))}


def logits_by_hand(model, maps):
    """Each cell's channels through both matrices, then every pixel from its four nearest cells."""
    norm = model.conv.norm
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    cells = torch.einsum("oi,nihw->nohw", model.conv.weight[:, :, 0, 0], maps)
    cells = (cells - norm.running_mean.view(-1, 1, 1)) * scale.view(-1, 1, 1)
    cells = (cells + norm.bias.view(-1, 1, 1)).clamp(min=0)
    cells = torch.einsum("oi,nihw->nohw", model.predictor.weight[:, :, 0, 0], cells)
    cells = cells + model.predictor.bias.view(-1, 1, 1)
    (_, _, h, w), pixels = cells.shape, torch.zeros(*cells.shape[:2], 12, 20)
    for y in range(4 * h):
        for x in range(4 * w):
            v, u = max((y + 0.5) / 4 - 0.5, 0), max((x + 0.5) / 4 - 0.5, 0)
            top, left = min(int(v), h - 1), min(int(u), w - 1)
            low, right, dv, du = min(top + 1, h - 1), min(left + 1, w - 1), v - top, u - left
            upper = cells[..., top, left] * (1 - du) + cells[..., top, right] * du
            lower = cells[..., low, left] * (1 - du) + cells[..., low, right] * du
            pixels[..., y, x] = upper * (1 - dv) + lower * dv
    return pixels


@torch.no_grad()
def test_logits_are_two_matrices_and_an_interpolation():
    model = head().eval()
    nn.init.uniform_(model.conv.norm.running_mean)
    nn.init.uniform_(model.conv.norm.weight, 0.5, 2)
    maps = features()
    logits, losses = model(maps)
    assert losses == {}
    assert (logits - logits_by_hand(model, maps["hrv2"])).abs().max() < 1e-5


@torch.no_grad()
def test_the_loss_is_the_weighted_mean_over_labelled_pixels():
    weights = (1.0, 2.0, 0.5)
    model = head(class_weights=weights, loss_weight=3.0)
    targets = torch.randint(3, (2, 12, 20), generator=torch.Generator().manual_seed(2))
    targets[:, :, :4] = IGNORED
    nothing, losses = model.train()(features(), targets)
    assert nothing is None
    model.conv.norm.momentum = 1.0
    model(features(), targets)  # the statistics of this batch, though of unbiased variance
    count = 2 * 3 * 5
    model.conv.norm.running_var *= (count - 1) / count
    logits = logits_by_hand(model, features()["hrv2"])
    total = weight = 0.0
    for n, y, x in (targets != IGNORED).nonzero().tolist():
        label = int(targets[n, y, x])
        total -= weights[label] * logits[n, :, y, x].log_softmax(0)[label].item()
        weight += weights[label]
    assert losses["loss_sem_seg"].item() == pytest.approx(3 * total / weight, rel=1e-4)


def test_without_a_labelled_pixel_the_loss_is_0_and_so_are_the_gradients():
    model = head()
    _, losses = model(features(), torch.full((2, 12, 20), IGNORED))
    losses["loss_sem_seg"].backward()
    assert losses["loss_sem_seg"].item() == 0
    assert all((p.grad == 0).all() for p in model.parameters())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="2 class weights for 3 classes"):
        head(class_weights=(1.0, 2.0))
    with pytest.raises(ValueError, match="takes one feature, such as"):
        HRNetV2SemSegHead(input_shape=SHAPE | {"p2": SHAPE["hrv2"]}, num_classes=3, norm="")
    overrides = ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", "20", "MODEL.DEVICE", "cpu"]
    with pytest.raises(InputError, match="19 class weights for 20 classes"):
        model_zoo.build_detector(model_zoo.get_config("semantic_hrnetv2_w48", overrides))


def test_the_learning_rate_falls_by_a_power():
    cfg = get_cfg()
    cfg.SOLVER.LR_SCHEDULER_NAME, cfg.SOLVER.MAX_ITER, cfg.SOLVER.WARMUP_ITERS = (
        "WarmupPolyLR",
        8,
        0,
    )
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.01)
    schedule = build_lr_scheduler(cfg, optimizer)
    seen = []
    for _ in range(8):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert seen == pytest.approx([0.01 * (1 - i / 8) ** 0.9 for i in range(8)])
    cfg.SOLVER.LR_SCHEDULER_NAME = "Poly"
    with pytest.raises(InputError, match=r"'Poly': WarmupMultiStepLR, .*, WarmupPolyLR"):
        build_lr_scheduler(cfg, optimizer)


def test_the_recipe_for_cityscapes_is_the_published_one():
    cfg = model_zoo.get_config("semantic_hrnetv2_w48")
    solver = cfg.SOLVER
    assert (solver.IMS_PER_BATCH, solver.BASE_LR, solver.WEIGHT_DECAY) == (12, 0.01, 5e-4)
    assert pytest.approx(484 * 2975 / 12, rel=1e-3) == solver.MAX_ITER
    factors = [short / 1024 for short, _ in cfg.INPUT.SCALES_TRAIN]
    assert factors == pytest.approx([0.5 + k / 10 for k in range(17)], abs=1e-3)
    assert all(abs(long - 2 * short) <= 1 for short, long in cfg.INPUT.SCALES_TRAIN)
    assert cfg.INPUT.CROP_TRAIN == [512, 1024]
    assert cfg.MODEL.HRNET.NORM == cfg.MODEL.SEM_SEG_HEAD.NORM == "SyncBN"
