"""A generated run of COCO val2017's size, and how long and how large its page is.

`python -m tools.report_size` writes the folder of a run that was tested on 5,000 images, with up to
100 detections of 80 classes in each and 90,000 iterations of history. Then it makes the page as
`hrnet-det report` does, in a process of its own: once for time, memory and size, once for the time
of each part. The status is 1 if the page has 10 MB or more. `--masks` has masks as well as boxes.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import math
import multiprocessing
import pstats
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

import hrnet_det
from hrnet_det.config import settings
from hrnet_det.config.load import load_run
from hrnet_det.data import prepare_datasets
from hrnet_det.evaluation.coco import COCOS_LIMIT
from hrnet_det.evaluation.predictions import RESULTS, predictions_folder, record_predictions
from hrnet_det.report.page import write_page
from tools.coco_size import CLASSES, CORNERS, make_dataset

IMAGES, DETECTIONS = 5_000, 100  # of val2017, and COCO's maxDets
SIZE = (480, 640)  # height and width of images, pixels
DISTINCT = 50  # images; the others are further names of these
ITERATIONS, LOGGED, EVALUATIONS = 90_000, 20, 18
FOUND = 0.7  # of the objects, well
LIMIT = 10e6  # bytes that a page may have
SHARE = 0.02  # of the time: functions that take less are not named


def make_run(folder: Path, *, images: int, detections: int, masks: bool) -> Path:
    """Write a dataset and the folder of a run that was tested on it. Returns: the run's folder."""
    test, output = make_dataset(folder, images, SIZE, distinct=DISTINCT), folder / "run"
    run = load_run(
        f"custom/{'mask' if masks else 'faster'}_rcnn.yaml",
        [
            *("DATASETS.CUSTOM.TEST_JSON", str(test)),
            *("DATASETS.CUSTOM.TEST_IMAGES", str(folder / "images")),
            *("OUTPUT_DIR", str(output), "SOLVER.MAX_ITER", str(ITERATIONS)),
        ],
    )
    prepare_datasets(run, trains=False)
    (dataset,) = run[settings.TEST_DATASETS]
    rng = np.random.default_rng(0)
    objects = json.loads(test.read_text(encoding="utf-8"))["annotations"]
    rows = found_rows(rng, objects, images=images, most=detections, masks=masks)
    history = list(history_rows(rng, ("bbox", "segm") if masks else ("bbox",)))
    results: dict[str, dict[str, float]] = {}
    for name, value in history[-1].items():
        task, _, metric = name.partition("/")
        if task in ("bbox", "segm"):
            results.setdefault(task, {})[metric] = value
    found = predictions_folder(run, dataset)
    found.mkdir(parents=True)
    (found / RESULTS).write_text(json.dumps(rows))
    record_predictions(run, dataset, max_detections=max(COCOS_LIMIT, detections))
    (output / "config.yaml").write_text(run.cfg.dump())
    (output / "metrics.json").write_text("".join(f"{json.dumps(row)}\n" for row in history))
    (output / "results.json").write_text(json.dumps(results))
    return output


def found_rows(
    rng: np.random.Generator, objects: Sequence[dict], *, images: int, most: int, masks: bool
) -> list[dict]:
    """Detections in COCO's format: most objects well, and others poorly with lower scores.

    Args:
        most: detections of an image; it has half as many to so many.
    """
    truth = np.array([[o["image_id"], o["category_id"], *o["bbox"]] for o in objects])
    truth = truth[np.argsort(truth[:, 0], kind="stable")]
    well = truth[rng.random(len(truth)) < FOUND]
    number = rng.integers(most // 2, most + 1, images)
    number -= np.bincount(well[:, 0].astype(int) - 1, minlength=images)
    poor = _again(rng, truth, np.repeat(np.arange(1, images + 1), number.clip(0)))
    scores = np.concatenate([rng.beta(5, 2, len(well)), 0.05 + 0.8 * rng.beta(1, 5, len(poor))])
    rows = np.concatenate([_moved(rng, well, 0.06), _moved(rng, poor, 0.3)]).round(2)
    return [
        {
            "image_id": int(image),
            "category_id": int(category),
            "bbox": box,
            "score": score,
            **({"segmentation": _ellipse(box)} if masks else {}),
        }
        for (image, category, *box), score in zip(
            rows.tolist(), scores.round(5).tolist(), strict=True
        )
    ]


def _again(rng: np.random.Generator, truth: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Rows in these images: objects of theirs, or of any where they have none; some as others."""
    first, end = (np.searchsorted(truth[:, 0], image, side) for side in ("left", "right"))
    none = end == first
    first[none], end[none] = 0, len(truth)
    rows = truth[(first + rng.random(len(image)) * (end - first)).astype(int)]
    rows[:, 0] = image
    other = rng.random(len(rows)) < 0.4
    rows[other, 1] = rng.integers(1, CLASSES + 1, other.sum())
    return rows


def _moved(rng: np.random.Generator, rows: np.ndarray, share: float) -> np.ndarray:
    """With boxes moved by a share of their sides, in the image."""
    sides = rows[:, 4:]
    corner = (rows[:, 2:4] + sides * rng.normal(0, share, sides.shape)).clip(0, None)
    far = corner + sides * np.exp(rng.normal(0, share, sides.shape))
    corner, far = (np.minimum(points, SIZE[::-1]) for points in (corner - 1, far + 1))
    corner = corner.clip(0, None)
    return np.concatenate([rows[:, :2], corner, far - corner], axis=1)


def _ellipse(box: Sequence[float]) -> dict:
    """The mask of the ellipse in a box, as COCO's results have it."""
    angles = np.linspace(0, 2 * math.pi, CORNERS, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = box[:2] + np.array(box[2:]) * (1 + circle) / 2
    (mask,) = coco_mask.frPyObjects([points.ravel().tolist()], *SIZE)
    return {"size": list(SIZE), "counts": mask["counts"].decode()}


def history_rows(rng: np.random.Generator, tasks: Sequence[str]) -> Iterator[dict]:
    """The rows of a metrics.json, with the metrics of all classes at each evaluation."""
    for iteration in range(LOGGED - 1, ITERATIONS, LOGGED):
        done = (iteration + 1) / ITERATIONS
        names = ("loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc")
        row = {name: 0.2 + 0.5 * math.exp(-5 * done) + rng.gamma(2, 0.02) for name in names}
        row |= {"total_loss": sum(row.values()), "iteration": iteration, "lr": 0.02}
        if (iteration + 1) % (ITERATIONS // EVALUATIONS) == 0:
            row["validation_loss/total"] = 1.2 + 2 * math.exp(-5 * done)
            for task in tasks:
                for metric in ("AP", "AP50", "AP75", "APs", "APm", "APl"):
                    row[f"{task}/{metric}"] = 40 * (1 - math.exp(-4 * done)) + rng.normal(0, 0.3)
                for number in range(1, CLASSES + 1):
                    row[f"{task}/AP-class {number}"] = rng.uniform(20, 60)
        yield row


def measure(run: Path, *, profiled: bool) -> dict:
    """Make the page in a process of its own.

    Returns: its `path`, and in seconds `time` and `cpu` time, `memory` in bytes; `parts`, the
    seconds of each function of this package that takes at least SHARE of them, if profiled.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (run, profiled))


def _measure(run: Path, profiled: bool) -> dict:
    profile = cProfile.Profile()
    start, cpu = time.perf_counter(), time.process_time()
    path = profile.runcall(write_page, run) if profiled else write_page(run)
    seconds = time.perf_counter() - start
    return {
        "path": path,
        "time": seconds,
        "cpu": time.process_time() - cpu,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "parts": _parts(profile, SHARE * seconds) if profiled else {},
    }


def _parts(profile: cProfile.Profile, least: float) -> dict[str, float]:
    """Seconds by function, with those that it calls, the longest first."""
    package = Path(hrnet_det.__file__).parent
    seconds = {}
    for (file, _, name), (*_, total, _) in pstats.Stats(profile).stats.items():
        if total >= least and file.startswith(f"{package}/"):
            module = Path(file).relative_to(package).with_suffix("").as_posix()
            seconds[f"{module.replace('/', '.')}.{name}"] = total
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "folder", type=Path, nargs="?", help="is kept, and used again if it is there"
    )
    parser.add_argument("--images", type=int, default=IMAGES, help="(%(default)s)")
    parser.add_argument(
        "--detections", type=int, default=DETECTIONS, help="at most, of an image (%(default)s)"
    )
    parser.add_argument("--masks", action="store_true", help="Mask R-CNN's run, not Faster R-CNN's")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        run = folder / "run"
        if not run.is_dir():
            make_run(
                folder,
                images=arguments.images,
                detections=arguments.detections,
                masks=arguments.masks,
            )
        plain, profiled = (measure(run, profiled=profiled) for profiled in (False, True))
        size = plain["path"].stat().st_size
    print(
        f"the page: {size / 1e6:.2f} MB, in {plain['time']:.1f} s ({plain['cpu']:.1f} s of CPU "
        f"time), at most {plain['memory'] / 1e6:,.0f} MB of memory"
    )
    print(f"parts of {profiled['time']:.1f} s, which it takes when they are measured:")
    for part, seconds in profiled["parts"].items():
        print(f"{seconds:8.2f} s  {part}")
    if size >= LIMIT:
        sys.exit(1)


if __name__ == "__main__":
    main()
