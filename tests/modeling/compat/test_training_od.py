"""MODEL.CONVENTIONS hrnet_object_detection in training, beside the source's formulas."""

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import helpers.od_training as reference
import helpers.od_training_heads as heads
import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from helpers.od_training import Batch, Objects

from hrnet_det import model_zoo
from hrnet_det.checkpoint.formats import HRNET_OBJECT_DETECTION
from hrnet_det.checkpoint.model_config import known_config
from hrnet_det.modeling.compat.conventions import CONVENTIONS

OD = "hrnet_object_detection"
KINDS = ("faster_rcnn", "mask_rcnn", "cascade_rcnn", "cascade_mask_rcnn", "htc", "htc_semantic")
SIZES, PADDED = ((120, 150), (128, 100)), (128, 160)  # height, width in pixels
CLASSES, CHANNELS, FC, PIXEL_CLASSES = 5, 32, 64, 7
TOP, SAMPLES = 200, 100  # proposals and samples of an image, fewer than the source's
SEED = 4
# Relative differences; the semantic embedding is float32 in training.
GRADIENT = dict.fromkeys(KINDS, 1e-6) | {"htc_semantic": 1e-5}
CLOSED = torch.tensor([0, 0, 1, 1])  # ours are half-open


class Case(NamedTuple):
    kind: str
    weights: dict  # of the heads, under the source's names
    batch: Batch
    semantic: list  # (H, W) int64 labels of each image's pixels
    losses: dict  # the source's
    gradient: torch.Tensor  # of their sum with respect to all cells of the pyramid


def config(kind, *overrides):
    semantic = kind == "htc_semantic"
    options = f"""
    MODEL.DEVICE cpu
    MODEL.HRNET.VARIANT w18_small_v1
    MODEL.HRFPN.OUT_CHANNELS {CHANNELS}
    MODEL.ROI_BOX_HEAD.FC_DIM {FC}
    MODEL.ROI_MASK_HEAD.CONV_DIM {CHANNELS}
    MODEL.ROI_HEADS.NUM_CLASSES {CLASSES}
    MODEL.MASK_ON {"mask" in kind or "htc" in kind}
    MODEL.RPN.BATCH_SIZE_PER_IMAGE {anchors_of(kind)}
    MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE {SAMPLES}
    MODEL.RPN.PRE_NMS_TOPK_TRAIN {TOP}
    MODEL.RPN.POST_NMS_TOPK_TRAIN {TOP}
    """
    if "htc" in kind:
        options += f"""
        MODEL.HTC.SEMANTIC_ON {semantic}
        MODEL.SEM_SEG_HEAD.NUM_CLASSES {PIXEL_CLASSES}
        MODEL.SEM_SEG_HEAD.CONVS_DIM {CHANNELS}
        """
    name = "htc" if semantic else kind
    return known_config(name, OD, [*options.split(), *overrides])


def anchors_of(kind):
    """How many are sampled in an image: in one detector all of them."""
    return 5000 if kind == "mask_rcnn" else 256


def build(case, *overrides):
    """Our detector with the source's weights, whose backbone gives the case's pyramid."""
    model = model_zoo.build_detector(config(case.kind, *overrides))
    ours = HRNET_OBJECT_DETECTION.to_ours
    state = {ours(name): turned(name, tensor) for name, tensor in case.weights.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all(name.startswith("backbone.") for name in missing)
    model = model.double().train()  # boxes stay float32
    generator = model.proposal_generator
    generator.anchor_generator.float()
    predict = generator.predict_proposals
    generator.predict_proposals = lambda anchors, logits, *others: predict(
        anchors, [x.float() for x in logits], *others
    )
    names = list(model.backbone.output_shape())
    model.backbone.forward = lambda _: dict(zip(names, case.batch.features, strict=True))
    return model


def turned(name, tensor):
    """Ours has no row of deltas for the background, and its score in the last row."""
    if "fc_cls" in name:
        return torch.cat([tensor[1:], tensor[:1]])
    if "fc_reg" in name and len(tensor) > 4:
        return tensor[4:]
    return tensor[1:] if "mask_head" in name and "conv_logits" in name else tensor


@pytest.fixture(scope="module")
def cases():
    """Gives the Case of a kind, made once."""
    return cache(make)


def make(kind):
    name = "htc" if kind == "htc_semantic" else kind
    semantic = PIXEL_CLASSES if kind == "htc_semantic" else 0
    options = {"channels": CHANNELS, "classes": CLASSES, "fc": FC, "semantic": semantic}
    weights = heads.random_weights(name, **options)
    weights = {name: tensor.double() for name, tensor in weights.items()}
    generator = torch.Generator().manual_seed(2)
    sides = [[max(side // s, 1) for side in PADDED] for s in reference.STRIDES]
    features = [torch.randn(2, CHANNELS, *s, generator=generator).double() for s in sides]
    batch = Batch(features, SIZES, ())
    found = reference.proposals(batch, *reference.rpn_outputs(weights, features), TOP)
    objects = [some_objects(*each, generator) for each in zip(found, SIZES, strict=True)]
    labels = [torch.randint(0, PIXEL_CLASSES, size, generator=generator) for size in SIZES]
    for each in labels:
        each[:40, 30:90] = 255
    cells = heads.semantic_cells(labels, PADDED) if semantic else None
    features = [f.requires_grad_() for f in features]
    batch = Batch(features, SIZES, objects, cells)
    torch.manual_seed(SEED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "RPN_SAMPLES", (anchors_of(kind), 0.5))
        patch.setattr(reference, "ROI_SAMPLES", (SAMPLES, 0.25))
        losses = heads.losses(name, weights, batch, top=TOP)
    return Case(kind, weights, batch, labels, losses, gradient(losses, features))


def some_objects(proposals, size, generator):
    """Objects near every tenth proposal, two near each, and two under 15 pixels."""
    near = proposals[::10][:8].repeat(2, 1)
    sides = near[:, 2:] - near[:, :2]
    near += 0.2 * (torch.rand(len(near), 4, generator=generator) - 0.5) * sides.repeat(1, 2)
    tiny = torch.tensor([[20.3, 30.6, 30.1, 41.2], [71.5, 9.2, 77.3, 21.9]])
    boxes = torch.cat([near, tiny]).clamp(min=0).minimum(torch.tensor([size[1], size[0]] * 2) - 1)
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2] >= 2).all(1)]
    labels = torch.randint(0, CLASSES, (len(boxes),), generator=generator)
    y, x = torch.meshgrid(*(torch.arange(side) + 0.5 for side in PADDED), indexing="ij")
    middle = (boxes[:, :2] + boxes[:, 2:])[:, :, None, None] / 2
    reach = (boxes[:, 2:] - boxes[:, :2] + 1)[:, :, None, None] / 2
    apart = (x - middle[:, 0]) ** 2 / reach[:, 0] ** 2 + (y - middle[:, 1]) ** 2 / reach[:, 1] ** 2
    masks = (apart < 1) & (x < size[1]) & (y < size[0])
    return Objects(boxes, labels, masks.byte())


def rows(case):
    """What our detector is given of the case."""
    made, parts = [], (SIZES, case.batch.objects, case.semantic)
    for (height, width), objects, labels in zip(*parts, strict=True):
        instances = Instances((height, width))
        instances.gt_boxes = Boxes(objects.boxes + CLOSED)
        instances.gt_classes = objects.labels
        instances.gt_masks = BitMasks(objects.masks[:, :height, :width].bool())
        image = torch.zeros(3, height, width)
        made.append({"image": image, "instances": instances, "sem_seg": labels})
    return made


def gradient(losses, features):
    return torch.cat([g.flatten() for g in torch.autograd.grad(sum(losses.values()), features)])


def run(case, *overrides):
    """Our losses of the case, and their gradient."""
    model = build(case, *overrides)
    torch.manual_seed(SEED)  # the same draws
    with EventStorage():
        found = model(rows(case))
    return found, gradient(found, case.batch.features)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients(cases, kind):
    case = cases(kind)
    found, its = run(case)
    assert found.keys() == case.losses.keys()
    for name, value in case.losses.items():
        assert found[name].item() == pytest.approx(value.item(), rel=1e-6), name
    assert (its - case.gradient).norm() <= GRADIENT[kind] * case.gradient.norm()


def test_proposals(cases):
    """They are those of a training, more than in a test of the other code bases."""
    case = cases("faster_rcnn")
    model = build(case)
    with torch.no_grad():
        wanted = reference.proposals(
            case.batch, *reference.rpn_outputs(case.weights, case.batch.features), TOP
        )
        images = model.preprocess_image(rows(case))
        features = model.backbone(images.tensor)
        objects = [row["instances"] for row in rows(case)]
        with EventStorage():
            found, _ = model.proposal_generator(images, features, objects)
    for ours, theirs in zip(found, wanted, strict=True):
        apart = torch.cdist(ours.proposal_boxes.tensor, theirs + CLOSED, p=float("inf"))
        assert apart.shape == (TOP, TOP)
        assert apart.amin(0).max() <= 1e-3 and apart.amin(1).max() <= 1e-3


def test_numbers_of_proposals_and_samples():
    cfg = known_config("faster_rcnn", OD, [])
    rpn, heads_ = cfg.MODEL.RPN, cfg.MODEL.ROI_HEADS
    assert (rpn.PRE_NMS_TOPK_TRAIN, rpn.POST_NMS_TOPK_TRAIN) == (2000, 2000)
    assert (rpn.BATCH_SIZE_PER_IMAGE, rpn.POSITIVE_FRACTION) == (256, 0.5)
    assert (heads_.BATCH_SIZE_PER_IMAGE, heads_.POSITIVE_FRACTION) == (512, 0.25)


# Each rule as Detectron2 has it, and a detector that it shows in.
RULES = [
    ("faster_rcnn", {"rpn_least_iou": 0.0}),
    ("faster_rcnn", {"takes_over": False}),
    ("faster_rcnn", {"drops_anchors_first": False}),
    ("mask_rcnn", {"divides_by_sampled": False}),
    ("faster_rcnn", {"adds_objects_matched": False}),
    ("faster_rcnn", {"closed_boxes": False}),
    ("mask_rcnn", {"mask_targets": "polygon"}),
    ("mask_rcnn", {"mask_targets": "bitmap"}),
    ("htc_semantic", {"semantic_mean": "all"}),
    ("htc_semantic", {"semantic_padding": None}),
]
KEYS = [
    "MODEL.RPN.BOUNDARY_THRESH -1",
    "MODEL.RPN.SMOOTH_L1_BETA 0",
    "MODEL.ROI_HEADS.LOW_QUALITY_MATCHES never",
    "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA 0",
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO 0",
]


@pytest.mark.parametrize(("kind", "rule"), RULES)
def test_each_rule_shows(cases, kind, rule, monkeypatch):
    """With any of its rules left out, the source's losses are not met."""
    row = CONVENTIONS[OD]
    plain = replace(row, training=replace(row.training, **rule))
    monkeypatch.setitem(CONVENTIONS, OD, plain)
    assert differs(cases(kind))


@pytest.mark.parametrize("override", KEYS)
def test_each_key_shows(cases, override):
    assert differs(cases("faster_rcnn"), *override.split())


def differs(case, *overrides):
    found, _ = run(case, *overrides)
    return any(abs(found[name] / value - 1) > 1e-4 for name, value in case.losses.items())
