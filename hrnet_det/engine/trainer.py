"""The Trainer: Detectron2's DefaultTrainer with what HRNet detectors need beside it."""

from __future__ import annotations

import itertools
import logging
import weakref
from collections import OrderedDict
from collections.abc import Iterable

import torch
from detectron2.config import CfgNode
from detectron2.data.build import build_detection_test_loader, build_detection_train_loader
from detectron2.engine.defaults import DefaultTrainer, create_ddp_model
from detectron2.engine.train_loop import HookBase, TrainerBase
from detectron2.utils import comm
from detectron2.utils.events import EventStorage, EventWriter
from detectron2.utils.logger import setup_logger
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hrnet_det.checkpoint import Checkpointer
from hrnet_det.checkpoint.io import METADATA_KEY
from hrnet_det.checkpoint.writing import tell_full_disk
from hrnet_det.config import settings
from hrnet_det.config.load import as_run
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.mapper import build_loss_mapper, build_mapper, build_test_mapper
from hrnet_det.data.rows import rows_to_learn_from
from hrnet_det.data.sampling import build_train_loader
from hrnet_det.engine import signals
from hrnet_det.engine.checkpoints import metadata_of
from hrnet_det.engine.divergence import divergence_is_told
from hrnet_det.engine.ema import WeightAverage
from hrnet_det.engine.hooks import build_hooks
from hrnet_det.engine.optimizer import (
    build_lr_scheduler,
    build_optimizer,
    scaled_schedule,
    set_base_rates,
)
from hrnet_det.engine.optimizer_state import described, fitted_state
from hrnet_det.engine.resume import changed_settings, foreign_state_is_told
from hrnet_det.engine.steps import build_steps
from hrnet_det.engine.testing import evaluate_detector, verify_expected
from hrnet_det.engine.validation import validation_losses
from hrnet_det.engine.writers import build_writers
from hrnet_det.errors import InputError
from hrnet_det.evaluation.evaluators import build_evaluator
from hrnet_det.modeling.build_model import build_detector
from hrnet_det.modeling.inference.memory_format import use_channels_last

logger = logging.getLogger("detectron2.hrnet_det")


class Trainer(DefaultTrainer):
    """Detectron2's DefaultTrainer for HRNet detectors, on GPUs and on the CPU.

    Its build_... functions take a RunConfig, whose `cfg` is Detectron2's config.

    Differs from source: distributed training and AMP (bfloat16 autocast) run on the CPU too;
    checkpoints are loaded checked and without unpickling objects; COCO evaluation; the checkpoint
    of the best box AP (or mIoU, PQ, AR) is kept as model_best.pth; a progress bar on a terminal.

    Args:
        config: a RunConfig, or Detectron2's config of a YAML file, whose datasets have been
            prepared (`hrnet_det.data.prepare_datasets`).
    """

    build_test_mapper = staticmethod(build_test_mapper)
    build_evaluator = staticmethod(build_evaluator)

    def __init__(self, config: RunConfig | CfgNode) -> None:
        TrainerBase.__init__(self)
        if not logging.getLogger("detectron2").isEnabledFor(logging.INFO):
            setup_logger()
        self.given = as_run(config)  # as the user has stated it, before its schedule is scaled
        self.run = run = scaled_schedule(self.given, comm.get_world_size())
        self.cfg = run.cfg
        device = torch.device(str(run[settings.DEVICE])).type

        model = self.build_model(run)
        optimizer = self.build_optimizer(run, model)
        data_loader = self.build_train_loader(run)
        device_ids = [torch.cuda.current_device()] if device == "cuda" else None
        model = create_ddp_model(model, broadcast_buffers=False, device_ids=device_ids)
        self.average = WeightAverage(model, run[settings.EMA_DECAY])
        self._trainer = build_steps(run, model, data_loader, optimizer, device)

        self.scheduler = self.build_lr_scheduler(run, optimizer)
        me = weakref.proxy(self)
        self.checkpointer = self.build_checkpointer(run, self.average.averaged, trainer=me)
        self.start_iter, self.stopped = 0, False
        self.max_iter = run[settings.MAX_ITER]
        self.register_hooks(self.build_hooks())

    @property
    def model(self) -> nn.Module:
        """The detector, in what it is trained by: as Detectron2's, without FiniteLosses."""
        return self._trainer.model.model

    def resume_or_load(self, resume: bool = True) -> None:
        """Go on from the last checkpoint of OUTPUT_DIR, or start from the config's weights.

        All settings are the config's, also where the checkpoint had others, which is said.

        Raises: InputError if the checkpoint cannot be gone on with.
        """
        rates = list(self.scheduler.base_lrs)
        content = self.checkpointer.resume_or_load(self.run[settings.WEIGHTS], resume=resume)
        if self.checkpointer.resumed_from:
            with foreign_state_is_told(self.checkpointer):
                if not self.start_iter:
                    raise KeyError("trainer")
            if self.start_iter <= self.max_iter:  # else nothing is left to train
                set_base_rates(self.scheduler, rates)
            earlier = content.get(METADATA_KEY, {}).get("config")
            config = (self.checkpointer.metadata or {}).get("config")
            if earlier and config and (changes := changed_settings(earlier, config)):
                logger.warning("Going on with other settings: %s", ", ".join(changes))

    def state_dict(self) -> dict:
        described_optimizer = described(self.optimizer, self.trained)
        return {**super().state_dict(), "optimizer": described_optimizer}

    def load_state_dict(self, state: dict) -> None:
        """Raises: InputError for the state of another kind of training or optimizer."""
        with foreign_state_is_told(self.checkpointer):
            inner, description = state["_trainer"], state.get("optimizer", {})
            optimizer = fitted_state(inner["optimizer"], description, self.optimizer, self.trained)
            super().load_state_dict({**state, "_trainer": {**inner, "optimizer": optimizer}})
            self.start_iter = self.iter + 1

    @property
    def trained(self) -> nn.Module:
        """The detector, without what is wrapped around it to train it."""
        return self._trainer.model.module

    def train(self) -> OrderedDict:
        """Train to the end, or until early stopping; returns the last evaluation's results.

        Raises: InputError if the training diverges; signals.Stopped after a signal, where the
            program handles them (`signals.handled`).
        """
        if self.start_iter < self.max_iter:
            logger.info("Starting training from iteration %d", self.start_iter)
        else:
            name = self.run.shown(settings.MAX_ITER)
            alone = ": evaluating alone" if self.run[settings.TEST_DATASETS] else ""
            logger.warning("Nothing is left to train with %s%s", name, alone)
        self.iter = self.start_iter
        with EventStorage(self.start_iter) as self.storage:
            try:
                self.before_train()
                with signals.deferred():
                    # a hook may lower max_iter, and stop the training after a signal
                    while self.iter < self.max_iter and not self.stopped:
                        self.before_step()
                        with divergence_is_told(self):
                            self.run_step()
                        self.after_step()
                        self.iter += 1
            except InputError:
                raise
            except Exception as error:
                tell_full_disk(error, str(self.run[settings.OUTPUT_DIR]))
                raise
            finally:
                self.after_train()
        results = getattr(self, "_last_eval_results", OrderedDict())
        if not self.run.is_lazy and comm.is_main_process():
            verify_expected(self.run, results)
        return results

    def evaluate(self) -> OrderedDict:
        """Results of the model, or of the average of its weights; the storage gets its losses."""
        run, model = self.run, self.average.averaged
        self._last_eval_results = self.test(run, model)
        if run[settings.LOSS] and (tests := run[settings.TEST_DATASETS]):
            loaders = (self.build_loss_loader(run, name) for name in tests)
            losses = validation_losses(model, itertools.chain.from_iterable(loaders))
            self.storage.put_scalars(**losses, smoothing_hint=False)
        return self._last_eval_results

    def build_hooks(self) -> list[HookBase]:
        return build_hooks(self)

    def build_writers(self) -> list[EventWriter]:
        return build_writers(str(self.run[settings.OUTPUT_DIR]), self.start_iter, self.max_iter)

    @classmethod
    def build_model(cls, run: RunConfig) -> nn.Module:
        """The detector, in its fastest layout. Raises: InputError for parts that do not exist."""
        run = as_run(run)
        model = use_channels_last(build_detector(run.cfg)).to(str(run[settings.DEVICE]))
        logger.debug("Model:\n%s", model)
        return model

    @classmethod
    def build_checkpointer(
        cls, run: RunConfig, model: nn.Module, *, trains: bool = True, **checkpointables: object
    ) -> Checkpointer:
        """The checkpointer of OUTPUT_DIR, whose files say which classes and config they are of."""
        return Checkpointer(
            model,
            str(run[settings.OUTPUT_DIR]),
            allow_pickle=run[settings.WEIGHTS_ALLOW_PICKLE],
            strict=run[settings.WEIGHTS_STRICT],
            metadata=metadata_of(run, trains=trains),
            kept=run[settings.CHECKPOINTS_KEPT],
            **checkpointables,
        )

    @classmethod
    def build_train_loader(cls, run: RunConfig) -> Iterable:
        """A TrainingLoader of images resized and augmented as the keys of INPUT say."""
        mapper = build_mapper(run.cfg, is_train=True)
        pasted, names = mapper.copy_paste, run.cfg.DATASETS.TRAIN
        rows = rows_to_learn_from(run.cfg, names) if pasted is None else pasted.rows
        options = build_detection_train_loader.from_config(run.cfg, mapper, dataset=rows)
        return build_train_loader(**options)

    @classmethod
    def build_test_loader(cls, run: RunConfig, dataset_name: str) -> Iterable:
        mapper = cls.build_test_mapper(run)
        return build_detection_test_loader(run.cfg, dataset_name, mapper=mapper)

    @classmethod
    def build_loss_loader(cls, run: RunConfig, dataset_name: str) -> Iterable:
        """The images of a test set as it learns from them, resized as in the evaluation."""
        mapper = build_loss_mapper(run)
        return build_detection_test_loader(run.cfg, dataset_name, mapper=mapper)

    @classmethod
    def build_optimizer(cls, run: RunConfig, model: nn.Module) -> Optimizer:
        return build_optimizer(run.cfg, model)

    @classmethod
    def build_lr_scheduler(cls, run: RunConfig, optimizer: Optimizer) -> LRScheduler:
        return build_lr_scheduler(run.cfg, optimizer)

    @classmethod
    def test(cls, run: RunConfig | CfgNode, model: nn.Module) -> OrderedDict:
        """Results of the model on the test sets, as `evaluate_detector`."""
        return evaluate_detector(cls, as_run(run), model)
