"""Detections in images of your own: drawn, and written as COCO results."""

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from PIL import Image

from hrnet_det.detector import Detector
from hrnet_det.drawing.annotate import annotate
from hrnet_det.errors import InputError, MissingInputError
from hrnet_det.outputs import check_folder

RESULTS = "predictions.json"
SHOWN = 10  # images that could not be read, in the error


@dataclass(frozen=True)
class Prediction:
    """What was found in an image."""

    image: Path
    drawing: Path  # the image with its objects drawn
    counts: dict[str, int]  # objects of each class that has any, by its name, the most first


def predict(
    detector: Detector,
    images: Sequence[str | Path],
    output: str | Path,
    *,
    score: float = 0.5,
    log: Callable[[str], object] | None = None,
) -> list[Prediction]:
    """Detect, draw and write the objects of images, one image at a time.

    Args:
        images: files, and folders whose images are taken.
        output: folder for a drawing of each image, NAME.png, and for predictions.json: COCO
            results (bbox in pixels, score, segmentation) with file_name and category, the class's
            name; category_id counts from 0.
        score: objects of a lower one are neither drawn nor written.
        log: called with a line about each image, such as "street.jpg: 2 person, 1 dog".
    Raises: InputError if the score or the output cannot be used, or, after all others are done,
        that names images that cannot be read; MissingInputError if one is not there.
    """
    files = check_request(images, output, score=score)
    output, names = Path(output), detector.class_names
    output.mkdir(parents=True, exist_ok=True)
    found, rows, failed = [], [], []
    try:
        for number, (drawing, path) in enumerate(_drawings(files, output).items()):
            try:
                rgb = detector.read(path, "RGB")
            except InputError as error:
                failed.append(str(error))
                if log is not None:
                    log(f"{path}: left out, {error}")
                continue
            try:
                objects = detector(rgb)
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
            objects = objects[objects.scores >= score]
            Image.fromarray(annotate(rgb, objects=objects, classes=names)).save(drawing)
            counts = Counter(names[k] for k in objects.pred_classes.tolist()).most_common()
            found.append(Prediction(path, drawing, dict(counts)))
            rows += [
                {"file_name": str(path), "category": names[row["category_id"]], **row}
                for row in instances_to_coco_json(objects, number)
            ]
            if log is not None:
                said = ", ".join(f"{n} {name}" for name, n in counts)
                log(f"{path}: {said or f'nothing over {score}'}")
    finally:
        (output / RESULTS).write_text(json.dumps(rows))
    if failed:
        rest = f"\n  and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
        lines = "\n  ".join(failed[:SHOWN]) + rest
        raise InputError(f"{len(failed)} of {len(files)} images cannot be read:\n  {lines}")
    return found


def check_request(images: Sequence[str | Path], output: str | Path, *, score: float) -> list[Path]:
    """The image files that are named, in order, each once.

    Raises: InputError if the score is none, a folder has no images, nothing can be written to the
        folder `output`, or an image would be overwritten; MissingInputError if one is not there.
    """
    if not 0 <= score <= 1:  # nan is not
        raise InputError(f"score {score}: give a number from 0 to 1")
    files = list(dict.fromkeys(path for name in images for path in _files(Path(name))))
    check_folder(output, shown=f"--output {output}", advice="give another folder")
    _check_overwriting(files, Path(output))
    return files


def _check_overwriting(files: list[Path], output: Path) -> None:
    """Raises: InputError if an image is a file that is written, by whatever path or link."""
    written = [*_drawings(files, output), output / RESULTS]
    taken = {_identity(path): path for path in written if os.path.isfile(path)}
    lost = [file for file in files if _identity(file) in taken]
    if lost:
        rest = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise InputError(
            f"--output {output}: {taken[_identity(lost[0])]} would overwrite the image {lost[0]}"
            f"{rest}: give a folder that has none of the images"
        )


def _identity(path: Path) -> tuple[int, int]:
    """The same for all paths and links to a file."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _files(path: Path) -> list[Path]:
    if os.path.isfile(path):
        return [path]
    if not os.path.isdir(path):
        raise MissingInputError(f"image {path} is not there")
    known = {end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in known)
    if not found:
        raise InputError(f"there are no images in the folder {path}")
    return found


def _drawings(files: list[Path], output: Path) -> dict[Path, Path]:
    """Images by the files for their drawings: their names, with a number where that is taken."""
    drawings: dict[Path, Path] = {}
    for file in files:
        path, number = output / f"{file.stem}.png", 1
        while path in drawings:
            number += 1
            path = output / f"{file.stem}_{number}.png"
        drawings[path] = file
    return drawings
