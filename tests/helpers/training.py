"""Tiny trainings: their arguments, the Trainer without the program around it, its losses."""

import torch
from detectron2.engine import HookBase
from helpers.tiny import (
    TINY,
    custom,
)

from hrnet_det import model_zoo
from hrnet_det.config.yaml import merge_overrides
from hrnet_det.data import prepare_datasets
from hrnet_det.engine import Trainer

FASTER, MASK = "hrnetv2p_faster_rcnn.yaml", "hrnetv2p_mask_rcnn.yaml"
KEYPOINT = "quickstart/keypoint_rcnn.yaml"
SIGMAS = ["TEST.KEYPOINT_OKS_SIGMAS", "[0.05, 0.05, 0.05]"]


def words(data, output, *more, annotations="boxes.json", config=FASTER, splits=("TRAIN", "TEST")):
    """Arguments of a tiny training; options that begin with -- come first."""
    options = [w for w in more if str(w).startswith("--")]
    overrides = [w for w in more if not str(w).startswith("--")]
    data = custom(data, annotations, splits)
    return ["--config-file", config, *options, *TINY, *data, "OUTPUT_DIR", output, *overrides]


def trainer(data, output, *more, annotations="boxes.json", config=FASTER):
    """A tiny Trainer, without the program around it, that only trains."""
    cfg = model_zoo.get_config(config)
    merge_overrides(cfg, [*TINY, *custom(data, annotations, ["TRAIN"]), "OUTPUT_DIR", str(output)])
    merge_overrides(cfg, [*more, "MODEL.HRNET.NORM_EVAL", "False"])
    prepare_datasets(cfg)
    output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    return Trainer(cfg)


def losses(built):
    """The loss of every iteration, after training."""
    with _Losses() as hook:
        built.register_hooks([hook])
        built.train()
    return hook.values


class _Losses(HookBase):
    def __enter__(self):
        self.values = []
        return self

    def __exit__(self, *_):
        pass

    def after_step(self):
        self.values.append(self.trainer.storage.latest()["total_loss"][0])
