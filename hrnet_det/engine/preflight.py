"""The checks before a run starts: each changes a setting and says so, or raises InputError."""

from __future__ import annotations

from collections.abc import Callable

import torch

from hrnet_det import model_zoo
from hrnet_det.config import settings
from hrnet_det.data.checks import check_images, check_labels, check_proposal_files
from hrnet_det.data.datasets import prepare_datasets
from hrnet_det.engine.fitting import fit_data, fit_pixels, follow_schedule
from hrnet_det.engine.job import Job
from hrnet_det.engine.start import check_output, check_weights
from hrnet_det.engine.training_checks import (
    check_batch,
    check_evaluations,
    check_norms,
    check_numbers,
    check_sampler,
)
from hrnet_det.errors import InputError
from hrnet_det.evaluation.evaluators import check_evaluator
from hrnet_det.export.opening import is_exported
from hrnet_det.modeling.compat.conventions import check_conventions
from hrnet_det.modeling.kinds import kind_of


def check_device(job: Job) -> None:
    """The device is there for every process, and has AMP; a CPU takes a missing GPU's place."""
    run, name, gpus = job.run, job.run.name(settings.DEVICE), torch.cuda.device_count()
    given, typed = run[settings.DEVICE], f"{job.option} {job.num_gpus}"
    try:
        device = torch.device(str(given))
    except RuntimeError as error:
        raise InputError(f"{name} {given!r} is not a device of torch: cuda, cpu, ...") from error
    shown = run.shown(settings.DEVICE)
    if device.type != "cuda":
        if job.processes > 1 and torch.cuda.is_available():
            raise InputError(
                f"{typed} with {shown}: the processes would be started for GPUs; for processes on "
                "the CPU set CUDA_VISIBLE_DEVICES="
            )
    elif not torch.cuda.is_available():
        run.note(f"No GPU here: running on the CPU instead of {shown}.")
        run[settings.DEVICE] = "cpu"
    elif job.num_gpus > gpus and not (gpus == 1 and job.option.startswith("srun")):
        raise InputError(f"{typed}, but this machine has {gpus}")
    elif device.index is not None and job.processes > 1:
        raise InputError(
            f"{shown} is one GPU, but there are {job.processes} processes, each with one of its "
            f"own: set {run.shown(settings.DEVICE, 'cuda')} (CUDA_VISIBLE_DEVICES chooses GPUs)"
        )
    elif (device.index or 0) >= gpus:
        raise InputError(f"{shown}, but this machine's GPUs are cuda:0 to cuda:{gpus - 1}")
    if job.trains and run[settings.AMP] and job.device not in ("cuda", "cpu"):
        raise InputError(f"{run.shown(settings.AMP)} is for cuda and cpu, not {job.device}")
    if device.type not in ("cuda", "cpu"):
        try:
            model_zoo.check_device(str(given))
        except InputError as error:
            raise InputError(f"{shown}: {error}") from error


def check_model(job: Job) -> None:
    """The detector can follow the conventions that are asked for."""
    check_conventions(kind_of(job.run), str(job.run[settings.CONVENTIONS]))
    names = job.run.model
    linked = names.roi_heads == "HTCROIHeads" and job.run.semantic_branch
    if job.trains and linked and names.meta_arch != "HTC":
        raise InputError(
            f"MODEL.META_ARCHITECTURE {names.meta_arch} gives HTCROIHeads no semantic labels: only "
            "HTC trains their semantic branch; MODEL.HTC.SEMANTIC_ON False is without one"
        )


def check_pickles(job: Job) -> None:
    """Detectron2 reads precomputed proposals by unpickling them, which runs what they hold."""
    run = job.run
    if run.is_lazy or run[settings.WEIGHTS_ALLOW_PICKLE] or not run.cfg.MODEL.LOAD_PROPOSALS:
        return
    raise InputError(
        "MODEL.LOAD_PROPOSALS True: files of proposals are pickles, which run code when they are "
        "loaded. Where you trust them: MODEL.WEIGHTS_ALLOW_PICKLE True"
    )


def check_datasets(job: Job) -> None:
    """The datasets that are used are there, and the model has as many classes."""
    job.splits = prepare_datasets(job.run, trains=job.trains)
    if not job.splits.test:
        name = job.run.name(settings.TEST_DATASETS)
        job.run.note(f"{name} is empty: the detector is trained, but never evaluated.")


def check_learning(job: Job) -> None:
    """The datasets have the annotations that the detector learns from and is evaluated by."""
    check_labels(job.run, job.splits)
    check_proposal_files(job.run, job.splits)
    for name in job.splits.test:
        check_evaluator(job.run, name)


def check_input(job: Job) -> None:
    check_images(job.run)


def check_evaluation(job: Job) -> None:
    """The form that evaluation runs in, and test-time augmentation."""
    run = job.run
    if not is_exported(str(run[settings.WEIGHTS])):  # which runs in a form of its own
        model_zoo.check_inference_form(run)
    if not run[settings.AUGMENTED]:
        return
    subject, kind = "TEST.AUG.ENABLED: Detectron2's test-time augmentation", kind_of(run)
    if not kind.augmentable or run[settings.CONVENTIONS] != "detectron2":
        raise InputError(
            f"{subject} is for Faster, Mask and Cascade R-CNN and HTC with MODEL.CONVENTIONS "
            f"detectron2, not for {kind.title} with {run[settings.CONVENTIONS]}"
        )
    if run[settings.RESIZE] != "pillow":
        raise InputError(f"{subject} resizes with INPUT.RESIZE pillow, not {run[settings.RESIZE]}")


CHECKS: tuple[Callable[[Job], None], ...] = (
    check_output,
    check_device,
    check_numbers,
    check_batch,
    check_model,
    check_pickles,
    check_datasets,
    check_learning,
    check_input,
    fit_data,
    fit_pixels,
    check_weights,
    follow_schedule,
    check_sampler,
    check_evaluations,
    check_evaluation,
    check_norms,
)


def preflight(job: Job) -> None:
    """Make a run's settings fit device and data. Raises: InputError if the user has to act."""
    for check in CHECKS:
        check(job)
