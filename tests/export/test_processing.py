"""What a graph does before and after the detector, beside what it stands for."""

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.layers import paste_masks_in_image
from detectron2.structures.keypoints import heatmaps_to_keypoints
from helpers.detectors import config
from PIL import Image
from torch import nn
from torchvision.ops import boxes as box_ops

from hrnet_det.config.load import as_run
from hrnet_det.data import transforms
from hrnet_det.data.mapper import build_test_mapper
from hrnet_det.errors import InputError
from hrnet_det.export import processing, resizing
from hrnet_det.export.pasting import keypoints_of, paste
from hrnet_det.export.traceable import suppressed, traceable
from hrnet_det.modeling.compat.masks import paste_masks
from hrnet_det.modeling.inference.openvino_form import core

# Of an image and of what it becomes, height and width each: larger and smaller, wide and tall ones,
# by more than twice (which Pillow 13 begins with the height of), single rows, sides that stay.
SIZES = (
    (48, 64, 80, 107),
    (108, 192, 75, 133),
    (200, 70, 96, 34),
    (70, 200, 34, 96),
    (150, 9, 13, 80),
    (90, 40, 90, 17),
    (1, 50, 3, 133),
    (65, 33, 1, 1),
    (60, 60, 60, 60),
)


PILLOW = resizing.installed_pillow()


def photo(height, width, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3), dtype=np.uint8)


def by_pillow(image, height, width):
    return np.asarray(Image.fromarray(image).resize((width, height), Image.BILINEAR))


def by_opencv(image, height, width):
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize(
    ("ours", "theirs", "apart"),
    [
        (PILLOW, by_pillow, 0),
        (resizing.opencv, by_opencv, 0),
        (resizing.opencv_float, lambda image, *new: by_opencv(image.astype("float32"), *new), 1e-3),
    ],
)
def test_resizing_is_the_library_s(ours, theirs, apart):
    for size in SIZES:
        image, new = photo(*size[:2]), size[2:]
        found = ours(torch.from_numpy(image), tuple(map(torch.tensor, new))).numpy()
        expected = theirs(image, *new).astype("float32")
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= apart, size


def test_pillow_begins_with_the_width_or_where_it_is_13_with_the_longer_way():
    """Written down from both: with few columns less and many rows less it is the height."""
    image, new = photo(200, 70), (torch.tensor(96), torch.tensor(34))
    by_width, by_height = (
        resizing.pillow(torch.from_numpy(image), new),
        resizing.pillow_13(torch.from_numpy(image), new),
    )
    turned = resizing.pillow(torch.from_numpy(image).permute(1, 0, 2), new[::-1])
    assert torch.equal(by_height, turned.permute(1, 0, 2))
    assert (by_width - by_height).abs().max() == 1
    wide = torch.from_numpy(photo(70, 200))
    assert torch.equal(resizing.pillow(wide, new[::-1]), resizing.pillow_13(wide, new[::-1]))


class Resize(nn.Module):
    """With what its size becomes, as the detector after it sees it."""

    def __init__(self, resize):
        super().__init__()
        self.resize = resize

    def forward(self, image):
        sides = processing.shortest_edge_sides(*resizing.sides_of(image), 60, 100)
        resized = self.resize(image, sides)
        return resized, torch.stack([torch.as_tensor(side) for side in resized.shape])


@pytest.mark.parametrize(
    ("ours", "theirs"), [(PILLOW, by_pillow), (resizing.opencv, by_opencv), (resizing.pillow, None)]
)
def test_engines_resize_to_the_same_levels(tmp_path, ours, theirs):
    """One graph for all sizes, whose numbers are exact: not a level differs in any engine."""
    path = str(tmp_path / "resize.onnx")
    options = {"dynamo": False, "opset_version": 18, "dynamic_axes": {"image": {0: "h", 1: "w"}}}
    image = torch.from_numpy(photo(50, 70))
    torch.onnx.export(Resize(ours), (image,), path, input_names=["image"], **options)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core().compile_model(path, "CPU", hint)
    for height, width in ((50, 70), (200, 70), (41, 333), (120, 90), (7, 500)):
        image = photo(height, width, seed=height)
        sides = T.ResizeShortestEdge.get_output_shape(height, width, 60, 100)
        if theirs is None:
            expected = ours(torch.from_numpy(image), tuple(map(torch.tensor, sides))).numpy()
        else:
            expected = theirs(image, *sides)
        found = compiled(image)
        for levels, shape in (session.run(None, {"image": image}), (found[0], found[1])):
            assert np.array_equal(levels, expected) and shape.tolist() == [*sides, 3]


def test_sides_are_the_mapper_s():
    """But for what lies between two whole numbers: Detectron2 rounds 0.02 % of these down."""
    sides = torch.arange(5, 1500, 13)
    height, width = (x.reshape(-1) for x in torch.meshgrid(sides, sides + 2, indexing="ij"))
    pairs = list(zip(height.tolist(), width.tolist(), strict=True))
    for limits in ((800, 1333), (64, 96)):
        for ours, theirs, most in (
            (processing.shortest_edge_sides, T.ResizeShortestEdge.get_output_shape, 5),
            (processing.nearest_sides, transforms.nearest_sides, 5),
            (processing.floored_sides, transforms.floored_sides, 0),
        ):
            found = torch.stack(ours(height, width, *limits), dim=1).numpy()
            expected = np.array([theirs(*pair, *limits) for pair in pairs]).clip(1)
            assert (found != expected).any(axis=1).sum() <= most
            assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("resize", ["pillow", "opencv", "opencv_float", "pillow_floor"])
def test_a_run_s_images_are_those_of_its_test_mapper(resize):
    run = as_run(config("faster", "INPUT.RESIZE", resize))
    ours, mapper = processing.resizing_of(run), build_test_mapper(run)
    for height, width in ((50, 70), (200, 90), (31, 333)):
        image = photo(height, width)
        given = T.AugInput(image)
        mapper.augmentations(given)
        found, scale = ours(torch.from_numpy(image))
        assert np.abs(found.numpy() - given.image).max() <= (1e-4 if "float" in resize else 0)
        new = given.image.shape
        expected = (new[1] / width, new[0] / height)
        assert np.allclose([float(x) for x in scale], expected, rtol=1e-6)


def test_what_is_not_resized_stays():
    run = as_run(config("faster", "INPUT.MIN_SIZE_TEST", "0"))
    image = torch.from_numpy(photo(33, 44))
    found, scale = processing.resizing_of(run)(image)
    assert torch.equal(found, image.float()) and scale == (1.0, 1.0)


def test_a_mapper_that_does_more_is_refused(monkeypatch):
    mapper = build_test_mapper(as_run(config("faster")))
    mapper.augmentations = T.AugmentationList([T.ResizeShortestEdge(64, 96), T.RandomFlip()])
    monkeypatch.setattr(processing, "build_test_mapper", lambda run: mapper)
    with pytest.raises(InputError, match=r"ResizeShortestEdge, RandomFlip.*--processing outside"):
        processing.resizing_of(as_run(config("faster")))


BOXES = torch.tensor(
    [[10.3, 4.2, 50.9, 40.1], [-3.0, 20.0, 30.5, 90.0], [0.0, 0.0, 80.0, 60.0], [5, 5, 5.4, 5.3]]
)


def random_masks():
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(len(BOXES), 1, 6, 6, generator=generator)
    return nn.functional.interpolate(coarse, (28, 28), mode="bicubic")[:, 0].clamp(0, 1)


@pytest.mark.parametrize("most", [0, 4, 100])
def test_masks_are_detectron2_s(most):
    masks = random_masks()
    found = paste(masks, BOXES, (60, 80), most=most)
    expected = paste_masks_in_image(masks, BOXES, (60, 80), threshold=0.5)
    assert found.shape == expected.shape and found.dtype == torch.bool
    assert expected[:3].flatten(1).any(dim=1).all()
    assert torch.equal(found, expected)


@pytest.mark.parametrize("method", ["grid", "box", "padded_box"])
def test_masks_are_those_of_the_conventions(method):
    masks = random_masks()
    found = paste(masks, BOXES, (60, 80), method=method, most=10)
    assert torch.equal(found, paste_masks(masks, BOXES, 60, 80, method))


def test_no_masks_are_none():
    found = paste(torch.zeros(0, 28, 28), torch.zeros(0, 4), (60, 80), most=20)
    assert found.shape == (0, 60, 80) and found.dtype == torch.bool


@pytest.mark.parametrize("most", [0, 6, 30])
def test_keypoints_are_detectron2_s(most):
    generator = torch.Generator().manual_seed(2)
    coarse = torch.randn(6, 3, 8, 8, generator=generator)
    maps = nn.functional.interpolate(coarse, (56, 56), mode="bicubic") * 4
    boxes = torch.tensor(
        [[3.2, 4.1, 20.7, 99.6], [0, 0, 200, 30], [5, 5, 5.3, 5.2], [7, 8, 63, 64],
         [1, 2, 300.5, 150.25], [0, 0, 56, 56]]
    )  # fmt: skip
    found, expected = keypoints_of(maps, boxes, most=most), heatmaps_to_keypoints(maps, boxes)
    assert found.shape == (6, 3, 4)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_keypoints_of_no_object():
    assert keypoints_of(torch.zeros(0, 3, 56, 56), torch.zeros(0, 4), most=10).shape == (0, 3, 4)


def test_suppression_is_torchvision_s():
    generator = torch.Generator().manual_seed(3)
    boxes = torch.rand(200, 4, generator=generator) * 60
    boxes[:, 2:] += boxes[:, :2] + 5
    scores, labels = torch.rand(200, generator=generator), torch.arange(200) % 3
    expected = box_ops._batched_nms_vanilla(boxes, scores, labels, 0.5)
    assert 0 < len(expected) < 200
    assert torch.equal(suppressed(boxes, scores, labels, 0.5), expected)
    below = boxes - 100  # torchvision's own way needs coordinates from 0 on
    expected = box_ops._batched_nms_vanilla(below, scores, labels, 0.5)
    assert torch.equal(suppressed(below, scores, labels, 0.5), expected)
    assert not len(suppressed(boxes[:0], scores[:0], labels[:0], 0.5))


def test_what_is_replaced_comes_back():
    from detectron2.modeling.roi_heads import keypoint_head, mask_head

    before = box_ops.batched_nms, keypoint_head.heatmaps_to_keypoints
    with pytest.raises(RuntimeError), traceable(10):
        assert box_ops.batched_nms is suppressed and "len" in vars(mask_head)
        raise RuntimeError
    assert (box_ops.batched_nms, keypoint_head.heatmaps_to_keypoints) == before
    assert "len" not in vars(mask_head)
