"""Detections in images of your own, from the first image that is read to the last that is drawn."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path

from detectron2.structures import Instances
from tqdm import tqdm

from hrnet_det.detector import Detector
from hrnet_det.detector.options import checked_count, class_numbers
from hrnet_det.detector.tiles import MERGE, OVERLAP
from hrnet_det.errors import InputError
from hrnet_det.predict.drawing_queue import DrawingQueue
from hrnet_det.predict.finisher import Finisher, Log, counted
from hrnet_det.predict.plan import Plan, check_request
from hrnet_det.predict.results import Prediction, Results
from hrnet_det.predict.sources.file_types import VIDEO
from hrnet_det.predict.sources.find import Source
from hrnet_det.predict.sources.reading import Read, read_ahead
from hrnet_det.predict.writing import said_of

SHOWN = 10  # images that could not be read, in the error
THREADS = 8  # that read, and that draw, at most


class UnreadError(InputError):
    """Some images, or parts of videos, cannot be read; all others are done.

    Attributes:
        failed: what is said of each.
        total: the images and videos that were named.
    """

    def __init__(self, failed: Sequence[str], total: int, what: str = "images") -> None:
        self.failed, self.total = failed, total
        rest = f"\n  and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
        lines = "\n  ".join(failed[:SHOWN]) + rest
        full = "" if what == "images" else " in full"
        super().__init__(f"{len(failed)} of {total} {what} cannot be read{full}:\n  {lines}")


class Stopped(KeyboardInterrupt):
    """The user has stopped it.

    Attributes:
        done: images and videos that are drawn and written.
        part: what is of another one, such as "30 frames of clip.mp4", "" for nothing.
    """

    def __init__(self, done: int, part: str = "") -> None:
        super().__init__()
        self.done, self.part = done, part


def predict(
    detector: Detector,
    images: Sequence[str | Path],
    output: str | Path,
    *,
    score: float = 0.5,
    classes: Sequence[str] = (),
    max_detections: int | None = None,
    crops: bool = False,
    coco_json: str | Path | None = None,
    tile: int | None = None,
    overlap: float = OVERLAP,
    merge: str = MERGE,
    every: int = 1,
    batch: int = 1,
    log: Log | None = None,
) -> list[Prediction]:
    """Detect, draw and write the objects of images and videos.

    Args:
        images: files, folders, patterns and addresses (`find_sources`).
        output: folder for a drawing of each image, NAME.png, and for predictions.json: COCO
            results (bbox in pixels, score, segmentation) with file_name and category, the class's
            name; category_id and image_id count from 0. Of a video NAME.mp4, and NAME.jsonl with a
            line for each frame (`annotate_video`).
        score: objects of a lower one are neither drawn nor written.
        classes: names, or numbers from 0, of those that are; by default all.
        crops: write each object's box as an image, crops/CLASS/NAME_1.png.
        coco_json: one of the user's, whose ids the rows of coco_results_bbox.json have (with masks
            _segm, with keypoints _keypoints), in the format that COCO's loadRes takes.
        max_detections, tile, overlap, merge: as `Detector` takes them.
        every: of so many frames of a video one is detected, drawn and written.
        batch: images that the detector is given at once.
        log: called with lines about what is left out, and one about each image, such as
            "street.jpg: 2 person, 1 dog".
    Raises: InputError if a value or the output cannot be used; UnreadError, after all others are
        done, that names images that cannot be read; MissingInputError if one is not there.
    """
    plan = check_request(
        images,
        output,
        score=score,
        classes=classes,
        max_detections=max_detections,
        crops=crops,
        coco_json=coco_json,
        tile=tile,
        overlap=overlap,
        merge=merge,
        every=every,
    )
    for note in plan.notes if log else ():
        log(note)
    return list(predictions(detector, plan, batch=batch, log=log))


def predictions(
    detector: Detector,
    plan: Plan,
    *,
    batch: int = 1,
    log: Log | None = None,
    progress: bool = False,
    progress_of_frames: bool = False,
) -> Generator[Prediction, None, None]:
    """What `predict` returns, each as soon as it is written, in the order of the images.

    Images are read and drawn by threads while the detector works; a few are in memory at a time.

    Args:
        progress: show a bar on standard error; progress_of_frames: and one for each video.
    Raises: as `predict`.
    """
    names, ahead = detector.class_names, checked_count("batch", batch) + _threads()
    options = {**plan.options, "batch": batch, "classes": _chosen(plan.classes, names)}
    wanted = sorted(class_numbers(options["classes"], names)) or range(len(names))
    results = Results(plan, names, [names[k] for k in wanted])
    bar = tqdm(total=len(plan.sources), unit="image", file=sys.stderr, disable=not progress)
    finisher = Finisher(results, plan, log, bar)
    images = read_ahead(plan.sources, detector.read, threads=_threads(), ahead=ahead)
    queue = DrawingQueue(results.draw, finisher, threads=_threads(), most=ahead)
    try:
        with closing(results), bar, closing(queue), closing(images):
            detect = partial(detector, **options)
            for number, read, objects in _detected(detect, images, batch):
                if read.source.kind == VIDEO:
                    queue.join()
                    shown = {"batch": batch, "progress": progress_of_frames}
                    finisher.video(*_video(number, read.source, plan, detect, names, shown))
                else:
                    queue.add(number, read, objects)
                yield from finisher.taken()
            queue.join()
            yield from finisher.taken()
    except KeyboardInterrupt as stop:  # by now what was being drawn is finished
        frames = getattr(stop, "frames", 0)  # of a video
        part = f"{counted('frame', frames)} of {read.source.name}" if frames else ""
        raise Stopped(finisher.done, part) from stop
    if finisher.failed:
        raise UnreadError(finisher.failed, len(plan.sources), plan.what)


def _video(
    number: int,
    source: Source,
    plan: Plan,
    detect: Callable,
    names: Sequence[str],
    options: Mapping[str, object],
) -> tuple[Source, Prediction, str]:
    """Draw a video and write the objects of its frames; with what could not be read of it."""
    from hrnet_det.predict.video.annotate import annotate_video  # PyAV is an extra

    drawing = plan.output / plan.drawings[number]
    with said_of(drawing):
        drawing.parent.mkdir(parents=True, exist_ok=True)
    found = annotate_video(
        detect, source.place, drawing, class_names=names, every=plan.every, **options
    )
    prediction = Prediction(
        source.place, drawing, found.counts, frames=found.frames, notes=found.notes
    )
    return source, prediction, found.problem


def _threads() -> int:
    return min(THREADS, os.cpu_count() or 1)


def _chosen(classes: Sequence[str], names: Sequence[str]) -> list[str | int]:
    """Classes by name, and by number where no class has such a name."""
    return [int(word) if word.isdecimal() and word not in names else word for word in classes]


def _detected(
    detect: Callable, images: Iterable[Read], batch: int
) -> Iterator[tuple[int, Read, Instances | None]]:
    """Each image with its number and, where it could be read, its objects."""
    numbered = enumerate(images)
    while window := list(islice(numbered, batch)):
        found = iter(_detect(detect, [read for _, read in window if read.pixels is not None]))
        for number, read in window:
            yield number, read, None if read.pixels is None else next(found)


def _detect(detect: Callable, reads: Sequence[Read]) -> list[Instances]:
    """Raises: InputError that names the image that the detector cannot take."""
    if not reads:
        return []
    try:
        return detect([read.pixels for read in reads])
    except InputError as error:
        if len(reads) == 1:
            raise InputError(f"{reads[0].source.name}: {error}") from error
    return [_detect(detect, [read])[0] for read in reads]
