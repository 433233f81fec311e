"""The Trainer: Detectron2's DefaultTrainer with what HRNet detectors need beside it."""

from __future__ import annotations

import logging
import pickle
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import (
    DatasetMapper,
    MetadataCatalog,
    build_detection_test_loader,
    build_detection_train_loader,
)
from detectron2.engine import (
    AMPTrainer,
    DefaultTrainer,
    HookBase,
    SimpleTrainer,
    TrainerBase,
    create_ddp_model,
    hooks,
)
from detectron2.evaluation import DatasetEvaluator
from detectron2.modeling import GeneralizedRCNNWithTTA
from detectron2.utils import comm
from detectron2.utils.events import EventWriter
from detectron2.utils.logger import setup_logger
from torch import nn

from hrnet_det.checkpoint import Checkpointer
from hrnet_det.data.mapper import build_mapper
from hrnet_det.engine.accumulation import GradientAccumulation
from hrnet_det.engine.hooks import ProgressBar, on_terminal
from hrnet_det.engine.optimizer import build_lr_scheduler, build_optimizer
from hrnet_det.environment import one_line
from hrnet_det.evaluation.evaluators import best_metric, build_evaluator
from hrnet_det.model_zoo import inference_form
from hrnet_det.modeling.build_model import build_detector
from hrnet_det.modeling.inference.memory_format import use_channels_last

logger = logging.getLogger("detectron2.hrnet_det")


class Trainer(DefaultTrainer):
    """Detectron2's DefaultTrainer for HRNet detectors, on GPUs and on the CPU.

    Differs from source: distributed training and AMP (bfloat16 autocast) run on the CPU too;
    checkpoints are loaded checked and without unpickling objects; COCO evaluation; the checkpoint
    of the best box AP (or mIoU, PQ, AR) is kept as model_best.pth; a progress bar on a terminal.

    Args:
        cfg: a config whose datasets have been prepared (`hrnet_det.data.prepare_datasets`).
    """

    def __init__(self, cfg: CfgNode) -> None:
        TrainerBase.__init__(self)
        if not logging.getLogger("detectron2").isEnabledFor(logging.INFO):
            setup_logger()
        cfg = _scaled(cfg, comm.get_world_size())
        on_cpu = torch.device(cfg.MODEL.DEVICE).type == "cpu"

        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        data_loader = self.build_train_loader(cfg)
        device_ids = None if on_cpu else [comm.get_local_rank()]
        model = create_ddp_model(model, broadcast_buffers=False, device_ids=device_ids)
        if cfg.SOLVER.AMP.ENABLED and on_cpu:
            _autocast_training(model)
        amp = cfg.SOLVER.AMP.ENABLED and not on_cpu
        trained = (
            model
            if cfg.SOLVER.GRADIENT_ACCUMULATION_STEPS == 1
            else GradientAccumulation(model, cfg.SOLVER.GRADIENT_ACCUMULATION_STEPS)
        )
        # Before the forward pass: the last step's gradients are no longer there at its peak.
        self._trainer = (AMPTrainer if amp else SimpleTrainer)(
            trained, data_loader, optimizer, zero_grad_before_forward=True
        )
        if amp and trained is not model:
            trained.scale = self._trainer.grad_scaler.scale

        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = self.build_checkpointer(cfg, model, trainer=weakref.proxy(self))
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.cfg = cfg
        self.register_hooks(self.build_hooks())

    def build_hooks(self) -> list[HookBase]:
        """Detectron2's hooks, with the best checkpoint kept and a progress bar on a terminal."""
        built = super().build_hooks()
        if not comm.is_main_process():
            return built
        *first, writers = built  # the writers come last, so that they see all metrics
        if self.cfg.DATASETS.TEST:
            metric = best_metric(self.cfg)
            first.append(_BestCheckpointer(self.cfg.TEST.EVAL_PERIOD, self.checkpointer, metric))
        if on_terminal():
            first.append(ProgressBar())
        return [*first, writers]

    def build_writers(self) -> list[EventWriter]:
        """Detectron2's; without its printed lines where a progress bar stands for them."""
        printer, *files = super().build_writers()
        return files if on_terminal() else [printer, *files]

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """The detector, in the layout that it is fastest in.

        Raises: InputError where the config asks for what does not exist.
        """
        model = use_channels_last(build_detector(cfg))
        logger.debug("Model:\n%s", model)
        return model

    @classmethod
    def build_checkpointer(
        cls, cfg: CfgNode, model: nn.Module, **checkpointables: object
    ) -> Checkpointer:
        """The checkpointer of OUTPUT_DIR, whose files say which classes and config they are of."""
        data = (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)
        classes = MetadataCatalog.get(data[0]).get("thing_classes", []) if data else []
        return Checkpointer(
            model,
            cfg.OUTPUT_DIR,
            allow_pickle=cfg.MODEL.WEIGHTS_ALLOW_PICKLE,
            strict=cfg.MODEL.WEIGHTS_STRICT,
            metadata={
                "classes": list(classes),
                "conventions": cfg.MODEL.CONVENTIONS,
                "config": cfg.dump(),
            },
            **checkpointables,
        )

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Iterable:
        """Detectron2's, with images resized as INPUT.RESIZE says."""
        return build_detection_train_loader(cfg, mapper=build_mapper(cfg, is_train=True))

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Iterable:
        """Detectron2's, with images resized as INPUT.RESIZE says."""
        mapper = cls.build_test_mapper(cfg)
        return build_detection_test_loader(cfg, dataset_name, mapper=mapper)

    @classmethod
    def build_test_mapper(cls, cfg: CfgNode) -> DatasetMapper:
        """What prepares an image for testing."""
        return build_mapper(cfg, is_train=False)

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """See `hrnet_det.engine.optimizer.build_optimizer`."""
        return build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(
        cls, cfg: CfgNode, optimizer: torch.optim.Optimizer
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """See `hrnet_det.engine.optimizer.build_lr_scheduler`."""
        return build_lr_scheduler(cfg, optimizer)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        """See `hrnet_det.evaluation.evaluators.build_evaluator`."""
        return build_evaluator(cfg, dataset_name)

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators: list | None = None) -> OrderedDict:
        """Results of the model on DATASETS.TEST, with those of test-time augmentation if asked.

        The model is evaluated in the form that TEST.OPTIMIZED and TEST.DTYPE ask for.
        """
        model = inference_form(cfg, getattr(model, "module", model))
        results = super().test(cfg, model, evaluators)
        if cfg.TEST.AUG.ENABLED:
            logger.info("Evaluating with test-time augmentation")
            # it is left in the mode it came in, which would be training, as of every new module
            several = GeneralizedRCNNWithTTA(cfg, model).train(model.training)
            augmented = super().test(cfg, several, evaluators)
            results.update({f"{name}_TTA": values for name, values in augmented.items()})
        return results


def _scaled(cfg: CfgNode, world_size: int) -> CfgNode:
    """Detectron2's auto_scale_workers, whose rounding may make a short period 0, which is never."""
    scaled = DefaultTrainer.auto_scale_workers(cfg, world_size).clone()
    scaled.defrost()
    for key in ("SOLVER.CHECKPOINT_PERIOD", "TEST.EVAL_PERIOD"):
        group, name = key.split(".")
        if cfg[group][name] > 0:
            scaled[group][name] = max(1, scaled[group][name])
    scaled.freeze()
    return scaled


class _BestCheckpointer(hooks.BestCheckpointer):
    """Detectron2's, with the metric in the file, so that a resumed run does not fall behind it."""

    best = float("-inf")

    def before_train(self) -> None:
        path = Path(self._checkpointer.save_dir) / f"{self._file_prefix}.pth"
        if self.trainer.start_iter and path.is_file():
            try:
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
                logger.warning("%s is damaged, and will be replaced: %s", path, one_line(error))
            else:
                self.best = content.get(self._val_metric, self.best)

    def after_train(self) -> None:
        last = self._checkpointer.get_checkpoint_file()
        super().after_train()
        if last:  # still the one to resume from: in ours the trainer is an iteration ahead
            self._checkpointer.tag_last_checkpoint(Path(last).name)

    def _best_checking(self) -> None:
        metric, trainer = self._val_metric, self.trainer
        value, _ = trainer.storage.latest().get(metric, (float("nan"), 0))
        iteration = min(trainer.iter, trainer.max_iter - 1)  # as in the other checkpoints
        if value > self.best:  # nan is not
            self.best = value
            self._checkpointer.save(self._file_prefix, iteration=iteration, **{metric: value})
            logger.info("%s.pth has %s %.2f, the best so far", self._file_prefix, metric, value)


def _autocast_training(model: nn.Module) -> None:
    """Run the model's forward in bfloat16 autocast on the CPU, in training; backward follows it.

    The backbone's features are returned as float32: the backward pass of RoIAlign sums up what
    many boxes say of a cell, and in bfloat16 a sum of 256 equal numbers already stops growing.
    """
    backbone = getattr(model, "module", model).backbone
    backbone.register_forward_hook(
        lambda _, __, features: {name: x.float() for name, x in features.items()}
    )
    autocast = torch.autocast("cpu", torch.bfloat16)

    def enter(module: nn.Module, _: object) -> None:
        if module.training:
            autocast.__enter__()

    def leave(module: nn.Module, _: object, __: object) -> None:
        if module.training:
            autocast.__exit__(None, None, None)

    model.register_forward_pre_hook(enter)
    model.register_forward_hook(leave, always_call=True)
