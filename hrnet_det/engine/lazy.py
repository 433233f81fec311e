"""Training with LazyConfigs.

The Trainer and everything around it are those of the YAML configs; what a YAML config builds from
keys, `LazyTrainer` calls from the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from detectron2.config import CfgNode, instantiate
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator, DatasetEvaluators
from detectron2.solver import LRMultiplier
from omegaconf import DictConfig, OmegaConf
from torch import nn

from hrnet_det.checkpoint import Checkpointer
from hrnet_det.config.keys import get_cfg
from hrnet_det.config.lazy import keys_of
from hrnet_det.data import prepare_datasets
from hrnet_det.engine.optimizer import clip_whole_gradient
from hrnet_det.engine.trainer import Trainer
from hrnet_det.environment import one_line
from hrnet_det.errors import InputError
from hrnet_det.modeling.build_model import build_detector
from hrnet_det.modeling.inference.memory_format import use_channels_last

# Where a LazyConfig has what the YAML configs have of how a run goes, and of what is checked before
# it starts.
SETTINGS = {
    "OUTPUT_DIR": "train.output_dir",
    "SEED": "train.seed",
    "MODEL.WEIGHTS": "train.init_checkpoint",
    "MODEL.DEVICE": "train.device",
    "MODEL.BACKBONE.FREEZE_AT": "model.backbone.bottom_up.freeze_at",
    "MODEL.HRNET.NORM": "model.backbone.bottom_up.norm",
    "MODEL.HRNET.NORM_EVAL": "model.backbone.bottom_up.norm_eval",
    "SOLVER.IMS_PER_BATCH": "dataloader.train.total_batch_size",
    "SOLVER.MAX_ITER": "train.max_iter",
    "SOLVER.GRADIENT_ACCUMULATION_STEPS": "train.gradient_accumulation_steps",
    "SOLVER.AMP.ENABLED": "train.amp.enabled",
    "SOLVER.CHECKPOINT_PERIOD": "train.checkpoint_period",
    "TEST.EVAL_PERIOD": "train.eval_period",
    "TEST.KEYPOINT_OKS_SIGMAS": "train.test.keypoint_oks_sigmas",
    "TEST.OPTIMIZED": "train.test.optimized",
    "TEST.DTYPE": "train.test.dtype",
    "TEST.COMPILE": "train.test.compile",
}
CLIPPING = "train.clip_gradient_norm"
# Where the numbers of classes are, of things and of stuff, and of keypoints.
CLASSES = {
    "thing_classes": ("model.num_classes", "model.roi_heads.num_classes"),
    "stuff_classes": (
        "model.sem_seg_head.num_classes",
        "model.roi_heads.semantic_head.num_classes",
    ),
    "keypoint_names": ("model.roi_heads.keypoint_head.num_keypoints",),
}


def settings_of(lazy: DictConfig) -> CfgNode:
    """The YAML keys of how a run goes, with a LazyConfig's values; not those of the model.

    Raises: InputError if a value is of another type than the key's, or `train` has options that
        this trainer has not.
    """
    _check_train(lazy.train)
    cfg = get_cfg()
    cfg.SOLVER.STEPS, cfg.MODEL.BACKBONE.FREEZE_AT, cfg.MODEL.HRNET.NORM_EVAL = (), 0, False
    for key, place in SETTINGS.items():
        value = OmegaConf.select(lazy, place)
        if value is None:
            continue
        if OmegaConf.is_config(value):
            value = OmegaConf.to_object(value)
        try:
            cfg.merge_from_list([key, value])
        except ValueError as error:
            raise InputError(f"{place} is {value!r}: {one_line(error)}") from error
    cfg.DATASETS.TRAIN = _names(lazy, "dataloader.train.dataset.names")
    if "test" in lazy.dataloader:
        cfg.DATASETS.TEST = _names(lazy, "dataloader.test.dataset.names")
    cfg.MODEL.META_ARCHITECTURE = _class_name(lazy.model)
    heads = lazy.model.get("roi_heads", {})
    cfg.MODEL.KEYPOINT_ON, cfg.MODEL.MASK_ON = "keypoint_head" in heads, "mask_head" in heads
    if heads:
        cfg.MODEL.ROI_HEADS.NAME = _class_name(heads)
    cfg.MODEL.HTC.SEMANTIC_ON = "semantic_head" in heads
    return cfg


def _check_train(options: DictConfig) -> None:
    places = [place.partition(".") for place in (*SETTINGS.values(), CLIPPING)]
    known = [rest for part, _, rest in places if part == "train"]
    keys = list(keys_of(options))
    ends = [key for key in keys if not any(other.startswith(f"{key}.") for other in keys)]
    unknown = [key for key in ends if not f"{key}.".startswith(tuple(f"{k}." for k in known))]
    if unknown:
        raise InputError(
            f"train has what this trainer has not: {', '.join(unknown)}; its options are "
            f"{', '.join(known)} (configs/common/train.py)"
        )


def _names(lazy: DictConfig, place: str) -> tuple[str, ...]:
    names = OmegaConf.select(lazy, place)
    if names is None:
        raise InputError(
            f"{place} is not there: name registered datasets, as Detectron2's "
            "get_detection_dataset_dicts takes them"
        )
    return (names,) if isinstance(names, str) else tuple(names)


def _class_name(node: DictConfig) -> str:
    """Of what a node calls."""
    target = node._target_
    return getattr(target, "__name__", str(target)).rsplit(".", 1)[-1]


def in_lazy_terms(message: str) -> str:
    """A message about YAML keys, with the places of a LazyConfig."""
    for key in sorted(SETTINGS, key=len, reverse=True):
        name = rf"(?<![\w.]){re.escape(key)}"
        message = re.sub(rf"{name} (?=\d|True|False|path/)", f"{SETTINGS[key]}=", message)
        message = re.sub(rf"{name}\b", SETTINGS[key], message)
    return message


def follow_settings(lazy: DictConfig, cfg: CfgNode) -> None:
    """Take over what checks at the start have changed in the settings."""
    lazy.train.device = cfg.MODEL.DEVICE
    if OmegaConf.select(lazy, SETTINGS["MODEL.HRNET.NORM_EVAL"]) is not None:
        lazy.model.backbone.bottom_up.norm_eval = cfg.MODEL.HRNET.NORM_EVAL


def prepare_lazy_datasets(cfg: CfgNode, lazy: DictConfig) -> None:
    """Make the datasets usable, or say what is missing.

    Raises: InputError if they have other classes than the model.
    """
    prepare_datasets(cfg, stated=())
    for kind, places in CLASSES.items():
        what = "keypoints" if kind == "keypoint_names" else "classes"
        for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST):
            classes = MetadataCatalog.get(name).get(kind, [])
            for place in places:
                number = OmegaConf.select(lazy, place)
                if classes and number is not None and number != len(classes):
                    raise InputError(
                        f"{place} is {number}, but {name} has {len(classes)} {what}: "
                        f"set {place}={len(classes)}"
                    )


def lazy_trainer(lazy: DictConfig) -> type[Trainer]:
    """The Trainer that calls what a LazyConfig says."""
    return type("LazyTrainer", (LazyTrainer,), {"lazy": lazy})


class LazyTrainer(Trainer):
    """The Trainer of a LazyConfig; its cfg is `settings_of` that.

    Attributes: lazy: the config.
    """

    lazy: DictConfig

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """Raises: InputError where the config asks for what does not exist."""
        return use_channels_last(build_detector(cls.lazy)).to(cfg.MODEL.DEVICE)

    @classmethod
    def build_checkpointer(
        cls, cfg: CfgNode, model: nn.Module, **checkpointables: object
    ) -> Checkpointer:
        checkpointer = super().build_checkpointer(cfg, model, **checkpointables)
        del checkpointer.metadata["config"]  # which would not tell the model
        return checkpointer

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Iterable:
        return instantiate(cls.lazy.dataloader.train)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Iterable:
        return instantiate(cls._loaders_of(dataset_name).test)

    @classmethod
    def _loaders_of(cls, dataset_name: str) -> DictConfig:
        """The dataloader part with one of several test sets; as a whole, as its parts refer to
        each other."""
        loaders = cls.lazy.dataloader.copy()
        loaders.test.dataset.names = dataset_name
        return loaders

    @classmethod
    def build_test_mapper(cls, cfg: CfgNode) -> object:
        return instantiate(cls.lazy.dataloader.test.mapper)

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        options = cls.lazy.optimizer
        options.params.model = model
        optimizer = instantiate(options)
        del options.params["model"]
        if norm := OmegaConf.select(cls.lazy, CLIPPING):
            clip_whole_gradient(optimizer, norm)
        return optimizer

    @classmethod
    def build_lr_scheduler(
        cls, cfg: CfgNode, optimizer: torch.optim.Optimizer
    ) -> torch.optim.lr_scheduler.LRScheduler:
        return LRMultiplier(optimizer, instantiate(cls.lazy.lr_multiplier), cfg.SOLVER.MAX_ITER)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        """Those of dataloader.evaluator, or without it those of the dataset's kind."""
        if "evaluator" not in cls.lazy.dataloader:
            return super().build_evaluator(cfg, dataset_name)
        made = instantiate(cls._loaders_of(dataset_name).evaluator)
        return made if isinstance(made, DatasetEvaluator) else DatasetEvaluators(made)
