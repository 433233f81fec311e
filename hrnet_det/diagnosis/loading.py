"""A run's test set and what was detected in it, from the files that its evaluation leaves."""

from __future__ import annotations

import json
from pathlib import Path

from detectron2.data import MetadataCatalog

from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.coco_json import no_collection
from hrnet_det.data.dataset_kinds import dataset_kind
from hrnet_det.diagnosis.arrays import Predictions
from hrnet_det.errors import InputError
from hrnet_det.evaluation.predictions import (
    RESULTS,
    Recorded,
    digest,
    json_of,
    predictions_folder,
    recorded_predictions,
)
from hrnet_det.modeling.kinds import kind_of

EVALUATORS = frozenset({"coco", "things"})  # those that leave detections in COCO's format
_KEYS = {"image_id", "category_id", "score"}  # of each detection


def load_predictions(run: RunConfig, dataset: str) -> Predictions:
    """A test set and what the last evaluation in the run's folder has detected in it.

    Args:
        dataset: registered in this process.
    Raises: InputError, with the reason in one line, if there are no such detections.
    """
    kind, metadata = dataset_kind(dataset), MetadataCatalog.get(dataset)
    if kind is None or not EVALUATORS & set(kind.evaluators):
        name = metadata.get("evaluator_type", None)
        raise InputError(
            f"the objects found in {dataset} cannot be looked at one by one: its evaluator, "
            f"{name}, does not write them in COCO's format"
        )
    detector = kind_of(run)
    if detector.output in ("proposals", "sem_seg"):
        raise InputError(f"{detector.title} finds no objects with classes that could be looked at")
    recorded = _recorded(run, dataset)
    numbers = metadata.get("thing_dataset_id_to_contiguous_id", None)
    names, classes = metadata.get("thing_classes", None), None
    if numbers and names:  # of which stuff may have some too
        classes = {c: names[numbers[c]] for c in sorted(numbers, key=numbers.get)}
    with no_collection():
        return Predictions(
            content=_content(dataset, recorded),
            rows=_rows(recorded.folder / RESULTS),
            classes=classes,
            dataset=dataset,
            image_root=str(metadata.get("image_root", "")),
            max_detections=recorded.max_detections,
        )


def _recorded(run: RunConfig, dataset: str) -> Recorded:
    """What the last evaluation has left of a dataset."""
    recorded = {
        name: left
        for name, left in recorded_predictions(run).items()
        if (left.folder / RESULTS).is_file()
    }
    if dataset in recorded:
        return recorded[dataset]
    others = f" (but of {', '.join(recorded)})" if recorded else ""
    raise InputError(
        f"no evaluation has left what was found in {dataset} in "
        f"{predictions_folder(run, dataset)}{others}: {_again(dataset)}"
    )


def _again(dataset: str) -> str:
    return f"evaluate the weights on {dataset} again (--eval-only)"


def _content(dataset: str, recorded: Recorded) -> dict:
    """A dataset's json, which is the one that was evaluated on."""
    path = json_of(dataset, recorded.folder)
    if path is None:
        raise InputError(
            f"the json of {dataset} is not there any more: bring it back, or {_again(dataset)}"
        )
    written = path.read_bytes()
    if digest(written) != recorded.json_sha256:
        raise InputError(
            f"{path} has changed since the evaluation, or that was on another json: "
            f"{_again(dataset)}"
        )
    content = json.loads(written)
    if "annotations" not in content:
        raise InputError(f"{path} has no annotations, so that nothing in it is known to be right")
    return content


def _rows(path: Path) -> list[dict]:
    """Detections as COCO's evaluators write them."""
    try:
        rows = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): evaluate again (--eval-only)") from error
    if not isinstance(rows, list) or not all(
        isinstance(r, dict) and r.keys() >= _KEYS for r in rows
    ):
        raise InputError(f"{path} is not what an evaluation writes: evaluate again (--eval-only)")
    return rows
