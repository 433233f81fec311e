"""Runs a job in its processes: in this one, in those it starts, or as one that others started."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from multiprocessing.queues import SimpleQueue

import torch
import torch.distributed as dist
from detectron2.utils import comm
from torch import multiprocessing
from torch.multiprocessing import ProcessContext, ProcessExitedException, start_processes

from hrnet_det.config.run_config import RunConfig
from hrnet_det.engine import signals
from hrnet_det.engine.meeting import SEVERAL, is_lost, meet, own_store
from hrnet_det.engine.processes import Processes
from hrnet_det.environment import one_line
from hrnet_det.errors import InputError, is_input, message

GRACE = 20  # seconds that the other processes have to end by themselves when one has died
START = "spawn"  # CUDA allows no fork
OUT_OF_MEMORY = " (so does Linux when memory runs out)"
Report = tuple[str, str]  # the kind of an error ("input", "lost", "fault"), and its text


def launch(
    processes: Processes, prepare: Callable[[], RunConfig], work: Callable[..., object]
) -> None:
    """Prepare a run once on each machine, and work on it in all processes.

    Args:
        work: called as work(run, prepared=...): whether `prepare` was called in that process.
    Raises: InputError if one of the processes does, with its rank; SystemExit if one has died, or
        after a signal.
    """
    if processes.rank is not None:
        if processes.option.startswith("torchrun"):
            signals.end_with_parent(signal.SIGTERM)
        _join_in(processes, prepare, work)
        return
    run = prepare()
    if processes.world == 1:
        work(run, prepared=True)
    else:
        _start(processes, run, work)


def _join_in(processes: Processes, prepare: Callable, work: Callable) -> None:
    """Be the process that torchrun or srun has started."""
    meet(processes)
    run = _guarded(partial(_prepared_together, processes, prepare), _print)
    prepared = processes.rank % processes.local == 0
    _guarded(partial(_as_rank, processes, run, work, prepared), _print, processes.rank)


def _prepared_together(processes: Processes, prepare: Callable[[], RunConfig]) -> RunConfig:
    """The run that the first process of each machine has prepared.

    The main process goes first, and alone prints: on other machines its files are found then.
    """
    run, error, first = None, "", processes.machine * processes.local
    for turn in ([0], range(processes.local, processes.world, processes.local)):
        if processes.rank in turn:
            try:
                with _silent() if processes.rank else contextlib.nullcontext():
                    run = prepare()
            except InputError as raised:
                error = str(raised)
        failed = [rank for rank, text in enumerate(comm.all_gather(error)) if text]
        if failed and processes.rank != failed[0]:
            sys.exit(2)  # one process is enough to tell it
        if failed:
            raise InputError(f"machine {processes.machine}: {error}" if first else error)
    shared = [run]
    dist.broadcast_object_list(shared, src=first, group=comm.get_local_process_group())
    return shared[0]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _as_rank(processes: Processes, run: RunConfig, work: Callable, prepared: bool) -> None:
    """Work as one of several processes, with a GPU and a share of the threads of its own."""
    if gpus := torch.cuda.device_count():  # srun may let each process see its own alone
        torch.cuda.set_device(processes.rank % processes.local % gpus)
    torch.set_num_threads(threads_of(processes, os.environ))
    work(run, prepared=prepared)
    dist.destroy_process_group()


def threads_of(processes: Processes, environ: Mapping[str, str]) -> int:
    """Of a process: its share of the machine's, where neither the user nor SLURM has chosen."""
    chosen = environ.get("SLURM_CPUS_PER_TASK") if processes.option.startswith("srun") else None
    if "OMP_NUM_THREADS" in environ:
        return torch.get_num_threads()
    return int(chosen or max(1, torch.get_num_threads() // processes.local))


def _guarded(work: Callable[[], object], tell: Callable[[Report], None], rank: int = -1) -> object:
    """What `work` returns; an error is told, with the rank if one is given, and ends the process.

    It ends at once: what is done at a regular end may wait for the other processes.
    """
    try:
        return work()
    except Exception as error:
        signals.failed()
        kind, text = "fault", message(error)
        if is_input(error):
            kind = "input"
        elif is_lost(error):
            kind, text = "lost", f"the connection to another process is lost ({one_line(error)})"
        elif not hasattr(error, "log"):  # which has the traceback
            traceback.print_exc()
    tell((kind, text if rank < 0 else f"rank {rank}: {text}"))
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2 if kind == "input" else 1)


def _print(report: Report) -> None:
    print(f"error: {report[1]}", file=sys.stderr)


def _start(processes: Processes, run: RunConfig, work: Callable) -> None:
    """Start this machine's processes and wait for their end, passing signals on to them."""
    store = None
    if processes.url == "auto":
        store = own_store()
        processes = replace(processes, url=f"tcp://127.0.0.1:{store.port}")
    if processes.machines > 1:
        print(
            f"Machine {processes.machine} of {processes.machines}: the processes meet at "
            f"{processes.url}, within {SEVERAL} s."
        )
    reports = [multiprocessing.get_context(START).SimpleQueue() for _ in range(processes.local)]
    arguments = (processes, store is not None, run, work, reports, os.getpid())
    with contextlib.ExitStack() as stack:
        stack.enter_context(signals.deferred())  # another thread may take what this one blocks
        with signals.blocked():
            started = start_processes(
                *(_started, arguments, processes.local), join=False, start_method=START
            )
            stack.enter_context(signals.passed_on(started.pids()))
        try:
            while not started.join(grace_period=GRACE):
                pass
        except ProcessExitedException as error:
            _tell_end(processes, started, reports, error.error_index)


def _started(
    local_rank: int,
    processes: Processes,
    served: bool,
    run: RunConfig,
    work: Callable,
    reports: list[SimpleQueue],
    launcher: int,
) -> None:
    """One of the processes that are started here."""
    rank = processes.machine * processes.local + local_rank
    processes, tell = replace(processes, rank=rank), reports[local_rank].put
    with signals.handled():
        signals.end_with_parent(signal.SIGTERM)
        if os.getppid() != launcher:  # which has ended just before
            sys.exit(1)
        _guarded(partial(meet, processes, served=served), tell)
        _guarded(partial(_as_rank, processes, run, work, False), tell, rank)


def _tell_end(
    processes: Processes, started: ProcessContext, reports: list[SimpleQueue], first: int
) -> None:
    """Raise what has ended the processes, of which `first` was seen to end first."""
    told = [None if queue.empty() else queue.get() for queue in reports]
    codes = [process.exitcode for process in started.processes]
    order = sorted(range(processes.local), key=lambda i: i != first)
    causes = [i for i in order if told[i] and told[i][0] != "lost"]
    killed = [i for i in order if not told[i] and codes[i] < 0]
    if first in killed or (killed and not causes and told[first]):
        causes = killed
    if signals.asked() and not any(told[i] for i in causes):
        return  # they have ended as they were told to
    cause = (causes or [first])[0]
    rank = processes.machine * processes.local + cause
    if told[cause]:
        kind, text = told[cause]
        if kind == "input":
            raise InputError(text)
    elif codes[cause] > 128:
        raise signals.Stopped(codes[cause] - 128)
    elif codes[cause] < 0:
        name = signals.name(-codes[cause])
        text = f"rank {rank}: ended by {name}{OUT_OF_MEMORY if name == 'SIGKILL' else ''}"
    else:
        text = f"rank {rank}: ended with status {codes[cause]}"
    _print(("", text))
    sys.exit(1)
