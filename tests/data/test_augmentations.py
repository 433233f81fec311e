"""Augmentations by keys: boxes, masks, keypoints and labels lie on the objects afterwards."""

import numpy as np
import pytest
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, BoxMode, PolygonMasks, polygons_to_bitmask
from PIL import Image
from pycocotools import mask as coco_mask

from hrnet_det import model_zoo
from hrnet_det.analysis.planning import largest_size
from hrnet_det.config.load import as_run
from hrnet_det.data.checks import check_images
from hrnet_det.data.mapper import build_mapper
from hrnet_det.data.random_geometry import CropKeepingObjects, RightAngleTransform, shares_inside
from hrnet_det.errors import InputError

HEIGHT, WIDTH = 90, 140  # pixels
# Of objects of classes 0, 1, 2, drawn in red, green and blue: x0, y0, x1, y1.
BOXES = ((20, 20, 50, 34), (80, 30, 100, 70), (30, 52, 62, 74))
LEFT, RIGHT = (255, 255, 255), (255, 255, 0)  # colours of the marks at keypoints
MASK, FASTER = "hrnetv2p_mask_rcnn.yaml", "hrnetv2p_faster_rcnn.yaml"
SIZE = ["INPUT.AUGMENT.SCALE_JITTER_SIZE", "[96,128]"]
GEOMETRY = {
    "none": [],
    "both flips": ["INPUT.RANDOM_FLIP", "both"],
    "vertical flip": ["INPUT.RANDOM_FLIP", "vertical"],
    "right angles": ["INPUT.AUGMENT.RIGHT_ANGLES", "0.75"],
    "rotation": ["INPUT.AUGMENT.ROTATION", "180"],
    "crop": ["INPUT.AUGMENT.CROP", "0.5"],
    "crop that cuts": ["INPUT.AUGMENT.CROP", "0.4", "INPUT.AUGMENT.CROP_VISIBLE", "0.5"],
    "jitter": ["INPUT.AUGMENT.SCALE_JITTER", "[0.8,2.0]", *SIZE],
    "all": [
        *("INPUT.RANDOM_FLIP", "both", "INPUT.AUGMENT.RIGHT_ANGLES", "0.75"),
        *("INPUT.AUGMENT.ROTATION", "30", "INPUT.AUGMENT.SCALE_JITTER", "[0.8,1.5]", *SIZE),
    ],
}


def config(*words, file=MASK):
    sizes = ["INPUT.MIN_SIZE_TRAIN", "(120,)", "INPUT.RANDOM_FLIP", "none"]
    return model_zoo.get_config(file, [*sizes, *words])


class Remembered(T.AugmentationList):
    """Keeps the transforms of the last image."""

    def __call__(self, given):
        self.last = super().__call__(given)
        return self.last


def keypoints(box):
    """Two marked points beside an object, above its left and its right end."""
    x0, y0, x1, _ = box
    return [x0, y0 - 5, 2, x1, y0 - 5, 2]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The image, and its semantic labels: 1, 2, 3 on the objects."""
    folder = tmp_path_factory.mktemp("augmentations")
    pixels, labels = np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    for number, box in enumerate(BOXES):
        x0, y0, x1, y1 = box
        pixels[y0:y1, x0:x1, number] = 255
        labels[y0:y1, x0:x1] = number + 1
        for x, y, _ in np.reshape(keypoints(box), (2, 3)):
            pixels[y - 2 : y + 2, x - 2 : x + 2] = LEFT if x == x0 else RIGHT
    Image.fromarray(pixels).save(folder / "image.png")
    Image.fromarray(labels).save(folder / "labels.png")
    return folder


def row_of(files, masks="polygon", semantic=False):
    objects = []
    for number, box in enumerate(BOXES):
        x0, y0, x1, y1 = map(float, box)
        shape = [[x0, y0, x1, y0, x1, y1, x0, y1]]
        if masks == "rle":
            shape = coco_mask.encode(
                np.asfortranarray(polygons_to_bitmask([np.array(shape[0])], HEIGHT, WIDTH))
            )
        objects.append(
            {
                "bbox": [x0, y0, x1, y1],
                "bbox_mode": BoxMode.XYXY_ABS,
                "category_id": number,
                "segmentation": shape,
                "keypoints": keypoints(box),
            }
        )
    row = {"file_name": str(files / "image.png"), "height": HEIGHT, "width": WIDTH}
    row |= {"annotations": objects}
    return row | ({"sem_seg_file_name": str(files / "labels.png")} if semantic else {})


def coloured(image, number):
    """The pixels of an object's colour."""
    others = np.delete(image, number, axis=0).max(axis=0)
    return (image[number].astype(int) - others) > 127


def extent(mask):
    ys, xs = np.nonzero(mask)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])


def bitmask(masks, i, size):
    if isinstance(masks, BitMasks):
        return masks.tensor[i].numpy().astype(bool)
    assert isinstance(masks, PolygonMasks)
    return polygons_to_bitmask(masks.polygons[i], *size)


@pytest.mark.parametrize("masks", ["polygon", "rle"])
@pytest.mark.parametrize("name", GEOMETRY)
def test_boxes_masks_and_labels_lie_on_the_objects(files, name, masks):
    words = [*GEOMETRY[name], "INPUT.MASK_FORMAT", "bitmask" if masks == "rle" else "polygon"]
    mapper, row = build_mapper(config(*words), is_train=True), row_of(files, masks, semantic=True)
    seen = set()
    for seed in range(6):
        np.random.seed(seed)
        mapped = mapper(row)
        image, found = mapped["image"].numpy(), mapped["instances"]
        size = image.shape[1:]
        assert found.image_size == size
        for i, number in enumerate(found.gt_classes.tolist()):
            drawn = coloured(image, number)
            if drawn.sum() < 30:  # of what is left at an edge
                continue
            seen.add(number)
            assert abs(found.gt_boxes.tensor[i].numpy() - extent(drawn)).max() <= 1.6
            mask, edge = bitmask(found.gt_masks, i, size), 2 * np.ptp(extent(drawn))
            assert (mask != drawn).sum() <= max(0.08 * drawn.sum(), edge / 2)
            labelled = mapped["sem_seg"].numpy() == number + 1
            assert (labelled != drawn).sum() <= max(0.08 * drawn.sum(), edge / 2)
        shown = {number for number in range(3) if coloured(image, number).sum() >= 30}
        assert shown <= set(found.gt_classes.tolist())
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("name", GEOMETRY)
def test_boxes_of_a_detector_without_masks_lie_on_the_objects(files, name):
    """Rotated boxes too are tight where the json has masks."""
    mapper = build_mapper(config(*GEOMETRY[name], file=FASTER), is_train=True)
    for seed in range(4):
        np.random.seed(seed)
        mapped = mapper(row_of(files))
        found = mapped["instances"]
        assert not found.has("gt_masks")
        for box, number in zip(found.gt_boxes.tensor, found.gt_classes.tolist(), strict=True):
            drawn = coloured(mapped["image"].numpy(), number)
            if drawn.sum() >= 30:
                assert abs(box.numpy() - extent(drawn)).max() <= 1.6


def test_a_rotated_box_without_a_mask_encloses_the_object(files):
    """A box of 30x14 turned by 90 degrees and less is at most as high as its diagonal, 33.1."""
    row = row_of(files)
    for annotation in row["annotations"]:
        del annotation["segmentation"]
    words = ["INPUT.AUGMENT.ROTATION", "45", "INPUT.MIN_SIZE_TRAIN", f"({HEIGHT},)"]
    mapper = build_mapper(config(*words, file=FASTER), is_train=True)
    np.random.seed(1)
    mapped = mapper(row)
    drawn = extent(coloured(mapped["image"].numpy(), 2))
    x0, y0, x1, y1 = mapped["instances"].gt_boxes.tensor[2].tolist()
    assert x0 <= drawn[0] + 1 and y0 <= drawn[1] + 1 and x1 >= drawn[2] - 1 and y1 >= drawn[3] - 1
    assert max(x1 - x0, y1 - y0) <= np.hypot(32, 22) + 1e-3


@pytest.mark.parametrize("name", GEOMETRY)
def test_keypoints_follow_and_mirrored_images_swap_left_and_right(files, name):
    """What an upright object has on its left a mirrored one has on its right; turns mirror nothing.

    An image is mirrored where its transforms turn the axes' order around: a negative determinant.
    """
    words = [*GEOMETRY[name], "MODEL.KEYPOINT_ON", "True"]
    words += ["DATASETS.TRAIN", "('quickstart_keypoints_train',)"]
    mapper = build_mapper(config(*words, file=FASTER), is_train=True)
    mapper.keypoint_hflip_indices = np.array([1, 0])
    mapper.augmentations = Remembered(mapper.augmentations.augs)
    swapped, checked = set(), 0
    for seed in range(8):
        np.random.seed(seed)
        mapped = mapper(row_of(files))
        points = mapper.augmentations.last.apply_coords(np.array([[50.0, 50], [51, 50], [50, 51]]))
        mirrored = np.linalg.det(points[1:] - points[0]) < 0
        image = mapped["image"].numpy().astype(int)
        swapped.add(bool(mirrored))
        colours = (RIGHT, LEFT) if mirrored else (LEFT, RIGHT)
        for points in mapped["instances"].gt_keypoints.tensor.numpy():
            for (x, y, visible), colour in zip(points, colours, strict=True):
                if not visible or not (2 < x < image.shape[2] - 2 and 2 < y < image.shape[1] - 2):
                    continue
                near = image[:, int(y - 1) : int(y + 1), int(x - 1) : int(x + 1)].mean(axis=(1, 2))
                assert abs(near - colour).max() < 120, (seed, x, y)
                checked += 1
    assert checked >= 10
    assert swapped == ({True, False} if "flip" in name or name == "all" else {False})


def test_defaults_leave_the_transforms_as_they_were():
    """A shorter side of one of the sizes, then a horizontal flip, as in Detectron2."""
    for file in (MASK, FASTER, "COCO-Keypoints/keypoint_rcnn_hrnetv2p_w18_1x.yaml"):
        cfg = model_zoo.get_config(file)
        mapper = build_mapper(cfg, is_train=True)
        assert list(map(repr, mapper.augmentations.augs)) == [
            "ResizeShortestEdge(short_edge_length=(800,), max_size=1333, sample_style='choice')",
            "RandomFlip()",
        ]
        assert mapper.recompute_boxes is False and mapper.instance_mask_format == "polygon"
        np.random.seed(3)
        state = np.random.get_state()[1:3]
        build_mapper(cfg, is_train=True)
        assert np.array_equal(state[0], np.random.get_state()[1])  # nothing is drawn when made


def test_test_images_are_not_augmented():
    for words in GEOMETRY.values():
        (resize,) = build_mapper(config(*words), is_train=False).augmentations.augs
        assert isinstance(resize, T.ResizeShortestEdge)


@pytest.mark.parametrize("pixels", ["RGB", "BGR"])
@pytest.mark.parametrize("key", ["BRIGHTNESS", "CONTRAST", "SATURATION", "HUE"])
def test_colours_change_and_objects_stay(files, key, pixels):
    words = [f"INPUT.AUGMENT.{key}", "60" if key == "HUE" else "0.6", "INPUT.FORMAT", pixels]
    plain = build_mapper(config("INPUT.FORMAT", pixels), is_train=True)(row_of(files))
    mapper = build_mapper(config(*words), is_train=True)
    np.random.seed(0)
    seen = [mapper(row_of(files)) for _ in range(6)]
    images = np.stack([mapped["image"].numpy() for mapped in seen]).astype(int)
    assert images.dtype.kind == "i" and images.min() >= 0 and images.max() <= 255
    assert len({image.tobytes() for image in images}) >= 4
    for mapped in seen:
        boxes = mapped["instances"].gt_boxes.tensor
        assert (boxes == plain["instances"].gt_boxes.tensor).all()
    grey = (np.ptp(plain["image"].numpy(), axis=0) == 0)[None].repeat(3, axis=0)
    if key in ("SATURATION", "HUE"):  # what has no colour keeps its level
        assert abs(images[:, grey] - plain["image"].numpy().astype(int)[grey]).max() <= 1


def test_a_hue_turned_by_120_degrees_makes_red_green():
    """And that in either order of channels."""
    from hrnet_det.data.random_colours import HueTransform

    red = np.zeros((2, 3, 3), np.uint8)
    red[..., 0] = 200
    assert HueTransform(120, "RGB").apply_image(red)[0, 0].tolist() == [0, 200, 0]
    blue_first = np.ascontiguousarray(red[..., ::-1])
    assert HueTransform(120, "BGR").apply_image(blue_first)[0, 0].tolist() == [0, 200, 0]
    floats = HueTransform(-120, "RGB").apply_image(red.astype(np.float32))
    np.testing.assert_allclose(floats[0, 0], [0, 0, 200], atol=1e-2)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_right_angle_moves_points_with_their_pixels(turns):
    image = np.zeros((4, 6), np.uint8)
    image[1, 4] = 1  # whose middle is at x 4.5, y 1.5
    turn = RightAngleTransform(4, 6, turns)
    turned = turn.apply_image(image)
    (y,), (x,) = np.nonzero(turned)
    assert turn.apply_coords(np.array([[4.5, 1.5]])).tolist() == [[x + 0.5, y + 0.5]]
    assert np.array_equal(turn.inverse().apply_image(turned), image)


@pytest.mark.parametrize("least", [0.05, 0.5])
def test_a_crop_keeps_objects_whole_at_every_place(least):
    crop = CropKeepingObjects(least)
    boxes, starts = np.array(BOXES, float), set()
    for seed in range(200):
        np.random.seed(seed)
        found = crop.get_transform(np.zeros((HEIGHT, WIDTH, 3)), boxes)
        start, size = np.array([found.x0, found.y0]), np.array([found.w, found.h])
        assert (start >= 0).all() and (start + size <= (WIDTH, HEIGHT)).all()
        assert (start <= (20, 20)).all() and (start + size >= (100, 74)).all()
        starts.add((found.x0, found.y0))
    assert len(starts) > 50
    assert {x for x, _ in starts} == set(range(21)) and {y for _, y in starts} == set(range(21))


def test_a_crop_that_may_cut_leaves_the_share_that_is_asked_for():
    crop, boxes, cut = CropKeepingObjects(0.3, 0.5), np.array(BOXES[:2], float), 0
    for seed in range(100):
        np.random.seed(seed)
        found = crop.get_transform(np.zeros((HEIGHT, WIDTH, 3)), boxes)
        x0, y0 = np.maximum(boxes[:, :2], (found.x0, found.y0)).T
        x1, y1 = np.minimum(boxes[:, 2:], (found.x0 + found.w, found.y0 + found.h)).T
        shares = (x1 - x0).clip(0) * (y1 - y0).clip(0) / (30 * 14, 20 * 40)
        assert shares.min() >= 0.5
        cut += shares.min() < 1
    assert cut > 20
    half = shares_inside(boxes, np.array([35, 0]), np.array([200, 200]))
    assert half.tolist() == [0.5, 1.0]


def test_without_objects_a_crop_lies_anywhere(files):
    row = row_of(files) | {"annotations": []}
    mapper = build_mapper(config("INPUT.AUGMENT.CROP", "0.3"), is_train=True)
    sizes = set()
    for seed in range(10):
        np.random.seed(seed)
        mapped = mapper(row)
        assert len(mapped["instances"]) == 0
        sizes.add(tuple(mapped["image"].shape))
    assert len(sizes) > 5


def test_scale_jitter_fills_one_size(files):
    """What no image covers is grey, no object's mask, and has no label."""
    words = ["INPUT.AUGMENT.SCALE_JITTER", "[0.3,0.5]", *SIZE]
    mapper = build_mapper(config(*words, "INPUT.MASK_FORMAT", "bitmask"), is_train=True)
    mapped = mapper(row_of(files, "rle", semantic=True))
    assert mapped["image"].shape == (3, 96, 128)
    free = mapped["sem_seg"].numpy() == 255
    assert free.mean() > 0.7 and free[-1].all() and (mapped["image"].numpy()[:, free] == 128).all()
    assert not mapped["instances"].gt_masks.tensor.numpy()[:, free].any()
    assert largest_size(as_run(config(*words))) == (96, 128)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("INPUT.RANDOM_FLIP diagonal", "INPUT.RANDOM_FLIP diagonal: one of none, horizontal, vert"),
        ("INPUT.AUGMENT.CROP 0", "INPUT.AUGMENT.CROP 0.0: 0.05 to 1, the least share of each side"),
        ("INPUT.AUGMENT.CROP_VISIBLE 2", "INPUT.AUGMENT.CROP_VISIBLE 2.0: 0 to 1, the least share"),
        ("INPUT.AUGMENT.ROTATION 270", "INPUT.AUGMENT.ROTATION 270.0: 0 to 180, degrees"),
        ("INPUT.AUGMENT.RIGHT_ANGLES 90", "INPUT.AUGMENT.RIGHT_ANGLES 90.0: 0 to 1, a probability"),
        ("INPUT.AUGMENT.BRIGHTNESS -1", "INPUT.AUGMENT.BRIGHTNESS -1.0: 0 to 1, of the colours"),
        (
            "INPUT.AUGMENT.HUE 200",
            "INPUT.AUGMENT.HUE 200.0: 0 to 180, degrees on the colour",
        ),
        ("INPUT.AUGMENT.FILL 300", "INPUT.AUGMENT.FILL 300: 0 to 255, a level of grey"),
        ("INPUT.AUGMENT.SCALE_JITTER [2,1]", "INPUT.AUGMENT.SCALE_JITTER [2, 1]: the smallest and"),
        (
            "INPUT.AUGMENT.SCALE_JITTER_SIZE [1024]",
            "INPUT.AUGMENT.SCALE_JITTER_SIZE [1024]: height and width in pixels, at least 32",
        ),
        (
            "INPUT.AUGMENT.CROP 0.5 INPUT.CROP_TRAIN [80,120]",
            "INPUT.AUGMENT.CROP and INPUT.CROP_TRAIN both decide which part of an image is seen",
        ),
        (
            "INPUT.AUGMENT.SCALE_JITTER [0.1,2.0] INPUT.SCALES_TRAIN [[600,1000]]",
            "INPUT.AUGMENT.SCALE_JITTER and INPUT.SCALES_TRAIN both decide which part of an image",
        ),
        (
            "INPUT.AUGMENT.SCALE_JITTER [0.1,2.0] INPUT.RESIZE pillow_floor",
            "INPUT.AUGMENT.SCALE_JITTER resizes with INPUT.RESIZE pillow, not pillow_floor",
        ),
        (
            "INPUT.AUGMENT.HUE 20 INPUT.FORMAT L",
            "INPUT.AUGMENT.HUE changes colours, which INPUT.FORMAT L has not: set RGB or BGR, or",
        ),
    ],
)
def test_values_that_are_not_possible_are_refused_before_training(words, message):
    with pytest.raises(InputError) as error:
        check_images(as_run(config(*words.split())))
    assert str(error.value).startswith(message)
