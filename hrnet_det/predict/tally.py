"""A whole run of `hrnet-det predict`, counted and told on the screen."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing

from hrnet_det.detector import Detector
from hrnet_det.predict.crops import CROPS
from hrnet_det.predict.finisher import counted
from hrnet_det.predict.names import LINES
from hrnet_det.predict.plan import COCO_RESULTS, RESULTS, Plan
from hrnet_det.predict.results import Prediction
from hrnet_det.predict.run import Stopped, UnreadError, predictions

FEW = 10  # images, of which each has a line on a terminal, too; more have a bar
CLASSES, NAMED = 10, 3  # at most, in the last lines
SOME_FAILED, ALL_FAILED = 1, 2  # exit statuses


class Tally:
    """Counts what is found."""

    def __init__(self) -> None:
        self.images = self.videos = self.frames = self.with_objects = 0
        self.crops = False
        self.objects: Counter[str] = Counter()
        self.pages: list[str] = []
        self.notes: list[str] = []

    def add(self, one: Prediction) -> None:
        self.images += not one.frames
        self.videos += bool(one.frames)
        self.frames += one.frames
        self.notes += [f"{one.image}: {note}" for note in one.notes]
        self.with_objects += bool(one.counts)
        self.crops |= bool(one.counts) and not one.frames
        self.objects.update(one.counts)
        if one.pages > 1:
            self.pages.append(f"{one.image} has {one.pages}")

    def lines(self, plan: Plan) -> list[str]:
        """Where everything is, and how many objects of which class in how many images."""
        lines = self.notes[:]
        if not (self.images or self.videos):
            return lines
        if self.pages:
            more = ", ..." if len(self.pages) > NAMED else ""
            lines.append(
                f"{counted('file', len(self.pages))} with several pages or frames, of which "
                f"the first is read: {', '.join(self.pages[:NAMED])}{more}"
            )
        most = self.objects.most_common(CLASSES)
        said = ", ".join(f"{n} {name}" for name, n in most)
        if len(self.objects) > CLASSES:
            rest = self.objects.total() - sum(n for _, n in most)
            said += f", {rest} of {len(self.objects) - CLASSES} more classes"
        found = f"{said} in {self.with_objects} of them" if said else f"nothing over {plan.score:g}"
        images = counted("image", self.images)
        if self.videos:
            videos = f"{counted('video', self.videos)} of {counted('frame', self.frames)}"
            images = f"{images} and {videos}" if self.images else videos
        files = [RESULTS] if plan.has_images else []
        files += [f"NAME{LINES} of each video"] if self.videos else []
        if plan.coco is not None:
            files += sorted(path.name for path in plan.output.glob(COCO_RESULTS.format("*")))
        files += [f"{CROPS}/"] if plan.crops and self.crops else []
        lines.append(f"{images}: {found}; drawn and written in {plan.output} ({', '.join(files)})")
        return lines


def run_plan(
    detector: Detector, plan: Plan, *, batch: int, log: Callable[[str], object] = print
) -> int:
    """Predict, and tell about each image or show a bar, then about all.

    Returns: 0; 1 if some images cannot be read, which are named on standard error; 2 if none can.
    Raises: InputError as `predictions`, but for images that cannot be read.
    """
    progress = sys.stderr.isatty() and len(plan.sources) > FEW
    tally, unread = Tally(), None
    each = predictions(
        detector,
        plan,
        batch=batch,
        log=None if progress else log,
        progress=progress,
        progress_of_frames=sys.stderr.isatty(),
    )
    try:
        with closing(each):
            for one in each:
                tally.add(one)
    except UnreadError as error:
        unread = error
    except Stopped as stop:
        done = f"{stop.done} of {len(plan.sources)} {plan.what} are done"
        log(f"stopped: {done}{stop.part and f', and {stop.part}'}: {plan.output}")
        raise
    for line in tally.lines(plan):
        log(line)
    if unread is None:
        return 0
    print(f"error: {unread}", file=sys.stderr)
    return SOME_FAILED if tally.images or tally.videos else ALL_FAILED
