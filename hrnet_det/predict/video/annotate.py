"""The objects of each frame of a video: drawn, and written a frame a line."""

from __future__ import annotations

import json
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from detectron2.structures import Instances
from tqdm import tqdm

from hrnet_det.detector.options import checked_count
from hrnet_det.detector.run_lengths import coco_rows
from hrnet_det.drawing.annotate import NAMES, NOTHING, SCORES, annotate, lettering
from hrnet_det.predict.names import LINES
from hrnet_det.predict.video.reading import Frame, UnreadableVideo, VideoReader
from hrnet_det.predict.video.writing import VideoWriter
from hrnet_det.predict.writing import said_of

_LESS = (NAMES, SCORES, NOTHING)  # of what is written
CALM = 1  # seconds for which more has to find room before it is written
Detect = Callable[[list[np.ndarray]], Sequence[Instances]]


@dataclass(frozen=True)
class VideoResult:
    """What was found in a video.

    Attributes:
        frames: that are written.
        counts: objects of each class that has any, of all frames, by its name, the most first.
        problem: what could not be read, "" for nothing; without any frame nothing is written.
        notes: lines about what the drawing has otherwise than the video.
    """

    frames: int
    counts: dict[str, int]
    problem: str = ""
    notes: tuple[str, ...] = ()


class StoppedVideo(KeyboardInterrupt):
    """The user has stopped it when so many frames were written."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames


def annotate_video(
    detect: Detect,
    path: str | Path,
    drawing: str | Path,
    *,
    class_names: Sequence[str],
    every: int = 1,
    batch: int = 1,
    progress: bool = False,
) -> VideoResult:
    """Detect, draw and write the objects of a video, in memory of a few frames.

    Frames keep their size and times, and are upright; the sound is kept where MP4 takes it. A class
    has one colour, so that it stays the same from frame to frame. However this ends, what is done
    by then can be played and read.

    Args:
        detect: the objects of RGB frames of one size, (H, W, 3) uint8, in their pixels.
        drawing: the .mp4 file to write. Beside it, in .jsonl, each line is of a frame: {"frame":
            its number from 0, "seconds": its time, "objects": [{"category", "category_id", "bbox":
            [x, y, width, height] in pixels, "score", where there are masks "segmentation" as run
            lengths, where there are keypoints "keypoints"}]}.
        every: of so many frames one is detected, drawn and written.
        batch: frames that are given to `detect` at once.
        progress: show a bar of frames on standard error.
    Raises: InputError if a value is not allowed or the files cannot be written.
    """
    checked_count("every", every)
    checked_count("batch", batch)
    try:
        with closing(VideoReader(path)) as video:
            return _annotate(detect, video, Path(drawing), class_names, every, batch, progress)
    except UnreadableVideo as error:
        return VideoResult(0, {}, str(error))


def _annotate(
    detect: Detect,
    video: VideoReader,
    drawing: Path,
    names: Sequence[str],
    every: int,
    batch: int,
    progress: bool,
) -> VideoResult:
    counts: Counter[str] = Counter()
    writer, rows = VideoWriter(drawing, video), _Lines(drawing.with_suffix(LINES))
    drawer, frames = _Drawer(names), video.read(every, writer.add_sound)
    total = None if video.frames is None else -(-video.frames // every)
    bar = tqdm(total=total, unit="frame", file=sys.stderr, disable=not progress, leave=False)
    try:
        with bar, closing(rows), closing(writer), closing(frames):
            for frame, objects in _detected(detect, frames, batch):
                row = row_of(frame, objects, names)
                pixels = drawer.draw(frame, objects)
                writer.add(replace(frame, pixels=pixels))
                rows.add(row)
                counts.update(found["category"] for found in row["objects"])
                bar.update()
    except KeyboardInterrupt as stop:
        raise StoppedVideo(rows.count) from stop
    return VideoResult(
        rows.count, dict(counts.most_common()), video.damage, (*video.notes, *writer.notes)
    )


class _Drawer:
    """Draws frame after frame, so that colours stay, and what is written changes seldom."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._recent: deque[tuple[Fraction, int, int]] = deque()  # time, place in _LESS, height

    def draw(self, frame: Frame, objects: Instances) -> np.ndarray:
        """The frame with its objects in the colours of their classes, (H, W, 3) uint8, RGB."""
        shown = Instances(objects.image_size, **objects.get_fields())
        if shown.has("pred_masks"):
            shown.colours = shown.pred_classes
        written, text = self._lettering(frame, shown)
        options = {"classes": self._names, "scale": 1, "written": written, "text": text}
        return annotate(frame.pixels, objects=shown, **options)

    def _lettering(self, frame: Frame, objects: Instances) -> tuple[str | None, int | None]:
        """The least that has suited a frame of the last second."""
        if len(objects):
            fields = ("pred_boxes", "scores", "pred_classes")
            plain = Instances(objects.image_size, **{k: objects.get(k) for k in fields})
            written, text = lettering(frame.pixels, objects=plain, classes=self._names)
            self._recent.append((frame.time, _LESS.index(written), text))
        while self._recent and self._recent[0][0] < frame.time - CALM:
            self._recent.popleft()
        if not self._recent:
            return None, None
        return _LESS[max(row[1] for row in self._recent)], min(row[2] for row in self._recent)


def row_of(frame: Frame, objects: Instances, names: Sequence[str]) -> dict:
    """A frame's line of the .jsonl file."""
    rows = []
    for found in coco_rows(objects, 0):
        del found["image_id"]
        rows.append({"category": names[found["category_id"]], **found})
    return {"frame": frame.number, "seconds": round(float(frame.time), 6), "objects": rows}


def _detected(
    detect: Detect, frames: Iterable[Frame], batch: int
) -> Iterator[tuple[Frame, Instances]]:
    frames = iter(frames)
    while several := list(islice(frames, batch)):
        yield from zip(several, detect([frame.pixels for frame in several]), strict=True)


class _Lines:
    """A file with an object of JSON on each line, whole after each `add`; made by the first."""

    def __init__(self, path: Path) -> None:
        self._path, self._file, self.count = path, None, 0

    def add(self, row: dict) -> None:
        with said_of(self._path):
            if self._file is None:
                self._file: BinaryIO = open(self._path, "wb", buffering=0)  # noqa: SIM115
            self._file.write(json.dumps(row).encode() + b"\n")
        self.count += 1

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
