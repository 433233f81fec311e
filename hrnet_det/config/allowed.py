"""What the values of YAML keys may be: one table, checked before anything is built or read.

Keys that are not in it are checked where they are used: the schedule's by engine/training_checks,
those of augmentations by data/augmentations, names of registries where the model is built.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from functools import reduce
from operator import getitem

from detectron2.config import CfgNode

from hrnet_det.config.panoptic_keys import PANOPTIC_DEEPLAB_RULES
from hrnet_det.config.rules import (
    Rule,
    are_different_names,
    either,
    is_result,
    number,
    one_of,
    several,
)
from hrnet_det.errors import InputError, shown

MOST_SIDE = 65_536  # pixels of an image that is resized
MOST_CHANNELS = 65_536
MOST_SEED = 2**31  # with the number of a process added it has to fit into 32 bits
MOST_WORKERS = 512  # processes of a loader
LEVELS = 8  # of a pyramid: the last one has a stride of 512 or 1024 pixels

COUNT = number(1, whole=True)
CHANNELS = number(1, MOST_CHANNELS, whole=True)
LAYERS = number(0, 64, whole=True)
WORKERS = number(0, MOST_WORKERS, whole=True)
SHARE = number(0, 1)
AMOUNT = number(0)
FEATURES = Rule(are_different_names, "a list of different names of levels, such as ['p2', 'p3']")
DATASETS = Rule(
    lambda value: all(isinstance(name, str) and name for name in value),
    "names of datasets, each text, such as \"('coco_2017_train',)\"",
)
BOX_WEIGHTS = several(number(0, ends="(]"), 4, 4)
BOX_LOSS = one_of("smooth_l1", "giou", "diou", "ciou")
BOX_LABELS = several(one_of(-1, 0, 1), 2)
SIDES = several(number(32, MOST_SIDE, whole=True))
ANCHORS = several(several(number(0, MOST_SIDE, ends="(]")))
# Rules of keys that several groups have.
POOLER = {
    "POOLER_RESOLUTION": number(1, 512, whole=True),
    "POOLER_SAMPLING_RATIO": number(0, 64, whole=True),
    "POOLER_TYPE": one_of("ROIAlignV2", "ROIAlign", "ROIPool"),
}
MATCHING = {"IOU_THRESHOLDS": several(SHARE, rising=True), "IOU_LABELS": BOX_LABELS}
SAMPLING = {"BATCH_SIZE_PER_IMAGE": COUNT, "POSITIVE_FRACTION": number(0, 1, ends="(]")}
DETECTION = {"SCORE_THRESH_TEST": SHARE, "NMS_THRESH_TEST": SHARE}

# By the group of keys, the rules of those in it.
RULES: dict[str, dict[str, Rule]] = {
    "": {
        "SEED": number(-math.inf, MOST_SEED, whole=True, ends="[)"),
        "VIS_PERIOD": number(0, whole=True),
        "DATALOADER.NUM_WORKERS": WORKERS,
        "DATASETS.TRAIN": DATASETS,
        "DATASETS.TEST": DATASETS,
    },
    "SOLVER.": {
        "MOMENTUM": number(0, 1, ends="[)"),
        "WEIGHT_DECAY": AMOUNT,
        "WEIGHT_DECAY_NORM": AMOUNT,
        "WEIGHT_DECAY_BIAS": either(None, AMOUNT, "none for WEIGHT_DECAY"),
        "BIAS_LR_FACTOR": AMOUNT,
        "BIAS_LR_FACTOR_NORM": either(None, AMOUNT, "none for BIAS_LR_FACTOR"),
        "GAMMA": number(0, ends="(]"),
        "STEPS": several(COUNT, 0, rising=True),
        "WARMUP_ITERS": number(0, whole=True),
        "WARMUP_FACTOR": SHARE,
        "WARMUP_METHOD": one_of("linear", "constant"),
        "NUM_DECAYS": COUNT,
        "BASE_LR_END": AMOUNT,
        "POLY_LR_POWER": AMOUNT,
        "CLIP_GRADIENTS.CLIP_VALUE": number(0, ends="(]"),
        "CLIP_GRADIENTS.NORM_TYPE": number(0, ends="(]"),
    },
    "TEST.": {
        "DETECTIONS_PER_IMAGE": COUNT,
        "PRECISE_BN.NUM_ITER": COUNT,
        "AUG.MIN_SIZES": SIDES,
        "AUG.MAX_SIZE": number(32, MOST_SIDE, whole=True),
        "KEYPOINT_OKS_SIGMAS": several(number(0, ends="(]"), 0),
        "EXPECTED_RESULTS": several(Rule(is_result, "[task, metric, value, tolerance]"), 0),
    },
    "INPUT.": {
        "FORMAT": one_of("BGR", "RGB", "L"),
        "MASK_FORMAT": one_of("polygon", "bitmask"),
        "CROP.TYPE": one_of("relative", "relative_range", "absolute", "absolute_range"),
        "CROP.SIZE": several(number(0, MOST_SIDE, ends="(]"), 2, 2),
    },
    "MODEL.": {
        "PIXEL_MEAN": several(number(-math.inf), 3, 3),
        "PIXEL_STD": several(number(0, ends="(]"), 3, 3),
        "HRFPN.IN_FEATURES": FEATURES,
        "HRFPN.OUT_CHANNELS": CHANNELS,
        "HRFPN.NUM_LEVELS": number(1, LEVELS, whole=True),
        "HRNET.OUT_FEATURES": FEATURES,
        "PROPOSAL_GENERATOR.MIN_SIZE": AMOUNT,
    },
    "MODEL.ANCHOR_GENERATOR.": {
        "SIZES": ANCHORS,
        "ASPECT_RATIOS": several(several(number(0, ends="(]"))),
        "ANGLES": several(several(number(-180, 180))),
        "OFFSET": number(0, 1, ends="[)"),
    },
    "MODEL.RPN.": {
        "IN_FEATURES": FEATURES,
        **MATCHING,
        **SAMPLING,
        "BBOX_REG_LOSS_TYPE": BOX_LOSS,
        "BBOX_REG_LOSS_WEIGHT": AMOUNT,
        "BBOX_REG_WEIGHTS": BOX_WEIGHTS,
        "SMOOTH_L1_BETA": AMOUNT,
        "LOSS_WEIGHT": AMOUNT,
        "PRE_NMS_TOPK_TRAIN": COUNT,
        "PRE_NMS_TOPK_TEST": COUNT,
        "POST_NMS_TOPK_TRAIN": COUNT,
        "POST_NMS_TOPK_TEST": COUNT,
        "NMS_THRESH": SHARE,
        "CONV_DIMS": several(either(-1, CHANNELS, "-1 for as many as the pyramid has"), 0),
    },
    "MODEL.ROI_HEADS.": {
        "LOW_QUALITY_MATCHES": one_of("never", "always", "with_masks"),
        "NUM_CLASSES": COUNT,
        "IN_FEATURES": FEATURES,
        **MATCHING,
        **SAMPLING,
        **DETECTION,
    },
    "MODEL.ROI_BOX_HEAD.": {
        "BBOX_REG_LOSS_TYPE": BOX_LOSS,
        "BBOX_REG_LOSS_WEIGHT": AMOUNT,
        "BBOX_REG_WEIGHTS": BOX_WEIGHTS,
        "SMOOTH_L1_BETA": AMOUNT,
        "NUM_FC": LAYERS,
        "FC_DIM": CHANNELS,
        "NUM_CONV": LAYERS,
        "CONV_DIM": CHANNELS,
        **POOLER,
    },
    "MODEL.ROI_BOX_CASCADE_HEAD.": {
        "IOUS": several(SHARE),
        "BBOX_REG_WEIGHTS": several(BOX_WEIGHTS),
        "STAGE_LOSS_WEIGHTS": several(AMOUNT),
    },
    "MODEL.ROI_MASK_HEAD.": {
        "NUM_CONV": LAYERS,
        "CONV_DIM": CHANNELS,
        **POOLER,
    },
    "MODEL.ROI_KEYPOINT_HEAD.": {
        "CONV_DIMS": several(CHANNELS, 0),
        "NUM_KEYPOINTS": COUNT,
        "MIN_KEYPOINTS_PER_IMAGE": number(0, whole=True),
        "LOSS_WEIGHT": AMOUNT,
        **POOLER,
    },
    "MODEL.SEM_SEG_HEAD.": {
        "NUM_CLASSES": COUNT,
        "CONVS_DIM": CHANNELS,
        "LOSS_WEIGHT": AMOUNT,
        "CLASS_WEIGHTS": several(AMOUNT, 0),
        "IGNORE_VALUE": number(0, 255, whole=True),
    },
    "MODEL.FCOS.": {
        "NUM_CLASSES": COUNT,
        "IN_FEATURES": FEATURES,
        "NUM_CONVS": LAYERS,
        "PRIOR_PROB": number(0, 1, ends="()"),
        "CENTER_SAMPLING_RADIUS": AMOUNT,
        "BOX_LOSS": one_of("giou", "giou_weighted", "iou_log", "iou_log_smooth"),
        "NORMALIZER": one_of("moving_average", "batch", "images"),
        **DETECTION,
        "TOPK_CANDIDATES_TEST": COUNT,
    },
    "MODEL.RETINANET.": {
        "NUM_CLASSES": COUNT,
        "IN_FEATURES": FEATURES,
        "NUM_CONVS": LAYERS,
        "PRIOR_PROB": number(0, 1, ends="()"),
        **MATCHING,
        "FOCAL_LOSS_GAMMA": AMOUNT,
        "FOCAL_LOSS_ALPHA": either(-1, SHARE, "-1 for none"),
        "SMOOTH_L1_LOSS_BETA": AMOUNT,
        "BBOX_REG_WEIGHTS": BOX_WEIGHTS,
        "BBOX_REG_LOSS_TYPE": BOX_LOSS,
        **DETECTION,
        "TOPK_CANDIDATES_TEST": COUNT,
    },
}
for _group, _rules in PANOPTIC_DEEPLAB_RULES.items():
    RULES.setdefault(_group, {}).update(_rules)


def check_values(cfg: CfgNode, *, source: str, typed: Collection[str] = ()) -> None:
    """Check all values of a config.

    Args:
        source: its file, for messages. typed: the keys that the command line has set.
    Raises: InputError that names key, value and what is allowed.
    """
    for group, rules in RULES.items():
        for name, rule in rules.items():
            value = reduce(getitem, f"{group}{name}".split("."), cfg)
            if not rule.is_right(value):
                _refuse(f"{group}{name}", value, rule.words, source=source, typed=typed)
    for key, value in _leaves(cfg):
        if isinstance(value, float) and not math.isfinite(value):
            _refuse(key, value, "a finite number", source=source, typed=typed)
        if isinstance(value, str) and "\0" in value:
            _refuse(key, value, "text without NUL", source=source, typed=typed)


def _refuse(key: str, value: object, words: str, *, source: str, typed: Collection[str]) -> None:
    place = "command line" if key in typed else source
    raise InputError(f"{place}: {key} {shown(value)}: must be {words}")


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    """All values, those in lists too, with their keys."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item, key)
    else:
        yield key, value
