"""Hybrid Task Cascade: what it computes, in plain torch; what it learns; what it refuses."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import load_coco_json
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from helpers.cascades import (
    HEIGHT,
    NAMES,
    PROPOSALS,
    TWO,
    WIDTH,
    check_detections,
    check_stage_weights,
    check_stages,
    conv,
    losses,
    row,
)
from helpers.detectors import config, detect, detector, rows
from helpers.tiny import CLASSES, TINY, custom, make_coco, metrics_rows, train_net
from PIL import Image

from hrnet_det import model_zoo
from hrnet_det.analysis.cases import macs
from hrnet_det.analysis.dry_run import run_layers
from hrnet_det.errors import InputError
from tools.complexity import complexity, on_meta

LEVELS = ("p2", "p3", "p4", "p5", "p6")
PLAIN = ("MODEL.HTC.SEMANTIC_ON", "False")


@pytest.fixture
def model():
    return detector("htc")


def without_branch():
    torch.manual_seed(0)
    return model_zoo.build_detector(config("htc", *PLAIN)).eval()


# --- what it computes ---


def embedding_of(head, features):
    """Logits and embedding as the paper's figure draws them."""
    x = 0
    for lateral, name in zip(head.lateral_convs, LEVELS, strict=True):
        size = features["p3"].shape[-2:]
        level = F.interpolate(features[name], size, mode="bilinear", align_corners=True)
        x = x + conv(lateral, level).relu()
    for layer in head.convs:
        x = conv(layer, x).relu()
    return conv(head.predictor, x), conv(head.embedding, x).relu()


def mask_logits(heads, x):
    """Of the three mask heads, each with the features of the one before."""
    logits, features = [], None
    for head in heads.mask_head:
        y = x if features is None else x + conv(head.conv_res, features).relu()
        features = conv(head.mask_fcn2, conv(head.mask_fcn1, y).relu()).relu()
        up = F.conv_transpose2d(features, head.deconv.weight, head.deconv.bias, stride=2).relu()
        logits.append(conv(head.predictor, up))
    return logits


@pytest.mark.parametrize("branch", [True, False], ids=["semantic", "plain"])
@torch.no_grad()
def test_boxes_scores_and_masks_by_the_papers_formulas(branch):
    model = detector("htc") if branch else without_branch()
    heads = model.roi_heads
    if not branch:  # as they are built, scores and masks are all alike
        for p in heads.parameters():
            torch.nn.init.normal_(p, std=0.1)
    images = model.preprocess_image([row(TWO)])
    features = model.backbone(images.tensor)
    embedding = embedding_of(heads.semantic_head, features)[1] if branch else None
    check_detections(heads, images, features, mask_logits, embedding=embedding, samples=1)


@torch.no_grad()
def test_the_semantic_head_by_its_formula(model):
    head = model.roi_heads.semantic_head
    features = model.backbone(model.preprocess_image([row(TWO)]).tensor)
    logits, embedding = head(features)
    assert logits.shape == (1, 54, 8, 12) and embedding.shape == (1, 64, 8, 12)
    by_hand = embedding_of(head, features)
    for found, expected in zip((logits, embedding), by_hand, strict=True):
        assert torch.allclose(found, expected, atol=1e-5)


@torch.no_grad()
def test_the_embedding_that_is_pooled_has_32_bits_in_training(model):
    features = {f"p{k}": torch.rand(1, 64, 2 ** (7 - k), 2 ** (7 - k)) for k in range(2, 7)}
    for training, dtype in ((True, torch.float32), (False, torch.bfloat16)):
        head = model.roi_heads.semantic_head.train(training)
        with torch.autocast("cpu", torch.bfloat16):
            assert head(features)[1].dtype is dtype


@torch.no_grad()
def test_the_semantic_loss_is_the_mean_over_labelled_cells(model):
    head = model.roi_heads.semantic_head
    logits = torch.randn(2, 54, 2, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.full((2, 16, 24), 255)
    targets[0, 0, 8] = 7  # the first pixel of cell (0, 1)
    targets[1, 8, 16] = 3  # and of cell (1, 2)
    targets[1, 9:, 17:] = 5  # no cell's first pixel
    terms = [logits[0, :, 0, 1].log_softmax(0)[7], logits[1, :, 1, 2].log_softmax(0)[3]]
    expected = -0.2 * (terms[0] + terms[1]) / 2
    assert head.losses(logits, targets)["loss_sem_seg"] == pytest.approx(expected.item(), rel=1e-5)
    assert head.losses(logits, torch.full_like(targets, 255))["loss_sem_seg"] == 0


@torch.no_grad()
def test_labels_are_padded_with_the_ignored_value(model):
    first, second = rows()  # 64x96 and 80x72 pixels: padded to 96x96
    first["sem_seg"], second["sem_seg"] = torch.zeros(64, 96).long(), torch.ones(80, 72).long()
    labels = model.train().preprocess_image([first, second]).sem_seg
    assert labels.shape == (2, 96, 96) and labels.dtype == torch.int64
    assert (labels[0, :64] == 0).all() and (labels[0, 64:] == 255).all()
    assert (labels[1, :80, :72] == 1).all() and (labels[1] == 255).sum() == 96 * 96 - 80 * 72
    assert not hasattr(model.eval().preprocess_image([first]), "sem_seg")


@torch.no_grad()
def test_given_boxes_get_the_masks_that_detection_gives_them(model):
    images = rows()
    expected = model.inference(images, do_postprocess=False)
    given = [
        Instances(r.image_size, pred_boxes=r.pred_boxes, pred_classes=r.pred_classes)
        for r in expected
    ]
    found = model.inference(images, given, do_postprocess=False)
    for one, other in zip(found, expected, strict=True):
        assert len(one) and torch.allclose(one.pred_masks, other.pred_masks, atol=1e-5)


# --- what it learns ---


RPN = {"loss_rpn_cls", "loss_rpn_loc"}


@pytest.mark.parametrize("branch", [True, False], ids=["semantic", "plain"])
def test_every_parameter_learns(branch):
    model = detector("htc") if branch else without_branch()
    found, _ = losses(model, row(TWO, labelled=branch), row([], labelled=branch))
    assert set(found) == NAMES | RPN | ({"loss_sem_seg"} if branch else set())
    assert all(value > 0 for name, value in found.items() if "rpn_loc" not in name), found
    sum(found.values()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [name for name in without if "roi_heads" in name]


@torch.no_grad()
def test_stages_have_their_weights(model):
    found, plain = check_stage_weights(model)
    assert found["loss_sem_seg"].item() == pytest.approx(plain["loss_sem_seg"].item(), rel=1e-4)


def test_the_stage_weights_alone_weigh_the_gradients(model):
    """Detectron2's cascade divides those of the pooled features by three, in training alone."""
    proposals = [Instances((HEIGHT, WIDTH), proposal_boxes=Boxes(PROPOSALS))]
    gradients = []
    for training in (True, False):
        maps = [torch.ones(1, 64, 64 // 2**k, 96 // 2**k) for k in range(2, 6)]
        maps = [x.requires_grad_() for x in [*maps, torch.ones(1, 64, 8, 12)]]
        scores, _ = model.train(training).roi_heads._run_stage(maps, proposals, 0)
        gradients.append(torch.autograd.grad(scores.square().sum(), maps[0])[0])
    assert gradients[0].any() and torch.allclose(*gradients)


@torch.no_grad()
def test_images_without_objects(model):
    found, _ = losses(model, row([]), row([]))
    zero = {name for name, value in found.items() if value == 0}
    masks_and_boxes = {n for n in NAMES if "mask" in n or "box_reg" in n}
    assert zero == masks_and_boxes | {"loss_rpn_loc"}


def test_stages_alternate_and_learn_from_refined_boxes(model, monkeypatch):
    check_stages(model, monkeypatch, refined=True)


@torch.no_grad()
def test_a_stages_mask_loss_is_that_of_its_own_head(model):
    heads = model.roi_heads.mask_head
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 64, 14, 14, generator=generator)
    objects = row(TWO)["instances"]
    objects.proposal_boxes = objects.gt_boxes  # whose masks fill them
    logits = mask_logits(model.roi_heads, x)
    for stage in range(3):
        of_class = logits[stage][torch.arange(2), objects.gt_classes]
        with EventStorage():
            found = heads.losses(x, [objects], stage)["loss_mask"].item()
        assert found == pytest.approx(F.softplus(-of_class).mean().item(), rel=1e-4)


def test_gradients_flow_back_through_the_mask_heads(model):
    heads = model.roi_heads.mask_head
    objects = row(TWO)["instances"]
    objects.proposal_boxes = objects.gt_boxes
    with EventStorage():
        heads.losses(torch.rand(2, 64, 14, 14), [objects], 1)["loss_mask"].backward()
    learning = {name for name, p in heads.named_parameters() if p.grad is not None}
    layers = {
        f"1.{layer}" for layer in ("mask_fcn1", "mask_fcn2", "deconv", "predictor", "conv_res")
    }
    layers |= {"0.mask_fcn1", "0.mask_fcn2"}
    assert learning == {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}


# --- sizes ---


def test_parameters_beside_the_published_ones():
    """66.1, 85.9 and 121.9 million, arXiv:1908.07919 Table VII, with its own 183 labels.

    Theirs are 66,563 more: a 1x1 convolution of the first mask head that nothing goes through, and
    the class "background" of the three mask heads.
    """
    unused, background = 256 * 256 + 256, 3 * (256 + 1)
    for variant, published in (("w18", 66.1), ("w32", 85.9), ("w48", 121.9)):
        words = ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", "183"]
        model = on_meta(model_zoo.get_config(f"htc_hrnetv2p_{variant}_20e", words))
        counted = sum(p.numel() for p in model.parameters()) + unused + background
        assert round(counted / 1e6, 1) == published
    semantic = sum(p.numel() for p in model.roi_heads.semantic_head.parameters())
    assert semantic == 6 * (256 * 256 + 256) + 4 * (9 * 256 * 256 + 256) + 183 * 257


def test_all_layers_run_for_a_number_of_boxes(model):
    """What plans of memory and counts of multiply-adds are made from."""
    outputs = run_layers(model.train(), torch.rand(1, 3, 64, 96), boxes=5, objects=2)
    assert [x.shape for x in outputs.boxes] == [(5, 4)] * 6 + [(2, 3, 28, 28)] * 3
    assert [x.shape for x in outputs.pixels] == [(1, 54, 8, 12)] and len(outputs.features) == 5
    sum(x.square().mean() for x in (*outputs.boxes, *outputs.pixels)).backward()
    without = [n for n, p in model.roi_heads.named_parameters() if p.grad is None]
    assert without == []


def test_multiply_adds_beside_those_of_a_cascade_mask_rcnn():
    names = ("cascade_mask_rcnn_hrnetv2p_w18_20e", "htc_hrnetv2p_w18_20e")
    cascade, htc = (on_meta(model_zoo.get_config(name)) for name in names)
    of_cascade, of_htc = (
        complexity(m, size=(128, 128), proposals=10, detections=3).run_form for m in (cascade, htc)
    )
    maps = {f"p{k}": torch.zeros(1, 256, 2 ** (7 - k), 2 ** (7 - k), device="meta")
            for k in range(2, 7)}  # fmt: skip
    semantic = macs(htc.roi_heads.semantic_head, maps)
    assert semantic == 16 * 16 * (6 * 256**2 + 4 * 9 * 256**2 + 256 * 183)
    flow = 14 * 14 * 256**2
    assert of_htc - of_cascade == semantic + 3 * 2 * flow


# --- from the command line ---


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """A dataset whose images have semantic labels too, registered as htc_labelled."""
    folder = make_coco(tmp_path_factory.mktemp("coco"))
    (folder / "labels").mkdir()
    for path in (folder / "images").iterdir():
        labels = np.asarray(Image.open(path)).max(axis=2) > 200  # the objects
        Image.fromarray(labels.astype(np.uint8)).save(folder / "labels" / path.name)

    def load():
        found = load_coco_json(str(folder / "polygons.json"), str(folder / "images"), NAME)
        for one in found:
            one["sem_seg_file_name"] = one["file_name"].replace("images", "labels")
        return found

    DatasetCatalog.register(NAME, load)
    MetadataCatalog.get(NAME).set(
        thing_classes=CLASSES,
        stuff_classes=["ground", "things"],
        evaluator_type="coco",
        json_file=str(folder / "polygons.json"),
        image_root=str(folder / "images"),
    )
    yield folder
    DatasetCatalog.remove(NAME)
    MetadataCatalog.pop(NAME)


NAME = "htc_labelled"
COMMAND = ["--config-file", "quickstart/htc.yaml", *TINY, "MODEL.SEM_SEG_HEAD.CONVS_DIM", "16"]


def test_training_and_evaluation(coco, tmp_path):
    words = [word for split in ("TRAIN", "TEST") for word in (f"DATASETS.{split}", f"('{NAME}',)")]
    words += [
        "TEST.AUG.ENABLED",
        "True",
        "TEST.AUG.MIN_SIZES",
        "(64, 80)",
        "TEST.AUG.MAX_SIZE",
        "96",
    ]
    outcome = train_net(*COMMAND, *words, "OUTPUT_DIR", tmp_path)
    assert outcome.code == 0, outcome.err
    (last,) = metrics_rows(tmp_path, "segm/AP")
    assert {"bbox/AP", "segm/AP75", "bbox_TTA/AP", "segm_TTA/AP"} <= set(last)
    (trained, *_) = metrics_rows(tmp_path)
    assert set(trained) >= NAMES | RPN | {"loss_sem_seg", "stage2/mask/roi_head/num_fg_samples"}


def test_training_without_semantic_labels_is_refused_before_it_starts(coco, tmp_path):
    words = [*COMMAND, *custom(coco, "polygons.json"), "OUTPUT_DIR", tmp_path]
    outcome = train_net(*words)
    assert outcome.code == 2
    assert outcome.err.startswith(
        "error: Hybrid Task Cascade learns from objects and semantic labels, but custom_train has "
        "no semantic labels"
    )
    assert outcome.err.endswith("(MODEL.HTC.SEMANTIC_ON False)\n")
    outcome = train_net(*words, "MODEL.META_ARCHITECTURE", "GeneralizedRCNN")
    assert (outcome.code, outcome.err) == (
        2,
        "error: MODEL.META_ARCHITECTURE GeneralizedRCNN gives HTCROIHeads no semantic labels: "
        "only HTC trains their semantic branch; MODEL.HTC.SEMANTIC_ON False is without one\n",
    )
    outcome = train_net(*words, "MODEL.HTC.SEMANTIC_ON", "False", "SOLVER.MAX_ITER", "1")
    assert outcome.code == 0, outcome.err


# --- what it refuses ---


def message(call):
    with pytest.raises(ValueError) as error:
        call()
    return str(error.value)


def test_images_without_labels(model):
    assert message(lambda: losses(model, row(TWO), row(TWO, labelled=False))) == (
        "HTC: 1 of 2 images have no semantic labels (sem_seg), which its semantic branch learns "
        "from. Train on a dataset that has them, such as coco_2017_train_stuffthing, or "
        "set MODEL.HTC.SEMANTIC_ON False"
    )
    assert len(detect(model.eval(), [row(TWO, labelled=False)])) == 1  # to detect it needs none


def test_the_plain_meta_architecture_has_no_labels_to_give():
    model = model_zoo.build_detector(config("htc", "MODEL.META_ARCHITECTURE", "GeneralizedRCNN"))
    assert message(lambda: losses(model, row(TWO))) == (
        "HTCROIHeads: the semantic branch learns from labels that MODEL.META_ARCHITECTURE HTC "
        "hands on; set it, or MODEL.HTC.SEMANTIC_ON False"
    )


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("ROI_BOX_CASCADE_HEAD.STAGE_LOSS_WEIGHTS", "[1.0, 0.5]",
         "MODEL.ROI_BOX_CASCADE_HEAD.STAGE_LOSS_WEIGHTS [1.0, 0.5]: one for each of the 3 stages "
         "(MODEL.ROI_BOX_CASCADE_HEAD.IOUS)"),
        ("ROI_MASK_HEAD.NAME", "PointRendMaskHead", "MODEL.ROI_MASK_HEAD.NAME "
         "'PointRendMaskHead' is not in the registry ROI_MASK_HEAD of Detectron2"),
        ("KEYPOINT_ON", "True", "HTCROIHeads have no keypoint head: set MODEL.KEYPOINT_ON False"),
        ("SEM_SEG_HEAD.COMMON_STRIDE", "12", "FusedSemanticHead: no level of stride 12 "
         "(MODEL.SEM_SEG_HEAD.COMMON_STRIDE); the strides are [4, 8, 16, 32, 64]"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(key, value, said):
    words = [f"MODEL.{key}", value]
    with pytest.raises(InputError) as error:
        model_zoo.build_detector(config("htc", *words))
    assert said in str(error.value)
