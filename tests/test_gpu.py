"""What differs on a GPU: half precision, Triton, memory formats, synchronised norms."""

import copy

import pytest
import torch
from detectron2.engine import AMPTrainer, SimpleTrainer
from helpers.detectors import OWN, assert_same, config, detect, detector
from helpers.networks import BFLOAT16, TINY, assert_near, hrfpn, images, spread, total
from helpers.tiny import TINY as TINY_CONFIG
from helpers.tiny import custom
from torch import nn

from hrnet_det import HRFPN, HRNet, model_zoo
from hrnet_det.config.yaml import merge_overrides
from hrnet_det.data import prepare_datasets
from hrnet_det.engine import Trainer
from hrnet_det.model_zoo import inference_form
from hrnet_det.modeling.backbone.checkpointing import CHECKPOINTING
from hrnet_det.modeling.backbone.fused import FusedConv2d
from hrnet_det.modeling.inference.optimize import optimize_for_inference

DEVICE = "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]
ON_GPU = ["MODEL.DEVICE", DEVICE]
HALVES = [torch.bfloat16, torch.float16]
DETECTORS = ["mask", "keypoint", "retinanet", "fcos", "cascade mask", "hrnet_object_detection"]


@pytest.fixture(autouse=True)
def full_precision():
    """Convolutions of float32 in float32; matrices are by default."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def near(result, expected, tolerance):
    """`assert_near`, brought to the CPU, which leaves the memory format as it is."""
    assert {x.device.type for x in result.values()} == {DEVICE}
    assert_near(
        {name: x.cpu() for name, x in result.items()},
        {name: x.cpu() for name, x in expected.items()},
        tolerance,
    )


# --- inference ---


@pytest.mark.parametrize("options", [{}, {"norm": "BN"}, {"min_level": 3, "out_channels": 128}])
@torch.no_grad()
def test_a_faster_backbone_equals_the_plain_one_and_that_on_a_cpu(options):
    model = hrfpn(**options)
    on_cpu = model(images())
    faster = optimize_for_inference(model.to(DEVICE))
    assert not any(isinstance(m, nn.Conv2d) for m in faster.modules())
    result = faster(images().to(DEVICE))
    near(result, model(images().to(DEVICE)), 1e-4)
    near(result, on_cpu, 1e-4)


@pytest.mark.parametrize("dtype", HALVES)
@torch.no_grad()
def test_16_bits_are_within_their_rounding(dtype):
    model = hrfpn().to(DEVICE)
    result = optimize_for_inference(model, dtype=dtype)(images().to(DEVICE))
    assert {x.dtype for x in result.values()} == {dtype}
    near(result, model(images().to(DEVICE)), BFLOAT16["BN"])


@pytest.mark.slow
@torch.no_grad()
def test_a_compiled_backbone_equals_the_plain_one():
    model = hrfpn().to(DEVICE)
    faster = optimize_for_inference(model, compile=True)
    given = images().to(DEVICE)
    expected = model(given)
    for _ in range(2):
        near(faster(given), expected, 1e-4)


@pytest.mark.parametrize("kind", DETECTORS)
def test_a_faster_detector_detects_the_same(kind):
    model = detector(kind, *ON_GPU)
    expected = detect(model)
    faster = inference_form(config(kind, *ON_GPU), model)
    assert {m.weight.device.type for m in faster.modules() if isinstance(m, FusedConv2d)} == {
        DEVICE
    }
    for found, theirs in zip(detect(faster), expected, strict=True):
        assert len(theirs) > 3
        assert_same(found, theirs)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("kind", DETECTORS)
def test_a_detector_in_16_bits_gives_boxes_and_scores_in_float32(kind, dtype):
    model = detector(kind, *ON_GPU)
    faster = optimize_for_inference(model, dtype=dtype)
    for found, theirs in zip(detect(faster), detect(model), strict=True):
        assert found.pred_boxes.tensor.dtype == found.scores.dtype == torch.float32
        assert set(found.get_fields()) == set(theirs.get_fields())
        assert found.pred_boxes.tensor.isfinite().all()
        assert found.scores.max() == pytest.approx(theirs.scores.max().item(), abs=0.1)


# --- training ---


@pytest.mark.parametrize("norm_eval", ["True", "False"])
@pytest.mark.parametrize("amp", ["True", "False"])
def test_a_detector_trains(coco, tmp_path, amp, norm_eval):
    cfg = model_zoo.get_config("quickstart/mask_rcnn.yaml", [*TINY_CONFIG, *OWN, *ON_GPU])
    merge_overrides(cfg, custom(coco, "polygons.json", ["TRAIN"]))
    merge_overrides(cfg, ["SOLVER.AMP.ENABLED", amp, "MODEL.HRNET.NORM_EVAL", norm_eval])
    merge_overrides(cfg, ["OUTPUT_DIR", str(tmp_path)])
    prepare_datasets(cfg)
    torch.manual_seed(0)
    trainer = Trainer(cfg)
    assert type(trainer._trainer) is (AMPTrainer if amp == "True" else SimpleTrainer)
    before = copy.deepcopy(trainer.model.state_dict())
    trainer.train()
    assert trainer.iter == cfg.SOLVER.MAX_ITER
    assert trainer.storage.history("total_loss").latest() > 0
    after = trainer.model.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    # the first steps of AMP may be left out, while its loss scale is too large
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    statistics = {name for name in after if "running_mean" in name}
    assert statistics and (not changed & statistics) == (norm_eval == "True")
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("level", [level for level in CHECKPOINTING if level != "none"])
@pytest.mark.parametrize("norm", ["BN", "FrozenBN"])
def test_recomputation_changes_neither_gradients_nor_statistics(level, norm):
    found = []
    for name in ("none", level):
        torch.manual_seed(0)
        net = HRNet(variant=TINY, norm=norm, activation_checkpointing=name)
        backbone = HRFPN(bottom_up=net, out_channels=16, activation_checkpointing=name)
        backbone = spread(backbone).double().to(DEVICE)
        features = backbone(images().double().to(DEVICE))
        total({key: x.cpu() for key, x in features.items()}).backward()
        found.append((features, backbone))
    (expected, plain), (result, saving) = found
    for name, x in expected.items():
        assert (result[name] - x).abs().max() <= 1e-10 * x.abs().max(), name
    for (name, a), b in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert (a.grad - b.grad).abs().max() <= 1e-10 * a.grad.abs().max(), name
    for (name, a), b in zip(plain.state_dict().items(), saving.state_dict().values(), strict=True):
        torch.testing.assert_close(b, a, msg=name)


def test_synchronised_norms_in_one_process_are_plain_ones():
    plain, synchronised = (hrfpn(HRNet(variant=TINY, norm=norm)) for norm in ("BN", "SyncBN"))
    assert any(isinstance(m, nn.SyncBatchNorm) for m in synchronised.modules())
    synchronised.load_state_dict(plain.state_dict())
    for training in (True, False):
        models = [m.train(training).to(DEVICE) for m in (plain, synchronised)]
        expected, result = (m(images().to(DEVICE)) for m in models)
        for name, x in expected.items():
            torch.testing.assert_close(result[name], x, rtol=1e-4, atol=1e-4)
    moved = [m.bottom_up.bn1.running_mean for m in (plain, synchronised)]
    torch.testing.assert_close(moved[1], moved[0])
    with torch.no_grad():
        faster = optimize_for_inference(synchronised)
        near(faster(images().to(DEVICE)), synchronised(images().to(DEVICE)), 1e-4)
