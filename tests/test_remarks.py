"""What is said of images far from those that a detector was trained on."""

import pytest

from hrnet_det.config.load import load_run
from hrnet_det.remarks import size_remark

RUN = load_run("hrnetv2p_faster_rcnn.yaml")  # 800, at most 1333
SMALL = {"shorter_side": [200.0, 256.0, 300.0], "longer_side": [200.0, 256.0, 300.0]}


@pytest.mark.parametrize(
    ("data", "size", "resized", "said"),
    [
        ({}, (600, 800), (800, 1067), ""),
        ({}, (2300, 3000), (800, 1043), ""),  # by 0.35
        ({}, (3000, 4000), (800, 1067), "(x0.27), so that objects are 4 times smaller; give"),
        # 256x256 was enlarged to 800x800, by 3.125: 600x800 by 1.33 is less than 3 times off
        (SMALL, (600, 800), (800, 1067), ""),
        (SMALL, (3000, 4000), (800, 1067), "about 256x256 (x3.12): objects of the same size look "
         "11.7 times smaller; give another size: --size SHORTER LONGER"),
        (SMALL, (50, 50), (800, 800), "5.1 times larger"),
    ],
)  # fmt: skip
def test_a_size_far_from_training_is_told(data, size, resized, said):
    text = size_remark(RUN, data, size, resized)
    assert bool(text) == bool(said)
    assert said in text
    if said:
        height, width = size
        assert text.startswith(f"an image of {width}x{height} is resized to ")
