"""Cityscapes' own scripts with the NumPy of today: results counted by hand."""

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Instances
from helpers.coco_shape import CAR, HEIGHT, WIDTH, datasets_at, write_cityscapes

from hrnet_det.evaluation.dropped_names import CityscapesInstances, CityscapesSemanticLabels

SKY, ROAD, CAR_LABEL = 10, 0, 13  # train ids


@pytest.fixture
def image(tmp_path):
    """The file of Cityscapes' one validation image."""
    write_cityscapes(tmp_path)
    with datasets_at(tmp_path):
        yield str(next((tmp_path / "cityscapes/leftImg8bit/val").rglob("*.png")))


def result_of(evaluator, image, outputs):
    evaluator.reset()
    evaluator.process([{"file_name": image}], [outputs])
    return evaluator.evaluate()


@pytest.mark.parametrize(
    ("car", "iou"), [(True, 100.0), (False, (100 + 100 * (6144 - 1200) / 6144 + 0) / 3)]
)
def test_semantic_labels(car, iou, image):
    """IoU of sky, road, car: the car covers 1200 of the 6144 pixels below the sky."""
    labels = torch.full((HEIGHT, WIDTH), ROAD)
    labels[: HEIGHT // 2] = SKY
    if car:
        labels[CAR] = CAR_LABEL
    scores = torch.nn.functional.one_hot(labels, 19).permute(2, 0, 1).float()
    evaluator = CityscapesSemanticLabels("cityscapes_fine_sem_seg_val")
    found = result_of(evaluator, image, {"sem_seg": scores})["sem_seg"]["IoU"]
    assert found == pytest.approx(iou, abs=1e-3)
    assert not hasattr(np, "float")


def test_instances(image):
    masks = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool)
    masks[0][CAR] = True
    classes = MetadataCatalog.get("cityscapes_fine_instance_seg_val").thing_classes
    objects = Instances(
        (HEIGHT, WIDTH),
        scores=torch.ones(1),
        pred_classes=torch.tensor([classes.index("car")]),
        pred_masks=masks,
    )
    evaluator = CityscapesInstances("cityscapes_fine_instance_seg_val")
    assert result_of(evaluator, image, {"instances": objects})["segm"]["AP"] == pytest.approx(100)
