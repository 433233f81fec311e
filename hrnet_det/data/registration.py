"""Datasets in Detectron2's catalogues: the quickstart's, and those of a COCO json."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import load_coco_json, load_sem_seg

from hrnet_det.data import coco_stuff, quickstart
from hrnet_det.data.rows import EXTRA_KEYS

QUICKSTART = tuple(
    f"quickstart_{kind}{split}"
    for kind in ("", "keypoints_", "semantic_", "panoptic_", "panoptic_standard_")
    for split in ("train", "val")
)
IGNORED = 255  # the label of pixels that count for nothing


def datasets_root() -> Path:
    """The folder of DETECTRON2_DATASETS, as Detectron2 reads it: `datasets` when it is not set."""
    return Path(os.getenv("DETECTRON2_DATASETS", "datasets")).expanduser()


def register_quickstart() -> None:
    """Register the quickstart's datasets, QUICKSTART, which are made when they are first read."""
    root = datasets_root() / "quickstart"
    things = dict.fromkeys(range(1, quickstart.GROUND_ID), 0)
    for split in ("train", "val"):
        objects = {
            "json_file": root / "annotations" / f"instances_{split}.json",
            "image_root": root / split,
            "classes": list(quickstart.CLASSES),
        }
        arrows = {
            "json_file": root / "annotations" / f"keypoints_{split}.json",
            "classes": ["arrow"],
            "keypoint_names": list(quickstart.KEYPOINTS),
        }
        panoptic = {
            "evaluator_type": "coco_panoptic_seg",
            "panoptic_json": str(root / "annotations" / f"panoptic_{split}.json"),
            "panoptic_root": str(root / f"panoptic_{split}"),
            "sem_seg_root": str(root / f"stuff_{split}"),
            "stuff_classes": ["things", quickstart.GROUND],  # 0 for all things
            "stuff_dataset_id_to_contiguous_id": things | {quickstart.GROUND_ID: 1},
            "ignore_label": IGNORED,
        }
        register_segments(
            f"quickstart_panoptic_standard_{split}",
            panoptic_json=root / "annotations" / f"panoptic_{split}.json",
            panoptic_root=root / f"panoptic_{split}",
            image_root=root / split,
            objects_json=root / "annotations" / f"instances_{split}.json",
            things=dict(enumerate(quickstart.CLASSES, start=1)),
            stuff={quickstart.GROUND_ID: quickstart.GROUND},
        )
        images, labels = str(root / split), str(root / f"semantic_{split}")
        register_coco(f"quickstart_{split}", **objects)
        register_coco(f"quickstart_keypoints_{split}", **objects | arrows)
        register_coco(f"quickstart_panoptic_{split}", **objects, **panoptic)
        _register(
            f"quickstart_semantic_{split}",
            partial(load_sem_seg, labels, images, "png", "png"),
            evaluator_type="sem_seg",
            image_root=images,
            sem_seg_root=labels,
            stuff_classes=[quickstart.GROUND, *quickstart.CLASSES],
            ignore_label=IGNORED,
        )


def register_coco_stuff() -> None:
    """Register COCO's objects with COCO-stuff's pixel maps beside them, STUFF_THING."""
    root = datasets_root() / "coco"
    for name, split in zip(coco_stuff.STUFF_THING, ("train2017", "val2017"), strict=True):
        register_coco(
            name,
            json_file=root / "annotations" / f"instances_{split}.json",
            image_root=root / split,
            classes=list(coco_stuff.THINGS),
            sem_seg_root=str(root / coco_stuff.FOLDER / split),
            stuff_classes=list(coco_stuff.CLASSES),
            ignore_label=IGNORED,
        )


def register_coco(
    name: str,
    *,
    json_file: Path,
    image_root: Path,
    classes: list[str],
    keypoint_names: Sequence[str] = (),
    evaluator_type: str = "coco",
    **metadata: object,
) -> None:
    """Register a COCO json under a name, with semantic labels where metadata has sem_seg_root."""

    def load() -> list[dict]:
        with _quiet_about_ids():
            rows = load_coco_json(str(json_file), str(image_root), name, EXTRA_KEYS)
        folder = metadata.get("sem_seg_root")
        return rows if folder is None else coco_stuff.with_maps(rows, folder)

    if keypoint_names:
        metadata["keypoint_names"] = keypoint_names
        metadata["keypoint_flip_map"] = flip_pairs(keypoint_names)
    _register(
        name,
        load,
        evaluator_type=evaluator_type,
        json_file=str(json_file),
        image_root=str(image_root),
        thing_classes=classes,
        **metadata,
    )


def register_segments(
    name: str,
    *,
    panoptic_json: Path,
    panoptic_root: Path,
    image_root: Path,
    objects_json: Path,
    things: Mapping[int, str],
    stuff: Mapping[int, str],
) -> None:
    """Register a COCO panoptic json in Detectron2's standard form: one list of all classes.

    Args:
        things, stuff: names by the ids of their categories; things come first in the list.
    """
    classes = [*things.values(), *stuff.values()]
    numbers = {category: number for number, category in enumerate((*things, *stuff))}
    _register(
        name,
        partial(load_segments, panoptic_json, panoptic_root, image_root, numbers),
        evaluator_type="coco_panoptic_seg",
        panoptic_json=str(panoptic_json),
        panoptic_root=str(panoptic_root),
        image_root=str(image_root),
        json_file=str(objects_json),
        thing_classes=classes,
        stuff_classes=classes,
        thing_dataset_id_to_contiguous_id={category: numbers[category] for category in things},
        stuff_dataset_id_to_contiguous_id={category: numbers[category] for category in stuff},
        ignore_label=IGNORED,
        label_divisor=1000,
    )


def load_segments(
    panoptic_json: Path, panoptic_root: Path, image_root: Path, numbers: Mapping[int, int]
) -> list[dict]:
    """Rows of a COCO panoptic json, as Detectron2's load_coco_panoptic_json gives them.

    Differs from source: images have the names that the json says, and rows their size.

    Args:
        numbers: of classes, by the ids of their categories.
    """
    content = json.loads(Path(panoptic_json).read_text())
    images = {row["id"]: row for row in content["images"]}
    rows = []
    for annotation in content["annotations"]:
        image = images[annotation["image_id"]]
        segments = [
            {**segment, "category_id": numbers[segment["category_id"]]}
            for segment in annotation["segments_info"]
        ]
        rows.append(
            {
                "file_name": str(Path(image_root, image["file_name"])),
                "image_id": image["id"],
                "height": image["height"],
                "width": image["width"],
                "pan_seg_file_name": str(Path(panoptic_root, annotation["file_name"])),
                "segments_info": segments,
            }
        )
    return rows


@contextlib.contextmanager
def _quiet_about_ids() -> Iterator[None]:
    """Without Detectron2's warning that category ids have gaps: they may, and nothing follows."""
    source = logging.getLogger("detectron2.data.datasets.coco")

    def is_other(record: logging.LogRecord) -> bool:
        return "not in [1, #categories]" not in str(record.msg)

    source.addFilter(is_other)
    try:
        yield
    finally:
        source.removeFilter(is_other)


def _register(name: str, load: Callable[[], list[dict]], **metadata: object) -> None:
    """Register a dataset in place of what had the name before."""
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
        MetadataCatalog.pop(name)

    def made_and_loaded() -> list[dict]:
        if name in QUICKSTART:
            quickstart.make_quickstart(datasets_root() / "quickstart")
        return load()

    DatasetCatalog.register(name, made_and_loaded)
    MetadataCatalog.get(name).set(**metadata)


_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_SIDES = {"left": "right", "l": "r"}


def flip_pairs(names: Collection[str]) -> list[tuple[str, str]]:
    """Keypoints that a mirrored image swaps: those named alike but for their side.

    A side is "left" and "right" anywhere in a name, or "l" and "r" as a word: left_eye and
    right_eye, kneeLeft and kneeRight, l_hip and r_hip, hip.L and hip.R.
    """
    by_words = {tuple(_words(name)): name for name in names}
    by_lower = {name.lower(): name for name in names}
    pairs = []
    for name in names:
        words, lower = _words(name), name.lower()
        mirrored = tuple(_SIDES.get(word, word) for word in words)
        twin = by_words.get(mirrored) or by_lower.get(lower.replace("left", "right"))
        if twin and twin != name:
            pairs.append((name, twin))
    return pairs


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]
