"""SOLVER.RECIPE: the values of each source, where they lie, and every learning rate."""

import importlib.util
import json

import numpy as np
import pytest
import torch
from helpers.detectors import config as small_config
from torch import nn

from hrnet_det import model_zoo
from hrnet_det.config.files import config_folder
from hrnet_det.config.keys import get_cfg
from hrnet_det.config.load import load_run
from hrnet_det.config.recipes import KEYS_OF_RECIPES, RECIPES, SCHEDULES
from hrnet_det.config.yaml import flat, load_config, merge_overrides
from hrnet_det.engine.optimizer import build_lr_scheduler, build_optimizer
from hrnet_det.errors import InputError
from tools import recipe_table
from tools.tables import with_tables

FASTER = "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.yaml"
MMDET = ["SOLVER.RECIPE", "mmdet"]
OLD = ["SOLVER.RECIPE", "hrnet_object_detection"]
MISSING = [name for name in ("mmdet", "mmengine") if importlib.util.find_spec(name) is None]
with_mmdet = pytest.mark.skipif(bool(MISSING), reason=f"no {' and '.join(MISSING)}")
# A config of each schedule and warm-up of mmdetection.
SCHEDULED = (
    "faster-rcnn_hrnetv2p-w18-1x_coco",
    "faster-rcnn_hrnetv2p-w18-2x_coco",
    "cascade-rcnn_hrnetv2p-w18-20e_coco",
    "htc_hrnetv2p-w40_28e_coco",
    "fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco",
)


@pytest.fixture
def write(tmp_path):
    def write(content, name="my.yaml"):
        path = tmp_path / name
        path.write_text(content)
        return path

    return write


def refusal(*arguments):
    with pytest.raises(InputError) as error:
        load_config(*arguments)
    return str(error.value)


def shipped(name):
    return config_folder() / name


# --- beside mmdetection 3.3


@with_mmdet
def test_every_number_is_that_of_mmdetections_config():
    """Of all its HRNet configs; what differs is named in KNOWN, and what is named differs."""
    wrong = {p.theirs: found for p in recipe_table.pairs() if (found := recipe_table.drifted(p))}
    assert wrong == {}
    assert len(recipe_table.pairs()) == 29
    assert sum(len(recipe_table.cells(pair)) for pair in recipe_table.pairs()) > 1000


@with_mmdet
def test_a_number_that_drifts_is_told():
    first = recipe_table.pairs()[0]
    cfg = first.cfg.clone()
    cfg.SOLVER.WARMUP_ITERS = 500
    cfg.MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS[2][0] = 30.0
    found = recipe_table.drifted(first._replace(cfg=cfg))
    assert list(found) == [
        "warm-up: form, first factor, iteration of 1",
        "RoI: weights of boxes, by stage",
    ]


@with_mmdet
def test_the_page_has_the_tables():
    text = recipe_table.PAGE.read_text()
    assert with_tables(text, recipe_table.TABLES) == text, "python -m tools.recipe_table"


def their_rates(config, epochs):
    """The learning rate of each iteration, as mmengine's loop and hook step the schedulers."""
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import PARAM_SCHEDULERS, DefaultScope

    with DefaultScope.overwrite_default_scope("mmengine"):
        wrapper = build_optim_wrapper(nn.Linear(1, 1), config.optim_wrapper)
        made = [
            PARAM_SCHEDULERS.build(
                {k: v for k, v in options.items() if k != "convert_to_iter_based"}
                | {"optimizer": wrapper}
            )
            for options in config.param_scheduler
        ]
    wrapper.step()  # or mmengine warns of schedulers before the first step
    group, rates = wrapper.optimizer.param_groups[0], []
    for _ in range(epochs):
        for _ in range(7330):
            rates.append(group["lr"])
            for scheduler in made:
                if not scheduler.by_epoch:
                    scheduler.step()
        for scheduler in made:
            if scheduler.by_epoch:
                scheduler.step()
    return np.array(rates)


def our_rates(cfg):
    """The learning rate of each iteration."""
    model = nn.Linear(1, 1, bias=False)
    scheduler = build_lr_scheduler(cfg, build_optimizer(cfg, model))
    rates = []
    for scheduler.last_epoch in range(cfg.SOLVER.MAX_ITER):
        rates.append(scheduler.get_lr()[0])
    return np.array(rates)


@with_mmdet
@pytest.mark.parametrize("name", SCHEDULED)
def test_every_learning_rate_is_mmengines(name):
    pair = next(pair for pair in recipe_table.pairs() if pair.theirs == name)
    theirs = their_rates(pair.config, pair.config.train_cfg.max_epochs)
    ours = our_rates(pair.cfg)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    assert len(np.unique(np.round(ours, 12))) > 3  # warm-up and two drops


@with_mmdet
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("faster", "faster-rcnn_hrnetv2p-w18-1x_coco"),
        ("fcos", "fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco"),
    ],
)
def test_rate_and_decay_of_every_parameter_are_mmengines(kind, name):
    """Its `paramwise_cfg` is read from the config: norms' biases have the plain rate in FCOS."""
    from mmengine.optim import build_optim_wrapper

    pair = next(pair for pair in recipe_table.pairs() if pair.theirs == name)
    model = model_zoo.build_detector(small_config(kind))
    names = {id(p): key for key, p in model.named_parameters()}

    def by_name(optimizer):
        return {
            names[id(p)]: (group["lr"], group["weight_decay"])
            for group in optimizer.param_groups
            for p in group["params"]
        }

    theirs = by_name(build_optim_wrapper(model, pair.config.optim_wrapper).optimizer)
    ours = by_name(build_optimizer(pair.cfg, model))
    assert ours.keys() == theirs.keys() == set(names.values())
    assert {key: pytest.approx(value, rel=1e-12) for key, value in theirs.items()} == ours
    if kind == "fcos":
        assert len(set(ours.values())) == 3


# --- HRNet-Object-Detection: configs/hrnet of it, and of mmdetection 1 where it has no config


@pytest.mark.parametrize(
    ("name", "epochs", "drops", "rate", "clip"),
    [
        (FASTER, 12, (8, 11), 0.02, 35.0),
        ("COCO-Detection/faster_rcnn_hrnetv2p_w40_2x.yaml", 24, (20, 23), 0.02, 35.0),
        ("COCO-Detection/cascade_rcnn_hrnetv2p_w32_20e.yaml", 20, (16, 19), 0.02, 35.0),
        ("COCO-InstanceSegmentation/mask_rcnn_hrnetv2p_w32_2x.yaml", 24, (20, 23), 0.02, 35.0),
        ("COCO-InstanceSegmentation/htc_hrnetv2p_w48_28e.yaml", 28, (24, 27), 0.02, 35.0),
        ("COCO-Detection/fcos_hrnetv2p_w32_1x.yaml", 12, (8, 11), 0.01, 0),
        ("COCO-Detection/fcos_hrnetv2p_w18_mstrain_2x.yaml", 24, (16, 22), 0.01, 0),
    ],
)
def test_the_older_recipe(name, epochs, drops, rate, clip):
    cfg = load_config(shipped(name), OLD)
    assert cfg.MODEL.CONVENTIONS == "hrnet_object_detection"
    assert bool(clip) == cfg.SOLVER.CLIP_GRADIENTS.ENABLED
    if clip:
        assert clip == cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE
    assert epochs * 7330 == cfg.SOLVER.MAX_ITER
    ours = our_rates(cfg)
    # mmcv's hook: a third of the rate at first; it is whole from iteration 500 on.
    expected = np.full(epochs * 7330, rate)
    for drop in drops:
        expected[drop * 7330 :] *= 0.1
    steps = np.arange(500)
    flat_warmup = cfg.MODEL.META_ARCHITECTURE == "FCOS"
    expected[:500] *= 1 / 3 if flat_warmup else 1 - (1 - steps / 500) * (1 - 1 / 3)
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


# --- where it lies


def test_a_recipe_is_one_override_and_its_conventions_follow():
    cfg = model_zoo.get_config(FASTER, MMDET)
    assert cfg.SOLVER.RECIPE == cfg.MODEL.CONVENTIONS == "mmdet"
    assert cfg.MODEL.WEIGHTS == "imagenet"
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS) == (87_960, (58_640, 80_630))
    assert not cfg.SOLVER.CLIP_GRADIENTS.ENABLED
    plain = model_zoo.get_config(FASTER)
    assert plain.SOLVER.RECIPE == "" and plain.SOLVER.MAX_ITER == 90_000
    followed = flat(model_zoo.get_config(FASTER, ["MODEL.CONVENTIONS", "mmdet"]))
    differing = {key for key, value in flat(cfg).items() if followed[key] != value}
    assert differing <= {*KEYS_OF_RECIPES, "SOLVER.RECIPE"}


def test_a_recipe_lies_below_the_users_values(write):
    path = write(
        f"_BASE_: {shipped(FASTER)}\nSOLVER: {{RECIPE: mmdet, IMS_PER_BATCH: 8, BASE_LR: 0.01}}\n"
    )
    cfg = load_config(path, ["SOLVER.WARMUP_ITERS", "100", "MODEL.WEIGHTS", "x.pth"])
    assert (cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.BASE_LR) == (8, 0.01)
    assert (cfg.SOLVER.WARMUP_ITERS, cfg.SOLVER.WARMUP_FACTOR) == (100, 0.001)
    assert (cfg.MODEL.WEIGHTS, cfg.MODEL.CONVENTIONS) == ("x.pth", "mmdet")
    # typed, too: the file's own iterations stay, and the schedule is that of its base
    path = write(f"_BASE_: {shipped(FASTER)}\nSOLVER: {{MAX_ITER: 1000}}\n")
    cfg = load_config(path, MMDET)
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS) == (1000, (58_640, 80_630))
    assert load_run(path, MMDET).stated == {"SOLVER.MAX_ITER", "SOLVER.RECIPE"}


def test_one_recipe_in_place_of_another_and_none(write):
    path = write(f"_BASE_: {shipped(FASTER)}\nSOLVER: {{RECIPE: mmdet}}\n")
    other = load_config(path, OLD)
    assert flat(other) == flat(load_config(shipped(FASTER), OLD))
    none = load_config(path, ["SOLVER.RECIPE", ""])
    assert flat(none) == flat(load_config(shipped(FASTER)))


def test_stated_conventions_are_kept(write):
    words = [*MMDET, "MODEL.CONVENTIONS", "detectron2"]
    cfg = load_config(shipped(FASTER), words)
    assert (cfg.MODEL.CONVENTIONS, cfg.INPUT.RESIZE) == ("detectron2", "pillow")
    assert cfg.SOLVER.MAX_ITER == 87_960
    path = write(f"_BASE_: {shipped(FASTER)}\nMODEL: {{CONVENTIONS: hrnet_object_detection}}\n")
    cfg = load_config(path, MMDET)
    assert (cfg.MODEL.CONVENTIONS, cfg.SOLVER.RECIPE) == ("hrnet_object_detection", "mmdet")
    assert cfg.INPUT.RESIZE == "opencv_float"


def test_the_config_of_a_run_is_read_as_it_is(write):
    run = load_config(shipped(FASTER), [*MMDET, "SOLVER.MAX_ITER", "7", "SOLVER.STEPS", "(3,)"])
    saved = write(run.dump())
    again = load_config(saved)
    assert json.loads(json.dumps(flat(again))) == json.loads(json.dumps(flat(run)))
    assert load_config(saved, [*MMDET, "SEED", "3"]).SOLVER.MAX_ITER == 7
    said = refusal(saved, OLD)
    assert said.startswith("command line: SOLVER.RECIPE 'hrnet_object_detection': ")
    assert said.endswith(
        "my.yaml states every value that it would set; take the config that this run was started "
        "with"
    )


def test_pairs_merged_over_a_config():
    cfg = load_config(shipped(FASTER))
    merge_overrides(cfg, MMDET)
    assert flat(cfg) == flat(load_config(shipped(FASTER), MMDET))


# --- refused


def test_unknown_recipes(write):
    known = "known: mmdet, hrnet_object_detection, or '' for none"
    said = refusal(shipped(FASTER), ["SOLVER.RECIPE", "mmdet3"])
    assert said == f"command line: unknown SOLVER.RECIPE 'mmdet3'; {known}"
    path = write(f"_BASE_: {shipped(FASTER)}\nSOLVER: {{RECIPE: detectron2}}\n")
    assert refusal(path) == f"{path}: unknown SOLVER.RECIPE 'detectron2'; {known}"


def test_a_recipe_and_epochs():
    said = refusal(shipped(FASTER), [*MMDET, "SOLVER.EPOCHS", "5"])
    assert said.startswith("command line: SOLVER.RECIPE mmdet and SOLVER.EPOCHS 5: give one of")
    assert "SOLVER.EPOCHS 0.5: give" in refusal(shipped(FASTER), [*MMDET, "SOLVER.EPOCHS", "0.5"])
    assert "SOLVER.EPOCHS 50" in refusal(shipped("custom/faster_rcnn.yaml"), MMDET)
    cfg = load_config(shipped("custom/faster_rcnn.yaml"), [*MMDET, "SOLVER.EPOCHS", "0"])
    assert cfg.SOLVER.MAX_ITER == 87_960


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "quickstart/faster_rcnn.yaml",
            "MAX_ITER 1000; schedules of mmdet for such a detector: 1x",
        ),
        ("COCO-Detection/retinanet_hrnetv2p_w18_1x.yaml", "such a detector: none"),
        ("COCO-Detection/rpn_hrnetv2p_w18_1x.yaml", "such a detector: none"),
        ("COCO-Detection/faster_rcnn_hrnetv1_w32_1x.yaml", "such a detector: none"),
        ("COCO-Keypoints/keypoint_rcnn_hrnetv2p_w18_1x.yaml", "such a detector: none"),
        ("COCO-PanopticSegmentation/panoptic_fpn_hrnetv2p_w18_1x.yaml", "such a detector: none"),
        ("Cityscapes/semantic_hrnetv2_w48.yaml", "such a detector: none"),
    ],
)
def test_a_config_without_a_published_schedule(name, reason):
    said = refusal(shipped(name), MMDET)
    assert said.startswith("command line: SOLVER.RECIPE mmdet: no such training is published for ")
    assert reason in said


def test_every_shipped_schedule_has_a_recipe():
    """Those of published.csv that another source than HRNet-MaskRCNN-Benchmark has published."""
    from tools.published import results

    for name in {row.config for row in results() if not row.config.startswith("Cityscapes")}:
        last = load_config(shipped(f"{name}.yaml")).SOLVER.MAX_ITER
        assert SCHEDULES[last][0] == name.rpartition("_")[2]
        for recipe in RECIPES:
            assert load_config(shipped(f"{name}.yaml"), ["SOLVER.RECIPE", recipe]).SOLVER.RECIPE


def test_the_factor_of_norms_biases_is_detectron2s_by_default():
    cfg = get_cfg()
    cfg.SOLVER.BIAS_LR_FACTOR = 2.0
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.GroupNorm(1, 1))

    def rate_of(parameter):
        groups = build_optimizer(cfg, model).param_groups
        return next(g["lr"] for g in groups if any(p is parameter for p in g["params"]))

    assert rate_of(model[1].bias) == rate_of(model[0].bias) == 2 * cfg.SOLVER.BASE_LR
    for factor in (1.0, 0.5, 2.0):
        cfg.SOLVER.BIAS_LR_FACTOR_NORM = factor
        assert rate_of(model[1].bias) == factor * cfg.SOLVER.BASE_LR
        assert rate_of(model[0].bias) == 2 * cfg.SOLVER.BASE_LR
        assert rate_of(model[1].weight) == cfg.SOLVER.BASE_LR
    # all gradients are clipped together, whatever group they are in
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED, cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = True, "full_model"
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 1.0
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    build_optimizer(cfg, model).step()
    assert [p.grad.item() for p in model.parameters()] == pytest.approx([0.5] * 4)
