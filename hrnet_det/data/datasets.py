"""The datasets that a run uses: registered, found on disk, and the classes taken from them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.config.settings import Setting
from hrnet_det.data import quickstart
from hrnet_det.data.coco_stuff import FOLDER as STUFF_MAPS
from hrnet_det.data.dataset_kinds import files_of
from hrnet_det.data.folders import take_folder
from hrnet_det.data.own_data import CUSTOM, register_custom, take_registered
from hrnet_det.data.proposals import raise_limits
from hrnet_det.data.registration import QUICKSTART, datasets_root
from hrnet_det.data.rows import type_datasets
from hrnet_det.data.statistics import Statistics
from hrnet_det.errors import InputError, MissingInputError, nearest
from hrnet_det.modeling.kinds import SEGMENTS, kind_of

_FETCH_MAPS = (
    f"  python datasets/prepare_coco.py --parts {STUFF_MAPS}    fetches COCO-stuff's maps: 183\n"
    "                        classes for HTC (coco_2017_train_panoptic_separated: Detectron2's 54)"
)


class Splits(NamedTuple):
    """Names of the datasets that a run uses, and by name what is known of the user's own.

    These are their statistics, and the paths and depths of their images of more than 8 bits.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]
    statistics: Mapping[str, Statistics] = MappingProxyType({})
    deep: Mapping[str, Mapping[str, str]] = MappingProxyType({})

    @property
    def names(self) -> list[str]:
        """All of them, without repetition."""
        return list(dict.fromkeys((*self.train, *self.test)))


def used_splits(run: RunConfig, *, trains: bool) -> Splits:
    """The datasets that a run uses: those to train on only if it trains."""
    train = tuple(run[settings.TRAIN_DATASETS]) if trains else ()
    return Splits(train, tuple(run[settings.TEST_DATASETS]))


def prepare_datasets(config: RunConfig | CfgNode, *, trains: bool = True) -> Splits:
    """Make a run's datasets usable, or say what is missing. Changes the settings it is given.

    Registers custom data, makes the quickstart dataset if it is named, and lets the numbers of
    classes and keypoints follow the data.

    Raises: MissingInputError if files are missing, InputError if a dataset is not registered (the
        message has the nearest names) or cannot be used.
    """
    run = config if isinstance(config, RunConfig) else RunConfig(config)
    take_folder(run, trains=trains)
    files = register_custom(run, trains=trains)
    splits = used_splits(run, trains=trains)
    split = "train" if trains else "test"
    if not getattr(splits, split):
        raise InputError(f"{run.name(CUSTOM[split][2])} is empty: name a dataset to {split} on")
    for name in splits.names:
        if name not in DatasetCatalog.list():
            near = nearest(name, DatasetCatalog.list())
            hint = f"; nearest: {', '.join(near)}" if near else ""
            raise InputError(f"there is no dataset {name!r}{hint}")
    if any(name in QUICKSTART for name in splits.names):
        quickstart.make_quickstart(datasets_root() / "quickstart")
    check_files(run, splits.names)
    files |= take_registered(run, [n for n in splits.names if n not in files], splits.test)
    type_datasets(splits.names)
    follow_classes(run, splits.names)
    if run.model.keypoints:
        follow_keypoints(run, splits)
    if SEGMENTS in kind_of(run).learns:
        follow_things(run, splits.names[0])
        check_segments(splits.names)
    statistics = {name: Statistics.of(file.content) for name, file in files.items()}
    raise_limits(run, statistics.values())
    deep = {name: file.deep for name, file in files.items()}
    return splits._replace(statistics=statistics, deep=deep)


def check_files(run: RunConfig, names: Sequence[str]) -> None:
    """Raises: MissingInputError if files that the datasets' metadata names are not there."""
    files = itertools.chain.from_iterable(map(files_of, names))
    states = {file: "found" if Path(file).exists() else "missing" for file in files}
    if "missing" not in states.values():
        return
    setting = os.getenv("DETECTRON2_DATASETS")
    root = f"DETECTRON2_DATASETS={setting}" if setting else "DETECTRON2_DATASETS is not set"
    lines = [
        f"the data of {', '.join(names)} is not there. Looked for",
        *(f"  {file}  ({state})" for file, state in states.items()),
        f"in {datasets_root().resolve()} ({root}).",
        "Next, one of:",
        "  python datasets/prepare_coco.py          fetches COCO 2017 and lays it out there",
        *([_FETCH_MAPS] if any(STUFF_MAPS in file for file in states) else []),
        "  DETECTRON2_DATASETS=/folder/above/coco   where COCO is already",
        "  --config-file custom/mask_rcnn.yaml --data FOLDER    your own data in COCO's format",
        "  --config-file quickstart/mask_rcnn.yaml  (make quickstart) needs no data at all",
    ]
    raise MissingInputError("\n".join(lines))


def follow_classes(run: RunConfig, names: Sequence[str]) -> None:
    """Let the numbers of classes follow the data, on which datasets and user have to agree."""
    kind = kind_of(run)
    for field, setting, what in (
        ("thing_classes", kind.classes, "classes"),
        ("stuff_classes", kind.semantic_classes, "semantic classes"),
    ):
        first, expected = "", []
        for name in () if setting is None else names:
            classes = list(MetadataCatalog.get(name).get(field, []))
            if not expected:
                first, expected = name, classes
            elif classes and classes != expected:
                raise InputError(
                    f"the classes of {first} and {name} differ: {_some(expected)} against "
                    f"{_some(classes)}; train and test on the same categories"
                )
        if expected:
            _follow(run, setting, first, what, expected)


def follow_keypoints(run: RunConfig, splits: Splits) -> None:
    """Let the number of keypoints follow the data, and check that each has its OKS sigma."""
    name = splits.names[0]
    metadata = MetadataCatalog.get(name)
    keypoints = list(metadata.get("keypoint_names", []))
    if not keypoints:
        raise InputError(
            f"{name} has no keypoints, which this detector learns: its categories name none. Take "
            "a dataset that has them, or a config without keypoints"
        )
    _follow(run, settings.NUM_KEYPOINTS, name, "keypoints", keypoints)
    if not metadata.get("keypoint_flip_map") and run[settings.RANDOM_FLIP] != "none":
        run.note(
            f"The keypoints of {name} ({_some(keypoints)}) have no left_... and right_... pairs: "
            f"flipped images keep their names. Is that wrong, set {settings.RANDOM_FLIP.yaml} none."
        )
    sigmas = run[settings.KEYPOINT_OKS_SIGMAS]
    if splits.test and len(sigmas or range(17)) != len(keypoints):  # pycocotools knows COCO's 17
        raise InputError(
            f"{run.name(settings.KEYPOINT_OKS_SIGMAS)} has {len(sigmas)} values, but {name} has "
            f"{len(keypoints)} keypoints: give one standard deviation (COCO's are 0.025 to 0.107) "
            "for each"
        )


def follow_things(run: RunConfig, dataset: str) -> None:
    """Let the classes that are things be those of a dataset."""
    numbers = MetadataCatalog.get(dataset).get("thing_dataset_id_to_contiguous_id", {}).values()
    things, setting = sorted(numbers), settings.THING_CLASSES
    if not things or not run.has(setting) or list(run[setting]) == things:
        return
    if run.states(setting):
        raise InputError(
            f"{run.name(setting)} is {list(run[setting])}, but the things of {dataset} are the "
            f"classes {things}: set {run.shown(setting, things)}, or take other data"
        )
    run[setting] = things
    run.note(f"{run.shown(setting)}, as {dataset} has.")


def check_segments(names: Sequence[str]) -> None:
    """Raises: MissingInputError if files that Cityscapes' scripts write are not there."""
    for name in names:
        try:
            DatasetCatalog.get(name)
        except AssertionError as error:
            if "cityscapesscripts" not in str(error):
                raise
            raise MissingInputError(f"dataset {name}: {error}") from error


def _follow(run: RunConfig, setting: Setting, dataset: str, what: str, found: list[str]) -> None:
    if not run.has(setting) or run[setting] == len(found):
        return
    if run.states(setting):
        raise InputError(
            f"{run.name(setting)} is {run[setting]}, but {dataset} has {len(found)} {what} "
            f"({_some(found)}): set {run.shown(setting, len(found))}, or take other data"
        )
    run[setting] = len(found)
    run.note(f"{run.shown(setting)}, as {dataset} has.")
    weights = run[settings.CLASS_WEIGHTS] if what == "semantic classes" else ()
    if len(weights) in (0, len(found)):
        return
    name = run.name(settings.CLASS_WEIGHTS)
    if run.states(settings.CLASS_WEIGHTS):
        raise InputError(
            f"{name} has {len(weights)} values, but {dataset} has {len(found)} classes: give one "
            "for each, or [] for none"
        )
    run[settings.CLASS_WEIGHTS] = []
    run.note(
        f"{name} [], as the config's {len(weights)} are for other classes than those of {dataset}."
    )


def _some(names: list[str], most: int = 8) -> str:
    rest = f", ... {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
