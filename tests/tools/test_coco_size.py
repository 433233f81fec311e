"""The generated dataset of COCO's size, a small one."""

import json

from hrnet_det.data.coco_json import CocoJson
from tools.coco_size import main, make_dataset, plain_loop


def test_a_dataset_in_coco_s_proportions(tmp_path):
    path = make_dataset(tmp_path, 40, (48, 64))
    content = json.loads(path.read_text())
    assert len(content["images"]) == 40
    assert len(content["annotations"]) == 291  # 40 x 860001 / 118287
    assert [row["id"] for row in content["annotations"]] == list(range(1, 292))
    assert {len(row["segmentation"][0]) for row in content["annotations"]} == {48}
    images = [image.read_bytes() for image in (tmp_path / "images").iterdir()]
    assert len(set(images)) == 40
    flags = {"masks": True, "keypoints": False, "evaluated": True}
    assert not CocoJson(path, tmp_path / "images", **flags).findings
    assert plain_loop(sorted((tmp_path / "images").iterdir())) > 0


def test_the_times_are_printed(tmp_path, capsys):
    main([str(tmp_path), "--images", "6", "--workers", "1"])
    printed = capsys.readouterr().out
    assert "a plain loop: " in printed and "1 workers: json " in printed
    assert (tmp_path / "report" / "report.html").is_file()
