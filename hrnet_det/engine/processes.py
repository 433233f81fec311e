"""The processes of a job, and which of them this one is: as torchrun, srun or the user say."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlparse

from hrnet_det.errors import InputError

# What torchrun tells each process, and what the processes of other launchers have to be told.
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
PORTS = range(20000, 30000)  # below those that Linux gives to clients
OPTIONS = ("num_gpus", "num_machines", "machine_rank", "dist_url")


@dataclass(frozen=True)
class Processes:
    """The processes of a job.

    Args:
        local: so many on each machine, with a GPU each where there are any.
        machines: so many machines.
        machine: the number of this one, from 0.
        url: where they meet: tcp://HOST:PORT of rank 0, file:///PATH, env:// (torchrun), or "auto",
            on one machine.
        rank: of this process, from 0; None where it has to start them.
        option: what says how many there are on a machine, for messages.
    """

    local: int = 1
    machines: int = 1
    machine: int = 0
    url: str = "auto"
    rank: int | None = None
    option: str = "--num-gpus"

    @property
    def world(self) -> int:
        return self.local * self.machines


def processes_of(args: argparse.Namespace, environ: Mapping[str, str]) -> Processes:
    """The processes that torchrun or srun have started, else those that the arguments describe.

    Args:
        args: num_gpus, num_machines, machine_rank, dist_url, each None where it was not typed;
            resume, eval_only.
    Raises: InputError if the arguments contradict each other or the processes that are there.
    """
    typed = {name: value for name in OPTIONS if (value := getattr(args, name)) is not None}
    described = "num_machines" in typed  # Detectron2's arguments then say all there is to say
    found = by_torchrun(environ, described=described)
    if found is None and not described:
        found = by_srun(environ)
    if found is None:
        return by_arguments(**typed)
    if environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0" and not (args.resume or args.eval_only):
        raise InputError(
            "torchrun --max-restarts without --resume: each restart would train from the start; "
            "add --resume, with which the first start in an empty OUTPUT_DIR is as without"
        )
    there = {"num_gpus": found.local, "num_machines": found.machines, "machine_rank": found.machine}
    for name, value in typed.items():
        if there.get(name) != value:
            raise InputError(
                f"--{name.replace('_', '-')} {value} in a process that was started by "
                f"{found.option.split()[0]}, which says: {found.machines} machines, "
                f"{found.local} processes on each ({found.option} {found.local}), this machine is "
                f"number {found.machine}. Leave --num-gpus, --num-machines, --machine-rank and "
                "--dist-url out"
            )
    return found


def by_arguments(
    *,
    num_gpus: int = 1,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str | None = None,
) -> Processes:
    """The processes that Detectron2's arguments describe. Raises: InputError if they cannot be."""
    if num_gpus < 1:
        raise InputError(
            f"--num-gpus {num_gpus}: give at least 1 (without GPUs: processes on the CPU)"
        )
    if num_machines < 1:
        raise InputError(f"--num-machines {num_machines}: give at least 1")
    if not 0 <= machine_rank < num_machines:
        raise InputError(
            f"--machine-rank {machine_rank} with --num-machines {num_machines}: the machines are "
            f"numbered from 0 to {num_machines - 1}"
        )
    if num_machines > 1 and dist_url in (None, "auto"):
        raise InputError(
            f"--num-machines {num_machines} needs --dist-url tcp://HOST:PORT, the same on all: "
            "the name of machine 0 in the network, and a port that is free there"
        )
    check_url(dist_url or "auto", one_machine=num_machines == 1)
    return Processes(num_gpus, num_machines, machine_rank, dist_url or "auto")


def check_url(url: str, *, one_machine: bool) -> None:
    """Raises: InputError if processes cannot meet at an url."""
    parts = urlparse(url)
    try:
        where = parts.hostname if parts.scheme == "tcp" and parts.port else None
    except ValueError:  # of the port
        where = None
    if parts.scheme == "file" and not parts.netloc and os.path.isdir(os.path.dirname(parts.path)):
        if one_machine and os.path.exists(parts.path):
            raise InputError(
                f"--dist-url {url}: the file is there already, perhaps of an earlier run: remove it"
            )
    elif url != "auto" and where is None:
        raise InputError(
            f"--dist-url {url!r}: give auto (on one machine), tcp://HOST:PORT, or file:///PATH of "
            "a file that is not there, in a folder that all processes see"
        )


def by_torchrun(environ: Mapping[str, str], *, described: bool = False) -> Processes | None:
    """What torchrun has told this process; None if it has not started it.

    Raises: InputError if a part of it is missing: the processes would train apart.
    """
    missing = [name for name in TORCHRUN if not environ.get(name)]
    if "LOCAL_RANK" in missing:
        alone = "RANK" in missing or environ.get("WORLD_SIZE", "1") == "1"
        if alone or described or _in_step(environ):
            return None
    if missing:
        raise InputError(
            f"RANK {environ.get('RANK')} and WORLD_SIZE {environ.get('WORLD_SIZE')} say that this "
            f"is one of several processes, but {', '.join(missing)} are not set: start them with "
            "torchrun, set all of its variables, or unset these"
        )
    rank, world, local_rank, local = (_number(environ, name) for name in TORCHRUN[:4])
    return _numbered(rank, world, local_rank, local, "env://", "torchrun --nproc-per-node")


def by_srun(environ: Mapping[str, str]) -> Processes | None:
    """What SLURM's srun has told this process; None if it is not one of several of a step."""
    if not _in_step(environ):
        return None
    rank, local_rank = _number(environ, "SLURM_PROCID"), _number(environ, "SLURM_LOCALID")
    world = _number(environ, _first(environ, "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"))
    name = _first(
        environ, "SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE"
    )
    counts = set(re.findall(r"(\d+)(?:\(x\d+\))?", environ.get(name, str(world))))
    if len(counts) != 1:
        raise InputError(
            f"{name} {environ[name]}: the machines have different numbers of processes; give them "
            "the same with srun --ntasks-per-node"
        )
    local = int(counts.pop())
    nodes = _first(environ, "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
    host = "127.0.0.1" if local == world else first_host(environ.get(nodes, ""))
    host = environ.get("MASTER_ADDR") or host
    job, step = (
        _number(environ, _first(environ, f"SLURM_{name}_ID", f"SLURM_{name}ID"))
        for name in ("JOB", "STEP")
    )
    port = environ.get("MASTER_PORT") or PORTS[(10 * job + step) % len(PORTS)]
    url = f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
    return _numbered(rank, world, local_rank, local, url, "srun --ntasks-per-node")


def first_host(nodes: str) -> str:
    """The first of SLURM's list of hosts: "node[03-05,7],other" has node03."""
    first = re.split(r",(?![^\[]*\])", nodes)[0]
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first)


def _in_step(environ: Mapping[str, str]) -> bool:
    """Whether srun has started this process as one of several."""
    step = any(name in environ for name in ("SLURM_STEP_ID", "SLURM_STEPID"))
    tasks = environ.get(_first(environ, "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"), "1")
    return step and "SLURM_PROCID" in environ and tasks != "1"


def _numbered(
    rank: int, world: int, local_rank: int, local: int, url: str, option: str
) -> Processes:
    """The processes, if they are numbered machine by machine, with as many on each."""
    fits = 0 <= rank < world and 0 <= local_rank < local and world % local == 0
    if not fits or rank % local != local_rank:
        raise InputError(
            f"{option.split()[0]} has started {world} processes, {local} of them here, where rank "
            f"{rank} has the local rank {local_rank}: every machine must have as many processes, "
            "and ranks must be numbered machine by machine (srun: --distribution=block)"
        )
    return Processes(local, world // local, rank // local, url, rank, option)


def _first(environ: Mapping[str, str], *names: str) -> str:
    """The first of the variables that is set; the last name if none is."""
    return next((name for name in names if environ.get(name)), names[-1])


def _number(environ: Mapping[str, str], name: str) -> int:
    try:
        return int(environ[name])
    except KeyError:
        raise InputError(f"{name} is not set, but other variables of its launcher are") from None
    except ValueError:
        raise InputError(f"{name} is {environ[name]!r}: must be a number") from None
