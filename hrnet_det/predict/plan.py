"""What a prediction is asked for, checked before its detector is loaded."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hrnet_det.detector.options import check_score, checked_count
from hrnet_det.detector.tiles import MERGE, OVERLAP, Tiling
from hrnet_det.environment import distribution
from hrnet_det.errors import InputError
from hrnet_det.outputs import check_folder
from hrnet_det.predict.coco_ids import TASKS, CocoIds, Id
from hrnet_det.predict.crops import CROPS
from hrnet_det.predict.names import LINES, MP4, drawing_names
from hrnet_det.predict.sources.file_types import VIDEO
from hrnet_det.predict.sources.find import Source, find_sources

OLDEST_PYAV = 17  # of an earlier one's FFmpeg the videos have no frames
RESULTS = "predictions.json"
COCO_RESULTS = "coco_results_{}.json"  # for each of the tasks
WRITTEN = (RESULTS, *(COCO_RESULTS.format(task) for task in TASKS))


@dataclass(frozen=True)
class Plan:
    """What is predicted on, and what is written where.

    Attributes:
        drawings: for each source, below the output.
        image_ids: for each source, those of the user's json; None without one, of images that it
            does not have, and of videos.
        options: what the detector is called with.
        notes: lines about what is left out or guessed.
        every: of so many frames of a video one is drawn.
    """

    sources: Sequence[Source]
    drawings: Sequence[Path]
    output: Path
    score: float
    classes: Sequence[str]
    crops: bool
    coco: CocoIds | None
    image_ids: Sequence[Id | None] | None
    options: Mapping[str, object]
    notes: Sequence[str]
    every: int = 1

    @property
    def what(self) -> str:
        """What the sources are, in a word."""
        if all(source.kind == VIDEO for source in self.sources):
            return "videos"
        return "images and videos" if any(s.kind == VIDEO for s in self.sources) else "images"

    @property
    def has_images(self) -> bool:
        return any(source.kind != VIDEO for source in self.sources)


def check_request(
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
) -> Plan:
    """The images and videos that are named, in order, each once, and where each is drawn.

    Raises: InputError if a value is not allowed, a folder has no images, nothing can be written to
        the folder `output`, an image would be overwritten, or the json does not tell them;
        MissingInputError if one is not there.
    """
    checked_count("every", every)
    options = _options(score, max_detections, {"tile": tile, "overlap": overlap, "merge": merge})
    check_folder(output, shown=f"--output {output}", advice="give another folder")
    output = Path(output)
    found = find_sources(images, output=output)
    sources = list(found.sources.values())
    videos = [source.name for source in sources if source.kind == VIDEO]
    _check_videos(videos)
    drawings = drawing_names(sources, reserved=(*WRITTEN, CROPS) if crops else WRITTEN)
    read = [source.place for source in sources if isinstance(source.place, Path)]
    read += [] if coco_json is None else [Path(coco_json)]
    _check_overwriting(read, drawings, output, crops=crops)
    notes = [f"left out of what is named: {found.left_out}"] if found.left_out else []
    if (output / RESULTS).is_file():
        notes.append(
            f"--output {output} has an earlier prediction: files of equal names are replaced, "
            "others stay"
        )
    coco = image_ids = None
    if coco_json is not None:
        coco = CocoIds(coco_json)
        image_ids, said = _ids(coco, sources, score)
        notes += said
    if videos and (crops or coco is not None):
        notes.append("crops and the results with the json's ids are of images, not of videos")
    wanted = {"score": score, "classes": tuple(classes), "crops": crops, "every": every}
    ids = {"coco": coco, "image_ids": image_ids}
    return Plan(sources, drawings, output, options=options, notes=notes, **wanted, **ids)


def _options(
    score: float, max_detections: int | None, tiling: Mapping[str, object]
) -> dict[str, object]:
    """What a detector is called with. Raises: InputError if a value is not allowed."""
    check_score(score)
    options: dict[str, object] = {"score": score or None}
    if max_detections is not None:
        options["max_detections"] = checked_count("max_detections", max_detections)
    tiles = Tiling.checked(**tiling) is not None
    return options | dict(tiling) if tiles else options


def _check_videos(videos: Sequence[str]) -> None:
    if not videos:
        return
    found = distribution("av") if importlib.util.find_spec("av") else None
    if found is None or int(found.version.partition(".")[0]) < OLDEST_PYAV:
        lacking = "is not installed" if found is None else f"is {found.version}"
        raise InputError(
            f"{videos[0]} is a video, which takes PyAV {OLDEST_PYAV} or later; it {lacking}: "
            "pip install 'hrnet_det[video]'"
        )


def _ids(
    coco: CocoIds, sources: Sequence[Source], score: float
) -> tuple[list[Id | None], list[str]]:
    """As `CocoIds.of_images`, with None for each video, and what else is to be said of them."""
    found, notes = coco.of_images([source for source in sources if source.kind != VIDEO])
    if score:
        notes = [
            *notes,
            f"--coco-json {coco.path}: objects under --score {score} are not in the results; an AP "
            "of all that the detector finds takes --score 0",
        ]
    ids = iter(found)
    return [None if source.kind == VIDEO else next(ids) for source in sources], notes


def _check_overwriting(
    files: Sequence[Path], drawings: Sequence[Path], output: Path, *, crops: bool
) -> None:
    """Raises: InputError if a file that is read is written, too, by whatever path or link."""
    names = [*drawings, *WRITTEN]
    names += [path.with_suffix(LINES) for path in drawings if path.suffix == MP4]
    written = [output / name for name in names]
    taken = {_identity(path): path for path in written if os.path.isfile(path)}
    files = [file for file in files if os.path.isfile(file)]
    lost = [(file, taken[key]) for file in files if (key := _identity(file)) in taken]
    if crops:
        cut = os.path.realpath(output / CROPS)
        inside = (file for file in files if os.path.realpath(file).startswith(f"{cut}{os.sep}"))
        lost += [(file, output / CROPS) for file in inside]
    if lost:
        rest = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise InputError(
            f"--output {output}: {lost[0][1]} would overwrite {lost[0][0]}"
            f"{rest}: give another folder"
        )


def _identity(path: Path) -> tuple[int, int]:
    """The same for all paths and links to a file."""
    found = os.stat(path)
    return found.st_dev, found.st_ino
