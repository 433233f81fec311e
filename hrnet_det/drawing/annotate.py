"""Images with what is known of them: objects, semantic labels, or both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from detectron2.structures import Instances

from hrnet_det.drawing.canvas import PALETTE, Canvas

SMALL_SIDE = 480  # pixels: smaller images are enlarged to about this
LABELS_ALPHA = 0.5  # of the colours of semantic labels
STUFF_ALPHA = 0.25  # of those under objects
UNLABELLED = -1  # of pixels without a colour
KEYPOINT_SCORE = 0.05  # as Detectron2's Visualizer


def annotate(
    image: np.ndarray,
    *,
    objects: Instances | None = None,
    classes: Sequence[str] = (),
    labels: np.ndarray | None = None,
    label_names: Sequence[str] = (),
    scale: float | None = None,
) -> np.ndarray:
    """An image with its objects' masks, boxes, names and keypoints, and its semantic labels.

    Objects with masks have a colour each, those with boxes alone that of their class. Where masks
    overlap, colours are blended. Names that would cover earlier ones are left out.

    Args:
        image: (H, W, 3) uint8, RGB.
        objects: in its pixels, as Detectron2's models predict them (pred_...; the best first) or
            its mappers prepare them (gt_..., with bitmasks): boxes, and where there are any
            classes, masks, keypoints and scores; with masks also `colours`, (N,) numbers.
        labels: (H, W), the class of each pixel, UNLABELLED for none.
        scale: drawn pixels for a pixel of the image; by default `enlargement(image)`.
    Output: (H * scale, W * scale, 3) uint8, RGB.
    """
    canvas = Canvas(image, enlargement(image) if scale is None else scale)
    numbers = [] if labels is None else [n for n in np.unique(labels).tolist() if n != UNLABELLED]
    # Class 0, which is often the ground, is grey. Under objects come colours that few of them have.
    alpha, first = (LABELS_ALPHA, -1) if objects is None else (STUFF_ALPHA, len(PALETTE) // 2)
    colours = [PALETTE[(first + number) % len(PALETTE)] for number in numbers]
    for number, colour in zip(numbers, colours, strict=True):
        canvas.mask(labels == number, colour, alpha, outline=False)
    if objects is not None and len(objects):
        _draw_objects(canvas, objects, classes)
    for number, colour in zip(numbers, colours, strict=True):
        canvas.label(_name(label_names, number), _middle(labels == number), colour)
    return canvas.pixels()


def enlargement(image: np.ndarray) -> int:
    """How many times larger an image is drawn: small ones so that labels find room."""
    return max(1, round(SMALL_SIDE / max(image.shape[:2])))


def _draw_objects(canvas: Canvas, objects: Instances, classes: Sequence[str]) -> None:
    """Masks, the largest first so that none is hidden; then boxes, keypoints and names."""
    fields = {}
    for name, value in objects.get_fields().items():
        fields[name.removeprefix("pred_").removeprefix("gt_")] = getattr(value, "tensor", value)
    chosen = fields.get("colours", range(len(objects)))
    if "masks" not in fields:
        chosen = fields.get("classes", chosen)
    colours = [PALETTE[int(number) % len(PALETTE)] for number in chosen]
    if "masks" in fields:
        masks = fields["masks"].cpu().numpy().astype(bool)
        for i in np.argsort(-masks.sum(axis=(1, 2)), kind="stable"):
            canvas.mask(masks[i], colours[i])
    boxes = fields["boxes"].tolist()
    for box, colour in zip(boxes, colours, strict=True):
        canvas.box(box, colour)
    if "keypoints" in fields:
        least = KEYPOINT_SCORE if "scores" in fields else 0
        for points in fields["keypoints"].tolist():
            canvas.points([(x, y) for x, y, seen in points if seen > least], (255, 255, 255))
    if "classes" in fields:
        names = [_name(classes, number) for number in fields["classes"].tolist()]
        if "scores" in fields:
            names = [f"{name} {x:.2f}" for name, x in zip(names, fields["scores"], strict=True)]
        for name, box, colour in zip(names, boxes, colours, strict=True):
            canvas.label(name, box, colour)


def _name(names: Sequence[str], number: int) -> str:
    return names[number] if number < len(names) else str(number)


def _middle(mask: np.ndarray) -> list[float]:
    """A point inside a mask near the middle of its pixels, as a box without extent."""
    points = np.argwhere(mask)[:, ::-1]  # x, y
    nearest = np.argmin(((points - np.median(points, axis=0)) ** 2).sum(axis=1))
    return points[nearest].astype(float).tolist() * 2
