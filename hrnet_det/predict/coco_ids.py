"""The ids that a user's COCO json gives images and classes, for results that are scored by it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from hrnet_det.data.coco_json import checked_lists
from hrnet_det.data.coco_values import examples
from hrnet_det.errors import InputError, MissingInputError, did_you_mean
from hrnet_det.predict.sources.file_types import IMAGE
from hrnet_det.predict.sources.find import Source

Id = int | str
# Of a row for each of the tasks of COCO, what its results have beside the two ids and the score.
TASKS = {"bbox": ("bbox",), "segm": ("segmentation",), "keypoints": ("bbox", "keypoints")}


class CocoIds:
    """A COCO json's ids of images by their file names, and of categories by their names.

    Args:
        path: it needs the lists of images and categories alone.
    Raises: MissingInputError if it is not there; InputError if it has not these.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        content = _content(Path(path))
        try:
            self._images = [(_parts(row["file_name"]), row["id"]) for row in content["images"]]
            self._categories = [(row["name"], row["id"]) for row in content["categories"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"--coco-json {path}: an image without id and file_name, or a category without id "
                f"and name ({error})"
            ) from error
        self._by_name: dict[tuple[str, ...], list[Id]] = defaultdict(list)
        self._by_last: dict[str, list[Id]] = defaultdict(list)
        for parts, image_id in self._images:
            self._by_name[parts].append(image_id)
            self._by_last[parts[-1]].append(image_id)

    def of_images(self, sources: Sequence[Source]) -> tuple[list[Id | None], list[str]]:
        """The id of each image, None for those that the json does not have, and what is to be said.

        An image is the json's whose file_name its path ends with; of several the longest; else the
        only one whose file_name ends with the image's own name.

        Raises: InputError that counts the images which may be several of the json's, those that are
            the same one, and all, if the json has none of them.
        """
        ids, unknown, several, by_last = {}, [], [], 0
        for source in sources:
            found, exactly = self._candidates(source)
            by_last += bool(found) and not exactly
            if len(found) == 1:
                ids[source.name] = found[0]
            else:
                (several if found else unknown).append(source.name)
        times = Counter(ids.values())
        same = [name for name, image_id in ids.items() if times[image_id] > 1]
        for wrong, what in (
            ([] if ids else unknown, "are not among its images"),
            (several, "have a name that several of its images have"),
            (same, "are the same one of its images as another"),
        ):
            if wrong:
                raise InputError(
                    f"--coco-json {self.path}: {len(wrong)} of {len(sources)} given images {what}, "
                    f"by file_name: {examples(wrong)}. Leave them out, or leave out --coco-json"
                )
        notes = self._notes(unknown, by_last, absent=len(self._images) - len(ids))
        return [ids.get(source.name) for source in sources], notes

    def _notes(self, unknown: Sequence[str], by_last: int, *, absent: int) -> list[str]:
        told = []
        if unknown:
            told.append(
                f"{len(unknown)} given images are not among its images, by file_name, and so not "
                f"in the results: {examples(unknown)}"
            )
        if absent:
            told.append(
                f"{absent} of its {len(self._images)} images are not given: an AP counts all of "
                "their objects as missed"
            )
        if by_last:
            told.append(
                f"{by_last} images are found in it by their names alone, without their folders"
            )
        return [f"--coco-json {self.path}: {text}" for text in told]

    def _candidates(self, source: Source) -> tuple[list[Id], bool]:
        """Ids that an image may have, and whether a whole file_name says so."""
        place = source.place
        if source.kind != IMAGE or isinstance(place, bytes):
            return [], True
        path = unquote(urlsplit(place).path) if isinstance(place, str) else str(place.absolute())
        parts = _parts(path)
        for start in range(len(parts)):
            if found := self._by_name.get(parts[start:]):
                return found, True
        return self._by_last.get(parts[-1], []), False

    def of_classes(self, names: Iterable[str]) -> dict[str, Id]:
        """The id of each class.

        Raises: InputError if the json has no category of a name, or two.
        """
        times, known = Counter(name for name, _ in self._categories), dict(self._categories)
        for name in (names := list(names)):
            if times[name] != 1:
                missing = [other for other in names if other not in known]
                what = f"has no category {name!r}{did_you_mean(name, known)}"
                if len(missing) > 1:
                    what += f" ({len(missing)} of the detector's classes are missing)"
                what = f"has {times[name]} categories {name!r}" if times[name] else what
                raise InputError(
                    f"--coco-json {self.path}: it {what}. Name the classes that are wanted "
                    "(--classes), or give the json that the detector was trained with"
                )
        return {name: known[name] for name in names}


def rows_by_task(
    rows: Iterable[Mapping], *, image_id: Id, categories: Mapping[str, Id]
) -> dict[str, list[dict]]:
    """Rows of predictions.json as COCO's results, for each task that they are results of."""
    found: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        ids = {"image_id": image_id, "category_id": categories[row["category"]]}
        for task, keys in TASKS.items():
            if all(key in row for key in keys):
                found[task].append(ids | {key: row[key] for key in (*keys, "score")})
    return found


def _parts(name: str) -> tuple[str, ...]:
    """The parts of a path, with either kind of slash, without a root and dots."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return tuple(part for part in parts if part not in ("/", ".")) or ("",)


def _content(path: Path) -> dict:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise MissingInputError(f"--coco-json {path} is not there") from error
    except OSError as error:
        raise InputError(f"--coco-json {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"--coco-json {path} is not valid JSON: {error}") from error
    return checked_lists(content, ("images", "categories"), shown=f"--coco-json {path}")
