"""From command line arguments to a config that can be trained, or one error that says why not."""

from __future__ import annotations

import argparse
import os

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from hrnet_det import model_zoo
from hrnet_det.config.lazy import load_lazy_config
from hrnet_det.config.yaml import load_config, stated_keys
from hrnet_det.data import prepare_datasets
from hrnet_det.data.labels import check_labels
from hrnet_det.data.mapper import check_scales
from hrnet_det.engine.lazy import follow_settings, prepare_lazy_datasets, settings_of
from hrnet_det.errors import InputError
from hrnet_det.evaluation.evaluators import check_evaluator

# What a run writes to OUTPUT_DIR, and the next one there renames.
RUN_FILES = (
    "metrics.json",
    "results.json",
    "last_checkpoint",
    "model_best.pth",
    "model_final.pth",
)


def load_setup(args: argparse.Namespace) -> CfgNode:
    """The config that the arguments name, made to fit the device and the data, with both there.

    Raises: InputError for whatever the user has to correct.
    """
    if not args.config_file:
        raise InputError(
            "no --config-file was given; shipped are\n  " + "\n  ".join(model_zoo.names())
        )
    path = model_zoo.find_config(args.config_file)
    args.config_file, args.lazy = str(path), None
    if path.suffix == ".py":
        args.lazy = load_lazy_config(path, args.opts)
        cfg = settings_of(args.lazy)
    else:
        cfg = load_config(path, args.opts)
    _fit_device(cfg, args)
    if args.lazy is None:
        prepare_datasets(cfg, stated=stated_keys(path, args.opts))
    else:
        prepare_lazy_datasets(cfg, args.lazy)
    _check_start(cfg, args)
    if args.lazy is not None:
        follow_settings(args.lazy, cfg)
    cfg.freeze()
    return cfg


def _fit_device(cfg: CfgNode, args: argparse.Namespace) -> None:
    if args.num_gpus < 1:
        raise InputError(
            f"--num-gpus {args.num_gpus}: give at least 1 (without GPUs: processes on the CPU)"
        )
    try:
        device = torch.device(cfg.MODEL.DEVICE)
    except RuntimeError as error:
        raise InputError(
            f"MODEL.DEVICE {cfg.MODEL.DEVICE!r} is no device of torch: cuda, cpu, ..."
        ) from error
    processes = args.num_gpus * args.num_machines
    if not cfg.MODEL.DEVICE.startswith("cuda"):
        if processes > 1 and torch.cuda.is_available():
            raise InputError(
                f"--num-gpus {args.num_gpus} with MODEL.DEVICE {cfg.MODEL.DEVICE}: the processes "
                "would be started for GPUs; for processes on the CPU set CUDA_VISIBLE_DEVICES="
            )
        return
    if not torch.cuda.is_available():
        print(f"No GPU here: running on the CPU instead of MODEL.DEVICE {cfg.MODEL.DEVICE}.")
        cfg.MODEL.DEVICE = "cpu"
    elif args.num_gpus > torch.cuda.device_count():
        raise InputError(
            f"--num-gpus {args.num_gpus}, but this machine has {torch.cuda.device_count()}"
        )
    elif device.index is not None and processes > 1:
        raise InputError(
            f"MODEL.DEVICE {cfg.MODEL.DEVICE} is one GPU, but there are {processes} processes, "
            "each with one of its own: set MODEL.DEVICE cuda (CUDA_VISIBLE_DEVICES chooses GPUs)"
        )
    elif (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"MODEL.DEVICE {cfg.MODEL.DEVICE}, but this machine's GPUs are cuda:0 to "
            f"cuda:{torch.cuda.device_count() - 1}"
        )


def _check_start(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Refuse what cannot work, and say aloud what would otherwise go wrong in silence."""
    if cfg.TEST.AUG.ENABLED:
        _check_augmentation(cfg)
    if cfg.SOLVER.AMP.ENABLED and torch.device(cfg.MODEL.DEVICE).type not in ("cuda", "cpu"):
        raise InputError(f"SOLVER.AMP.ENABLED is for cuda and cpu, not {cfg.MODEL.DEVICE}")
    model_zoo.check_inference_form(cfg)
    check_scales(cfg)
    for name in cfg.DATASETS.TEST:
        check_evaluator(cfg, name)
    check_labels(cfg, trains=not args.eval_only)
    if args.eval_only:
        if not cfg.DATASETS.TEST:
            raise InputError("--eval-only, but DATASETS.TEST is empty: name a dataset to test on")
        return
    if not cfg.DATASETS.TRAIN:
        raise InputError("DATASETS.TRAIN is empty: name a dataset to train on")
    if cfg.MODEL.ROI_HEADS.NAME == "HTCROIHeads" and cfg.MODEL.HTC.SEMANTIC_ON:
        _check_semantic_branch(cfg)
    _check_not_replaced(cfg, args)
    world_size = args.num_gpus * args.num_machines
    _check_batch(cfg, world_size)
    if not cfg.DATASETS.TEST:
        print("DATASETS.TEST is empty: the detector is trained, but never evaluated.")
    if "SyncBN" in str(cfg.MODEL.HRNET.NORM) and cfg.MODEL.HRNET.NORM_EVAL and cfg.MODEL.WEIGHTS:
        raise InputError(
            f"MODEL.HRNET.NORM {cfg.MODEL.HRNET.NORM} with NORM_EVAL True has fixed statistics, so "
            "nothing to share among GPUs: set MODEL.HRNET.NORM_EVAL False, or NORM BN"
        )
    norms = {cfg.MODEL.HRNET.NORM, cfg.MODEL.HRFPN.NORM}
    if cfg.MODEL.DEVICE == "cpu" and world_size > 1 and norms & {"SyncBN", "nnSyncBN"}:
        raise InputError("torch's SyncBN needs GPUs; on the CPU take MODEL.HRNET.NORM naiveSyncBN")
    if cfg.MODEL.WEIGHTS:
        return
    resumed = args.resume and _has_checkpoint(cfg)
    if cfg.MODEL.HRNET.NORM_EVAL and not (resumed and _had_norm_eval(cfg)):
        cfg.MODEL.HRNET.NORM_EVAL = False
        print(
            "MODEL.WEIGHTS is empty: training from random weights, so norm statistics are trained "
            "too (NORM_EVAL False).\n  The published AP needs ImageNet weights: MODEL.WEIGHTS "
            "timm://hrnet_w32.ms_in1k, or a file (docs/weights.md)."
        )
    if cfg.MODEL.BACKBONE.FREEZE_AT and not resumed:
        raise InputError(
            f"MODEL.BACKBONE.FREEZE_AT {cfg.MODEL.BACKBONE.FREEZE_AT} without MODEL.WEIGHTS would "
            "freeze random weights: give weights, or set it to 0"
        )


def _check_augmentation(cfg: CfgNode) -> None:
    """Refuse what Detectron2's test-time augmentation would not follow."""
    subject = "TEST.AUG.ENABLED: Detectron2's test-time augmentation"
    if cfg.MODEL.KEYPOINT_ON:
        raise InputError(f"{subject} has no keypoints")
    two_stage = cfg.MODEL.META_ARCHITECTURE in ("GeneralizedRCNN", "HTC")
    if not two_stage or cfg.MODEL.CONVENTIONS != "detectron2":
        raise InputError(
            f"{subject} is for GeneralizedRCNN and HTC with MODEL.CONVENTIONS detectron2, not "
            f"{cfg.MODEL.META_ARCHITECTURE} with {cfg.MODEL.CONVENTIONS}"
        )
    if cfg.INPUT.RESIZE != "pillow":
        raise InputError(f"{subject} resizes with INPUT.RESIZE pillow, not {cfg.INPUT.RESIZE}")


def _check_batch(cfg: CfgNode, world_size: int) -> None:
    """Whether the images of a step can be shared by the processes, and by the parts of each."""
    solver = cfg.SOLVER
    if solver.REFERENCE_WORLD_SIZE < 0:
        raise InputError(
            f"SOLVER.REFERENCE_WORLD_SIZE {solver.REFERENCE_WORLD_SIZE}: the number of GPUs that "
            "the recipe is for, or 0 for no scaling"
        )
    processes = solver.REFERENCE_WORLD_SIZE or world_size  # the batch will be scaled to world_size
    batch, parts = solver.IMS_PER_BATCH, solver.GRADIENT_ACCUMULATION_STEPS
    if batch < 1 or batch % processes:
        raise InputError(
            f"SOLVER.IMS_PER_BATCH {batch} images cannot be shared equally "
            f"among {processes} processes: take a positive multiple of {processes}"
        )
    if parts < 1 or batch // processes % parts:
        raise InputError(
            f"SOLVER.GRADIENT_ACCUMULATION_STEPS {parts}: each process has {batch // processes} of "
            f"SOLVER.IMS_PER_BATCH {batch} images, which cannot be divided into {parts} parts"
        )


def _check_not_replaced(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Refuse to start from weights that the run would rename before it reads them."""
    files = (os.path.realpath(os.path.join(cfg.OUTPUT_DIR, name)) for name in RUN_FILES)
    if not args.resume and os.path.realpath(cfg.MODEL.WEIGHTS) in files:
        raise InputError(
            f"MODEL.WEIGHTS {cfg.MODEL.WEIGHTS} is of an earlier run in OUTPUT_DIR "
            f"{cfg.OUTPUT_DIR}, whose files this one would replace: give another OUTPUT_DIR, or "
            "--resume to go on with that run"
        )


def _check_semantic_branch(cfg: CfgNode) -> None:
    """Refuse to train a Hybrid Task Cascade's semantic branch without semantic labels."""
    if cfg.MODEL.META_ARCHITECTURE != "HTC":
        raise InputError(
            f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} gives HTCROIHeads no labels of "
            "pixels: only HTC trains their semantic branch; MODEL.HTC.SEMANTIC_ON False is "
            "without one"
        )
    names = cfg.DATASETS.TRAIN
    without = [name for name in names if not MetadataCatalog.get(name).get("stuff_classes")]
    if without:
        raise InputError(
            f"{', '.join(without)} has no semantic labels (no stuff_classes in its metadata), "
            "which the semantic branch learns from: train on a dataset that has them, such as "
            "coco_2017_train_panoptic_separated, or set MODEL.HTC.SEMANTIC_ON False"
        )


def _has_checkpoint(cfg: CfgNode) -> bool:
    return os.path.isfile(os.path.join(cfg.OUTPUT_DIR, "last_checkpoint"))


def _had_norm_eval(cfg: CfgNode) -> bool:
    """Whether the run that OUTPUT_DIR holds has been trained with NORM_EVAL."""
    path = os.path.join(cfg.OUTPUT_DIR, "config.yaml")
    return os.path.isfile(path) and load_config(path).MODEL.HRNET.NORM_EVAL
