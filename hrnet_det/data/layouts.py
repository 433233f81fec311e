"""Where the jsons and images of a dataset's folder are, by the layouts that tools export."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hrnet_det.errors import InputError, MissingInputError

LAYOUTS = """\
  annotations/instances_train2017.json and ..._val2017.json, train2017/, val2017/   (COCO)
  train/_annotations.coco.json and valid/, test/ likewise, beside the images        (Roboflow)
  annotations/instances_default.json, or ..._Train.json and so on, images/          (CVAT)
  result.json, images/                                                        (Label Studio)
  train.json, val.json, images/                  (names with train, and val, valid or test)
  one json in COCO's format, a folder of images        (split by image: a fifth is tested on)"""
WORDS = {  # what in the name of a json or a folder says which split it is
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
IMAGES = ("images", "image", "imgs", "img", "data", "jpegimages", "default")
USUAL = {*IMAGES, *(word for words in WORDS.values() for word in words)}  # in image folders' names
MOST_JSONS = 100  # more are one for each image
MOST_FOLDERS = 2000
SAMPLED = 20  # file names that are looked for to find the folder of a json's images


class Split(NamedTuple):
    """A json, and the folder that its file names start from."""

    json: Path
    images: Path

    def __str__(self) -> str:
        return f"{self.json} (images in {self.images}{os.sep})"


@dataclass(frozen=True)
class Layout:
    """What a folder has to train and to test on.

    Args:
        train, test: None where there is none. Without a test, train is to be split.
        aside: a json that is used for neither: the test set where there is a validation set too.
    """

    train: Split | None
    test: Split | None
    aside: Split | None = None


@dataclass(frozen=True)
class _Json:
    """A json of the folder: which split it is of ("" if nothing says it), and its images."""

    path: Path
    split: str
    file_names: list[str] = field(default_factory=list)
    is_coco: bool = False


def find_layout(folder: Path, *, keypoints: bool = False) -> Layout:
    """The jsons to train and test on in a folder, by their names and those of their folders.

    The validation set is tested on, or without one the test set. Images are where the file names
    of the json are found.

    Args:
        keypoints: COCO's person_keypoints_... are taken where there are any, else instances_...
    Raises: MissingInputError if there is no such folder, or no json of COCO's format in it;
        InputError if several could be meant. The message has what was looked for and found.
    """
    folder = folder.expanduser()
    if not os.path.isdir(folder):
        raise MissingInputError(
            f"the folder of data {folder} is not there: give one of jsons and images"
        )
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] != "."]
    jsons = _jsons(folder, inside)
    if not jsons and len(inside) == 1:  # as archives are unpacked
        return find_layout(inside[0], keypoints=keypoints)
    train, val, test = (
        _of_splits(jsons, splits, keypoints=keypoints)
        for splits in (("train", ""), ("val",), ("test",))
    )
    used = [train, val or test]
    if several := [file for found in used if len(found) > 1 for file in found]:
        listed = ", ".join(str(file.path.relative_to(folder)) for file in several)
        problem = f"has several jsons that could be meant: {listed}"
        raise InputError(_not_understood(folder, problem))
    if not any(used):
        raise MissingInputError(_not_understood(folder, "has no json of COCO's format"))
    used.append([file for file in test if file.is_coco] if val else [])
    return Layout(*(_with_images(folder, found[0]) if found else None for found in used))


def _jsons(folder: Path, inside: Iterable[Path]) -> list[_Json]:
    """The jsons in the folder, in annotations/, and in folders that are named as a split."""
    named = [path for path in inside if path.name.lower().startswith("annot") or _split_of(path)]
    below = [path / "annotations" for path in named]
    paths = [path for place in (folder, *named, *below) for path in sorted(place.glob("*.json"))]
    if len(paths) > MOST_JSONS:
        raise InputError(
            _not_understood(folder, f"has {len(paths)} jsons, not one for all images of a split")
        )
    read = [_read(path, _split_of(path) or _split_of(path.parent, folder)) for path in paths]
    return [file for file in read if file.split != "none"]


def _of_splits(jsons: Iterable[_Json], splits: tuple[str, ...], *, keypoints: bool) -> list[_Json]:
    """The jsons of splits; only COCO's, and only the task's, if there are some of these."""
    found = [file for file in jsons if file.split in splits]
    task = "keypoints" if keypoints else "instances"
    for fits in (lambda file: file.is_coco, lambda file: task in _words(file.path.stem)):
        found = [file for file in found if fits(file)] or found
    return found


def _words(name: str) -> list[str]:
    """Its words in lower case: "instances", "train" of instances_train2017."""
    return re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())


def _split_of(path: Path, above: Path | None = None) -> str:
    """The split that a name says; of a folder also that of the one above it; "" if none."""
    names = [path.stem if path.suffix == ".json" else path.name]
    if above is not None:
        names = [] if path == above else list(path.relative_to(above).parts)
    words = {word for name in names for word in _words(name)}
    return next((split for split, known in WORDS.items() if words & set(known)), "")


def _read(path: Path, split: str) -> _Json:
    """What can be said of a json before it is checked; one that is not valid may be COCO's."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return _Json(path, split)
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        return _Json(path, "none")
    lists = all(isinstance(content.get(key), list) for key in ("annotations", "categories"))
    rows = content["images"]
    sampled = rows[:: max(1, len(rows) // SAMPLED)][:SAMPLED]
    names = [row.get("file_name") for row in sampled if isinstance(row, dict)]
    return _Json(path, split, [str(name) for name in names if name is not None], lists)


def _with_images(folder: Path, file: _Json) -> Split:
    """The json with its images' folder: where most of its file names are, those of its split first.

    Raises: MissingInputError if none of them is found; InputError if two folders are as good.
    """
    ranked = []
    for place in _places(folder, file.path.parent):
        exact = sum(os.path.isfile(os.path.join(place, name)) for name in file.file_names)
        last = sum(os.path.isfile(os.path.join(place, _last(name))) for name in file.file_names)
        parts = place.relative_to(folder).parts
        named = bool(file.split) and _split_of(place, folder) == file.split
        odd = sum(word not in USUAL for part in parts for word in _words(part))
        rank = (exact, last, named, place == file.path.parent, -odd, -len(parts))
        ranked.append((rank, place))
    ranked.sort(key=lambda pair: pair[0], reverse=True)
    (best, place), *others = ranked
    if file.file_names and not best[0] and not best[1]:
        raise MissingInputError(
            _not_understood(folder, f"has no image of {file.path}, such as {file.file_names[0]!r}")
        )
    if file.file_names and others and others[0][0] == best:
        both = f"{place} and {others[0][1]}"
        raise InputError(_not_understood(folder, f"has the images of {file.path} twice: {both}"))
    return Split(file.path, place)


def _last(name: str) -> str:
    """The last part of a file name; Windows' and addresses' have one too."""
    return re.split(r"[\\/]", name)[-1]


def _places(folder: Path, beside: Path) -> list[Path]:
    """Folders in which images may be: the folder, two levels below it, and beside the json."""

    def walk() -> Iterator[Path]:
        yield folder
        yield beside
        for above in (path for path in sorted(folder.iterdir()) if path.is_dir()):
            yield above
            yield from (path for path in sorted(above.iterdir()) if path.is_dir())

    return list(dict.fromkeys(itertools.islice(walk(), MOST_FOLDERS)))


def _not_understood(folder: Path, problem: str) -> str:
    """The message of a folder that is not understood: what was looked for, and what is there."""
    entries = sorted(folder.iterdir())
    folders = [f"{path.name}{os.sep}" for path in entries if path.is_dir()]
    jsons = [path.name for path in entries if path.suffix == ".json"]
    kinds = Counter(path.suffix or path.name for path in entries if path.is_file())
    others = [f"{count} {kind}" for kind, count in kinds.most_common() if kind != ".json"]
    found = ", ".join([*folders[:10], *jsons[:10], *others[:5]]) or "nothing"
    return (
        f"the folder of data {folder} {problem}\nLooked for one of\n{LAYOUTS}\n"
        f"Found in it: {found}.\nNext: lay it out as one of these, or name jsons and images: "
        "DATASETS.CUSTOM.TRAIN_JSON, TRAIN_IMAGES, TEST_JSON and TEST_IMAGES"
    )
