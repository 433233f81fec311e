"""The checks of how a training goes: its numbers, batches, sampling, norms, and what ends it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hrnet_det.config import settings
from hrnet_det.config.allowed import MOST_WORKERS
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.checks import check_test_losses
from hrnet_det.data.dataset_kinds import dataset_kind
from hrnet_det.engine.job import Job
from hrnet_det.errors import InputError, did_you_mean, shown
from hrnet_det.modeling.kinds import OBJECTS, Kind, kind_of

MOST = 2**31  # iterations, epochs and images: what counters of 32 bits hold

# Setting, least value, what it must be below, and what is allowed in words.
NUMBERS = (
    (settings.MAX_ITER, 1, MOST, f"at least 1 iteration, and below {MOST}"),
    (settings.EPOCHS, 0, MOST, "at least 1 epoch, or 0 for SOLVER.MAX_ITER iterations"),
    (settings.BASE_LR_BATCH, 0, math.inf, "images, or 0 for a learning rate of any batch"),
    (settings.BASE_LR, 0, math.inf, "a number of at least 0"),
    (
        settings.NUM_WORKERS,
        0,
        MOST_WORKERS + 1,
        f"at least 0 processes, and at most {MOST_WORKERS}",
    ),
    (settings.GRADIENT_CLIP, 0, math.inf, "a norm above 0, or 0 for no clipping"),
    (settings.CHECKPOINT_PERIOD, 1, MOST, "at least 1 iteration"),
    (settings.CHECKPOINTS_KEPT, 0, math.inf, "at least 1 checkpoint, or 0 for all of them"),
    (settings.EVAL_PERIOD, 0, math.inf, "at least 1 iteration, or 0 for the end alone"),
    (settings.PATIENCE, 0, math.inf, "at least 1 evaluation, or 0 for no early stopping"),
    (settings.EMA_DECAY, 0, 1, "below 1, such as 0.999, or 0 for no average of the weights"),
    (settings.REFERENCE_WORLD_SIZE, 0, math.inf, "the GPUs of the recipe, or 0 for no scaling"),
)
# The tasks that each evaluator can give results of.
EVALUATED = {
    "coco": ("bbox", "segm", "keypoints", "box_proposals"),
    "lvis": ("bbox", "segm", "box_proposals"),
    "pascal_voc": ("bbox",),
    "sem_seg": ("sem_seg",),
    "panoptic": ("panoptic_seg",),
    "things": ("bbox", "segm"),
    "cityscapes_instance": ("segm",),
    "cityscapes_sem_seg": ("sem_seg",),
}
# Of Detectron2's those whose keys its config has.
BY_CLASSES = "RepeatFactorTrainingSampler"
SAMPLERS = ("TrainingSampler", BY_CLASSES)


def check_numbers(job: Job) -> None:
    """The numbers of the schedule are possible ones."""
    for setting, least, below, allowed in NUMBERS if job.trains else ():
        if not least <= job.run[setting] < below:  # nan is not at least 0
            raise InputError(f"{job.run.shown(setting)}: must be {allowed}")


def check_batch(job: Job) -> None:
    """The images of a step can be shared by the processes, and by the parts of each."""
    if not job.trains:
        return
    run = job.run
    processes = run[settings.REFERENCE_WORLD_SIZE] or job.processes  # to which it will be scaled
    batch, steps = run[settings.BATCH_SIZE], run[settings.ACCUMULATION_STEPS]
    if batch < 1 or batch % processes:
        raise InputError(
            f"{run.shown(settings.BATCH_SIZE)}: so many images cannot be shared equally among "
            f"{processes} processes: take a positive multiple of {processes}"
        )
    if steps < 1 or batch // processes % steps:
        raise InputError(
            f"{run.shown(settings.ACCUMULATION_STEPS)}: each process has {batch // processes} of "
            f"{run.shown(settings.BATCH_SIZE)} images, which cannot be divided into {steps} parts"
        )


def check_sampler(job: Job) -> None:
    """DATALOADER.SAMPLER_TRAIN is one of Detectron2's, and has the number that it goes by."""
    if not job.trains or job.run.is_lazy:  # a LazyConfig calls its sampler itself
        return
    options = job.run.cfg.DATALOADER
    name = options.SAMPLER_TRAIN
    if name not in SAMPLERS:
        raise InputError(
            f"DATALOADER.SAMPLER_TRAIN {name!r} is not one of {', '.join(SAMPLERS)}"
            f"{did_you_mean(name, SAMPLERS)}"
        )
    if name == BY_CLASSES and not 0 < options.REPEAT_THRESHOLD <= 1:
        raise InputError(
            f"DATALOADER.SAMPLER_TRAIN {name} with DATALOADER.REPEAT_THRESHOLD "
            f"{options.REPEAT_THRESHOLD}: give the share of images, above 0 and at most 1, below "
            "which a class is rare and its images are drawn more often, such as "
            "DATALOADER.REPEAT_THRESHOLD 0.1 (LVIS has 0.001)"
        )
    if name == BY_CLASSES and OBJECTS not in kind_of(job.run).learns:
        raise InputError(
            f"DATALOADER.SAMPLER_TRAIN {name} counts the classes of objects, of which "
            f"{kind_of(job.run).title} has none: take TrainingSampler"
        )


def check_evaluations(job: Job) -> None:
    """Early stopping, averaged weights and validation losses have what they are made from."""
    run, tests = job.run, job.splits.test
    if not job.trains:
        return
    if run[settings.PATIENCE] and not (run[settings.EVAL_PERIOD] and tests):
        raise InputError(
            f"{run.shown(settings.PATIENCE)}: early stopping goes by evaluations while training: "
            f"set {run.name(settings.EVAL_PERIOD)} (iterations) and give a test set"
        )
    if run[settings.EMA_DECAY] and run[settings.PRECISE_BN]:
        raise InputError(
            f"{run.shown(settings.EMA_DECAY)} with {run.shown(settings.PRECISE_BN)}: statistics of "
            "norms are averaged with the weights or computed anew, not both: set one"
        )
    if run[settings.LOSS]:
        check_test_losses(run, tests)
    if not run.is_lazy and run.cfg.TEST.EXPECTED_RESULTS:
        _check_expected(run, tests)


def _check_expected(run: RunConfig, tests: Sequence[str]) -> None:
    """Expected results are of the one test set, and of tasks that it is evaluated by."""
    name = "TEST.EXPECTED_RESULTS"
    if len(tests) != 1:
        raise InputError(
            f"{name} {shown(run.cfg.TEST.EXPECTED_RESULTS)} with {len(tests)} test sets: expected "
            "results are of one: give one test set, or leave them out"
        )
    known = _tasks(kind_of(run), tests[0])
    known += tuple(f"{task}_TTA" for task in known) if run[settings.AUGMENTED] else ()
    for row in run.cfg.TEST.EXPECTED_RESULTS if known else ():
        if row[0] not in known:
            raise InputError(
                f"{name} {shown(row)}: there will be no results of {row[0]!r}: the evaluation of "
                f"{kind_of(run).title} on {tests[0]} gives {', '.join(known)}"
                f"{did_you_mean(row[0], known)}"
            )


def _tasks(detector: Kind, test: str) -> tuple[str, ...]:
    """The tasks that evaluators give results of; () where one of the user's own takes part."""
    data = dataset_kind(test)
    evaluators = data.evaluators if data else ()
    if not detector.learns or not all(name in EVALUATED for name in evaluators):
        return ()
    heads = {"segm": detector.masks, "keypoints": detector.keypoints}
    boxes = ("bbox", *(task for task, there in heads.items() if there))
    predicted = {
        "instances": boxes,
        "proposals": ("box_proposals",),
        "sem_seg": ("sem_seg",),
        "panoptic_seg": (*boxes, "sem_seg", "panoptic_seg"),
    }.get(detector.output, ())
    measured = {task for name in evaluators for task in EVALUATED[name]}
    return tuple(task for task in predicted if task in measured)


def check_norms(job: Job) -> None:
    """Statistics are shared among processes only where they are trained, and where it works."""
    run = job.run
    if not job.trains:
        return
    if "SyncBN" in str(run[settings.NORM]) and run[settings.NORM_EVAL] and run[settings.WEIGHTS]:
        raise InputError(
            f"{run.shown(settings.NORM)} with {run.shown(settings.NORM_EVAL)} has fixed "
            "statistics, so nothing to share among GPUs: set "
            f"{run.shown(settings.NORM_EVAL, False)}, or {run.shown(settings.NORM, 'BN')}"
        )
    for setting in settings.NORMS if job.device == "cpu" and job.processes > 1 else ():
        if run[setting] in ("SyncBN", "nnSyncBN"):
            raise InputError(
                f"{run.shown(setting)}: torch's SyncBN needs GPUs; on the CPU take "
                f"{run.shown(setting, 'naiveSyncBN')}"
            )
