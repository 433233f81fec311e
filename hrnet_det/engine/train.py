"""`train_net.py`: from the command line to a trained and evaluated detector."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import NoReturn

import torch
from detectron2.config import CfgNode, LazyConfig
from detectron2.engine import default_argument_parser, default_setup, launch
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from torch import nn
from torch.multiprocessing import ProcessExitedException

from hrnet_det.checkpoint import Checkpointer
from hrnet_det.data import prepare_datasets
from hrnet_det.engine.lazy import SETTINGS, in_lazy_terms, lazy_trainer
from hrnet_det.engine.preflight import RUN_FILES, load_setup
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
  own data, COCO's format: train_net.py --config-file ... \\
      DATASETS.CUSTOM.TRAIN_JSON train.json DATASETS.CUSTOM.TRAIN_IMAGES images/train \\
      DATASETS.CUSTOM.TEST_JSON val.json DATASETS.CUSTOM.TEST_IMAGES images/val
  a Python config:         train_net.py --config-file COCO-Detection/fcos_hrnetv2p_w18_1x.py \\
      optimizer.lr=0.005
  several machines:        train_net.py --machine-rank 0 --num-machines 2 --dist-url URL ...

A config is a file or the name of a shipped one; `hrnet-det configs` lists them. One in Python is a
program that is run: take none whose author you do not trust.
"""


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


@contextmanager
def _config_of_training_kept(cfg: CfgNode, args: argparse.Namespace) -> Iterator[None]:
    """Evaluation leaves the config.yaml of the training in OUTPUT_DIR as it is."""
    path = Path(cfg.OUTPUT_DIR) / "config.yaml"
    content = path.read_bytes() if args.eval_only and path.is_file() else None
    yield
    if content is not None and comm.is_main_process():
        path.write_bytes(content)


def run(cfg: CfgNode, args: argparse.Namespace) -> dict:
    """Train and evaluate, or only evaluate, in one process of the job; returns the results."""
    kind = Trainer if args.lazy is None else lazy_trainer(args.lazy)
    if comm.get_world_size() > 1:  # a new process: it has the config, but no registered datasets
        cfg.defrost()
        prepare_datasets(cfg, stated=())
        cfg.freeze()
        if cfg.MODEL.DEVICE == "cpu" and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, torch.get_num_threads() // args.num_gpus))
    silence_known_warnings()
    rank = comm.get_rank()
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank, name="fvcore")
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank)
    with _console_level(logging.WARNING), _config_of_training_kept(cfg, args):
        default_setup(cfg, args)  # environment and full config go to log.txt
        if args.lazy is not None and not args.eval_only and comm.is_main_process():
            LazyConfig.save(args.lazy, os.path.join(cfg.OUTPUT_DIR, "lazy_config.yaml"))
    with _console_level(logging.INFO):
        if args.eval_only:
            return _evaluate(cfg, args, kind)
        if comm.is_main_process() and not args.resume:
            _set_aside(cfg.OUTPUT_DIR)
        trainer = kind(cfg)
        trainer.resume_or_load(resume=args.resume)
        _compare_with_file(cfg, trainer.checkpointer)
        logger.info(
            "Log, config and environment are in %s", os.path.join(cfg.OUTPUT_DIR, "log.txt")
        )
        trainer.train()
        results = getattr(trainer, "_last_eval_results", {})
        if comm.is_main_process():
            weights = os.path.join(cfg.OUTPUT_DIR, "model_final.pth")
            _report(cfg, args, kind, trainer.model, results, weights=weights)
        return results


def _set_aside(folder: str) -> None:
    """Rename an earlier run's files in OUTPUT_DIR: they are not those of this one."""
    for name in RUN_FILES:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            os.replace(path, f"{path}.previous")
            logger.info("%s of an earlier run is now %s.previous", path, path)


def _evaluate(cfg: CfgNode, args: argparse.Namespace, kind: type[Trainer]) -> dict:
    model = kind.build_model(cfg)
    checkpointer = kind.build_checkpointer(cfg, model)
    if not cfg.MODEL.WEIGHTS and not (args.resume and checkpointer.has_checkpoint()):
        raise InputError(
            "--eval-only without weights would evaluate random ones: add MODEL.WEIGHTS "
            "path/to/model_final.pth, or --resume for the last checkpoint of OUTPUT_DIR"
        )
    checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
    report = checkpointer.report
    if not report.complete and cfg.MODEL.WEIGHTS_STRICT:
        raise InputError(
            "--eval-only, but a part of the detector would be random: take the weights of a whole "
            f"detector with the same classes\n{report}"
        )
    if report.contradicts(cfg.MODEL.CONVENTIONS) and "MODEL.CONVENTIONS" not in args.opts:
        if args.lazy is not None:
            raise InputError(
                f"--eval-only: {report.path} is {report.title}, whose AP belongs to other pixels, "
                "resizing and boxes, which only YAML configs can have: take that of the same "
                f"detector, with MODEL.CONVENTIONS {report.conventions}"
            )
        raise InputError(
            f"--eval-only: {report.path} is {report.title}, whose AP belongs to MODEL.CONVENTIONS "
            f"{report.conventions} (pixels, resizing, boxes); the config has "
            f"{cfg.MODEL.CONVENTIONS}. Add MODEL.CONVENTIONS {report.conventions}, or "
            f"MODEL.CONVENTIONS {cfg.MODEL.CONVENTIONS} if that is what you want to measure"
        )
    _compare_with_file(cfg, checkpointer)
    results = kind.test(cfg, model)
    if comm.is_main_process():
        _report(cfg, args, kind, model, results, weights=report.path)
    return results


def _report(
    cfg: CfgNode,
    args: argparse.Namespace,
    kind: type[Trainer],
    model: nn.Module,
    results: dict,
    weights: str,
) -> None:
    config = os.path.join(cfg.OUTPUT_DIR, "config.yaml")
    again = f"--config-file {config} --eval-only MODEL.WEIGHTS {weights}"
    if args.lazy is not None:
        place = SETTINGS["MODEL.WEIGHTS"]
        others = [word for word in args.opts if not word.startswith(f"{place}=")]
        words = ["--config-file", args.config_file, "--eval-only", f"{place}={weights}", *others]
        again = shlex.join(words)
    mapper = kind.build_test_mapper(cfg) if cfg.DATASETS.TEST else None
    write_report(cfg, model, results, mapper=mapper, weights=weights, again=again)


def _compare_with_file(cfg: CfgNode, checkpointer: Checkpointer) -> None:
    """Say so where weights are used for what they have not been trained for."""
    report = checkpointer.report
    if report is None:
        return
    data = (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)
    ours, theirs = checkpointer.metadata["classes"], checkpointer.file_classes
    if len(ours) == len(theirs) and ours != theirs:
        first = next(pair for pair in zip(theirs, ours, strict=True) if pair[0] != pair[1])
        logger.warning(
            "%s was trained for other classes than %s has (%s in place of %s); its class layers "
            "are used all the same",
            report.path,
            data[0],
            *first,
        )
    if report.contradicts(cfg.MODEL.CONVENTIONS):
        logger.warning(
            "%s follows MODEL.CONVENTIONS %s (pixels, resizing, boxes), the config %s",
            report.path,
            report.conventions,
            cfg.MODEL.CONVENTIONS,
        )


def _worker(cfg: CfgNode, args: argparse.Namespace, errors: SimpleQueue) -> None:
    try:
        run(cfg, args)
    except InputError as error:
        message = _as_typed(error, args)
        if comm.get_world_size() == 1:
            _refuse(message)
        errors.put(message)  # the first process that ends has the others terminated
        sys.exit(2)


def _as_typed(error: InputError, args: argparse.Namespace) -> str:
    """The message, with the keys of the kind of config that was given."""
    is_lazy = str(args.config_file).endswith(".py")
    return in_lazy_terms(str(error)) if is_lazy else str(error)


def _refuse(error: str) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse Detectron2's arguments, and train or evaluate on as many processes as they say."""
    args = default_argument_parser(epilog=EPILOG).parse_args(argv)
    try:
        cfg = load_setup(args)
    except InputError as error:
        _refuse(_as_typed(error, args))
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
