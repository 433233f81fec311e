"""INPUT.RESIZE: sizes and pixels as the code bases of the published weights have them."""

import sys
from fractions import Fraction

import cv2
import numpy as np
import pytest
from detectron2.data import transforms as T
from helpers.legacy_reference import resized_size
from PIL import Image

from hrnet_det import get_cfg
from hrnet_det.data.mapper import build_mapper
from hrnet_det.data.random_geometry import RandomVerticalFlip
from hrnet_det.data.transforms import (
    CompatResize,
    OpenCVResizeTransform,
    floored_sides,
    nearest_sides,
    with_resize_rule,
)
from hrnet_det.errors import InputError

NO_OPENCV = (
    "INPUT.RESIZE opencv needs OpenCV: pip install opencv-python-headless (or, where images are "
    "shown in windows, opencv-python)"
)
PLAIN = T.ResizeShortestEdge(32, 48)


def image(height=48, width=64, channels=3):
    """Noise: where pixels are skipped or averaged, it shows. (H, W, channels) uint8."""
    shape = (height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def config(resize, *, train=(32,), test=32, longest=1000):
    cfg = get_cfg()
    cfg.INPUT.RESIZE = resize
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN = train, longest
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = test, longest
    return cfg


# --- sizes ---


@pytest.mark.parametrize(
    ("size", "nearest", "floored"),
    [
        ((480, 640), (800, 1067), (800, 1066)),  # 640 / 480 * 800 = 1066.67
        ((640, 480), (1067, 800), (1066, 800)),
        ((427, 640), (800, 1199), (800, 1199)),  # 1199.06
        ((600, 600), (800, 800), (800, 800)),
        ((800, 1000), (800, 1000), (800, 1000)),
        # 3 * 800 is more than 1333: 1333 / 3 = 444.33, then 1333 again, or 3 * 444
        ((200, 600), (444, 1333), (444, 1332)),
        ((600, 200), (1333, 444), (1332, 444)),
        # 1333 / 640 * 300 = 624.84: the shorter side is rounded, and the longer one exceeds 1333
        ((300, 640), (625, 1333), (625, 1333)),
        ((333, 500), (800, 1201), (800, 1201)),  # 1201.2
        ((1, 2000), (1, 1333), (1, 2000)),  # 0.67; then 1 * 2000 / 1
    ],
)
def test_sizes_worked_out_by_hand(size, nearest, floored):
    assert nearest_sides(*size, 800, 1333) == nearest
    assert floored_sides(*size, 800, 1333) == floored


@pytest.mark.parametrize(
    ("rule", "source"),
    [(nearest_sides, "hrnet_object_detection"), (floored_sides, "maskrcnn_benchmark")],
)
@pytest.mark.parametrize(("shortest", "longest"), [(800, 1333), (480, 640), (37, 1000)])
def test_sizes_are_those_of_the_source(rule, source, shortest, longest):
    sizes = [(h, w) for h in range(20, 1400, 23) for w in range(20, 1400, 19)]
    ours = [rule(*size, shortest, longest) for size in sizes]
    assert ours == [resized_size(source, size, shortest, longest) for size in sizes]
    assert all(isinstance(side, int) for size in ours for side in size)


def test_nearest_sides_are_within_half_a_pixel_of_the_exact_ones():
    for height in range(50, 900, 17):
        for width in range(50, 900, 13):
            low, high = min(height, width), max(height, width)
            scale = min(Fraction(800, low), Fraction(1333, high))
            new_height, new_width = nearest_sides(height, width, 800, 1333)
            assert abs(new_height - height * scale) <= Fraction(1, 2)
            assert abs(new_width - width * scale) <= Fraction(1, 2)


# --- OpenCV's pixels ---


@pytest.mark.parametrize("size", [(24, 32), (17, 90), (96, 128)])
def test_opencv_resizes_whole_levels_as_opencv_does(size):
    img = image()
    before = img.copy()
    resized = OpenCVResizeTransform(48, 64, *size).apply_image(img)
    assert (resized.shape, resized.dtype) == ((*size, 3), np.uint8)
    assert np.array_equal(resized, cv2.resize(img, size[::-1], interpolation=cv2.INTER_LINEAR))
    assert np.array_equal(img, before)


def test_opencv_skips_pixels_where_pillow_averages_them():
    img = image()
    ours = OpenCVResizeTransform(48, 64, 12, 16).apply_image(img)
    # a quarter: from the 4 x 4 pixels under one of the result, the middle 2 x 2 are taken
    blocks = img.reshape(12, 4, 16, 4, 3)[:, 1:3, :, 1:3].astype(float).mean(axis=(1, 3))
    assert np.abs(ours - blocks).max() <= 0.5
    pillow = np.asarray(Image.fromarray(img).resize((16, 12), Image.BILINEAR))
    assert np.abs(ours.astype(int) - pillow).mean() > 10
    # and halving, where OpenCV takes all four
    ours = OpenCVResizeTransform(48, 64, 24, 32).apply_image(img).astype(int)
    pillow = np.asarray(Image.fromarray(img).resize((32, 24), Image.BILINEAR)).astype(int)
    assert np.abs(ours - pillow).mean() > 1


def test_as_float_keeps_what_lies_between_the_levels():
    img = image()
    resized = OpenCVResizeTransform(48, 64, 31, 41, as_float=True).apply_image(img)
    assert (resized.shape, resized.dtype) == ((31, 41, 3), np.float32)
    assert np.array_equal(resized, cv2.resize(img.astype(np.float32), (41, 31)))
    assert (resized != resized.round()).mean() > 0.9
    whole = OpenCVResizeTransform(48, 64, 31, 41).apply_image(img)
    assert 0 < np.abs(resized - whole).max() < 1


@pytest.mark.parametrize("as_float", [False, True])
def test_one_channel_stays_a_channel(as_float):
    img = image(channels=1)
    resize = OpenCVResizeTransform(48, 64, 24, 40, as_float=as_float)
    assert resize.apply_image(img).shape == (24, 40, 1)
    assert resize.apply_image(img[:, :, 0]).shape == (24, 40)
    assert np.array_equal(resize.apply_image(img)[:, :, 0], resize.apply_image(img[:, :, 0]))


def test_channels_turned_round_by_a_view():
    img = image()  # the way Detectron2 reads BGR
    resize = OpenCVResizeTransform(48, 64, 24, 40)
    assert np.array_equal(resize.apply_image(img[:, :, ::-1]), resize.apply_image(img)[:, :, ::-1])


def test_boxes_polygons_and_points_follow_the_image():
    resize = OpenCVResizeTransform(48, 64, 24, 128)  # y / 2, x * 2
    boxes = np.array([[0.0, 0.0, 64.0, 48.0], [3.0, 10.0, 4.5, 20.0]])
    assert resize.apply_box(boxes).tolist() == [[0, 0, 128, 24], [6, 5, 9, 10]]
    (polygon,) = resize.apply_polygons([np.array([[1.0, 2.0], [30.0, 7.0], [8.0, 40.0]])])
    assert polygon.tolist() == [[2, 1], [60, 3.5], [16, 20]]
    assert resize.apply_coords(np.array([[5.0, 5.0]])).tolist() == [[10, 2.5]]


@pytest.mark.parametrize("as_float", [False, True])
def test_labels_of_a_segmentation_stay_labels(as_float):
    labels = np.zeros((48, 64), np.uint8)
    labels[:, 32:], labels[24:, :16] = 200, 7
    resized = OpenCVResizeTransform(48, 64, 24, 32, as_float=as_float).apply_segmentation(labels)
    assert (resized.dtype, resized.shape) == (np.uint8, (24, 32))
    expected = np.zeros((24, 32), np.uint8)
    expected[:, 16:], expected[12:, :8] = 200, 7
    assert np.array_equal(resized, expected)
    enlarged = OpenCVResizeTransform(48, 64, 100, 111, as_float).apply_segmentation(labels)
    assert set(np.unique(enlarged)) == {0, 7, 200}


@pytest.mark.parametrize("as_float", [False, True])
def test_the_inverse_goes_back(as_float):
    back = OpenCVResizeTransform(48, 64, 24, 40, as_float=as_float).inverse()
    assert (back.height, back.width, back.new_height, back.new_width) == (24, 40, 48, 64)
    assert back.as_float is as_float
    assert back.apply_image(image(24, 40)).shape == (48, 64, 3)
    assert back.apply_box(np.array([[0.0, 0.0, 40.0, 24.0]])).tolist() == [[0, 0, 64, 48]]


# --- INPUT.RESIZE ---


@pytest.mark.parametrize(
    ("name", "size", "dtype"),
    [
        ("opencv", (32, 43), np.uint8),  # 64 / 48 * 32 = 42.67
        ("opencv_float", (32, 43), np.float32),
        ("pillow_floor", (32, 42), np.uint8),
    ],
)
def test_each_way_to_resize(name, size, dtype):
    img = image()
    augmentation = with_resize_rule(PLAIN, name)
    assert type(augmentation) is CompatResize
    resized = augmentation.get_transform(img).apply_image(img)
    assert (resized.shape, resized.dtype) == ((*size, 3), dtype)
    if name == "pillow_floor":
        expected = np.asarray(Image.fromarray(img).resize(size[::-1], Image.BILINEAR))
    else:
        expected = cv2.resize(img.astype(dtype), size[::-1])
    assert np.array_equal(resized, expected)


def test_pillow_resizes_as_detectron2s_own():
    mapper = build_mapper(config("pillow"), is_train=False)
    (resize,) = mapper.augmentations.augs
    assert isinstance(resize, T.ResizeShortestEdge)
    image = np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    expected = PLAIN.get_transform(image).apply_image(image)
    found = with_resize_rule(PLAIN, "pillow").get_transform(image).apply_image(image)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["opencv", "opencv_float", "pillow_floor"])
def test_what_is_no_resize_shortest_edge_stays(name):
    for augmentation in (T.RandomFlip(), T.Resize((3, 4)), T.FixedSizeCrop((3, 4))):
        assert with_resize_rule(augmentation, name) is augmentation


@pytest.mark.parametrize("augmentation", [PLAIN, T.RandomFlip()])
def test_an_unknown_way_to_resize_lists_the_known_ones(augmentation):
    message = "unknown INPUT.RESIZE 'cv2'; known: pillow, opencv, opencv_float, pillow_floor"
    with pytest.raises(InputError) as error:
        with_resize_rule(augmentation, "cv2")
    assert str(error.value) == message
    with pytest.raises(InputError) as error:
        build_mapper(config("cv2"), is_train=True)
    assert str(error.value) == message


@pytest.mark.parametrize("name", ["opencv", "opencv_float"])
def test_opencv_is_missed_before_any_image(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    for build in (
        lambda: with_resize_rule(PLAIN, name),
        lambda: build_mapper(config(name), is_train=True),
        lambda: build_mapper(config(name), is_train=False),
    ):
        with pytest.raises(InputError) as error:
            build()
        assert str(error.value) == NO_OPENCV


@pytest.mark.parametrize("name", ["pillow", "pillow_floor"])
def test_pillow_does_without_opencv(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    img = image()
    resized = with_resize_rule(PLAIN, name).get_transform(img).apply_image(img)
    assert resized.shape[0] == 32


def test_a_shortest_side_of_0_leaves_the_image():
    img = image()
    resize = with_resize_rule(T.ResizeShortestEdge(0, 100), "opencv").get_transform(img)
    assert resize.apply_image(img) is img


@pytest.mark.parametrize(
    ("lengths", "style", "allowed"),
    [((20, 30, 40), "choice", {20, 30, 40}), ((20, 24), "range", {20, 21, 22, 23, 24})],
)
def test_the_shortest_side_is_drawn_as_detectron2_draws_it(lengths, style, allowed):
    np.random.seed(0)
    resize = with_resize_rule(T.ResizeShortestEdge(lengths, 1000, style), "opencv")
    drawn = {resize.get_transform(image()).new_height for _ in range(60)}
    assert drawn == allowed


# --- the mapper ---


@pytest.fixture
def row(tmp_path):
    """An image of a dataset: 48 x 64, with one box."""
    Image.fromarray(image()).save(tmp_path / "noise.png")
    box = {"bbox": [6, 12, 18, 36], "bbox_mode": 0, "category_id": 0}
    return {
        "file_name": str(tmp_path / "noise.png"),
        "height": 48,
        "width": 64,
        "annotations": [box],
    }


@pytest.mark.parametrize("pixels", ["RGB", "BGR"])
@pytest.mark.parametrize("is_train", [False, True])
def test_the_mapper_resizes_with_it(row, is_train, pixels):
    cfg = config("opencv", train=(24,), test=24)
    cfg.INPUT.FORMAT, cfg.INPUT.RANDOM_FLIP = pixels, "none"
    mapped = build_mapper(cfg, is_train=is_train)(row)
    expected = cv2.resize(image(), (32, 24))
    expected = expected if pixels == "RGB" else expected[:, :, ::-1]
    assert np.array_equal(mapped["image"].permute(1, 2, 0).numpy(), expected)
    if is_train:
        assert mapped["instances"].gt_boxes.tensor.tolist() == [[3, 6, 9, 18]]
    else:
        assert "instances" not in mapped


def test_the_mapper_keeps_the_crop_and_the_flip():
    cfg = config("opencv_float", train=(24, 32))
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.RANDOM_FLIP = "vertical"
    crop, resize, flip = build_mapper(cfg, is_train=True).augmentations.augs
    assert [type(crop), type(resize)] == [T.RandomCrop, CompatResize]
    assert type(flip) is RandomVerticalFlip
    assert (crop.crop_size, flip.vertical) == (cfg.INPUT.CROP.SIZE, True)
    assert (resize.plain.short_edge_length, resize.plain.max_size) == ((24, 32), 1000)
    (resize,) = build_mapper(cfg, is_train=False).augmentations.augs
    assert type(resize) is CompatResize


@pytest.mark.parametrize("rule", ["pillow", "opencv", "opencv_float", "pillow_floor"])
@pytest.mark.parametrize("size", [(2, 3000), (1, 3000), (3000, 1)])
def test_a_very_long_image_keeps_a_pixel(rule, size):
    """2x3000 by 1333 / 3000 would be 0.9 pixels high, 1x3000 0.4."""
    resize = with_resize_rule(T.ResizeShortestEdge([800], 1333, "choice"), rule)
    image = np.zeros((*size, 3), np.uint8)
    resized = resize.get_transform(image).apply_image(image)
    assert min(resized.shape[:2]) == 1
    if rule != "pillow_floor":  # whose longer side follows the rounded shorter one
        assert max(resized.shape[:2]) == 1333
