"""Targets of Panoptic-DeepLab, of images that are resized, cropped, flipped and turned."""

import pickle

import numpy as np
import pytest
from PIL import Image

from hrnet_det import model_zoo
from hrnet_det.data.mapper import build_mapper
from hrnet_det.data.panoptic_mapper import PanopticMapper, _decoded, _encoded

CONFIG = "quickstart/panoptic_deeplab"
# Ids of segments, their classes and whether they are crowds: a ground, three things, one crowd.
SEGMENTS = [(70_000, 6, 0), (3, 0, 0), (300, 2, 0), (65_536, 2, 0), (9, 4, 1)]


def config(*words):
    keys = ["INPUT.MIN_SIZE_TRAIN", "(40,)", "INPUT.SMALL_INSTANCE_AREA", "120"]
    keys += ["MODEL.PANOPTIC_DEEPLAB.THING_CLASSES", "[0,1,2,3,4,5]"]
    return model_zoo.get_config(CONFIG, [*keys, *words])


@pytest.fixture
def row(tmp_path):
    """An image of 40x60 pixels with SEGMENTS, and a corner that belongs to none."""
    ids = np.full((40, 60), SEGMENTS[0][0])
    ids[5:15, 4:24] = 3
    ids[20:36, 10:30] = 300
    ids[22:30, 40:44] = 65_536
    ids[34:40, 30:50] = 9
    ids[:4, 50:] = 12  # in no segment's info
    pixels = np.stack([ids % 256, ids // 256 % 256, ids // 65_536], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "ids.png")
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    return {
        "file_name": str(tmp_path / "image.png"),
        "pan_seg_file_name": str(tmp_path / "ids.png"),
        "image_id": 1,
        "height": 40,
        "width": 60,
        "segments_info": [
            {"id": n, "category_id": category, "iscrowd": crowd} for n, category, crowd in SEGMENTS
        ],
    }, ids


def expected_targets(ids, sigma, small):
    """By the formulas of arXiv:1911.10194 sections 3.2 and 3.3."""
    height, width = ids.shape
    ys, xs = np.mgrid[:height, :width]
    semantic, weights = np.full(ids.shape, 255), np.ones(ids.shape)
    heat, offset = np.zeros(ids.shape), np.zeros((2, height, width))
    learnt, pointing = np.zeros(ids.shape), np.zeros(ids.shape)
    for number, category, crowd in SEGMENTS:
        mask = ids == number
        semantic[mask] = category
        if not mask.any():
            continue
        if not crowd:
            learnt[mask] = 1
            pointing[mask] = category != 6
        if category == 6:
            continue
        if mask.sum() < small:
            weights[mask] = 3
        y, x = ys[mask].mean(), xs[mask].mean()
        distance = (ys - round(y)) ** 2 + (xs - round(x)) ** 2
        near = (abs(ys - round(y)) <= 3 * sigma + 1) & (abs(xs - round(x)) <= 3 * sigma + 1)
        heat = np.maximum(heat, np.exp(-distance / (2 * sigma**2)) * near)
        offset[0][mask], offset[1][mask] = (y - ys)[mask], (x - xs)[mask]
    return {
        "sem_seg": semantic,
        "sem_seg_weights": weights,
        "center": heat,
        "center_weights": learnt[None],
        "offset": offset,
        "offset_weights": pointing[None],
    }


def check_targets(mapped, ids):
    expected = expected_targets(ids, sigma=4, small=120)
    for name, values in expected.items():
        found = mapped[name].numpy()
        assert found.shape == values.shape, name
        np.testing.assert_allclose(found, values, rtol=0, atol=1e-4, err_msg=name)
    assert set(mapped) == {"file_name", "image_id", "height", "width", "image", *expected}


def test_targets_of_a_whole_image(row):
    row, ids = row
    mapper = build_mapper(config("INPUT.RANDOM_FLIP", "none"), is_train=True)
    assert type(mapper) is PanopticMapper
    mapped = mapper(row)
    check_targets(mapped, ids)
    assert mapped["center"].max() == 1 and len(row["segments_info"]) == 5
    assert mapped["sem_seg_weights"].unique().tolist() == [1, 3]


def test_targets_are_those_of_what_is_left_after_a_crop_and_a_flip(row):
    row, ids = row
    mapper = build_mapper(
        config("INPUT.CROP_TRAIN", "[32, 48]", "INPUT.FORMAT", "BGR"), is_train=True
    )
    pixels = np.asarray(Image.open(row["file_name"]))[..., ::-1]
    seen = set()
    for seed in range(8):
        np.random.seed(seed)
        mapped = mapper(row)
        image = mapped["image"].numpy().transpose(1, 2, 0)
        assert image.shape == (32, 48, 3)
        for top in range(9):
            for left in range(13):
                window = np.s_[top : top + 32, left : left + 48]
                for flipped in (False, True):
                    turn = np.s_[:, :: -1 if flipped else 1]
                    if np.array_equal(pixels[window][turn], image):
                        check_targets(mapped, ids[window][turn])
                        seen.add((top, left, flipped))
    assert len(seen) == 8 and len({flipped for *_, flipped in seen}) == 2


def test_what_a_rotation_uncovers_is_no_segment(row):
    row, _ = row
    pytest.importorskip("cv2")
    words = ["INPUT.AUGMENT.ROTATION", "45.0", "INPUT.RANDOM_FLIP", "none"]
    mapper = build_mapper(config(*words), is_train=True)
    np.random.seed(1)
    mapped = mapper(row)
    corner = mapped["sem_seg"][0, 0]
    assert corner == 255 and mapped["center_weights"][0, 0, 0] == 0
    assert set(mapped["sem_seg"].unique().tolist()) <= {0, 2, 4, 6, 255}


@pytest.mark.parametrize("count", [0, 1, 254, 255, 400])
def test_numbers_of_segments_as_images(count):
    segments = [{"id": 7 * n + 1} for n in range(count)][::-1]
    ids = np.arange(60 * 60).reshape(60, 60)
    labels = _encoded(ids, segments)
    assert labels.dtype == np.uint8 and labels.ndim == (2 if count < 255 else 3)
    found = _decoded(labels)
    assert 255 not in found
    for number in np.unique(found[found > 0]):
        assert len(np.unique(ids[found == number])) == 1
    assert set(ids[found > 0].tolist()) == {s["id"] for s in segments}


def test_images_to_test_on_have_no_targets(row):
    row, _ = row
    mapped = build_mapper(config(), is_train=False)(row)
    assert set(mapped) == {"file_name", "image_id", "height", "width", "image"}


def test_a_mapper_can_go_to_processes_that_have_not_imported_the_project(row):
    row, ids = row
    packed = pickle.dumps(build_mapper(config("INPUT.RANDOM_FLIP", "none"), is_train=True))
    assert b"detectron2.projects" not in packed
    check_targets(pickle.loads(packed)(row), ids)
