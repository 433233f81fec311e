"""Panoptic-DeepLab beside Detectron2's, and the formulas of its authors' first code."""

import sys

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling.meta_arch.build import META_ARCH_REGISTRY
from helpers.panoptic_source import Source, head_shapes, random_tensors
from helpers.quickstart_kinds import BOXES, image
from torch import nn

from hrnet_det import model_zoo
from hrnet_det.checkpoint.formats.panoptic_deeplab import PANOPTIC_DEEPLAB_D2
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.checkpoint.model_config import config_of
from hrnet_det.checkpoint.renaming import rename
from hrnet_det.config import settings
from hrnet_det.errors import InputError
from hrnet_det.modeling.backbone.variants import VARIANTS
from hrnet_det.modeling.meta_arch import panoptic_fusion as fusion
from hrnet_det.modeling.meta_arch.panoptic_project import panoptic_project

BODY = "backbone.bottom_up."
CONFIG = "quickstart/panoptic_deeplab"
SMALL = """
MODEL.DEVICE cpu
MODEL.SEM_SEG_HEAD.CONVS_DIM 24
MODEL.SEM_SEG_HEAD.ASPP_CHANNELS 16
MODEL.SEM_SEG_HEAD.NUM_CLASSES 7
MODEL.INS_EMBED_HEAD.CONVS_DIM 24
MODEL.INS_EMBED_HEAD.ASPP_CHANNELS 16
MODEL.PANOPTIC_DEEPLAB.THING_CLASSES [0,1,2,3,4,5]
MODEL.PANOPTIC_DEEPLAB.STUFF_AREA 40
""".split()  # noqa: SIM905


def config(*words):
    return model_zoo.get_config(CONFIG, [*SMALL, *words])


def detector(*words):
    torch.manual_seed(0)
    return spread(model_zoo.build_detector(config(*words)))


def spread(model):
    """Predictions that differ from pixel to pixel, with many centres, of norms that fit."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(rows())
    for norm in norms:
        norm.momentum = 0.1
    for head, deviation, bias in (
        (model.sem_seg_head.predictor, 1.0, 0.0),
        (model.ins_embed_head.center_predictor, 0.2, 0.1),
        (model.ins_embed_head.offset_predictor, 0.5, 0.0),
    ):
        nn.init.normal_(head.weight, std=deviation)
        nn.init.constant_(head.bias, bias)
    return model


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


def rows():
    """Two images of different sizes, with their targets."""
    small = {
        name: x[..., :64, :96] if name not in ("instances", "height", "width") else x
        for name, x in image(BOXES[:1]).items()
    }
    return [image(BOXES), small | {"height": 64, "width": 96}]


# --- beside Detectron2's ---


@pytest.mark.parametrize("separable", ["True", "False"])
@pytest.mark.parametrize("crop", ["[]", "[32, 64]"])
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
    centres = torch.tensor([[32.0, 20.0], [32.0, 70.0]])
    sides = (places[1] > 45).long()
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
        left, right = ids[:, : 44 * scale], ids[:, 48 * scale :]
        assert len(left.unique()) == len(right.unique()) == 1
        assert left[0, 0] != right[0, 0]


# --- weights of others ---


def published_forms(tmp_path):
    """Files of the same random weights: our model's state, by the names of Detectron2's form."""
    model = detector()
    state = {
        name.replace("backbone.bottom_up.", "backbone.").replace("decoder.hr", "decoder.res"): x
        for name, x in model.state_dict().items()
    }
    torch.save({"model": state, "iteration": 89_999}, tmp_path / "d2.pth")
    return model, tmp_path / "d2.pth"


@torch.no_grad()
def test_weights_for_detectron2_give_the_same(tmp_path):
    model, path = published_forms(tmp_path)
    file = read_weights(path)
    renamed = rename(file.weights, str(path))
    assert renamed.format is PANOPTIC_DEEPLAB_D2 and not renamed.unknown
    assert renamed.detector.title == "Panoptic-DeepLab, HRNet-W18-small-v1, 7 classes"
    run = config_of(file)
    run[settings.DEVICE], run[settings.THING_CLASSES] = "cpu", list(range(6))
    run.cfg.MODEL.PANOPTIC_DEEPLAB.STUFF_AREA, run.cfg.INPUT.CROP_TRAIN = 40, []
    loaded, report = model_zoo.build_with_weights(run, str(path))
    assert not report.missing and not report.mismatched
    (found,), (expected,) = loaded.eval()(rows()[:1]), model.eval()(rows()[:1])
    for key in ("sem_seg",):
        torch.testing.assert_close(found[key], expected[key])
    assert torch.equal(found["panoptic_seg"][0], expected["panoptic_seg"][0])


@pytest.mark.parametrize("separable", [True, False])
def test_the_names_of_w48_for_detectron2(separable):
    """Detectron2's own heads on res2 to res5 have the names and shapes that we read as ours."""
    words = ["MODEL.SEM_SEG_HEAD.USE_DEPTHWISE_SEPARABLE_CONV", str(separable)]
    cfg = model_zoo.get_config("Cityscapes/panoptic_deeplab_hrnetv2_w48", words)
    project = panoptic_project()
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        ours = model_zoo.build_detector(cfg).state_dict()
        names = [f"res{n}" for n in range(2, 6)]
        cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES = cfg.MODEL.INS_EMBED_HEAD.IN_FEATURES = names
        widths = zip(names, VARIANTS["w48"].widths, (4, 8, 16, 32), strict=True)
        shapes = {name: ShapeSpec(channels=c, stride=s) for name, c, s in widths}
        heads = {
            "sem_seg_head": project.PanopticDeepLabSemSegHead(cfg, shapes),
            "ins_embed_head": project.PanopticDeepLabInsEmbedHead(cfg, shapes),
        }
    found = {
        PANOPTIC_DEEPLAB_D2.to_ours(f"{name}.{key}"): x.shape
        for name, head in heads.items()
        for key, x in head.state_dict().items()
    }
    assert found == {k: x.shape for k, x in ours.items() if not k.startswith(BODY)}


CHANNELS = {"aspp": 24, "decoder": 20, "head": 12, "projected": (16, 12, 8)}
INSTANCE = {"aspp": 28, "decoder": 16, "head": 8, "projected": (10, 8, 6)}


def original_weights(widths, classes=19, semantic=None, instance=None):
    shapes = head_shapes("semantic", widths, **(semantic or CHANNELS), outputs=(classes,))
    shapes |= head_shapes("instance", widths, **(instance or INSTANCE), outputs=(1, 2))
    return shapes


@torch.no_grad()
def test_weights_of_the_first_code_give_its_maps(tmp_path):
    widths = VARIANTS["w18_small_v1"].widths
    tensors = random_tensors(original_weights(widths))
    body = detector().backbone.bottom_up.state_dict()
    state = tensors | {f"backbone.{name}": x for name, x in body.items()}
    path = tmp_path / "final_state.pth"
    torch.save(state, path)
    run = config_of(read_weights(path))
    options = run.cfg.MODEL
    assert options.PANOPTIC_DEEPLAB.HEADS == "original"
    assert options.SEM_SEG_HEAD.PROJECT_CHANNELS == [8, 12, 16]
    assert options.INS_EMBED_HEAD.CONVS_DIM == 16 and options.HRNET.UPSAMPLING == "bilinear"
    run[settings.DEVICE] = "cpu"
    model, report = model_zoo.build_with_weights(run, str(path))
    assert report.title == "Panoptic-DeepLab: Panoptic-DeepLab, HRNet-W18-small-v1, 19 classes"
    assert not report.missing and not report.mismatched
    model, tensors = model.double(), {name: x.double() for name, x in tensors.items()}
    pixels = torch.randint(0, 255, (3, 64, 96), generator=torch.Generator().manual_seed(2)).double()
    # padded as there, with the whole levels of the mean colour
    padded = torch.tensor([123.0, 116.0, 103.0]).double().view(3, 1, 1).expand(3, 65, 97).clone()
    padded[:, :64, :96] = pixels
    normalised = (padded - model.pixel_mean) / model.pixel_std
    assert torch.equal(model._batch([{"image": pixels}])[0], normalised)
    features = list(model.backbone(normalised[None]).values())
    assert [tuple(x.shape[-2:]) for x in features] == [(17, 25), (9, 13), (5, 7), (3, 4)]
    expected = Source(tensors)(features, (65, 97))
    names = [f"hr{n}" for n in range(2, 6)]
    given = dict(zip(names, features, strict=True))
    logits, _ = model.sem_seg_head(given)
    heat, offsets, *_ = model.ins_embed_head(given)
    for found, key in ((logits, "semantic"), (heat, "center"), (offsets, "offset")):
        assert expected[key].std() > 0.1
        torch.testing.assert_close(found.double(), expected[key], rtol=1e-5, atol=1e-5)
    (found,) = model([{"image": pixels, "height": 64, "width": 96}])
    torch.testing.assert_close(
        found["sem_seg"].double(), expected["semantic"][0, :, :64, :96], rtol=1e-5, atol=1e-5
    )


def test_the_names_of_w48_of_the_first_code():
    """All tensors of the published recipe's heads have a place, and nothing is missing."""
    published = {"decoder": 256, "head": 256, "aspp": 256, "projected": (128, 64, 32)}
    instance = {"decoder": 128, "head": 32, "aspp": 256, "projected": (64, 32, 16)}
    theirs = original_weights(VARIANTS["w48"].widths, semantic=published, instance=instance)
    words = ["MODEL.PANOPTIC_DEEPLAB.HEADS", "original"]
    words += ["MODEL.INS_EMBED_HEAD.PROJECT_CHANNELS", "[16, 32, 64]", "MODEL.DEVICE", "meta"]
    cfg = model_zoo.get_config("Cityscapes/panoptic_deeplab_hrnetv2_w48", words)
    with torch.device("meta"):
        ours = model_zoo.build_detector(cfg).state_dict()
    renamed = rename(
        {name: torch.empty(shape, device="meta") for name, shape in theirs.items()}, "file.pth"
    )
    assert not renamed.unknown
    assert {k: tuple(x.shape) for k, x in renamed.weights.items()} == {
        k: tuple(x.shape) for k, x in ours.items() if not k.startswith(BODY)
    }


def test_losses_of_the_first_code():
    """Its formulas, of its maps: hardest pixels, and means over pixels and directions."""
    words = ["MODEL.PANOPTIC_DEEPLAB.HEADS", "original", "MODEL.SEM_SEG_HEAD.ASPP_DROPOUT", "0.0"]
    model = detector(*words, "MODEL.INS_EMBED_HEAD.ASPP_DROPOUT", "0.0").train()
    row = image(BOXES)
    losses = model([row])
    features = model.backbone(model._batch([row]))
    heat, offsets = model.ins_embed_head.layers(features)
    logits = model.sem_seg_head.layers(features)

    def full(x):
        return F.interpolate(x, (97, 129), mode="bilinear", align_corners=True)[0, :, :96, :128]

    semantic = F.cross_entropy(full(logits)[None], row["sem_seg"][None], reduction="none")[0]
    hardest = semantic.mul(row["sem_seg_weights"]).flatten().topk(int(0.2 * 97 * 129)).values
    centre = (full(heat)[0] - row["center"]).square() * row["center_weights"][0]
    centre = 200 * centre.sum() / row["center_weights"].sum()
    offset = (4 * full(offsets) - row["offset"]).abs() * row["offset_weights"]
    offset = 0.01 * offset.sum() / (2 * row["offset_weights"].sum())
    expected = {"loss_sem_seg": hardest.mean(), "loss_center": centre, "loss_offset": offset}
    assert set(losses) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-6)


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
