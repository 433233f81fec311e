"""Published AP of the configs, in their headers and beside that of the checkpoints."""

import re

import pytest

from hrnet_det import model_zoo
from hrnet_det.config.files import config_folder
from hrnet_det.config.recipes import RECIPES as RECIPES_OF_SOLVER
from hrnet_det.errors import InputError
from tools import headers
from tools.published import RECIPES as OVERRIDES
from tools.published import SOURCES, Result, published, published_line, recipe_line, results

MASK = "COCO-InstanceSegmentation/mask_rcnn_hrnetv2p_w32_2x"
MASK_RESULTS = [
    Result(MASK, "arXiv:1908.07919", 42.3, 37.6, None),
    Result(MASK, "HRNet-Object-Detection", 42.1, 37.6, None),
    Result(MASK, "mmdetection", 42.5, 37.8, None),
]
# Whose checkpoints, and what the rest of a schedule is in a config's name.
OWNERS = {
    "mmdet": "mmdetection",
    "hrnet_object_detection": "HRNet-Object-Detection",
    "maskrcnn_benchmark": "HRNet-MaskRCNN-Benchmark",
}
RECIPES = {
    "1x_syncbn": "syncbn_1x",
    "1x_syncbn_default": "syncbn_mstrain_1x",
    "2x_syncbn_default": "syncbn_mstrain_2x",
    "1x_syncbn_resizecrop": "syncbn_resizecrop_1x",
    "ms_2x": "mstrain_2x",
}


def test_published_results_by_config():
    assert published(f"{MASK}.yaml") == MASK_RESULTS
    one = "COCO-Detection/faster_rcnn_hrnetv2p_w32_1x"
    sources = [result.source for result in published(f"{one}.py")]
    others = ("mmdetection 1", "bowenc0221/panoptic-deeplab")
    assert sources == [source for source in SOURCES if source not in others]
    assert published("hrnetv2p_faster_rcnn.yaml") == published(f"{one}.yaml")
    assert published("COCO-Detection/rpn_hrnetv2p_w18_1x.yaml") == []


def test_the_line_that_says_what_is_published():
    assert published_line(MASK_RESULTS) == (
        "Published box/mask AP on COCO val2017: 42.3/37.6 (arXiv:1908.07919), "
        "42.1/37.6 (HRNet-Object-Detection), 42.5/37.8 (mmdetection)"
    )
    boxes, semantic = Result("a", "b", 36.0, None, None), Result("c", "d", None, None, 81.1)
    assert published_line([boxes]) == "Published box AP on COCO val2017: 36.0 (b)"
    assert published_line([semantic]) == "Published mIoU on Cityscapes val: 81.1 (d)"
    panoptic = Result("e", "f", None, 36.2, 80.6, 63.4)
    assert published_line([panoptic]) == (
        "Published PQ/mask AP/mIoU on Cityscapes val: 63.4/36.2/80.6 (f)"
    )
    assert published_line([]) == "Not published."


def test_the_line_that_says_which_override_trains_as_published():
    assert recipe_line(MASK_RESULTS, lazy=False) == (
        "As published: SOLVER.RECIPE hrnet_object_detection (HRNet-Object-Detection), mmdet "
        "(mmdetection); without it Detectron2's rules, which are not the training of any number "
        "above."
    )
    assert recipe_line(MASK_RESULTS, lazy=True) == (
        "As published: SOLVER.RECIPE of the YAML config; without it Detectron2's rules, which are "
        "not the training of any number above."
    )
    older = [Result("a", "mmdetection 1", 47.0, 41.0, None)]
    said = recipe_line(older, lazy=False)
    assert "SOLVER.RECIPE hrnet_object_detection (mmdetection 1);" in said
    assert recipe_line([], lazy=False) == recipe_line(MASK_RESULTS[:1], lazy=True) == ""
    assert set(OVERRIDES) < set(SOURCES) and set(OVERRIDES.values()) == set(RECIPES_OF_SOLVER)


def test_every_row_is_of_a_config_once_and_has_its_metrics():
    stems = {name.rpartition(".")[0] for name in model_zoo.names()}
    assert len({(row.config, row.source) for row in results()}) == len(results()) == 102
    for row in results():
        assert row.config in stems and row.source in SOURCES
        panoptic = "panoptic_deeplab" in row.config
        masks = "InstanceSegmentation" in row.config or panoptic
        semantic = row.config.startswith("Cityscapes/")
        known = [value is not None for value in (row.box_ap, row.mask_ap, row.miou, row.pq)]
        assert known == [not semantic, masks, semantic, panoptic], row


def test_checkpoints_have_the_ap_of_their_config():
    known = {(row.config.rpartition("/")[2], row.source): row for row in results()}
    compared = 0
    for checkpoint in model_zoo.checkpoints():
        recipe = RECIPES.get(checkpoint.schedule, checkpoint.schedule)
        config = f"{checkpoint.kind}_hrnetv2p_{checkpoint.variant}_{recipe}"
        row = known.get((config, OWNERS.get(checkpoint.source)))
        if row is not None:
            compared += 1
            assert (row.box_ap, row.mask_ap) == (checkpoint.box_ap, checkpoint.mask_ap), config
    assert compared == 52  # two schedules have no config


@pytest.mark.parametrize("name", headers.header_names())
def test_a_header_is_up_to_date_and_true_of_its_config(name):
    header = headers.read_header(name)
    assert (config_folder() / name).read_text().startswith(headers.header_text(name)), (
        "python -m tools.headers"
    )
    cfg = model_zoo.get_config(name)
    if name.endswith(".py"):
        variant, batch = cfg.model.backbone.get("bottom_up", cfg.model.backbone), None
        variant = variant.get("bottom_up", variant).get("variant", variant.get("variant"))
        batch = cfg.dataloader.train.total_batch_size
    else:
        variant, batch = cfg.MODEL.HRNET.VARIANT, cfg.SOLVER.IMS_PER_BATCH
    assert header.variant.lower() == variant
    assert header.gpus * header.images == batch


def test_headers_are_written_anew_and_what_follows_stays(tmp_path, monkeypatch):
    name = "COCO-Detection/new_w18.yaml"
    (tmp_path / "COCO-Detection").mkdir()
    path = tmp_path / name
    second = "# Mask R-CNN, HRNetV2p-W18, 1x, for 4 GPUs, 3 images each.\n"
    path.write_text(f"# old\n{second}# Published box AP: 1.0\n#   and more\n# Why.\nSEED: 1\n")
    found = [
        Result(name, f"a source with a long name, number {n}", 30.0 + n, 29.0, None)
        for n in range(2)
    ] + [Result(name, "mmdetection", 33.0, 31.0, None)]
    monkeypatch.setattr(headers, "config_folder", lambda: tmp_path)
    monkeypatch.setattr(headers, "names", lambda: [name])
    monkeypatch.setattr(headers, "published", lambda _: found)
    assert headers.write_headers() == [name]
    lines = path.read_text().splitlines()
    assert lines[0] == (
        f"# python train_net.py --config-file {name} --num-gpus 4 "
        "MODEL.WEIGHTS timm://hrnet_w18.ms_in1k"
    )
    assert lines[1:] == [
        second.strip(),
        "# Published box/mask AP on COCO val2017: 30.0/29.0 (a source with a long name, number 0),",
        "#   31.0/29.0 (a source with a long name, number 1), 33.0/31.0 (mmdetection)",
        "# As published: SOLVER.RECIPE mmdet (mmdetection); without it Detectron2's rules, which "
        "are not the",
        "#   training of any number above.",
        "# Why.",
        "SEED: 1",
    ]
    assert headers.write_headers() == []


def test_a_second_line_of_another_form_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "a.yaml").write_text("# one\n# A detector\n")
    monkeypatch.setattr(headers, "config_folder", lambda: tmp_path)
    message = re.escape("a.yaml: its second line is '# A detector'; it must be '# DETECTOR, ")
    with pytest.raises(InputError, match=message):
        headers.read_header("a.yaml")
