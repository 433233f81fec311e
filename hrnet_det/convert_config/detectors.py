"""Which of our detectors a config of mmdetection's is of."""

from __future__ import annotations

from hrnet_det.convert_config.conversion import Conversion
from hrnet_det.convert_config.nodes import Node, plain
from hrnet_det.errors import InputError

# By model.type: our kinds, without and with a mask head.
KINDS_OF_TYPES: dict[str, tuple[str, str]] = {
    "FasterRCNN": ("faster_rcnn", "mask_rcnn"),
    "MaskRCNN": ("faster_rcnn", "mask_rcnn"),
    "CascadeRCNN": ("cascade_rcnn", "cascade_mask_rcnn"),
    "HybridTaskCascade": ("htc", "htc"),
    "FCOS": ("fcos", "fcos"),
    "RetinaNet": ("retinanet", "retinanet"),
    "RPN": ("rpn", "rpn"),
}
_CASCADE = {"model.roi_head.type": ("CascadeRoIHead",)}
_STANDARD = {"model.roi_head.type": ("StandardRoIHead",)}
_MASK = {"model.roi_head.mask_head.*.type": ("FCNMaskHead",)}
_TWO_STAGE = {
    "model.rpn_head.type": ("RPNHead",),
    "model.roi_head.bbox_head.*.type": (
        "Shared2FCBBoxHead",
        "Shared4Conv1FCBBoxHead",
        "ConvFCBBoxHead",
    ),
}
_ALL = {"model.backbone.type": ("HRNet",), "model.neck.type": ("HRFPN",)}
# By kind, the types of the parts that it is made of; another type is another detector.
PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "faster_rcnn": {**_ALL, **_TWO_STAGE, **_STANDARD},
    "mask_rcnn": {**_ALL, **_TWO_STAGE, **_STANDARD, **_MASK},
    "cascade_rcnn": {**_ALL, **_TWO_STAGE, **_CASCADE},
    "cascade_mask_rcnn": {**_ALL, **_TWO_STAGE, **_CASCADE, **_MASK},
    "htc": {
        **_ALL,
        **_TWO_STAGE,
        "model.roi_head.type": ("HybridTaskCascadeRoIHead",),
        "model.roi_head.mask_head.*.type": ("HTCMaskHead",),
        "model.roi_head.semantic_head.type": ("FusedSemanticHead",),
    },
    "fcos": {**_ALL, "model.bbox_head.type": ("FCOSHead",)},
    "retinanet": {**_ALL, "model.bbox_head.type": ("RetinaHead",)},
    "rpn": {**_ALL, "model.rpn_head.type": ("RPNHead",)},
}
OURS = "hrnet-det configs lists the detectors that are"


def find_kind(conversion: Conversion) -> str:
    """The kind of detector, a key of `KINDS`.

    Raises: InputError if it is none of ours: another detector, another backbone or neck, or a head
        of another type.
    """
    model = conversion.find("model")
    if model is None or not isinstance(model.value, dict):
        raise InputError(f"{conversion.root.place.path} has no model: it is no detector's config")
    named = _type_of(conversion, model)
    if named not in KINDS_OF_TYPES:
        raise conversion.refuse(
            model.value["type"],
            f"no such detector is here; known are {', '.join(KINDS_OF_TYPES)} ({OURS})",
        )
    masks = conversion.find("model.roi_head.mask_head")
    kind = KINDS_OF_TYPES[named][masks is not None and masks.value is not None]
    conversion.use(model.value["type"])
    for path, known in PARTS[kind].items():
        parts = conversion.nodes(path)
        if not parts and "semantic" not in path:
            raise InputError(f"{model.place}: {path.replace('.*', '')} is not there")
        for node in parts:
            conversion.use(node)
            if plain(node) not in known:
                raise conversion.refuse(
                    node, f"a {named} with it is none of ours; known here: {', '.join(known)}"
                )
    return kind


def _type_of(conversion: Conversion, model: Node) -> str:
    node = model.value.get("type")
    if node is None or not isinstance(node.value, str):
        raise InputError(f"{model.place}: model has no type: it is no detector's config")
    backbone = conversion.find("model.backbone.type")
    if node.value not in KINDS_OF_TYPES and backbone is not None and backbone.value != "HRNet":
        raise conversion.refuse(backbone, "only detectors on HRNet are here")
    return node.value
