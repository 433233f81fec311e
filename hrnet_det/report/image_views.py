"""What is known of an image, and what a model says of it, as what is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from detectron2.data.catalog import Metadata
from detectron2.data.detection_utils import annotations_to_instances
from detectron2.structures import BitMasks, BoxMode, Instances
from PIL import Image

from hrnet_det.drawing.annotate import UNLABELLED
from hrnet_det.modeling.segment_ids import segment_ids

SCORE_SHOWN = 0.5
PROPOSALS_SHOWN = 10
IGNORED = 255  # the label of pixels without one, where the metadata names none

View = tuple[Instances | None, np.ndarray | None]  # objects; labels, (H, W) integers


def ground_truth(row: dict, size: tuple[int, int], metadata: Metadata) -> View:
    """What a row of a dataset says of an image of a size (height, width in pixels)."""
    if "pan_seg_file_name" in row:
        return _true_segments(row, metadata)
    objects = _true_objects(row["annotations"], size) if "annotations" in row else None
    if "sem_seg_file_name" not in row:
        return objects, None
    return objects, stuff_labels(np.asarray(Image.open(row["sem_seg_file_name"])), metadata)


def stuff_labels(labels: np.ndarray, metadata: Metadata) -> np.ndarray:
    """Semantic labels, (H, W), as they are drawn: nothing where objects are, or no label."""
    labels = labels.astype(np.int64)
    labels[labels == metadata.get("ignore_label", IGNORED)] = UNLABELLED
    names = list(metadata.get("stuff_classes", ()))
    if "things" in names:  # one class for all objects, which are drawn as such
        labels[labels == names.index("things")] = UNLABELLED
    return labels


def _true_segments(row: dict, metadata: Metadata) -> View:
    """Things, crowds left out, and stuff of a row with panoptic segments."""
    with Image.open(row["pan_seg_file_name"]) as image:
        ids = torch.from_numpy(segment_ids(np.asarray(image.convert("RGB"))))
    things = set(metadata.thing_dataset_id_to_contiguous_id.values())
    segments = [s | {"isthing": s["category_id"] in things} for s in row["segments_info"]]
    shown = [s for s in segments if not s.get("iscrowd", 0) and (ids == s["id"]).any()]
    objects, labels = _panoptic(ids, shown)
    fields = {name.replace("pred_", "gt_"): x for name, x in objects.get_fields().items()}
    fields["gt_masks"] = BitMasks(fields["gt_masks"])
    return Instances(objects.image_size, **fields), labels


def _true_objects(annotations: Sequence[dict], size: tuple[int, int]) -> Instances:
    """All but crowds; with masks, and with keypoints, where each object has them."""
    objects = [dict(o) for o in annotations if not o.get("iscrowd", 0)]
    for key in ("segmentation", "keypoints"):
        if not all(o.get(key) for o in objects):
            for o in objects:
                o.pop(key, None)
    for o in objects:  # the same form as a box that Detectron2's mapper has transformed
        o["bbox"] = BoxMode.convert(o["bbox"], o["bbox_mode"], BoxMode.XYXY_ABS)
        o["bbox_mode"] = BoxMode.XYXY_ABS
        if "keypoints" in o:
            o["keypoints"] = np.reshape(o["keypoints"], (-1, 3)).tolist()
    return annotations_to_instances(objects, size, mask_format="bitmask")


def prediction(output: dict) -> tuple[View, str]:
    """What a Detectron2 model's output says of an image, and in words which part of it that is."""
    if "panoptic_seg" in output:
        return _panoptic(*output["panoptic_seg"]), "panoptic segments"
    if "instances" in output:
        found = output["instances"].to("cpu")
        return (found[found.scores > SCORE_SHOWN], None), f"score over {SCORE_SHOWN}"
    if "proposals" in output:
        best = output["proposals"].to("cpu")[:PROPOSALS_SHOWN]
        boxes = Instances(best.image_size, pred_boxes=best.proposal_boxes)
        return (boxes, None), f"the best {PROPOSALS_SHOWN} proposals"
    return (None, output["sem_seg"].argmax(dim=0).cpu().numpy()), "semantic labels"


def _panoptic(ids: torch.Tensor, segments: Sequence[dict]) -> View:
    """Things as objects, stuff as labels."""
    ids = ids.cpu()
    numbers, classes, labels = [], [], np.full(tuple(ids.shape), UNLABELLED)
    for segment in segments:
        if segment["isthing"]:
            numbers.append(segment["id"])
            classes.append(segment["category_id"])
        else:
            labels[(ids == segment["id"]).numpy()] = segment["category_id"]
    masks = BitMasks(ids == torch.tensor(numbers, dtype=ids.dtype).view(-1, 1, 1))
    objects = Instances(tuple(ids.shape), pred_boxes=masks.get_bounding_boxes())
    objects.pred_masks = masks.tensor
    objects.pred_classes = torch.tensor(classes, dtype=torch.long)
    return objects, labels
