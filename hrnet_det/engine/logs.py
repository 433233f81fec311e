"""What a run says: on the console what a user reads, in OUTPUT_DIR/log.txt all of it."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from detectron2.utils import comm
from detectron2.utils.collect_env import collect_env_info
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger

from hrnet_det.checkpoint.writing import written_aside
from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.engine.meeting import is_lost
from hrnet_det.errors import InputError

logger = logging.getLogger("detectron2.hrnet_det")


def set_up(run: RunConfig, args: argparse.Namespace) -> None:
    """Loggers, environment, config.yaml and seeds of a process, as Detectron2's default_setup.

    But a LazyConfig's config.yaml can be read without running code, and an evaluation leaves the
    training's config.yaml.
    """
    output, rank = str(run[settings.OUTPUT_DIR]), comm.get_rank()
    logging.raiseExceptions = False  # a full disk is one error, not a traceback at each line
    if comm.is_main_process():
        os.makedirs(output, exist_ok=True)
    for name in ("fvcore", "detectron2"):
        setup_logger(output, distributed_rank=rank, name=name)
    with console_level(logging.WARNING):
        logger.info("Process %d of %d", rank, comm.get_world_size())
        logger.info("Environment:\n%s", collect_env_info())
        logger.info("Command line arguments: %s", args)
        for note in run.notes:
            logger.info(note)
        if comm.is_main_process():
            _save_config(run, Path(output) / "config.yaml", keep=args.eval_only)
    seed = int(run[settings.SEED])
    seed_all_rng(None if seed < 0 else seed + rank)
    if not args.eval_only:
        torch.backends.cudnn.benchmark = bool(getattr(run.cfg, "CUDNN_BENCHMARK", False))


def _save_config(run: RunConfig, path: Path, *, keep: bool) -> None:
    try:
        text = run.text()
    except ValueError as error:
        logger.warning("%s is not written: %s", path, error)
    else:
        logger.info("Config:\n%s", text)
        if not (keep and path.is_file()):
            with written_aside(path) as file:
                file.write(text.encode())


@contextmanager
def faults_logged(output: str) -> Iterator[None]:
    """The traceback of an error that is no one's input goes to log.txt, which the error names."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if not is_lost(error):  # of the connection to a process that has ended: that one tells why
            with console_level(logging.CRITICAL):
                logger.exception("This run has ended by an error:")
            rank = comm.get_rank()
            error.log = f"{output}/log.txt{f'.rank{rank}' if rank else ''}"  # for errors.message
        raise


def announce(text: str) -> None:
    """Print a text as it is, and put it into the log."""
    print(text)
    with console_level(logging.CRITICAL):
        logger.info("\n%s", text)


@contextmanager
def console_level(level: int) -> Iterator[None]:
    """What goes to the console, of all that goes to log.txt."""
    handlers = [h for name in ("detectron2", "fvcore") for h in logging.getLogger(name).handlers]
    levels = {h: h.level for h in handlers if getattr(h, "stream", None) is sys.stdout}
    for handler in levels:
        handler.setLevel(level)
    try:
        yield
    finally:
        for handler, before in levels.items():
            handler.setLevel(before)
