"""The report of a run: results as tables, and what has been written where."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from pathlib import Path

from detectron2.config import CfgNode
from tabulate import tabulate
from torch import nn

from hrnet_det.evaluation.drawing import draw_curves, draw_predictions

TASKS = {"bbox": "box", "segm": "mask", "keypoints": "keypoints"}


def write_report(cfg: CfgNode, model: nn.Module, results: dict) -> None:
    """Write what a run has shown to OUTPUT_DIR, print the tables, and say where everything is.

    Files: results.json (all metrics), curves.png (from metrics.json, where training wrote it),
    predictions.png (pictures of the first test set, ground truth beside prediction).

    Args:
        model: the trained detector; wrapped by DistributedDataParallel or not.
        results: as `Trainer.test` returns them; {} where nothing was evaluated.
    """
    output = Path(cfg.OUTPUT_DIR)
    written = {"model_final.pth": "weights", "model_best.pth": "weights of the best box AP"}
    written = {name: what for name, what in written.items() if (output / name).is_file()}
    if results:
        (output / "results.json").write_text(json.dumps(_without_nan(results), indent=2) + "\n")
        written["results.json"] = "all metrics of the evaluation"
        print(results_tables(results))
    if (output / "metrics.json").is_file() and draw_curves(output):
        written["metrics.json"] = "metrics while training (TensorBoard reads events.*)"
        written["curves.png"] = "losses and learning rate"
    if cfg.DATASETS.TEST:
        draw_predictions(cfg, getattr(model, "module", model), output / "predictions.png")
        written["predictions.png"] = "ground truth beside prediction"
    written["log.txt"] = "everything that was printed, environment and config"
    print(f"\nIn {output}{os.sep}:")
    for name, what in written.items():
        print(f"  {name:<18} {what}")
    print("\n" + next_steps(cfg))


def results_tables(results: dict) -> str:
    """Metrics and AP of each class as text tables, in percent, one pair for each test set."""
    if all(task in TASKS or task.endswith("_TTA") for task in results):
        results = {"": results}
    parts = []
    for name, tasks in results.items():
        tasks = {task: values for task, values in tasks.items() if isinstance(values, dict)}
        metrics = ["AP", "AP50", "AP75", "APs", "APm", "APl"]
        rows = [
            [_title(task), *(values.get(metric) for metric in metrics)]
            for task, values in tasks.items()
        ]
        parts.append(f"\nResults {name}".rstrip() + " (COCO metrics, percent)")
        parts.append(tabulate(rows, headers=["", *metrics], floatfmt=".1f", missingval="-"))
        classes = dict.fromkeys(
            key[3:] for values in tasks.values() for key in values if key.startswith("AP-")
        )
        if classes:
            rows = [[c, *(values.get(f"AP-{c}") for values in tasks.values())] for c in classes]
            headers = ["class", *(f"{_title(task)} AP" for task in tasks)]
            parts.append("")
            parts.append(tabulate(rows, headers=headers, floatfmt=".1f", missingval="-"))
    return "\n".join(parts)


def _title(task: str) -> str:
    plain = task.removesuffix("_TTA")
    return TASKS.get(plain, plain) + (" TTA" if plain != task else "")


def _without_nan(value: object) -> object:
    """JSON has no NaN, COCO's AP of a class without objects: null."""
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def next_steps(cfg: CfgNode) -> str:
    """What a user may want to type next."""
    model = os.path.join(cfg.OUTPUT_DIR, "model_final.pth")
    config = os.path.join(cfg.OUTPUT_DIR, "config.yaml")
    bin_folder = os.path.dirname(sys.executable)
    on_path = shutil.which("python") == os.path.join(bin_folder, "python")
    prefix = "" if on_path else os.path.relpath(bin_folder) + os.sep
    python = f"{prefix}python train_net.py"
    return "\n".join(
        [
            "Next:",
            "  evaluate again:",
            f"    {python} --config-file {config} --eval-only MODEL.WEIGHTS {model}",
            "  objects in other pictures:",
            f"    {prefix}hrnet-det predict {model} picture.jpg",
            "  curves in the browser:",
            f"    {prefix}tensorboard --logdir {cfg.OUTPUT_DIR}",
            "  one's own data in COCO's format:",
            f"    {python} --config-file quickstart/mask_rcnn.yaml OUTPUT_DIR output/mine \\",
            "      DATASETS.CUSTOM.TRAIN_JSON train.json DATASETS.CUSTOM.TRAIN_IMAGES pictures \\",
            "      DATASETS.CUSTOM.TEST_JSON val.json DATASETS.CUSTOM.TEST_IMAGES pictures",
            "  COCO on 8 GPUs, from ImageNet weights:",
            f"    {python} --config-file hrnetv2p_faster_rcnn.yaml --num-gpus 8 "
            "MODEL.WEIGHTS timm://hrnet_w32.ms_in1k",
        ]
    )
