"""The COCO jsons of a run's datasets, read and checked as before a training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from detectron2.data import DatasetCatalog, MetadataCatalog

from hrnet_det.config import settings
from hrnet_det.config.load import load_run
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data import coco_values as values
from hrnet_det.data import own_data, quickstart
from hrnet_det.data.coco_json import CocoJson
from hrnet_det.data.datasets import used_splits
from hrnet_det.data.findings import Finding
from hrnet_det.data.folders import take_folder
from hrnet_det.data.registration import QUICKSTART, datasets_root
from hrnet_det.errors import InputError, MissingInputError, did_you_mean

DEFAULT = "custom/faster_rcnn.yaml"  # whose settings data is compared with
FORMATS = ("coco", "coco_panoptic_seg")  # evaluator_types of datasets with a json of this format
NEEDED = {"images": "file_name", "annotations": "bbox", "categories": "name"}  # beside the id


@dataclass
class Source:
    """A dataset to check.

    Args:
        name: "train" or "test", or that of a registered dataset.
        path, folder: its json, and the folder of its images.
        tests: whether it is tested on, not trained on.
        own: whether it is the user's, which limits of a run follow.
    Attributes:
        file: None where it cannot be read.
        findings: of a json that cannot be read; else those of `file`.
    """

    name: str
    path: str
    folder: str
    tests: bool
    own: bool = True
    file: CocoJson | None = None
    findings: list[Finding] = field(default_factory=list)

    def read(self, run: RunConfig) -> None:
        """Read the json for a run's detector. Raises: MissingInputError if it is not there."""
        try:
            self.file = own_data.read(run, self.path, self.folder, evaluated=self.tests)
        except MissingInputError:
            raise
        except InputError as error:
            text = " ".join(str(error).split())
            self.findings = [Finding("json-unreadable", "error", text)]
        else:
            self.findings = self.file.findings

    @property
    def has_errors(self) -> bool:
        """Whether its json has."""
        return any(found.severity == "error" for found in self.findings)

    @cached_property
    def content(self) -> dict | None:
        """Of the json; None if rows lack what tells them apart, so that nothing can be said."""
        content = self.file.content if self.file else {}
        for rows_of, key in NEEDED.items():
            for row in content.get(rows_of, [None]):
                if not isinstance(row, dict) or not values.is_id(row.get("id")) or key not in row:
                    return None
        return content

    @cached_property
    def paths(self) -> dict[int, str]:
        """The file of each image id."""
        rows = self.content["images"] if self.content else ()
        folder = os.path.expanduser(self.folder)
        return {row["id"]: os.path.join(folder, str(row["file_name"])) for row in rows}


def load(
    config: str | None,
    words: Sequence[str],
    *,
    data: str | None = None,
    test: Sequence[str] | None = None,
    output: str,
) -> RunConfig:
    """The run that the arguments of `hrnet-det check-data` describe.

    Args:
        config: None: DEFAULT.
        words: KEY VALUE pairs of a config; without one, a json and its images, or a folder.
        data: a folder of jsons and images, as --data of a training.
        test: a json and the folder of its images, to test on.
        output: the folder in which the parts of a json that is split are written.
    Raises: InputError if they name no data.
    """
    run = load_run(config or DEFAULT, words if config else ())
    run[settings.OUTPUT_DIR] = output
    given = [] if config else list(words)
    if len(given) == 1 and not data and not test:
        data, given = given[0], []
    pairs = {"train": given, "test": test or ()}
    if any(len(pair) not in (0, 2) for pair in pairs.values()) or (data and any(pairs.values())):
        raise InputError(
            f"check-data {' '.join(words)}: give a folder, or a json and the folder of its images "
            "(--test with those to test on), or --config-file with KEY VALUE pairs"
        )
    if not config and not data and not any(pairs.values()):
        raise InputError("check-data: give a json and the folder of its images, or --config-file")
    if data:
        run[settings.DATA_FOLDER] = data
    for split, pair in pairs.items():
        for setting, value in zip(own_data.CUSTOM[split], pair, strict=False):
            run[setting] = value
    return run


def sources_of(run: RunConfig) -> list[Source]:
    """The datasets that a run trains and tests on, as far as they have a COCO json, read.

    Raises: InputError if it has none, MissingInputError if a json or folder is not there.
    """
    take_folder(run, trains=True)
    found = [
        Source(split, str(run[json]), str(run[images]), tests=split == "test")
        for split, (json, images, _) in own_data.CUSTOM.items()
        if run[json]
    ] or _registered(run)
    if not found:
        raise InputError(
            "check-data: the config names no dataset with a COCO json: add --data FOLDER, or "
            f"{' '.join(run.words(settings.TRAIN_JSON, 'my.json'))} and so on"
        )
    for source in found:
        source.read(run)
    own_data.drop_unused_roots([source.file for source in found if source.file and source.own])
    return found


def _registered(run: RunConfig) -> list[Source]:
    splits = used_splits(run, trains=True)
    for name in splits.names:
        if name not in DatasetCatalog.list():
            near = did_you_mean(name, DatasetCatalog.list())
            raise InputError(f"there is no dataset {name!r}{near}")
    if any(name in QUICKSTART for name in splits.names):
        quickstart.make_quickstart(datasets_root() / "quickstart")
    found = []
    for name in splits.names:
        known = MetadataCatalog.get(name).as_dict()
        if known.get("evaluator_type") in FORMATS and known.get("image_root"):
            own = name not in {*QUICKSTART, *own_data.COCO_NAMES}
            paths = str(known["json_file"]), str(known["image_root"])
            found.append(Source(name, *paths, name not in splits.train, own))
        else:
            run.note(f"{name} is not checked: it has no json in COCO's format.")
    return found
