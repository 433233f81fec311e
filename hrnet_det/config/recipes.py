"""SOLVER.RECIPE: the optimiser and schedule of a source's published training, as one override."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from detectron2.config import CfgNode

from hrnet_det.config.overlays import family_of
from hrnet_det.errors import InputError, shown

RECIPE = "SOLVER.RECIPE"
# Iterations of an epoch: the 117,266 images of COCO's train2017 that have objects, 16 in each. The
# last step of an epoch has what is left.
EPOCH = 7330
# The schedules by SOLVER.MAX_ITER of the shipped configs: name, and epochs as published.
SCHEDULES = {90_000: ("1x", 12), 180_000: ("2x", 24), 146_580: ("20e", 20), 205_212: ("28e", 28)}


@dataclass(frozen=True)
class Recipe:
    """The optimiser and schedules that a source has published for a family of detectors.

    Args:
        drops: by the name of a schedule, the epochs after which the learning rate falls to a tenth.
        warmup: method, first factor, and the iteration from which on it is 1.
        other_warmups: by the name of a schedule, those that differ.
        clip: the most that the norm of the whole gradient may be; 0 for no clipping.
        rate: of batches of 16 images.
        biases: factors of the learning rate and of the decay of biases; the biases of norms have
            this decay, and the learning rate of all else.
    """

    drops: Mapping[str, tuple[int, int]]
    warmup: tuple[str, float, int]
    clip: float
    other_warmups: Mapping[str, tuple[str, float, int]] = field(default_factory=dict)
    rate: float = 0.02
    biases: tuple[float, float] = (1.0, 1.0)

    def values(self, schedule: str, epochs: int) -> dict[str, object]:
        """{KEY: value} of all that the recipe sets."""
        method, factor, last = self.other_warmups.get(schedule, self.warmup)
        decay, (bias_rate, bias_decay) = 1e-4, self.biases
        return {
            "MODEL.WEIGHTS": "imagenet",
            "SOLVER.OPTIMIZER": "SGD",
            "SOLVER.IMS_PER_BATCH": 16,
            "SOLVER.BASE_LR": self.rate,
            "SOLVER.MOMENTUM": 0.9,
            "SOLVER.NESTEROV": False,
            "SOLVER.WEIGHT_DECAY": decay,
            "SOLVER.WEIGHT_DECAY_NORM": decay,
            "SOLVER.WEIGHT_DECAY_BIAS": decay * bias_decay,
            "SOLVER.BIAS_LR_FACTOR": bias_rate,
            "SOLVER.BIAS_LR_FACTOR_NORM": 1.0,
            "SOLVER.LR_SCHEDULER_NAME": "WarmupMultiStepLR",
            "SOLVER.GAMMA": 0.1,
            "SOLVER.STEPS": tuple(epoch * EPOCH for epoch in self.drops[schedule]),
            "SOLVER.MAX_ITER": epochs * EPOCH,
            "SOLVER.WARMUP_METHOD": method,
            "SOLVER.WARMUP_FACTOR": factor,
            "SOLVER.WARMUP_ITERS": last,
            "SOLVER.CLIP_GRADIENTS.ENABLED": self.clip > 0,
            "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": "full_model",
            "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": self.clip or 35.0,
            "SOLVER.CLIP_GRADIENTS.NORM_TYPE": 2.0,
        }


_TWENTY, _TWENTY_EIGHT = {"20e": (16, 19)}, {"28e": (24, 27)}
_RAMP, _FLAT = ("linear", 0.001, 499), ("constant", 1 / 3, 499)  # of mmengine, `end=500`
_OLD_RAMP, _OLD_FLAT = ("linear", 1 / 3, 500), ("constant", 1 / 3, 500)  # of mmcv 0, `> 500`
_FCOS_DROPS = {"1x": (8, 11), "2x": (16, 22)}
# By source and family of detectors; "" is Faster and Mask R-CNN.
# Sources: mmdetection 3.3, configs/hrnet and their _base_; HRNet-Object-Detection, configs/hrnet,
# and for what it links from there (HTC, FCOS, Cascade Mask R-CNN) mmdetection 1, configs/hrnet.
RECIPES: dict[str, dict[str, Recipe]] = {
    "mmdet": {
        "": Recipe({"1x": (8, 11), "2x": (16, 22)}, _RAMP, 0),
        "cascade": Recipe(_TWENTY, _RAMP, 0),
        "htc": Recipe(_TWENTY | _TWENTY_EIGHT, _RAMP, 0),
        "fcos": Recipe(_FCOS_DROPS, _FLAT, 35.0, {"2x": _RAMP}, rate=0.01, biases=(2.0, 0.0)),
    },
    "hrnet_object_detection": {
        "": Recipe({"1x": (8, 11), "2x": (20, 23)}, _OLD_RAMP, 35.0),
        "cascade": Recipe(_TWENTY, _OLD_RAMP, 35.0),
        "htc": Recipe(_TWENTY | _TWENTY_EIGHT, _OLD_RAMP, 35.0),
        "fcos": Recipe(_FCOS_DROPS, _OLD_FLAT, 0, rate=0.01, biases=(2.0, 0.0)),
    },
}

KEYS_OF_RECIPES = RECIPES["mmdet"][""].values("1x", 12).keys()


def add_recipe(cfg: CfgNode, name: str, own: Mapping[str, object], *, source: str) -> None:
    """Merge a source's recipe for the schedule of cfg over it, below `own`.

    Args:
        name: a key of RECIPES. own: {KEY: value} that is going to be merged over cfg.
    Raises: InputError if the recipe is unknown, if the source has published none for such a
        detector and schedule, or if SOLVER.EPOCHS is set too.
    """
    if name not in RECIPES:
        known = ", ".join(RECIPES)
        raise InputError(f"{source}: unknown {RECIPE} {name!r}; known: {known}, or '' for none")
    epochs = str(own.get("SOLVER.EPOCHS", cfg.SOLVER.EPOCHS))
    if epochs != "0":
        raise InputError(
            f"{source}: {RECIPE} {name} and SOLVER.EPOCHS {epochs}: give one of them, as both say "
            "how long to train (SOLVER.EPOCHS 0 for the recipe's iterations)"
        )
    for key, value in _recipe_values(cfg, name, own, source=source).items():
        cfg.merge_from_list([key, value])
    cfg.SOLVER.RECIPE = name


def _recipe_values(
    cfg: CfgNode, name: str, own: Mapping[str, object], *, source: str
) -> dict[str, object]:
    recipe = RECIPES[name].get(family_of(cfg, own)) if _is_published(cfg, own) else None
    last = cfg.SOLVER.MAX_ITER
    schedule, epochs = SCHEDULES.get(last, ("", 0))
    if recipe is None or schedule not in recipe.drops:
        listed = ", ".join(recipe.drops) if recipe else "none"
        raise InputError(
            f"{source}: {RECIPE} {name}: no such training is published for this config "
            f"(SOLVER.MAX_ITER {shown(last)}; schedules of {name} for such a detector: {listed}). "
            "Take it with a shipped config of Faster, Mask or Cascade R-CNN, HTC or FCOS on "
            "HRNetV2p, such as COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.yaml, or leave it out"
        )
    return recipe.values(schedule, epochs)


def _is_published(cfg: CfgNode, own: Mapping[str, object]) -> bool:
    """Whether it is of those families: not keypoints, nor another backbone."""
    keypoints = own.get("MODEL.KEYPOINT_ON", cfg.MODEL.KEYPOINT_ON)
    arch = own.get("MODEL.META_ARCHITECTURE", cfg.MODEL.META_ARCHITECTURE)
    backbone = own.get("MODEL.BACKBONE.NAME", cfg.MODEL.BACKBONE.NAME)
    return (
        str(keypoints) != "True"
        and arch in ("GeneralizedRCNN", "HTC", "FCOS")
        and backbone == "build_hrnetv2p_backbone"
    )
