"""The training program in processes that need no import, as they are forked from one that has it.

A process of its own imports for seconds, and a job of two processes is three of them.
"""

import contextlib
import multiprocessing
import os
import socket
import sys
import time
from pathlib import Path

from helpers.tiny import Outcome

from hrnet_det.engine import launch

CONTEXT = multiprocessing.get_context("forkserver")
PRELOADED = ["hrnet_det.cli", "hrnet_det.engine.train", "hrnet_det.engine.launch", "torch.optim"]
TIMEOUT = 90  # seconds, of everything that is waited for


class Program:
    """`train_net.py WORDS` in a session of its own, whose launcher forks its processes.

    Args:
        main: called with the words in place of the program.
        environment: variables that are set there.
    """

    def __init__(self, *words: object, cwd: Path, main=None, **environment: str) -> None:
        CONTEXT.set_forkserver_preload(PRELOADED)
        cwd.mkdir(parents=True, exist_ok=True)
        self._files = [cwd / f"{os.urandom(4).hex()}.{name}" for name in ("out", "err")]
        environment = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", **environment}
        words = [str(word) for word in words]
        self.process = CONTEXT.Process(
            target=_run, args=(words, cwd, self._files, environment, main or program)
        )
        self.process.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def out(self) -> str:
        return self._files[0].read_text() if self._files[0].exists() else ""

    @property
    def err(self) -> str:
        return self._files[1].read_text() if self._files[1].exists() else ""

    def end(self) -> Outcome:
        """Wait for it. The code of a process that a signal has ended is negative."""
        self.process.join(TIMEOUT)
        assert self.process.exitcode is not None, f"still running:\n{self.out}\n{self.err}"
        return Outcome(self.process.exitcode, self.out, self.err)

    def processes(self) -> dict[int, int]:
        """The parent of each process of its session that is running, by their numbers."""
        found = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, parent, _, session, *_ = path.read_text().rpartition(")")[2].split()
                if int(session) == self.pid and state != "Z":
                    found[int(path.parent.name)] = int(parent)
        return found

    def kill(self) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)


def program(words: list[str]) -> int:
    from hrnet_det.cli import main

    return main(["train", *words])


def _run(words, cwd, files, environment, main) -> None:
    os.setsid()
    os.chdir(cwd)
    os.environ.update(environment)
    for number, file in zip((1, 2), files, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    launch.START = "fork"
    sys.exit(main(words))


def wait_until(condition, what: str = "", seconds: float = TIMEOUT) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what or condition} after {seconds} s"
        time.sleep(0.05)


def free_port():
    with contextlib.closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def srun(*words: object, cwd: Path) -> list[Outcome]:
    """The program as two tasks that SLURM has started on one machine."""
    environment = {
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_TASKS_PER_NODE": "2",
        "MASTER_PORT": str(free_port()),
    }
    tasks = [
        Program(*words, cwd=cwd, **environment, SLURM_PROCID=rank, SLURM_LOCALID=rank)
        for rank in ("0", "1")
    ]
    return [task.end() for task in tasks]
