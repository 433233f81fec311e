"""The data sets that a config names: registered, found on disk, and the classes taken from them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.catalog import Metadata
from detectron2.data.datasets import load_coco_json

from hrnet_det.data import quickstart
from hrnet_det.data.coco_file import CocoFile
from hrnet_det.errors import InputError, MissingInputError

QUICKSTART = {
    f"quickstart_{kind}{split}": (split, f"{stem}_{split}.json")
    for kind, stem in (("", "instances"), ("keypoints_", "keypoints"))
    for split in ("train", "val")
}


def datasets_root() -> Path:
    """The folder of DETECTRON2_DATASETS, as Detectron2 reads it: `datasets` when it is not set."""
    return Path(os.getenv("DETECTRON2_DATASETS", "datasets")).expanduser()


def register_quickstart() -> None:
    """Register quickstart_train, quickstart_val and their keypoint forms; made when first read."""
    root = datasets_root() / "quickstart"
    for name, (split, json_name) in QUICKSTART.items():
        keypoints = "keypoints" in name
        _register(
            name,
            json_file=root / "annotations" / json_name,
            image_root=root / split,
            classes=["arrow"] if keypoints else list(quickstart.CLASSES),
            keypoint_names=list(quickstart.KEYPOINTS) if keypoints else [],
        )


def _register(
    name: str,
    *,
    json_file: Path,
    image_root: Path,
    classes: list[str],
    keypoint_names: list[str],
) -> None:
    """Register a COCO json under a name, in place of what had the name before."""
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
        MetadataCatalog.pop(name)

    def load() -> list[dict]:
        if name in QUICKSTART:
            quickstart.make_quickstart(image_root.parent)
        return load_coco_json(str(json_file), str(image_root), name)

    DatasetCatalog.register(name, load)
    metadata = MetadataCatalog.get(name)
    metadata.set(
        json_file=str(json_file),
        image_root=str(image_root),
        evaluator_type="coco",
        thing_classes=classes,
    )
    if keypoint_names:
        metadata.set(keypoint_names=keypoint_names, keypoint_flip_map=flip_pairs(keypoint_names))


def flip_pairs(names: Collection[str]) -> list[tuple[str, str]]:
    """Keypoints that a mirrored picture swaps: those named alike but for "left" and "right"."""
    by_lower = {name.lower(): name for name in names}
    mirrored = {name: name.lower().replace("left", "right") for name in names}
    return [
        (name, by_lower[other])
        for name, other in mirrored.items()
        if other != name.lower() and other in by_lower
    ]


def prepare_datasets(cfg: CfgNode, *, stated: Collection[str]) -> None:
    """Make a config's data sets usable, or say what is missing. Changes cfg in place.

    Registers DATASETS.CUSTOM, makes the quickstart data set if it is named, looks for the files
    of every data set, and lets the numbers of classes and keypoints follow the data.

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
                f"there is no data set {name!r}" + (f"; nearest: {', '.join(near)}" if near else "")
            )
    if any(name in QUICKSTART for name in names):
        try:
            quickstart.make_quickstart(datasets_root() / "quickstart")
        except ValueError as error:  # the folder holds something else
            raise InputError(str(error)) from error
    _check_files(names)
    _follow_data(cfg, names, stated)


def register_custom(cfg: CfgNode) -> None:
    """Register the data sets of DATASETS.CUSTOM and name them in DATASETS.TRAIN and TEST.

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
        file = CocoFile(
            Path(json_file),
            Path(images),
            masks=cfg.MODEL.MASK_ON,
            keypoints=cfg.MODEL.KEYPOINT_ON,
            evaluated=split == "TEST",
        )
        name = f"custom_{split.lower()}"
        _register(
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
        for file in (getattr(metadata, "json_file", None), getattr(metadata, "image_root", None)):
            if file:
                wanted[file] = None
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
        "  DATASETS.CUSTOM.TRAIN_JSON my.json DATASETS.CUSTOM.TRAIN_IMAGES my/pictures (and",
        "    TEST_JSON, TEST_IMAGES) at the end of the command: one's own data in COCO's format",
        "  --config-file quickstart/mask_rcnn.yaml  (make quickstart) needs no data at all",
    ]
    raise MissingInputError("\n".join(lines))


def _follow_data(cfg: CfgNode, names: list[str], stated: Collection[str]) -> None:
    metadata = {name: MetadataCatalog.get(name) for name in names}
    classes = {name: list(m.get("thing_classes", [])) for name, m in metadata.items()}
    first = next((name for name in names if classes[name]), None)
    if first is None:
        return
    for name in names:
        if classes[name] and classes[name] != classes[first]:
            raise InputError(
                f"the classes of {first} and {name} differ: {_some(classes[first])} against "
                f"{_some(classes[name])}; train and test on the same categories"
            )
    for group in ("ROI_HEADS", "RETINANET", "FCOS"):
        _set_or_compare(
            cfg.MODEL[group],
            "NUM_CLASSES",
            len(classes[first]),
            stated=f"MODEL.{group}.NUM_CLASSES" in stated,
            what=f"MODEL.{group}.NUM_CLASSES",
            data=f"{first} has {len(classes[first])} classes ({_some(classes[first])})",
        )
    if cfg.MODEL.KEYPOINT_ON:
        _follow_keypoints(cfg, first, metadata[first], stated)


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
            "pairs: mirrored pictures keep their names. Is that wrong, set INPUT.RANDOM_FLIP none."
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
