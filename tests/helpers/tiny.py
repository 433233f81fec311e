"""A tiny COCO dataset, configs that train on it in seconds on a CPU, and the training program."""

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from detectron2.utils.logger import setup_logger
from PIL import Image
from pycocotools import mask as coco_mask

from hrnet_det.cli import main

REPO = Path(__file__).resolve().parents[2]
CATEGORIES = [{"id": 7, "name": "bar"}, {"id": 3, "name": "disc"}, {"id": 12, "name": "absent"}]
CLASSES = ["disc", "bar", "absent"]  # in the order of their ids
KEYPOINTS = ["tip", "left_foot", "right_foot"]
SIDES = ((64, 96), (96, 64), (80, 80), (64, 64), (72, 96), (96, 96))  # height, width; pixels
EMPTY = 4  # this image, counted from 1, has no objects

# The smallest variant, few channels and proposals, three iterations.
TINY = """
MODEL.DEVICE cpu
MODEL.HRNET.VARIANT w18_small_v1
MODEL.HRFPN.OUT_CHANNELS 32
MODEL.RPN.PRE_NMS_TOPK_TRAIN 100
MODEL.RPN.POST_NMS_TOPK_TRAIN 50
MODEL.RPN.PRE_NMS_TOPK_TEST 50
MODEL.RPN.POST_NMS_TOPK_TEST 20
MODEL.RPN.BATCH_SIZE_PER_IMAGE 32
MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE 16
MODEL.ROI_BOX_HEAD.FC_DIM 32
MODEL.ROI_MASK_HEAD.CONV_DIM 16
MODEL.ROI_MASK_HEAD.NUM_CONV 1
MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS [16]
MODEL.ANCHOR_GENERATOR.SIZES [[12],[24],[36],[48],[64]]
INPUT.MIN_SIZE_TRAIN (64,)
INPUT.MAX_SIZE_TRAIN 96
INPUT.MIN_SIZE_TEST 64
INPUT.MAX_SIZE_TEST 96
DATALOADER.NUM_WORKERS 0
SOLVER.IMS_PER_BATCH 2
SOLVER.OPTIMIZER SGD
SOLVER.BASE_LR 0.01
SOLVER.WARMUP_ITERS 0
SOLVER.STEPS ()
SOLVER.MAX_ITER 3
SOLVER.CHECKPOINT_PERIOD 1000
TEST.EVAL_PERIOD 0
TEST.DETECTIONS_PER_IMAGE 10
SEED 1
""".split()  # noqa: SIM905


class Outcome(NamedTuple):
    """How the training program ended, and what it printed."""

    code: int
    out: str
    err: str


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def train_net(*words: object, terminal: bool = False) -> Outcome:
    """`train_net.py WORDS` in this process."""
    forget_loggers()
    out, err, code = _Terminal() if terminal else io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(["train", *map(str, words)])
        except SystemExit as end:
            code = end.code
        finally:
            forget_loggers()
    return Outcome(code, out.getvalue(), err.getvalue())


def forget_loggers() -> None:
    """Detectron2 sets its loggers up once in a process, for that moment's stdout and folder."""
    setup_logger.cache_clear()
    for name in ("detectron2", "fvcore"):
        logging.getLogger(name).setLevel(logging.NOTSET)
        for handler in list(logging.getLogger(name).handlers):
            logging.getLogger(name).removeHandler(handler)
            handler.close()


def train_net_process(*words: object, cwd: Path, **environment: str) -> Outcome:
    """`python train_net.py WORDS` in a process and a folder of its own."""
    env = {name: value for name, value in os.environ.items() if name != "DETECTRON2_DATASETS"}
    done = subprocess.run(
        [sys.executable, str(REPO / "train_net.py"), *map(str, words)],
        cwd=cwd,
        env={**env, "PYTHONPATH": str(REPO), "CUDA_VISIBLE_DEVICES": "", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def custom(folder: Path, annotations: str, splits: Sequence[str] = ("TRAIN", "TEST")) -> list[str]:
    """Overrides that train and test on a json of a dataset that `make_coco` has made."""
    words = []
    for split in splits:
        words += [f"DATASETS.CUSTOM.{split}_JSON", str(folder / annotations)]
        words += [f"DATASETS.CUSTOM.{split}_IMAGES", str(folder / "images")]
    return words


def metrics_rows(output: Path, key: str = "total_loss") -> list[dict]:
    """The rows of metrics.json that have the key."""
    rows = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    return [row for row in rows if key in row]


def make_coco(folder: Path, sides: Sequence[tuple[int, int]] = SIDES) -> Path:
    """Images with discs, bars, one run-length mask, one crowd, and one without objects.

    Writes images/, boxes.json (no segmentations), polygons.json, rle.json (one of its masks is
    run-length encoded) and keypoints.json.
    """
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    images, objects = [], []
    for image_id, (height, width) in enumerate(sides, start=1):
        image = rng.integers(60, 90, (height, width, 3), dtype=np.uint8)
        for category_id in () if image_id == EMPTY else (3, 7):
            box = _box(rng, height, width, category_id)
            x, y, w, h = box
            image[y : y + h, x : x + w] = (220, 60, 40) if category_id == 3 else (40, 90, 220)
            objects.append(_object(len(objects) + 1, image_id, category_id, box))
        name = f"{image_id}.png"
        Image.fromarray(image).save(folder / "images" / name)
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
    crowd = _object(len(objects) + 1, len(images), 3, [2, 2, 20, 10]) | {"iscrowd": 1}
    crowd["segmentation"] = run_lengths(*sides[-1], [2, 2, 20, 10])
    content = {"images": images, "annotations": [*objects, crowd], "categories": CATEGORIES}
    write_json(folder / "polygons.json", content)
    write_json(folder / "boxes.json", _without_segmentation(content))
    first = objects[0] | {"segmentation": run_lengths(*sides[0], objects[0]["bbox"])}
    write_json(folder / "rle.json", content | {"annotations": [first, *objects[1:], crowd]})
    category = {"id": 3, "name": "disc", "keypoints": KEYPOINTS, "skeleton": [[1, 2], [1, 3]]}
    discs = [_with_keypoints(o) for o in objects if o["category_id"] == 3]
    write_json(
        folder / "keypoints.json",
        {"images": images, "annotations": discs, "categories": [category]},
    )
    return folder


def run_lengths(height: int, width: int, box: list[int]) -> dict:
    """COCO's compressed run-length mask of a filled box."""
    mask = np.zeros((height, width), np.uint8, order="F")
    x, y, w, h = box
    mask[y : y + h, x : x + w] = 1
    encoded = coco_mask.encode(mask)
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def _box(rng: np.random.Generator, height: int, width: int, category_id: int) -> list[int]:
    w, h = (24, 24) if category_id == 3 else (40, 14)
    left = 0 if category_id == 3 else width // 2 - w // 2
    x = min(int(left + rng.integers(0, 8)), width - w)
    y = int(rng.integers(0, height // 2 - h)) + (0 if category_id == 3 else height // 2)
    return [x, y, w, h]


def _object(number: int, image_id: int, category_id: int, box: list[int]) -> dict:
    x, y, w, h = box
    polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": box,
        "area": w * h,
        "iscrowd": 0,
        "segmentation": [polygon],
    }


def _with_keypoints(row: dict) -> dict:
    x, y, w, h = row["bbox"]
    points = [x + w // 2, y, 2, x, y + h, 2, x + w, y + h, 1]
    return row | {"keypoints": points, "num_keypoints": 3}


def _without_segmentation(content: dict) -> dict:
    rows = [{k: v for k, v in row.items() if k != "segmentation"} for row in content["annotations"]]
    return content | {"annotations": [row for row in rows if not row["iscrowd"]]}
