"""The datasets that a config names: found on disk, and the classes taken from them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.catalog import Metadata

from hrnet_det.data import quickstart
from hrnet_det.data.coco_json import CocoJson
from hrnet_det.data.registration import QUICKSTART, datasets_root, register_coco
from hrnet_det.errors import InputError, MissingInputError

# Groups of config keys whose NUM_CLASSES is that of the things or of the stuff.
THING_HEADS, STUFF_HEADS = ("ROI_HEADS", "RETINANET", "FCOS"), ("SEM_SEG_HEAD",)
# What a dataset's metadata may name on disk.
FILES = (
    "json_file",
    "image_root",
    "panoptic_json",
    "panoptic_root",
    "sem_seg_root",
    "image_dir",
    "gt_dir",
)


def prepare_datasets(cfg: CfgNode, *, stated: Collection[str]) -> None:
    """Make a config's datasets usable, or say what is missing. Changes cfg in place.

    Registers DATASETS.CUSTOM, makes the quickstart dataset if it is named, looks for the files
    of every dataset, and lets the numbers of classes and keypoints follow the data.

    Args:
        stated: the config keys that the user's YAML or command line states; a stated
            NUM_CLASSES or NUM_KEYPOINTS that contradicts the data is an error.
    Raises: MissingInputError if files are missing, InputError if the data cannot be used.
    """
    register_custom(cfg)
    names = [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]
    for name in names:
        if name not in DatasetCatalog.list():
            near = difflib.get_close_matches(name, DatasetCatalog.list(), n=3)
            raise InputError(
                f"there is no dataset {name!r}" + (f"; nearest: {', '.join(near)}" if near else "")
            )
    if any(name in QUICKSTART for name in names):
        try:
            quickstart.make_quickstart(datasets_root() / "quickstart")
        except ValueError as error:  # the folder holds something else
            raise InputError(str(error)) from error
    _check_files(names)
    _follow_data(cfg, names, stated)


def register_custom(cfg: CfgNode) -> None:
    """Register the datasets of DATASETS.CUSTOM and name them in DATASETS.TRAIN and TEST.

    A mask format that the data does not have is changed to "bitmask" where it has RLE masks.
    """
    custom = cfg.DATASETS.CUSTOM
    for split, json_file, images in (
        ("TRAIN", custom.TRAIN_JSON, custom.TRAIN_IMAGES),
        ("TEST", custom.TEST_JSON, custom.TEST_IMAGES),
    ):
        if bool(json_file) != bool(images):
            raise InputError(
                f"DATASETS.CUSTOM: {split}_JSON is {json_file!r} and {split}_IMAGES is {images!r}; "
                "give both or neither"
            )
        if not json_file:
            continue
        file = CocoJson(
            Path(json_file),
            Path(images),
            masks=cfg.MODEL.MASK_ON,
            keypoints=cfg.MODEL.KEYPOINT_ON,
            evaluated=split == "TEST",
        )
        name = f"custom_{split.lower()}"
        register_coco(
            name,
            json_file=file.path,
            image_root=file.images,
            classes=file.classes,
            keypoint_names=file.keypoint_names,
        )
        cfg.DATASETS[split] = (name,)
        if file.has_rle:
            cfg.INPUT.MASK_FORMAT = "bitmask"
    if custom.TRAIN_JSON and not custom.TEST_JSON:
        cfg.DATASETS.TEST = ()
    if custom.TEST_JSON and not custom.TRAIN_JSON:
        cfg.DATASETS.TRAIN = ()


def _check_files(names: list[str]) -> None:
    wanted: dict[str, None] = {}  # ordered, without repetition
    for name in names:
        metadata = MetadataCatalog.get(name)
        wanted |= dict.fromkeys(metadata.get(key) for key in FILES if metadata.get(key))
    missing = [file for file in wanted if not Path(file).exists()]
    if not missing:
        return
    setting = os.getenv("DETECTRON2_DATASETS")
    root = f"DETECTRON2_DATASETS={setting}" if setting else "DETECTRON2_DATASETS is not set"
    lines = [
        f"the data of {', '.join(dict.fromkeys(names))} is not there. Looked for",
        *(f"  {file}  ({'missing' if file in missing else 'found'})" for file in wanted),
        f"in {datasets_root().resolve()} ({root}).",
        "Next, one of:",
        "  python datasets/prepare_coco.py          fetches COCO 2017 and lays it out there",
        "  DETECTRON2_DATASETS=/folder/above/coco   where COCO is already",
        "  DATASETS.CUSTOM.TRAIN_JSON my.json DATASETS.CUSTOM.TRAIN_IMAGES my/images (and",
        "    TEST_JSON, TEST_IMAGES) at the end of the command: your own data in COCO's format",
        "  --config-file quickstart/mask_rcnn.yaml  (make quickstart) needs no data at all",
    ]
    raise MissingInputError("\n".join(lines))


def _follow_data(cfg: CfgNode, names: list[str], stated: Collection[str]) -> None:
    first = _follow_classes(cfg, names, "thing_classes", THING_HEADS, stated)
    _follow_classes(cfg, names, "stuff_classes", STUFF_HEADS, stated)
    if cfg.MODEL.KEYPOINT_ON and first is not None:
        _follow_keypoints(cfg, first, MetadataCatalog.get(first), stated)


def _follow_classes(
    cfg: CfgNode, names: list[str], kind: str, groups: Collection[str], stated: Collection[str]
) -> str | None:
    """Let NUM_CLASSES of some groups follow the datasets' classes; the first that has classes."""
    classes = {name: list(MetadataCatalog.get(name).get(kind, [])) for name in names}
    first = next((name for name in names if classes[name]), None)
    if first is None:
        return None
    for name in names:
        if classes[name] and classes[name] != classes[first]:
            raise InputError(
                f"the classes of {first} and {name} differ: {_some(classes[first])} against "
                f"{_some(classes[name])}; train and test on the same categories"
            )
    for group in groups:
        _set_or_compare(
            cfg.MODEL[group],
            "NUM_CLASSES",
            len(classes[first]),
            stated=f"MODEL.{group}.NUM_CLASSES" in stated,
            what=f"MODEL.{group}.NUM_CLASSES",
            data=f"{first} has {len(classes[first])} classes ({_some(classes[first])})",
        )
    return first


def _follow_keypoints(cfg: CfgNode, name: str, metadata: Metadata, stated: Collection[str]) -> None:
    keypoints = metadata.get("keypoint_names", [])
    if not keypoints:
        raise InputError(
            f"MODEL.KEYPOINT_ON is True, but {name} has no keypoints: its categories name none"
        )
    key = "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS"
    _set_or_compare(
        cfg.MODEL.ROI_KEYPOINT_HEAD,
        "NUM_KEYPOINTS",
        len(keypoints),
        stated=key in stated,
        what=key,
        data=f"{name} has {len(keypoints)} keypoints ({_some(list(keypoints))})",
    )
    if not metadata.get("keypoint_flip_map") and cfg.INPUT.RANDOM_FLIP == "horizontal":
        print(
            f"The keypoints of {name} ({_some(list(keypoints))}) have no left_... and right_... "
            "pairs: mirrored images keep their names. Is that wrong, set INPUT.RANDOM_FLIP none."
        )
    sigmas = cfg.TEST.KEYPOINT_OKS_SIGMAS
    if len(sigmas or range(17)) != len(keypoints):  # COCO's own 17 are built into pycocotools
        raise InputError(
            f"TEST.KEYPOINT_OKS_SIGMAS has {len(sigmas)} values, but {name} has {len(keypoints)} "
            "keypoints: give one standard deviation (COCO's are 0.025 to 0.107) for each"
        )


def _set_or_compare(
    node: CfgNode, key: str, number: int, *, stated: bool, what: str, data: str
) -> None:
    if stated and node[key] != number:
        raise InputError(
            f"{what} is {node[key]}, but {data}: leave {what} out, it follows the data, or train "
            "on other data"
        )
    node[key] = number


def _some(names: list[str], most: int = 8) -> str:
    rest = f", ... {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
