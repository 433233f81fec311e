"""The AP of an exported file on a run's test set."""

from __future__ import annotations

import contextlib
import copy
import io
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from detectron2.data import DatasetCatalog
from detectron2.evaluation import COCOEvaluator

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.mapper import build_test_mapper
from hrnet_det.errors import InputError
from hrnet_det.evaluation.evaluators import build_evaluator
from hrnet_det.export.exported_model import ExportedModel, run_for_images
from hrnet_det.export.samples import split_paths, spread

MOST = 500  # images that AP is measured on


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Args:
        dataset: its name. images: of it that were taken.
        values: percent, by task: "bbox", "segm", "keypoints".
        reason: why nothing could be; "" if it could.
    """

    dataset: str = ""
    images: int = 0
    values: dict[str, float] = field(default_factory=dict)
    reason: str = ""


def average_precision(run: RunConfig, path: Path) -> Measured:
    """The AP of a file on the first test set of a run, or on MOST of its images in equal steps."""
    names = run[settings.TEST_DATASETS]
    model = ExportedModel(path)
    if not names or not split_paths(run, "test"):
        named = f"the test set {names[0]}" if names else "a test set (DATASETS.TEST)"
        return Measured(reason=f"{named} is not here; --eval-only MODEL.WEIGHTS FILE measures it")
    if model.size:
        return Measured(reason="the file takes images of one size alone")
    try:
        rows = DatasetCatalog.get(names[0])
    except (OSError, InputError) as error:
        return Measured(reason=f"the test set {names[0]} cannot be read ({error})")
    with tempfile.TemporaryDirectory() as folder:
        run = run.copy()
        run[settings.OUTPUT_DIR] = folder  # not where a training has left its predictions
        evaluator = build_evaluator(run, names[0])
        if isinstance(evaluator, COCOEvaluator):  # others measure whole sets alone
            rows = spread(rows, MOST)
        mapper = build_test_mapper(run_for_images(run, model))
        evaluator.reset()
        for row in rows:
            given = [mapper(copy.deepcopy(row))]
            evaluator.process(given, model(given))
        chosen = {"img_ids": [row["image_id"] for row in rows]}
        with contextlib.redirect_stdout(io.StringIO()):
            is_coco = isinstance(evaluator, COCOEvaluator)
            results = evaluator.evaluate(**chosen if is_coco else {})
    values = {task: float(found["AP"]) for task, found in results.items() if "AP" in found}
    return Measured(names[0], len(rows), values)
