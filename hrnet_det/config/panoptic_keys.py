"""Keys of Panoptic-DeepLab: names and meaning as in Detectron2's project, and a few more."""

from __future__ import annotations

from hrnet_det.config.rules import Rule, number, one_of, several

# What both heads have: of Detectron2's project panoptic_deeplab, for its HRNet-W48.
_DECODER = {
    "PROJECT_CHANNELS": [32, 64, 128],  # of hr2, hr3, hr4 before they join the decoder
    "ASPP_CHANNELS": 256,
    "ASPP_DILATIONS": [3, 6, 9],
    "ASPP_DROPOUT": 0.1,
}
_SEMANTIC = {
    **_DECODER,
    "HEAD_CHANNELS": 256,
    # "hard_pixel_mining": the mean of the LOSS_TOP_K share of pixels with the highest cross
    # entropy; "cross_entropy": of all labelled ones.
    "LOSS_TYPE": "hard_pixel_mining",
    "LOSS_TOP_K": 0.2,
    # Of both heads: 3x3 and 5x5 convolutions are depthwise and 1x1 ones, as published for W48.
    "USE_DEPTHWISE_SEPARABLE_CONV": False,
}
_INSTANCES = {
    **_DECODER,
    "NAME": "PanopticDeepLabInsEmbedHead",
    "IN_FEATURES": ["hr2", "hr3", "hr4", "hr5"],
    "CONVS_DIM": 128,
    "HEAD_CHANNELS": 32,
    "COMMON_STRIDE": 4,
    "NORM": "",
    "CENTER_LOSS_WEIGHT": 200.0,
    "OFFSET_LOSS_WEIGHT": 0.01,
}
_MODEL = {
    # Whose heads: "detectron2" (its project's), or "original": those of the authors' first code,
    # for its weights (arXiv:1911.10194, github.com/bowenc0221/panoptic-deeplab).
    "HEADS": "detectron2",
    # Numbers of the classes whose segments are objects; they follow the data.
    "THING_CLASSES": [11, 12, 13, 14, 15, 16, 17, 18],
    # Pixels: smaller segments of stuff are left without a label.
    "STUFF_AREA": 2048,
    # Centres: least height, side in pixels of the square that has one at most, and how many.
    "CENTER_THRESHOLD": 0.1,
    "NMS_KERNEL": 7,
    "TOP_K_INSTANCE": 200,
}
# Training targets: radius of centres in pixels, whether stuff has no offsets, area in pixels under
# which an object is small, the weight of its pixels in the semantic loss, and whether crowds have
# no semantic label.
_TARGETS = {
    "GAUSSIAN_SIGMA": 10,
    "IGNORE_STUFF_IN_OFFSET": True,
    "SMALL_INSTANCE_AREA": 4096,
    "SMALL_INSTANCE_WEIGHT": 3,
    "IGNORE_CROWD_IN_SEMANTIC": False,
}

PANOPTIC_DEEPLAB_KEYS: dict[str, object] = {
    f"{group}.{name}": default
    for group, keys in (
        ("MODEL.SEM_SEG_HEAD", _SEMANTIC),
        ("MODEL.INS_EMBED_HEAD", _INSTANCES),
        ("MODEL.PANOPTIC_DEEPLAB", _MODEL),
        ("INPUT", _TARGETS),
    )
    for name, default in keys.items()
}

_COUNT, _AMOUNT = number(1, whole=True), number(0)
_CHANNELS = number(1, 65_536, whole=True)
_DECODER_RULES = {
    "PROJECT_CHANNELS": several(_CHANNELS),
    "ASPP_CHANNELS": _CHANNELS,
    "ASPP_DILATIONS": several(_COUNT, 3, 3),
    "ASPP_DROPOUT": number(0, 1, ends="[)"),
    "HEAD_CHANNELS": _CHANNELS,
}
# By the group of keys, the rules of those in it, as `allowed.RULES` has them.
PANOPTIC_DEEPLAB_RULES: dict[str, dict[str, Rule]] = {
    "MODEL.SEM_SEG_HEAD.": {
        **_DECODER_RULES,
        "LOSS_TYPE": one_of("hard_pixel_mining", "cross_entropy"),
        "LOSS_TOP_K": number(0, 1, ends="(]"),
    },
    "MODEL.INS_EMBED_HEAD.": {
        **_DECODER_RULES,
        "CONVS_DIM": _CHANNELS,
        "COMMON_STRIDE": _COUNT,
        "CENTER_LOSS_WEIGHT": _AMOUNT,
        "OFFSET_LOSS_WEIGHT": _AMOUNT,
    },
    "MODEL.PANOPTIC_DEEPLAB.": {
        "THING_CLASSES": several(number(0, whole=True), 0),
        "STUFF_AREA": _AMOUNT,
        "CENTER_THRESHOLD": _AMOUNT,
        "NMS_KERNEL": Rule(lambda side: _COUNT.is_right(side) and side % 2 == 1, "an odd number"),
        "TOP_K_INSTANCE": _COUNT,
    },
    "INPUT.": {
        "GAUSSIAN_SIGMA": _COUNT,
        "SMALL_INSTANCE_AREA": _AMOUNT,
        "SMALL_INSTANCE_WEIGHT": _AMOUNT,
    },
}
