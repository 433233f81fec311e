"""The folder of a run whose detector finds well, poorly, twice, as another class, or not at all."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from hrnet_det.config.load import load_run
from hrnet_det.data.datasets import prepare_datasets
from hrnet_det.evaluation.predictions import record_predictions

WIDTH, HEIGHT = 160, 120  # pixels, of the images


def write_run(folder, classes, *, images=12, per_image=5, seed=0, masks=False, limit=100):
    """Write config.yaml, the data, what was detected in it, and metrics of three evaluations.

    Class 0 is often taken for the last one, and small objects are often missed.
    """
    folder = Path(folder)
    rng = np.random.default_rng(seed)
    truth = _truth(rng, len(classes), images, per_image)
    content = {
        "images": [
            {"id": n, "file_name": f"{n}.png", "width": WIDTH, "height": HEIGHT}
            for n in range(1, images + 1)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(classes, start=1)],
        "annotations": truth,
    }
    data = folder / "own"
    data.mkdir(parents=True)
    for number in range(1, images + 1):
        pixels = rng.integers(90, 160, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
        Image.fromarray(pixels).resize((WIDTH, HEIGHT)).save(data / f"{number}.png")
    (data / "test.json").write_text(json.dumps(content))
    _write_config(folder, data, "mask_rcnn" if masks else "faster_rcnn", limit, len(classes))
    rows = _detections(rng, truth, len(classes), images, masks=masks)
    (folder / "inference").mkdir()
    (folder / "inference" / "coco_instances_results.json").write_text(json.dumps(rows))
    run = load_run(folder / "config.yaml")
    prepare_datasets(run, trains=False)
    record_predictions(run, "custom_test", max_detections=max(100, limit))
    write_metrics(folder)
    box = {"AP": 41.26, "AP50": 63.0, "AP75": 40.0, "APs": 12.5, "APm": 40.0, "APl": float("nan")}
    results = {"bbox": box | {f"AP-{name}": 40.0 for name in classes}}
    if masks:
        results["segm"] = results["bbox"]
    text = json.dumps(results).replace("NaN", "null")
    (folder / "results.json").write_text(text)
    return content


def write_metrics(folder):
    """A training that overfits from iteration 399 on."""
    rows = []
    for iteration in range(19, 1000, 20):
        loss = 2 / (1 + iteration / 100)
        rows.append({"iteration": iteration, "total_loss": loss, "loss_cls": loss / 2, "lr": 0.01})
    for iteration, ap, loss in ((199, 20.0, 1.0), (399, 45.0, 0.8), (999, 41.26, 1.0)):
        (row,) = (row for row in rows if row["iteration"] == iteration)
        row |= {"bbox/AP": ap, "bbox/AP50": ap + 20, "validation_loss/total": loss}
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (Path(folder) / "metrics.json").write_text(text)


def _write_config(folder, data, config, limit, classes):
    run = load_run(f"custom/{config}.yaml", ["OUTPUT_DIR", str(folder)])
    run.cfg.DATASETS.CUSTOM.TEST_JSON = str(data / "test.json")
    run.cfg.DATASETS.CUSTOM.TEST_IMAGES = str(data)
    run.cfg.DATASETS.TEST = ("custom_test",)
    run.cfg.TEST.DETECTIONS_PER_IMAGE = limit
    run.cfg.MODEL.ROI_HEADS.NUM_CLASSES = classes
    (folder / "config.yaml").write_text(run.text())


def _truth(rng, classes, images, per_image):
    rows = []
    for image in range(1, images + 1):
        for _ in range(rng.integers(1, 2 * per_image)):
            width, height = rng.uniform(10, 60, 2).round(1).tolist()
            x, y = (rng.uniform(0, side - 60) for side in (WIDTH, HEIGHT))
            x, y = round(x, 1), round(y, 1)
            outline = [x, y, x + width, y, x + width, y + height, x, y + height]
            row = {"id": len(rows) + 1, "image_id": image, "iscrowd": 0}
            row |= {"category_id": int(rng.integers(1, classes + 1)), "area": width * height}
            rows.append(row | {"bbox": [x, y, width, height], "segmentation": [outline]})
    return rows


def _detections(rng, truth, classes, images, *, masks):
    rows = []
    for row in truth:
        x, y, width, height = row["bbox"]
        if width * height < 32**2 and rng.random() < 0.6:
            continue
        for again in range(1 + (rng.random() < 0.15)):
            spread = 0.04 if rng.random() < 0.7 else 0.25
            moved = rng.normal(0, spread, 4) * [width, height, width, height]
            box = [x + moved[0], y + moved[1], width * np.exp(spread * moved[2] / width), height]
            label = row["category_id"]
            if rng.random() < (0.5 if label == 1 else 0.05):
                label = classes
            score = float(np.clip(rng.normal(0.75 - 0.3 * again - spread, 0.15), 0.05, 0.99))
            rows.append(_row(row["image_id"], label, box, score))
    for image in range(1, images + 1):
        for _ in range(rng.integers(0, 4)):
            box = [*rng.uniform(0, 60, 2), *rng.uniform(10, 50, 2)]
            score = float(rng.uniform(0.05, 0.6))
            rows.append(_row(image, int(rng.integers(1, classes + 1)), box, score))
    if masks:
        for row in rows:
            row["segmentation"] = _mask(row["bbox"])
    return sorted(rows, key=lambda row: -row["score"])


def _row(image, label, box, score):
    box = [round(float(value), 2) for value in box]
    return {"image_id": image, "category_id": label, "bbox": box, "score": score}


def _mask(box):
    from pycocotools import mask as coco_mask

    x, y, w, h = box
    outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    (encoded,) = coco_mask.frPyObjects([outline[0]], HEIGHT, WIDTH)
    return {"size": [HEIGHT, WIDTH], "counts": encoded["counts"].decode()}
