"""Mosaics of images whose objects are known, and the figures of what is found in them."""

import numpy as np
import pytest
from PIL import Image

from hrnet_det.errors import InputError
from tools import tiled_recall


@pytest.fixture
def content(tmp_path):
    """Four images of one colour each, with an object each; of two sizes."""
    images = [
        {"id": 5 * k, "file_name": f"{k}.png", "height": 20 + 10 * (k % 2), "width": 30}
        for k in range(4)
    ]
    for k, row in enumerate(images):
        Image.new("RGB", (row["width"], row["height"]), (k + 1,) * 3).save(tmp_path / f"{k}.png")
    boxes = [{"id": k, "image_id": 5 * k, "category_id": 7, "bbox": [1, 2, 3, 4 + k],
              "area": 12, "iscrowd": 0} for k in range(4)]  # fmt: skip
    return {"images": images, "annotations": boxes, "categories": [{"id": 7, "name": "a"}]}


def test_a_mosaic_has_its_images_and_their_objects(content, tmp_path):
    ((image,), truth) = tiled_recall.make_mosaics(content, tmp_path, grid=2, count=1)
    assert image.shape == (60, 60, 3)
    assert image[[0, 0, 30, 30], [0, 30, 0, 30], 0].tolist() == [1, 2, 3, 4]
    assert (image[20:30, :30] == tiled_recall.GROUND).all()  # below the first, which is lower
    assert [row["bbox"] for row in truth["annotations"]] == [
        [1, 2, 3, 4], [31, 2, 3, 5], [1, 32, 3, 6], [31, 32, 3, 7]
    ]  # fmt: skip
    assert truth["images"] == [{"id": 0, "height": 60, "width": 60}]
    with pytest.raises(InputError, match="2 mosaics take 8 images; the json has 4"):
        tiled_recall.make_mosaics(content, tmp_path, grid=2, count=2)


def test_recall_and_precision_count_what_is_sure_enough(content, tmp_path):
    """Two of four found by 0.5 and more, beside one that is wrong; the third is unsure."""
    _, truth = tiled_recall.make_mosaics(content, tmp_path, grid=2, count=1)
    found = [([1, 2, 3, 4], 0.9), ([31, 2, 3, 5], 0.5), ([50, 50, 9, 9], 0.8), ([1, 32, 3, 6], 0.4)]
    rows = [{"image_id": 0, "category_id": 7, "bbox": b, "score": s} for b, s in found]
    ap, recall, precision = tiled_recall.quality(truth, rows, score=0.5)
    assert (recall, precision) == (0.5, pytest.approx(2 / 3))
    # Precision by recall: 1 up to 0.25, then 0.75 (3 of 4) up to 0.75, then 0; of 101 points.
    assert ap == pytest.approx((26 * 1 + 50 * 0.75) / 101)
    assert tiled_recall.quality(truth, [], score=0.5) == (0, 0, 0)


def test_help(capsys):
    with pytest.raises(SystemExit) as end:
        tiled_recall.main(["--help"])
    assert end.value.code == 0 and "--tile" in capsys.readouterr().out


def test_found_objects_have_the_jsons_classes(monkeypatch):
    rows = [{"category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5, "segmentation": {}}]
    monkeypatch.setattr(tiled_recall, "instances_to_coco_json", lambda objects, k: rows)
    assert tiled_recall.rows_of(np.zeros(0), 3, [7, 9]) == [
        {"category_id": 9, "bbox": [0, 0, 1, 1], "score": 0.5, "image_id": 3}
    ]
