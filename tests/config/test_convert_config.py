"""`hrnet-det convert-config`: mmdetection's own configs, and what users make of them."""

import pytest
from helpers import mmdet_config

from hrnet_det import cli
from hrnet_det.config.yaml import load_config
from hrnet_det.config.yaml_files import flat
from hrnet_det.convert_config import convert_config

HAS_MMDET = bool(mmdet_config.HRNETS)
needs_mmdet = pytest.mark.skipif(not HAS_MMDET, reason="mmdetection's configs are not installed")
OURS = [path for path in mmdet_config.HRNETS if "hrnetv2p" in path.name]


def test_all_of_its_configs_are_there():
    assert not HAS_MMDET or (len(OURS), len(mmdet_config.HRNETS)) == (29, 30)


@needs_mmdet
@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_a_published_config_keeps_its_values(path, tmp_path):
    converted = convert_config(path)
    assert (converted.lacking, len(converted.stated) <= 5) == ([], True)
    (tmp_path / "mine.yaml").write_text(converted.text)
    found = flat(load_config(tmp_path / "mine.yaml"))
    values = mmdet_config.expected(path)
    assert found["MODEL.CONVENTIONS"] == "mmdet"
    matches = values.pop("low quality", None)
    if matches is not None:
        means = {"always": True, "never": False, "with_masks": found["MODEL.MASK_ON"]}
        assert means[found["MODEL.ROI_HEADS.LOW_QUALITY_MATCHES"]] == matches
    differing = {
        key: found[key] for key in values if not mmdet_config.close(found[key], values[key])
    }
    assert not differing


@needs_mmdet
def test_another_network_is_refused_by_name(capsys):
    path = mmdet_config.CONFIGS / "hrnet" / "htc_x101-64x4d_fpn_16xb1-28e_coco.py"
    assert cli.main(["convert-config", str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err == (
        f"error: {mmdet_config.CONFIGS}/htc/htc_x101-64x4d_fpn_16xb1-20e_coco.py:4: "
        "model.backbone.type is 'ResNeXt': a HybridTaskCascade with it is none of ours; "
        "known here: HRNet\n"
    )
