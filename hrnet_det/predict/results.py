"""What is written of each image: its drawing, its crops, and its rows of the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from detectron2.structures import Instances
from PIL import Image

from hrnet_det.detector.run_lengths import coco_rows
from hrnet_det.drawing.annotate import annotate
from hrnet_det.outputs import alone_in
from hrnet_det.predict.coco_ids import TASKS, rows_by_task
from hrnet_det.predict.crops import CROPS, class_folders, write_crops
from hrnet_det.predict.plan import COCO_RESULTS, RESULTS, Plan
from hrnet_det.predict.sources.reading import Read
from hrnet_det.predict.writing import JsonList, said_of

COMPRESSION = 3  # of drawings: PNGs a tenth larger than by 6, the usual one, in a third of the time
_FIELDS = {"segm": "pred_masks", "keypoints": "pred_keypoints"}  # that detectors have for a task


@dataclass(frozen=True)
class Prediction:
    """What was found in an image or a video."""

    image: str | Path  # as it was named; an address, or "standard input", as text
    drawing: Path  # the image with its objects drawn
    counts: dict[str, int]  # objects of each class that has any, by its name, the most first
    pages: int = 1  # of the file, of which the first is read
    frames: int = 0  # of a video, that are drawn
    notes: tuple[str, ...] = ()  # what the drawing of a video has otherwise than the video


@dataclass(frozen=True)
class Drawn:
    """An image that is drawn, and its rows by the names of the files that they go to."""

    prediction: Prediction
    rows: Mapping[str, Sequence[dict]]


class Results:
    """Writes what is found, to a folder that no other process writes to until it is closed.

    Args:
        names: of the detector's classes; wanted: of those that are written.
    Raises: InputError if the user's json has not the wanted classes, a file cannot be written,
        or another process has the folder.
    """

    def __init__(self, plan: Plan, names: Sequence[str], wanted: Sequence[str]) -> None:
        self._plan, self._names = plan, names
        self._folders = class_folders(names)
        self._categories = {} if plan.coco is None else plan.coco.of_classes(wanted)
        with said_of(plan.output):
            plan.output.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            held.enter_context(alone_in(plan.output))
            for task in () if plan.coco is None else TASKS:  # an earlier call's would seem ours
                Path(plan.output, COCO_RESULTS.format(task)).unlink(missing_ok=True)
            self._files = {RESULTS: JsonList(plan.output / RESULTS)} if plan.has_images else {}
            self._held = held.pop_all()

    def draw(self, number: int, read: Read, objects: Instances) -> Drawn:
        """Draw an image and cut its crops; threads may do so at the same time.

        Args:
            number: of the image among the plan's sources.
            objects: in its pixels, on the CPU.
        """
        plan, source = self._plan, read.source
        drawing = plan.output / plan.drawings[number]
        drawn = annotate(read.pixels, objects=objects, classes=self._names)
        with said_of(drawing):
            drawing.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn).save(drawing, compress_level=COMPRESSION)
        if plan.crops:
            place = {"folder": plan.output / CROPS, "below": plan.drawings[number]}
            write_crops(read.pixels, objects, folders=self._folders, **place)
        counts = Counter(self._names[k] for k in objects.pred_classes.tolist()).most_common()
        image = source.place if isinstance(source.place, Path) else source.name
        return Drawn(
            Prediction(image, drawing, dict(counts), read.pages),
            self._rows(number, source.name, objects),
        )

    def _rows(self, number: int, name: str, objects: Instances) -> dict[str, list[dict]]:
        rows = [
            {"file_name": name, "category": self._names[row["category_id"]], **row}
            for row in coco_rows(objects, number)
        ]
        found = {RESULTS: rows}
        image_id = None if self._plan.image_ids is None else self._plan.image_ids[number]
        if image_id is not None:
            by_task = rows_by_task(rows, image_id=image_id, categories=self._categories)
            for task in TASKS:
                if task not in _FIELDS or objects.has(_FIELDS[task]):
                    found[COCO_RESULTS.format(task)] = by_task.get(task, [])
        return found

    def write(self, drawn: Drawn) -> None:
        """Add an image's rows to the files; one thread at a time, in the order of the images."""
        for name, rows in drawn.rows.items():
            if name not in self._files:
                self._files[name] = JsonList(self._plan.output / name)
            self._files[name].add(rows)

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._held.close()
