"""One function in every process of a job; what ends one of them is one error."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue

from detectron2.engine import launch as detectron2_launch
from detectron2.utils import comm
from torch.multiprocessing import ProcessExitedException

from hrnet_det.config.run_config import RunConfig
from hrnet_det.errors import InputError

Process = Callable[[RunConfig, argparse.Namespace], object]


def launch(process: Process, run: RunConfig, args: argparse.Namespace) -> None:
    """Call process(run, args) in as many processes as Detectron2's arguments say.

    Raises: InputError if one of the processes does; SystemExit if one is killed.
    """
    errors = multiprocessing.get_context("spawn").SimpleQueue()
    try:
        detectron2_launch(
            _guarded,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(process, run, args, errors),
        )
    except ProcessExitedException as error:
        if not errors.empty():
            raise InputError(errors.get()) from error
        print(f"error: {error}", file=sys.stderr)  # such as: terminated with signal SIGKILL
        sys.exit(1)


def _guarded(
    process: Process, run: RunConfig, args: argparse.Namespace, errors: SimpleQueue
) -> None:
    try:
        process(run, args)
    except InputError as error:
        if comm.get_world_size() == 1:
            raise
        errors.put(str(error))  # the first process that ends has the others terminated
        sys.exit(2)
