"""The Trainer of LazyConfigs: what a YAML config builds from keys, it calls from the file."""

from __future__ import annotations

from collections.abc import Iterable

from detectron2.data import build_detection_test_loader, build_detection_train_loader
from detectron2.evaluation import DatasetEvaluator, DatasetEvaluators
from detectron2.solver import LRMultiplier
from omegaconf import DictConfig
from torch import nn
from torch.optim import Optimizer

from hrnet_det.config import settings
from hrnet_det.config.lazy import located
from hrnet_det.config.lazy_build import build_part
from hrnet_det.config.lazy_run import LazyRun
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.mapper import build_loss_mapper
from hrnet_det.data.sampling import build_train_loader
from hrnet_det.engine.optimizer import clip_whole_gradient
from hrnet_det.engine.trainer import Trainer


def trainer_of(run: RunConfig) -> type[Trainer]:
    """The Trainer of a kind of config."""
    return LazyTrainer if run.is_lazy else Trainer


class LazyTrainer(Trainer):
    """The Trainer of LazyConfigs."""

    @classmethod
    def build_train_loader(cls, run: LazyRun) -> Iterable:
        """A TrainingLoader where the file has Detectron2's loader, otherwise what it makes."""
        loaders = run.cfg.dataloader.copy()  # as a whole: its parts refer to each other
        target = loaders.train._target_
        target = located(target) if isinstance(target, str) else target
        if target is build_detection_train_loader:
            loaders.train._target_ = build_train_loader
        return build_part(loaders.train, "dataloader.train")

    @classmethod
    def build_test_loader(cls, run: LazyRun, dataset_name: str) -> Iterable:
        return build_part(_loaders_of(run, dataset_name).test, "dataloader.test")

    @classmethod
    def build_loss_loader(cls, run: LazyRun, dataset_name: str) -> Iterable:
        dataset = build_part(_loaders_of(run, dataset_name).test.dataset, "dataloader.test.dataset")
        workers, mapper = run[settings.NUM_WORKERS], build_loss_mapper(run)
        return build_detection_test_loader(dataset, mapper=mapper, num_workers=workers)

    @classmethod
    def build_optimizer(cls, run: LazyRun, model: nn.Module) -> Optimizer:
        options = run.cfg.optimizer
        options.params.model = model
        try:
            optimizer = build_part(options, "optimizer")
        finally:
            del options.params["model"]
        if norm := run[settings.GRADIENT_CLIP]:
            clip_whole_gradient(optimizer, norm)
        return optimizer

    @classmethod
    def build_lr_scheduler(cls, run: LazyRun, optimizer: Optimizer) -> LRMultiplier:
        multiplier = build_part(run.cfg.lr_multiplier, "lr_multiplier")
        return LRMultiplier(optimizer, multiplier, run[settings.MAX_ITER])

    @classmethod
    def build_evaluator(cls, run: LazyRun, dataset_name: str) -> DatasetEvaluator:
        """Those of dataloader.evaluator, or without it those of the dataset's kind."""
        if "evaluator" not in run.cfg.dataloader:
            return super().build_evaluator(run, dataset_name)
        made = build_part(_loaders_of(run, dataset_name).evaluator, "dataloader.evaluator")
        return made if isinstance(made, DatasetEvaluator) else DatasetEvaluators(made)


def _loaders_of(run: LazyRun, dataset_name: str) -> DictConfig:
    """The whole dataloader part, as its parts refer to each other, with one of the test sets."""
    loaders = run.cfg.dataloader.copy()
    loaders.test.dataset.names = dataset_name
    return loaders
