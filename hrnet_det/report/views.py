"""Ground truth and predictions of every kind as what `annotate` draws: objects and labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from detectron2.data.catalog import Metadata
from detectron2.data.detection_utils import annotations_to_instances
from detectron2.structures import BitMasks, BoxMode, Instances, pairwise_iou
from PIL import Image

from hrnet_det.report.annotate import UNLABELLED

SCORE_SHOWN = 0.5
PROPOSALS_SHOWN = 10
SAME_IOU = 0.5

View = tuple[Instances | None, np.ndarray | None]  # objects; labels, (H, W) integers


def ground_truth(row: dict, size: tuple[int, int], metadata: Metadata) -> View:
    """What a dataset says of an image.

    Args:
        row: of the dataset.
        size: height and width of the image, pixels.
    """
    objects = _true_objects(row["annotations"], size) if "annotations" in row else None
    if "sem_seg_file_name" not in row:
        return objects, None
    labels = np.asarray(Image.open(row["sem_seg_file_name"])).astype(np.int64)
    labels[labels == metadata.get("ignore_label")] = UNLABELLED
    names = list(metadata.get("stuff_classes", ()))
    if "things" in names:  # one class for all objects, which are drawn as such
        labels[labels == names.index("things")] = UNLABELLED
    return objects, labels


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
    """What a model of any kind says of an image, and in words which part of it that is.

    Args:
        output: of a Detectron2 model for one image.
    """
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
    things = [s for s in segments if s["isthing"]]
    numbers = torch.tensor([s["id"] for s in things], dtype=ids.dtype)
    masks = BitMasks(ids == numbers.view(-1, 1, 1))
    objects = Instances(
        tuple(ids.shape),
        pred_boxes=masks.get_bounding_boxes(),
        pred_masks=masks.tensor,
        pred_classes=torch.tensor([s["category_id"] for s in things], dtype=torch.long),
    )
    labels = np.full(tuple(ids.shape), UNLABELLED)
    for segment in segments:
        if not segment["isthing"]:
            labels[(ids == segment["id"]).numpy()] = segment["category_id"]
    return objects, labels


def with_colours_of(truth: View, found: View) -> View:
    """The found objects, each with the colour of the true one that its box covers best.

    Below an IoU of SAME_IOU an object has a colour of its own.
    """
    (true, _), (objects, labels) = truth, found
    if true is None or objects is None or not len(true) or not len(objects):
        return found
    iou, numbers = pairwise_iou(objects.pred_boxes, true.gt_boxes).max(dim=1)
    others = len(true) + torch.arange(len(objects))
    coloured = objects[:]  # the argument stays as it is
    coloured.colours = torch.where(iou >= SAME_IOU, numbers, others)
    return coloured, labels
