"""A signal ends a training after its iteration, with what --resume goes on from."""

import multiprocessing
import os
import signal
import subprocess
import threading
import time

import pytest
import torch
from helpers.forked import Program
from helpers.tiny import train_net
from helpers.training import assert_same, words
from torch.utils.data import DataLoader

from hrnet_det.engine import signals, train
from hrnet_det.engine.trainer import Trainer

pytestmark = pytest.mark.usefixtures("without_page")

STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 138}


@pytest.fixture(autouse=True)
def default_handlers():
    """As in a terminal, also where the tests are started in the background."""
    before = {number: signal.getsignal(number) for number in STATUS}
    for number in STATUS:
        signal.signal(number, signal.SIG_DFL)
    yield
    assert [signal.getsignal(number) for number in STATUS] == [signal.SIG_DFL] * 3
    for number, was in before.items():
        signal.signal(number, was)


def signal_in_iteration(monkeypatch, iteration, *numbers):
    """Let a training get signals before an iteration's losses are computed."""

    def run_step(self):
        if self.iter == iteration:
            for number in numbers:
                os.kill(os.getpid(), number)
        step(self)

    step = Trainer.run_step
    monkeypatch.setattr(Trainer, "run_step", run_step)


def test_the_checkpoint_of_a_signal_is_that_of_its_iteration(coco, tmp_path, monkeypatch):
    more = ("SOLVER.MAX_ITER", 4, "SOLVER.EMA_DECAY", 0.9)
    arguments = words(coco, tmp_path / "whole", *more, "SOLVER.CHECKPOINT_PERIOD", 2)
    assert train_net(*arguments).code == 0
    stopped = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        signal_in_iteration(patch, 1, signal.SIGTERM, signal.SIGTERM, signal.SIGUSR1)
        outcome = train_net(*words(coco, stopped, "--resume", *more))
    assert (outcome.code, outcome.err) == (143, "")
    assert (
        "SIGTERM: stopped after 2 of 4 iterations; the same command with --resume goes on from "
        f"{stopped}/model_0000001.pth" in outcome.out
    )
    assert not (stopped / "results.json").exists() and not (stopped / "model_final.pth").exists()
    name = "model_0000001.pth"
    one, other = (
        torch.load(folder / name, weights_only=True) for folder in (stopped, tmp_path / "whole")
    )
    assert one["iteration"] == 1 and one["trainer"]["_trainer"]["optimizer"]["state"]
    assert_same(one, other, but=("/config",))  # which has another OUTPUT_DIR


def test_a_signal_in_the_last_iteration_leaves_the_evaluation(coco, tmp_path, monkeypatch):
    arguments = words(coco, tmp_path, "--resume", "SOLVER.MAX_ITER", 1)
    with monkeypatch.context() as patch:
        signal_in_iteration(patch, 0, signal.SIGUSR1)
        outcome = train_net(*arguments)
    assert (outcome.code, outcome.err) == (138, "")
    assert f"goes on from {tmp_path}/model_final.pth" in outcome.out
    assert "Evaluation results" not in outcome.out
    outcome = train_net(*arguments)
    assert outcome.code == 0 and "Evaluation results for bbox" in outcome.out


def test_an_evaluation_between_iterations_is_finished(coco, tmp_path, monkeypatch):
    def evaluate(self):
        os.kill(os.getpid(), signal.SIGTERM)
        return before(self)

    before = Trainer.evaluate
    monkeypatch.setattr(Trainer, "evaluate", evaluate)
    outcome = train_net(*words(coco, tmp_path, "TEST.EVAL_PERIOD", 1))
    assert (outcome.code, outcome.err) == (143, "")
    assert outcome.out.count("Evaluation results for bbox") == 1
    assert "SIGTERM: stopped after 1 of 3 iterations" in outcome.out
    assert (tmp_path / "model_0000000.pth").is_file() and (tmp_path / "model_best.pth").is_file()


def test_without_an_iteration_the_end_comes_at_once(coco, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "preflight", lambda _: os.kill(os.getpid(), signal.SIGINT))
    outcome = train_net(*words(coco, tmp_path))
    assert outcome.code == 130
    assert outcome.err == "SIGINT: ended at once, as no iteration was under way\n"


@pytest.mark.parametrize("number", STATUS)
def test_a_signal_is_raised_or_waited_with(number, capfd):
    with pytest.raises(signals.Stopped) as end, signals.handled():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert end.value.code == STATUS[number]
    reached = []
    with pytest.raises(signals.Stopped) as end, signals.handled(), signals.deferred():
        assert signals.asked() == signals.agreed() == 0
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGINT)  # the same Ctrl-C, of the terminal and of torchrun
        os.kill(os.getpid(), signal.SIGTERM)
        reached.append(signals.agreed())
    assert end.value.code == STATUS[number] and reached == [number]
    again = "; Ctrl-C again ends at once" if number == signal.SIGINT else ""
    said = f"{signals.name(number)}: ending after the iteration that is under way{again}\n"
    assert capfd.readouterr().err == said
    assert signals.asked() == 0


def test_a_signal_does_not_replace_an_error(capfd):
    """Which is on its way from an iteration to where it is told."""
    with pytest.raises(KeyError, match="boom"), signals.handled():
        try:
            with signals.deferred():
                raise KeyError("boom")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.asked() == signal.SIGTERM
    assert capfd.readouterr().err == ""
    with pytest.raises(signals.Stopped), signals.handled(), signals.deferred():
        os.kill(os.getpid(), signal.SIGTERM)


def test_ignored_signals_stay_ignored_and_other_threads_have_none():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with signals.handled():
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.asked() == 0
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    found = []

    def in_a_thread():
        with signals.handled():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]


def interrupt_twice(_):
    signals.AGAIN = 0.2
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's & ignores
    with signals.handled(), signals.deferred():
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGINT)
        print("goes on", flush=True)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGUSR1)
        print("and on", flush=True)
        os.kill(os.getpid(), signal.SIGINT)
        print("not reached", flush=True)


def test_a_second_interrupt_ends_at_once(tmp_path):
    outcome = Program(cwd=tmp_path, main=interrupt_twice).end()
    assert (outcome.code, outcome.out) == (-signal.SIGINT, "goes on\nand on\n")


def load_while_signalled(_):
    """All numbers come, and a regular end is not held up."""
    with signals.workers_protected():
        loader = DataLoader(range(8), num_workers=2, batch_size=None, prefetch_factor=1)
        numbers = []
        for value in loader:
            for number in STATUS:  # from another process: its parent's SIGTERM ends a worker
                subprocess.run(["kill", f"-{number.value}", *loader_workers()], check=True)
            numbers.append(value)
    print(numbers)
    iterator = iter(loader)  # whose workers are there at the end of the process
    print(next(iterator), len(loader_workers()))


def loader_workers():
    return [str(process.pid) for process in multiprocessing.active_children()]


def test_data_workers_leave_signals_to_their_process(tmp_path):
    start = time.monotonic()
    outcome = Program(cwd=tmp_path, main=load_while_signalled).end()
    assert (outcome.code, outcome.out) == (0, f"{list(range(8))}\n0 2\n"), outcome.err
    assert time.monotonic() - start < 60
