"""COCO evaluation by the fastest implementation that is installed: TEST.COCO_EVAL."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from unittest import mock

import numpy as np
import torch
from detectron2.evaluation import COCOEvaluator, coco_evaluation
from detectron2.structures import Instances
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hrnet_det import environment
from hrnet_det.environment import one_line
from hrnet_det.errors import InputError

logger = logging.getLogger("detectron2.hrnet_det")

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


class CocoEvaluator(COCOEvaluator):
    """Detectron2's COCOEvaluator, with the implementation that TEST.COCO_EVAL names.

    Differs from source: masks are encoded faster; the results are the same.

    Raises: InputError as `find_implementation`, or if the dataset's ids are not whole numbers and
        the implementation needs such ("auto" takes pycocotools then).
    """

    def __init__(
        self,
        dataset_name: str,
        *,
        implementation: str = "auto",
        output_dir: str | None = None,
        kpt_oks_sigmas: Sequence[float] = (),
    ) -> None:
        found = find_implementation(implementation)
        super().__init__(
            dataset_name,
            output_dir=output_dir,
            use_fast_impl=False,  # else it warns that its own is not built
            kpt_oks_sigmas=kpt_oks_sigmas,
        )
        if found.name == "faster_coco_eval" and not _has_integer_ids(self._coco_api.dataset):
            if implementation != "auto":
                raise InputError(
                    f"TEST.COCO_EVAL {implementation} takes only whole numbers as ids; "
                    f"{self._metadata.json_file} has others: set TEST.COCO_EVAL pycocotools"
                )
            found = find_implementation("pycocotools")
        self.implementation = found
        self._use_fast_impl = found.name != "pycocotools"
        logger.info("COCO evaluation of %s: %s", dataset_name, found.name)

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        for given, output in zip(inputs, outputs, strict=True):
            instances = output.get("instances")
            masks = instances.get_fields().get("pred_masks") if instances is not None else None
            if getattr(masks, "dtype", None) != torch.bool:
                super().process([given], [output])
                continue
            plain = Instances(instances.image_size, **instances.get_fields())
            plain.remove("pred_masks")
            super().process([given], [output | {"instances": plain}])
            rows = self._predictions[-1]["instances"]
            for row, encoded in zip(rows, encode_masks(masks), strict=True):
                row["segmentation"] = encoded

    def _eval_predictions(self, predictions: list[dict], img_ids: list | None = None) -> None:
        evaluation = self.implementation.evaluation  # in the place of Detectron2's fast one
        with mock.patch.object(coco_evaluation, "COCOeval_opt", evaluation):
            super()._eval_predictions(predictions, img_ids=img_ids)


def _has_integer_ids(dataset: dict) -> bool:
    """Whether all ids of a COCO json are integers."""
    return all(
        type(value) is int
        for rows_of in ("images", "categories", "annotations")
        for row in dataset.get(rows_of, ())
        for key, value in row.items()
        if key in ("id", "image_id", "category_id")
    )


def encode_masks(masks: torch.Tensor) -> list[dict]:
    """COCO's compressed run lengths {"size": [H, W], "counts": str} of masks, (N, H, W) bool.

    Run lengths go down the columns, whose pixels lie apart in a mask: to gather them takes longer
    than to count them. Most objects are narrow, so only an object's own columns are gathered.
    """
    pixels = masks.cpu().numpy()
    height, width = pixels.shape[1:]
    occupied = pixels.view(np.uint8).max(axis=1, initial=0)  # (N, W): max is faster than any
    encoded = []
    for mask, has_pixels in zip(pixels, occupied, strict=True):
        columns = np.flatnonzero(has_pixels)
        first, end = (columns[0], columns[-1] + 1) if len(columns) else (0, 0)
        values = mask[:, first:end].T.ravel()
        # Where a run ends, counted down the columns of the whole mask. The first run is of zeros.
        ends = np.flatnonzero(np.diff(values, prepend=False, append=False)) + first * height
        counts = np.diff(ends[ends < height * width], prepend=0, append=height * width)
        plain = {"size": [height, width], "counts": counts.tolist()}
        packed = coco_mask.frPyObjects(plain, height, width)
        encoded.append(plain | {"counts": packed["counts"].decode()})
    return encoded
