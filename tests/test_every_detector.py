"""Every kind of detector: what it learns from, and what must not stop it."""

from functools import cache

import numpy as np
import pytest
import torch
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances, Keypoints
from detectron2.utils.events import EventStorage
from PIL import Image

from hrnet_det import model_zoo
from hrnet_det.data.resize import build_mapper
from hrnet_det.engine.matrix import matrix_configs
from hrnet_det.engine.optimizer import build_optimizer

SMALL = """
MODEL.DEVICE cpu
MODEL.HRFPN.OUT_CHANNELS 32
MODEL.RPN.CONV_DIMS [32]
MODEL.RPN.POST_NMS_TOPK_TRAIN 50
MODEL.RPN.BATCH_SIZE_PER_IMAGE 64
MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE 32
MODEL.ROI_BOX_HEAD.FC_DIM 32
MODEL.ROI_MASK_HEAD.CONV_DIM 16
MODEL.ROI_MASK_HEAD.NUM_CONV 1
MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS [16]
MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS 2
MODEL.SEM_SEG_HEAD.CONVS_DIM 32
SOLVER.WARMUP_ITERS 0
SOLVER.BASE_LR 0.002
""".split()  # noqa: SIM905
KINDS = [name.removeprefix("quickstart/").removesuffix(".yaml") for name in matrix_configs()]
HEIGHT, WIDTH = 96, 128  # pixels
BOXES = [[8.0, 10.0, 40.0, 50.0], [70.0, 30.0, 110.0, 80.0]]
NOTHING = torch.zeros(0, 4)


def config(kind, classes=2):
    words = [f"MODEL.{group}.NUM_CLASSES" for group in ("ROI_HEADS", "RETINANET", "FCOS")]
    words = [word for key in words for word in (key, str(classes))]
    words += ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", str(classes + 1)]
    return model_zoo.get_config(f"quickstart/{kind}", [*SMALL, *words])


@cache
def _built(kind, classes):
    torch.manual_seed(0)
    return model_zoo.build_detector(config(kind, classes))


def detector(kind, classes=2):
    """In training mode, with the same weights in every call."""
    model = _built(kind, classes).train()
    state = getattr(model, "_as_built", None)
    if state is None:
        model._as_built = {name: x.clone() for name, x in model.state_dict().items()}
    else:
        model.load_state_dict(state)
    model.zero_grad()
    return model


def picture(boxes, classes=2):
    """A row of Detectron2's mapper: dark ground, a bright box for each object."""
    boxes = torch.as_tensor(boxes, dtype=torch.float32)
    image = torch.randint(40, 80, (3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(len(boxes), HEIGHT, WIDTH, dtype=torch.bool)
    sem_seg = torch.zeros(HEIGHT, WIDTH, dtype=torch.long)
    numbers = torch.arange(len(boxes)) % classes
    for n, (x0, y0, x1, y1) in enumerate(boxes.int().tolist()):
        masks[n, y0:y1, x0:x1] = True
        image[int(numbers[n]), y0:y1, x0:x1] = 220
        sem_seg[y0:y1, x0:x1] = 1 + numbers[n]
    points = torch.stack([boxes[:, :2], boxes[:, 2:] - 1], dim=1)
    points = torch.cat([points, torch.full((len(boxes), 2, 1), 2.0)], dim=2)
    instances = Instances(
        (HEIGHT, WIDTH),
        gt_boxes=Boxes(boxes),
        gt_classes=numbers,
        gt_masks=BitMasks(masks),
        gt_keypoints=Keypoints(points),
    )
    size = {"height": HEIGHT, "width": WIDTH}
    return {"image": image.float(), "instances": instances, "sem_seg": sem_seg, **size}


def loss(model, rows):
    with EventStorage():
        losses = model(rows)
    assert losses and all(torch.isfinite(value) for value in losses.values()), losses
    return sum(losses.values())


def check_step(model, rows):
    """A step whose losses and gradients are numbers."""
    torch.manual_seed(1)
    loss(model, rows).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_falls_on_one_repeated_batch_and_the_model_predicts(kind, monkeypatch):
    model = detector(kind)
    if isinstance(model, DenseDetector):  # divided by a running mean, which falls: fixed here
        monkeypatch.setattr(model, "_ema_update", lambda name, value, *_: 10)
    optimizer = build_optimizer(config(kind), model)
    rows, values = [picture(BOXES), picture(BOXES[:1])], []
    for step in range(7):
        torch.manual_seed(step % 2)  # of the sampling of anchors and proposals
        value = loss(model, rows)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert sum(values[-2:]) < 0.8 * sum(values[:2]), values
    with torch.no_grad():
        (found,) = model.eval()([{"image": rows[0]["image"], "height": 48, "width": 64}])
    if "sem_seg" in found:
        assert found["sem_seg"].shape == (3, 48, 64)
    for key in {"instances", "proposals"} & set(found):
        assert found[key].image_size == (48, 64)
    assert found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "boxes",
    [
        [NOTHING, NOTHING],
        [BOXES, NOTHING],
        [[[5, 5, 6, 6], [0, 0, 1, 1]], [[WIDTH - 1, HEIGHT - 1, WIDTH, HEIGHT]]],
    ],
    ids=["no objects", "one picture without", "single pixels"],
)
def test_it_trains_through(kind, boxes):
    check_step(detector(kind), [picture(of_one) for of_one in boxes])


@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_with_one_class(kind):
    check_step(detector(kind, classes=1), [picture(BOXES, classes=1)])


@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_through_a_picture_of_crowds(kind, tmp_path):
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).save(tmp_path / "crowd.png")
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(tmp_path / "labels.png")
    crowd = {
        "bbox": BOXES[0],
        "bbox_mode": BoxMode.XYXY_ABS,
        "category_id": 0,
        "iscrowd": 1,
        "segmentation": [[8, 10, 40, 10, 40, 50]],
        "keypoints": [0] * 6,
    }
    row = {
        "file_name": str(tmp_path / "crowd.png"),
        "sem_seg_file_name": str(tmp_path / "labels.png"),
        "height": HEIGHT,
        "width": WIDTH,
        "annotations": [crowd],
    }
    cfg = config(kind)
    cfg.INPUT.MASK_FORMAT = "bitmask"
    mapped = build_mapper(cfg, is_train=True)(row)
    assert len(mapped["instances"]) == 0
    check_step(detector(kind), [mapped])
