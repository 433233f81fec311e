"""Whether the image files of a COCO json can be read, and are of the size that it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hrnet_det.data import coco_values as values
from hrnet_det.data.findings import Finding, finding
from hrnet_det.data.images import ImageFacts


def image_findings(images: list[dict], facts: Sequence[ImageFacts]) -> Iterator[Finding]:
    """Findings about the files of a json's images, whose values are allowed.

    Args:
        images: the json's rows. facts: of the file of each.
    """
    pairs = list(zip(images, facts, strict=True))
    broken = [(row, f"{_name(row)} {fact.problem}") for row, fact in pairs if fact.problem]
    yield from _found("error", "images-damaged", broken, images, "cannot be read")
    sized = [(row, fact) for row, fact in pairs if fact.width]
    other = [pair for pair in sized if (pair[0]["width"], pair[0]["height"]) != _size(pair[1])]
    what = "are of another width and height than the json says"
    if any(fact.turned and _size(fact)[::-1] == (r["width"], r["height"]) for r, fact in other):
        what += " (images are turned as their EXIF data says, and so must the json's boxes be)"
    shown = [
        (row, f"{_name(row)} is {fact.width}x{fact.height}, not {row['width']}x{row['height']}")
        for row, fact in other
    ]
    yield from _found("error", "images-of-another-size", shown, images, what)
    several = [(row, f"{_name(row)} has {fact.pages}") for row, fact in sized if fact.pages > 1]
    what = "have several pages or frames, of which the first is read"
    yield from _found("warning", "images-of-several-pages", several, images, what)


def _name(row: dict) -> str:
    return values.shown(row["file_name"])


def _size(fact: ImageFacts) -> tuple[int, int]:
    return fact.width, fact.height


def _found(
    severity: str, kind: str, wrong: list[tuple[dict, str]], images: list[dict], what: str
) -> Iterator[Finding]:
    rows, shown = [row for row, _ in wrong], [text for _, text in wrong]
    yield from finding(severity, kind, rows, images, what, "images", shown)
