"""What `--resume` goes on with beside the weights, and what it says of changed settings."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml
from detectron2.engine import HookBase
from detectron2.utils import comm

from hrnet_det.checkpoint import Checkpointer
from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.config.yaml import flat
from hrnet_det.data.random_numbers import seed_random_numbers
from hrnet_det.data.sampling import TrainingLoader
from hrnet_det.environment import one_line
from hrnet_det.errors import InputError

logger = logging.getLogger("detectron2.hrnet_det")
WINDOW = 20  # iterations whose metrics the writers take their medians from
TIMES = (
    "time",
    "data_time",
    "rank_data_time",
    "eta_seconds",
)  # metrics of the process, not the run
# Keys that change nothing of a training, in either kind of config.
UNTOLD = {
    value
    for setting in (settings.OUTPUT_DIR, settings.WEIGHTS, settings.NUM_WORKERS)
    for value in (setting.yaml, setting.lazy)
}


class Continuation(HookBase):
    """The place in the data, random numbers, metrics, and numbers beside the weights.

    All that is drawn at random in an iteration follows from seed, iteration and process, so that
    nothing of it has to be kept; the order of images follows from the seed (TrainingLoader). A run
    that is killed and resumed is therefore the uninterrupted one.

    Its state is in every checkpoint. With SEED -1 the seed is drawn, and a resumed run keeps it.
    """

    def __init__(self, run: RunConfig) -> None:
        given = int(run[settings.SEED])
        self._is_given, self._name = given >= 0, run.name(settings.SEED)
        self.seed = given if self._is_given else comm.shared_random_seed()
        self.batches = 0  # that have been trained on
        self._known = False  # whether a checkpoint has told them
        self._metrics: dict[str, dict] = {}

    def state_dict(self) -> dict[str, Any]:
        loader = self.trainer.data_loader
        known = isinstance(loader, TrainingLoader)
        return {
            "seed": self.seed,
            "images": self.batches * loader.batch_size if known else 0,
            "data": loader.digest if known else "",
            "numbers": _running_numbers(self.trainer.model),
            "metrics": self._latest_metrics(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises: KeyError, TypeError and the like for what is no such state."""
        self._known, self._metrics = True, dict(state["metrics"])
        if not self._is_given:
            self.seed = int(state["seed"])
        elif self.seed != state["seed"]:
            logger.warning(
                "%s %d, where the checkpoint's run had %d: images come in another order from here",
                *(self._name, self.seed, state["seed"]),
            )
        loader, model = self.trainer.data_loader, self.trainer.model
        if isinstance(loader, TrainingLoader):
            self.batches = state["images"] // loader.batch_size
            if loader.digest and state["data"] and loader.digest != state["data"]:
                logger.warning(
                    "The images to train on, or their objects, are not those of the checkpoint: "
                    "the place in their order is the same"
                )
        for name, value in state["numbers"].items():
            getattr(model, "module", model).get_submodule(name).loss_normalizer = float(value)

    def before_train(self) -> None:
        start, loader = self.trainer.start_iter, self.trainer.data_loader
        if start and not self._known:
            self.batches = start
            if not self._is_given:
                logger.warning("The checkpoint has no seed: images come in a new order from here")
        if isinstance(loader, TrainingLoader):
            loader.seed, loader.start = self.seed, self.batches
        elif start:
            logger.warning(
                "The loader of images to train on is none whose order is known: it starts anew"
            )
        for name, metric in self._metrics.items():
            for value, iteration in metric["values"]:
                hint = {"smoothing_hint": metric["smooth"], "cur_iter": iteration}
                self.trainer.storage.put_scalar(name, value, **hint)

    def before_step(self) -> None:
        seed_random_numbers(self.seed, self.trainer.iter, comm.get_rank())

    def after_step(self) -> None:
        self.batches += 1

    def _latest_metrics(self) -> dict[str, dict]:
        storage = getattr(self.trainer, "storage", None)  # there is none before training
        if storage is None:
            return self._metrics
        hints, first = storage.smoothing_hints(), self.trainer.iter - WINDOW + 1
        kept = {name: h.values() for name, h in storage.histories().items() if name not in TIMES}
        return {
            name: {"values": [[v, at] for v, at in pairs if at >= first], "smooth": hints[name]}
            for name, pairs in kept.items()
        }


@contextmanager
def foreign_state_is_told(checkpointer: Checkpointer) -> Iterator[None]:
    """Raises: InputError where the state of a checkpoint is not that of such a training."""
    try:
        yield
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"--resume: {checkpointer.report.path} does not have the state of this kind of "
            f"training ({type(error).__name__}: {one_line(error)}): start a new run, in another "
            "folder, from its weights"
        ) from error


def _running_numbers(model: object) -> dict[str, float]:
    """What Detectron2's dense detectors divide their losses by: a running mean, in no buffer."""
    modules = getattr(model, "module", model).named_modules()
    found = ((name, getattr(module, "loss_normalizer", None)) for name, module in modules)
    return {name: float(value) for name, value in found if isinstance(value, (int, float))}


def changed_settings(before: str, now: str) -> list[str]:
    """The keys that differ between two configs as texts, such as "SOLVER.BASE_LR 0.02 -> 0.01"."""
    old, new = (flat(yaml.safe_load(text)) for text in (before, now))
    return [
        f"{key} {old.get(key, '-')} -> {new.get(key, '-')}"
        for key in dict.fromkeys([*new, *old])
        if key not in UNTOLD and old.get(key) != new.get(key)
    ]
