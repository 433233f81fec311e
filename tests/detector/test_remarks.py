"""What is said of images far from those that a detector was trained on."""

import pytest

from hrnet_det.detector.remarks import masks_remark, size_remark

# Images of 256x256, which training enlarged to 800x800, by 3.125.
SMALL = {"shorter_side": [200.0, 256.0, 300.0], "longer_side": [200.0, 256.0, 300.0]}
SMALL |= {"size": [800, 1333]}


@pytest.mark.parametrize(
    ("data", "size", "resized", "said"),
    [
        ({}, (600, 800), (800, 1067), ""),
        ({}, (2300, 3000), (800, 1043), ""),  # by 0.35
        ({}, (3000, 4000), (800, 1067), "(x0.27), so that objects are 4 times smaller: give"),
        (SMALL, (600, 800), (800, 1067), ""),  # by 1.33: less than 3 times off
        (SMALL, (3000, 4000), (800, 1067), "about 256x256 (x3.12): objects of the same size look "
         "11.7 times smaller: give --size 9375,12500, as then, or Detector.from_pretrained("),
        (SMALL, (3000, 4000), (2400, 3200), "(x3.12): objects of the same size look 3.9 times sm"),
        (SMALL, (3000, 4000), (9600, 12800), ""),
        (SMALL, (256, 256), (80, 80), "10.0 times smaller: give --size 800,800, as then"),
        (SMALL, (50, 50), (800, 800), "5.1 times larger"),
    ],
)  # fmt: skip
def test_a_size_far_from_training_is_told(data, size, resized, said):
    text = size_remark(data, size, resized)
    assert bool(text) == bool(said)
    assert said in text
    if said:
        height, width = size
        assert text.startswith(f"an image of {width}x{height} is resized to ")
        tiles = "such as --tile 640" if not data else "tiles: --tile 256"
        assert text.endswith(tiles) == ("smaller" in text)


def test_masks_of_very_large_images():
    assert masks_remark((6000, 7000), 100) == ""  # 3.9 GiB
    assert masks_remark((20_000, 30_000), 100).startswith(
        "masks of up to 100 objects in an image of 30000x20000 take up to 56 GiB of memory: detect "
        "it in tiles, such as --tile 640, "
    )


def test_a_size_that_is_fixed_in_a_file_is_not_advised():
    text = size_remark({}, (3000, 4000), (800, 1067), fixed=True)
    said = "so that objects are 4 times smaller: detect it in tiles, such as --tile 640"
    assert text.endswith(said)
    text = size_remark(SMALL, (256, 256), (80, 80), fixed=True)
    assert "10.0 times smaller: export it for that size, Detector.from_pretrained(WEIGHTS, " in text
    assert "size=(800,800), to_export=True).export(FILE); or detect it in tiles: --tile 256" in text
