"""A sheet of images of a dataset: ground truth beside prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.catalog import Metadata
from detectron2.data.detection_utils import annotations_to_instances
from detectron2.evaluation.evaluator import inference_context
from detectron2.structures import BitMasks, BoxMode, Instances, pairwise_iou
from PIL import Image, ImageDraw
from torch import nn

from hrnet_det.data.coco_values import on_one_line
from hrnet_det.data.mapper import reader_of
from hrnet_det.drawing.annotate import SMALL_SIDE, UNLABELLED, annotate, enlargement
from hrnet_det.drawing.fonts import font
from hrnet_det.modeling.segment_ids import segment_ids

IMAGES = 8
PAIRS_IN_A_ROW = 2
GAP = 8  # pixels between images
CAPTION = 20  # pixels: the height of the line above an image
SCORE_SHOWN = 0.5
PROPOSALS_SHOWN = 10
SAME_IOU = 0.5
IGNORED = 255  # the label of pixels without one, where the metadata names none

View = tuple[Instances | None, np.ndarray | None]  # objects; labels, (H, W) integers


def draw_predictions(
    dataset: str, model: nn.Module, mapper: Callable[[dict], dict], path: Path
) -> None:
    """Ground truth beside prediction of images spread over a dataset, all of about SMALL_SIDE."""
    rows, metadata = DatasetCatalog.get(dataset), MetadataCatalog.get(dataset)
    count = min(IMAGES, len(rows))
    pairs = []
    for i in range(count):
        row = rows[i * len(rows) // count]
        image = reader_of(mapper)(row["file_name"], "RGB")
        truth = ground_truth(row, image.shape[:2], metadata)
        with inference_context(model), torch.no_grad():
            found, shown = prediction(model([mapper(row)])[0])
        name = Path(row["file_name"]).name
        tiles = [
            tile(image, truth, metadata, f"ground truth, {name}"),
            tile(image, with_colours_of(truth, found), metadata, f"prediction, {shown}"),
        ]
        pairs.append(in_rows(tiles, columns=2))
    in_rows(pairs, columns=min(PAIRS_IN_A_ROW, count)).save(path)


def tile(image: np.ndarray, view: View, metadata: Metadata, caption: str) -> Image.Image:
    """An image with what is known of it, under a caption."""
    side = max(image.shape[:2])
    drawn = annotate(
        image,
        objects=view[0],
        classes=metadata.get("thing_classes", ()),
        labels=view[1],
        label_names=metadata.get("stuff_classes", ()),
        scale=enlargement(image) if side <= SMALL_SIDE else SMALL_SIDE / side,
    )
    height, width = drawn.shape[:2]
    tile = Image.new("RGB", (width, CAPTION + height), "white")
    ImageDraw.Draw(tile).text(
        (2, CAPTION / 2), on_one_line(caption), fill="black", font=font(13), anchor="lm"
    )
    tile.paste(Image.fromarray(drawn), (0, CAPTION))
    return tile


def in_rows(tiles: Sequence[Image.Image], columns: int) -> Image.Image:
    """Images on a white sheet, so many in a row: columns and rows as large as their largest."""
    widths = [max(tile.width for tile in tiles[j::columns]) + GAP for j in range(columns)]
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    heights = [max(tile.height for tile in row) + GAP for row in rows]
    sheet = Image.new("RGB", (sum(widths), sum(heights)), "white")
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            sheet.paste(tile, (sum(widths[:j]), sum(heights[:i])))
    return sheet


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


def with_colours_of(truth: View, found: View) -> View:
    """The found objects, each in the colour of the true one of the best IoU from SAME_IOU on."""
    (true, _), (objects, labels) = truth, found
    if true is None or objects is None or not len(true) or not len(objects):
        return found
    iou, numbers = pairwise_iou(objects.pred_boxes, true.gt_boxes).max(dim=1)
    others = len(true) + torch.arange(len(objects))
    coloured = objects[:]  # the argument stays as it is
    coloured.colours = torch.where(iou >= SAME_IOU, numbers, others)
    return coloured, labels
