"""Images that are decoded, compared with each other and drawn."""

import io

import numpy as np
import pytest
from PIL import Image

from hrnet_det.check_data.decoding import Place, decode, decode_all, same_pixels
from hrnet_det.check_data.samples import MARK, OTHER, OUTSIDE, SIDE, draw_sample

ROW = {"id": 5, "file_name": "a.png", "height": 100, "width": 200}


def save(path, pixels, **options):
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path, **options)
    return str(path)


def groups_of(paths):
    places = {Place("train", number): path for number, path in enumerate(paths)}
    found = dict(zip(places, decode_all(paths, workers=2), strict=True))
    groups = same_pixels(places, found)
    return [[place.image for place in group] for group in groups]


def test_images_are_the_same_if_all_of_their_pixels_are(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 48, 3))
    other = noise.copy()
    other[1, 0, 0] ^= 1  # between the rows that are compared first, every fourth of 64
    paths = [
        save(tmp_path / "a.png", noise),
        save(tmp_path / "b.bmp", noise),
        save(tmp_path / "c.png", other),
        save(tmp_path / "d.png", noise.reshape(48, 64, 3)),
        save(tmp_path / "e.jpg", noise),
    ]
    found = list(decode_all(paths, workers=1))
    assert found[0].digest == found[1].digest == found[2].digest != found[3].digest
    assert [image.kind for image in found] == [
        "PNG RGB",
        "BMP RGB",
        "PNG RGB",
        "PNG RGB",
        "JPEG RGB",
    ]
    assert groups_of(paths) == [[0, 1]]
    assert groups_of([paths[2], paths[2]]) == [[0, 1]]  # one file under two ids


def test_more_images_than_are_handed_out_at_once_keep_their_order(tmp_path):
    paths = [save(tmp_path / f"{i}.png", np.full((4, 4 + i), 9)) for i in range(7)] * 60
    kinds = list(decode_all(paths, workers=3))
    assert [image.digest for image in kinds] == [decode(path).digest for path in paths]


@pytest.mark.parametrize(
    ("raw", "problem"),
    [(b"GIF, says the text", "is not an image that Pillow can read"), (b"", "is not an image")],
)
def test_a_file_that_is_no_image(tmp_path, raw, problem):
    (tmp_path / "a.png").write_bytes(raw)
    found = decode(tmp_path / "a.png")
    assert (found.kind, found.digest) == ("", b"")
    assert found.problem.startswith(problem)


def drawn(sample):
    return np.asarray(Image.open(io.BytesIO(sample.jpeg))).astype(int)


def near(pixel, colour):
    """JPEG changes colours a little."""
    return np.abs(pixel - colour).max() < 60


def test_a_box_beyond_its_image_is_drawn_on_grey(tmp_path):
    path = save(tmp_path / "a.png", np.zeros((100, 200, 3)))
    marks = [
        {"id": 8, "bbox": [150, 20, 100, 60]},
        {"id": 9, "bbox": [160, 30, 20, 20], "segmentation": None},
        {"id": 10, "bbox": [0, 0, 10, 10]},
    ]
    sample = draw_sample(path, ROW, marks)
    page = drawn(sample)
    # Around the box 25 % of its longer side: x 125 to 275; y -6.25 to 106.25, 3/4 as high.
    scale = SIDE / 150
    assert sample.size == (page.shape[1], page.shape[0]) == (400, 304)
    top = -7

    def has(colour, x, y):
        """Whether one of the pixels around this one of the image is drawn in a colour."""
        column, row = round((x - 125) * scale), round((y - top) * scale)
        return any(near(pixel, colour) for pixel in page[row, column - 3 : column + 4])

    assert has((0, 0, 0), 130, 50) and not has(OUTSIDE, 130, 50)
    assert has(OUTSIDE, 265, 50) and not has((0, 0, 0), 265, 50)
    assert has(MARK, 150, 60) and has(MARK, 250, 60) and not has(MARK, 155, 60)
    assert has(OTHER, 160, 40) and has(OTHER, 180, 40)
    assert sample.caption == (
        "image 5, a.png\nannotation 8: bbox [150, 20, 100, 60]; 2 more in this image"
    )


def test_the_size_of_the_json_is_a_frame(tmp_path):
    path = save(tmp_path / "a.png", np.zeros((100, 400, 3)))
    page = drawn(draw_sample(path, ROW, []))
    left = (page.shape[1] - SIDE) / 2
    assert left == 0
    reds = np.flatnonzero([near(pixel, MARK) for pixel in page[page.shape[0] // 2]])
    # The image has 400 pixels and 100 more on both sides; the frame has the left 200.
    assert len(reds) >= 2
    assert reds.min() / page.shape[1] == pytest.approx(1 / 6, abs=0.02)
    assert reds.max() / page.shape[1] == pytest.approx(1 / 2, abs=0.02)


def test_values_of_any_kind_are_drawn_or_left_out(tmp_path):
    path = save(tmp_path / "a.png", np.zeros((100, 200, 3)))
    for mark in (
        {"id": 1, "bbox": None},
        {"id": 1, "bbox": ["a", 2, 3, 4], "segmentation": "text"},
        {"id": 1, "bbox": [1, 2, 3], "keypoints": [1]},
        {"id": 1, "bbox": [1e9, 1e9, 1, 1]},
        {"id": 1, "bbox": [-1e9, 0, 2e9, 1]},
        {"id": 1, "segmentation": [[1, 2], [3, 4, 5, 6], 7]},
        {"id": 1, "segmentation": {"size": [10, 10], "counts": [100]}},
        {"id": 1, "segmentation": {"size": [10, 10], "counts": "\x00"}},
        {"id": 1, "bbox": [5, 5, 0, 0], "keypoints": [5, 5, 2]},
    ):
        assert max(draw_sample(path, ROW, [mark]).size) == SIDE
