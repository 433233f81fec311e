"""`train_net.py`, `hrnet-det train`: from the command line to a trained and evaluated detector."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.engine import default_argument_parser
from detectron2.utils import comm
from torch import nn

from hrnet_det.checkpoint import Checkpointer
from hrnet_det.config import settings
from hrnet_det.config.files import names
from hrnet_det.config.load import load_run
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.datasets import register_again
from hrnet_det.engine.job import RUN_FILES, Job
from hrnet_det.engine.launch import launch
from hrnet_det.engine.lazy_trainer import trainer_of
from hrnet_det.engine.logs import announce, set_up, working
from hrnet_det.engine.preflight import preflight
from hrnet_det.engine.trainer import Trainer
from hrnet_det.environment import silence_known_warnings
from hrnet_det.errors import InputError
from hrnet_det.report import write_report

logger = logging.getLogger("detectron2.hrnet_det")

EPILOG = """
Examples:

  COCO, 8 GPUs:            train_net.py --config-file hrnetv2p_faster_rcnn.yaml --num-gpus 8 \\
      MODEL.WEIGHTS timm://hrnet_w32.ms_in1k
  no data needed:          train_net.py --config-file quickstart/mask_rcnn.yaml
  evaluate:                train_net.py --config-file ... --eval-only MODEL.WEIGHTS model.pth
  change config options:   train_net.py --config-file ... SOLVER.BASE_LR 0.01
  your data, COCO's format: train_net.py --config-file ... \\
      DATASETS.CUSTOM.TRAIN_JSON train.json DATASETS.CUSTOM.TRAIN_IMAGES images/train \\
      DATASETS.CUSTOM.TEST_JSON val.json DATASETS.CUSTOM.TEST_IMAGES images/val
  a LazyConfig:            train_net.py --config-file COCO-Detection/fcos_hrnetv2p_w18_1x.py \\
      optimizer.lr=0.005
  several machines:        train_net.py --machine-rank 0 --num-machines 2 --dist-url URL ...

A config is a file or the name of a shipped one; `hrnet-det configs` lists them. A LazyConfig is a
Python program that is run: take none whose author you do not trust.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse Detectron2's arguments, and train or evaluate on as many processes as they say.

    Raises: InputError for what the user has to correct.
    """
    args = default_argument_parser(epilog=EPILOG).parse_args(argv)
    job = load_job(args)
    preflight(job)
    launch(run_process, job.run, args)


def load_job(args: argparse.Namespace) -> Job:
    """The run that the arguments describe. Raises: InputError if there is no such config."""
    if not args.config_file:
        raise InputError("no --config-file was given; shipped are\n  " + "\n  ".join(names()))
    return Job(
        load_run(args.config_file, args.opts),
        trains=not args.eval_only,
        resume=args.resume,
        num_gpus=args.num_gpus,
        num_machines=args.num_machines,
    )


def run_process(run: RunConfig, args: argparse.Namespace) -> dict:
    """Train and evaluate, or only evaluate, in one process of the job; returns the results."""
    kind = trainer_of(run)
    if comm.get_world_size() > 1:  # a new process, which has no registered datasets
        register_again(run)
        if run[settings.DEVICE] == "cpu" and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, torch.get_num_threads() // args.num_gpus))
    silence_known_warnings()
    set_up(run, args)
    with working():
        if args.eval_only:
            return _evaluate(run, args, kind)
        if comm.is_main_process() and not args.resume:
            _set_aside(str(run[settings.OUTPUT_DIR]))
        trainer = kind(run)
        trainer.resume_or_load(resume=args.resume)
        _compare_with_file(run, trainer.checkpointer)
        logger.info("Log, config and environment are in %s/log.txt", run[settings.OUTPUT_DIR])
        results = trainer.train()
        if comm.is_main_process():
            weights = os.path.join(str(run[settings.OUTPUT_DIR]), "model_final.pth")
            _report(run, kind, trainer.model, results, weights=weights)
        return results


def _set_aside(folder: str) -> None:
    """Rename an earlier run's files in OUTPUT_DIR: they are not those of this one."""
    for name in RUN_FILES:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            os.replace(path, f"{path}.previous")
            logger.info("%s of an earlier run is now %s.previous", path, path)


def _evaluate(run: RunConfig, args: argparse.Namespace, kind: type[Trainer]) -> dict:
    model = kind.build_model(run)
    checkpointer = kind.build_checkpointer(run, model)
    weights = str(run[settings.WEIGHTS])
    if not weights and not (args.resume and checkpointer.has_checkpoint()):
        raise InputError(
            "--eval-only without weights would evaluate random ones: add "
            f"{run.shown(settings.WEIGHTS, 'path/to/model_final.pth')}, or --resume for the last "
            "checkpoint of OUTPUT_DIR"
        )
    checkpointer.resume_or_load(weights, resume=args.resume)
    report = checkpointer.report
    if not report.complete and run[settings.WEIGHTS_STRICT]:
        raise InputError(
            "--eval-only, but a part of the detector would be random: take the weights of a whole "
            f"detector with the same classes\n{report}"
        )
    _check_conventions(run, checkpointer)
    _compare_with_file(run, checkpointer)
    results = kind.test(run, model)
    if comm.is_main_process():
        _report(run, kind, model, results, weights=report.path)
    return results


def _check_conventions(run: RunConfig, checkpointer: Checkpointer) -> None:
    """The file's detector is evaluated by its own rules, unless others are asked for."""
    report, ours = checkpointer.report, str(run[settings.CONVENTIONS])
    if not report.contradicts(ours) or run.states(settings.CONVENTIONS):
        return
    whose = (
        f"--eval-only: {report.path} is {report.title}, whose AP belongs to MODEL.CONVENTIONS "
        f"{report.conventions} (pixels, resizing, boxes)"
    )
    if run.name(settings.CONVENTIONS) != settings.CONVENTIONS.yaml:  # it has none
        raise InputError(
            f"{whose}, which only YAML configs can have: take that of the same detector, with "
            f"MODEL.CONVENTIONS {report.conventions}"
        )
    raise InputError(
        f"{whose}; the config has {ours}. Add MODEL.CONVENTIONS {report.conventions}, or "
        f"MODEL.CONVENTIONS {ours} if that is what you want to measure"
    )


def _report(
    run: RunConfig, kind: type[Trainer], model: nn.Module, results: dict, weights: str
) -> None:
    mapper = kind.build_test_mapper(run) if run[settings.TEST_DATASETS] else None
    announce(write_report(run, model, results, mapper=mapper, weights=Path(weights)))


def _compare_with_file(run: RunConfig, checkpointer: Checkpointer) -> None:
    """Say so where weights are used for what they have not been trained for."""
    report = checkpointer.report
    if report is None:
        return
    ours, theirs = checkpointer.metadata["classes"], checkpointer.file_classes
    if len(ours) == len(theirs) and ours != theirs:
        first = next(pair for pair in zip(theirs, ours, strict=True) if pair[0] != pair[1])
        logger.warning(
            "%s was trained for other classes than those of the data (%s in place of %s); its "
            "class layers are used all the same",
            report.path,
            *first,
        )
    if report.contradicts(str(run[settings.CONVENTIONS])):
        logger.warning(
            "%s follows MODEL.CONVENTIONS %s (pixels, resizing, boxes), the config %s",
            report.path,
            report.conventions,
            run[settings.CONVENTIONS],
        )
