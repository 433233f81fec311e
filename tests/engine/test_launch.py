"""Jobs of several processes: how they start, and that none is left when one of them ends."""

import os
import signal
import time
from functools import partial

import pytest
import torch
from detectron2.utils import comm
from helpers.forked import Program, free_port, srun, wait_until
from helpers.tiny import metrics_rows
from helpers.training import words
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from hrnet_det.cli import main
from hrnet_det.engine import launch as launching
from hrnet_det.engine import signals
from hrnet_det.engine.launch import threads_of
from hrnet_det.engine.processes import Processes
from hrnet_det.engine.trainer import Trainer
from hrnet_det.errors import InputError

# --- how one ends: without trainings ---


class SignalledError(InputError):
    """Whose process gets torchrun's signal while it is told."""

    def __str__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        return super().__str__()


def work(run, end, prepared):
    """Each says who it is; the second then ends, while the others wait for it."""
    rank = comm.get_rank()
    print(f"{run} {prepared} {rank} {comm.get_local_rank()} of {comm.get_local_size()}", flush=True)
    comm.synchronize()
    if end == "all hang" or (end == "hangs" and rank == 0):
        with signals.deferred():
            time.sleep(600)
    if rank == 1:
        if end in ("input", "hangs"):
            raise InputError("what was given")
        if end == "input, signalled":
            raise SignalledError("what was given")
        if end == "fault":
            raise KeyError("boom")
        if end == "status":
            os._exit(7)
        if end == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if end == "signal":
            os.kill(os.getpid(), signal.SIGTERM)
    comm.synchronize()


def job(_, end, processes):
    if end.startswith("early"):
        start = launching.start_processes

        def start_processes(*args, **options):
            started = start(*args, **options)
            if end == "early":
                os.kill(os.getpid(), signal.SIGTERM)
            else:  # another thread has taken it, and Python's handler runs in this one all the same
                signal.getsignal(signal.SIGTERM)(signal.SIGTERM, None)
            return started

        launching.start_processes = start_processes
    if "hang" in end:
        launching.GRACE = signals.ORPHANED = 1
    with signals.handled():
        try:
            launching.launch(Processes(**processes), lambda: "run", partial(work, end=end))
        except InputError as error:
            print(f"error: {error}", flush=True)
            return 2
    return 0


def started(cwd, end="", **processes):
    return Program(cwd=cwd, main=partial(job, end=end, processes=processes))


@pytest.mark.parametrize(
    ("end", "code", "message"),
    [
        ("", 0, ""),
        ("input", 2, "error: rank 1: what was given"),
        ("hangs", 2, "error: rank 1: what was given"),
        ("input, signalled", 2, "error: rank 1: what was given"),
        ("fault", 1, "error: rank 1: KeyError in test_launch.py, line "),
        ("status", 1, "error: rank 1: ended with status 7"),
        ("killed", 1, "error: rank 1: ended by SIGKILL (so does Linux when memory runs out)"),
        ("signal", 143, ""),
    ],
)
def test_the_process_that_ends_is_named(tmp_path, end, code, message):
    program, start = started(tmp_path, end, local=2), time.monotonic()
    outcome = program.end()
    assert outcome.code == code, outcome.err
    assert time.monotonic() - start < 30 and not program.processes()
    lines = set(outcome.out.splitlines())
    assert {"run False 0 0 of 2", "run False 1 1 of 2"} <= lines
    told = [line for line in (outcome.out + outcome.err).splitlines() if "error:" in line]
    assert len(told) == bool(message) and "".join(told).startswith(message)
    assert ("Traceback" in outcome.err) == (end == "fault")


@pytest.mark.parametrize("end", ["early", "early, elsewhere"])
def test_a_signal_while_processes_start_is_passed_on(end, tmp_path):
    outcome = started(tmp_path, end, local=2).end()
    said = "SIGTERM: ending after the iteration that is under way\n"
    assert (outcome.code, outcome.err) == (143, said)


def test_processes_that_hang_end_after_their_launcher(tmp_path):
    """As if an iteration did not end after the signal that they get then."""
    program = Program(cwd=tmp_path, main=partial(job, end="all hang", processes={"local": 2}))
    wait_until(lambda: program.out.count("run") == 2)
    os.kill(program.pid, signal.SIGKILL)
    wait_until(lambda: not program.processes(), seconds=20)


def test_two_machines(tmp_path):
    url = f"tcp://127.0.0.1:{free_port()}"
    programs = [
        started(tmp_path, "input", machines=2, machine=machine, url=url) for machine in (0, 1)
    ]
    first, second = (program.end() for program in programs)
    said = [f"Machine {m} of 2: the processes meet at {url}, within 600 s.\n" for m in (0, 1)]
    assert (first.out, first.code) == (f"{said[0]}run False 0 0 of 1\n", 1)
    assert first.err.startswith("error: rank 0: the connection to another process is lost (")
    assert second.out == f"{said[1]}run False 1 0 of 1\nerror: rank 1: what was given\n"
    assert second.code == 2


def test_threads_are_shared(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 9)
    srun = Processes(4, option="srun --ntasks-per-node")
    slurm = {"SLURM_CPUS_PER_TASK": "6"}
    assert threads_of(Processes(4), slurm) == threads_of(srun, {}) == 2  # 9 // 4
    assert threads_of(Processes(16), {}) == 1
    assert threads_of(srun, slurm) == 6
    assert threads_of(srun, slurm | {"OMP_NUM_THREADS": "9"}) == 9


# --- trainings ---

LONG = ("SOLVER.MAX_ITER", 100000, "DATALOADER.NUM_WORKERS", 2, "SOLVER.BASE_LR", 1e-5)


def test_no_process_is_left(coco, tmp_path):
    """Two processes with two data workers each: a launcher, 2 and 4."""
    output = tmp_path / "out"
    arguments = words(coco, output, "--num-gpus=2", "--resume", *LONG, splits=["TRAIN"])

    def at_work():
        program = Program(*arguments, cwd=tmp_path)
        wait_until(lambda: len(program.processes()) == 7 or not program.process.is_alive())
        assert program.process.is_alive(), program.err
        (one, two) = (pid for pid, parent in program.processes().items() if parent == program.pid)
        return program, max(one, two)

    # all get a cluster's signal, also the data workers, from which the last iteration needs images
    program, _ = at_work()
    wait_until(lambda: (output / "log.txt.rank1").exists() and "Starting" in program.out)
    os.killpg(program.pid, signal.SIGUSR1)
    outcome = program.end()
    assert outcome.code == 138 and "error" not in outcome.err, outcome.err
    wait_until(lambda: not program.processes(), seconds=10)
    (saved,) = output.glob("model_*.pth")
    assert f"--resume goes on from {saved}" in outcome.out
    done = int(saved.stem.removeprefix("model_")) + 1
    assert f"SIGUSR1: stopped after {done} of 100000 iterations" in outcome.out

    program, second = at_work()
    wait_until(lambda: "Starting training" in program.out)
    assert f"Starting training from iteration {done}" in program.out
    os.kill(second, signal.SIGKILL)
    outcome = program.end()
    assert (outcome.code, outcome.err.count("error: ")) == (1, 1), outcome.err
    assert "error: rank 1: ended by SIGKILL" in outcome.err and "Traceback" not in outcome.err
    wait_until(lambda: not program.processes(), seconds=10)

    program, _ = at_work()
    wait_until(lambda: "Starting training" in program.out)
    os.kill(program.pid, signal.SIGKILL)
    wait_until(lambda: not program.processes(), seconds=20)
    assert len(list(output.glob("model_*.pth"))) == 2  # they have saved what they had


def test_tasks_of_srun_are_one_job(coco, tmp_path):
    output = tmp_path / "out"
    arguments = words(coco, output, "--resume", "SOLVER.MAX_ITER", 2)
    first, second = srun(*arguments, cwd=tmp_path)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert first.out.count("Evaluation results for bbox") == 1 and second.out == ""
    assert first.out.count("images to test on are trained on too") == 1
    log = (output / "log.txt").read_text()
    assert "Process 0 of 2" in log and "Process 1 of 2" in (output / "log.txt.rank1").read_text()
    assert [row["iteration"] for row in metrics_rows(output)] == [1]


def test_an_error_before_the_start_is_told_once(coco, tmp_path):
    first, second = srun(*words(coco, tmp_path / "out", "SOLVER.IMS_PER_BATCH", 3), cwd=tmp_path)
    assert (first.code, second.code, second.err) == (2, 2, "")
    assert first.err.startswith("error: SOLVER.IMS_PER_BATCH 3: so many images cannot be shared")


def killed_once(*words):
    """As torchrun runs it; the second process is killed in the third iteration of its first try."""

    def run_step(self):
        if (self.iter, comm.get_rank(), os.environ["TORCHELASTIC_RESTART_COUNT"]) == (2, 1, "0"):
            os.kill(os.getpid(), signal.SIGKILL)
        step(self)

    step = Trainer.run_step
    Trainer.run_step = run_step
    return main(["train", *words])


def by_torchrun(words):
    options = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        max_restarts=1,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        start_method="fork",
        run_id="test",
    )
    elastic_launch(options, killed_once)(*words)


@pytest.mark.slow
def test_torchrun_restarts_what_was_killed(coco, tmp_path):
    output = tmp_path / "out"
    more = ("--resume", "SOLVER.MAX_ITER", 4, "SOLVER.CHECKPOINT_PERIOD", 1)
    program = Program(*words(coco, output, *more, splits=["TRAIN"]), cwd=tmp_path, main=by_torchrun)
    outcome = program.end()
    assert outcome.code == 0, outcome.err
    assert "error: rank 0: the connection to another process is lost" in outcome.err
    assert "Starting training from iteration 0" in outcome.out
    assert "Starting training from iteration 2" in outcome.out
    assert not program.processes()
    assert (output / "model_final.pth").is_file()
