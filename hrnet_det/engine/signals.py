"""SIGTERM, SIGINT and SIGUSR1: a training ends after the iteration it is in, and can be resumed."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from detectron2.utils import comm

# SIGTERM and SIGUSR1 are how clusters warn (SLURM's --signal), SIGINT is Ctrl-C.
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
AGAIN = 1.0  # seconds; within them a second Ctrl-C is the first, passed on by a launcher
ORPHANED = 30  # seconds that a process has for its last iteration and its checkpoint
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Stopped(SystemExit):
    """What ends a process after a signal; its exit status is 128 + the signal's number.

    Args:
        text: to be told, where nobody has done it.
    """

    def __init__(self, number: int, text: str = "") -> None:
        super().__init__(128 + number)
        self.text = text


@dataclass
class _State:
    number: int = 0  # of the first signal; 0: none has come
    at: float = 0.0  # when it came, seconds of the monotonic clock
    deferred: bool = False  # whether somebody looks at the number
    failed: bool = False  # whether an error ends this process, and is to be told
    children: list[int] = field(default_factory=list)  # which get the signals too
    parent: int = 0  # which this process ends with; 0: none


_state = _State()


def name(number: int) -> str:
    return signal.Signals(number).name


def asked() -> int:
    """The number of the signal that has asked this process to end; 0 if none has."""
    return _state.number


def agreed() -> int:
    """What all processes are asked for, if one of them has been, and 0 in all of them otherwise."""
    if comm.get_world_size() > 1:
        number = torch.tensor([asked()])
        dist.all_reduce(number, op=dist.ReduceOp.MAX, group=comm._get_global_gloo_group())
        if number and not asked():
            _state.at = time.monotonic()
        _state.number = int(number)
    return asked()


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Within, the first signal raises Stopped, or is `asked` for where it is `deferred`.

    A Ctrl-C after it ends the process at once. Ignored signals (nohup) stay ignored, and nothing
    is handled outside the main thread, where Python has no handlers.
    """
    global _state
    _state = _State()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in HANDLED}
    before = {number: was for number, was in before.items() if was != signal.SIG_IGN}
    for number in before:
        signal.signal(number, _handle)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)  # of a launcher that has blocked them
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)
        _state = _State()


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Within, a signal is only `asked` for; at the end, one that was asked for raises Stopped.

    An error that comes through is told: see `failed`.
    """
    _state.deferred, _state.failed = True, False
    try:
        yield
    except BaseException:
        failed()
        raise
    finally:
        _state.deferred = False
    if _state.number:
        raise Stopped(_state.number)


def failed() -> None:
    """An error ends this process: until `handled` ends, no signal takes its place.

    When a process has died, torchrun signals the others just when their connections to it fail.
    """
    _state.failed = True


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Within, signals wait, also for processes that are started, until these handle them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def passed_on(children: Collection[int]) -> Iterator[None]:
    """Within, signals go to other processes, for whose end this one waits; then as `deferred`."""
    _state.children = list(children)
    if _state.number:  # which came while they were started
        _send(_state.number)
    try:
        with deferred():
            yield
    finally:
        _state.children = []


def _handle(number: int, _: object) -> None:
    # A parent's threads end one by one, each with a signal; only the last one leaves an orphan.
    if _state.parent not in (0, os.getppid()) and not any(signal.getitimer(signal.ITIMER_REAL)):
        signal.alarm(ORPHANED)  # whose default action ends the process, wherever it hangs
    if _state.number:
        if number == signal.SIGINT and time.monotonic() - _state.at > AGAIN:
            _send(signal.SIGKILL)
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        return
    _state.number, _state.at = number, time.monotonic()
    _send(number)
    if _state.failed:
        return
    if _state.deferred and not _state.parent:
        said = f"{name(number)}: ending after the iteration that is under way"
        again = "; Ctrl-C again ends at once" if number == signal.SIGINT else ""
        with contextlib.suppress(OSError):
            os.write(2, f"{said}{again}\n".encode())  # print may be under way
    if not _state.deferred:
        raise Stopped(number, f"{name(number)}: ended at once, as no iteration was under way")


def _send(number: int) -> None:
    for pid in _state.children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def end_with_parent(number: int) -> None:
    """Let this process get a signal when its parent is gone, on Linux."""
    _state.parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


_workers_protected = False


@contextlib.contextmanager
def workers_protected() -> Iterator[None]:
    """Within, data workers are forked, leave signals to this process, and end with it, on Linux.

    A cluster or a terminal signals all processes, and an iteration is not finished without data.
    Differs from source: torch's workers are ended by each of these signals, and notice only after
    some seconds that their parent is gone. Those of a process that multiprocessing has spawned
    would be spawned, and import everything anew.
    """
    global _workers_protected
    if sys.platform != "linux":
        yield
        return
    method, others = multiprocessing.get_start_method(), set(multiprocessing.active_children())
    multiprocessing.set_start_method("fork", force=True)
    _workers_protected = True
    try:
        yield
    finally:
        _workers_protected = False
        multiprocessing.set_start_method(method, force=True)
        for child in set(multiprocessing.active_children()) - others:
            if child.daemon:  # for each of which torch would wait 5 s, if an error holds its loader
                child.terminate()


def _protect_worker() -> None:
    if not _workers_protected:
        return
    end_with_parent(signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    """End when the parent, and nobody else, says SIGTERM: so do torch and multiprocessing."""
    while True:
        info = signal.sigwaitinfo(HANDLED)
        if info.si_signo == signal.SIGTERM and info.si_pid == os.getppid():
            os._exit(0)


if sys.platform == "linux":
    os.register_at_fork(after_in_child=_protect_worker)
