"""The images of a run's page: the worst and the best ones, ground truth beside prediction."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from hrnet_det.data.images import DAMAGE
from hrnet_det.diagnosis.diagnosis import Diagnosis
from hrnet_det.diagnosis.outcomes import WRONG, Outcome
from hrnet_det.errors import InputError
from hrnet_det.report.page.image_pair import draw_pair

COUNT = 8  # of the worst images, and of the best
# Of JPEG, and then smaller sizes, until an image takes its share of the budget.
QUALITIES = (85, 70, 50, 30)
FAILURES = 20  # images that cannot be read, after which no more are tried
VARIED = 5  # times as many of the worst images: those among which kinds of errors vary
PAIRS = 3  # of confused classes that a caption names
KINDS = {
    Outcome.DUPLICATE: "found twice",
    Outcome.MISPLACED: "at the wrong place",
    Outcome.BACKGROUND: "where nothing is annotated",
}


@dataclass(frozen=True)
class Shown:
    """An image of the page.

    Attributes:
        name: of its file.
        caption: what is right and wrong, such as "3 right, 2 missed, 1 dog taken for cat".
        classes: names of those that have an object or a detection in it.
        truth, found: the drawn images, as addresses that hold them.
        size: width and height of each as they are shown, pixels.
    """

    name: str
    caption: str
    classes: tuple[str, ...]
    truth: str
    found: str
    size: tuple[int, int]


@dataclass
class ShownImages:
    """The worst and the best images, and in `remarks` what is left out, and why."""

    worst: list[Shown] = field(default_factory=list)
    best: list[Shown] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def worst_and_best(
    diagnosis: Diagnosis,
    read: Callable[[str, str], np.ndarray],
    *,
    budget: int,
    count: int = COUNT,
) -> ShownImages:
    """Draw the images with the worst and the best results, always the same ones.

    The worst show all kinds of errors in turn, and the best as many classes as they can.

    Args:
        read: an image file and "RGB" to (H, W, 3) uint8: what read the images of the evaluation
            (`reader_of(build_test_mapper(run))`).
        budget: bytes of all images together, in the form that a page has them.
        count: of the worst images, and of the best.
    """
    made, failed = ShownImages(), []
    worst = _worst(diagnosis, VARIED * count)
    best = _best(diagnosis, count // 2)
    share = budget // max(1, min(count, len(worst)) + min(count, len(best))) // 2
    taken: set[int] = set()
    for numbers, shown in ((worst, made.worst), (best, made.best)):
        for number in numbers:
            if len(shown) == count or len(failed) == FAILURES:
                break
            if number in taken:
                continue
            taken.add(number)
            try:
                shown.append(_shown(diagnosis, number, read, share))
            except InputError as error:
                failed.append(str(error))
    if failed:
        rest = f"; {len(failed) - 1} more cannot be used either" if len(failed) > 1 else ""
        made.remarks.append(f"Images are left out: {failed[0]}{rest}.")
    return made


def _worst(diagnosis: Diagnosis, varied: int) -> list[int]:
    """Images with errors, the worst first; of the first `varied`, kinds of errors in turn."""
    kinds: dict[int, list[int]] = {}
    for number in diagnosis.images.worst[:varied].tolist():
        if errors := _errors(diagnosis, number):
            kinds.setdefault(errors.most_common(1)[0][0], []).append(number)
    rest = diagnosis.images.worst[varied:].tolist()
    return [*_in_turn(list(kinds.values())), *(n for n in rest if _errors(diagnosis, n))]


def _in_turn(rows: list[list[int]]) -> Iterator[int]:
    """The first of each, then the second of each, ..."""
    for place in range(max(map(len, rows), default=0)):
        yield from (row[place] for row in rows if place < len(row))


def _best(diagnosis: Diagnosis, varied: int) -> list[int]:
    """Images in which something is right: `varied` ones with other classes each, then the best."""
    truth, seen, first, later = diagnosis.evaluated.truth, set(), [], []
    for number in diagnosis.images.best.tolist():
        if not diagnosis.images.right[number]:
            continue
        classes = set(truth.classes[truth.of_image(number)].tolist())
        new = len(first) < varied and not classes <= seen
        (first if new else later).append(number)
        seen |= classes
    return [*first, *later]


def _errors(diagnosis: Diagnosis, number: int) -> Counter[int]:
    """How many of each kind of wrong detection an image has; missed objects are UNUSED."""
    found = diagnosis.evaluated.found.of_image(number)
    kinds = Counter(diagnosis.outcomes.found[found].tolist())
    errors = Counter({kind: kinds[kind] for kind in WRONG})
    errors[Outcome.UNUSED] = int(diagnosis.images.missed[number])
    return +errors


def _shown(
    diagnosis: Diagnosis, number: int, read: Callable[[str, str], np.ndarray], share: int
) -> Shown:
    """An image and what is told of it; each of its two drawings takes `share` bytes at most.

    Raises: InputError if it cannot be read, or is not the one that was evaluated.
    """
    evaluated = diagnosis.evaluated
    image = evaluated.images[number]
    try:
        pixels = read(image.path, "RGB")
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(f"{image.path}: {error}") from error
    if pixels.shape[:2] != (image.height, image.width):
        raise InputError(
            f"{image.path} has {pixels.shape[1]}x{pixels.shape[0]} pixels, and the json says "
            f"{image.width}x{image.height}"
        )
    truth, found, is_part = draw_pair(diagnosis, number, np.ascontiguousarray(pixels))
    caption = caption_of(diagnosis, number)
    return Shown(
        name=Path(image.path).name,
        caption=f"{caption}; the part with the most errors" if is_part else caption,
        classes=tuple(_classes(diagnosis, number)),
        truth=_address(truth, share),
        found=_address(found, share),
        size=(truth.shape[1], truth.shape[0]),
    )


def caption_of(diagnosis: Diagnosis, number: int) -> str:
    """What is right and wrong in an image, such as "3 right, 2 missed, 1 dog taken for cat"."""
    evaluated, results, counts = diagnosis.evaluated, diagnosis.outcomes, diagnosis.images
    parts = [f"{counts.right[number]} right"]
    if missed := counts.missed[number]:
        parts.append(f"{missed} missed")
    errors = _errors(diagnosis, number)
    found = evaluated.found.of_image(number)
    pairs = Counter(
        (
            evaluated.classes[evaluated.truth.classes[results.partner[i]]],
            evaluated.classes[evaluated.found.classes[i]],
        )
        for i in range(*found.indices(len(evaluated.found)))
        if results.found[i] == Outcome.WRONG_CLASS
    ).most_common()
    parts += [f"{n} {true} taken for {said}" for (true, said), n in pairs[:PAIRS]]
    if rest := sum(n for _, n in pairs[PAIRS:]):
        parts.append(f"{rest} more taken for other classes")
    parts += [f"{errors[kind]} {words}" for kind, words in KINDS.items() if errors[kind]]
    return ", ".join(parts)


def _classes(diagnosis: Diagnosis, number: int) -> list[str]:
    evaluated, results = diagnosis.evaluated, diagnosis.outcomes
    found = evaluated.found.of_image(number)
    kept = evaluated.found.classes[found][results.found[found] != Outcome.UNUSED]
    true = evaluated.truth.classes[evaluated.truth.of_image(number)]
    return [evaluated.classes[k] for k in sorted({*true.tolist(), *kept.tolist()})]


def _address(image: np.ndarray, most: int) -> str:
    """An image as an address that holds it, of as many bytes at most.

    Raises: InputError if it takes more in any quality.
    """
    drawn = Image.fromarray(image)
    for reduction in (1, 2, 4):
        smaller = drawn.reduce(reduction) if reduction > 1 else drawn
        for quality in QUALITIES:
            buffer = io.BytesIO()
            fine = 0 if quality == QUALITIES[0] else 2  # thin lines keep their colours
            smaller.save(buffer, "jpeg", quality=quality, subsampling=fine)
            address = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
            if len(address) <= most:
                return address
    raise InputError(f"an image takes {len(address):,} bytes of the page, more than {most:,}")
