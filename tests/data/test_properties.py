"""What holds for sizes, boxes and augmentations of any image."""

import numpy as np
import pytest
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hrnet_det import get_cfg
from hrnet_det.data.mapper import build_mapper
from hrnet_det.data.random_geometry import RightAngleTransform
from hrnet_det.data.rows import typed
from hrnet_det.data.transforms import with_resize_rule

few = settings(
    max_examples=30,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
sides = st.integers(1, 4000)
RULES = ("pillow", "opencv", "opencv_float", "pillow_floor")


@st.composite
def boxes(draw, height, width):
    """[x0, y0, x1, y1] inside an image, at least half a pixel wide and high."""
    x = sorted(draw(st.lists(st.floats(0, width - 0.5), min_size=2, max_size=2)))
    y = sorted(draw(st.lists(st.floats(0, height - 0.5), min_size=2, max_size=2)))
    return [x[0], y[0], x[1] + 0.5, y[1] + 0.5]


@few
@given(
    height=sides,
    width=sides,
    rule=st.sampled_from(RULES),
    shortest=st.integers(32, 1000),
    more=st.integers(0, 1000),
)
def test_sizes(height, width, rule, shortest, more):
    """A resized image has the shorter side or the longer one, its shape, and whole boxes."""
    longest = shortest + more
    resize = with_resize_rule(T.ResizeShortestEdge(shortest, longest), rule)
    pixel = np.broadcast_to(np.zeros(3, np.uint8), (height, width, 3))
    transform = resize.get_transform(pixel)
    new = np.array([transform.new_h, transform.new_w])
    scale = min(shortest / min(height, width), longest / max(height, width))
    exact = np.array([height, width]) * scale
    # maskrcnn-benchmark rounds the shorter side, and derives the longer one from it.
    rounding = max(height, width) / min(height, width) if rule == "pillow_floor" else 0
    assert np.all(np.abs(new - np.maximum(exact, 1)) <= 1 + rounding)
    assert new.min() >= 1 and new.max() <= longest + rounding
    (box,) = transform.apply_box(np.array([[0.0, 0, width, height]]))
    np.testing.assert_allclose(box, [0, 0, new[1], new[0]], atol=1 if "float" in rule else 1e-6)


@few
@given(data=st.data(), height=st.integers(1, 50), width=st.integers(1, 50))
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_right_angles(turns, data, height, width):
    """Boxes keep their sides and lie in the turned image, and the turn back undoes it."""
    box = np.array(data.draw(boxes(height, width)))
    image = np.arange(height * width).reshape(height, width)
    turn = RightAngleTransform(height, width, turns)
    turned, (moved,) = turn.apply_image(image), turn.apply_box(box[None])
    assert turned.shape == ((width, height) if turns % 2 else (height, width))
    assert moved.min() >= 0 and np.all(moved[2:] <= turned.shape[::-1])
    wide, high = box[2:] - box[:2]
    np.testing.assert_allclose(moved[2:] - moved[:2], (high, wide) if turns % 2 else (wide, high))
    back = turn.inverse()
    np.testing.assert_array_equal(back.apply_image(turned), image)
    np.testing.assert_allclose(back.apply_box(moved[None])[0], box, atol=1e-9)


@few
@given(numbers=st.lists(st.integers(0, 2**20), min_size=4, max_size=4))
def test_typed_boxes(numbers):
    """x, y, width, height become corners, exactly, whatever their size."""
    x, y, width, height = numbers
    annotation = {"bbox": numbers, "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0}
    (found,) = typed({"annotations": [annotation]})["annotations"]
    assert found["bbox"] == [x, y, x + width, y + height]
    assert found["bbox_mode"] == BoxMode.XYXY_ABS and annotation["bbox"] == numbers


SIZES = ((40, 64), (64, 40), (33, 57), (8, 90))  # height, width


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for height, width in SIZES:
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{height}.png")
    return folder


options = st.fixed_dictionaries(
    {},
    optional={
        "CROP": st.floats(0.05, 1),
        "CROP_VISIBLE": st.floats(0, 1),
        "RIGHT_ANGLES": st.floats(0, 1),
        "ROTATION": st.floats(0, 180),
        "BRIGHTNESS": st.floats(0, 1),
        "CONTRAST": st.floats(0, 1),
        "SATURATION": st.floats(0, 1),
        "HUE": st.floats(0, 180),
        "FILL": st.integers(0, 255),
    },
)


@few
@given(
    data=st.data(),
    size=st.sampled_from(SIZES),
    augment=options,
    flip=st.sampled_from(["none", "horizontal", "vertical", "both"]),
    masks=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_augmentations(images, data, size, augment, flip, masks, seed):
    """Objects stay in their image, with a box for each mask; the same seed gives the same."""
    height, width = size
    cfg = get_cfg()
    cfg.INPUT.AUGMENT.update(augment)
    cfg.INPUT.RANDOM_FLIP, cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN = flip, (48,), 96
    cfg.MODEL.MASK_ON, cfg.INPUT.MASK_FORMAT = masks, "bitmask"
    found = data.draw(st.lists(boxes(height, width), max_size=3))
    row = {"file_name": str(images / f"{height}.png"), "height": height, "width": width}
    row["annotations"] = [
        {
            "bbox": box,
            "bbox_mode": BoxMode.XYXY_ABS,
            "category_id": number,
            "segmentation": [[box[0], box[1], box[2], box[1], box[2], box[3], box[0], box[3]]],
        }
        for number, box in enumerate(found)
    ]
    mapper, results = build_mapper(cfg, is_train=True), []
    for _ in range(2):
        np.random.seed(seed)
        results.append(mapper(row))
    one, two = results
    objects, shape = one["instances"], one["image"].shape
    assert shape[0] == 3 and min(shape[1:]) >= 1 and max(shape[1:]) <= 97
    assert objects.image_size == shape[1:] and len(objects) <= len(found)
    corners = objects.gt_boxes.tensor
    assert corners.isfinite().all() and (corners >= 0).all()
    assert (corners[:, 2:] <= corners.new_tensor(shape[:0:-1])).all()
    assert set(objects.gt_classes.tolist()) <= set(range(len(found)))
    if masks and len(objects):
        assert objects.gt_masks.tensor.shape == (len(objects), *shape[1:])
    assert one["image"].equal(two["image"]) and corners.equal(two["instances"].gt_boxes.tensor)
