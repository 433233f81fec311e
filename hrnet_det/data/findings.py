"""What a check of data has found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hrnet_det.data import coco_values as values


@dataclass(frozen=True)
class Finding:
    """One kind of problem of a dataset.

    Args:
        kind: a slug such as "boxes-xyxy".
        severity: "error" (stops a training), "warning" (told) or "change" (converted, and told).
        text: one line: how many, what is wrong, examples of ids, what to do.
        images, annotations: the ids of all that are concerned.
    """

    kind: str
    severity: str
    text: str
    images: tuple = ()
    annotations: tuple = ()


def finding(
    severity: str,
    kind: str,
    wrong: Sequence[dict],
    rows: Sequence,
    what: str,
    rows_of: str = "annotations",
    shown: Sequence[str] | None = None,
) -> Iterator[Finding]:
    """The finding that counts the wrong ones of a json's rows; none without any.

    Args:
        shown: what stands for each wrong row in the examples; by default its id.
    """
    if not wrong:
        return
    if shown is None:
        shown = [f"id {values.shown(row.get('id'))}" for row in wrong[:4]]
    examples = f": {values.examples(shown)}" if shown else ""
    ids = tuple(row.get("id") for row in wrong)
    images = tuple(dict.fromkeys(_plain(row.get("image_id")) for row in wrong))
    where = {"annotations": {"annotations": ids, "images": images}, "images": {"images": ids}}
    text = f"{len(wrong)} of {len(rows)} {rows_of} {what}{examples}"
    yield Finding(kind, severity, text, **where.get(rows_of, {}))


def _plain(value: object) -> object:
    return value if isinstance(value, (int, str)) else None
