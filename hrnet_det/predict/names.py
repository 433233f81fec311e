"""What the files of a prediction are called: each has a name of its own, which a disk can take."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from itertools import count
from pathlib import Path

from hrnet_det.predict.sources.file_types import VIDEO
from hrnet_det.predict.sources.find import Source

MP4, LINES = ".mp4", ".jsonl"  # of a video: its drawing, and beside it the objects of its frames
LONGEST = 230  # bytes of a name, of 255, before numbers and suffixes


def drawing_names(sources: Sequence[Source], *, reserved: Collection[str] = ()) -> list[Path]:
    """Where each source is drawn, below the output: its name, with a number where that is taken.

    A name is taken by another file, or by a folder that others are drawn in. Names that differ in
    capital letters alone are the same, as some file systems have it. Too long ones are cut.

    Args:
        reserved: names of what else is written to the output.
    """
    places = [_place(source.below, reserved) for source in sources]
    taken = {str(folder).lower() for place in places for folder in place.parents}
    taken |= {name.lower() for name in reserved}
    numbers: dict[tuple[str, str], int] = {}
    names = []
    for source, place in zip(sources, places, strict=True):
        suffixes = (MP4, LINES) if source.kind == VIDEO else (".png",)
        first = (str(place).lower(), suffixes[0])
        for number in count(numbers.get(first, 1)):
            stem = place.name if number == 1 else f"{place.name}_{number}"
            files = [place.with_name(stem + suffix) for suffix in suffixes]
            keys = {str(file).lower() for file in files}
            if not keys & taken:
                break
        numbers[first] = number
        taken |= keys
        names.append(files[0])
    return names


def _place(below: Path, reserved: Collection[str]) -> Path:
    """Where a source is drawn, without a suffix; a folder is not called as a reserved name."""
    *folders, name = below.parts or ("_",)
    if folders and folders[0].lower() in {name.lower() for name in reserved}:
        folders[0] += "_2"
    return Path(*folders, _cut(name))


def _cut(name: str) -> str:
    """The start of a name, as long as a file system takes it with a suffix."""
    while len(os.fsencode(name)) > LONGEST:
        name = name[:-1]
    return name
