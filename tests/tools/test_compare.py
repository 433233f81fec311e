"""The comparison's table, and what it runs."""

from hrnet_det import model_zoo
from tools import compare


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
    ours, theirs = (model_zoo.get_config(config) for config in compare.DETECTORS.values())
    assert ours.MODEL.HRFPN.OUT_CHANNELS == theirs.MODEL.FPN.OUT_CHANNELS
    for cfg in (ours, theirs):
        cfg.OUTPUT_DIR = ""
        for key in ("BACKBONE", "RESNETS", "FPN"):
            del cfg.MODEL[key]
    assert ours == theirs


def test_their_parameters_are_of_one_order_of_magnitude(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "prepare_datasets", _six_classes)
    ours, theirs = (compare.count_parameters(config) for config in compare.DETECTORS.values())
    assert 3e6 < ours < theirs < 30e6
    whole = sum(p.numel() for p in model_zoo.get(compare.DETECTORS[OURS]).parameters())
    assert whole - ours == (80 - 6) * (256 + 1) * 5  # a score and four deltas for each class


OURS = next(iter(compare.DETECTORS))


def _six_classes(cfg):
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 6
