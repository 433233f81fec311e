"""The metrics of a run: which there are of a task, and how they are told apart by test sets."""

from __future__ import annotations

import json
from collections.abc import Mapping

# Tasks whose rows stand in one table: its metrics, in percent, and the tasks with their titles.
TABLES = (
    (
        ("AP", "AP50", "AP75", "APs", "APm", "APl"),
        {"bbox": "box", "segm": "mask", "keypoints": "keypoints"},
    ),
    (("AR@100", "AR@1000", "ARs@1000", "ARm@1000", "ARl@1000"), {"box_proposals": "proposals"}),
    (("mIoU", "fwIoU", "mACC", "pACC"), {"sem_seg": "semantic"}),
    (("IoU", "iIoU", "IoU_sup", "iIoU_sup"), {"sem_seg": "semantic"}),  # Cityscapes' scripts
    (("PQ", "SQ", "RQ", "PQ_th", "PQ_st"), {"panoptic_seg": "panoptic"}),
)
CLASS_METRICS = ("AP-", "IoU-")  # what the metrics of single classes begin with
TASKS = {task: title for _, titles in TABLES for task, title in titles.items()}
# {test set: {task: {metric: value}}}; None for what cannot be measured.
Results = dict[str, dict[str, dict[str, float | None]]]


def plain_task(task: str) -> str:
    """The name of a task, or test set, without test-time augmentation."""
    return task.removesuffix("_TTA")


def is_task(name: str) -> bool:
    """Whether a name is that of a task whose metrics are known, with test-time augmentation too."""
    return plain_task(name) in TASKS


def title_of(task: str) -> str:
    """What a task is called in tables."""
    plain = plain_task(task)
    return TASKS.get(plain, plain) + (" TTA" if plain != task else "")


def by_test_set(results: Mapping[str, Mapping], only: str = "") -> Results:
    """Results as `Trainer.test` returns them, by the names of test sets.

    Args:
        only: the name of the test set where there is one, which results do not say.
    """
    parts = [value for tasks in results.values() for value in tasks.values()]
    known = all(map(is_task, results))
    if known or not all(isinstance(part, Mapping) for part in parts):
        results = {only: results} if results else {}
    return {
        name: {task: values for task, values in tasks.items() if isinstance(values, Mapping)}
        for name, tasks in results.items()
    }


def plain_results(results: dict) -> dict:
    """Metrics as JSON can have them: null for NaN, COCO's AP of a class without objects."""
    return json.loads(json.dumps(results), parse_constant=lambda _: None)
