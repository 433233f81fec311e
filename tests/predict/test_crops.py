"""Objects cut out: which pixels, into which files."""

import numpy as np
import pytest
from helpers.finds import Finds, noise
from PIL import Image

from hrnet_det.errors import InputError
from hrnet_det.predict import predict
from hrnet_det.predict.crops import class_folders, cut


@pytest.mark.parametrize(
    ("box", "shape"),
    [
        ((1, 2, 11, 22), (20, 10)),
        ((1.2, 2.9, 10.1, 21.5), (20, 10)),  # all pixels that it touches
        ((-5, -5, 500, 500), (60, 100)),
        ((7, 7, 7, 7), (1, 1)),
        ((100, 60, 100, 60), (1, 1)),
    ],
)
def test_a_cut_has_all_pixels_that_a_box_touches(box, shape):
    assert cut(noise(), box).shape == (*shape, 3)
    assert np.array_equal(cut(noise(), (1.2, 2.9, 10.1, 21.5)), noise()[2:22, 1:11])


def test_folders_of_classes_are_safe_and_distinct():
    names = ["traffic light", "a/b", "a\\b", "../..", "", "Dog", "dog", "CO₂ é", "x" * 300]
    assert class_folders(names) == [
        *("traffic light", "a_b", "a_b_2", "_", "__2", "Dog", "dog_2", "CO₂ é", "x" * 100)
    ]


def test_crops_are_in_folders_of_their_classes(tmp_path):
    for name in ("b/x.png", "a/x.png", "x_1.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise()).save(tmp_path / "in" / name)
    out = tmp_path / "out"
    predict(Finds(), [tmp_path / "in"], out, score=0.2, crops=True)
    crops = {
        f"{folder}{name}_{number}.png"
        for name in ("b/x", "a/x", "x_1")
        for folder, number in (("person/", 1), ("dog/", 2), ("person/", 3))
    }
    written = {path.relative_to(out / "crops").as_posix() for path in out.glob("crops/**/*.png")}
    assert written == crops
    with Image.open(out / "crops" / "person" / "a" / "x_1.png") as person:
        assert np.array_equal(np.asarray(person), noise()[2:22, 1:11])


def test_images_among_the_crops_are_not_overwritten(tmp_path):
    place = tmp_path / "crops" / "person"
    place.mkdir(parents=True)
    Image.fromarray(noise()).save(place / "a_1.png")
    with pytest.raises(InputError, match=rf"{tmp_path / 'crops'} would overwrite .*/a_1"):
        predict(Finds(), [place], tmp_path, crops=True)
    assert len(predict(Finds(), [place], tmp_path)) == 1


def test_crops_of_a_name_that_is_as_long_as_a_disk_takes(tmp_path):
    Image.fromarray(noise()).save(tmp_path / f"{'x' * 251}.png")
    predict(Finds(), [tmp_path / f"{'x' * 251}.png"], tmp_path / "out", crops=True)
    assert len(list(tmp_path.glob("out/crops/person/*_1.png"))) == 1
