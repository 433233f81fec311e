"""A user's own COCO json, read once and checked before anything is trained on it."""

from __future__ import annotations

import gc
import json
import mmap
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path

from hrnet_det.data import coco_values as values
from hrnet_det.data.coco_checks import contradictions, keypoint_lists, misshapen, objects
from hrnet_det.data.coco_geometry import misplaced, repeated
from hrnet_det.data.coco_values import Content
from hrnet_det.data.findings import Finding, finding
from hrnet_det.data.image_checks import image_findings
from hrnet_det.data.images import ImageFacts, probe_all
from hrnet_det.data.repairs import repair
from hrnet_det.errors import InputError, MissingInputError

CATEGORIES_AT_MOST = 2**22  # bytes of a json, far more than COCO's
MISSING = "images-missing"  # the kind of finding


class CocoJson:
    """What a COCO detection json says, repaired and checked.

    Args:
        path: the json. images: the folder that its file names start from.
        masks, keypoints: whether such heads are trained, so that every object needs these.
        evaluated: whether detections are scored on it; if not, it is trained on.
    Attributes:
        content: what the json has, with what `repair` has converted.
        findings: of the repairs and checks, errors among them.
        changed: whether the content is another one than the file's.
        facts: of each image's file; [] where the json has errors before.
    Raises: MissingInputError if the json or the folder is missing; InputError if they are something
        else, or the json cannot be read, or has not COCO's lists.
    """

    def __init__(
        self, path: Path, images: Path, *, masks: bool, keypoints: bool, evaluated: bool
    ) -> None:
        self.path, self.images = path.expanduser(), images.expanduser()
        _check_places(self.path, self.images)
        self.content = content = _read(self.path)
        self.findings = repair(content, self.images)
        self.changed = bool(self.findings)
        self.facts: list[ImageFacts] = []
        flags = {"masks": masks, "keypoints": keypoints, "evaluated": evaluated}
        for check in (
            lambda: misshapen(content),
            lambda: contradictions(content, **flags),
            self._missing_images,
            self._distant_images,
            self._check_images,
            lambda: (*misplaced(content), *repeated(content)),
        ):
            self.findings += check()
            if self.errors:  # what comes next is about content without these
                break

    def _check_images(self) -> Iterator[Finding]:
        rows = self.content["images"]
        self.facts = probe_all(os.path.join(self.images, row["file_name"]) for row in rows)
        yield from image_findings(rows, self.facts)

    @property
    def deep(self) -> dict[str, str]:
        """The images of more than 8 bits a sample: their paths, and their depths in words."""
        return {facts.path: facts.depth for facts in self.facts if facts.deep}

    @property
    def errors(self) -> list[Finding]:
        return [found for found in self.findings if found.severity == "error"]

    def raise_errors(self) -> CocoJson:
        """Itself. Raises: InputError with all errors; MissingInputError if images are missing."""
        errors = self.errors
        lines = "\n  ".join(found.text for found in errors)
        if any(found.kind == MISSING for found in errors):
            raise MissingInputError(f"images of {self.path} are missing:\n  {lines}")
        if lines:
            raise InputError(f"{self.path} cannot be used:\n  {lines}")
        return self

    def _missing_images(self) -> Iterator[Finding]:
        # pathlib is slower, and fails at names that are too long for the file system.
        rows = self.content["images"]
        missing = [r for r in rows if not os.path.isfile(os.path.join(self.images, r["file_name"]))]
        shown = [values.shown(row["file_name"]) for row in missing[:4]]
        yield from finding(
            "error", MISSING, missing, rows, f"are not in {self.images}", "images", shown
        )

    def _distant_images(self) -> Iterator[Finding]:
        """Files anywhere are read, but said: a json may come from others."""
        rows, folder = self.content["images"], os.path.normpath(self.images)
        places = (os.path.normpath(os.path.join(folder, row["file_name"])) for row in rows)
        inside = os.path.join(folder, "")
        distant = [r for r, place in zip(rows, places, strict=True) if not place.startswith(inside)]
        shown = [values.shown(row["file_name"]) for row in distant[:4]]
        what = f"have a 'file_name' that leads out of {self.images}: they are read where it leads"
        yield from finding("warning", "images-elsewhere", distant, rows, what, "images", shown)

    def unused_roots(self) -> set[tuple[int, str]]:
        """Id and name of categories without annotations that only head the others."""
        if self.errors:
            return set()
        categories = self.content["categories"]
        used = {row["category_id"] for row in self.content["annotations"]}
        heads = {row.get("supercategory") for row in categories if row["id"] in used}
        return {
            (row["id"], row["name"])
            for row in categories
            if row["id"] not in used
            and (row["name"] in heads or (row["id"] == 0 and row.get("supercategory") == "none"))
        }

    def drop_categories(self, dropped: Collection[tuple[int, str]]) -> None:
        """Leave out categories that have no annotations, and add the finding."""
        if not dropped:
            return
        rows = self.content["categories"]
        gone = [row for row in rows if (row["id"], row["name"]) in dropped]
        names = [values.shown(row["name"]) for row in gone]
        what = "head the others and have no objects: they are no classes"
        self.findings += finding("change", "category-root", gone, rows, what, "categories", names)
        self.content["categories"] = [row for row in rows if row not in gone]
        self.changed = True

    @property
    def categories(self) -> list[dict]:
        """In the order of their ids."""
        return sorted(self.content["categories"], key=itemgetter("id"))

    @property
    def classes(self) -> list[str]:
        return [row["name"] for row in self.categories]

    @property
    def keypoint_names(self) -> list[str]:
        """Of the first category that has keypoints, [] if none has."""
        return next(iter(keypoint_lists(self.categories)), [])

    @property
    def has_rle(self) -> bool:
        """Whether an object's mask (not a crowd's) is run-length encoded."""
        found = objects(self.content["annotations"])
        return any(isinstance(row.get("segmentation"), dict) for row in found)


def _check_places(path: Path, images: Path) -> None:
    """Raises: MissingInputError if a json or its image folder is missing, InputError if it is none.

    os.path takes any path, as with NUL bytes and of any length.
    """
    of_images = "give the folder that the json's file names start from"
    for place, what, is_right, wanted in (
        (path, f"COCO json {path}", os.path.isfile, "give the json file"),
        (images, f"image folder {images} (of {path})", os.path.isdir, of_images),
    ):
        if is_right(place):
            continue
        if not os.path.exists(place):
            where = "" if place.is_absolute() else f", looked for in {os.getcwd()}"
            raise MissingInputError(f"{what} is not there{where}: {wanted}")
        is_file = "a file" if os.path.isfile(place) else "a device or a pipe"
        kind = "a folder" if os.path.isdir(place) else is_file
        raise InputError(f"{what} is {kind}: {wanted}")


def read_categories(path: Path) -> list[tuple[int, str]]:
    """Id and name of a json's categories, without reading the rest where they can be found."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            start = raw.rfind(b'"categories"')
            text = raw[start : start + CATEGORIES_AT_MOST].decode("utf-8", "replace")
        found, _ = json.JSONDecoder().raw_decode(text, text.index("["))
        return [(row["id"], row["name"]) for row in found]
    except (ValueError, TypeError, KeyError):
        return [(row.get("id"), row.get("name")) for row in _read(path)["categories"]]


def write_content(path: Path, content: Content) -> None:
    """Write a COCO json, with its folder; a file that is not whole is never at the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(content), encoding="utf-8")
    os.replace(unfinished, path)


def _read(path: Path) -> Content:
    try:
        with no_collection():
            content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unrepeated)
    except OSError as error:
        raise InputError(f"COCO json {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{path} is not valid JSON: {_reason(error)}") from error
    return checked_lists(content, ("images", "annotations", "categories"), shown=str(path))


def checked_lists(content: object, lists: Sequence[str], *, shown: str) -> Content:
    """The content of a json, as it is. Raises: InputError if it has not these of COCO's lists."""
    found = content if isinstance(content, dict) else {}
    missing = [key for key in lists if not isinstance(found.get(key), list)]
    if missing:
        raise InputError(
            f"{shown} is not in COCO's format: it has no list of {', '.join(missing)} "
            "(https://cocodataset.org/#format-data)"
        )
    return found


@contextmanager
def no_collection() -> Iterator[None]:
    """No search for cycles, which takes half of the time among the millions of values of a json."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"{error}; save it as UTF-8"
    if "BOM" in str(error):  # pycocotools reads the file as well, and would fail at it
        return "it begins with a byte order mark; save it as UTF-8 without one"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error) or "it does not fit into the memory"


def _unrepeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object; of a repeated key the last value would silently be taken."""
    row = dict(pairs)
    if len(row) != len(pairs):
        ((key, count),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"an object has the key {values.shown(key)} {count} times")
    return row
