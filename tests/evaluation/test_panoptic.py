"""Panoptic quality against pixels counted one by one, and the quickstart's truth as prediction."""

import json

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BitMasks, Instances
from PIL import Image

from hrnet_det import get_cfg
from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.quickstart import make_quickstart
from hrnet_det.data.registration import register_quickstart
from hrnet_det.evaluation.evaluators import build_evaluator
from hrnet_det.evaluation.panoptic import PanopticEvaluator, compare, quality
from hrnet_det.modeling.segment_ids import segment_ids

THING, OTHER, STUFF = 1, 2, 9  # categories


def segment(number, category, crowd=0):
    return {"id": number, "category_id": category, "iscrowd": crowd}


def line(*runs):
    """An image of one row from (id, pixels) pairs."""
    return np.array([[number for number, pixels in runs for _ in range(pixels)]])


def counted(predicted, predicted_segments, true, true_segments):
    found = compare(predicted, predicted_segments, true, true_segments)
    return {category: values.tolist() for category, values in found.items()}


def test_a_match_needs_an_iou_over_a_half_and_the_same_category():
    true, segments = line((1, 6), (2, 4)), [segment(1, THING), segment(2, STUFF)]
    # 5 of 6 found as a thing; the pixel more goes to the stuff: 4 of 5
    predicted = line((7, 5), (8, 5))
    found = [segment(7, THING), segment(8, STUFF)]
    assert counted(predicted, found, true, segments) == {
        THING: [5 / 6, 1, 0, 0],
        STUFF: [4 / 5, 1, 0, 0],
    }
    other = [segment(7, OTHER), segment(8, STUFF)]
    assert counted(predicted, other, true, segments) == {
        THING: [0, 0, 1, 0],
        OTHER: [0, 0, 0, 1],
        STUFF: [4 / 5, 1, 0, 0],
    }
    half = line((7, 3), (8, 7))  # 3 of 6: an IoU of exactly a half is none
    assert counted(half, found, true, segments)[THING] == [0, 0, 1, 1]


def test_unlabelled_pixels_do_not_count_against_a_prediction():
    true, segments = line((1, 4), (0, 6)), [segment(1, THING)]
    found = [segment(7, THING)]
    assert counted(line((7, 10)), found, true, segments) == {THING: [1, 1, 0, 0]}
    apart = line((0, 4), (7, 6))  # wholly on unlabelled pixels: forgiven
    assert counted(apart, found, true, segments) == {THING: [0, 0, 1, 0]}


def test_crowds_are_neither_missed_nor_matched_and_forgive_their_category():
    true, segments = line((1, 10)), [segment(1, THING, crowd=1)]
    assert counted(line((7, 10)), [segment(7, THING)], true, segments) == {}
    assert counted(line((0, 10)), [], true, segments) == {}
    assert counted(line((7, 10)), [segment(7, OTHER)], true, segments) == {OTHER: [0, 0, 0, 1]}


def naive(predicted, predicted_segments, true, true_segments):
    """By comparing every pair of segments pixel by pixel."""
    result = {}
    taken = set()
    for t in true_segments:
        values = result.setdefault(t["category_id"], [0.0, 0, 0, 0])
        if t["iscrowd"]:
            continue
        best = 0.0
        for p in predicted_segments:
            both = either = 0
            for a, b in zip(true.flat, predicted.flat, strict=True):
                both += a == t["id"] and b == p["id"]
                either += a == t["id"] or (b == p["id"] and a != 0)
            if p["category_id"] == t["category_id"] and both / either > 0.5:
                best = both / either
                taken.add(p["id"])
        values[0] += best
        values[1 if best else 2] += 1
    for p in predicted_segments:
        inside = [a for a, b in zip(true.flat, predicted.flat, strict=True) if b == p["id"]]
        kinds = {t["id"]: t for t in true_segments}
        forgiven = sum(
            a == 0 or (kinds[a]["iscrowd"] and kinds[a]["category_id"] == p["category_id"])
            for a in inside
        )
        if p["id"] not in taken and inside and forgiven / len(inside) <= 0.5:
            result.setdefault(p["category_id"], [0.0, 0, 0, 0])[3] += 1
    return {category: values for category, values in result.items() if any(values)}


def test_random_images_are_counted_as_pixel_by_pixel():
    rng = np.random.default_rng(0)
    matches = 0
    for _ in range(40):
        true = np.kron(rng.integers(0, 5, (3, 4)), np.ones((2, 2), int))
        predicted = np.where(rng.random(true.shape) < 0.15, rng.integers(0, 5, true.shape), true)
        predicted = predicted + 10 * (predicted > 0)
        truth = [segment(n, int(rng.integers(1, 3)), int(rng.random() < 0.2)) for n in range(1, 5)]
        truth = [s for s in truth if (true == s["id"]).any()]
        found = [segment(n + 10, int(rng.integers(1, 3))) for n in range(1, 5)]
        expected = naive(predicted, found, true, truth)
        result = counted(predicted, found, true, truth)
        assert set(result) == set(expected)
        for category, values in expected.items():
            assert result[category] == pytest.approx(values)
            matches += values[1]
    assert matches > 10


def test_quality_is_the_mean_over_categories():
    rows = [np.array([1.5, 2, 1, 1]), np.array([0.0, 0, 1, 0])]
    assert quality(rows) == pytest.approx({"PQ": 0.25, "SQ": 0.375, "RQ": 1 / 3})
    assert all(np.isnan(value) for value in quality([]).values())


def test_ids_are_in_red_green_and_blue():
    assert segment_ids(np.array([[[7, 2, 1]]], np.uint8)).tolist() == [[7 + 2 * 256 + 65536]]


def test_the_evaluator_gives_percents_of_things_and_stuff(tmp_path):
    content = {
        "categories": [{"id": THING, "isthing": 1}, {"id": STUFF, "isthing": 0}],
        "annotations": [
            {
                "image_id": 3,
                "file_name": "3.png",
                "segments_info": [segment(1, THING), segment(2, STUFF)],
            }
        ],
    }
    (tmp_path / "panoptic.json").write_text(json.dumps(content))
    pixels = np.zeros((1, 10, 3), np.uint8)
    pixels[0, :, 0] = line((1, 6), (2, 4))
    Image.fromarray(pixels).save(tmp_path / "3.png")
    MetadataCatalog.get("tiny_panoptic").set(
        panoptic_json=str(tmp_path / "panoptic.json"),
        panoptic_root=str(tmp_path),
        thing_dataset_id_to_contiguous_id={THING: 0},
        stuff_dataset_id_to_contiguous_id={STUFF: 1},
    )
    evaluator = PanopticEvaluator("tiny_panoptic")
    found = [
        {"id": 1, "isthing": True, "category_id": 0},
        {"id": 2, "isthing": False, "category_id": 1},
    ]
    output = {"panoptic_seg": (torch.from_numpy(line((1, 5), (2, 5))), found)}
    evaluator.process([{"image_id": 3}], [output])
    results = evaluator.evaluate()["panoptic_seg"]
    MetadataCatalog.pop("tiny_panoptic")
    assert results["PQ_th"] == pytest.approx(100 * 5 / 6) and results["RQ_th"] == 100
    assert results["PQ_st"] == results["SQ_st"] == pytest.approx(80)
    assert results["PQ"] == pytest.approx(100 * (5 / 6 + 4 / 5) / 2)


# --- the quickstart's data ---


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """The quickstart's datasets, registered again with three images."""
    make_quickstart(tmp_path / "quickstart", counts={"train": 1, "val": 3})
    with monkeypatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(tmp_path))
        patch.setattr("hrnet_det.data.quickstart.make_quickstart", lambda _: None)
        register_quickstart()
        yield
    register_quickstart()


def perfect(row, truth):
    """What a panoptic model without a fault would predict of an image."""
    labels = torch.from_numpy(np.asarray(Image.open(row["sem_seg_file_name"])).copy()).long()
    pixels = np.asarray(Image.open(row["pan_seg_file_name"]).convert("RGB"))
    ids = torch.from_numpy(segment_ids(pixels))
    ground, *things = [s for s in truth["segments_info"] if not s["iscrowd"]]
    masks = BitMasks(torch.stack([ids == s["id"] for s in things]))
    classes = torch.tensor([s["category_id"] - 1 for s in things])
    instances = Instances(tuple(ids.shape))
    instances.pred_masks, instances.pred_boxes = masks.tensor, masks.get_bounding_boxes()
    instances.pred_classes, instances.scores = classes, torch.ones(len(things))
    segments = [{"id": ground["id"], "isthing": False, "category_id": 1}]
    for s, number in zip(things, classes.tolist(), strict=True):
        segments.append({"id": s["id"], "isthing": True, "category_id": number})
    return {
        "instances": instances,
        "sem_seg": torch.nn.functional.one_hot(labels, 2).permute(2, 0, 1).float(),
        "panoptic_seg": (ids, segments),
    }


def run_on(dataset):
    cfg = get_cfg()
    cfg.DATASETS.TEST = (dataset,)
    return RunConfig(cfg)


def test_the_truth_of_the_quickstart_is_a_perfect_prediction(drawn, tmp_path):
    run = run_on("quickstart_panoptic_val")
    run[settings.OUTPUT_DIR] = str(tmp_path)
    metadata = MetadataCatalog.get("quickstart_panoptic_val")
    with open(metadata.panoptic_json) as file:
        truth = {row["image_id"]: row for row in json.load(file)["annotations"]}
    evaluator = build_evaluator(run, "quickstart_panoptic_val")
    evaluator.reset()
    rows = DatasetCatalog.get("quickstart_panoptic_val")
    for row in rows:
        of_image = truth[row["image_id"]]
        path = f"{metadata.panoptic_root}/{of_image['file_name']}"
        evaluator.process([row], [perfect(row | {"pan_seg_file_name": path}, of_image)])
    results = evaluator.evaluate()
    assert len(rows) == 3 and set(results) == {"bbox", "segm", "sem_seg", "panoptic_seg"}
    assert results["sem_seg"]["mIoU"] == results["sem_seg"]["IoU-ground"] == 100
    for name in ("PQ", "SQ", "RQ", "PQ_th", "PQ_st"):
        assert results["panoptic_seg"][name] == pytest.approx(100)
    assert results["bbox"]["AP50"] == pytest.approx(100)
    assert results["segm"]["AP50"] == pytest.approx(100)


def test_the_classes_of_the_quickstarts_pixels_are_those_of_its_labels(drawn, tmp_path):
    run = run_on("quickstart_semantic_val")
    run[settings.OUTPUT_DIR] = str(tmp_path)
    evaluator = build_evaluator(run, "quickstart_semantic_val")
    evaluator.reset()
    rows, seen = DatasetCatalog.get("quickstart_semantic_val"), set()
    for row in rows:
        labels = torch.from_numpy(np.asarray(Image.open(row["sem_seg_file_name"])).copy()).long()
        seen |= set(labels.unique().tolist())
        scores = torch.nn.functional.one_hot(labels, 7).permute(2, 0, 1).float()
        evaluator.process([row], [{"sem_seg": scores}])
    found = evaluator.evaluate()["sem_seg"]
    names = MetadataCatalog.get("quickstart_semantic_val").stuff_classes
    assert seen >= {0} and len(seen) > 3 and names[0] == "ground"
    assert found["mIoU"] == 100
    for number, name in enumerate(names):
        value = found[f"IoU-{name}"]
        assert value == 100 if number in seen else np.isnan(value)
