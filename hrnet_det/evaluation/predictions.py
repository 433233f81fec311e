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
from hrnet_det.errors import InputError

FOLDER = "inference"  # of OUTPUT_DIR
AUGMENTED = "TTA"  # a folder of OUTPUT_DIR, which is one to evaluations with test-time augmentation
RESULTS = "coco_instances_results.json"  # what COCO's evaluators write
RECORD = "evaluated.json"  # which dataset the predictions beside it are of


class Recorded(NamedTuple):
    """What an evaluation on a dataset has left."""

    folder: Path  # RESULTS is in it, if there are detections in COCO's format
    json_sha256: str  # of the dataset's json at the time; "" without one
    max_detections: int  # of an image and a class, that AP is of


def augmented_run(run: RunConfig) -> RunConfig:
    """A run whose evaluations, those with test-time augmentation, go to a folder of their own."""
    augmented = run.copy()
    augmented[settings.OUTPUT_DIR] = str(Path(str(run[settings.OUTPUT_DIR]), AUGMENTED))
    return augmented


def predictions_folder(run: RunConfig, dataset: str) -> Path:
    """Where an evaluation's predictions go: those of each test set to a folder of its own."""
    folder = Path(str(run[settings.OUTPUT_DIR]), FOLDER)
    several = len(set(run[settings.TEST_DATASETS])) > 1
    return folder / dataset.replace("/", "_") if several else folder


def forget_predictions(run: RunConfig) -> None:
    """Remove what earlier evaluations in OUTPUT_DIR have detected: it is not of the next one."""
    for folder in (*_folders(run), *_folders(augmented_run(run))):
        for name in (RECORD, RESULTS):
            (folder / name).unlink(missing_ok=True)


def record_predictions(run: RunConfig, dataset: str, *, max_detections: int) -> None:
    """Write beside a dataset's predictions what they are of."""
    folder = predictions_folder(run, dataset)
    path = json_of(dataset, folder)
    record = {
        "dataset": dataset,
        "json_sha256": digest(path.read_bytes()) if path else "",
        "max_detections": max_detections,
    }
    folder.mkdir(parents=True, exist_ok=True)  # an evaluator need not write there
    with written_aside(folder / RECORD) as file:
        file.write(json.dumps(record).encode() + b"\n")


def recorded_predictions(run: RunConfig) -> dict[str, Recorded]:
    """What the last evaluation in OUTPUT_DIR has left, by dataset.

    Raises: InputError if a record is damaged.
    """
    found = {}
    for path in (folder / RECORD for folder in _folders(run)):
        if path.is_file():
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
                values = record["json_sha256"], record["max_detections"]
                found[record["dataset"]] = Recorded(path.parent, *values)
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path} is damaged: evaluate again (--eval-only)") from error
    return found


def json_of(dataset: str, folder: Path) -> Path | None:
    """The json of a registered dataset; of rows without one, what evaluators made of them."""
    path = MetadataCatalog.get(dataset).get("json_file", "")
    path = Path(path) if path else folder / f"{dataset}_coco_format.json"
    return path if path.is_file() else None


def digest(content: bytes) -> str:
    """What tells one json from another: SHA-256."""
    return hashlib.sha256(content).hexdigest()


def _folders(run: RunConfig) -> Iterator[Path]:
    """FOLDER in OUTPUT_DIR and the folders in it, if they are there."""
    top = Path(str(run[settings.OUTPUT_DIR]), FOLDER)
    if top.is_dir():
        yield top
        yield from sorted(path for path in top.iterdir() if path.is_dir())
