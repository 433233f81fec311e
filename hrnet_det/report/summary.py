"""The report of a run: its metrics, curves and images in OUTPUT_DIR, and what to type next."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from torch import nn

from hrnet_det.checkpoint.writing import written_aside
from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.evaluation.evaluators import best_metric
from hrnet_det.modeling.backbone.variants import IMAGENET_WEIGHTS
from hrnet_det.modeling.kinds import kind_of
from hrnet_det.report.curves import draw_curves
from hrnet_det.report.metrics import plain_results
from hrnet_det.report.page import PAGE
from hrnet_det.report.sheet import draw_predictions
from hrnet_det.report.tables import results_tables


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
    predictions.png (images of the first test set, ground truth beside prediction). The page, which
    `page.write_page` makes of them afterwards, is named too.

    Args:
        model: the trained detector; wrapped by DistributedDataParallel or not.
        results: as `Trainer.test` returns them; {} where nothing was evaluated.
        mapper: of the test set, for the model; None without a test set.
    """
    output, tests = Path(str(run[settings.OUTPUT_DIR])), run[settings.TEST_DATASETS]
    written, lines = {}, []
    if (output / "model_final.pth").is_file():
        written["model_final.pth"] = "weights"
    if (output / "model_final.safetensors").is_file():
        written["model_final.safetensors"] = "the same, alone enough to use, evaluate, convert"
        written["model_card.md"] = "what they are, were trained on and reach"
    if tests and (output / "model_best.pth").is_file():
        written["model_best.pth"] = f"weights of the best {best_metric(run)}"
    if results:
        with written_aside(output / "results.json") as file:
            file.write(json.dumps(plain_results(results), indent=2).encode() + b"\n")
        written["results.json"] = "all metrics of the evaluation"
        lines.append(results_tables(results))
    if (output / "metrics.json").is_file() and draw_curves(output):
        written["metrics.json"] = "metrics while training (TensorBoard reads events.*)"
        written["curves.png"] = "losses and learning rate"
    if (output / "augmented_samples.png").is_file():
        written["augmented_samples.png"] = "images as the network was trained on them"
    if tests:
        detector = getattr(model, "module", model)
        draw_predictions(tests[0], detector, mapper, output / "predictions.png")
        written["predictions.png"] = "ground truth beside prediction"
    written[PAGE] = "what is right and wrong, and what to do: open it in a browser"
    written["config.yaml"] = "the config"
    written["log.txt"] = "progress, results, warnings, environment and config"
    files = [f"  {name:<23} {what}" for name, what in written.items()]
    return "\n".join([*lines, f"\nIn {output}{os.sep}:", *files, "", next_steps(run, weights)])


def next_steps(run: RunConfig, weights: Path) -> str:
    """Commands that evaluate a run's weights again, predict with them, show curves and train."""
    output = Path(str(run[settings.OUTPUT_DIR]))
    saved = output / "config.yaml"  # there unless the config has no form as text
    config = str(saved) if saved.is_file() else run.path
    start = [_program("hrnet-det"), "train", "--config-file"]
    if Path("train_net.py").is_file():  # in a checkout
        start = [_program("python"), "train_net.py", "--config-file"]
    own = [*start, "custom/mask_rcnn.yaml", "--data", "mine", "OUTPUT_DIR", "output/mine"]
    on_coco = ["--num-gpus", "8", "MODEL.WEIGHTS", IMAGENET_WEIGHTS["w32"]]
    steps = {
        "evaluate again": [*start, config, "--eval-only", *run.words(settings.WEIGHTS, weights)],
        "objects in other images": [_program("hrnet-det"), "predict", weights, "image.jpg"],
        "curves in the browser": [_program("tensorboard"), "--logdir", output],
        "your own data in COCO's format": own,
        "COCO on 8 GPUs, from ImageNet weights": [*start, "hrnetv2p_faster_rcnn.yaml", *on_coco],
    }
    if not run[settings.TEST_DATASETS]:
        del steps["evaluate again"]
    if not kind_of(run).detects:
        del steps["objects in other images"]
    lines = ["Next:"]
    for what, words in steps.items():
        lines += [f"  {what}:", f"    {shlex.join(map(str, words))}"]
    return "\n".join(lines)


def _program(name: str) -> str:
    """A program of this environment: its name where the shell finds it, else its path."""
    folder = os.path.dirname(sys.executable)
    found = shutil.which(name)
    if found and os.path.dirname(os.path.abspath(found)) == folder:
        return name
    return os.path.join(os.path.relpath(folder), name)
