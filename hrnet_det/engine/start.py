"""The weights that a job starts from, evaluates or goes on with."""

from __future__ import annotations

import os
from pathlib import Path

from hrnet_det.checkpoint.addresses import IMAGENET, check_connection, find_weights, page_of
from hrnet_det.config import settings
from hrnet_det.config.load import parse_run
from hrnet_det.config.run_config import RunConfig
from hrnet_det.engine.job import Job
from hrnet_det.errors import InputError
from hrnet_det.modeling.backbone.variants import IMAGENET_WEIGHTS

# What a run writes to OUTPUT_DIR, and the next one there renames.
RUN_FILES = ("metrics.json", "results.json", "last_checkpoint", "model_best.pth", "model_final.pth")


def check_weights(job: Job) -> None:
    """Weights to start from are not those that the run renames; without any, norms are trained."""
    if not job.trains:
        if job.run[settings.WEIGHTS] == IMAGENET:  # of no detector that could be evaluated
            job.run[settings.WEIGHTS] = ""
        return
    run, given = job.run, str(job.run[settings.WEIGHTS])
    output = str(run[settings.OUTPUT_DIR])
    resumes = job.resume and os.path.isfile(os.path.join(output, "last_checkpoint"))
    sought = given == IMAGENET and not resumes
    if given == IMAGENET:
        given = run[settings.WEIGHTS] = _imagenet_weights(run) if sought else ""
    files = (os.path.realpath(os.path.join(output, name)) for name in RUN_FILES)
    if not job.resume and os.path.realpath(given) in files:
        raise InputError(
            f"{run.shown(settings.WEIGHTS)} is of an earlier run in "
            f"{run.shown(settings.OUTPUT_DIR)}, whose files this one would replace: give another "
            f"{run.name(settings.OUTPUT_DIR)}, or --resume to go on with that run"
        )
    if given:
        return
    if run[settings.NORM_EVAL] and not (resumes and _had_norm_eval(output)):
        run[settings.NORM_EVAL] = False
        known = IMAGENET_WEIGHTS.get(str(run[settings.VARIANT]))
        needed = run.shown(settings.WEIGHTS, known or "FILE")
        wanted = f"\n  The published AP needs ImageNet weights: {needed}"
        run.note(
            f"{run.name(settings.WEIGHTS)} is empty: training from random weights, so norm "
            f"statistics are trained too ({run.shown(settings.NORM_EVAL)})."
            f"{'' if sought else wanted}"
        )
    if run[settings.FREEZE_AT] and not resumes:
        raise InputError(
            f"{run.shown(settings.FREEZE_AT)} without {run.name(settings.WEIGHTS)} would freeze "
            "random weights: give weights, or set it to 0"
        )


def _imagenet_weights(run: RunConfig) -> str:
    """The address of the variant's ImageNet weights, which are here then; "" if they cannot be."""
    address = IMAGENET_WEIGHTS[str(run[settings.VARIANT])]
    try:
        check_connection(address)
        find_weights(address)
    except InputError as error:
        run.note(
            f"ImageNet weights cannot be fetched ({error}): with them a detector learns more from "
            f"less data. By hand: fetch {page_of(address)} elsewhere, and set "
            f"{run.shown(settings.WEIGHTS, 'model.safetensors')}."
        )
        return ""
    run.note(f"{run.shown(settings.WEIGHTS, address)}: ImageNet weights of the variant.")
    return address


def _had_norm_eval(output: str) -> bool:
    """Whether the run that OUTPUT_DIR holds has been trained with NORM_EVAL."""
    path = Path(output, "config.yaml")
    saved = parse_run(path.read_text("utf-8"), str(path)) if path.is_file() else None
    return saved is not None and bool(saved[settings.NORM_EVAL])
