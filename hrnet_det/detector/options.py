"""What a caller of a detector may give, and its checks: one place for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real

import torch
from detectron2.data.datasets.builtin_meta import CITYSCAPES_CATEGORIES, COCO_CATEGORIES
from detectron2.structures import Instances
from omegaconf import OmegaConf
from torch import nn

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.checks import SMALLEST
from hrnet_det.data.images import MOST_PIXELS
from hrnet_det.data.pixels import check_pixel_range
from hrnet_det.errors import InputError, did_you_mean, shown
from hrnet_det.modeling.inference.borrowed import MOST, SCORE, least_score
from hrnet_det.modeling.kinds import OBJECTS, SEGMENTS, kind_of

CANDIDATES = 1000  # objects, at least, among which classes are chosen
SHOWN = 6  # class names, in an error
COCO_CLASSES = tuple(row["name"] for row in COCO_CATEGORIES if row["isthing"])
# Those of published weights whose files name none, by what they learn and their number.
KNOWN_CLASSES = {
    (OBJECTS, len(COCO_CLASSES)): COCO_CLASSES,
    (SEGMENTS, 19): tuple(row["name"] for row in CITYSCAPES_CATEGORIES),
    (SEGMENTS, 133): tuple(row["name"] for row in COCO_CATEGORIES),
}


def set_options(
    run: RunConfig,
    *,
    size: int | Sequence[int] = (),
    max_detections: int | None = None,
    pixel_range: Sequence[float] = (),
    max_pixels: int | None = None,
) -> None:
    """Set what a caller of `Detector.from_pretrained` gives in place of the config's values.

    Raises: InputError if a value is not allowed, or a LazyConfig's mapper cannot have it.
    """
    if max_detections is not None:
        run[run.detections_setting] = checked_count("max_detections", max_detections)
    for setting, value in (
        (settings.PIXEL_RANGE, list(pixel_range) or None),
        (settings.MAX_PIXELS, max_pixels),
    ):
        if value is not None and not run.has(setting):
            raise InputError(
                f"{setting.yaml}: the mapper of this LazyConfig has none; take "
                "hrnet_det.data.mapper.Mapper, as configs/common/data/coco.py does"
            )
        if value is not None:
            run[setting] = value
    check_pixel_range(run)
    if sides_of(size):
        _set_size(run, size)


def sides_of(size: int | Sequence[int]) -> tuple:
    """A size as a tuple: a number alone is the shorter side."""
    return tuple(size) if isinstance(size, (list, tuple)) else (size,)


def _set_size(run: RunConfig, size: int | Sequence[int]) -> None:
    size = sides_of(size)
    shorter, longer = size[0], size[-1]
    whole = all(isinstance(side, int) for side in size)
    if len(size) > 2 or not whole or not SMALLEST <= shorter <= longer:
        raise InputError(
            f"size {' '.join(map(str, size))}: give the shorter side in pixels, at least "
            f"{SMALLEST}, and the longer one at most"
        )
    longer = longer if len(size) == 2 else round(5 / 3 * shorter)  # as 800 and 1333
    most = max(MOST_PIXELS, run[settings.MAX_PIXELS] if run.has(settings.MAX_PIXELS) else 0)
    if shorter * longer > most:
        raise InputError(
            f"size {shorter} {longer}: images would have more than {most} pixels "
            f"({settings.MAX_PIXELS.yaml}): give shorter sides; for small objects there are tiles"
        )
    if not run.is_lazy:
        run[settings.MIN_SIZE_TEST], run[settings.MAX_SIZE_TEST] = shorter, longer
        return
    nodes = run.cfg.dataloader.test.mapper.augmentations or ()
    resizes = [node for node in nodes if OmegaConf.is_dict(node) and "short_edge_length" in node]
    if not resizes:
        raise InputError("size: the mapper of this LazyConfig has no L(T.ResizeShortestEdge)()")
    for node in resizes:
        node.short_edge_length, node.max_size = shorter, longer


@dataclass(frozen=True)
class Wanted:
    """Which of an image's objects a caller wants.

    Args:
        score: the least; None for what the config lets through.
        classes: numbers; none of them for all.
        most: objects of an image; None for what the config lets through.
    """

    score: float | None = None
    classes: frozenset[int] = frozenset()
    most: int | None = None

    @classmethod
    def checked(
        cls,
        class_names: Sequence[str],
        *,
        score: float | None,
        classes: Sequence[str | int],
        max_detections: int | None,
    ) -> Wanted:
        """What is wanted, in the words of a call. Raises: InputError if a value is not allowed."""
        if score is not None:
            check_score(score)
        if max_detections is not None:
            checked_count("max_detections", max_detections)
        return cls(score, class_numbers(classes, class_names), max_detections)

    def of_tiles(self, run: RunConfig) -> Wanted:
        """What is wanted of each tile of an image: not fewer than the config's number of objects.

        The best of a tile may be parts of objects that are whole in another one.
        """
        least = run.detections_per_image
        return self if self.most is None else replace(self, most=max(self.most, least))

    def of(self, objects: Instances) -> Instances:
        """Those of an image's objects that are wanted; `most` is left to the caller."""
        if self.score is not None:
            objects = objects[objects.scores >= self.score]
        if self.classes:
            numbers = torch.tensor(sorted(self.classes))
            objects = objects[torch.isin(objects.pred_classes, numbers)]
        return objects

    def of_model(self, run: RunConfig, model: nn.Module) -> dict[str, object]:
        """What the detector's own attributes have to be, so that it finds all that is wanted."""
        values: dict[str, object] = {}
        if self.score is not None and self.score < least_score(model):
            values |= dict.fromkeys(SCORE, self.score)
        if self.most is None and not self.classes:
            return values
        return values | dict.fromkeys(MOST, self.candidates(run))

    def candidates(self, run: RunConfig) -> int:
        """Objects of an image, at most, that the detector finds before others are left out."""
        most = self.most or run.detections_per_image
        return max(CANDIDATES, most) if self.classes else most


def check_score(score: float) -> None:
    """Raises: InputError if a score is not from 0 to 1."""
    if isinstance(score, bool) or not isinstance(score, Real) or not 0 <= score <= 1:  # nan is not
        raise InputError(f"score {score}: give a number from 0 to 1")


def checked_count(name: str, value: int) -> int:
    """A whole number of 1 or more. Raises: InputError if it is none, with the option's name."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise InputError(f"{name} {value}: give a whole number of at least 1")
    return int(value)


def class_numbers(
    classes: Sequence[str | int] | None, class_names: Sequence[str]
) -> frozenset[int]:
    """The numbers of classes that are given by their names or numbers; None is none of them.

    Raises: InputError if there is no such class.
    """
    classes = () if classes is None else classes
    classes = [classes] if isinstance(classes, (str, int)) else list(classes)
    found = set()
    for wanted in classes:
        if isinstance(wanted, str) and wanted in class_names:
            found |= {k for k, name in enumerate(class_names) if name == wanted}
        elif isinstance(wanted, Integral) and 0 <= wanted < len(class_names):
            found.add(int(wanted))
        else:
            near = did_you_mean(wanted, class_names) if isinstance(wanted, str) else ""
            near = near or "."
            raise InputError(
                f"classes: there is no class {shown(wanted)} among the detector's "
                f"{len(class_names)}{near} Give names ({', '.join(class_names[:SHOWN])}"
                f"{', ...' if len(class_names) > SHOWN else ''}), or their numbers from 0"
            )
    return frozenset(found)


def classes_of(run: RunConfig, names: list[str], in_file: list[str]) -> list[str]:
    """The names that are given; otherwise the file's where they are as many as the classes.

    mmdetection 1 writes COCO's 80 names into files of other data, too.
    """
    kind = kind_of(run)
    stated = kind.classes is not None and run.has(kind.classes)
    count = run[kind.classes] if stated else len(names or in_file)
    if names and len(names) != count:
        raise InputError(f"{len(names)} class names ({names[0]}, ...) for {count} classes")
    if not names and len(in_file) == count:
        return in_file
    for (learnt, number), published in KNOWN_CLASSES.items():
        if not names and learnt in kind.learns and number == count:
            return list(published)
    return names or [f"class {number}" for number in range(count)]
