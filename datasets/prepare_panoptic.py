"""Semantic labels of COCO's stuff, made from its panoptic annotations.

Panoptic FPN and HTC learn them. For each split the script reads
    coco/annotations/panoptic_SPLIT2017.json and the pictures of coco/panoptic_SPLIT2017/
and writes coco/panoptic_stuff_SPLIT2017/, where Detectron2 looks for them: a picture of one byte a
pixel for each of COCO's, 0 for all things, 1 to 53 for the kinds of stuff, 255 for no label.

    python datasets/prepare_panoptic.py [--root FOLDER] [--splits train val]

What is there already is not made again, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

NO_LABEL = 255
ADVICE = (
    "Fetch panoptic_annotations_trainval2017.zip (https://cocodataset.org/#download), unpack it in "
    "{coco}, then the panoptic_*2017.zip that it has put into annotations/ as well."
)


def numbers_of_categories(categories: Sequence[dict]) -> dict[int, int]:
    """The label of each category id: 0 for a thing, 1, 2, ... for stuff in the order of its ids."""
    stuff = sorted(c["id"] for c in categories if not c["isthing"])
    return {c["id"]: 0 for c in categories} | {k: n for n, k in enumerate(stuff, start=1)}


def stuff_labels(panoptic: np.ndarray, segments: Sequence[dict], numbers: dict) -> np.ndarray:
    """Labels (H, W) uint8 from a panoptic picture.

    Args:
        panoptic: (H, W, 3) uint8; R + 256 G + 65536 B is a segment's id.
        segments: COCO's segments_info of the picture.
        numbers: as numbers_of_categories gives them.
    """
    ids = panoptic.astype(np.int64) @ np.array([1, 256, 65536])
    labels = np.full(ids.shape, NO_LABEL, np.uint8)
    for segment in segments:
        labels[ids == segment["id"]] = numbers[segment["category_id"]]
    return labels


def convert(job: tuple[Path, Path, list[dict], dict]) -> None:
    """Write one picture's labels, whole or not at all."""
    source, target, segments, numbers = job
    labels = stuff_labels(np.asarray(Image.open(source).convert("RGB")), segments, numbers)
    partial = target.with_suffix(".part")
    Image.fromarray(labels).save(partial, format="PNG")
    partial.replace(target)


def jobs(coco: Path, split: str) -> list[tuple[Path, Path, list[dict], dict]]:
    """What is still to be converted. Raises: FileNotFoundError if annotations are missing."""
    annotations = coco / "annotations" / f"panoptic_{split}2017.json"
    pictures, target = coco / f"panoptic_{split}2017", coco / f"panoptic_stuff_{split}2017"
    if not pictures.is_dir() and (coco / "annotations" / pictures.name).is_dir():
        pictures = coco / "annotations" / pictures.name  # unpacked where the zip lies
    for path in (annotations, pictures):
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there. {ADVICE.format(coco=coco)}")
    content = json.loads(annotations.read_text())
    numbers = numbers_of_categories(content["categories"])
    rows = content["annotations"]
    absent = [r["file_name"] for r in rows if not (pictures / r["file_name"]).is_file()]
    if absent:
        raise FileNotFoundError(
            f"{len(absent)} of {len(rows)} pictures are not in {pictures}, such as {absent[0]}. "
            + ADVICE.format(coco=coco)
        )
    target.mkdir(exist_ok=True)
    return [
        (pictures / row["file_name"], target / row["file_name"], row["segments_info"], numbers)
        for row in rows
        if not (target / row["file_name"]).is_file()
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=os.getenv("DETECTRON2_DATASETS", "datasets"), type=Path)
    parser.add_argument("--splits", nargs="+", choices=("train", "val"), default=["train", "val"])
    args = parser.parse_args(argv)
    try:
        todo = [job for split in args.splits for job in jobs(args.root / "coco", split)]
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    with ThreadPool() as pool:
        for _ in tqdm(pool.imap_unordered(convert, todo, 16), total=len(todo), disable=None):
            pass
    print(f"{len(todo)} pictures converted in {args.root / 'coco'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
