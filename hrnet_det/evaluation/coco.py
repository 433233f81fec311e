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


def _detectron2() -> Evaluation:
    from detectron2.evaluation.fast_eval_api import COCOeval_opt  # where its C++ part was built

    return COCOeval_opt


def _faster_coco_eval() -> Evaluation:
    from faster_coco_eval import COCO as Annotations
    from faster_coco_eval import COCOeval_faster

    def evaluation(truth: COCO, detections: COCO, iou_type: str) -> COCOeval:
        both = Annotations(truth.dataset), Annotations(detections.dataset)
        made = COCOeval_faster(*both, iou_type, print_function=print)  # as pycocotools prints
        # For keypoints it would leave out categories without objects: the others would move up.
        made.params.catIds = sorted(truth.getCatIds())
        return made

    return evaluation


_BUILD = f"{environment.INSTALL_COMMAND} --from '{environment.OFFICIAL_SPEC}' (needs a compiler)"
# "auto" takes the first that is installed. Of each: what loads it, what installs it.
_KNOWN: dict[str, tuple[Callable[[], Evaluation], str]] = {
    "detectron2": (_detectron2, _BUILD),
    "faster_coco_eval": (_faster_coco_eval, f"pip install '{environment.FAST_COCO_EVALUATION}'"),
    "pycocotools": (lambda: COCOeval, f"pip install '{environment.REQUIREMENTS['pycocotools']}'"),
}
INTEGER_IDS = ("faster_coco_eval",)  # for which all ids have to be whole numbers


def find_implementation(name: str) -> Implementation:
    """The implementation that TEST.COCO_EVAL names; "auto": the first of all that is installed.

    Raises: InputError if it is unknown or not installed.
    """
    if name == "auto":
        return installed_implementations()[0]
    if name not in _KNOWN:
        raise InputError(f"unknown TEST.COCO_EVAL {name!r}; known: auto, {', '.join(_KNOWN)}")
    load, how = _KNOWN[name]
    try:
        return Implementation(name, load())
    except ImportError as error:
        raise InputError(
            f"TEST.COCO_EVAL {name} cannot be used here ({one_line(error)}): {how}, or set "
            "TEST.COCO_EVAL auto, which takes what is installed"
        ) from error


def installed_implementations() -> list[Implementation]:
    """All that can be used here, in the order in which "auto" prefers them."""
    found = []
    for name, (load, _) in _KNOWN.items():
        with contextlib.suppress(ImportError):
            found.append(Implementation(name, load()))
    return found


class CocoEvaluator(COCOEvaluator):
    """Detectron2's COCOEvaluator, with the implementation that TEST.COCO_EVAL names.

    Differs from source: not in the results. The source knows its own compiled implementation and
    pycocotools, and encodes masks more slowly.

    Args:
        implementation: as TEST.COCO_EVAL names it. The others: as Detectron2's.
    Raises: InputError as `find_implementation`, or if the implementation (but for "auto", which
        takes pycocotools then) cannot evaluate the dataset, whose ids are no whole numbers.
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
        if found.name in INTEGER_IDS and not _has_integer_ids(self._coco_api.dataset):
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
    occupied = pixels.view(np.uint8).max(axis=1, initial=0)  # (N, W): max is faster than any
    return [_encode(*each) for each in zip(pixels, occupied, strict=True)]


def _encode(mask: np.ndarray, occupied: np.ndarray) -> dict:
    """A mask (H, W) bool, of which only the columns with occupied (W,) have anything."""
    height, width = mask.shape
    columns = np.flatnonzero(occupied)
    first, end = (columns[0], columns[-1] + 1) if len(columns) else (0, 0)
    values = mask[:, first:end].T.ravel()
    # Where a run ends, counted down the columns of the whole mask. The first run is of zeros.
    ends = np.flatnonzero(np.diff(values, prepend=False, append=False)) + first * height
    counts = np.diff(ends[ends < height * width], prepend=0, append=height * width)
    plain = {"size": [height, width], "counts": counts.tolist()}
    packed = coco_mask.frPyObjects(plain, height, width)
    return {"size": [height, width], "counts": packed["counts"].decode()}
