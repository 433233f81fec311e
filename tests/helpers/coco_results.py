"""Random objects and detections in COCO's format, and what an evaluator says of them."""

import contextlib
import io

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from helpers.tiny import write_json
from pycocotools import mask as coco_mask

HEIGHT, WIDTH, POINTS = 160, 240, 17
IDS = (9, 4, 2, 7)  # of the categories, unsorted; 7 has neither objects nor detections


def random_box(rng):
    """[x, y, w, h] of COCO's small, medium or large size, now and then empty."""
    w, h = rng.uniform(4, rng.choice([30, 90, 150]), 2) * (rng.random() > 0.03)
    return [float(v) for v in (rng.uniform(0, WIDTH - w), rng.uniform(0, HEIGHT - h), w, h)]


def ellipse(box):
    x, y, w, h = box
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    corners = np.stack([x + w / 2 * (1 + np.cos(angles)), y + h / 2 * (1 + np.sin(angles))], 1)
    return corners.ravel().tolist()


def random_points(rng, box):
    x, y, w, h = box
    xs, ys = x + rng.random(POINTS) * w, y + rng.random(POINTS) * h
    return np.stack([xs, ys, rng.integers(0, 3, POINTS)], 1) * (rng.random() > 0.15)


def run_lengths(box, *, compressed):
    encoded = coco_mask.frPyObjects([ellipse(box)], HEIGHT, WIDTH)[0]
    if compressed:
        return {"size": encoded["size"], "counts": encoded["counts"].decode()}
    flat = coco_mask.decode(encoded).ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]])))
    return {"size": [HEIGHT, WIDTH], "counts": np.diff(edges, prepend=0).tolist()}


def random_object(rng, number, image_id):
    box, crowd = random_box(rng), int(rng.random() < 0.2)
    points = random_points(rng, box)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": int(rng.choice(IDS[:3])),
        "bbox": box,
        "area": box[2] * box[3] * 0.7,
        "iscrowd": crowd,
        "segmentation": run_lengths(box, compressed=False) if crowd else [ellipse(box)],
        "keypoints": points.ravel().tolist(),
        "num_keypoints": int((points[:, 2] > 0).sum()),
    }


def random_detection(rng, objects, image_id):
    """Of an object, moved a little, or of nothing; one in ten scores is of several detections."""
    box, points = random_box(rng), None
    label = int(rng.choice(IDS[:3]))
    if objects and rng.random() < 0.5:
        found = objects[rng.integers(len(objects))]
        box = [float(max(v + rng.normal(0, 3), 0)) for v in found["bbox"]]
        points = np.reshape(found["keypoints"], (-1, 3)) + rng.normal(0, 3, (POINTS, 3))
        label = found["category_id"]
    points = random_points(rng, box) if points is None else points
    score = rng.random()
    return {
        "image_id": image_id,
        "category_id": label,
        "score": float(round(score, 1) if rng.random() < 0.1 else score),
        "bbox": box,
        "segmentation": run_lengths(box, compressed=True),
        "keypoints": points.ravel().tolist(),
    }


def random_data(seed, image_ids=tuple(range(3, 75, 3))):
    """A COCO json and results: images without objects, without detections, with more than 100."""
    rng = np.random.default_rng(seed)
    objects, results = [], []
    for i, image_id in enumerate(image_ids):
        number = 0 if i % 4 == 0 else rng.integers(1, 7)
        here = [random_object(rng, len(objects) + 1 + n, image_id) for n in range(number)]
        objects += here
        number = 0 if i % 5 == 1 else 130 if i == 2 else rng.integers(1, 40)
        results += [random_detection(rng, here, image_id) for _ in range(number)]
    images = [
        {"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH} for i in image_ids
    ]
    categories = [{"id": i, "name": f"class {i}", "keypoints": ["p"] * POINTS} for i in IDS]
    return {"images": images, "annotations": objects, "categories": categories}, results


@contextlib.contextmanager
def registering(folder):
    """A function that registers datasets of COCO jsons, which are forgotten at the end."""
    names = []

    def register(truth):
        name = f"random_{folder.name}_{len(names)}"
        order = sorted(row["id"] for row in truth["categories"])
        MetadataCatalog.get(name).set(
            json_file=str(write_json(folder / f"{name}.json", truth)),
            evaluator_type="coco",
            thing_classes=[f"class {i}" for i in order],
            thing_dataset_id_to_contiguous_id={i: k for k, i in enumerate(order)},
        )
        DatasetCatalog.register(name, list)
        names.append(name)
        return name

    yield register
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def outputs(results, image_id):
    """What a detector would return for an image, as a dictionary with Instances."""
    rows = [row for row in results if row["image_id"] == image_id]
    found = Instances((HEIGHT, WIDTH))
    boxes = torch.tensor([row["bbox"] for row in rows], dtype=torch.float32).reshape(-1, 4)
    found.pred_boxes = Boxes(torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1))
    found.scores = torch.tensor([row["score"] for row in rows])
    found.pred_classes = torch.tensor([sorted(IDS).index(row["category_id"]) for row in rows])
    masks = [coco_mask.decode(row["segmentation"]) for row in rows]
    found.pred_masks = torch.tensor(np.array(masks, bool).reshape(-1, HEIGHT, WIDTH))
    points = torch.tensor([row["keypoints"] for row in rows])
    found.pred_keypoints = points.reshape(-1, POINTS, 3)
    return {"instances": found}


def results_of(evaluator, truth, results, **options):
    evaluator.reset()
    for image in truth["images"]:
        evaluator.process([{"image_id": image["id"]}], [outputs(results, image["id"])])
    with contextlib.redirect_stdout(io.StringIO()):
        return evaluator.evaluate(**options)
