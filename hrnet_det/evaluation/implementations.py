"""The implementations of COCO's evaluation that TEST.COCO_EVAL names."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hrnet_det import environment
from hrnet_det.environment import one_line
from hrnet_det.errors import InputError

# Of ground truth, detections, and "bbox", "segm" or "keypoints".
Evaluation = Callable[[COCO, COCO, str], COCOeval]


@dataclass(frozen=True)
class Implementation:
    """One of COCO's evaluation: its name in TEST.COCO_EVAL, and what makes an evaluation."""

    name: str
    evaluation: Evaluation


# What installs each; "auto" takes the first that is installed.
_INSTALL = {
    "detectron2": f"{environment.INSTALL_COMMAND} --from '{environment.OFFICIAL_SPEC}' "
    "(needs a compiler)",
    "faster_coco_eval": f"pip install '{environment.FAST_COCO_EVALUATION}'",
    "pycocotools": f"pip install '{environment.REQUIREMENTS['pycocotools']}'",
}


def _load(name: str) -> Evaluation:
    if name == "detectron2":  # where its C++ part was built
        from detectron2.evaluation.fast_eval_api import COCOeval_opt

        return COCOeval_opt
    if name == "pycocotools":
        return COCOeval
    from faster_coco_eval import COCO as Annotations
    from faster_coco_eval import COCOeval_faster

    def evaluation(truth: COCO, detections: COCO, iou_type: str) -> COCOeval:
        both = Annotations(truth.dataset), Annotations(detections.dataset)
        made = COCOeval_faster(*both, iou_type, print_function=print)  # as pycocotools prints
        # For keypoints it would leave out categories without objects: the others would move up.
        made.params.catIds = sorted(truth.getCatIds())
        return made

    return evaluation


def find_implementation(name: str) -> Implementation:
    """The implementation that TEST.COCO_EVAL names; "auto": the first that is installed.

    Raises: InputError if it is unknown or not installed.
    """
    if name == "auto":
        return installed_implementations()[0]
    if name not in _INSTALL:
        raise InputError(f"unknown TEST.COCO_EVAL {name!r}; known: auto, {', '.join(_INSTALL)}")
    try:
        return Implementation(name, _load(name))
    except ImportError as error:
        raise InputError(
            f"TEST.COCO_EVAL {name} cannot be used here ({one_line(error)}): {_INSTALL[name]}, or "
            "set TEST.COCO_EVAL auto, which takes what is installed"
        ) from error


def installed_implementations() -> list[Implementation]:
    """All that can be used here, in the order in which "auto" prefers them."""
    found = []
    for name in _INSTALL:
        with contextlib.suppress(InputError):
            found.append(find_implementation(name))
    return found
