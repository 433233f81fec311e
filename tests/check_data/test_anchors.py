"""How anchors fit objects: values counted by hand, and against Detectron2's own anchors."""

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.structures import Boxes, pairwise_iou
from helpers.coco_content import content_of

from hrnet_det.check_data.anchors import Level, Scale, anchor_levels, fit, training_scale
from hrnet_det.config.load import load_run
from hrnet_det.data.statistics import Statistics


def levels_of(config):
    return anchor_levels(load_run(config))


def statistics(*images):
    return Statistics.of(content_of(*images))


def test_anchors_of_each_kind_of_config():
    yaml = levels_of("hrnetv2p_faster_rcnn.yaml")
    lazy = levels_of("COCO-Detection/faster_rcnn_hrnetv2p_w32_1x.py")
    for levels in (yaml, lazy):
        assert [level.stride for level in levels] == [4, 8, 16, 32, 64]
        assert [level.sides for level in levels] == [[32], [64], [128], [256], [512]]
        assert all(level.boxes.shape == (3, 4) for level in levels)
    dense = levels_of("COCO-Detection/retinanet_hrnetv2p_w18_1x.yaml")
    assert [level.stride for level in dense] == [8, 16, 32, 64, 128]
    assert dense[0].sides == [32, 40, 51]
    assert [len(level.boxes) for level in dense] == [9] * 5
    assert levels_of("COCO-Detection/fcos_hrnetv2p_w18_1x.yaml") == []
    assert levels_of("COCO-Detection/fcos_hrnetv2p_w18_1x.py") == []
    (single,) = levels_of("COCO-Detection/faster_rcnn_hrnetv1_w32_1x.yaml")
    assert single.sides == [32, 64, 128, 256, 512]


@pytest.mark.parametrize(
    ("config", "overrides", "scale"),
    [
        ("hrnetv2p_faster_rcnn.yaml", (), Scale(800, 1333)),
        ("hrnetv2p_faster_rcnn.yaml", ("INPUT.MIN_SIZE_TRAIN", "(480, 640)"), Scale(640, 1333)),
        ("hrnetv2p_faster_rcnn.yaml", ("INPUT.SCALES_TRAIN", "[[400, 600]]"), Scale(400, 600)),
        ("COCO-Detection/faster_rcnn_hrnetv2p_w32_1x.py", (), Scale(800, 1333)),
    ],
)
def test_the_scale_of_training(config, overrides, scale):
    assert training_scale(load_run(config, overrides)) == scale


def test_sides_after_resizing_are_those_of_the_resizing():
    sides = np.array([[480, 640], [300, 1000], [101, 77], [480, 640]])
    found = Scale(800, 1333).resized(sides)
    resize = T.ResizeShortestEdge(800, 1333)
    images = [np.zeros((height, width), np.uint8) for height, width in sides]
    expected = [resize.get_transform(image).apply_image(image).shape for image in images]
    assert found.tolist() == [list(size) for size in expected]
    assert Scale(0, 1333).resized(sides).tolist() == sides.tolist()
    assert Scale(400, 600, "opencv").resized(np.array([[300, 1000]])).tolist() == [[180, 600]]


def test_best_anchors_counted_by_hand():
    # Images keep their size; anchors of 32 pixels lie around multiples of 4.
    width, height = 32 * 2**0.5, 32 / 2**0.5
    boxes = [
        (0, 0, 32, 32),  # as the anchor around 16, 16
        (0, 0, 16, 16),  # a quarter of the one around 8, 8
        (1, 0, 32, 32),  # a pixel aside: 31 x 32 of 33 x 32
        (64, 64, 64, 64),  # as one of the second level
        (40 - width / 2, 20 - height / 2, width, height),  # as the flat shape around 40, 20
    ]
    levels = levels_of("hrnetv2p_faster_rcnn.yaml")
    found = fit(statistics(((256, 256), boxes)), Scale(256, 256), levels)
    assert found.ious == pytest.approx([1, 0.25, 31 / 33, 1, 1])
    assert found.levels.tolist() == [0, 0, 0, 1, 0]
    assert found.sides == pytest.approx([32, 16, 32, 64, 32])


def test_best_anchors_are_those_of_detectron2():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 200, (40, 2))
    size = np.minimum(rng.uniform(4, 150, (40, 2)), [320, 256] - low)
    boxes = np.concatenate([low, size], axis=1).tolist()
    strides = [8, 16, 32]
    generator = DefaultAnchorGenerator(
        sizes=[[24], [48, 60], [100]],
        aspect_ratios=[[0.5, 1.0, 3.0]],
        strides=strides,
        offset=0.5,
    )
    levels = [
        Level(stride, 0.5 * stride, cells.double().numpy())
        for stride, cells in zip(strides, generator.cell_anchors, strict=True)
    ]
    found = fit(statistics(((256, 320), boxes)), Scale(256, 320), levels)
    maps = [torch.zeros(1, 1, 256 // stride, 320 // stride) for stride in strides]
    true = Boxes(torch.tensor(np.concatenate([low, low + size], axis=1)).float())
    ious = [pairwise_iou(true, anchors).max(dim=1).values for anchors in generator(maps)]
    best, number = torch.stack(ious).max(dim=0)
    assert found.ious == pytest.approx(best.numpy(), abs=1e-5)
    assert found.levels.tolist() == number.tolist()


def test_objects_grow_with_their_image():
    found = fit(statistics(((100, 200), [(10, 10, 20, 10)])), Scale(200, 1000), [])
    assert found.sizes.tolist() == [[40, 20]]
    assert np.isnan(found.ious).all()


def test_a_very_long_image_keeps_a_pixel_as_in_training():
    """1x3000 by 1333 / 3000 would be 0.4 pixels high."""
    assert Scale(800, 1333).resized(np.array([[1.0, 3000.0]])).tolist() == [[1.0, 1333.0]]
