"""A small detector of each of the quickstart's configs, and rows that it learns from."""

from functools import cache

import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances, Keypoints
from detectron2.utils.events import EventStorage

from hrnet_det import model_zoo
from hrnet_det.modeling.meta_arch.panoptic_deeplab import WEIGHTS
from hrnet_det.modeling.meta_arch.panoptic_project import panoptic_project
from tools.matrix import matrix_configs

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
MODEL.SEM_SEG_HEAD.ASPP_CHANNELS 32
MODEL.INS_EMBED_HEAD.CONVS_DIM 32
MODEL.INS_EMBED_HEAD.ASPP_CHANNELS 32
SOLVER.WARMUP_ITERS 0
SOLVER.BASE_LR 0.001
""".split()  # noqa: SIM905
KINDS = [name.removeprefix("quickstart/").removesuffix(".yaml") for name in matrix_configs()]
HEIGHT, WIDTH = 96, 128  # pixels
BOXES = [[8.0, 10.0, 40.0, 50.0], [70.0, 30.0, 110.0, 80.0]]
NOTHING = torch.zeros(0, 4)


def config(kind, classes=2):
    words = [f"MODEL.{group}.NUM_CLASSES" for group in ("ROI_HEADS", "RETINANET", "FCOS")]
    words = [word for key in words for word in (key, str(classes))]
    words += ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", str(classes + 1)]
    words += ["MODEL.PANOPTIC_DEEPLAB.THING_CLASSES", str(list(range(1, classes + 1)))]
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


def image(boxes, classes=2):
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
    row = {"image": image.float(), "instances": instances, "sem_seg": sem_seg, **size}
    return row | _panoptic_targets(masks, numbers)


def _panoptic_targets(masks, numbers):
    """What Panoptic-DeepLab learns from beside "sem_seg": each box a segment, the ground one."""
    ids = np.ones(masks.shape[1:], np.int64)
    for n, mask in enumerate(masks.numpy()):
        ids[mask] = n + 2
    kinds = enumerate([0, *(numbers + 1).tolist()], start=1)
    segments = [{"id": n, "category_id": kind, "iscrowd": 0} for n, kind in kinds]
    generator = panoptic_project().target_generator.PanopticDeepLabTargetGenerator
    things = range(1, len(numbers) + 1)
    made = generator(255, things, sigma=4, ignore_stuff_in_offset=True)(ids, segments)
    return {key: made[key] for key in (*WEIGHTS, "center", "offset")}


def loss(model, rows):
    with EventStorage():
        losses = model(rows)
    assert losses and all(torch.isfinite(value) for value in losses.values()), losses
    return sum(losses.values())
