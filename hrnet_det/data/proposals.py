"""Sizes of images, anchors and limits that fit a user's own data; each change is said."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
from omegaconf import OmegaConf

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.config.settings import Setting
from hrnet_det.data.statistics import Statistics
from hrnet_det.modeling.kinds import kind_of

WANTED = 32  # pixels that a quarter of the objects may be under: the border of COCO's small objects
LONGEST = 1333  # pixels: images are not made smaller than this
BOUND = 2000  # pixels: images are not made larger than this
LEAST_ENLARGED, MOST_ENLARGED = 1.2, 2.0  # less is not worth resampling, more shows no more
LEAST_SIDE = 256  # pixels: p6 then has 4x4 cells
TOO_SMALL = 8  # pixels: two cells of the finest level
ANCHORS = (8, 32)  # pixels: the smallest anchor, at least and at most
MARGIN, ROUND = 1.2, 50  # of the most objects in an image
MUCH = 1000  # detections of an image, whose masks take much memory
SIZES = (
    settings.MIN_SIZE_TRAIN,
    settings.MAX_SIZE_TRAIN,
    settings.MIN_SIZE_TEST,
    settings.MAX_SIZE_TEST,
)
PROPOSALS = (settings.POST_NMS_TOPK_TRAIN, settings.POST_NMS_TOPK_TEST)


def fit_sizes(run: RunConfig, statistics: Statistics) -> None:
    """Let image sizes and anchors follow the images and objects to train on.

    What the user states is kept. The rule for sizes: images keep theirs (those of a dataset whose
    sizes vary: the median) unless a quarter of the objects are under WANTED pixels, for which they
    are enlarged, by LEAST_ENLARGED to MOST_ENLARGED and up to BOUND. Images longer than LONGEST
    are made smaller, as far as that leaves objects WANTED pixels. The rule for anchors:
    `fitting_anchors`.
    """
    if not len(statistics.boxes):
        return
    _fit_image_sizes(run, statistics)
    if _has_anchors(run) and not run.states(settings.ANCHOR_SIZES):
        sides = statistics.object_sides(*training_size(run))
        sizes = fitting_anchors(sides, len(run[settings.ANCHOR_SIZES]))
        if sizes != run[settings.ANCHOR_SIZES]:
            run[settings.ANCHOR_SIZES] = sizes
            low, high = np.percentile(sides, (5, 95))
            run.note(
                f"{run.shown(settings.ANCHOR_SIZES)}: 90 % of the objects are {low:.0f} to "
                f"{high:.0f} pixels after resizing."
            )


def training_size(run: RunConfig) -> tuple[int, int] | None:
    """The largest shorter and longer side that a config trains on, without jitter; pixels.

    Returns: None where a LazyConfig does not resize images by their shortest edge, or bounds no
        longer side.
    """
    if run.is_lazy:
        steps = OmegaConf.select(run.cfg, "dataloader.train.mapper.augmentations") or ()
        return next(filter(None, map(_resized_to, steps)), None)
    if run.cfg.INPUT.AUGMENT.SCALE_JITTER:
        size = run.cfg.INPUT.AUGMENT.SCALE_JITTER_SIZE
        return min(size), max(size)
    if scales := run[settings.SCALES_TRAIN]:
        return tuple(max(scales, key=math.prod))
    return _longest(run[settings.MIN_SIZE_TRAIN]), run[settings.MAX_SIZE_TRAIN]


def _resized_to(step: object) -> tuple[int, int] | None:
    """That of a step of a LazyConfig's mapper, a LazyCall or an object."""
    given = step.get if OmegaConf.is_dict(step) else partial(getattr, step)
    lengths, longest = given("short_edge_length", None), given("max_size", sys.maxsize)
    if lengths is None or longest == sys.maxsize:  # Detectron2's default
        return None
    return _longest(lengths), longest


def _longest(lengths: int | Sequence[int]) -> int:
    return lengths if isinstance(lengths, int) else max(lengths)


def _fit_image_sizes(run: RunConfig, statistics: Statistics) -> None:
    stated = [run.states(setting) for setting in SIZES]
    min_train, max_train, min_test, max_test = stated
    scaled = bool(run[settings.SCALES_TRAIN] or run.cfg.INPUT.AUGMENT.SCALE_JITTER)
    (shortest, longest), reason = fitting_size(statistics)
    trained, tested = training_size(run), (run[SIZES[2]], run[SIZES[3]])
    if min_train or scaled or min_test:
        shortest = trained[0] if min_train or scaled else tested[0]
    if max_train or scaled or max_test:
        longest = trained[1] if max_train or scaled else tested[1]
    longest = max(shortest, longest)
    changed = []
    for setting, value in zip(SIZES, ((shortest,), longest, shortest, longest), strict=True):
        if not run.states(setting) and run[setting] != value:
            run[setting] = value
            changed.append(run.shown(setting))
    if changed:
        why = "as the sizes that are stated" if any(stated) or scaled else reason
        run.note(f"{', '.join(changed)}: {why}.")


def fitting_size(statistics: Statistics) -> tuple[tuple[int, int], str]:
    """The shorter and longer side in pixels that images are resized to, and why, for people."""
    low, high = statistics.sides.min(1), statistics.sides.max(1)
    shortest = float(np.median(low))
    longest = shortest * float(np.percentile(high / low, 95))
    quarter = float(np.percentile(statistics.object_sides(shortest, longest), 25))
    least = min(1.0, LONGEST / longest)
    most = max(least, min(MOST_ENLARGED, BOUND / longest))
    factor = min(max(WANTED / max(quarter, 1e-6), least), most)
    factor = 1.0 if 1 < factor < LEAST_ENLARGED else factor
    factor = max(factor, min(LEAST_SIDE / shortest, BOUND / longest))
    size = max(1, round(factor * shortest)), max(1, round(factor * longest))
    images = f"images are {longest:.0f}x{shortest:.0f}"
    if len(np.unique(statistics.sides, axis=0)) > 1:
        images = f"images are {longest:.0f}x{shortest:.0f} (the median)"
    objects = f"a quarter of the objects are under {quarter:.0f} pixels"
    if abs(factor - 1) < 0.005:
        return size, f"{images} and keep their size; {objects}"
    reason = f"{images}, {objects}; resized by {factor:.2f}"
    left = factor * quarter
    if factor < 1 and left < WANTED:
        reason += (
            f", which leaves these {left:.0f}. For objects that small cut images and json into "
            f"tiles, or train on crops at full size: {_crop(shortest, longest)}"
        )
    return size, reason


def _crop(shortest: float, longest: float) -> str:
    sides = f"[[{shortest:.0f}, {longest:.0f}]]"
    return f'INPUT.SCALES_TRAIN "{sides}" INPUT.CROP_TRAIN "[800, 1333]"'


def fitting_anchors(sides: np.ndarray, levels: int) -> list[list[int]]:
    """One anchor size per level, pixels, from the sides of resized objects.

    The first is the 5th percentile, but in ANCHORS; each next one is twice as large, or more where
    the last would be under the 95th percentile.
    """
    low, high = np.percentile(sides, (5, 95))
    first = round(min(max(low, ANCHORS[0]), ANCHORS[1]))
    ratio = max(2.0, (high / first) ** (1 / max(levels - 1, 1)))
    return [[round(first * ratio**level)] for level in range(levels)]


def _has_anchors(run: RunConfig) -> bool:
    """Whether it has an RPN with one anchor size on each level."""
    kind = kind_of(run)
    if run.is_lazy or not (kind.roi_heads or kind.output == "proposals"):
        return False
    sizes = run[settings.ANCHOR_SIZES]
    return len(sizes) == len(run.cfg.MODEL.RPN.IN_FEATURES) and set(map(len, sizes)) == {1}


def warn_of_sizes(run: RunConfig, statistics: Statistics) -> None:
    """One line where a tenth of the objects are too small after resizing, or fit no anchor."""
    if run.is_lazy or not len(statistics.boxes):
        return
    size = training_size(run)
    sides = statistics.object_sides(*size)
    small = float((sides < TOO_SMALL).mean())
    resized = f"resized to a shorter side of {size[0]} and a longer one of at most {size[1]}"
    if small > 0.1:
        problem = f"{small:.0%} of the objects are under {TOO_SMALL} pixels, hardly to be found"
    elif _has_anchors(run):
        anchors = np.array(run[settings.ANCHOR_SIZES], dtype=float).ravel()
        nearest = np.abs(np.log2(np.maximum(sides[:, None], 1e-6) / anchors)).min(1)
        odd = float((nearest > 1).mean())
        if odd <= 0.25:
            return
        problem = (
            f"{odd:.0%} of the objects are under half or over twice as large as every anchor "
            f"({run.shown(settings.ANCHOR_SIZES)})"
        )
    else:
        return
    if run[settings.FIT]:
        advice = ", ".join(run.name(setting) for setting in (*SIZES, settings.ANCHOR_SIZES))
        advice = f"what you state overrides what fits the data: leave out {advice}"
    else:
        config = "mask_rcnn" if run.model.masks else "faster_rcnn"
        advice = (
            f"custom/{config}.yaml (or DATASETS.CUSTOM.FIT True) fits sizes and anchors to data"
        )
    run.note(f"Warning: of images {resized}, {problem}: {advice}.")


def raise_limits(run: RunConfig, datasets: Iterable[Statistics]) -> None:
    """Let a detector find as many objects as an image of the user's own data has, and a margin.

    Limits are never lowered, and what the user states is kept.
    """
    most = max((statistics.most_objects for statistics in datasets), default=0)
    limit = run.detections_setting
    if not kind_of(run).detects or most * MARGIN <= run.detections_per_image:
        return
    if run.states(limit):
        if most > run.detections_per_image:
            run.note(
                f"Warning: {run.shown(limit)}, but an image has {most} objects: the rest cannot be "
                "found."
            )
        return
    run[limit] = math.ceil(most * MARGIN / ROUND) * ROUND
    raised = [limit, *(p for p in PROPOSALS if _raised_to(run, p, run[limit]))]
    text = f"{', '.join(map(run.shown, raised))}: an image has {most} objects"
    if run[limit] > MUCH:
        text += "; this takes more memory, most of all for masks"
    run.note(f"{text}.")


def _raised_to(run: RunConfig, setting: Setting, least: int) -> bool:
    """Raise a number of proposals that is smaller, unless it is stated."""
    has_proposals = not run.is_lazy and kind_of(run).roi_heads
    if not has_proposals or run.states(setting) or run[setting] >= least:
        return False
    run[setting] = least
    return True
