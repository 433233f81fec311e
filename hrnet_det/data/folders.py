"""The folder of a user's own data, DATASETS.CUSTOM.FOLDER, made the jsons and images of a run."""

from __future__ import annotations

import os
from pathlib import Path

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.coco_json import write_content
from hrnet_det.data.layouts import Split, find_layout
from hrnet_det.data.own_data import CUSTOM, read
from hrnet_det.data.splitting import SEED, split_content
from hrnet_det.errors import InputError


def take_folder(run: RunConfig, *, trains: bool) -> None:
    """Let DATASETS.CUSTOM.FOLDER become the four settings of jsons and images, and say which.

    A json without one to test on is split: both parts are written to OUTPUT_DIR/data.

    Raises: InputError if jsons are given on the command line too; as `find_layout` and CocoJson.
    """
    if not (folder := str(run[settings.DATA_FOLDER])):
        return
    if typed := [setting for setting, _, _ in CUSTOM.values() if run.types(setting)]:
        raise InputError(
            f"{run.shown(settings.DATA_FOLDER)} (--data) and {run.shown(typed[0])}: give one of "
            "them, a folder or its jsons and images"
        )
    layout = find_layout(Path(folder), keypoints=run.model.keypoints)
    train, test = layout.train, layout.test
    if trains and train is None:
        raise InputError(f"{folder} has only {test} to test on, and no json to train on")
    if test is None:
        train, test = _split(run, train)
    used = {"training": train if trains else None, "testing": test}
    said = ", ".join(f"{what} on {split}" for what, split in used.items() if split)
    run.note(f"{said[0].upper()}{said[1:]}.")
    if layout.aside:
        run.note(f"{layout.aside} is kept aside: test on it once you have chosen a model.")
    for (json_setting, images_setting, _), split in zip(
        CUSTOM.values(), (train, test), strict=True
    ):
        run[json_setting] = str(split.json) if split else ""
        run[images_setting] = str(split.images) if split else ""
    run[settings.DATA_FOLDER] = ""


def _split(run: RunConfig, whole: Split) -> tuple[Split, Split | None]:
    """One json made two, both written to OUTPUT_DIR/data."""
    file = read(run, *map(str, whole), evaluated=False).raise_errors()
    for found in file.findings:
        if found.severity == "change":  # the rest is told of the parts
            run.note(f"{file.path}: {found.text}")
    parts = split_content(file.content)
    train, test = (len(part["images"]) for part in parts)
    if not test:
        run.note(f"{whole.json} has too few images to keep some for testing.")
        return whole, None
    folder = Path(str(run[settings.OUTPUT_DIR]), "data")
    paths = [folder / f"split_{name}.json" for name in ("train", "test")]
    for path, part in zip(paths, parts, strict=True):
        write_content(path, part)
    run.note(
        f"{whole.json} is split by image: {train} to train on, {test} to test on (drawn with seed "
        f"{SEED}, always the same), written to {folder}{os.sep}."
    )
    return tuple(Split(path, whole.images) for path in paths)
