"""Panoptic-DeepLab's published weights: names, shapes, and the maps that they give."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from helpers.panoptic_detectors import config, detector, rows
from helpers.panoptic_source import Source, head_shapes, random_tensors
from helpers.quickstart_kinds import BOXES, image

from hrnet_det import model_zoo
from hrnet_det.checkpoint.formats.panoptic_deeplab import PANOPTIC_DEEPLAB_D2
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.checkpoint.model_config import config_of
from hrnet_det.checkpoint.renaming import rename
from hrnet_det.config import settings
from hrnet_det.detector import Detector
from hrnet_det.modeling.backbone.variants import VARIANTS
from hrnet_det.modeling.meta_arch.panoptic_project import panoptic_project

BODY = "backbone.bottom_up."


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
    cfg = model_zoo.named_run("panoptic_deeplab/panoptic_deeplab_hrnetv2_w48_90k_dsconv").cfg
    assert cfg.MODEL.SEM_SEG_HEAD.USE_DEPTHWISE_SEPARABLE_CONV
    cfg.MODEL.SEM_SEG_HEAD.USE_DEPTHWISE_SEPARABLE_CONV = separable
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
    cfg = model_zoo.named_run("panoptic_deeplab/panoptic_deeplab_hrnetv2_w48_90k_os4").cfg
    cfg.MODEL.DEVICE = "meta"
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


# --- a Detector ---


@pytest.mark.parametrize(
    ("classes", "names", "things"),
    [
        (19, ("road", "car", "bicycle"), range(11, 19)),
        (133, ("person", "sky-other-merged"), range(80)),
    ],
)
def test_published_weights_know_their_classes_and_things(classes, names, things, tmp_path):
    widths = VARIANTS["w18_small_v1"].widths
    tensors = random_tensors(original_weights(widths, classes=classes))
    body = model_zoo.build_detector(config()).backbone.bottom_up.state_dict()
    path = tmp_path / "final_state.pth"
    torch.save(tensors | {f"backbone.{name}": x for name, x in body.items()}, path)
    detector = Detector.from_pretrained(path, device="cpu", size=[64, 96])
    assert len(detector.class_names) == classes and set(names) <= set(detector.class_names)
    assert detector.model.thing_classes == list(things)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 255, (50, 70, 3), generator=generator).to(torch.uint8).numpy()
    found = detector(pixels)
    assert found.image_size == (50, 70)
    assert set(found.get_fields()) == {"pred_boxes", "pred_classes", "pred_masks", "scores"}
    assert set(found.pred_classes.tolist()) <= set(things)
