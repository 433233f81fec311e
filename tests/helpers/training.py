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
# The beginning of a LazyConfig of the user's own: the shipped Faster R-CNN with few channels.
TINY_LAZY = """\
from detectron2.config import LazyConfig
from hrnet_det.config.files import config_folder
_shipped = LazyConfig.load(str(config_folder() / "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.py"))
model, dataloader, optimizer = _shipped.model, _shipped.dataloader, _shipped.optimizer
lr_multiplier, train = _shipped.lr_multiplier, _shipped.train
model.backbone.update(out_channels=32)
model.backbone.bottom_up.update(variant="w18_small_v1", norm_eval=False)
model.proposal_generator.update(pre_nms_topk=(50, 50), post_nms_topk=(20, 20))
model.proposal_generator.head.in_channels = 32
model.roi_heads.update(num_classes=3, batch_size_per_image=16)
model.roi_heads.box_head.input_shape.channels = 32
model.roi_heads.box_head.fc_dims = [32]
model.roi_heads.box_predictor.input_shape.channels = 32"""
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


def assert_same(ours, theirs, place="", *, but=(), nan=False):
    """Equal to the last bit, in all parts of a nest, and of the same types.

    Args:
        but: ends of places that may differ; nan: whether a nan equals another one.
    """
    assert type(ours) is type(theirs), place
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), place
        for key in ours:
            assert_same(ours[key], theirs[key], f"{place}/{key}", but=but, nan=nan)
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs), place
        for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(a, b, f"{place}/{number}", but=but, nan=nan)
    elif torch.is_tensor(ours):
        assert torch.equal(ours, theirs), place
    elif not place.endswith(tuple(but)):
        assert ours == theirs or (nan and ours != ours and theirs != theirs), place
