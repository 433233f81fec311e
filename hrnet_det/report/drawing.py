"""Images of a run: training curves, and predictions beside ground truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.detection_utils import annotations_to_instances, read_image
from detectron2.evaluation.evaluator import inference_context
from detectron2.structures import BitMasks, BoxMode, Instances
from PIL import Image, ImageDraw
from torch import nn
from torchvision.utils import draw_bounding_boxes, draw_keypoints, draw_segmentation_masks

SHEET_IMAGES = 8
SHEET_SIDE = 400  # pixels, about the longer side of an image on it
SCORE_SHOWN = 0.5
PROPOSALS_SHOWN = 10
STUFF_ALPHA = 0.3  # of the colours under the things of a panoptic image
PALETTE = ("#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6")


def draw_curves(output: Path) -> bool:
    """Losses and learning rate from output/metrics.json to output/curves.png; False if too few."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    rows = [row for row in rows if "total_loss" in row]
    if len(rows) < 2:
        return False
    names = sorted(key for key in rows[-1] if key.startswith("loss_"))
    figure, (losses, rate) = pyplot.subplots(
        2, 1, sharex=True, figsize=(8, 6), height_ratios=(3, 1), layout="constrained"
    )
    for name in ["total_loss", *names]:
        points = [(row["iteration"], row[name]) for row in rows if name in row]
        losses.plot(*zip(*points, strict=True), label=name, lw=2 if name == "total_loss" else 1)
    losses.set(ylabel="loss", yscale="log")
    losses.legend(fontsize="small", ncols=2)
    points = [(row["iteration"], row["lr"]) for row in rows if "lr" in row]
    rate.plot(*zip(*points, strict=True), color="black")
    rate.set(ylabel="learning rate", xlabel="iteration")
    for axes in (losses, rate):
        axes.grid(alpha=0.3)
    figure.savefig(output / "curves.png", dpi=120)
    pyplot.close(figure)
    return True


def draw_predictions(
    dataset: str, model: nn.Module, mapper: Callable[[dict], dict], path: Path
) -> None:
    """A sheet of images spread over a dataset: ground truth left, prediction right.

    Args:
        mapper: makes of a row of the dataset what the model takes.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = DatasetCatalog.get(dataset)
    count = min(SHEET_IMAGES, len(rows))
    columns = min(2, count)
    height = -(-count // columns)
    figure, axes = pyplot.subplots(
        height,
        2 * columns,
        figsize=(7 * columns, 3.4 * height),
        layout="constrained",
        squeeze=False,
    )
    for cell in axes.flat:
        cell.axis("off")
    chosen = [rows[i * len(rows) // count] for i in range(count)]
    for row, (left, right) in zip(chosen, axes.reshape(-1, 2), strict=False):
        image = read_image(row["file_name"], format="RGB")
        left.imshow(_true_view(image, row, dataset))
        left.set_title("ground truth", fontsize="small")
        view, title = _predicted_view(image, _predicted(model, mapper(row)), dataset)
        right.imshow(view)
        right.set_title(title, fontsize="small")
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def _truth(row: dict) -> Instances:
    objects = [dict(o) for o in row["annotations"] if not o.get("iscrowd", 0)]
    for key in ("segmentation", "keypoints"):  # drawn where all objects have it
        if not all(o.get(key) for o in objects):
            for o in objects:
                o.pop(key, None)
    for o in objects:  # the same form as a box that Detectron2's mapper has transformed
        o["bbox"] = BoxMode.convert(o["bbox"], o["bbox_mode"], BoxMode.XYXY_ABS)
        o["bbox_mode"] = BoxMode.XYXY_ABS
        if "keypoints" in o:
            o["keypoints"] = np.array(o["keypoints"], dtype=float).reshape(-1, 3)
    return annotations_to_instances(objects, (row["height"], row["width"]), mask_format="bitmask")


def _predicted(model: nn.Module, image: dict) -> dict:
    with inference_context(model), torch.no_grad():
        return model([image])[0]


def _true_view(image: np.ndarray, row: dict, dataset: str) -> np.ndarray:
    """The image with its objects, the classes of its pixels, or both."""
    metadata = MetadataCatalog.get(dataset)
    labels = None
    if "sem_seg_file_name" in row:
        labels = np.asarray(Image.open(row["sem_seg_file_name"]))
        labels = np.where(labels == metadata.get("ignore_label"), 0, labels)
    if "annotations" not in row:
        return coloured(image, labels)
    if labels is not None:
        image = _tinted(image, labels, STUFF_ALPHA)
    return annotated(image, _truth(row), metadata.thing_classes)


def _predicted_view(image: np.ndarray, output: dict, dataset: str) -> tuple[np.ndarray, str]:
    """The image with what a model of any kind says of it, and what is shown."""
    metadata = MetadataCatalog.get(dataset)
    if "panoptic_seg" in output:
        image = _tinted(image, _stuff(*output["panoptic_seg"]), STUFF_ALPHA)
        things = _things(*output["panoptic_seg"])
        return annotated(image, things, metadata.thing_classes), "prediction, panoptic"
    if "instances" in output:
        found = output["instances"].to("cpu")
        shown = found[found.scores > SCORE_SHOWN]
        title = f"prediction, score over {SCORE_SHOWN}"
        return annotated(image, shown, metadata.thing_classes), title
    if "proposals" in output:
        best = output["proposals"].to("cpu")[:PROPOSALS_SHOWN]
        numbers = torch.zeros(len(best), dtype=torch.long)
        shown = Instances(best.image_size, pred_boxes=best.proposal_boxes, pred_classes=numbers)
        return annotated(image, shown, [""]), f"the best {PROPOSALS_SHOWN} proposals"
    labels = output["sem_seg"].argmax(dim=0).cpu().numpy()
    return coloured(image, labels), "prediction, class of each pixel"


def _things(ids: torch.Tensor, segments: list[dict]) -> Instances:
    """The things of a panoptic prediction."""
    things = [s for s in segments if s["isthing"]]
    numbers = torch.tensor([s["id"] for s in things], dtype=ids.dtype)
    masks = BitMasks(ids.cpu() == numbers.view(-1, 1, 1))
    return Instances(
        tuple(ids.shape),
        pred_boxes=masks.get_bounding_boxes(),
        pred_masks=masks.tensor,
        pred_classes=torch.tensor([s["category_id"] for s in things], dtype=torch.long),
    )


def _stuff(ids: torch.Tensor, segments: list[dict]) -> np.ndarray:
    """The class of each pixel of a panoptic prediction's stuff, 0 elsewhere."""
    labels = np.zeros(tuple(ids.shape), np.int64)
    for segment in segments:
        if not segment["isthing"]:
            labels[(ids == segment["id"]).cpu().numpy()] = segment["category_id"]
    return labels


def coloured(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """An image, enlarged if it is small, with the class of each pixel as a colour over it.

    Args:
        image: (H, W, 3) uint8, RGB.
        labels: (H, W); class 0 has no colour.
    Output: (H', W', 3) uint8, RGB.
    """
    scale = max(1, round(SHEET_SIDE / max(image.shape[:2])))
    return _tinted(image, labels, alpha=0.6).repeat(scale, axis=0).repeat(scale, axis=1)


def _tinted(image: np.ndarray, labels: np.ndarray, alpha: float) -> np.ndarray:
    """The image with the colours of its labels, alpha of each; label 0 has none."""
    numbers = [n for n in np.unique(labels).tolist() if n]
    if not numbers:
        return image
    masks = torch.from_numpy(np.stack([labels == n for n in numbers]))
    colors = [PALETTE[(n - 1) % len(PALETTE)] for n in numbers]
    canvas = torch.from_numpy(image.copy()).permute(2, 0, 1)
    return draw_segmentation_masks(canvas, masks, alpha, colors).permute(1, 2, 0).numpy()


def annotated(image: np.ndarray, instances: Instances, classes: Sequence[str]) -> np.ndarray:
    """An image, enlarged if it is small, with its objects' masks, boxes, names and keypoints.

    Args:
        image: (H, W, 3) uint8, RGB.
        instances: boxes, classes, and where there are masks, keypoints and scores, as Detectron2's
            models predict them (pred_...) or its mappers prepare them (gt_...), in its pixels.
        classes: names.
    Output: (H', W', 3) uint8, RGB.
    """
    fields = {
        name.removeprefix("pred_").removeprefix("gt_"): value
        for name, value in instances.get_fields().items()
    }
    scale = max(1, round(SHEET_SIDE / max(image.shape[:2])))
    canvas = torch.from_numpy(image.copy()).permute(2, 0, 1)
    canvas = canvas.repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2)
    if not len(instances):
        return canvas.permute(1, 2, 0).numpy()
    numbers = fields["classes"].tolist()
    colors = [PALETTE[number % len(PALETTE)] for number in numbers]
    if "masks" in fields:
        masks = getattr(fields["masks"], "tensor", fields["masks"]).bool()
        masks = masks.repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2)
        canvas = draw_segmentation_masks(canvas, masks, alpha=0.45, colors=colors)
    labels = [classes[number] for number in numbers]
    if "scores" in fields:
        labels = [
            f"{label} {score:.2f}"
            for label, score in zip(labels, fields["scores"].tolist(), strict=True)
        ]
    boxes = fields["boxes"].tensor * scale
    canvas = draw_bounding_boxes(canvas, boxes, colors=colors, width=2)
    if "keypoints" in fields:
        points = getattr(fields["keypoints"], "tensor", fields["keypoints"]).float()
        seen = points[..., 2] > (0.05 if "scores" in fields else 0)
        canvas = draw_keypoints(
            canvas, points[..., :2] * scale, visibility=seen, colors="white", radius=3
        )
    page = Image.fromarray(canvas.permute(1, 2, 0).numpy())
    for (x, y, _, _), label in zip(boxes.tolist(), labels, strict=True):
        at = (x + 3, max(y - 13, 0))
        ImageDraw.Draw(page).text(at, label, fill="white", stroke_width=2, stroke_fill="black")
    return np.asarray(page)
