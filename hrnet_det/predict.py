"""Detections in images of your own: drawn, and written as COCO results."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from PIL import Image

from hrnet_det.detector import Detector, as_rgb
from hrnet_det.errors import InputError, MissingInputError
from hrnet_det.report.drawing import annotated


def predict(
    detector: Detector, images: Sequence[str | Path], output: str | Path, *, score: float = 0.5
) -> Iterable[str]:
    """Detect, draw and write the objects of images, one image at a time.

    Args:
        detector: as `Detector.from_pretrained` gives it.
        images: files, and folders whose images are taken.
        output: folder for a drawing of each image, NAME.png, and for predictions.json: COCO
            results (bbox in pixels, score, segmentation) with file_name and category, the class's
            name; category_id counts from 0.
        score: objects of a lower one are neither drawn nor written.
    Yields: a line about each image, such as "street.jpg: 2 person, 1 dog".
    Raises: MissingInputError if an image is not there; InputError if it is none.
    """
    output = Path(output)
    files = list(dict.fromkeys(path for name in images for path in _files(Path(name))))
    output.mkdir(parents=True, exist_ok=True)
    results = []
    try:
        for number, (path, drawing) in enumerate(zip(files, _drawings(files, output), strict=True)):
            rgb = as_rgb(path)
            found = detector(rgb)
            found = found[found.scores >= score]
            Image.fromarray(annotated(rgb, found, detector.class_names)).save(drawing)
            for row in instances_to_coco_json(found, number):
                name = detector.class_names[row["category_id"]]
                results.append({"file_name": str(path), "category": name, **row})
            counts = Counter(detector.class_names[k] for k in found.pred_classes.tolist())
            said = ", ".join(f"{n} {name}" for name, n in counts.most_common())
            yield f"{path}: {said or f'nothing over {score}'}"
    finally:  # what was found before a damaged image is kept
        (output / "predictions.json").write_text(json.dumps(results))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        if not path.is_file():
            raise MissingInputError(f"image {path} is not there")
        return [path]
    known = {end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in known)
    if not found:
        raise InputError(f"there are no images in the folder {path}")
    return found


def _drawings(files: list[Path], output: Path) -> list[Path]:
    """A file for the drawing of each image: its name, with a number where that is taken."""
    taken: dict[Path, None] = {}
    for file in files:
        path, number = output / f"{file.stem}.png", 1
        while path in taken:
            number += 1
            path = output / f"{file.stem}_{number}.png"
        taken[path] = None
    return list(taken)
