"""The report of a run: results as tables, and what has been written where."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from detectron2.config import CfgNode
from tabulate import tabulate
from torch import nn

from hrnet_det.detector import WITHOUT_OBJECTS
from hrnet_det.evaluation.evaluators import best_metric
from hrnet_det.report.drawing import draw_curves, draw_predictions

COCO_METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
# Tasks whose rows stand in one table: its metrics, in percent, and the tasks with their titles.
TABLES = (
    (COCO_METRICS, {"bbox": "box", "segm": "mask", "keypoints": "keypoints"}),
    (("AR@100", "AR@1000", "ARs@1000", "ARm@1000", "ARl@1000"), {"box_proposals": "proposals"}),
    (("mIoU", "fwIoU", "mACC", "pACC"), {"sem_seg": "semantic"}),
    (("IoU", "iIoU", "IoU_sup", "iIoU_sup"), {"sem_seg": "semantic"}),  # Cityscapes' scripts
    (("PQ", "SQ", "RQ", "PQ_th", "PQ_st"), {"panoptic_seg": "panoptic"}),
)
TASKS = {task: title for _, titles in TABLES for task, title in titles.items()}
OF_CLASSES = ("AP-", "IoU-")  # what the metrics of single classes begin with


def write_report(
    cfg: CfgNode,
    model: nn.Module,
    results: dict,
    *,
    mapper: Callable[[dict], dict] | None,
    weights: str,
    again: str,
) -> None:
    """Write what a run has shown to OUTPUT_DIR, print the tables, and say where everything is.

    Files: results.json (all metrics), curves.png (from metrics.json, where training wrote it),
    predictions.png (images of the first test set, ground truth beside prediction).

    Args:
        model: the trained detector; wrapped by DistributedDataParallel or not.
        results: as `Trainer.test` returns them; {} where nothing was evaluated.
        mapper: prepares a row of the test set for the model; None without a test set.
        weights: the file with the model's.
        again: words of the command that evaluates the model again.
    """
    output = Path(cfg.OUTPUT_DIR)
    written = {"model_final.pth": "weights"}
    if cfg.DATASETS.TEST:
        written["model_best.pth"] = f"weights of the best {best_metric(cfg)}"
    written = {name: what for name, what in written.items() if (output / name).is_file()}
    if results:
        (output / "results.json").write_text(json.dumps(_without_nan(results), indent=2) + "\n")
        written["results.json"] = "all metrics of the evaluation"
        print(results_tables(results))
    if (output / "metrics.json").is_file() and draw_curves(output):
        written["metrics.json"] = "metrics while training (TensorBoard reads events.*)"
        written["curves.png"] = "losses and learning rate"
    if cfg.DATASETS.TEST:
        detector = getattr(model, "module", model)
        draw_predictions(cfg.DATASETS.TEST[0], detector, mapper, output / "predictions.png")
        written["predictions.png"] = "ground truth beside prediction"
    written["log.txt"] = "everything that was printed, environment and config"
    print(f"\nIn {output}{os.sep}:")
    for name, what in written.items():
        print(f"  {name:<18} {what}")
    print("\n" + next_steps(cfg, weights, again))


def results_tables(results: dict) -> str:
    """Metrics and those of each class as text tables, in percent, for each test set."""
    if all(task.removesuffix("_TTA") in TASKS for task in results):
        results = {"": results}
    parts = []
    for name, tasks in results.items():
        tasks = {task: values for task, values in tasks.items() if isinstance(values, dict)}
        parts.append(f"\nResults {name}".rstrip() + " (percent)")
        for metrics, titles in TABLES:
            rows = [
                [_title(task), *(values.get(metric) for metric in metrics)]
                for task, values in tasks.items()
                if task.removesuffix("_TTA") in titles and metrics[0] in values
            ]
            if rows:
                parts.append(tabulate(rows, ["", *metrics], floatfmt=".1f", missingval="-"))
        parts += _tables_of_classes(tasks)
    return "\n".join(parts)


def _tables_of_classes(tasks: dict[str, dict]) -> list[str]:
    """For each kind of metric that tasks have of classes, a row for each class."""
    parts = []
    for start in OF_CLASSES:
        of_tasks = {
            task: {key.removeprefix(start): x for key, x in values.items() if key.startswith(start)}
            for task, values in tasks.items()
        }
        of_tasks = {task: values for task, values in of_tasks.items() if values}
        classes = dict.fromkeys(name for values in of_tasks.values() for name in values)
        rows = [[c, *(values.get(c) for values in of_tasks.values())] for c in classes]
        headers = ["class", *(f"{_title(task)} {start.rstrip('-')}" for task in of_tasks)]
        if rows:
            parts += ["", tabulate(rows, headers, floatfmt=".1f", missingval="-")]
    return parts


def _title(task: str) -> str:
    plain = task.removesuffix("_TTA")
    return TASKS.get(plain, plain) + (" TTA" if plain != task else "")


def _without_nan(value: object) -> object:
    """JSON has no NaN, COCO's AP of a class without objects: null."""
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def next_steps(cfg: CfgNode, weights: str, again: str) -> str:
    """What a user may want to type next."""
    bin_folder = os.path.dirname(sys.executable)
    on_path = shutil.which("python") == os.path.join(bin_folder, "python")
    prefix = "" if on_path else os.path.relpath(bin_folder) + os.sep
    python = f"{prefix}python train_net.py"
    detect = f"    {prefix}hrnet-det predict {weights} image.jpg"
    predict = ["  objects in other images:", detect]
    return "\n".join(
        [
            "Next:",
            "  evaluate again:",
            f"    {python} {again}",
            *([] if cfg.MODEL.META_ARCHITECTURE in WITHOUT_OBJECTS else predict),
            "  curves in the browser:",
            f"    {prefix}tensorboard --logdir {cfg.OUTPUT_DIR}",
            "  your own data in COCO's format:",
            f"    {python} --config-file quickstart/mask_rcnn.yaml OUTPUT_DIR output/mine \\",
            "      DATASETS.CUSTOM.TRAIN_JSON train.json DATASETS.CUSTOM.TRAIN_IMAGES images \\",
            "      DATASETS.CUSTOM.TEST_JSON val.json DATASETS.CUSTOM.TEST_IMAGES images",
            "  COCO on 8 GPUs, from ImageNet weights:",
            f"    {python} --config-file hrnetv2p_faster_rcnn.yaml --num-gpus 8 "
            "MODEL.WEIGHTS timm://hrnet_w32.ms_in1k",
        ]
    )
