"""Folders that a command writes to, tried before its work is done."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hrnet_det.errors import InputError


def check_folder(folder: str | Path, *, shown: str, advice: str) -> None:
    """A folder can be written to, or be made in one that can; nothing is left there.

    Args:
        shown: what the user has given, for the message; advice: what to do instead.
    Raises: InputError if it cannot.
    """
    place = Path(str(folder))
    if place == Path():
        raise InputError(f"{shown!r}: no folder to write to: {advice}, such as output/mine")
    try:
        place = _nearest(place.absolute())
        with tempfile.TemporaryFile(dir=place):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{shown}: nothing can be written to {place} ({reason}): {advice}"
        ) from error


def _nearest(place: Path) -> Path:
    """The place itself or, where there is none, the folder above that is there."""
    try:
        place.lstat()
    except FileNotFoundError:
        return _nearest(place.parent)
    return place
