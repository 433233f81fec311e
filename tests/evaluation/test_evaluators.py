"""Which evaluators datasets get, by which metric a detector is judged, and VOC and LVIS as such."""

import json
import sys

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import (
    DatasetEvaluators,
    PascalVOCDetectionEvaluator,
    SemSegEvaluator,
)
from detectron2.structures import Boxes, BoxMode, Instances, polygons_to_bitmask
from helpers.stand_ins import HEIGHT, LVIS_IDS, WIDTH, registered_lvis, registered_voc
from helpers.tiny import TINY, train_net

from hrnet_det import get_cfg
from hrnet_det.config.run_config import RunConfig
from hrnet_det.errors import InputError
from hrnet_det.evaluation.coco import CocoEvaluator
from hrnet_det.evaluation.dropped_names import CityscapesInstances, CityscapesSemanticLabels
from hrnet_det.evaluation.evaluators import best_metric, build_evaluator, check_evaluator
from hrnet_det.evaluation.panoptic import PanopticEvaluator
from hrnet_det.modeling.kinds import KINDS


def run_of(kind="faster_rcnn", *test):
    """A run of a kind of detector."""
    row, cfg = KINDS[kind], get_cfg()
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.ROI_HEADS.NAME = row.meta_arch, [*row.roi_heads, ""][0]
    cfg.MODEL.MASK_ON, cfg.MODEL.KEYPOINT_ON = row.masks, row.keypoints
    cfg.DATASETS.TEST = test or ("quickstart_val",)
    return RunConfig(cfg)


@pytest.fixture
def everything(coco, tmp_path):
    """The metadata of a dataset that has everything, whose kind a test chooses."""
    (tmp_path / "panoptic.json").write_text(json.dumps({"categories": [], "annotations": []}))
    DatasetCatalog.register("all", lambda: [{"file_name": "a", "sem_seg_file_name": "b"}])
    yield MetadataCatalog.get("all").set(
        json_file=str(coco / "polygons.json"),
        panoptic_json=str(tmp_path / "panoptic.json"),
        panoptic_root=str(tmp_path),
        sem_seg_root=str(tmp_path),
        thing_classes=["disc", "bar", "absent"],
        stuff_classes=["things", "ground"],
        ignore_label=255,
        thing_dataset_id_to_contiguous_id={3: 0, 7: 1, 12: 2},
        stuff_dataset_id_to_contiguous_id={13: 1},
        dirname=str(tmp_path),
        split="val",
        year=2012,
        gt_dir=str(tmp_path),
    )
    DatasetCatalog.remove("all")
    MetadataCatalog.remove("all")


# --- which evaluators ---


@pytest.mark.parametrize(
    ("kind", "evaluators"),
    [
        ("coco", [CocoEvaluator]),
        ("sem_seg", [SemSegEvaluator]),
        ("coco_panoptic_seg", [CocoEvaluator, SemSegEvaluator, PanopticEvaluator]),
        ("pascal_voc", [PascalVOCDetectionEvaluator]),
        ("cityscapes_instance", [CityscapesInstances]),
        ("cityscapes_sem_seg", [CityscapesSemanticLabels]),
    ],
)
def test_a_dataset_gets_the_evaluators_of_its_kind(kind, evaluators, everything, monkeypatch):
    monkeypatch.setitem(sys.modules, "cityscapesscripts", sys)
    everything.evaluator_type = kind
    built = build_evaluator(run_of(), "all")
    several = built._evaluators if type(built) is DatasetEvaluators else [built]
    assert [type(evaluator) for evaluator in several] == evaluators


def test_a_kind_that_is_not_known(everything):
    everything.evaluator_type = "mine"
    with pytest.raises(InputError, match="wants the evaluator 'mine'; there are coco, lvis, pasc"):
        check_evaluator(run_of(), "all")


@pytest.mark.parametrize(
    ("dataset", "package", "command"),
    [
        ("cityscapes_fine_sem_seg_val", "cityscapesscripts", "pip install cityscapesscripts"),
        ("lvis_v1_val", "lvis", "pip install lvis"),
    ],
)
def test_a_package_that_is_missing(dataset, package, command, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError) as error:
        check_evaluator(run_of(), dataset)
    assert str(error.value).startswith(f"dataset {dataset} needs the package {package} (Module")
    assert f": {command}" in str(error.value)


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("sem_seg", ["stuff_classes", "ignore_label"]),
        ("coco_panoptic_seg", ["panoptic_json", "panoptic_root", "ignore_label"]),
        ("pascal_voc", ["dirname", "split", "year"]),
        ("lvis", ["json_file"]),
        ("cityscapes_sem_seg", ["gt_dir"]),
    ],
)
def test_metadata_that_is_missing(kind, keys, everything):
    everything.evaluator_type = kind
    content = everything.as_dict()
    for key in keys:
        MetadataCatalog.get("other").set(
            **{k: v for k, v in content.items() if k not in (key, "name")}
        )
        with pytest.raises(InputError, match=f"dataset other has no {key} in its metadata, which"):
            check_evaluator(run_of(), "other")
        MetadataCatalog.remove("other")


# --- which metric ---


@pytest.mark.parametrize(
    ("kind", "test", "metric"),
    [
        ("faster_rcnn", ["quickstart_val"], "bbox/AP"),
        ("mask_rcnn", ["lvis_v1_val"], "bbox/AP"),
        ("faster_rcnn", ["voc_2007_val"], "bbox/AP"),
        ("panoptic_fpn", ["quickstart_panoptic_val"], "panoptic_seg/PQ"),
        ("panoptic_fpn", ["coco_2017_val"], "bbox/AP"),
        ("panoptic_fpn", ["quickstart_semantic_val"], "sem_seg/mIoU"),
        ("mask_rcnn", ["cityscapes_fine_instance_seg_val"], "segm/AP"),
        ("semantic_seg", ["quickstart_semantic_val"], "sem_seg/mIoU"),
        ("semantic_seg", ["cityscapes_fine_sem_seg_val"], "sem_seg/IoU"),
        ("rpn", ["quickstart_val"], "box_proposals/AR@1000"),
        ("rpn", ["quickstart_val", "b"], "quickstart_val/box_proposals/AR@1000"),
        ("rpn", ["lvis_v1_val"], "box_proposals/AR@1000"),
    ],
)
def test_the_best_checkpoint_is_chosen_by_the_metric_of_the_task(kind, test, metric):
    assert best_metric(run_of(kind, *test)) == metric


# --- Pascal VOC and LVIS ---


@pytest.fixture
def voc(tmp_path):
    with registered_voc(tmp_path / "VOC2007") as name:
        yield name


@pytest.fixture
def lvis(tmp_path):
    pytest.importorskip("lvis")
    with registered_lvis(tmp_path) as name:
        yield name


def perfect(row):
    """What a detector without a fault would predict of an image."""
    found = Instances((HEIGHT, WIDTH))
    modes = [(o["bbox"], o["bbox_mode"]) for o in row["annotations"]]
    boxes = [BoxMode.convert(box, mode, BoxMode.XYXY_ABS) for box, mode in modes]
    found.pred_boxes = Boxes(torch.tensor(boxes))
    found.pred_classes = torch.tensor([o["category_id"] for o in row["annotations"]])
    found.scores = torch.ones(len(boxes))
    if "segmentation" in row["annotations"][0]:
        masks = [polygons_to_bitmask(o["segmentation"], HEIGHT, WIDTH) for o in row["annotations"]]
        found.pred_masks = torch.from_numpy(np.stack(masks))
    return {"instances": found}


def results(name, predict=perfect):
    run = run_of("mask_rcnn", name)
    evaluator = build_evaluator(run, name)
    evaluator.reset()
    for row in DatasetCatalog.get(name):
        evaluator.process([row], [predict(row)])
    return evaluator.evaluate()


def without_the_first(row):
    output = perfect(row)
    output["instances"] = output["instances"][1:]
    return output


@pytest.mark.parametrize("year", [2007, 2012])
def test_the_truth_of_voc_is_a_perfect_prediction(tmp_path, year):
    with registered_voc(tmp_path / "VOC", year) as name:
        found = results(name)
        assert list(found) == ["bbox"]
        assert found["bbox"] == pytest.approx({"AP": 100, "AP50": 100, "AP75": 100})
        assert results(name, without_the_first)["bbox"]["AP"] == pytest.approx(50)  # of two classes


def test_the_truth_of_lvis_is_a_perfect_prediction(lvis, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = results(lvis)
    assert list(found) == ["bbox", "segm"]
    for metrics in found.values():
        assert {key: metrics[key] for key in ("AP", "AP50", "APr", "APc", "APf")} == pytest.approx(
            {"AP": 100, "AP50": 100, "APr": 100, "APc": 100, "APf": 100}
        )
    found = results(lvis, without_the_first)["segm"]
    assert (found["APr"], found["APc"]) == pytest.approx((0, 100))
    assert found["AP"] == pytest.approx(200 / 3)
    assert not hasattr(np, "float")
    written = json.loads((tmp_path / "output/inference/lvis_instances_results.json").read_text())
    assert {row["category_id"] for row in written} == set(LVIS_IDS[1:])


def train(kind, name, tmp_path, *words):
    names = ["DATASETS.TRAIN", f"('{name}',)", "DATASETS.TEST", f"('{name}',)"]
    words = [*TINY, *names, "OUTPUT_DIR", tmp_path / "run", *words]
    return train_net("--config-file", f"hrnetv2p_{kind}.yaml", *words)


def test_voc_trains_and_is_evaluated(voc, tmp_path):
    outcome = train("faster_rcnn", voc, tmp_path)
    assert outcome.code == 0, outcome.err
    saved = json.loads((tmp_path / "run" / "results.json").read_text())
    assert set(saved["bbox"]) == {"AP", "AP50", "AP75"}
    assert (tmp_path / "run" / "model_best.pth").is_file()
    assert "MODEL.ROI_HEADS.NUM_CLASSES 2" in outcome.out


def test_a_year_that_voc_has_no_rule_for(tmp_path):
    with registered_voc(tmp_path / "VOC", year=2020) as name:
        outcome = train("faster_rcnn", name, tmp_path)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: dataset {name} has the year 2020 in its metadata")


def test_voc_has_no_masks(voc, tmp_path):
    outcome = train("mask_rcnn", voc, tmp_path)
    assert outcome.code == 2
    assert outcome.err.startswith(
        "error: Mask R-CNN learns masks, but the objects of voc_tiny have"
    )


def test_lvis_trains_and_is_evaluated(lvis, tmp_path):
    outcome = train("mask_rcnn", lvis, tmp_path, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0")
    assert outcome.code == 0, outcome.err
    assert "MODEL.ROI_HEADS.NUM_CLASSES 1203" in outcome.out
    saved = json.loads((tmp_path / "run" / "results.json").read_text())
    for task in ("bbox", "segm"):
        assert 0 <= saved[task]["AP"] <= 100 and {"APr", "APc", "APf"} <= set(saved[task])
