"""The comparison's table, and what it runs."""

from hrnet_det import model_zoo
from tools import compare
from tools.runs import Run

BACKBONES = compare.COMPARISONS["backbones"]


def metrics(ap, small):
    return {"AP": ap, "AP50": 2 * ap, "APs": small, "APm": ap, "APl": ap}


def test_the_table_has_the_mean_and_each_seed():
    runs = {"ours": [metrics(10.0, 1.0), metrics(20.0, 3.05)], "theirs": [metrics(5.0, 0.0)] * 2}
    lines = compare.comparison_table(runs, {"ours": 4_200_000, "theirs": 14_060_000}).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows[0] == ["detector", "parameters", *(f"box {m}" for m in compare.METRICS)]
    assert rows[2][:3] == ["ours", "4.2 M", "**15.0** (10.0, 20.0)"]
    assert rows[2][4] == "**2.0** (1.0, 3.0)"
    assert rows[3][:3] == ["theirs", "14.1 M", "**5.0** (5.0, 5.0)"]


def test_the_two_configs_differ_in_the_backbone_alone():
    ours, theirs = (model_zoo.get_config(*row) for row in BACKBONES.values())
    assert ours.MODEL.HRFPN.OUT_CHANNELS == theirs.MODEL.FPN.OUT_CHANNELS
    for cfg in (ours, theirs):
        cfg.OUTPUT_DIR = ""
        for key in ("BACKBONE", "RESNETS", "FPN"):
            del cfg.MODEL[key]
    assert ours == theirs


def test_their_parameters_are_of_one_order_of_magnitude(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "prepare_datasets", _six_classes)
    ours, theirs = (compare.count_parameters(*row) for row in BACKBONES.values())
    assert 3e6 < ours < theirs < 30e6
    whole = sum(p.numel() for p in model_zoo.get(compare.OURS).parameters())
    assert whole - ours == (80 - 6) * (256 + 1) * 5  # a score and four deltas for each class


def _six_classes(cfg):
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 6


def test_each_row_of_conventions_is_trained_by_its_own(monkeypatch, tmp_path, capsys):
    started = []

    def train(config, *, seed, output, overrides):
        started.append((config, seed, output.name, overrides))
        return Run({"bbox": metrics(10.0 * len(started), 1.0)}, seconds=1.0, peak=1)

    monkeypatch.setattr(compare, "train", train)
    monkeypatch.setattr(compare, "count_parameters", lambda *_: 4_200_000)
    given = ["--what", "conventions", "--seeds", "1", "2", "--output", str(tmp_path)]
    compare.main([*given, "SOLVER.MAX_ITER", "400"])
    names = ("detectron2", "mmdet")
    assert started == [
        (
            "quickstart/faster_rcnn.yaml",
            seed,
            f"faster_rcnn_{name}_seed{seed}",
            ["MODEL.CONVENTIONS", name, "SOLVER.MAX_ITER", "400"],
        )
        for seed in (1, 2)
        for name in names
    ]
    first, second = (tmp_path / "conventions.md").read_text().splitlines()[2:]
    assert "MODEL.CONVENTIONS detectron2" in first and "**20.0** (10.0, 30.0)" in first
    assert "MODEL.CONVENTIONS mmdet" in second and "**30.0** (20.0, 40.0)" in second
    assert first in capsys.readouterr().out
