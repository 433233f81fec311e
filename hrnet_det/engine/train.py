"""`train_net.py`, `hrnet-det train`: from the command line to a trained and evaluated detector."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from detectron2.engine import default_argument_parser
from detectron2.utils import comm

from hrnet_det.checkpoint.writing import full_disk_is_told
from hrnet_det.config import settings
from hrnet_det.config.files import names
from hrnet_det.config.load import load_run
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.datasets import used_splits
from hrnet_det.data.own_data import register_again
from hrnet_det.engine import signals
from hrnet_det.engine.augmented_samples import draw_augmented_samples
from hrnet_det.engine.evaluation import Done, compare_with_file, evaluate
from hrnet_det.engine.final_model import write_final_model
from hrnet_det.engine.job import Job
from hrnet_det.engine.launch import launch
from hrnet_det.engine.lazy_trainer import trainer_of
from hrnet_det.engine.logs import announce, console_level, faults_logged, set_up
from hrnet_det.engine.preflight import preflight
from hrnet_det.engine.processes import OPTIONS, processes_of
from hrnet_det.engine.start import set_aside
from hrnet_det.engine.trainer import Trainer
from hrnet_det.environment import silence_known_warnings
from hrnet_det.errors import InputError
from hrnet_det.export.exported_model import run_for_images
from hrnet_det.outputs import alone_in
from hrnet_det.report import write_report
from hrnet_det.report.page import write_page

logger = logging.getLogger("detectron2.hrnet_det")

EPILOG = """
Examples:

  COCO, 8 GPUs:            train_net.py --config-file hrnetv2p_faster_rcnn.yaml --num-gpus 8 \\
      MODEL.WEIGHTS timm://hrnet_w32.ms_in1k
  no data needed:          train_net.py --config-file quickstart/mask_rcnn.yaml
  evaluate:                train_net.py --config-file ... --eval-only MODEL.WEIGHTS model.pth
  change config options:   train_net.py --config-file ... SOLVER.BASE_LR 0.01
  your data, COCO's format: train_net.py --config-file custom/mask_rcnn.yaml --data mine/
  a LazyConfig:            train_net.py --config-file COCO-Detection/fcos_hrnetv2p_w18_1x.py \\
      optimizer.lr=0.005
  several machines:        train_net.py --machine-rank 0 --num-machines 2 --dist-url URL ...

A config is a file or the name of a shipped one; `hrnet-det configs` lists them. A LazyConfig is a
Python program that is run: take none whose author you do not trust.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse Detectron2's arguments, and train or evaluate on as many processes as they say.

    Raises: InputError for what the user has to correct; SystemExit if a process has died, or after
        a signal.
    """
    args = build_parser().parse_args(argv)
    processes = processes_of(args, os.environ)
    try:
        with signals.handled():
            launch(processes, partial(prepare, args), partial(run_process, args=args))
    except signals.Stopped as end:
        if end.text and comm.is_main_process():
            print(end.text, file=sys.stderr)
        raise


def build_parser() -> argparse.ArgumentParser:
    """Detectron2's arguments, with --data; those of the processes are None if they are not typed.

    Differs from source: --dist-url is a free port where there is one machine.
    """
    parser = default_argument_parser(epilog=EPILOG)
    parser.set_defaults(**dict.fromkeys(OPTIONS))
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        default="",
        help="your own data in COCO's format: the folder of jsons and images, as COCO, Roboflow, "
        "CVAT or Label Studio lay them out; one json alone is split (DATASETS.CUSTOM.FOLDER)",
    )
    # taken by cli.main, wherever it stands
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def load_job(args: argparse.Namespace) -> Job:
    """The run that the arguments describe. Raises: InputError if there is no such config."""
    if not args.config_file:
        raise InputError("no --config-file was given; shipped are\n  " + "\n  ".join(names()))
    run = load_run(args.config_file, args.opts)
    if args.data:
        run[settings.DATA_FOLDER] = args.data
    there = processes_of(args, os.environ)
    return Job(run, not args.eval_only, args.resume, there.local, there.machines, there.option)


def prepare(args: argparse.Namespace) -> RunConfig:
    """The checked run that the arguments describe. Raises: InputError if there is none."""
    job = load_job(args)
    preflight(job)
    return job.run


def run_process(run: RunConfig, args: argparse.Namespace, *, prepared: bool) -> dict:
    """Train and evaluate, or only evaluate, in one process of the job; returns the results.

    Args:
        prepared: whether this process has prepared the run; others have no registered datasets.
    """
    kind = trainer_of(run)
    if not prepared:
        register_again(run, used_splits(run, trains=True).names)
    silence_known_warnings()
    output = str(run[settings.OUTPUT_DIR])
    with full_disk_is_told(output), alone_in(output) if comm.is_main_process() else nullcontext():
        set_up(run, args)
        logged = faults_logged(output)
        with logged, console_level(logging.INFO), signals.workers_protected():
            work = evaluate if args.eval_only else _train
            model, weights, results = work(run, kind, resume=args.resume)
            if comm.is_main_process():
                read = run_for_images(run, model)
                mapper = kind.build_test_mapper(read) if run[settings.TEST_DATASETS] else None
                announce(write_report(run, model, results, mapper=mapper, weights=Path(weights)))
                write_page(run, mapper=mapper)  # last: all else is there by now
    return results


def _train(run: RunConfig, kind: type[Trainer], *, resume: bool) -> Done:
    output = str(run[settings.OUTPUT_DIR])
    trainer = kind(run)
    trainer.resume_or_load(resume=resume)
    checkpointer = trainer.checkpointer
    compare_with_file(run, checkpointer)
    logger.info("Log, config and environment are in %s/log.txt", output)
    if comm.is_main_process() and trainer.start_iter == 0:
        draw_augmented_samples(run, trainer.data_loader)
    if comm.is_main_process() and not checkpointer.resumed_from:
        set_aside(run)  # only here, where the new run has all that it needs
    results = trainer.train()
    if trainer.start_iter > trainer.max_iter:  # nothing was trained, and no final model written
        return trainer.average.averaged, checkpointer.resumed_from, results
    if comm.is_main_process():
        write_final_model(trainer, results)
    return trainer.average.averaged, os.path.join(output, "model_final.pth"), results
