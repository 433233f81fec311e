"""An image twice: its true objects, and its detections, by what has become of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrnet_det.diagnosis.diagnosis import Diagnosis
from hrnet_det.diagnosis.outcomes import Outcome
from hrnet_det.drawing.annotate import name_of
from hrnet_det.drawing.canvas import SMALLEST_TEXT, Canvas
from hrnet_det.drawing.colours import Colour
from hrnet_det.drawing.labels import leave_objects_visible
from hrnet_det.drawing.masks import Part, run_length_part
from hrnet_det.report.sheet import AREA, scale_of

LONGEST = 900  # pixels of its longer side at most
SMALLEST = 12  # pixels that a typical object has where only a part of the image is shown
SMALL = 24  # pixels: with objects whose sides are smaller, lines are thin
FILL = 0.2  # of the colour of a mask
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@dataclass(frozen=True)
class Mark:
    """How an object is drawn, and what it means: colours that colour-blind people can tell apart.

    Source: the palette of Okabe and Ito, https://jfly.uni-koeln.de/color/.

    Attributes:
        gaps: the colour between the dashes of its lines; None for whole lines.
    """

    meaning: str
    colour: Colour
    gaps: Colour | None = None

    @property
    def css(self) -> str:
        """The colour for a stylesheet."""
        return f"rgb{self.colour}"


RIGHT = Mark("found, and right", (0, 158, 115))
MISSED = Mark("missed: no detection of its class fits it (IoU 0.5)", (240, 228, 66), BLACK)
CONFUSED = Mark("taken for another class", (86, 180, 233), BLACK)
WRONG = Mark(
    "wrong: nothing annotated there, found twice, or at the wrong place", (213, 94, 0), WHITE
)
IGNORED = Mark("not counted: a crowd, or in one", (160, 160, 160))
MARKS = (RIGHT, MISSED, CONFUSED, WRONG, IGNORED)


@dataclass(frozen=True)
class _Drawn:
    """An object as it is drawn, in pixels of the image."""

    box: np.ndarray
    part: Part | None
    mark: Mark
    texts: tuple[str, ...]  # what is written on it, the fullest first


def draw_pair(
    diagnosis: Diagnosis, number: int, image: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool]:
    """The true objects and the detections of an image, and whether only a part of it is shown.

    Of an image that would be drawn so small that its objects could not be seen, it is the part
    with the most errors.

    Args:
        number: the image's place in `diagnosis.evaluated.images`.
        image: (H, W, 3) uint8, RGB.
    """
    sides = _true_objects(diagnosis, number), _detections(diagnosis, number)
    both = [*sides[0], *sides[1]]
    left, top, right, bottom = _area(image.shape[:2], both)
    cut = image[top:bottom, left:right]
    scale = _scale(cut.shape[:2])
    inside = [[_moved(drawn, left, top, right, bottom) for drawn in side] for side in sides]
    line = 1 if any(_side(drawn) * scale < SMALL for drawn in both) else 2
    truth, found = (_draw(cut, scale, line, [d for d in side if d is not None]) for side in inside)
    return truth, found, cut.shape != image.shape


def _true_objects(diagnosis: Diagnosis, number: int) -> list[_Drawn]:
    truth, results = diagnosis.evaluated.truth, diagnosis.outcomes
    drawn = []
    for i in range(*truth.of_image(number).indices(len(truth))):
        mark = RIGHT
        if truth.crowd[i]:
            mark = IGNORED
        elif results.missed[i]:
            mark = MISSED
        elif results.confused[i]:
            mark = CONFUSED
        texts = _texts(diagnosis, int(truth.classes[i]))
        drawn.append(_Drawn(truth.boxes[i], _part(truth.masks, i), mark, texts))
    return drawn


def _detections(diagnosis: Diagnosis, number: int) -> list[_Drawn]:
    found, results, drawn = diagnosis.evaluated.found, diagnosis.outcomes, []
    marks = {Outcome.RIGHT: RIGHT, Outcome.WRONG_CLASS: CONFUSED, Outcome.IGNORED: IGNORED}
    for i in range(*found.of_image(number).indices(len(found))):
        outcome = Outcome(int(results.found[i]))
        if outcome == Outcome.UNUSED:
            continue
        texts = _texts(diagnosis, int(found.classes[i]), f"{found.scores[i]:.2f}")
        mark = marks.get(outcome, WRONG)
        drawn.append(_Drawn(found.boxes[i], _part(found.masks, i), mark, texts))
    return drawn


def _texts(diagnosis: Diagnosis, label: int, score: str = "") -> tuple[str, ...]:
    """Class and score, and the score alone; where there is one class, its name says nothing."""
    classes = diagnosis.evaluated.classes
    named = [f"{name_of(classes, label)} {score}".rstrip()] if len(classes) > 1 else []
    return (*named, score)


def _part(masks: object, number: int) -> Part | None:
    return None if masks is None else run_length_part(masks[number])


def _draw(image: np.ndarray, scale: float, line: int, objects: list[_Drawn]) -> np.ndarray:
    """Objects on an image; those that are right below the others, and written on last."""
    canvas = Canvas(image, scale, line=line, text=SMALLEST_TEXT)
    canvas.avoid([drawn.box for drawn in objects])
    order = sorted(objects, key=lambda drawn: (drawn.mark is not IGNORED, drawn.mark is not RIGHT))
    for drawn in order:
        if drawn.part is not None and drawn.mark is not IGNORED:
            canvas.mask(drawn.part, drawn.mark.colour, FILL, outline=False)
    for drawn in order:
        if drawn.part is None or not drawn.part.inside.size:
            canvas.box(drawn.box, drawn.mark.colour, drawn.mark.gaps)
        else:
            canvas.outline(drawn.part, drawn.mark.colour, drawn.mark.gaps)
    _write(canvas, [drawn for drawn in order if drawn.mark is not IGNORED][::-1])
    return canvas.pixels()


def _write(canvas: Canvas, objects: list[_Drawn]) -> None:
    """Write on objects, errors first, as much as leaves them visible."""
    errors = [drawn for drawn in objects if drawn.mark.gaps is not None]
    longest = max((len(drawn.texts) for drawn in objects), default=0)
    for written in (objects, errors):
        boxes = np.array(canvas.scaled([drawn.box for drawn in written])).reshape(-1, 4)
        for texts in ([drawn.texts[level] for drawn in written] for level in range(longest)):
            sizes = [canvas.label_size(text) for text in texts]
            if leave_objects_visible(sizes, boxes, canvas.size):
                for text, drawn in zip(texts, written, strict=True):
                    if text:
                        canvas.label(text, drawn.box, drawn.mark.colour)
                return


def _scale(size: tuple[int, int]) -> float:
    """Drawn pixels for a pixel of an image of a size (height, width)."""
    return scale_of(size, widest=LONGEST, highest=LONGEST)


def _area(size: tuple[int, int], objects: list[_Drawn]) -> tuple[int, int, int, int]:
    """What is shown of an image of a size (height, width): left, top, right, bottom."""
    height, width = size
    sides = [_side(drawn) for drawn in objects]
    errors = [drawn.box for drawn in objects if drawn.mark.gaps is not None]
    scale = SMALLEST / float(np.median(sides)) if sides else 0
    reach = round(AREA**0.5 / 2 / scale) if scale > _scale(size) else 0
    if not reach or not errors:
        return 0, 0, width, height
    middles = np.array([(box[:2] + box[2:]) / 2 for box in errors])
    near = (np.abs(middles[:, None] - middles) <= reach).all(axis=2).sum(axis=1)
    x, y = middles[near.argmax()].round().astype(int).tolist()
    left = max(0, min(x - reach, width - 2 * reach))
    top = max(0, min(y - reach, height - 2 * reach))
    return left, top, min(width, left + 2 * reach), min(height, top + 2 * reach)


def _side(drawn: _Drawn) -> float:
    """That of a square as large as an object's box, at least 1 pixel."""
    return max(1.0, float(np.prod(drawn.box[2:] - drawn.box[:2])) ** 0.5)


def _moved(drawn: _Drawn, left: int, top: int, right: int, bottom: int) -> _Drawn | None:
    """An object in pixels of a part of its image; None if it is not there."""
    x0, y0, x1, y1 = drawn.box
    if x0 >= right or y0 >= bottom or x1 <= left or y1 <= top:
        return None
    box = drawn.box - np.array((left, top, left, top))
    part = drawn.part
    if part is not None:
        rows = slice(max(0, top - part.top), max(0, bottom - part.top))
        columns = slice(max(0, left - part.left), max(0, right - part.left))
        inside = part.inside[rows, columns]
        part = Part(max(0, part.left - left), max(0, part.top - top), inside)
    return _Drawn(box, part, drawn.mark, drawn.texts)
