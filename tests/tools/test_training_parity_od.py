import re

import pytest

from tools import training_parity_od

SMALL = ["MODEL.HRNET.VARIANT", "w18_small_v1", "MODEL.HRFPN.OUT_CHANNELS", "16"]


def test_a_whole_detector_is_within_what_the_table_says(monkeypatch):
    """Its own pixels, backbone, 2,000 proposals and draws beside the source's formulas."""
    monkeypatch.setattr(training_parity_od, "DRAWS", 1)
    title, total, before, worst, after, *_ = (
        cell.strip() for cell in training_parity_od.line("faster_rcnn", SMALL).split("|")[1:]
    )
    assert title == "Faster R-CNN"
    assert abs(float(total.rstrip("%"))) > 1 and float(before.split()[0]) > 0.1
    assert float(re.match(r"\S+", worst)[0]) <= 1e-6 and float(after) <= 1e-6


def test_an_unknown_detector_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        training_parity_od.main(["fcos"])
    assert "unknown fcos; known: faster_rcnn, mask_rcnn" in capsys.readouterr().err
