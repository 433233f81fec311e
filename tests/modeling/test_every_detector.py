"""Every kind of detector: what it learns from, and what must not stop it."""

import numpy as np
import pytest
import torch
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.structures import BoxMode
from helpers.quickstart_kinds import (
    BOXES,
    HEIGHT,
    KINDS,
    NOTHING,
    WIDTH,
    config,
    detector,
    image,
    loss,
)
from PIL import Image

from hrnet_det.data.mapper import build_mapper
from hrnet_det.engine.optimizer import build_optimizer


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
    rows, values = [image(BOXES), image(BOXES[:1])], []
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
    ids=["no objects", "one image without", "single pixels"],
)
def test_it_trains_through(kind, boxes):
    check_step(detector(kind), [image(of_one) for of_one in boxes])


@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_with_one_class(kind):
    check_step(detector(kind, classes=1), [image(BOXES, classes=1)])


@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_through_a_image_of_crowds(kind, tmp_path):
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).save(tmp_path / "crowd.png")
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(tmp_path / "labels.png")
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), (7, 0, 0), np.uint8)).save(tmp_path / "ids.png")
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
        "pan_seg_file_name": str(tmp_path / "ids.png"),
        "segments_info": [{"id": 7, "category_id": 1, "iscrowd": 1}],
    }
    cfg = config(kind)
    cfg.INPUT.MASK_FORMAT = "bitmask"
    mapped = build_mapper(cfg, is_train=True)(row)
    if kind == "panoptic_deeplab":
        assert not mapped["center_weights"].any() and not mapped["offset_weights"].any()
    else:
        assert len(mapped["instances"]) == 0
    check_step(detector(kind), [mapped])
