"""The generated run whose page is measured, a small one."""

import json

import numpy as np
import pytest

from hrnet_det.report.page.opened import opened_run
from tools import report_size


@pytest.mark.parametrize("masks", [False, True])
def test_a_run_in_coco_s_proportions(tmp_path, masks):
    run = report_size.make_run(tmp_path, images=60, detections=10, masks=masks)
    rows = json.loads((run / "inference" / "coco_instances_results.json").read_text())
    counts = np.bincount([row["image_id"] for row in rows])[1:]
    assert len(counts) == 60 and counts.min() >= 5 and np.mean(counts <= 10) > 0.6
    assert all(("segmentation" in row) == masks for row in rows)
    boxes = np.array([row["bbox"] for row in rows])
    assert boxes.min() >= 0 and (boxes[:, :2] + boxes[:, 2:]).max(0).tolist() <= [640.01, 480.01]
    inodes = {image.stat().st_ino for image in (tmp_path / "images").iterdir()}
    assert len(inodes) == report_size.DISTINCT
    with opened_run(run) as opened:
        assert opened.remarks == [] and opened.history.iteration == 89_999
        assert set(opened.results["custom_test"]) == ({"bbox", "segm"} if masks else {"bbox"})


def test_what_is_measured_is_printed(tmp_path, monkeypatch, capsys):
    page = tmp_path / "report.html"
    page.write_bytes(bytes(3_000_000))
    told = {"path": page, "time": 2.0, "cpu": 1.5, "memory": 5e8, "parts": {"report.page": 2.5}}
    monkeypatch.setattr(report_size, "make_run", lambda *_, **__: None)
    monkeypatch.setattr(report_size, "measure", lambda run, *, profiled: told)
    report_size.main([str(tmp_path)])
    printed = capsys.readouterr().out
    assert "the page: 3.00 MB, in 2.0 s (1.5 s of CPU time), at most 500 MB" in printed
    assert "    2.50 s  report.page\n" in printed
    page.write_bytes(bytes(10_000_000))
    with pytest.raises(SystemExit, match="1"):
        report_size.main([str(tmp_path)])
