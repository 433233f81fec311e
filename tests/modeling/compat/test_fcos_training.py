"""What FCOS learns under each convention: beside mmdetection 3.3, Detectron2 and formulas."""

import math
import multiprocessing

import helpers.fcos_pairs as fcos_pairs
import helpers.legacy_fcos as formulas
import helpers.mmdet_fcos as theirs
import helpers.mmdet_reference as reference
import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.meta_arch import fcos as detectron2_fcos
from detectron2.structures import Boxes
from detectron2.utils.events import EventStorage
from helpers.fcos_pairs import NAMES, difference, losses, rows, their_losses
from torch import distributed

from hrnet_det import model_zoo
from hrnet_det.checkpoint.formats import MMDET
from hrnet_det.config.yaml import merge_overrides
from hrnet_det.engine.optimizer import build_lr_scheduler, build_optimizer
from hrnet_det.modeling.meta_arch import fcos_training
from hrnet_det.modeling.meta_arch.fcos import FCOSHead

REASON = reference.unavailable()
needs_mmdet = pytest.mark.skipif(REASON is not None, reason=f"no mmdetection: {REASON}")
SMALL = f"""
MODEL.DEVICE cpu
MODEL.HRNET.VARIANT w18_small_v1
MODEL.HRFPN.OUT_CHANNELS {theirs.CHANNELS}
MODEL.FCOS.NUM_CLASSES {theirs.CLASSES}
""".split()
BENCHMARK = "maskrcnn_benchmark"
BODY = "backbone.bottom_up."
LOSS, GRADIENT, UPDATE = 1e-5, 1e-6, 1e-5  # relative

BATCHES = {
    "large objects": [((128, 160), 0, 9), ((96, 150), 0, 9)],
    "tiny objects": [((128, 160), 2, 9), ((96, 150), 2, 9)],
    "an image without objects": [((96, 128), 0, 0), ((96, 128), 1, 4)],
    "no objects": [((96, 128), 0, 0)],
}


def batch(name, seed=0):
    return [
        theirs.drawn(size, tiny=tiny, objects=count, seed=seed + n)
        if count
        else theirs.drawn(size, tiny=0, seed=seed)._replace(
            boxes=torch.zeros(0, 4), classes=torch.zeros(0, dtype=torch.int64)
        )
        for n, (size, tiny, count) in enumerate(BATCHES[name])
    ]


def config(*words, schedule="1x"):
    cfg = model_zoo.get_config(f"fcos_hrnetv2p_w18_{schedule}", ["SOLVER.RECIPE", "mmdet"])
    merge_overrides(cfg, [*SMALL, *words])
    return cfg


@pytest.fixture(scope="module")
def pair():
    """Detectors of the same weights: mmdetection's with its own initial values, and ours."""
    other = theirs.build()
    return other, fcos_pairs.build(config(), other)


def compare(pair, images):
    apart = fcos_pairs.compare(*pair, images)
    assert max(apart.losses.values()) <= LOSS, apart
    assert max(apart.gradients.values()) <= GRADIENT, apart


@needs_mmdet
@pytest.mark.parametrize("name", BATCHES)
def test_losses_and_gradients_are_mmdetections(pair, name):
    compare(pair, batch(name))


@needs_mmdet
def test_center_sampling_of_mmdetection(pair, monkeypatch):
    monkeypatch.setattr(pair[1], "center_sampling_radius", 1.5)
    with theirs.center_sampling(pair[0]):
        compare(pair, batch("tiny objects"))


@needs_mmdet
def test_giou_of_mmdetection(pair, monkeypatch):
    monkeypatch.setattr(pair[1], "box_loss", "giou_weighted")
    with theirs.giou(pair[0]):
        compare(pair, batch("large objects"))


@needs_mmdet
@pytest.mark.parametrize(
    ("key", "value"), [("center_sampling_radius", 1.5), ("box_loss", "giou"),
                       ("normalizer", "images"), ("normalizer", "moving_average")]
)  # fmt: skip
def test_each_rule_shows(pair, monkeypatch, key, value):
    """With any of them as others have it, mmdetection's losses are not met."""
    monkeypatch.setattr(pair[1], key, value)
    apart = fcos_pairs.compare(*pair, batch("tiny objects"))
    assert max(apart.losses.values()) > 1e-3 and max(apart.gradients.values()) > 1e-3


@needs_mmdet
@pytest.mark.parametrize("schedule", ["1x", "2x"])
def test_three_updates_are_mmdetections(schedule):
    """With its warm-up, clipping and rates and decays of biases, from SOLVER.RECIPE mmdet."""
    other, cfg = theirs.build(), config(schedule=schedule)
    with torch.no_grad():
        other.bbox_head.conv_cls.weight.mul_(30)  # for a gradient that is clipped
    ours = fcos_pairs.build(cfg, other)
    before = {name: p.detach().clone() for name, p in ours.named_parameters()}
    optimizer = build_optimizer(cfg, ours)
    scheduler = build_lr_scheduler(cfg, optimizer)
    updates, norms = theirs.Updates(other, schedule), []
    for seed in range(3):
        images = batch("tiny objects", seed=10 * seed)
        updates.update(lambda images=images: their_losses(other, ours, images)[0])
        optimizer.zero_grad()
        sum(losses(ours, images).values()).backward()
        norms.append(math.sqrt(sum(float(p.grad.pow(2).sum()) for p in ours.parameters())))
        optimizer.step()
        scheduler.step()
    assert max(norms) > cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE == 35  # or nothing was clipped
    found = {name: p.detach() - before[name] for name, p in ours.named_parameters()}
    wanted = {MMDET.to_ours(name): p.detach() for name, p in other.named_parameters()}
    wanted = {name: p - before[name] for name, p in wanted.items()}
    for part in (BODY, "backbone.", "head.cls_subnet", "head.bbox_subnet", "head."):
        assert difference(found, wanted, part) <= UPDATE, part


@needs_mmdet
def test_initial_values_are_mmdetections():
    """Deviations of all tensors that are drawn, and all values of those that are not."""
    torch.manual_seed(1)
    ours = model_zoo.build_detector(config()).state_dict()
    for name, wanted in theirs.build().state_dict().items():
        found, name = ours[MMDET.to_ours(name)], MMDET.to_ours(name)
        if name.startswith(BODY):  # from ImageNet
            continue
        if wanted.ndim < 2:
            assert torch.equal(found.double(), wanted.double()), name
        else:
            error = 4 / math.sqrt(2 * wanted.numel())  # four deviations of a deviation
            assert float(found.std()) == pytest.approx(float(wanted.std()), rel=2 * error), name
            assert abs(found.mean()) <= 4 * wanted.std() / math.sqrt(wanted.numel()), name


# --- two processes ---


def _of_a_process(rank, folder, answers, head, ours, images):
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    with EventStorage():
        maps = pyramid(rank)
        found = ours.forward_training(None, maps, ours.head(maps), instances(images[rank]))
        wanted = theirs.head_losses(head, maps, images[rank])
        with torch.no_grad():  # a validation, whose processes may have different numbers of batches
            alone = ours.forward_training(None, maps, ours.head(maps), instances(images[rank]))
    answers.put(
        (rank, *({n: float(x) for n, x in part.items()} for part in (found, wanted, alone)))
    )
    distributed.destroy_process_group()


def pyramid(seed):
    generator = torch.Generator().manual_seed(seed)
    sizes = [(12, 20), (6, 10), (3, 5), (1, 2), (1, 1)]
    return [torch.randn(1, theirs.CHANNELS, *s, generator=generator).double() for s in sizes]


def instances(images):
    return [row["instances"] for row in rows(images)]


@needs_mmdet
def test_two_processes_divide_by_the_mean_of_both(pair, tmp_path):
    """One image of large objects in one, of few and tiny ones in the other."""
    other, ours = pair
    images = [batch("large objects")[1:], batch("tiny objects")[1:]]
    images[1] = [images[1][0]._replace(boxes=images[1][0].boxes[:3], classes=torch.arange(3))]
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    processes = [
        context.Process(
            target=_of_a_process, args=(rank, tmp_path, answers, other.bbox_head, ours, images)
        )
        for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    found = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert sorted(rank for rank, *_ in found) == [0, 1]
    for rank, together, wanted, alone in found:
        maps = pyramid(rank)
        by_itself = theirs.head_losses(other.bbox_head, maps, images[rank])
        by_itself = {name: loss.item() for name, loss in by_itself.items()}
        for ours_name, name in NAMES.items():
            assert together[ours_name] == pytest.approx(wanted[name], rel=LOSS)
            assert together[ours_name] != pytest.approx(by_itself[name], rel=1e-2)
            assert alone[ours_name] == pytest.approx(by_itself[name], rel=LOSS)


# --- Detectron2's rules, which the shipped configs have ---


def test_the_shipped_rules_are_detectron2s(monkeypatch):
    cfg = model_zoo.get_config("fcos_hrnetv2p_w18_1x", SMALL)
    torch.manual_seed(0)
    model, plain = model_zoo.build_detector(cfg).train(), []

    def both(*arguments):
        plain.append(detectron2_fcos.FCOS.losses(model, *arguments))
        del model.loss_normalizer
        return type(model).losses(model, *arguments)

    monkeypatch.setattr(model, "losses", both)
    for name in BATCHES:
        found = losses(model, batch(name))
        wanted = plain.pop()
        assert model.loss_normalizer != 300
        del model.loss_normalizer
        assert found.keys() == wanted.keys() == NAMES.keys()
        for key, value in wanted.items():
            assert found[key].item() == pytest.approx(value.item(), rel=1e-6), (name, key)
    # the same points in Detectron2's own matching, and all in the box with a radius of 0
    levels = [Boxes(torch.tensor([[0.0, 0, 8, 8], [40, 40, 48, 48]]))] * 2
    boxes = Boxes(torch.tensor([[0.0, 0, 50, 50]]))
    assert (model._match_anchors(boxes, levels) > 0).tolist() == [[False, False, False, False]]
    model = model_zoo.build_detector(
        model_zoo.get_config(
            "fcos_hrnetv2p_w18_1x", [*SMALL, "MODEL.FCOS.CENTER_SAMPLING_RADIUS", "0"]
        )
    )
    assert (model._match_anchors(boxes, levels) > 0).tolist() == [[True, True, True, True]]


# --- HRNet-FCOS ---


def test_losses_of_hrnet_fcos():
    """By its formulas: closed boxes, areas with a pixel more, and the images of the batch."""
    cfg = model_zoo.get_config("fcos_hrnetv2p_w18_1x", [*SMALL, "MODEL.CONVENTIONS", BENCHMARK])
    torch.manual_seed(0)
    model, images = model_zoo.build_detector(cfg).train(), batch("tiny objects")
    maps = [torch.cat([x, -x]).float() for x in pyramid(0)]
    with EventStorage(), torch.no_grad():
        predictions = model.head(maps)
        found = model.forward_training(None, maps, predictions, instances(images))
    objects = [(image.boxes - torch.tensor([0, 0, 1, 1]), image.classes) for image in images]
    wanted = formulas.hrnet_fcos_losses(*predictions, objects)
    assert wanted.positives > 10
    for name in NAMES:
        loss = getattr(wanted, name.removeprefix("loss_fcos_"))
        assert found[name].item() == pytest.approx(loss, rel=LOSS), name


# --- formulas ---


def test_points_of_objects():
    """Ranges with their ends, the object of less area, closed boxes."""
    levels = [
        Boxes(torch.tensor([[x - 4.0, 28, x + 4, 36] for x in (4, 12, 60)])),
        Boxes(torch.tensor([[x - 8.0, 24, x + 8, 40] for x in (8, 64)])),
        Boxes(torch.tensor([[48.0, 16, 80, 48]])),
    ]
    # From (60, 32): 64 pixels to the right, the end of the first range and of the second.
    boxes = Boxes(torch.tensor([[0.0, 0, 124, 64], [0.0, 0, 64, 64], [56.0, 28, 61, 39]]))
    found = fcos_training.match_quality(boxes, levels, radius=math.inf, closed=False)
    assert (found > 0).tolist() == [
        [False, False, True, True, True, False],  # 64 px on the first level, 116 and 64 px
        [True, True, True, False, False, False],  # less than 64 px, and none inside
        [False, False, True, False, False, False],
    ]
    assert found.argmax(dim=0).tolist() == [1, 1, 2, 0, 0, 0]
    areas = boxes.area().double()[:, None].expand_as(found)
    assert torch.equal(found[found > 0], (1e8 - areas)[found > 0])
    closed = fcos_training.match_quality(boxes, levels, radius=math.inf, closed=True)
    assert torch.equal(closed[:2], found[:2])
    assert not closed[2].any()  # its last pixel is the point's
    near = fcos_training.match_quality(boxes, levels, radius=1.5, closed=False)
    assert (near > 0).tolist() == [
        [False, False, True, False, True, False],  # 2 px from (62, 32), on each of two levels
        [False, False, False, False, False, False],
        [False, False, True, False, False, False],
    ]


def positives(closed):
    return fcos_training.Positives(
        points=torch.tensor([[10.0, 10.0], [50.0, 20.0]]),
        predicted=torch.tensor([[4.0, 4.0, 6.0, 6.0], [1.0, 1.0, 1.0, 1.0]]),
        wanted=torch.tensor([[4.0, 2.0, 6.0, 8.0], [2.0, 2.0, 2.0, 2.0]]),
        closed=closed,
    )


@pytest.mark.parametrize(
    ("name", "closed", "ious"),
    [
        ("iou_log", False, [80 / 120, 4 / 16]),
        ("iou_log", True, [99 / 143, 9 / 25]),  # sides of 11, 9, 3 and 5 pixels
        ("iou_log_smooth", True, [81 / 121, 5 / 17]),  # a pixel more in both; sides as not closed
    ],
)
def test_losses_of_boxes(name, closed, ious):
    """10 x 10 pixels two beside 10 x 10, and 2 x 2 in 4 x 4."""
    compute, weighted = fcos_training.BOX_LOSSES[name]
    wanted = [-math.log(iou) for iou in ious]
    assert weighted and compute(positives(closed)).tolist() == pytest.approx(wanted, rel=1e-6)


def test_centerness_of_points():
    sides = torch.tensor([[4.0, 2.0, 6.0, 8.0], [3.0, 3.0, 3.0, 3.0]])
    wanted = [math.sqrt(4 / 6 * 2 / 8), 1.0]
    assert fcos_training.centerness(sides).tolist() == pytest.approx(wanted)


def test_what_losses_are_divided_by():
    def by(rule, count):
        averages = []
        found = fcos_training.divisors(
            rule, torch.tensor(count), torch.tensor(2.5 * (count > 0)), 2, averages.append or None
        )
        return [None if x is None else float(x) for x in found], averages

    assert by("batch", 6) == ([6, 6, 2.5], [])
    assert by("batch", 0)[0] == pytest.approx([1, 1, 1e-6])
    assert by("images", 6) == ([8, 6, 2.5], [])
    assert by("images", 0)[0] == pytest.approx([2, 1, 1e-6])
    assert by("moving_average", 6) == ([None, None, 2.5], [6])
    assert by("moving_average", 0)[1] == [1]


@pytest.mark.parametrize(("key", "known"), [("BOX_LOSS", "iou_log, "), ("NORMALIZER", "batch")])
def test_rules_that_do_not_exist(key, known):
    cfg = config()
    cfg.MODEL.FCOS[key] = "other"
    with pytest.raises(ValueError, match=f"unknown FCOS {key.lower()} 'other'; known: .*{known}"):
        model_zoo.build_detector(cfg)


def test_biases_beside_a_norm():
    def names(**options):
        head = FCOSHead(
            input_shape=[ShapeSpec(channels=32)] * 6,
            conv_dims=[32] * 2,
            num_classes=3,
            prior_prob=0.01,
            **options,
        )
        return {name for name, _ in head.named_parameters() if "subnet" in name}

    assert names(norm="GN", conv_bias=True) - names(norm="GN") == {
        f"{tower}_subnet.{k}.bias" for tower in ("cls", "bbox") for k in (0, 3)
    }
    assert names(norm="") == {
        f"{tower}_subnet.{k}.{part}"
        for tower in ("cls", "bbox")
        for k in (0, 2)
        for part in ("weight", "bias")
    }
