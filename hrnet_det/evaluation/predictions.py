"""Where a run's evaluations leave what was predicted, and what it was predicted on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from detectron2.data import MetadataCatalog

from hrnet_det.checkpoint.writing import written_aside
from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig

PLAIN, AUGMENTED = "inference", "inference_TTA"  # folders of OUTPUT_DIR
RESULTS = "coco_instances_results.json"  # what COCO's evaluators write there
RECORD = "evaluated.json"  # which dataset the predictions beside it are of


class Recorded(NamedTuple):
    """Predictions on a dataset."""

    folder: Path  # RESULTS is in it
    json_sha256: str  # of the dataset's json at the time
    max_detections: int  # of an image and a class, that AP is of


def predictions_folder(run: RunConfig, dataset: str, *, augmented: bool = False) -> Path:
    """Where an evaluation's predictions go: those of each test set to a folder of its own.

    Args:
        augmented: those of test-time augmentation.
    """
    folder = Path(str(run[settings.OUTPUT_DIR]), AUGMENTED if augmented else PLAIN)
    several = len(set(run[settings.TEST_DATASETS])) > 1
    return folder / dataset.replace("/", "_") if several else folder


def forget_predictions(run: RunConfig) -> None:
    """Remove what earlier evaluations in OUTPUT_DIR have detected: it is not of the next one."""
    for folder in _folders(run, (PLAIN, AUGMENTED)):
        for name in (RECORD, RESULTS):
            (folder / name).unlink(missing_ok=True)


def record_predictions(
    run: RunConfig, dataset: str, *, max_detections: int, augmented: bool = False
) -> None:
    """Write beside a dataset's predictions, if there are any, what they are of."""
    folder = predictions_folder(run, dataset, augmented=augmented)
    path = json_of(dataset, folder)
    if path is not None and (folder / RESULTS).is_file():
        record = {
            "dataset": dataset,
            "json_sha256": digest(path.read_bytes()),
            "max_detections": max_detections,
        }
        with written_aside(folder / RECORD) as file:
            file.write(json.dumps(record).encode() + b"\n")


def recorded_predictions(run: RunConfig, *, augmented: bool = False) -> dict[str, Recorded]:
    """What the last evaluation in OUTPUT_DIR has left in COCO's format, by dataset."""
    found = {}
    for folder in _folders(run, (AUGMENTED if augmented else PLAIN,)):
        if (folder / RECORD).is_file() and (folder / RESULTS).is_file():
            record = json.loads((folder / RECORD).read_text())
            values = record["json_sha256"], record["max_detections"]
            found[record["dataset"]] = Recorded(folder, *values)
    return found


def json_of(dataset: str, folder: Path) -> Path | None:
    """The json of a registered dataset; of rows without one, what evaluators made of them."""
    path = MetadataCatalog.get(dataset).get("json_file", "")
    path = Path(path) if path else folder / f"{dataset}_coco_format.json"
    return path if path.is_file() else None


def digest(content: bytes) -> str:
    """What tells one json from another: SHA-256."""
    return hashlib.sha256(content).hexdigest()


def _folders(run: RunConfig, names: tuple[str, ...]) -> Iterator[Path]:
    """Those of these names in OUTPUT_DIR and the folders in them, if they are there."""
    for name in names:
        top = Path(str(run[settings.OUTPUT_DIR]), name)
        if top.is_dir():
            yield top
            yield from sorted(path for path in top.iterdir() if path.is_dir())
