"""Several scales and crops in training, counted by hand and seen in the pixels."""

import numpy as np
import pytest
from detectron2.structures import BoxMode
from PIL import Image

from hrnet_det import model_zoo
from hrnet_det.analysis.planning import largest_size
from hrnet_det.config.load import as_run
from hrnet_det.data.mapper import build_mapper
from hrnet_det.data.transforms import JITTER, CropAroundObject
from hrnet_det.errors import InputError

HEIGHT, WIDTH = 100, 200  # pixels
NEAR, FAR = (20, 30, 50, 44), (150, 60, 170, 90)  # x0, y0, x1, y1
LANDSCAPE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


def config(*words, flip="none"):
    words = [*words, "INPUT.RANDOM_FLIP", flip, "INPUT.MASK_FORMAT", "bitmask"]
    return model_zoo.get_config("hrnetv2p_mask_rcnn.yaml", words)


def annotation(box, crowd=0):
    x0, y0, x1, y1 = box
    return {
        "bbox": list(box),
        "bbox_mode": BoxMode.XYXY_ABS,
        "category_id": 0,
        "iscrowd": crowd,
        "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
        "keypoints": [x0 + 2, y0 + 3, 2] * 4,
    }


@pytest.fixture
def row(tmp_path):
    """A black image with a red box for each object, whose keypoint is green."""
    pixels = LANDSCAPE.copy()
    for x0, y0, x1, y1 in (NEAR, FAR):
        pixels[y0:y1, x0:x1] = (255, 0, 0)
        pixels[y0 + 3, x0 + 2] = (0, 255, 0)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    objects = [annotation(NEAR), annotation(FAR)]
    size = {"height": HEIGHT, "width": WIDTH}
    return {"file_name": str(tmp_path / "a.png"), **size, "annotations": objects}


def test_each_image_gets_one_of_the_scales(row):
    """100x200 by [50, 80] is 40x80, whose longer side is the limit; by [150, 400] it is 150x300."""
    np.random.seed(0)
    mapper = build_mapper(config("INPUT.SCALES_TRAIN", "[[50, 80], [150, 400]]"), is_train=True)
    sizes = [tuple(mapper(row)["image"].shape[1:]) for _ in range(20)]
    assert set(sizes) == {(40, 80), (150, 300)}
    assert 4 <= sizes.count((40, 80)) <= 16
    tested = build_mapper(
        config("INPUT.SCALES_TRAIN", "[[50, 80]]", "INPUT.CROP_TRAIN", "[20, 20]"), is_train=False
    )
    assert tested(row)["image"].shape[1:] == (667, 1333)  # as MIN_SIZE_TEST and MAX_SIZE_TEST say


def test_scales_follow_the_rule_of_resizing(row):
    """In mmdetection both sides are rounded to the nearest: 100x200 by [51, 1000] is 51x102."""
    words = ["INPUT.SCALES_TRAIN", "[[51, 1000]]", "INPUT.RESIZE", "opencv"]
    assert build_mapper(config(*words), is_train=True)(row)["image"].shape[1:] == (51, 102)


def crop(image, box, size=(40, 60)):
    boxes = np.array([box], float).reshape(-1, 4) if box else np.zeros((0, 4))
    found = CropAroundObject(size).get_transform(image, boxes)
    return found.x0, found.y0, found.w, found.h


def test_a_crop_lies_around_an_object_and_inside_the_image():
    np.random.seed(0)
    found = np.array([crop(LANDSCAPE, (90, 40, 110, 60)) for _ in range(300)])
    assert (found[:, 2:] == (60, 40)).all()
    # centre (100, 50): from (70, 30), moved by up to 30 and 10
    high, wide = JITTER
    assert (found[:, 0].min(), found[:, 0].max()) == (70 - wide, 70 + wide)
    assert (found[:, 1].min(), found[:, 1].max()) == (30 - high, 30 + high)
    corner = np.array([crop(LANDSCAPE, (0, 0, 4, 4)) for _ in range(50)])
    assert (corner[:, :2].min(axis=0) == 0).all() and (corner[:, 0] <= 2).all()
    assert (corner[:, 1] == 0).all()


def test_a_crop_turns_with_the_image_and_is_no_larger_than_it():
    assert crop(LANDSCAPE.transpose(1, 0, 2), (40, 90, 60, 110))[2:] == (40, 60)
    assert crop(LANDSCAPE[:30, :50], (10, 10, 20, 20)) == (0, 0, 50, 30)


def test_without_objects_a_crop_lies_anywhere():
    np.random.seed(0)
    found = np.array([crop(LANDSCAPE, None) for _ in range(2000)])
    assert (found[:, :2].min(axis=0) == 0).all()
    assert found[:, :2].max(axis=0).tolist() == [WIDTH - 60, HEIGHT - 40]


@pytest.mark.parametrize("flip", ["none", "horizontal"])
def test_boxes_masks_and_keypoints_follow_and_what_is_cut_away_is_dropped(row, flip):
    np.random.seed(1)
    words = ["INPUT.SCALES_TRAIN", "[[200, 400]]", "INPUT.CROP_TRAIN", "[80, 120]"]
    words += ["MODEL.KEYPOINT_ON", "True", "DATASETS.TRAIN", "('quickstart_keypoints_train',)"]
    cfg = config(*words, flip=flip)
    mapper = build_mapper(cfg, is_train=True)
    seen = set()
    for _ in range(12):
        mapped = mapper(row)
        pixels, objects = mapped["image"].numpy(), mapped["instances"]
        assert pixels.shape == (3, 80, 120)
        assert len(objects) == 1  # 300 pixels lie between the two
        ys, xs = np.nonzero(pixels[0] + pixels[1] > 127)
        box = objects.gt_boxes.tensor[0].numpy()
        drawn = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        assert abs(box - drawn).max() <= 1
        inside = objects.gt_masks.tensor[0].numpy()
        assert (inside != (pixels[0] + pixels[1] > 127)).mean() < 0.01
        x, y, visible = objects.gt_keypoints.tensor[0, 0].tolist()
        if visible:
            green = np.unravel_index(pixels[1].argmax(), pixels[1].shape)
            assert abs(y - green[0]) <= 2 and abs(x - green[1]) <= 2
        seen.add(round(box[2] - box[0]))
    assert len(seen) > 1  # sometimes a part of the object is cut off


def test_a_image_of_crowds_is_cropped_anywhere(row):
    row["annotations"] = [annotation(NEAR, crowd=1)]
    mapped = build_mapper(config("INPUT.CROP_TRAIN", "[80, 120]"), is_train=True)(row)
    assert mapped["image"].shape[1:] == (80, 120) and len(mapped["instances"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["INPUT.SCALES_TRAIN", "[[800, 600]]"], "INPUT.SCALES_TRAIN: [800, 600] is no size: give"),
        (["INPUT.SCALES_TRAIN", "[600, 1000]"], "INPUT.SCALES_TRAIN: 600 is no size: give the"),
        (["INPUT.CROP_TRAIN", "[0, 600]"], "INPUT.CROP_TRAIN: [0, 600] is no size: give the"),
        (["INPUT.CROP_TRAIN", "[300]"], "INPUT.CROP_TRAIN: [300] is no size: give the"),
        (
            ["INPUT.CROP_TRAIN", "[300, 600]", "INPUT.CROP.ENABLED", "True"],
            "INPUT.CROP_TRAIN and INPUT.CROP.ENABLED both decide which part of an image is seen",
        ),
    ],
)
def test_sizes_that_are_none_are_refused(words, message):
    with pytest.raises(InputError) as error:
        build_mapper(config(*words), is_train=True)
    assert str(error.value).startswith(message)


def test_the_largest_image_of_a_plan_follows():
    """Of scales the one with the most pixels; of a crop the crop; both padded to 32."""
    scales = ["INPUT.SCALES_TRAIN", "[[1000, 1600], [600, 1000], [800, 1333]]"]
    assert largest_size(as_run(config(*scales))) == (1024, 1600)
    assert largest_size(as_run(config(*scales, "INPUT.CROP_TRAIN", "[800, 1200]"))) == (800, 1216)
