"""The weights that a job starts from, evaluates or goes on with."""

from __future__ import annotations

import logging
import os
from functools import reduce
from operator import getitem
from pathlib import Path

from hrnet_det.checkpoint.addresses import IMAGENET, check_connection, find_weights, page_of
from hrnet_det.checkpoint.latest import LAST, UNNUMBERED, numbered_checkpoints
from hrnet_det.config import settings
from hrnet_det.config.recipes import KEYS_OF_RECIPES
from hrnet_det.config.run_config import RunConfig
from hrnet_det.engine.final_model import CARD, MODEL
from hrnet_det.engine.job import Job
from hrnet_det.errors import InputError
from hrnet_det.evaluation.predictions import forget_predictions
from hrnet_det.export.opening import is_exported
from hrnet_det.modeling.backbone.variants import IMAGENET_WEIGHTS
from hrnet_det.outputs import check_folder
from hrnet_det.report.page import PAGE

logger = logging.getLogger("detectron2.hrnet_det")

SHOWN = ("curves.png", "predictions.png", PAGE)
# What a run writes to OUTPUT_DIR and the next one there renames, with the numbered checkpoints.
RUN_FILES = ("metrics.json", "results.json", LAST, *UNNUMBERED, MODEL, CARD, *SHOWN)
# With what it overwrites.
WRITTEN = (*RUN_FILES, "config.yaml", "log.txt", "augmented_samples.png")


def check_output(job: Job) -> None:
    """OUTPUT_DIR is a folder that can be written to, or can be made, and its files are files."""
    run = job.run
    advice = f"give another {run.name(settings.OUTPUT_DIR)}"
    shown = run.shown(settings.OUTPUT_DIR)
    folder = str(run[settings.OUTPUT_DIR])
    check_folder(folder, shown=shown, advice=advice)
    for path in (Path(folder, name) for name in WRITTEN):
        if path.is_dir():
            raise InputError(f"{shown}: a run writes a file {path}, which is a folder: {advice}")


def run_files(folder: str | Path) -> list[Path]:
    """The files of an earlier run in OUTPUT_DIR, which are not those of the next one."""
    named = (Path(folder, name) for name in RUN_FILES)
    return [*(path for path in named if path.is_file()), *numbered_checkpoints(folder)]


def set_aside(run: RunConfig) -> None:
    """Rename an earlier run's files in OUTPUT_DIR, of which a later --resume then takes none."""
    folder = str(run[settings.OUTPUT_DIR])
    files = run_files(folder)
    for path in files:
        path.replace(f"{path}.previous")
    if files:
        named = ", ".join(path.name for path in files)
        logger.info("%s has an earlier run: %s are now called NAME.previous", folder, named)
    forget_predictions(run)


def check_weights(job: Job) -> None:
    """Weights to start from are not those that the run renames; without any, norms are trained."""
    if is_exported(str(job.run[settings.WEIGHTS])):
        _check_exported(job)
    if not job.trains:
        if job.run[settings.WEIGHTS] == IMAGENET:  # of no detector that could be evaluated
            job.run[settings.WEIGHTS] = ""
        return
    run, given = job.run, str(job.run[settings.WEIGHTS])
    _say_recipe(run)
    output = str(run[settings.OUTPUT_DIR])
    resumes = bool(job.checkpoint)
    sought = given == IMAGENET and not resumes
    if given == IMAGENET:
        given = run[settings.WEIGHTS] = _imagenet_weights(run) if sought else ""
    files = () if resumes else map(os.path.realpath, run_files(output))
    if os.path.realpath(given) in files:
        raise InputError(
            f"{run.shown(settings.WEIGHTS)} is of an earlier run in "
            f"{run.shown(settings.OUTPUT_DIR)}, whose files this one would replace: give another "
            f"{run.name(settings.OUTPUT_DIR)}, or --resume to go on with that run"
        )
    if given:
        return
    had_norm_eval = resumes and job.earlier is not None and job.earlier[settings.NORM_EVAL]
    if run[settings.NORM_EVAL] and not had_norm_eval:
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


def _check_exported(job: Job) -> None:
    """An exported file is evaluated, on the CPU, and not trained. Raises: InputError if it is."""
    run, name = job.run, job.run.shown(settings.WEIGHTS)
    if job.trains:
        raise InputError(
            f"{name}: an exported file detects, and cannot be trained: give the weights that it "
            "was exported from, such as model_final.pth; or add --eval-only to evaluate it"
        )
    if job.device != "cpu":
        run.note(f"{name} runs on the CPU instead of {run.shown(settings.DEVICE)}.")
        run[settings.DEVICE] = "cpu"


def _imagenet_weights(run: RunConfig) -> str:
    """The address of the variant's ImageNet weights, which are here then; "" if they cannot be."""
    address = IMAGENET_WEIGHTS[str(run[settings.VARIANT])]
    try:
        check_connection(address)
        find_weights(address)
    except InputError as error:
        if run[settings.RECIPE]:
            raise InputError(
                f"{run.shown(settings.RECIPE)} starts from ImageNet weights, which cannot be "
                f"fetched ({error}): fetch {page_of(address)} elsewhere and set "
                f"{run.shown(settings.WEIGHTS, 'model.safetensors')}; random weights, which are "
                f"not as published: {run.name(settings.WEIGHTS)} ''"
            ) from error
        run.note(
            f"ImageNet weights cannot be fetched ({error}): with them a detector learns more from "
            f"less data. By hand: fetch {page_of(address)} elsewhere, and set "
            f"{run.shown(settings.WEIGHTS, 'model.safetensors')}."
        )
        return ""
    run.note(f"{run.shown(settings.WEIGHTS, address)}: ImageNet weights of the variant.")
    return address


def _say_recipe(run: RunConfig) -> None:
    """Say whose recipe a training follows, and what the user states otherwise."""
    if not run[settings.RECIPE]:
        return
    stated = sorted(KEYS_OF_RECIPES & run.stated)
    if len(stated) == len(KEYS_OF_RECIPES):  # the config.yaml of a run
        stated = []
    values = [f"{key} {reduce(getitem, key.split('.'), run.cfg)}" for key in stated]
    but = f"; yours are {', '.join(values)}" if values else ""
    run.note(
        f"{run.shown(settings.RECIPE)}: optimiser and schedule of its training on COCO, and the "
        f"rules of {run.shown(settings.CONVENTIONS)}{but}."
    )
