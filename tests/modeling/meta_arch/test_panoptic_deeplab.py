"""Panoptic-DeepLab beside Detectron2's, and the formulas of its authors' first code."""

import sys

import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling.meta_arch.build import META_ARCH_REGISTRY
from helpers.panoptic_detectors import config, detector, rows

from hrnet_det import model_zoo
from hrnet_det.errors import InputError
from hrnet_det.modeling.inference.optimize import last_layers, optimize_for_inference
from hrnet_det.modeling.meta_arch import panoptic_fusion as fusion
from hrnet_det.modeling.meta_arch.panoptic_project import panoptic_project


def theirs(cfg, weights):
    """Detectron2's own class with the same weights."""
    cfg = cfg.clone()
    panoptic_project()
    cfg.MODEL.PANOPTIC_DEEPLAB.SIZE_DIVISIBILITY = -1
    cfg.MODEL.PANOPTIC_DEEPLAB.PREDICT_INSTANCES = True
    cfg.MODEL.PANOPTIC_DEEPLAB.BENCHMARK_NETWORK_SPEED = False
    flag = cfg.MODEL.SEM_SEG_HEAD.USE_DEPTHWISE_SEPARABLE_CONV
    cfg.MODEL.PANOPTIC_DEEPLAB.USE_DEPTHWISE_SEPARABLE_CONV = flag
    cfg.INPUT.CROP.ENABLED = bool(cfg.INPUT.CROP_TRAIN)
    cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE = "absolute", cfg.INPUT.CROP_TRAIN or [1.0, 1.0]
    model = META_ARCH_REGISTRY.get("PanopticDeepLab")(cfg)
    model.load_state_dict(weights)
    return model


# --- beside Detectron2's ---


@pytest.mark.parametrize(("separable", "crop"), [("True", "[32, 64]"), ("False", "[]")])
def test_losses_and_gradients_are_detectron2s(separable, crop):
    words = ["MODEL.SEM_SEG_HEAD.USE_DEPTHWISE_SEPARABLE_CONV", separable]
    words += ["INPUT.CROP_TRAIN", crop]
    ours = detector(*words).train()
    other = theirs(config(*words), ours.state_dict()).train()
    found = []
    for model in (ours, other):
        torch.manual_seed(1)  # of the dropout
        losses = model(rows())
        sum(losses.values()).backward()
        found.append((losses, model.backbone.bottom_up.conv1.weight.grad))
    (losses, gradient), (expected, expected_gradient) = found
    assert set(losses) == set(expected) == {"loss_sem_seg", "loss_center", "loss_offset"}
    for name, value in losses.items():
        assert value.item() > 0
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=0)
    apart = (gradient - expected_gradient).norm() / expected_gradient.norm()
    assert apart < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("crop", ["[]", "[32, 64]"])
def test_segments_and_objects_are_detectron2s(crop):
    ours = detector("INPUT.CROP_TRAIN", crop).eval()
    other = theirs(config("INPUT.CROP_TRAIN", crop), ours.state_dict()).eval()
    seen = set()
    for row in rows():
        (found,) = ours([row])
        if crop != "[]" and row["width"] % 64:
            with pytest.raises(ValueError, match="must be divisible by the shape of inputs"):
                other([row])
            assert found["sem_seg"].shape == (7, row["height"], row["width"])
            continue
        (expected,) = other([row])
        torch.testing.assert_close(found["sem_seg"], expected["sem_seg"])
        ids, segments = found["panoptic_seg"]
        labels = torch.full(ids.shape, -1)
        for segment in segments:
            mask = ids == segment["id"]
            labels[mask] = 1000 * segment["category_id"] + segment.get("instance_id", 0)
            assert segment["area"] == mask.sum() > 0
            seen.add(segment["isthing"])
        assert torch.equal(labels, expected["panoptic_seg"][0].long())
        objects, wanted = found["instances"], expected["instances"]
        order = wanted.scores.argsort(descending=True, stable=True)
        assert len(objects) == len(wanted) > 3
        assert (objects.scores[:-1] >= objects.scores[1:]).all()
        torch.testing.assert_close(objects.scores, wanted.scores[order])
        assert torch.equal(objects.pred_classes, wanted.pred_classes[order])
        assert torch.equal(objects.pred_masks, wanted.pred_masks[order])
        assert torch.equal(objects.pred_boxes.tensor, wanted.pred_boxes.tensor[order])
    assert seen == {True, False}


def random_maps(height, width, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    small = (1, classes + 3, height // 4, width // 4)
    maps = F.interpolate(torch.randn(small, generator=generator), (height, width), mode="bicubic")
    logits, heat, offsets = maps[0].split([classes, 1, 2])
    return logits, heat, 6 * offsets


@pytest.mark.parametrize(("most", "threshold"), [(200, 0.1), (5, 0.1), (200, 9.0)])
def test_fusion_is_detectron2s(most, threshold, monkeypatch):
    monkeypatch.setattr(fusion, "DISTANCES", 997)  # few rows at a time
    things = [1, 2, 5]
    logits, heat, offsets = random_maps(48, 64, 6, seed=most)
    labels = logits.argmax(dim=0)
    fuse = panoptic_project().panoptic_seg.get_panoptic_segmentation
    given = labels[None], heat.clone(), offsets, things, 1000, 600, -1, threshold, 7, most
    expected, centres = fuse(*given)
    found = fusion.find_centres(heat[0], threshold=threshold, kernel=7, most=most)
    assert torch.equal(found, centres[0]) and (len(found) > 3) == (threshold < 9)
    numbers = torch.zeros_like(labels)
    if len(found):
        numbers = fusion.nearest_centres(found, offsets)
        numbers = numbers * torch.isin(labels, torch.tensor(things))
    ids, segments = fusion.join(labels, numbers, things, 600)
    again = torch.full_like(labels, -1)
    for segment in segments:
        number = 1000 * segment["category_id"] + segment.get("instance_id", 0)
        again[ids == segment["id"]] = number
    assert torch.equal(again, expected[0]) and (again == -1).any()


def test_an_image_of_fewer_pixels_than_centres():
    heat = torch.zeros(4, 5)
    heat[1, 3] = 0.5
    assert fusion.find_centres(heat, threshold=0.1, kernel=7, most=200).tolist() == [[1, 3]]


@torch.no_grad()
def test_offsets_grow_with_an_image_that_is_enlarged():
    """Every pixel points at the centre of its own object, in whichever size that is asked for."""
    model = detector().eval()
    row = {"image": torch.zeros(3, 64, 96)}
    places = torch.stack(torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij"))
    centres = torch.tensor([[32.0, 20.0], [32.0, 78.0]])
    sides = (places[1] > 66).long()  # of the left object most pixels lie nearer to the right centre
    offsets = centres[sides].permute(2, 0, 1) - places
    heat = torch.zeros(1, 64, 96)
    for y, x in centres.long().tolist():
        heat[0, y - 2 : y + 3, x - 2 : x + 3] = 1 - 0.1 * (
            places[:, y - 2 : y + 3, x - 2 : x + 3] - torch.tensor([y, x]).view(2, 1, 1)
        ).abs().sum(dim=0)
    logits = F.one_hot(torch.zeros(64, 96, dtype=torch.long), 7).permute(2, 0, 1).float()
    for scale in (1, 3):
        size = {"height": 64 * scale, "width": 96 * scale}
        ids, segments = model._segments(logits, heat, offsets, row | size)["panoptic_seg"]
        assert [s["category_id"] for s in segments] == [0, 0]
        left, right = ids[:, : 65 * scale], ids[:, 69 * scale :]
        assert len(left.unique()) == len(right.unique()) == 1
        assert left[0, 0] != right[0, 0]


# --- what is refused ---


def test_other_heads_are_refused():
    with pytest.raises(InputError, match="HEADS 'mine': must be one of detectron2, original"):
        model_zoo.build_detector(config("MODEL.PANOPTIC_DEEPLAB.HEADS", "mine"))


def test_a_detectron2_without_the_project_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "detectron2.projects.panoptic_deeplab", None)
    with pytest.raises(InputError) as error:
        model_zoo.build_detector(config())
    assert "has the heads of detectron2.projects.panoptic_deeplab, which the installed" in str(
        error.value
    )
    assert str(error.value).endswith("pip install sal-detectron2")


def test_the_stand_in_of_panopticapi_does_not_stay():
    panoptic_project()
    package = sys.modules.get("panopticapi")
    assert package is None or package.__spec__ is not None


def test_the_form_for_inference_computes_the_same():
    model = detector().eval()
    fast = optimize_for_inference(model)
    with torch.no_grad():
        (found,), (expected,) = fast(rows()[:1]), model(rows()[:1])
    torch.testing.assert_close(found["sem_seg"], expected["sem_seg"], rtol=1e-3, atol=1e-3)
    different = found["panoptic_seg"][0] != expected["panoptic_seg"][0]
    assert different.float().mean() < 0.01
    last = {id(layer) for layer in last_layers(fast)}
    heads = (fast.sem_seg_head.predictor, fast.ins_embed_head.center_predictor)
    assert {id(layer) for layer in (*heads, fast.ins_embed_head.offset_predictor)} <= last
