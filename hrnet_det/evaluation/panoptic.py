"""Panoptic quality of predictions, computed image by image as they come."""

from __future__ import annotations

import itertools
import json
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from PIL import Image

from hrnet_det.modeling.segment_ids import VOID, segment_ids

Segments = Sequence[Mapping[str, object]]


class PanopticEvaluator(DatasetEvaluator):
    """PQ, SQ and RQ of a dataset in COCO's panoptic format, without panopticapi.

    Source: arXiv:1801.00868 section 4, and the treatment of crowds and unlabelled pixels that
    COCO's panoptic task defines.
    Differs from source (panopticapi): no images are written; of several crowds of a category in
    an image all forgive, not one (COCO has one).

    Results: {"panoptic_seg": {"PQ", "SQ", "RQ", and each with _th for things, _st for stuff}}, in
        percent, means over the categories that occur.
    """

    def __init__(self, dataset_name: str) -> None:
        metadata = MetadataCatalog.get(dataset_name)
        content = json.loads(Path(metadata.panoptic_json).read_text())
        self._root = Path(metadata.panoptic_root)
        self._truth = {row["image_id"]: row for row in content["annotations"]}
        self._is_thing = {row["id"]: bool(row["isthing"]) for row in content["categories"]}
        # The dataset's ids of contiguous numbers, of stuff (False) and of things (True).
        self._categories = [
            {number: category for category, number in ids.items()}
            for ids in (
                metadata.stuff_dataset_id_to_contiguous_id,
                metadata.thing_dataset_id_to_contiguous_id,
            )
        ]
        self.reset()

    def reset(self) -> None:
        self._counts: list[dict[int, np.ndarray]] = []

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        for given, output in zip(inputs, outputs, strict=True):
            ids, segments = output["panoptic_seg"]
            truth = self._truth[given["image_id"]]
            pixels = Image.open(self._root / truth["file_name"]).convert("RGB")
            true = segment_ids(np.asarray(pixels)), truth["segments_info"]
            found = [
                s | {"category_id": self._categories[bool(s["isthing"])][s["category_id"]]}
                for s in segments
            ]
            self._counts.append(compare(ids.cpu().numpy(), found, *true))

    def evaluate(self) -> OrderedDict | None:
        gathered = comm.gather(self._counts)
        if not comm.is_main_process():
            return None
        total: dict[int, np.ndarray] = defaultdict(lambda: np.zeros(4))
        for of_image in itertools.chain.from_iterable(gathered):
            for category, values in of_image.items():
                total[category] += values
        results = {}
        for suffix, kinds in (("", (True, False)), ("_th", (True,)), ("_st", (False,))):
            chosen = [values for key, values in total.items() if self._is_thing[key] in kinds]
            for name, value in quality(chosen).items():
                results[name + suffix] = 100 * value
        return OrderedDict(panoptic_seg=results)


def compare(
    predicted: np.ndarray, predicted_segments: Segments, true: np.ndarray, true_segments: Segments
) -> dict[int, np.ndarray]:
    """What one image adds to each category: [sum of IoUs, matched, not found, wrongly found].

    A predicted and a true segment of one category match where their IoU, without the predicted
    one's unlabelled pixels, is over 0.5. Crowds match nothing; a segment that finds nothing is
    forgiven if over half of it is unlabelled or of a crowd of its category.

    Args:
        predicted, true: (H, W), the id of each pixel's segment, VOID for none.
        predicted_segments, true_segments: their id and category_id, and iscrowd of the true ones.
    """
    # One number for both ids, which are below 2^32: sorting pairs takes 80 times as long.
    keys = true.ravel().astype(np.int64) << 32 | predicted.ravel().astype(np.int64)
    keys, sizes = (x.tolist() for x in np.unique(keys, return_counts=True))
    common = {(key >> 32, key & 0xFFFFFFFF): n for key, n in zip(keys, sizes, strict=True)}
    area: Counter[tuple[str, int]] = Counter()  # pixels of each true and each predicted segment
    for (t, p), n in common.items():
        area["true", t] += n
        area["predicted", p] += n
    truth, crowds = {}, defaultdict(list)
    for segment in true_segments:
        if segment.get("iscrowd", 0):
            crowds[segment["category_id"]].append(segment["id"])
        else:
            truth[segment["id"]] = segment["category_id"]
    segments = (s for s in predicted_segments if ("predicted", s["id"]) in area)
    found = {s["id"]: s["category_id"] for s in segments}
    counts: dict[int, np.ndarray] = defaultdict(lambda: np.zeros(4))
    for (t, p), n in common.items():
        if t not in truth or truth[t] != found.get(p):
            continue
        iou = n / (area["true", t] + area["predicted", p] - n - common.get((VOID, p), 0))
        if iou > 0.5:
            counts[truth.pop(t)] += (iou, 1, 0, 0)
            del found[p]
    for category in truth.values():
        counts[category] += (0, 0, 1, 0)
    for p, category in found.items():
        forgiven = sum(common.get((t, p), 0) for t in (VOID, *crowds[category]))
        if forgiven <= 0.5 * area["predicted", p]:
            counts[category] += (0, 0, 0, 1)
    return dict(counts)


def quality(counts: Sequence[np.ndarray]) -> dict[str, float]:
    """Means of PQ, SQ and RQ, in 0..1, of categories' counts from `compare`; nan without any."""
    rows = []
    for iou, matched, missed, wrong in counts:
        found = matched + (missed + wrong) / 2
        rows.append((iou / found, iou / max(matched, 1), matched / found))
    means = np.mean(rows, axis=0).tolist() if rows else [np.nan] * 3
    return dict(zip(("PQ", "SQ", "RQ"), means, strict=True))
