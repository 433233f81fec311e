"""The evaluation of a detector on the test sets of a run."""

from __future__ import annotations

import logging
import sys
from collections import OrderedDict
from typing import TYPE_CHECKING

from detectron2.evaluation import inference_on_dataset
from detectron2.evaluation.testing import print_csv_format, verify_results
from detectron2.modeling import GeneralizedRCNNWithTTA
from detectron2.utils import comm
from detectron2.utils.events import has_event_storage
from torch import nn

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.evaluation.evaluators import ap_limit
from hrnet_det.evaluation.predictions import (
    augmented_run,
    forget_predictions,
    record_predictions,
)
from hrnet_det.export.exported_model import run_for_images
from hrnet_det.model_zoo import inference_form
from hrnet_det.modeling.inference.finite import images_are_named

if TYPE_CHECKING:
    from hrnet_det.engine.trainer import Trainer

logger = logging.getLogger("detectron2.hrnet_det")


def evaluate_detector(kind: type[Trainer], run: RunConfig, model: nn.Module) -> OrderedDict:
    """Results of the model on the test sets, with those of test-time augmentation if asked.

    The model is evaluated in the form that TEST.OPTIMIZED and TEST.DTYPE ask for.

    Args:
        kind: whose loaders and evaluators are taken.
    Returns: {task: {metric: percent}}; with several test sets {dataset: {task: ...}}.
    """
    if comm.is_main_process():
        forget_predictions(run)
    model = inference_form(run, getattr(model, "module", model))
    results = _evaluated(kind, run, model)
    if run[settings.AUGMENTED]:
        logger.info("Evaluating with test-time augmentation")
        # it is left in the mode it came in, which would be training, as of every new module
        several = GeneralizedRCNNWithTTA(run.cfg, model).train(model.training)
        augmented = _evaluated(kind, augmented_run(run), several)
        results.update({f"{name}_TTA": values for name, values in augmented.items()})
    return results


def verify_expected(run: RunConfig, results: OrderedDict) -> None:
    """Compare results with TEST.EXPECTED_RESULTS.

    Raises: SystemExit with status 1, after one line on standard error, if one is not reached.
    """
    try:
        verify_results(run.cfg, results)
    except SystemExit:
        missed = [
            f"{task} {metric} is {actual}, not {expected:g} (tolerance {tolerance:g})"
            for task, metric, expected, tolerance in run.cfg.TEST.EXPECTED_RESULTS
            if not _is_near(actual := results[task].get(metric), expected, tolerance)
        ]
        print(f"error: TEST.EXPECTED_RESULTS: {'; '.join(missed)}", file=sys.stderr)
        raise


def _is_near(actual: float | None, expected: float, tolerance: float) -> bool:
    return actual is not None and abs(actual - expected) <= tolerance  # nan is not


def _evaluated(kind: type[Trainer], run: RunConfig, model: nn.Module) -> OrderedDict:
    """Results by dataset, or those of the only one."""
    results = OrderedDict()
    for name in run[settings.TEST_DATASETS]:
        evaluator = kind.build_evaluator(run, name)
        # In a training the next evaluation may be of better weights.
        say = logger.warning if has_event_storage() else None
        with images_are_named(model, say):
            loader = kind.build_test_loader(run_for_images(run, model), name)
            results[name] = inference_on_dataset(model, loader, evaluator)
        if comm.is_main_process():
            record_predictions(run, name, max_detections=ap_limit(run, name))
            logger.info("Evaluation results for %s in csv format:", name)
            print_csv_format(results[name])
    return next(iter(results.values())) if len(results) == 1 else results
