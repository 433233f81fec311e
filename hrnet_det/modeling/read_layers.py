"""What a detector's tensors say of its config: levels and layers that only its kind has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

Shapes = Mapping[str, Sequence[int]]  # of tensors, by our names


def fcos_levels(shapes: Shapes) -> dict[str, object]:
    """The config's values for an FCOS with these shapes; {} where they do not say.

    Tensors say how many levels there are, not which: six begin with p2 and fewer with p3, as
    HRNet-FCOS and mmdetection publish them.
    """
    levels = sum(name.startswith("head.scales.") for name in shapes)
    tower = [n for n in shapes if re.fullmatch(r"head\.cls_subnet\.\d+\.weight", n)]
    convs = [name for name in tower if len(shapes[name]) == 4]
    if not levels or not convs:
        return {}
    least = 2 if levels > 5 else 3
    normed = len(convs) < len(tower)
    return {
        "MODEL.HRFPN.NUM_LEVELS": levels,
        "MODEL.HRFPN.MIN_LEVEL": least,
        "MODEL.FCOS.IN_FEATURES": [f"p{k}" for k in range(least, least + levels)],
        "MODEL.FCOS.NUM_CONVS": len(convs),
        "MODEL.FCOS.CONV_BIAS": normed and "head.cls_subnet.0.bias" in shapes,
        **({} if normed else {"MODEL.FCOS.NORM": ""}),
    }


_PANOPTIC_HEADS = {"MODEL.SEM_SEG_HEAD": "sem_seg_head", "MODEL.INS_EMBED_HEAD": "ins_embed_head"}
_BRANCHES = ("hr2", "hr3", "hr4")
COCO_SEGMENTS = 133  # classes of COCO's things and stuff


def panoptic_layers(shapes: Shapes) -> dict[str, object]:
    """Keys of a YAML config and values that make a config's heads these.

    Args:
        shapes: of tensors by our names; {} or what is there if some are missing.
    """
    values: dict[str, object] = {}

    def channels(layer: str, *, of_input: bool = False) -> int:
        return shapes.get(f"{layer}.weight", (0, 0))[of_input]

    for key, head in _PANOPTIC_HEADS.items():
        projected = [channels(f"{head}.decoder.{name}.project_conv") for name in _BRANCHES]
        last = "predictor" if head == "sem_seg_head" else "center_predictor"
        values |= {
            f"{key}.PROJECT_CHANNELS": projected,
            f"{key}.ASPP_CHANNELS": channels(f"{head}.decoder.hr5.project_conv.project"),
            f"{key}.HEAD_CHANNELS": channels(f"{head}.{last}", of_input=True),
        }
        fuse = f"{head}.decoder.hr2.fuse_conv"
        values[f"{key}.CONVS_DIM"] = channels(f"{fuse}.pointwise") or channels(f"{fuse}.1")
    original = "ins_embed_head.center_head.depthwise.weight" in shapes
    separable = "sem_seg_head.head.depthwise.weight" in shapes
    if channels("sem_seg_head.predictor") == COCO_SEGMENTS:  # published weights, things first
        values["MODEL.PANOPTIC_DEEPLAB.THING_CLASSES"] = list(range(80))
    return {key: value for key, value in values.items() if value and value != [0] * 3} | {
        "MODEL.PANOPTIC_DEEPLAB.HEADS": "original" if original else "detectron2",
        "MODEL.SEM_SEG_HEAD.USE_DEPTHWISE_SEPARABLE_CONV": separable,
    }
