"""How the processes of a job find each other."""

from __future__ import annotations

import os
import re
import time
from datetime import timedelta

import torch
import torch.distributed as dist
from detectron2.engine.launch import DEFAULT_TIMEOUT
from detectron2.utils import comm

from hrnet_det.engine.processes import Processes
from hrnet_det.environment import one_line
from hrnet_det.errors import InputError

# Seconds until they must have met, on one machine and on several: these may be started by hand,
# and one may still be fetching data.
ONE, SEVERAL = 60, 600


def own_store() -> dist.TCPStore:
    """A store at a free port of this machine, for processes that this one starts."""
    return dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def meet(processes: Processes, *, served: bool = False) -> None:
    """Connect this process with the others, for torch.distributed and Detectron2's comm.

    Args:
        served: there is a store at the url; otherwise rank 0 makes it.
    Raises: InputError if they do not meet in time.
    """
    rank, world = processes.rank, processes.world
    seconds = ONE if processes.machines == 1 else SEVERAL
    try:
        store = _store(processes, timedelta(seconds=seconds), served=served)
        _wait_for_all(store, world, seconds)
    except (RuntimeError, ValueError, OSError) as error:
        where = "MASTER_ADDR and MASTER_PORT" if processes.url == "env://" else processes.url
        if "EADDRINUSE" in str(error):
            raise InputError(
                f"rank {rank} cannot listen at {where}: the port is taken, perhaps by a run that "
                "has not ended. Give another one (--dist-url, torchrun --master-port, MASTER_PORT "
                "with srun); on one machine --dist-url auto finds a free one"
            ) from error
        raise InputError(
            f"rank {rank} has not met all {world} processes at {where} within {seconds} s "
            f"({one_line(error)}). Is rank 0 on another host, a process not started, or are there "
            "two of the same rank?"
        ) from error
    store.set_timeout(DEFAULT_TIMEOUT)
    options = {"store": store, "rank": rank, "world_size": world, "timeout": DEFAULT_TIMEOUT}
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", **options)
    comm.create_local_process_group(processes.local)


def _store(processes: Processes, timeout: timedelta, *, served: bool) -> dist.Store:
    rank, world, url = processes.rank, processes.world, processes.url
    if served:
        host, port = url.removeprefix("tcp://").split(":")
        store = dist.TCPStore(host, int(port), world, is_master=False, timeout=timeout)
    else:
        store, _, _ = next(dist.rendezvous(url, rank=rank, world_size=world, timeout=timeout))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return dist.PrefixStore(f"hrnet_det/{attempt}", store)


def _wait_for_all(store: dist.Store, world: int, seconds: float) -> None:
    """Raises: TimeoutError, an OSError, if they have not all come."""
    end, there = time.monotonic() + seconds, store.add("there", 1)
    while there < world:
        if time.monotonic() > end:
            raise TimeoutError(f"{there} of them are there")
        time.sleep(0.02)
        there = store.add("there", 0)
    if there > world:
        raise ValueError(f"{there} are there")


def is_lost(error: BaseException) -> bool:
    """Whether it says that another process has gone, of gloo's or NCCL's errors."""
    known = r"gloo/|Connection (closed|reset) by peer|Broken pipe|NCCL|Socket Timeout"
    return isinstance(error, RuntimeError) and (
        isinstance(error, dist.DistError) or re.search(known, str(error)) is not None
    )
