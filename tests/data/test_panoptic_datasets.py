"""Datasets of panoptic segments, from their files to the evaluation."""

import json

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BitMasks, Instances
from helpers.coco_shape import datasets_at, write_cityscapes, write_coco
from PIL import Image

from hrnet_det import model_zoo
from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data import datasets, quickstart, registration
from hrnet_det.data.sampling import build_train_loader
from hrnet_det.errors import InputError, MissingInputError
from hrnet_det.evaluation.evaluators import build_evaluator
from hrnet_det.modeling.segment_ids import segment_ids
from hrnet_det.report.image_views import ground_truth

CONFIG = "quickstart/panoptic_deeplab"
TRAIN, VAL = (f"quickstart_panoptic_standard_{split}" for split in ("train", "val"))


def config(*words):
    keys = ["INPUT.MIN_SIZE_TRAIN", "(40,)", "INPUT.SMALL_INSTANCE_AREA", "120"]
    keys += ["MODEL.PANOPTIC_DEEPLAB.THING_CLASSES", "[0,1,2,3,4,5]"]
    return model_zoo.get_config(CONFIG, [*keys, *words])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The quickstart's datasets of a few images."""
    root = tmp_path_factory.mktemp("root")
    patch = pytest.MonkeyPatch()
    patch.setenv("DETECTRON2_DATASETS", str(root))
    patch.setattr(quickstart.make_quickstart, "__kwdefaults__", {"counts": {"train": 4, "val": 3}})
    registration.register_quickstart()
    quickstart.make_quickstart(root / "quickstart")
    yield root
    patch.undo()
    registration.register_quickstart()


def perfect(row, things, dataset=VAL):
    """The truth of an image as a prediction."""
    ids = torch.from_numpy(segment_ids(np.asarray(Image.open(row["pan_seg_file_name"]))))
    segments = [s | {"isthing": s["category_id"] in things} for s in row["segments_info"]]
    objects = [s for s in segments if s["isthing"]]
    found = Instances(tuple(ids.shape))
    found.pred_masks = torch.stack([ids == s["id"] for s in objects])
    truth, _ = ground_truth(row, tuple(ids.shape), MetadataCatalog.get(dataset))
    assert len(truth) == sum(not s["iscrowd"] for s in objects)
    assert set(truth.gt_classes.tolist()) == {s["category_id"] for s in objects if not s["iscrowd"]}
    found.pred_classes = torch.tensor([s["category_id"] for s in objects])
    found.scores = torch.ones(len(objects))
    found.pred_boxes = BitMasks(found.pred_masks).get_bounding_boxes()
    logits = torch.zeros(19, *ids.shape)
    for segment in segments:
        logits[segment["category_id"]][ids == segment["id"]] = 1
    return {"instances": found, "panoptic_seg": (ids, segments), "sem_seg": logits}


def test_the_truth_of_the_quickstart_is_a_perfect_prediction(drawn, tmp_path):
    run = RunConfig(config("DATASETS.TEST", f"('{VAL}',)", "OUTPUT_DIR", str(tmp_path)))
    evaluator = build_evaluator(run, VAL)
    evaluator.reset()
    rows = DatasetCatalog.get(VAL)
    for row in rows:
        evaluator.process([row], [perfect(row, range(6))])
    results = evaluator.evaluate()
    assert len(rows) == 3 and set(results) == {"bbox", "segm", "panoptic_seg"}
    for name in ("PQ", "SQ", "RQ", "PQ_th", "PQ_st"):
        assert results["panoptic_seg"][name] == pytest.approx(100)
    assert results["bbox"]["AP50"] == pytest.approx(100)
    assert results["segm"]["AP50"] == pytest.approx(100)


def test_the_truth_of_cityscapes_is_a_perfect_prediction(tmp_path):
    write_cityscapes(tmp_path)
    name = "cityscapes_fine_panoptic_val"
    with datasets_at(tmp_path):
        run = RunConfig(config("DATASETS.TEST", f"('{name}',)", "OUTPUT_DIR", str(tmp_path)))
        evaluator = build_evaluator(run, name)
        evaluator.reset()
        (row,) = DatasetCatalog.get(name)
        evaluator.process([row], [perfect(row, range(11, 19), name)])
        results = evaluator.evaluate()
    assert set(results) == {"panoptic_seg", "segm", "sem_seg"}
    assert results["panoptic_seg"]["PQ"] == results["panoptic_seg"]["PQ_th"] == 100
    assert results["segm"]["AP"] == pytest.approx(100) and results["sem_seg"]["IoU"] == 100


def test_classes_and_things_follow_the_data(drawn, capsys):
    run = RunConfig(model_zoo.get_config(CONFIG))
    datasets.prepare_datasets(run)
    assert run[settings.SEMANTIC_CLASSES] == 7 and run[settings.THING_CLASSES] == list(range(6))
    said = capsys.readouterr().out
    assert f"MODEL.PANOPTIC_DEEPLAB.THING_CLASSES [0, 1, 2, 3, 4, 5], as {TRAIN} has." in said
    names = MetadataCatalog.get(TRAIN).thing_classes
    assert names == [*quickstart.CLASSES, quickstart.GROUND]


def test_things_that_are_not_those_of_the_data(drawn):
    words = ["MODEL.PANOPTIC_DEEPLAB.THING_CLASSES", "[0, 1]"]
    cfg = model_zoo.get_config(CONFIG, words)
    run = RunConfig(cfg, overrides=words, stated=words[::2])
    with pytest.raises(InputError, match=r"THING_CLASSES is \[0, 1\], but the things of"):
        datasets.prepare_datasets(run)


def test_rows_are_those_of_the_json(drawn):
    rows = DatasetCatalog.get(TRAIN)
    metadata = MetadataCatalog.get(TRAIN)
    with open(metadata.panoptic_json) as file:
        content = json.load(file)
    assert len(rows) == len(content["annotations"]) == 4
    for row, annotation in zip(rows, content["annotations"], strict=True):
        assert row["image_id"] == annotation["image_id"] and row["width"] > row["height"] / 4
        found = [s["category_id"] for s in row["segments_info"]]
        assert found == [s["category_id"] - 1 for s in annotation["segments_info"]]


def test_cityscapes_without_what_its_scripts_write(tmp_path):
    write_cityscapes(tmp_path)
    name = "cityscapes_fine_panoptic_val"
    (missing,) = tmp_path.glob("cityscapes/gtFine/val/*/*_labelTrainIds.png")
    missing.unlink()
    words = ["DATASETS.TRAIN", f"('{name}',)", "DATASETS.TEST", f"('{name}',)"]
    with datasets_at(tmp_path), pytest.raises(MissingInputError) as error:
        datasets.prepare_datasets(RunConfig(model_zoo.get_config(CONFIG, words)))
    assert str(error.value).startswith(f"dataset {name}: Please generate labelTrainIds.png with ")


def test_rows_without_sizes_are_not_grouped_by_shape(tmp_path):
    """As those of Detectron2's panoptic datasets."""
    write_coco(tmp_path)
    with datasets_at(tmp_path):
        rows = DatasetCatalog.get("coco_2017_train_panoptic")
    assert len(rows) == 2 and "width" not in rows[0]
    loader = build_train_loader(rows, mapper=None, total_batch_size=2)
    assert loader.wide == []
