"""A cascade's stages in plain torch, and what their heads learn from."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.structures import BitMasks, Boxes, ImageList, Instances
from detectron2.utils.events import EventStorage
from torchvision.ops import roi_align

HEIGHT, WIDTH = 64, 96  # pixels
THRESHOLDS = (0.5, 0.6, 0.7)
WEIGHTS = (1.0, 0.5, 0.25)
NAMES = {f"{part}_stage{k}" for part in ("loss_cls", "loss_box_reg", "loss_mask") for k in range(3)}


def row(boxes, labelled=True):
    """A row of Detectron2's mapper: two classes in turn, and their ground truth as labels."""
    boxes = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(len(boxes), HEIGHT, WIDTH, dtype=torch.bool)
    sem_seg = torch.zeros(HEIGHT, WIDTH, dtype=torch.long)
    for n, (x0, y0, x1, y1) in enumerate(boxes.int().tolist()):
        masks[n, y0:y1, x0:x1] = True
        sem_seg[y0:y1, x0:x1] = 1 + n % 2
    objects = Instances(
        (HEIGHT, WIDTH),
        gt_boxes=Boxes(boxes),
        gt_classes=torch.arange(len(boxes)) % 2,
        gt_masks=BitMasks(masks),
    )
    image = 255 * torch.rand(3, HEIGHT, WIDTH, generator=generator)
    labels = {"sem_seg": sem_seg} if labelled else {}
    return {"image": image, "instances": objects, **labels}


TWO = [[8, 10, 40, 50], [50, 20, 90, 60]]


def losses(model, *batch):
    with EventStorage() as storage:
        found = model.train()(list(batch))
    return found, storage.latest()


def check_stage_weights(model):
    """Losses of an image: each stage's has its weight. Returns them with and without weights."""
    torch.manual_seed(0)
    found, _ = losses(model, row(TWO))
    model.roi_heads.stage_loss_weights = (1.0, 1.0, 1.0)
    torch.manual_seed(0)
    plain, _ = losses(model, row(TWO))
    for name in NAMES:
        weight = WEIGHTS[int(name[-1])]
        assert found[name].item() == pytest.approx(weight * plain[name].item(), rel=1e-4), name
    return found, plain


def conv(layer, x):
    return F.conv2d(x, layer.weight, layer.bias, padding=layer.weight.shape[-1] // 2)


def pooled(features, embedding, boxes, side, samples):
    """RoI features of an image's boxes (R, 4), one after the other.

    Args:
        samples: of each bin and side; 0: as many as it has cells.
    """
    found = []
    for box in boxes:
        area = (box[2] - box[0]) * (box[3] - box[1])
        level = int((4 + torch.log2(area.sqrt() / 224 + 1e-8)).floor().clamp(2, 5))
        rois = torch.cat([torch.zeros(1), box])[None]
        x = roi_align(features[f"p{level}"], rois, side, 1 / 2**level, samples, aligned=True)
        if embedding is not None:
            added = roi_align(embedding, rois, 14, 1 / 8, samples, aligned=True)
            x = x + (F.avg_pool2d(added, 2) if side == 7 else added)
        found.append(x)
    return torch.cat(found)


def box_outputs(heads, stage, x):
    """Class logits (R, 4) and deltas (R, 4) of a stage."""
    box_head, predictor = heads.box_head[stage], heads.box_predictor[stage]
    for fc in (box_head.fc1, box_head.fc2):
        x = F.linear(x.flatten(1), fc.weight, fc.bias).relu()
    layers = (predictor.cls_score, predictor.bbox_pred)
    return [F.linear(x, layer.weight, layer.bias) for layer in layers]


def moved(boxes, deltas, weights, size):
    """Boxes changed by deltas and clipped, arXiv:1311.2524 appendix C."""
    dx, dy, dw, dh = (deltas / torch.tensor(weights)).unbind(1)
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    x, y = boxes[:, 0] + w / 2 + dx * w, boxes[:, 1] + h / 2 + dy * h
    w, h = w * dw.exp(), h * dh.exp()
    sides = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    limits = [size[1], size[0]] * 2
    return torch.stack([s.clamp(0, limit) for s, limit in zip(sides, limits, strict=True)], dim=1)


PROPOSALS = torch.tensor([[3.0, 4, 40, 50], [20, 2, 90, 60], [5, 5, 30, 20], [50, 30, 95, 62]])
STAGES = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))


def check_detections(heads, images, features, mask_logits, *, samples, embedding=None):
    """Boxes, scores and masks of an image's PROPOSALS, by the papers' formulas.

    Args:
        mask_logits: of all stages, from heads and pooled features.
        embedding: of a semantic branch.
    """
    size = (HEIGHT, WIDTH)
    proposal = Instances(size, proposal_boxes=Boxes(PROPOSALS), objectness_logits=torch.zeros(4))
    for predictor in heads.box_predictor:
        predictor.test_score_thresh, predictor.test_nms_thresh = 0.0, 1.0
        predictor.test_topk_per_image = 100
    found = heads(images, features, [proposal])[0][0]

    boxes, probabilities = PROPOSALS, []
    for stage, weights in enumerate(STAGES):
        x = pooled(features, embedding, boxes, 7, samples)
        logits, deltas = box_outputs(heads, stage, x)
        probabilities.append(logits.softmax(dim=1))
        boxes = moved(boxes, deltas, weights, size)
    scores = (probabilities[0] + probabilities[1] + probabilities[2]) / 3
    # all boxes for each of the 3 classes, the best first
    order = scores[:, :3].flatten().argsort(descending=True)
    of_box, of_class = order // 3, order % 3
    assert len(found) == 12 and torch.equal(found.pred_classes, of_class)
    assert torch.allclose(found.scores, scores[of_box, of_class], atol=1e-5)
    assert torch.allclose(found.pred_boxes.tensor, boxes[of_box], atol=1e-3)
    masks = mask_logits(heads, pooled(features, embedding, boxes, 14, samples))
    mean = sum(m.sigmoid() for m in masks) / 3
    assert mean.std() > 0.01
    assert torch.allclose(found.pred_masks[:, 0], mean[of_box, of_class], atol=1e-4)
    # the three heads differ, and so does what they give without one another
    assert (masks[2] - masks[1]).abs().max() > 0.1 and (masks[1] - masks[0]).abs().max() > 0.1


def _seen_by(model, monkeypatch):
    """What each head learns from: lists of (stage, boxes (R, 4), classes (R,)) of one image."""
    heads, boxes, masks = model.roi_heads, [], []
    run_stage, mask_losses = heads._run_stage, heads.mask_head.losses

    def of_boxes(features, proposals, stage):
        outputs = run_stage(features, proposals, stage)
        (p,) = proposals
        boxes.append((stage, p, outputs))
        return outputs

    def of_masks(x, instances, stage):
        masks.append((stage, *instances, x))
        return mask_losses(x, instances, stage)

    monkeypatch.setattr(heads, "_run_stage", of_boxes)
    monkeypatch.setattr(heads.mask_head, "losses", of_masks)
    return boxes, masks


def _ious(boxes, others):
    low = torch.maximum(boxes[:, None, :2], others[:, :2])
    high = torch.minimum(boxes[:, None, 2:], others[:, 2:])
    both = (high - low).clamp(min=0).prod(dim=2)
    areas = [(b[:, 2:] - b[:, :2]).prod(dim=1) for b in (boxes, others)]
    return both / (areas[0][:, None] + areas[1] - both)


def _contained(boxes, others):
    """Whether each of the boxes is one of the others."""
    return (boxes[:, None] - others).abs().amax(dim=2).amin(dim=1) < 1e-3


@torch.no_grad()
def check_stages(model, monkeypatch, *, refined):
    """What each stage's heads learn from: by IoU, sampled anew, from the boxes of the one before.

    Args:
        refined: whether a mask head learns from the boxes that its stage has refined.
    """
    heads, truth = model.roi_heads, torch.tensor(TWO, dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    near = truth.repeat(40, 1) + 4 * torch.randn(80, 4, generator=generator)
    near = near.clamp(min=0).minimum(torch.tensor([WIDTH, HEIGHT] * 2))
    proposal = Instances(
        (HEIGHT, WIDTH), proposal_boxes=Boxes(near), objectness_logits=torch.zeros(80)
    )
    heads.batch_size_per_image, heads.positive_fraction = 60, 0.25
    boxes, masks = _seen_by(model.train(), monkeypatch)
    images = ImageList(torch.zeros(1, 3, HEIGHT, WIDTH), [(HEIGHT, WIDTH)])
    images.sem_seg = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.long)
    features = model.backbone(torch.rand(1, 3, HEIGHT, WIDTH))
    with EventStorage() as storage:
        heads(images, features, [proposal], [row(TWO)["instances"]])
    assert [b[0] for b in boxes] == [m[0] for m in masks] == [0, 1, 2]

    before = near
    for stage, threshold in enumerate(THRESHOLDS):
        (_, sampled, (_, deltas)), (_, objects, pooled_masks) = boxes[stage], masks[stage]
        taken = sampled.proposal_boxes.tensor
        own = _contained(taken, truth)  # the objects' own boxes are sampled, too
        assert _contained(taken[~own], before).all() and (~own).sum() > 0
        best, which = _ious(taken, truth).max(dim=1)
        expected = torch.where(best >= threshold, which, 3)  # 3: background
        assert torch.equal(sampled.gt_classes, expected)
        positive = (expected < 3).sum().item()
        assert 0 < positive <= 15 and len(taken) <= 60
        assert storage.latest()[f"stage{stage}/roi_head/num_fg_samples"][0] == positive

        moved_boxes = moved(taken, deltas, STAGES[stage], (HEIGHT, WIDTH))[~own]
        learnt = objects.proposal_boxes.tensor
        if refined:
            assert _contained(learnt, torch.cat([moved_boxes, truth])).all()
        else:
            assert torch.equal(learnt, taken[expected < 3])
        best, which = _ious(learnt, truth).max(dim=1)
        assert (best >= threshold).all() and torch.equal(objects.gt_classes, which)
        assert len(pooled_masks) == len(learnt) == len(objects.gt_masks) <= 15
        before = moved_boxes
