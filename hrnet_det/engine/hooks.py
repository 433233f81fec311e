"""Hooks of the Trainer: evaluation, early stopping, metrics, and a progress bar."""

from __future__ import annotations

import logging
import resource
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from detectron2.engine import HookBase, hooks
from detectron2.utils import comm
from detectron2.utils.events import CommonMetricPrinter, EventWriter
from fvcore.nn.precise_bn import get_bn_modules
from tqdm import tqdm

from hrnet_det.config import settings
from hrnet_det.data.sampling import TrainingLoader
from hrnet_det.engine import signals
from hrnet_det.engine.checkpoints import BestCheckpointer, PeriodicCheckpointer
from hrnet_det.engine.divergence import check_weights
from hrnet_det.engine.loss_scale import SkippedSteps
from hrnet_det.engine.resume import WINDOW, Continuation
from hrnet_det.engine.stopping import StopOnSignal
from hrnet_det.engine.writers import MetricsFile
from hrnet_det.evaluation.evaluators import best_metric

if TYPE_CHECKING:
    from hrnet_det.engine.trainer import Trainer

logger = logging.getLogger("detectron2.hrnet_det")


def peak_memory() -> float:
    """GB at most held so far: by CUDA's allocator if it is in use, else resident in memory."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 1e9
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


class ProgressBar(HookBase):
    """Iterations done, time left, loss, learning rate and peak memory, at every iteration."""

    def before_train(self) -> None:
        self._bar = tqdm(
            desc="training",
            total=self.trainer.max_iter,
            initial=self.trainer.start_iter,
            file=sys.stdout,  # where the log lines go
            dynamic_ncols=True,
        )

    def after_step(self) -> None:
        latest = self.trainer.storage.latest()  # {name: (value, iteration)}
        loss, lr = latest.get("total_loss", (float("nan"), 0))[0], latest.get("lr", (0, 0))[0]
        said = f"loss {loss:.3f}, lr {lr:.2g}, {peak_memory():.1f} GB"
        self._bar.set_postfix_str(said, refresh=False)
        self._bar.update()

    def after_train(self) -> None:
        self._bar.close()


class Evaluation(hooks.EvalHook):
    """Detectron2's, with weights that are finite, and at the end only once and after success.

    The other hooks ask `is_due` when they come to their `after_step`.
    """

    _last = -1  # the iteration after which the last evaluation was

    def _do_eval(self) -> None:
        check_weights(self.trainer)
        super()._do_eval()

    def after_step(self) -> None:
        if is_due(self.trainer, self._period):
            self._do_eval()
            self._last = self.trainer.iter

    def after_train(self) -> None:
        done = self.trainer.iter  # iterations; after a failure fewer than max_iter
        ends = done >= self.trainer.max_iter and not signals.asked()
        if ends and self._last != done - 1:
            self._do_eval()
        del self._func  # which refers to the trainer


def is_due(trainer: HookBase, period: int, done: int | None = None) -> bool:
    """Whether an evaluation comes after so many iterations; the last one comes after training.

    Args:
        done: by default with this iteration.
    """
    done = trainer.iter + 1 if done is None else done
    return period > 0 and done % period == 0 and done < trainer.max_iter


class PeriodicWriter(hooks.PeriodicWriter):
    """Detectron2's, which writes after every evaluation too, so that none is left out.

    Args:
        build: makes the writers when training begins: only then its first iteration is known.
        period, evaluation_period: iterations.
    """

    def __init__(
        self, build: Callable[[], list[EventWriter]], period: int, evaluation_period: int
    ) -> None:
        super().__init__([], period)
        self._build, self._evaluation_period = build, evaluation_period

    def before_train(self) -> None:
        """Write what the earlier part of a run did not come to after its last iteration."""
        self._writers = self._build()
        done = self.trainer.start_iter
        due = done % self._period == 0 or is_due(self.trainer, self._evaluation_period, done)
        for writer in self._writers if done and due else ():
            if isinstance(writer, MetricsFile) and writer.last < done - 1:
                writer.write()

    def after_step(self) -> None:
        if not is_due(self.trainer, self._evaluation_period):
            return super().after_step()
        for writer in self._writers:
            writer.write()

    def after_train(self) -> None:
        for writer in self._writers:
            if isinstance(writer, CommonMetricPrinter):  # it has printed the last iteration
                writer._max_iter = self.trainer.max_iter
        super().after_train()


class PreciseBN(hooks.PreciseBN):
    """Detectron2's, from the same images each time: they do not depend on earlier evaluations."""

    def before_train(self) -> None:
        if isinstance(self._data_loader, TrainingLoader):
            self._data_loader.seed = self.trainer.data_loader.seed

    def update_stats(self) -> None:
        self._data_iter = None
        super().update_stats()


class EarlyStopping(HookBase):
    """Ends a training whose metric has not risen for some evaluations: SOLVER.PATIENCE.

    Its state, the same in all processes, is in every checkpoint.

    Args:
        period: iterations between evaluations.
        metric: its name in the storage of the main process; nan has not risen.
        patience: evaluations without a higher value, after which training ends.
        name: what the user calls the setting.
    """

    def __init__(self, period: int, metric: str, patience: int, name: str) -> None:
        self._period, self._metric, self._patience, self._name = period, metric, patience, name
        self.best, self.at, self.waited = float("-inf"), -1, 0

    def state_dict(self) -> dict:
        return {"best": self.best, "at": self.at, "waited": self.waited}

    def load_state_dict(self, state: dict) -> None:
        self.best, self.at, self.waited = state["best"], state["at"], state["waited"]

    def before_train(self) -> None:
        if self.waited >= self._patience:
            self._stop(self.trainer.start_iter)

    def after_step(self) -> None:
        trainer = self.trainer
        if not is_due(trainer, self._period):
            return
        value, _ = trainer.storage.latest().get(self._metric, (float("nan"), 0))
        value = comm.all_gather(value)[0]  # that of the main process, which alone has results
        if value > self.best:
            self.best, self.at, self.waited = value, trainer.iter, 0
        else:
            self.waited += 1
        if self.waited >= self._patience:
            self._stop(trainer.iter + 1)

    def _stop(self, iterations: int) -> None:
        highest = f"than {self.best:.2f} at iteration {self.at}" if self.at >= 0 else "than nan"
        logger.info(
            "Early stopping after %d of %d iterations: %s has not been higher %s for %d "
            "evaluations (%s %d)",
            *(iterations, self.trainer.max_iter, self._metric, highest, self.waited),
            *(self._name, self._patience),
        )
        self.trainer.max_iter = iterations


def build_hooks(trainer: Trainer) -> list[HookBase]:
    """Detectron2's, the average of weights, early stopping, the best checkpoint, a progress bar.

    Checkpoints come after evaluations, so that they have what those have changed.
    """
    run, period, main = trainer.run, trainer.run[settings.EVAL_PERIOD], comm.is_main_process()
    built = [Continuation(run), hooks.IterationTimer(), hooks.LRScheduler(), trainer.average]
    if scaler := getattr(trainer._trainer, "grad_scaler", None):
        built.append(SkippedSteps(scaler))
    if run[settings.PRECISE_BN] and get_bn_modules(trainer.model):
        alone = run.copy()
        alone[settings.NUM_WORKERS] = 0
        loader, batches = trainer.build_train_loader(alone), run.cfg.TEST.PRECISE_BN.NUM_ITER
        built.append(PreciseBN(period, trainer.model, loader, batches))
    built.append(Evaluation(period, trainer.evaluate))
    if patience := run[settings.PATIENCE]:
        built.append(EarlyStopping(period, best_metric(run), patience, run.name(settings.PATIENCE)))
    if main and run[settings.TEST_DATASETS]:
        built.append(BestCheckpointer(period, trainer.checkpointer, best_metric(run)))
    built.append(StopOnSignal())
    if main:
        checkpoints = run[settings.CHECKPOINT_PERIOD]
        built.append(PeriodicCheckpointer(trainer.checkpointer, checkpoints))
    if main and sys.stdout.isatty():
        built.append(ProgressBar())
    # The writers come last, so that they see all metrics.
    return [*built, PeriodicWriter(trainer.build_writers, WINDOW, period)] if main else built
