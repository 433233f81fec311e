"""`train_net.py`: from the command line to a trained and evaluated detector."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue
from typing import NoReturn

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser, default_setup, launch
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from torch.multiprocessing import ProcessExitedException

from hrnet_det import model_zoo
from hrnet_det.checkpoint import Checkpointer
from hrnet_det.config import load_config, stated_keys
from hrnet_det.data import prepare_datasets
from hrnet_det.engine.trainer import Trainer
from hrnet_det.errors import InputError
from hrnet_det.evaluation import write_report

logger = logging.getLogger("detectron2.hrnet_det")

EPILOG = """
Examples:

  COCO, 8 GPUs:            train_net.py --config-file hrnetv2p_faster_rcnn.yaml --num-gpus 8
  no data needed:          train_net.py --config-file quickstart/mask_rcnn.yaml
  evaluate:                train_net.py --config-file ... --eval-only MODEL.WEIGHTS model.pth
  change config options:   train_net.py --config-file ... SOLVER.BASE_LR 0.01
  own data, COCO's format: train_net.py --config-file ... \\
      DATASETS.CUSTOM.TRAIN_JSON train.json DATASETS.CUSTOM.TRAIN_IMAGES pictures/train \\
      DATASETS.CUSTOM.TEST_JSON val.json DATASETS.CUSTOM.TEST_IMAGES pictures/val
  several machines:        train_net.py --machine-rank 0 --num-machines 2 --dist-url URL ...

A config is a file or the name of a shipped one; `hrnet-det configs` lists them.
"""


def load_setup(args: argparse.Namespace) -> CfgNode:
    """The config that the arguments name, made to fit the device and the data, with both there.

    Raises: InputError for whatever the user has to mend.
    """
    if not args.config_file:
        raise InputError(
            "no --config-file was given; shipped are\n  " + "\n  ".join(model_zoo.names())
        )
    path = model_zoo.find_config(args.config_file)
    cfg = load_config(path, args.opts)
    args.config_file = str(path)
    _fit_device(cfg, args)
    prepare_datasets(cfg, stated=stated_keys(path, args.opts))
    _check_start(cfg, args)
    cfg.freeze()
    return cfg


def _fit_device(cfg: CfgNode, args: argparse.Namespace) -> None:
    if args.num_gpus < 1:
        raise InputError(
            f"--num-gpus {args.num_gpus}: give at least 1 (without GPUs: processes on the CPU)"
        )
    try:
        torch.device(cfg.MODEL.DEVICE)
    except RuntimeError as error:
        raise InputError(
            f"MODEL.DEVICE {cfg.MODEL.DEVICE!r} is no device of torch: cuda, cpu, ..."
        ) from error
    if not cfg.MODEL.DEVICE.startswith("cuda"):
        return
    if not torch.cuda.is_available():
        print(f"No GPU here: running on the CPU instead of MODEL.DEVICE {cfg.MODEL.DEVICE}.")
        cfg.MODEL.DEVICE = "cpu"
    elif args.num_gpus > torch.cuda.device_count():
        raise InputError(
            f"--num-gpus {args.num_gpus}, but this machine has {torch.cuda.device_count()}"
        )


def _check_start(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Refuse what cannot work, and say aloud what would otherwise go wrong in silence."""
    if cfg.TEST.AUG.ENABLED and cfg.MODEL.KEYPOINT_ON:
        raise InputError("TEST.AUG.ENABLED: Detectron2's test-time augmentation has no keypoints")
    for name in cfg.DATASETS.TEST:
        Trainer.check_evaluator(name)
    if args.eval_only:
        if not cfg.DATASETS.TEST:
            raise InputError("--eval-only, but DATASETS.TEST is empty: name a data set to test on")
        return
    if not cfg.DATASETS.TRAIN:
        raise InputError("DATASETS.TRAIN is empty: name a data set to train on")
    world_size = args.num_gpus * args.num_machines
    batch = cfg.SOLVER.IMS_PER_BATCH
    if batch < 1 or (cfg.SOLVER.REFERENCE_WORLD_SIZE == 0 and batch % world_size):
        raise InputError(
            f"SOLVER.IMS_PER_BATCH {batch} pictures cannot be shared equally "
            f"among {world_size} processes: take a positive multiple of {world_size}"
        )
    norms = (cfg.MODEL.HRNET.NORM, cfg.MODEL.HRFPN.NORM)
    if cfg.MODEL.DEVICE == "cpu" and world_size > 1 and "SyncBN" in norms:
        raise InputError("torch's SyncBN needs GPUs; on the CPU take MODEL.HRNET.NORM naiveSyncBN")
    if cfg.MODEL.WEIGHTS:
        return
    resumed = args.resume and _has_checkpoint(cfg)
    if cfg.MODEL.HRNET.NORM_EVAL and not (resumed and _had_norm_eval(cfg)):
        cfg.MODEL.HRNET.NORM_EVAL = False
        print(
            "MODEL.WEIGHTS is empty: training from random weights, so norm statistics are trained "
            "too (NORM_EVAL False).\n  The published AP needs ImageNet weights: MODEL.WEIGHTS "
            "hrnet_w32.safetensors or .pth (see README, Weights)."
        )
    if cfg.MODEL.BACKBONE.FREEZE_AT and not resumed:
        raise InputError(
            f"MODEL.BACKBONE.FREEZE_AT {cfg.MODEL.BACKBONE.FREEZE_AT} without MODEL.WEIGHTS would "
            "freeze random weights: give weights, or set it to 0"
        )


def _has_checkpoint(cfg: CfgNode) -> bool:
    return os.path.isfile(os.path.join(cfg.OUTPUT_DIR, "last_checkpoint"))


def _had_norm_eval(cfg: CfgNode) -> bool:
    """Whether the run that OUTPUT_DIR holds has been trained with NORM_EVAL."""
    path = os.path.join(cfg.OUTPUT_DIR, "config.yaml")
    return os.path.isfile(path) and load_config(path).MODEL.HRNET.NORM_EVAL


@contextmanager
def _console_level(level: int) -> Iterator[None]:
    """What goes to the console, of all that goes to log.txt."""
    handlers = [
        handler
        for name in ("detectron2", "fvcore")
        for handler in logging.getLogger(name).handlers
        if getattr(handler, "stream", None) is sys.stdout
    ]
    before = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(level)
    try:
        yield
    finally:
        for handler, was in zip(handlers, before, strict=True):
            handler.setLevel(was)


def run(cfg: CfgNode, args: argparse.Namespace) -> dict:
    """Train and evaluate, or only evaluate, in one process of the job; returns the results."""
    if comm.get_world_size() > 1:  # a new process: it has the config, but no registered data sets
        cfg.defrost()
        prepare_datasets(cfg, stated=())
        cfg.freeze()
        if cfg.MODEL.DEVICE == "cpu":
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // args.num_gpus))
    _silence_known_warnings()
    rank = comm.get_rank()
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank, name="fvcore")
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank)
    with _console_level(logging.WARNING):  # environment and full config: to log.txt
        default_setup(cfg, args)
    with _console_level(logging.INFO):
        if args.eval_only:
            return _evaluate(cfg, args)
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=args.resume)
        logger.info(
            "Log, config and environment are in %s", os.path.join(cfg.OUTPUT_DIR, "log.txt")
        )
        trainer.train()
        results = getattr(trainer, "_last_eval_results", {})
        if comm.is_main_process():
            write_report(cfg, trainer.model, results)
        return results


def _evaluate(cfg: CfgNode, args: argparse.Namespace) -> dict:
    model = Trainer.build_model(cfg)
    checkpointer = Checkpointer(model, save_dir=cfg.OUTPUT_DIR)
    if not cfg.MODEL.WEIGHTS and not (args.resume and checkpointer.has_checkpoint()):
        raise InputError(
            "--eval-only without weights would evaluate random ones: add MODEL.WEIGHTS "
            "path/to/model_final.pth, or --resume for the last checkpoint of OUTPUT_DIR"
        )
    checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
    results = Trainer.test(cfg, model)
    if comm.is_main_process():
        write_report(cfg, model, results)
    return results


def _silence_known_warnings() -> None:
    """Of Detectron2 under newer versions of torch: true, harmless, and nothing a user can mend."""
    warnings.filterwarnings("ignore", message="torch.meshgrid", category=UserWarning)
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
    warnings.filterwarnings("ignore", message="Creating a tensor from a list of numpy.ndarrays")
    logging.getLogger("torch.fx").setLevel(logging.ERROR)


def _worker(cfg: CfgNode, args: argparse.Namespace, errors: SimpleQueue) -> None:
    try:
        run(cfg, args)
    except InputError as error:
        if comm.get_world_size() == 1:
            _refuse(error)
        errors.put(str(error))  # the first process that ends has the others terminated
        sys.exit(2)


def _refuse(error: InputError | str) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse Detectron2's arguments, and train or evaluate on as many processes as they say."""
    args = default_argument_parser(epilog=EPILOG).parse_args(argv)
    try:
        cfg = load_setup(args)
    except InputError as error:
        _refuse(error)
    errors = multiprocessing.get_context("spawn").SimpleQueue()
    try:
        launch(
            _worker,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(cfg, args, errors),
        )
    except ProcessExitedException as error:
        if not errors.empty():
            _refuse(errors.get())
        print(f"error: {error}", file=sys.stderr)  # such as: terminated with signal SIGKILL
        sys.exit(1)


if __name__ == "__main__":
    main()
