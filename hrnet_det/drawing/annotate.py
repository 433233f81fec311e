"""Images with what is known of them: objects, semantic labels, or both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from detectron2.structures import Instances

from hrnet_det.data.coco_values import on_one_line
from hrnet_det.drawing.canvas import LONGEST, MASK_ALPHA, SMALLEST_TEXT, Canvas, text_height
from hrnet_det.drawing.colours import Colour, colour, distinct_colours
from hrnet_det.drawing.fonts import can_write, shortened
from hrnet_det.drawing.labels import leave_objects_visible
from hrnet_det.drawing.masks import parts_of

SMALL_SIDE = 480  # pixels: smaller images are enlarged to about this
LABELS_ALPHA = 0.5  # of the colours of semantic labels
STUFF_ALPHA = 0.25  # of those under objects
DENSE_ALPHA = 0.3  # of those of masks without names or scores
UNLABELLED = -1  # of pixels without a colour
KEYPOINT_SCORE = 0.05  # as Detectron2's Visualizer
NAMES, SCORES, NOTHING = "names", "scores", "nothing"  # what is written on each object
DASHES = -1  # as the number of a colour: black and white, which the palette has not
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
FEW = 3  # objects have their names in any case, if there is room
LEGEND_ROWS = 8
TEXT_SHARE = 0.4  # of the side of a typical object: the height of text at most
NAME_SHARE = 0.3  # of the page's width: a longer name than its object is cut to it
SIDE = 300  # pixels of semantic labels in which the places of names are searched


def annotate(
    image: np.ndarray,
    *,
    objects: Instances | None = None,
    classes: Sequence[str] = (),
    labels: np.ndarray | None = None,
    label_names: Sequence[str] = (),
    scale: float | None = None,
    written: str | None = None,
    text: int | None = None,
    legend: bool = True,
    fill: float | None = None,
) -> np.ndarray:
    """An image with its objects' masks, boxes, names and keypoints, and its semantic labels.

    Objects with masks have a colour each, unlike those of their neighbours, and boxes alone that
    of their class. Where masks overlap, colours are blended. As long as it leaves the objects
    visible, the names and scores of objects are written on them, otherwise their scores alone, or,
    where colours do not tell the class, their names alone, or nothing; of many objects of one class
    no names. Names that are not on the objects are in a legend with their numbers.

    Args:
        image: (H, W, 3) uint8, RGB.
        objects: in its pixels, as Detectron2's models predict them (pred_...; the best first) or
            its mappers prepare them (gt_..., with bitmasks): boxes, and where there are any
            classes, masks, keypoints and scores; masks also as run lengths (`parts_of`). With
            `colours`, (N,) numbers, these are the ones of the palette, and -1 is for lines of black
            and white dashes.
        labels: (H, W), the class of each pixel, UNLABELLED for none.
        scale: drawn pixels for a pixel of the image; by default `enlargement(image)`.
        written: "names", "scores" or "nothing", on each object; by default what leaves them
            visible.
        text: height of what is written, pixels; by default what suits the objects.
        legend: whether names that are not on the objects are in a legend.
        fill: the share of its colour in what is under a mask; with 0 it is outlined alone. By
            default MASK_ALPHA, or where so many are there that nothing is written, DENSE_ALPHA.
    Output: (H * scale, W * scale, 3) uint8, RGB.
    """
    scale = enlargement(image) if scale is None else scale
    canvas = Canvas(image, scale, text=text or _text_height(image, objects, scale))
    names = [] if labels is None else _tint(canvas, labels, label_names, alone=objects is None)
    if objects is not None and len(objects):
        _draw_objects(canvas, _Fields(objects, classes, image), written, legend, fill)
    for name, place, own in names:
        canvas.label(name, place, own)
    return canvas.pixels()


def lettering(
    image: np.ndarray, *, objects: Instances, classes: Sequence[str], scale: float = 1
) -> tuple[str, int]:
    """What `annotate` writes on each of some objects by default, and how high, in pixels."""
    text = _text_height(image, objects, scale)
    return _best_fitting(Canvas(image, scale, text=text), _Fields(objects, classes, image)), text


def enlargement(image: np.ndarray) -> int:
    """How many times larger an image is drawn: small ones so that labels find room."""
    return max(1, round(SMALL_SIDE / max(image.shape[:2])))


class _Fields:
    """The objects' fields, whether predicted or true, and their colours."""

    def __init__(self, objects: Instances, classes: Sequence[str], image: np.ndarray) -> None:
        fields = {
            name.removeprefix("pred_").removeprefix("gt_"): value
            for name, value in objects.get_fields().items()
        }
        self.boxes = fields["boxes"].tensor.cpu().numpy().astype(float)
        self.masks = parts_of(fields["masks"]) if "masks" in fields else None
        self.numbers = fields["classes"].tolist() if "classes" in fields else None
        self.names = [name_of(classes, number) for number in self.numbers or ()]
        self.scores = [f"{score:.2f}" for score in fields.get("scores", ())]
        points = fields.get("keypoints")
        self.points = [] if points is None else getattr(points, "tensor", points).tolist()
        self.by_class = False
        if "colours" in fields:
            numbers = [int(number) for number in fields["colours"]]
            self.by_class = numbers == self.numbers
            self.colours = [WHITE if n == DASHES else colour(n) for n in numbers]
        elif self.masks is None and self.numbers is not None:
            self.by_class = True
            self.colours = [colour(number) for number in self.numbers]
        else:
            self.colours = distinct_colours(self.boxes, image)
        self.gaps = [BLACK if own == WHITE else None for own in self.colours]

    def texts(self, written: str, canvas: Canvas) -> list[str]:
        """What is written on each object."""
        if written == NOTHING or not self.names:
            return []
        if written == SCORES and (self.by_class or len(set(self.names)) == 1):
            return self.scores
        most = np.maximum(
            NAME_SHARE * canvas.size[0], canvas.scaled(self.boxes[:, 2] - self.boxes[:, 0])
        )
        names = [shortened(*given, canvas.text) for given in zip(self.names, most, strict=True)]
        if written == SCORES or not self.scores:
            return names
        return [f"{name} {score}" for name, score in zip(names, self.scores, strict=True)]


def _draw_objects(
    canvas: Canvas, objects: _Fields, written: str | None, legend: bool, fill: float | None
) -> None:
    """Masks, boxes, the largest first so that none is hidden; then keypoints and names."""
    canvas.avoid(objects.boxes)
    written = written or _best_fitting(canvas, objects)
    if fill is None:
        fill = DENSE_ALPHA if written == NOTHING else MASK_ALPHA
    if objects.masks is not None:
        order = np.argsort([-part.area for part in objects.masks], kind="stable").tolist()
        for i in order if fill else ():
            canvas.mask(objects.masks[i], objects.colours[i], fill, outline=False)
        for i in order:
            canvas.outline(objects.masks[i], objects.colours[i], objects.gaps[i])
    if objects.masks is None or written == NAMES:
        sides = objects.boxes[:, 2:] - objects.boxes[:, :2]
        for i in np.argsort(-sides.prod(axis=1), kind="stable").tolist():
            canvas.box(objects.boxes[i], objects.colours[i], objects.gaps[i])
    least = KEYPOINT_SCORE if objects.scores else 0
    for points in objects.points:
        canvas.points([(x, y) for x, y, seen in points if seen > least], WHITE)
    if legend and objects.names and written != NAMES:
        canvas.legend(_legend(objects))
    for i, text in enumerate(objects.texts(written, canvas)):
        canvas.label(text, objects.boxes[i], objects.colours[i])


def _best_fitting(canvas: Canvas, objects: _Fields) -> str:
    """The most that is written on each object and leaves them visible."""
    one_class = len(set(objects.names)) == 1 and len(objects.names) > FEW
    boxes = np.array(canvas.scaled(objects.boxes))
    for written in (SCORES,) if one_class else (NAMES, SCORES):
        sizes = [canvas.label_size(text) for text in objects.texts(written, canvas)]
        if leave_objects_visible(sizes, boxes[: len(sizes)], canvas.size):
            return written
    return NOTHING


def _legend(objects: _Fields) -> list[tuple[str, Colour | None]]:
    """Classes and how many objects each has, the most first."""
    counts = Counter(objects.names).most_common()
    own = dict(zip(objects.names, objects.colours, strict=True)) if objects.by_class else {}
    rows = [(f"{name}: {count}", own.get(name)) for name, count in counts[:LEGEND_ROWS]]
    if len(counts) > LEGEND_ROWS:
        rest = sum(count for _, count in counts[LEGEND_ROWS:])
        rows.append((f"{len(counts) - LEGEND_ROWS} more classes: {rest}", None))
    return rows


def _text_height(image: np.ndarray, objects: Instances | None, scale: float) -> int:
    """That of the page's size, and less where objects are small."""
    usual = text_height((image.shape[1] * scale, image.shape[0] * scale))
    if objects is None or not len(objects):
        return usual
    boxes = next(v for k, v in objects.get_fields().items() if k in ("pred_boxes", "gt_boxes"))
    typical = float(boxes.area().sqrt().median()) * scale
    return max(SMALLEST_TEXT, min(usual, round(TEXT_SHARE * typical)))


def _tint(
    canvas: Canvas, labels: np.ndarray, names: Sequence[str], *, alone: bool
) -> list[tuple[str, list[float], Colour]]:
    """Draw semantic labels; names, places and colours to write, the largest region first."""
    counts = np.bincount(labels.ravel() - UNLABELLED)
    numbers = [n + UNLABELLED for n in np.argsort(-counts, kind="stable") if counts[n]]
    numbers = [int(number) for number in numbers if number != UNLABELLED]
    # Class 0, which is often the ground, is grey. Under objects come colours that few of them have.
    alpha, first = (LABELS_ALPHA, -1) if alone else (STUFF_ALPHA, 10)
    table = np.zeros((len(counts), 3), np.uint8)
    for number in numbers:
        table[number - UNLABELLED] = colour(first + number)
    canvas.tint(table[labels - UNLABELLED], labels != UNLABELLED, alpha)
    step = max(1, max(labels.shape) // SIDE)
    few = labels[step // 2 :: step, step // 2 :: step]
    places = [(_middle(few == n), step) for n in numbers]
    return [
        (name_of(names, n), [(at + 0.5) * by - 0.5 for at in place], colour(first + n))
        for n, (place, by) in zip(numbers, places, strict=True)
        if place
    ]


def name_of(names: Sequence[str], number: int) -> str:
    """The name of a class; its number where there is none, or no font for it."""
    name = on_one_line(str(names[number])[:LONGEST]) if number < len(names) else str(number)
    return name if can_write(name) else str(number)


def _middle(mask: np.ndarray) -> list[float]:
    """A point inside a mask near the middle of its pixels, as a box without extent; or nothing."""
    points = np.argwhere(mask)[:, ::-1]  # x, y
    if not len(points):
        return []
    nearest = np.argmin(((points - np.median(points, axis=0)) ** 2).sum(axis=1))
    return points[nearest].astype(float).tolist() * 2
