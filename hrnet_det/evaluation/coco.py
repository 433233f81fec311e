"""COCO evaluation by the fastest implementation that is installed: TEST.COCO_EVAL."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Collection, Sequence
from unittest import mock

import numpy as np
import torch
from detectron2.evaluation import COCOEvaluator, coco_evaluation
from detectron2.structures import Instances
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import COCOeval

from hrnet_det.evaluation.coco_summary import summarize
from hrnet_det.evaluation.coco_truth import Id, Truth
from hrnet_det.evaluation.implementations import find_implementation

logger = logging.getLogger("detectron2.hrnet_det")

# Detections that COCO's AP is of, in an image and of a category: the best so many.
COCOS_LIMIT, COCOS_KEYPOINT_LIMIT = 100, 20
# What an evaluation's results say of it, where it is another.
LIMIT_METRIC = "maxDets"
_TASKS = {"pred_masks": "segm", "pred_keypoints": "keypoints"}  # by fields of predictions


class CocoEvaluator(COCOEvaluator):
    """Detectron2's COCOEvaluator, with the implementation that TEST.COCO_EVAL names.

    Differs from source: masks are encoded faster, with the same results; ids may be anything;
    where nothing is detected AP is 0, not nan; AP may be of more than 100 detections, in every
    implementation.

    Args:
        detections_per_image: the most that the detector gives (TEST.DETECTIONS_PER_IMAGE). AP is of
            that many, if over 100, and keypoints' too where an image has more than 20 objects;
            the results then have it as "maxDets". None: COCO's own 100, and 20 for keypoints.
    Raises: InputError as `find_implementation`.
    """

    def __init__(
        self,
        dataset_name: str,
        *,
        implementation: str = "auto",
        detections_per_image: int | None = None,
        output_dir: str | None = None,
        kpt_oks_sigmas: Sequence[float] = (),
    ) -> None:
        self.implementation = find_implementation(implementation)
        super().__init__(
            dataset_name,
            output_dir=output_dir,
            use_fast_impl=False,  # else it warns that its own is not built
            kpt_oks_sigmas=kpt_oks_sigmas,
        )
        self._use_fast_impl = self.implementation.name != "pycocotools"  # for what it logs
        self._name, self._truth = dataset_name, None
        self._limits = {"bbox": COCOS_LIMIT, "keypoints": COCOS_KEYPOINT_LIMIT}
        said = f"COCO evaluation of {dataset_name}: {self.implementation.name}"
        if self._do_evaluation:
            self._truth = Truth(self._coco_api.dataset)
            self._coco_api = self._truth.coco  # not two copies of all objects
            if detections_per_image is not None:
                self._follow_data(detections_per_image)
            if self._limit("bbox") != COCOS_LIMIT:
                said += f", AP at {self._limit('bbox')} detections per image"
        logger.info(said)

    def _follow_data(self, most: int) -> None:
        """Let AP be of as many detections as there are; say so where objects are more than that."""
        self._limits["bbox"] = max(COCOS_LIMIT, most)
        if self._truth.most_of_a_category() > COCOS_KEYPOINT_LIMIT:
            self._limits["keypoints"] = self._limits["bbox"]
        above = [count for count in self._truth.objects_per_image().values() if count > most]
        if above:
            logger.warning(
                f"AP of {self._name} is limited: {len(above)} of its images have more objects (up "
                f"to {max(above)}) than the {most} detections that TEST.DETECTIONS_PER_IMAGE keeps"
            )

    def _limit(self, task: str) -> int:
        return self._limits["keypoints" if task == "keypoints" else "bbox"]

    def reset(self) -> None:
        super().reset()
        self._detected: set[str] = {"bbox"}  # tasks

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        for given, output in zip(inputs, outputs, strict=True):
            instances = output.get("instances")
            fields = instances.get_fields() if instances is not None else {}
            self._detected |= {task for field, task in _TASKS.items() if field in fields}
            masks = fields.get("pred_masks")
            if getattr(masks, "dtype", None) != torch.bool:
                super().process([given], [output])
                continue
            plain = Instances(instances.image_size, **fields)
            plain.remove("pred_masks")
            super().process([given], [output | {"instances": plain}])
            rows = self._predictions[-1]["instances"]
            for row, encoded in zip(rows, encode_masks(masks), strict=True):
                row["segmentation"] = encoded

    def _tasks_from_predictions(self, predictions: list[dict]) -> list[str]:
        """Those of the detector, also where it has detected nothing."""
        return sorted(self._detected.union(super()._tasks_from_predictions(predictions)))

    def _eval_predictions(self, predictions: list[dict], img_ids: list | None = None) -> None:
        if not any(row["instances"] for row in predictions):
            logger.warning(
                f"nothing was detected in {self._name}: no score is over the detector's threshold "
                "(SCORE_THRESH_TEST of its head), so AP is 0"
            )

        def evaluated(_truth: object, results: list[dict], task: str, **_: object) -> COCOeval:
            return self._evaluated(results, task, img_ids)

        with mock.patch.object(coco_evaluation, "_evaluate_predictions_on_coco", evaluated):
            super()._eval_predictions(predictions, img_ids=img_ids)

    def _eval_box_proposals(self, predictions: list[dict]) -> None:
        evaluate = coco_evaluation._evaluate_box_proposals

        def evaluated(given: list[dict], _truth: object, **options: object) -> dict:
            numbers = self._truth.images(row["image_id"] for row in given)
            rows = [row | {"image_id": n} for row, n in zip(given, numbers, strict=True)]
            return evaluate(rows, self._truth.coco, **options)

        with mock.patch.object(coco_evaluation, "_evaluate_box_proposals", evaluated):
            super()._eval_box_proposals(predictions)

    def _evaluated(
        self, results: list[dict], task: str, image_ids: Collection[Id] | None = None
    ) -> COCOeval:
        """COCO results, with the dataset's ids, against the truth, summarised."""
        made = self.implementation.evaluation(
            self._truth.coco, self._truth.detections(results, task), task
        )
        made.params.maxDets = [*made.params.maxDets[:-1], self._limit(task)]
        if image_ids is not None:
            made.params.imgIds = self._truth.images(image_ids)
        if task == "keypoints" and self._kpt_oks_sigmas:
            made.params.kpt_oks_sigmas = np.array(self._kpt_oks_sigmas)
        made.evaluate()
        made.accumulate()
        summarize(made)
        return made

    def _derive_coco_results(
        self, coco_eval: COCOeval | None, iou_type: str, class_names: list[str] | None = None
    ) -> dict[str, float]:
        if coco_eval is None:  # there is not one detection
            with contextlib.redirect_stdout(io.StringIO()):
                coco_eval = self._evaluated([], iou_type)
        results = super()._derive_coco_results(coco_eval, iou_type, class_names)
        standard = COCOS_KEYPOINT_LIMIT if iou_type == "keypoints" else COCOS_LIMIT
        if self._limit(iou_type) != standard:
            results[LIMIT_METRIC] = float(self._limit(iou_type))
        return results


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
