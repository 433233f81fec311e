"""What a check of data has found."""

from __future__ import annotations

from dataclasses import dataclass


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
