"""Semantic labels of COCO's stuff, made from its panoptic annotations.

Panoptic FPN and HTC learn them. For each split the script reads
    coco/annotations/panoptic_SPLIT2017.json and the PNG files of coco/panoptic_SPLIT2017/
and writes coco/panoptic_stuff_SPLIT2017/, where Detectron2 looks for them: for each image a PNG of
one byte per pixel, 0 for all things, 1 to 53 for the categories of stuff, 255 for no label.

    python datasets/prepare_panoptic.py [--root FOLDER] [--splits train val]

What is there already is not made again: a run that was stopped goes on. Exit status: 0 done, 2
something has to be changed first, 130 Ctrl-C.
"""

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
Job = tuple[Path, Path, list[dict], dict[int, int]]  # PNG to read, PNG to write, segments, labels


def label_of_category(categories: Sequence[dict]) -> dict[int, int]:
    """{category id: label}: 0 for a thing; 1, 2, ... for stuff in the order of the ids."""
    stuff = sorted(c["id"] for c in categories if not c["isthing"])
    return {c["id"]: 0 for c in categories} | {k: n for n, k in enumerate(stuff, start=1)}


def semantic_labels(
    panoptic: np.ndarray, segments: Sequence[dict], labels: dict[int, int]
) -> np.ndarray:
    """Semantic labels (H, W) uint8 of one image.

    Args:
        panoptic: (H, W, 3) uint8; R + 256 G + 65536 B is a segment's id.
        segments: COCO's segments_info of the image.
        labels: as label_of_category gives them.
    """
    ids = panoptic.astype(np.int32) @ np.array([1, 256, 65536], np.int32)
    result = np.full(ids.shape, NO_LABEL, np.uint8)
    for segment in segments:
        result[ids == segment["id"]] = labels[segment["category_id"]]
    return result


def convert(job: Job) -> None:
    """Write one image's semantic labels, whole or not at all."""
    source, target, segments, labels = job
    try:
        with Image.open(source) as image:
            panoptic = np.asarray(image.convert("RGB"))
    except OSError as error:
        raise OSError(f"{source}: {error}. Unpack it again.") from error
    result = semantic_labels(panoptic, segments, labels)
    partial = target.with_suffix(".part")
    Image.fromarray(result).save(partial, format="PNG")
    partial.replace(target)


def find_jobs(coco: Path, split: str) -> list[Job]:
    """What is still to be converted. Raises: OSError or ValueError about what the user gave."""
    annotations = coco / "annotations" / f"panoptic_{split}2017.json"
    source, target = coco / f"panoptic_{split}2017", coco / f"panoptic_stuff_{split}2017"
    if not source.is_dir() and (coco / "annotations" / source.name).is_dir():
        source = coco / "annotations" / source.name  # unpacked where the zip lies
    for path in (annotations, source):
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing. {ADVICE.format(coco=coco)}")
    try:
        content = json.loads(annotations.read_bytes())
    except ValueError as error:
        raise ValueError(
            f"{annotations} is not valid JSON: {error}. {ADVICE.format(coco=coco)}"
        ) from error
    labels, rows = label_of_category(content["categories"]), content["annotations"]
    present = {path.name for path in source.iterdir()}
    absent = [row["file_name"] for row in rows if row["file_name"] not in present]
    if absent:
        raise FileNotFoundError(
            f"{source}: {len(absent)} of {len(rows)} PNG files are missing, such as {absent[0]}. "
            + ADVICE.format(coco=coco)
        )
    target.mkdir(exist_ok=True)
    done = {path.name for path in target.iterdir()}
    return [
        (source / row["file_name"], target / row["file_name"], row["segments_info"], labels)
        for row in rows
        if row["file_name"] not in done
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns its exit status."""
    root = os.getenv("DETECTRON2_DATASETS", "datasets")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--root", default=root, help="has coco/ (default: $DETECTRON2_DATASETS, else ./datasets)"
    )
    parser.add_argument("--splits", nargs="+", choices=("train", "val"), default=["train", "val"])
    args = parser.parse_args(argv)
    coco = Path(args.root).expanduser() / "coco"
    try:
        jobs = [job for split in args.splits for job in find_jobs(coco, split)]
        with ThreadPool() as pool:
            for _ in tqdm(pool.imap_unordered(convert, jobs, 16), total=len(jobs), disable=None):
                pass
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        return 130
    print(f"{len(jobs)} images converted in {coco}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
