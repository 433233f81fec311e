"""COCO jsons of users: named in the config, or registered by their own code."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from itertools import combinations
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import builtin

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.coco_geometry import outlying_points
from hrnet_det.data.coco_json import CocoJson, read_categories, write_content
from hrnet_det.data.coco_values import examples
from hrnet_det.data.registration import register_coco
from hrnet_det.data.rows import check_rows, is_coco_json, type_datasets, untyped
from hrnet_det.errors import InputError

CUSTOM = {  # of each split: the settings of its json, its images and its names
    "train": (settings.TRAIN_JSON, settings.TRAIN_IMAGES, settings.TRAIN_DATASETS),
    "test": (settings.TEST_JSON, settings.TEST_IMAGES, settings.TEST_DATASETS),
}
# Detectron2's names of COCO's jsons, by which own data may lie in COCO's folders and file names.
COCO_NAMES = frozenset(name for names in builtin._PREDEFINED_SPLITS_COCO.values() for name in names)


def register_custom(run: RunConfig, *, trains: bool = True) -> dict[str, CocoJson]:
    """Register the user's own COCO jsons, and name them as the datasets to train and test on.

    Returns: them, by their names.
    Run-length masks make the mask format "bitmask"; of a split that is not given none is used.
    """
    given = any(run[json_setting] for json_setting, _, _ in CUSTOM.values())
    files = {}
    for split, (json_setting, images_setting, names_setting) in CUSTOM.items():
        json_file, images = str(run[json_setting]), str(run[images_setting])
        if bool(json_file) != bool(images):
            raise InputError(
                f"{run.name(json_setting)} is {json_file!r} and {run.name(images_setting)} is "
                f"{images!r}; give both or neither"
            )
        if json_file and (trains or split == "test"):
            evaluated = split == "test"
            files[f"custom_{split}"] = read(run, json_file, images, evaluated=evaluated)
        if given:
            run[names_setting] = (f"custom_{split}",) if json_file else ()
    return register(run, files)


def read(run: RunConfig, json_file: str, images: str, *, evaluated: bool) -> CocoJson:
    """A json for a run's detector. Raises as CocoJson."""
    masks, keypoints = run.model.masks, run.model.keypoints
    flags = {"masks": masks, "keypoints": keypoints, "evaluated": evaluated}
    return CocoJson(Path(json_file), Path(images), **flags)


def register(run: RunConfig, files: Mapping[str, CocoJson]) -> dict[str, CocoJson]:
    """Register jsons under their names, tell what was found, and write those that were repaired.

    Returns: them.
    Raises: InputError, MissingInputError if one cannot be used.
    """
    drop_unused_roots(files.values())
    for name, file in files.items():
        file.raise_errors()
        path = tell_and_write(run, file, name)
        options = {
            "name": name,
            "json_file": path,
            "image_root": file.images,
            "classes": file.classes,
            "keypoint_names": file.keypoint_names,
            "given": (str(file.path), str(file.images)),  # which another run of the process reads
        }
        register_coco(**options)
        run.custom.append(options)
        if file.has_rle:
            run[settings.MASK_FORMAT] = "bitmask"
    for one, other in combinations(files.values(), 2):
        _tell_shared(run, one, other)
    return dict(files)


def tell_and_write(run: RunConfig, file: CocoJson, name: str) -> Path:
    """Say what a json's checks have found; returns the json to use, a copy if it was repaired."""
    outlying = outlying_points(file.content) if run.model.keypoints else ()
    for found in (*file.findings, *outlying):
        run.note(f"{file.path}: {found.text}")
    if not file.changed:
        return file.path
    path = Path(str(run[settings.OUTPUT_DIR]), "data", f"{name}.json")
    write_content(path, file.content)
    run.note(f"{file.path} is used with these changes: {path} has them.")
    return path


def drop_unused_roots(files: Collection[CocoJson]) -> None:
    """Leave out Roboflow's category 0, the set's name, where no json has an object of it."""
    roots = set.intersection(*(file.unused_roots() for file in files)) if files else set()
    for file in files:
        file.drop_categories(roots)


def _tell_shared(run: RunConfig, one: CocoJson, other: CocoJson) -> None:
    """Warn of images that are trained and tested on."""
    files = [
        {os.path.realpath(os.path.join(f.images, r["file_name"])) for r in f.content["images"]}
        for f in (one, other)
    ]
    if shared := sorted(files[0] & files[1]):
        run.note(
            f"{len(shared)} of {len(files[1])} images to test on are trained on too "
            f"({examples(shared)}): their AP says nothing about new images."
        )


def register_again(run: RunConfig, names: Iterable[str]) -> None:
    """In another process: the datasets of these names that `prepare_datasets` has prepared."""
    for options in run.custom:
        register_coco(**options)
    type_datasets(set(names) & set(DatasetCatalog.list()))


def take_registered(
    run: RunConfig, names: Iterable[str], evaluated: Collection[str]
) -> dict[str, CocoJson]:
    """Read and check the jsons that the user's own code registered, as those of the config.

    Returns: them, by their names.
    Of Detectron2's own names only those whose json has other categories are taken as the user's.
    Raises: InputError as `register`; if rows that the user's code makes cannot be used.
    """
    files = {}
    for name in names:
        loader, metadata = untyped(DatasetCatalog[name]), MetadataCatalog.get(name)
        module = getattr(loader, "__module__", "")
        given = metadata.get("given")  # where it was read in an earlier run of this process
        if given or is_coco_json(loader):
            paths = given or (str(metadata.json_file), str(metadata.image_root))
            if name in COCO_NAMES:
                if not os.path.isfile(paths[0]) or _has_known_categories(name):
                    continue  # as Detectron2 knows them, or said to be missing
                run.note(f"{paths[0]} has other categories than {name}: taken as your own data.")
            files[name] = read(run, *paths, evaluated=name in evaluated)
        elif not module.startswith(("detectron2.", "hrnet_det.")):
            check_rows(name)
    return register(run, files)


def _has_known_categories(name: str) -> bool:
    """Whether the json of one of Detectron2's datasets has the categories that it is known by."""
    metadata = MetadataCatalog.get(name)
    found = sorted(read_categories(Path(metadata.json_file)))
    ids = metadata.get("thing_dataset_id_to_contiguous_id")  # COCO's people have none
    same_ids = ids is None or [id_ for id_, _ in found] == sorted(ids, key=ids.get)
    return same_ids and [name for _, name in found] == list(metadata.thing_classes)
