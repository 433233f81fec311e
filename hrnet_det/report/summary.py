"""The report of a run: its metrics, curves and images in OUTPUT_DIR, and what is there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from torch import nn

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.evaluation.evaluators import best_metric
from hrnet_det.report.metrics import draw_curves, results_tables
from hrnet_det.report.next_steps import next_steps
from hrnet_det.report.sheet import draw_predictions


def write_report(
    run: RunConfig,
    model: nn.Module,
    results: dict,
    *,
    mapper: Callable[[dict], dict] | None,
    weights: Path,
) -> str:
    """Write what a run has shown to OUTPUT_DIR; returns its tables, and where everything is.

    Files: results.json (all metrics), curves.png (from metrics.json, where training wrote it),
    predictions.png (images of the first test set, ground truth beside prediction).

    Args:
        model: the trained detector; wrapped by DistributedDataParallel or not.
        results: as `Trainer.test` returns them; {} where nothing was evaluated.
        mapper: prepares a row of the test set for the model; None without a test set.
        weights: the file with the model's.
    """
    output, tests = Path(str(run[settings.OUTPUT_DIR])), run[settings.TEST_DATASETS]
    written = {"model_final.pth": "weights"}
    if tests:
        written["model_best.pth"] = f"weights of the best {best_metric(run)}"
    written = {name: what for name, what in written.items() if (output / name).is_file()}
    lines = []
    if results:
        # JSON has no NaN, COCO's AP of a class without objects: null.
        plain = json.loads(json.dumps(results), parse_constant=lambda _: None)
        (output / "results.json").write_text(json.dumps(plain, indent=2) + "\n")
        written["results.json"] = "all metrics of the evaluation"
        lines.append(results_tables(results))
    if (output / "metrics.json").is_file() and draw_curves(output):
        written["metrics.json"] = "metrics while training (TensorBoard reads events.*)"
        written["curves.png"] = "losses and learning rate"
    if tests:
        detector = getattr(model, "module", model)
        draw_predictions(tests[0], detector, mapper, output / "predictions.png")
        written["predictions.png"] = "ground truth beside prediction"
    written["config.yaml"] = "the config"
    written["log.txt"] = "progress, results, warnings, environment and config"
    lines.append(f"\nIn {output}{os.sep}:")
    lines += [f"  {name:<18} {what}" for name, what in written.items()]
    return "\n".join([*lines, "", next_steps(run, weights)])
